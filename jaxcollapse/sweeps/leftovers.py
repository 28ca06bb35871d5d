"""What is kept while a result is made: removed once that is whole, by the next command if need be.

A process may be killed between the moment at which a result has its name and the removal of its
finished cells and its lock. So before that moment it notes, beside the cells, which ones the result
has and how it is known: by its size and the time at which it was written, which a new name keeps.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from glob import escape
from pathlib import Path
from typing import Any

from jaxcollapse import files, locks

NOTE = "written.json"


def partial_of(out: Path) -> Path:
    """The folder of the finished cells of a result that is made."""
    return out.with_name(f"{out.name}.partial")


def note(out: Path, whole: Path, cells: Iterable[str]) -> None:
    """Notes that a result is whole, before it has its name.

    Args:
      out: the name that it gets.
      whole: the file as it is now.
      cells: names of files that are needless then.
    """
    folder = partial_of(out)
    files.make_folder(folder, parents=False)
    facts = {**_known_by(whole), "cells": sorted(cells)}
    files.write_sealed_json(folder / NOTE, facts)


def remove(out: Path) -> None:
    """Removes the cells that a whole result has; those of other plans stay, and so does the folder.

    For whoever has the lock of ``out``.
    """
    folder = partial_of(out)
    if not folder.is_dir():
        return
    facts = files.read_sealed_json(folder / NOTE)
    if facts is not None and out.is_file() and _known_by(out).items() <= facts.items():
        for name in facts["cells"]:
            (folder / Path(name).name).unlink(missing_ok=True)
        (folder / NOTE).unlink()
        files.forget_unfinished(folder)
    with contextlib.suppress(OSError):  # others are in it
        folder.rmdir()


def tidy(out: Path) -> None:
    """Removes what a killed process left beside a whole result, unless somebody writes it now."""
    if not out.is_file():
        return
    shared = list(out.parent.glob(f"{escape(out.name)}.process-*.lock"))
    if not (partial_of(out).is_dir() or locks.is_locked(out) or shared):
        return
    # What cannot be written is left as it is; so is what others share, whose lock is taken first.
    with contextlib.suppress(ValueError, OSError), contextlib.ExitStack() as taken:
        for path in (out, *(lock.with_suffix("") for lock in shared)):
            taken.enter_context(locks.writing(path))
        remove(out)


def _known_by(path: Path) -> dict[str, Any]:
    told = path.stat()
    return {"bytes": told.st_size, "modified": told.st_mtime_ns}
