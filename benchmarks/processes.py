"""Commands in processes of their own, for ``faults.py``: begun at once, killed, on small disks."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import resource
import runpy
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

LONGEST = 120.0  # seconds of a process
# What commands import, imported before processes are forked, so that each begins at once.
for module in (
    *("xarray", "h5netcdf", "rich.progress", "matplotlib.pyplot", "orbax.checkpoint"),
    *("jaxcollapse.lm.host", "jaxcollapse.lm.plans", "jaxcollapse.show.figures"),
    *("jaxcollapse.show.mixture_files", "jaxcollapse.show.language_models"),
):
    importlib.import_module(module)


@dataclasses.dataclass(frozen=True)
class Kind:
    """What runs.

    Attributes:
      command: without ``--out``.
      out: name of what it writes.
      result: name of the file of its numbers, in a folder that holds ``out``.
      work: where files are kept meanwhile, likewise, as a pattern.
      draws_again: an option with which the figure is drawn of a result that is whole.
    """

    command: list[str]
    out: str
    result: str
    work: str
    draws_again: str = "--overwrite"


def begun(command: list[str], log: Path, largest_file: int | None = None) -> int:
    """A command in a process of its own, which has imported everything already."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX has not begun to compute here
        process = os.fork()
    if process:
        return process
    code = 70
    try:
        handle = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        if largest_file is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, hard))
        sys.argv = ["jaxcollapse", *command]
        runpy.run_module("jaxcollapse", run_name="__main__")  # as python -m does
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(process: int) -> int:
    """The code that a process ends with; minus the signal that ended it."""
    until = time.monotonic() + LONGEST
    while time.monotonic() < until:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return 71


def run(
    kind: Kind, folder: Path, largest_file: int | None = None, more: Sequence[str] = ()
) -> tuple[int, str]:
    """Gives the command of a kind: the code that it ends with, and what it says."""
    log = folder.with_name(f"{folder.name}.log")
    command = [*kind.command, "--out", str(folder / kind.out), *more]
    code = ended(begun(command, log, largest_file))
    return code, log.read_text()


def killed(kind: Kind, folder: Path, seconds: float, once_there: str | None = None) -> int:
    """Kills a command after so many seconds: minus SIGKILL, or the code that it ended with.

    Args:
      kind: what runs.
      folder: for what it writes.
      seconds: after it has begun.
      once_there: a pattern; after a file of such a name has appeared.
    """
    log = folder.with_name(f"{folder.name}.log")
    process = begun([*kind.command, "--out", str(folder / kind.out)], log)
    until = time.monotonic() + LONGEST
    while once_there and not any(folder.glob(once_there)) and time.monotonic() < until:
        time.sleep(0.001)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    return ended(process)


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """A file system of its own in memory, of so many bytes, where a folder is."""
    options = ["-t", "tmpfs", "-o", f"size={max(size, 4096)}", "tmpfs"]
    subprocess.run(["mount", *options, str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
