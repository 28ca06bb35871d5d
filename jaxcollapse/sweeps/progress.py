"""How far a run is, with an estimate of the time left: in a terminal, and in a notebook."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from jaxcollapse import checks


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


@contextlib.contextmanager
def reported(progress: bool | Report | None) -> Iterator[Report]:
    """The function to tell progress to.

    Args:
      progress: one of the user's own; True for a bar, False for nothing; None for a bar where
        somebody is looking: in a terminal or a notebook.
    """
    if callable(progress):
        yield progress
    elif is_bar(progress):
        with bar() as update:
            yield lambda state: update(state.done, state.cell, state.total)
    else:
        yield lambda state: None


def is_bar(progress: Any) -> bool:
    """Whether a bar is to be shown, from the argument of ``reported``."""
    return progress is True or (progress is None and (_in_notebook() or sys.stderr.isatty()))


@contextlib.contextmanager
def bar(total: float | None = None) -> Iterator[Callable[..., None]]:
    """A bar with an estimate of the time left, on standard error or in a notebook's cell.

    Yields:
      ``update(done, description, total=None)``.
    """
    with _notebook_bar(total) if _in_notebook() else _terminal_bar(total) as update:
        yield update


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
        progress.TextColumn("{task.description}", table_column=rest),
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


def line(done: float, description: str, total: float | None, seconds: float) -> str:
    """A bar, shares and times as one line of text."""
    if not total:
        return description
    share = min(done / total, 1.0)
    filled = round(16 * share)
    left = f"{seconds / share - seconds:.0f} s left" if share > 0 else "?"
    bar = "█" * filled + "░" * (16 - filled)
    return f"{bar} {share:4.0%} {seconds:.0f} s, {left}  {description}"
