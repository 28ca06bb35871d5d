"""Files that are read: what is in them decides what they are, and what cannot be right is refused.

No name decides alone: an ending may be written in capitals, and a file may carry a wrong one.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import json
import lzma
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxcollapse import checks

MARK = "\ufeff"  # of the order of bytes, which editors and spreadsheets put before a text
NPY, ZIP = b"\x93NUMPY", b"PK\x03\x04"
PACKED: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ": lzma.decompress,
}


def ending(path: Path | str) -> str:
    """The ending of a file's name in small letters, as ``.csv``."""
    return Path(path).suffix.lower()


def existing(path: Path | str, what: str = "data") -> Path:
    """The path of a file, no folder, device or loop of links.

    Raises:
      ValueError: there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise checks.refusal(what, "a file that exists", str(path), "check the path")
    return path


def decoded(content: bytes, where: str, what: str = "data") -> str:
    r"""The text of bytes of UTF-8, without marks of the order of bytes, its lines ended by ``\n``.

    Marks go wherever they are: files that are joined have them inside. Ends of lines are those of
    Python's text files, so that a text is the same one wherever it was written.

    Raises:
      ValueError: they are no UTF-8; the error names the first that is not.
    """
    try:
        return plain(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise checks.refusal(
            what,
            "UTF-8",
            f"another byte at offset {error.start} of {where}",
            "convert the file to UTF-8",
        ) from None


def plain(text: str) -> str:
    r"""A text without marks of the order of bytes, its lines ended by ``\n``."""
    return text.replace(MARK, "").replace("\r\n", "\n").replace("\r", "\n")


def json_of(text: str) -> Any:
    """What a text of JSON says.

    Raises:
      ValueError: it is none, or nested deeper than Python reads.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("brackets in brackets, too many to read") from None


def json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file, which may begin with a mark of the order of bytes.

    Raises:
      ValueError: it is no text of UTF-8, no JSON or no object.
    """
    content = json_of(path.read_text(encoding="utf-8-sig"))
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__}")
    return content


# Arrays of numbers ------------------------------------------------------------------------------


def numbers(path: Path | str, what: str = "array file", vector: bool = False) -> np.ndarray:
    """An array of numbers as float64: of a ``.npy``, of a ``.npz`` that holds one, or of CSV.

    What a file is, its first bytes say. Of CSV every line is a row ``[rows, columns]``, one line
    too.

    Args:
      path: of the file.
      what: to call it in errors.
      vector: whether a single row or column is a list of numbers.

    Raises:
      ValueError: there is no such file, or it is no array of real numbers.
    """
    path = existing(path, what)
    with path.open("rb") as file:
        begins = file.read(8)
        file.seek(0)
        try:
            if begins.startswith((NPY, ZIP)) or ending(path) in (".npy", ".npz"):
                found = _saved(file)
            else:
                found = _written(file.read(), str(path), what)
        except Exception as error:  # readers raise many kinds at bytes that are none of their own
            if getattr(error, "errno", None) == errno.EIO:  # of the disk
                raise
            raise checks.refusal(
                what,
                ".npy, .npz of one array, or .csv of numbers alone, without a header line",
                f"{path} ({' '.join(str(error).split()) or type(error).__name__})",
                "save it again",
            ) from None
    if vector and sum(size > 1 for size in found.shape) <= 1:
        found = found.ravel()
    return found


def _saved(file: Any) -> np.ndarray:
    """The array that NumPy saved. Pickles are refused: they run code."""
    found = np.load(file, allow_pickle=False)
    if isinstance(found, np.lib.npyio.NpzFile):
        with found:
            if len(found.files) != 1:
                raise ValueError(f"it holds {len(found.files)} arrays")
            found = found[found.files[0]]
    if found.dtype.kind not in "iuf":
        raise ValueError(f"it holds {found.dtype}, no real numbers")
    return found.astype(np.float64)


def _written(content: bytes, where: str, what: str) -> np.ndarray:
    """The numbers of CSV, ``[rows, columns]``; also packed."""
    for begins, unpack in PACKED.items():
        if content.startswith(begins):
            content = unpack(content)
    lines = decoded(content, where, what).split("\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a file without a number
        return np.loadtxt(lines, delimiter=",", ndmin=2)
