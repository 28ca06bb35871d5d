"""How far a run is, with an estimate of the time left: in a terminal, a notebook, or a log."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jaxcollapse import checks, files


class Progress(NamedTuple):
    """How far a run is, told after every chunk of seeds.

    Attributes:
      cell: what is running, in words.
      done: work done, in the units of ``total``.
      total: all the work, as the task's ``relative_cost`` reckons it.
    """

    cell: str
    done: float
    total: float


Report = Callable[[Progress], None]
LINE_SECONDS = 30.0  # between two lines of a log


class RunLog(NamedTuple):
    """That a bar is to be shown, or lines where nobody looks, and lines of JSON written to a file.

    Attributes:
      path: of the file, which a run that goes on adds to.
    """

    path: Path


@contextlib.contextmanager
def reported(progress: bool | Report | RunLog | None) -> Iterator[Report]:
    """The function to tell progress to.

    Args:
      progress: one of the user's own; True for a bar, or lines of text where there is no terminal;
        a ``RunLog`` for that and a file; False for nothing; None for a bar where somebody is
        looking: in a terminal or a notebook.
    """
    if callable(progress):
        yield progress
    elif is_bar(progress):
        with bar(log=progress if isinstance(progress, RunLog) else None) as update:
            yield lambda state: update(state.done, state.cell, state.total)
    else:
        yield lambda state: None


def is_bar(progress: Any) -> bool:
    """Whether a bar is to be shown, from the argument of ``reported``."""
    looking = _in_notebook() or sys.stderr.isatty()
    return progress is True or isinstance(progress, RunLog) or (progress is None and looking)


@contextlib.contextmanager
def bar(total: float | None = None, log: RunLog | None = None) -> Iterator[Callable[..., None]]:
    """A bar with an estimate of the time left, on standard error or in a notebook's cell.

    Where standard error is no terminal, as of a job that a cluster runs, a line every half minute.

    Args:
      total: all the work.
      log: where lines of JSON are written, too.

    Yields:
      ``update(done, description, total=None)``.
    """
    kind = _notebook_bar if _in_notebook() else _terminal_bar if sys.stderr.isatty() else _lines
    with kind(total) as update, _json_lines(log) as write:

        def both(done: float, description: str, total: float | None = total) -> None:
            update(done, description, total)
            write(done, description, total)

        yield both


@contextlib.contextmanager
def _terminal_bar(total: float | None) -> Iterator[Callable[..., None]]:
    progress = checks.require("rich.progress", "sweep")
    console = checks.require("rich.console", "sweep").Console(stderr=True)
    # The times keep their room; what is running is cut where a line is short.
    column = checks.require("rich.table", "sweep").Column
    rest = column(ratio=1, no_wrap=True, overflow="ellipsis")
    columns = (
        progress.BarColumn(16),
        progress.TaskProgressColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(elapsed_when_finished=False),
        progress.TextColumn("{task.description}", markup=False, table_column=rest),
    )
    with progress.Progress(
        *columns, console=console, speed_estimate_period=300, expand=True
    ) as shown:
        task = shown.add_task("compiling", total=total)

        def update(done: float, description: str, total: float | None = total) -> None:
            shown.update(task, total=total, completed=done, description=description)

        yield update


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in getattr(shell, "config", {})


@contextlib.contextmanager
def _notebook_bar(total: float | None) -> Iterator[Callable[..., None]]:
    """A line of text that is written anew, as a notebook shows it without further packages."""
    display = checks.require("IPython.display", "sweep")
    start, shown_at = time.perf_counter(), float("-inf")
    shown: Any = display.display(display.Pretty("compiling"), display_id=True)

    def update(done: float, description: str, total: float | None = total) -> None:
        nonlocal shown_at
        now = time.perf_counter()
        if now - shown_at < 0.2 and done != total:
            return
        shown_at = now
        shown.update(display.Pretty(line(done, description, total, now - start)))

    yield update


@contextlib.contextmanager
def _lines(total: float | None) -> Iterator[Callable[..., None]]:
    """Lines on standard error, every half minute and when all is done."""
    start, told_at = time.perf_counter(), time.perf_counter()

    def update(done: float, description: str, total: float | None = total) -> None:
        nonlocal told_at
        now = time.perf_counter()
        if now - told_at >= LINE_SECONDS or (total and done >= total):
            told_at = now
            when = datetime.datetime.now().isoformat(" ", "seconds")
            told = line(done, description, total, now - start)
            print(f"{when} {told}", file=sys.stderr, flush=True)

    yield update


@contextlib.contextmanager
def _json_lines(log: RunLog | None) -> Iterator[Callable[..., None]]:
    """Lines of a run log: when it began, how far it was every half minute, how it ended.

    Each has the ``event`` (begun, running, ended or failed), ``time`` in UTC, ``seconds`` since it
    began, ``done`` as a share of what there was to do, ``seconds_left``, and ``what`` is running.
    """
    if log is None:
        yield lambda *given: None
        return
    start, told_at, last = time.perf_counter(), 0.0, (0.0, "")

    def write(event: str, **more: Any) -> None:
        nonlocal told_at
        told_at = time.perf_counter()
        share, what = last
        seconds = round(told_at - start, 1)
        when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        facts = {"event": event, "time": when, "seconds": seconds, "done": round(share, 4)}
        left = None if not share else round(seconds / share - seconds, 1)
        told = {**facts, "seconds_left": left, "what": what, **more}
        with files.written_to(log.path), log.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")

    def update(done: float, description: str, total: float | None) -> None:
        nonlocal last
        last = (min(done / total, 1.0) if total else 0.0), description
        if time.perf_counter() - told_at >= LINE_SECONDS:
            write("running")

    write("begun", pid=os.getpid(), host=socket.gethostname(), command=sys.argv)
    try:
        yield update
    except BaseException as error:
        write("failed", error=f"{type(error).__name__}: {error}")
        raise
    write("ended")


def line(done: float, description: str, total: float | None, seconds: float) -> str:
    """A bar, shares and times as one line of text."""
    if not total:
        return description
    share = min(done / total, 1.0)
    filled = round(16 * share)
    left = f"{seconds / share - seconds:.0f} s left" if share > 0 else "?"
    bar = "█" * filled + "░" * (16 - filled)
    return f"{bar} {share:4.0%} {seconds:.0f} s, {left}  {description}"
