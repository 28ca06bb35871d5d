"""Files that are written whole or not at all, and where they may be written."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from jaxcollapse import checks


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path that takes the name ``path`` once the block has ended without an error."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_output(path: Path, suffixes: tuple[str, ...], overwrite: bool) -> None:
    """Refuses a path that cannot or must not be written, before work is done for it.

    Raises:
      ValueError: the ending is none of ``suffixes``, the folder does not exist or cannot be
        written, or the file exists and ``overwrite`` is False.
    """
    if path.suffix not in suffixes:
        raise checks.refusal(
            "output file", f"an ending of {' or '.join(suffixes)}", path.name, "rename it"
        )
    if not path.parent.is_dir():
        raise checks.refusal(
            "output folder", "one that exists", str(path.parent), f"mkdir -p {path.parent}"
        )
    if not os.access(path.parent, os.W_OK):
        raise checks.refusal(
            "output folder", "one that can be written", str(path.parent), "choose another"
        )
    if path.is_dir() or (path.exists() and not overwrite):
        raise checks.refusal(
            "output file",
            "a new name",
            f"{path}, which exists",
            "choose another name or pass --overwrite",
        )
