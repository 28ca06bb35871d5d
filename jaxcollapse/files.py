"""Files that are written whole or not at all, and where they may be written.

What has a name has reached the disk, also if the power fails a moment later: a file is written
under another name, flushed, named, and the name flushed. A sealed one ends with its checksum.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxcollapse import checks

UNFINISHED = ".unfinished"  # in the name of a file that is being written
SEAL_OF_JSON = "sha256"
SUMS = "SHA256SUMS"  # as the tool sha256sum writes it
_SEAL = b"\nsha256 "
_SEAL_BYTES = len(_SEAL) + 64 + 1

# What a user can do about a file that cannot be written.
_REMEDIES = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room in your quota",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EROFS: "make it writable",
    errno.EACCES: "make it writable",
    errno.EPERM: "make it writable",
    errno.ENOENT: "bring the folder back",
    errno.ENOTDIR: "move the file away that is in a folder's place",
    errno.EEXIST: "move the file away that is in a folder's place",
    errno.ESTALE: "mount the folder again",
    errno.EIO: "see to the disk",
}
# Those that libraries tell in words only.
_TOLD_IN_WORDS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


class UnwrittenError(OSError):
    """A file could not be written: which, why, and what to do."""


@contextlib.contextmanager
def written_to(path: Path) -> Iterator[None]:
    """A block that writes to a path or below it, whose errors say where and what to do.

    Raises:
      UnwrittenError: the disk is full, the folder gone or read-only, or the like.
    """
    try:
        yield
    except UnwrittenError:
        raise
    except Exception as error:
        number = _number(error, path)
        if number is None:
            raise
        remedy = f"{_REMEDIES[number]}, then give the command again: what is finished is kept"
        raise UnwrittenError(number, f"{os.strerror(number)}; {remedy}", str(path)) from error


def _number(error: Exception, path: Path) -> int | None:
    """Which of the errors of writing to a path this one is, if it is one."""
    if isinstance(error, OSError) and error.errno is not None:
        elsewhere = error.filename is not None and not str(error.filename).startswith(
            (str(path.parent), str(path.parent.absolute()))
        )
        return None if elsewhere or error.errno not in _REMEDIES else error.errno
    told = str(error)
    return next((number for number in _TOLD_IN_WORDS if os.strerror(number) in told), None)


@contextlib.contextmanager
def whole_file(path: Path, sealed: bool = False) -> Iterator[Path]:
    """A temporary path that takes the name ``path`` once the block has ended without an error.

    Args:
      path: of the file.
      sealed: whether its checksum is written behind it, which ``is_sound`` reads.

    Raises:
      UnwrittenError: see ``written_to``; nothing is left then but what was there before.
    """
    with written_to(path):
        handle, name = tempfile.mkstemp(
            prefix=f".{path.name}.", suffix=UNFINISHED + path.suffix, dir=path.parent
        )
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            if sealed:
                seal = _SEAL + _digest(temporary).encode() + b"\n"
                with temporary.open("ab") as file:
                    file.write(seal)
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            flush(temporary)
            temporary.replace(path)
            flush(path.parent)
        finally:
            with contextlib.suppress(OSError):  # the folder is gone, too
                temporary.unlink(missing_ok=True)


def reserve(path: Path, size: int) -> None:
    """Makes sure that a file that is to be written has room for so many bytes.

    For libraries that tell of a full disk in many lines, or much later.

    Raises:
      OSError: it has not.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, max(1, size))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
        file.truncate(0)


def flush(path: Path) -> None:
    """Has a file, or the names in a folder, reach the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # of file systems whose folders cannot be flushed
            raise
    finally:
        os.close(handle)


def _digest(path: Path, size: int | None = None) -> str:
    """The checksum of a file, or of its first bytes."""
    digest = hashlib.sha256()
    left = path.stat().st_size if size is None else size
    with path.open("rb") as file:
        while left > 0 and (part := file.read(min(left, 2**20))):
            digest.update(part)
            left -= len(part)
    return digest.hexdigest()


def is_sound(path: Path) -> bool:
    """Whether a sealed file is there and as it was written; if it is not, it is named and removed.

    A disk that fails, or a machine that does, may leave it torn or changed.
    """
    try:
        size = path.stat().st_size - _SEAL_BYTES
        with path.open("rb") as file:
            file.seek(max(size, 0))
            seal = file.read()
        if size >= 0 and seal == _SEAL + _digest(path, size).encode() + b"\n":
            return True
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    _tell_damaged(path)
    path.unlink(missing_ok=True)
    return False


def _tell_damaged(path: Path) -> None:
    print(f"{path}: not as it was written, torn or changed; it is made again", file=sys.stderr)


def write_sealed_json(path: Path, facts: Mapping[str, Any]) -> None:
    """Writes a dictionary as JSON with a checksum of its own, which ``read_sealed_json`` reads."""
    with whole_file(path) as temporary:
        temporary.write_text(
            json.dumps({**facts, SEAL_OF_JSON: _digest_of(facts)}, indent=1) + "\n"
        )


def read_sealed_json(path: Path) -> dict[str, Any] | None:
    """What ``write_sealed_json`` was given; None if it was not, or is not as it was written."""
    try:
        facts = json.loads(path.read_text())
        if facts.pop(SEAL_OF_JSON) == _digest_of(facts):
            return facts
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, AttributeError, TypeError):
        pass
    _tell_damaged(path)
    path.unlink(missing_ok=True)
    return None


def _digest_of(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def write_sums(folder: Path) -> None:
    """Writes the checksums of all files of a folder, which are flushed, and of those below it.

    Args:
      folder: with files that are whole.
    """
    with written_to(folder / SUMS):
        lines = []
        for path in sorted(folder.rglob("*")):
            if path.is_dir() or path.name == SUMS:
                continue
            flush(path)
            lines.append(f"{_digest(path)}  {path.relative_to(folder)}\n")
        (folder / SUMS).write_text("".join(lines), encoding="utf-8")
        for path in (folder / SUMS, *(p for p in folder.rglob("*") if p.is_dir()), folder):
            flush(path)


def damaged(folder: Path, may_lack: Iterable[str] = ()) -> Path | None:
    """A file of a folder that is not as ``write_sums`` found it, or that list itself, if one is.

    Args:
      folder: with a list of checksums.
      may_lack: patterns of names of files that may have been removed.
    """
    path = folder / SUMS
    try:
        lines = [line.split("  ", 1) for line in path.read_text(encoding="utf-8").splitlines()]
        if not lines:
            return path
        for digest, name in lines:
            path = folder / name
            gone = not path.exists() and any(path.match(pattern) for pattern in may_lack)
            if not gone and _digest(path) != digest:
                return path
    except (OSError, ValueError):
        return path
    return None


def has_sound_files(folder: Path, may_lack: Iterable[str] = ()) -> bool:
    """Whether no file of a folder is ``damaged``; one that is is named."""
    path = damaged(folder, may_lack)
    if path is not None:
        _tell_damaged(path)
    return path is None


def forget_unfinished(folder: Path, name: str | None = None) -> None:
    """Removes what processes that were killed had not finished to write.

    Args:
      folder: that nobody else writes to now, nor below it.
      name: of the only file there that nobody else writes.
    """
    start = "*" if name is None else glob.escape(name)
    pattern = f".{start}.{'?' * 8}{UNFINISHED}*"
    for path in folder.rglob(pattern) if name is None else folder.glob(pattern):
        path.unlink(missing_ok=True)


def make_folder(folder: Path, parents: bool = True) -> None:
    """Makes a folder if there is none.

    Raises:
      UnwrittenError: see ``written_to``.
    """
    with written_to(folder):
        folder.mkdir(parents=parents, exist_ok=True)


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
