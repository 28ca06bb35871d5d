"""Small pieces of Markdown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """The lines of a table, none where there are no rows."""
    lines = [_row(row) for row in rows]
    return [_row(headings), _row(["---"] * len(headings)), *lines, ""] if lines else []


def _row(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(cell(value) for value in cells) + " |"


def cell(value: Any) -> str:
    """A value in a table: on one line, with no bar outside of code, where it would end the cell."""
    parts = " ".join(str(value).split()).split("`")
    return "`".join(p if n % 2 else p.replace("|", "&#124;") for n, p in enumerate(parts))


def about(thing: Any) -> str:
    """A docstring without its sections, as Markdown; examples are code."""
    text = inspect.getdoc(inspect.unwrap(thing) if callable(thing) else thing) or ""
    text = re.split(r"\n\n(?:Args|Attributes|Raises|Returns|Yields):\n", text)[0]
    return re.sub(r"^(>>>|\.\.\.)( |$)", r"    \1\2", text, flags=re.M)


def link(text: str, address: str) -> str:
    """A link of code."""
    return f"[`{text}`]({address})"
