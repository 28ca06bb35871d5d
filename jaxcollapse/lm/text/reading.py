"""Texts and rows of texts, from files and from the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jaxcollapse import checks
from jaxcollapse.inputs import MARK, decoded, ending, existing, json_of, plain

Row = tuple[str, ...]
JSON_LINES = (".jsonl", ".ndjson")
# Endings of what is neither text nor JSON lines: read as text, its commas and brackets would be.
OTHERS = (".json", ".csv", ".tsv", ".parquet", ".arrow", ".npy", ".npz", ".gz", ".zip", ".zst")


def content(path: Path | str) -> bytes:
    """The bytes of a file.

    Raises:
      ValueError: there is no such file.
    """
    return existing(path).read_bytes()


def is_json_lines(path: Path | str, content: bytes, choices: Sequence[Row]) -> bool:
    """Whether a file is of JSON lines, or of text.

    Args:
      path: its name.
      content: its bytes.
      choices: names of fields that lines of JSON may have.

    Raises:
      ValueError: its name is one of neither, or is that of text although JSON lines are in it.
    """
    name = Path(path).name
    if ending(path) in JSON_LINES:
        return True
    if ending(path) in OTHERS:
        raise checks.refusal(
            "data", "a text file, or JSON lines (.jsonl)", name, "write it as one of these"
        )
    first = content.removeprefix(MARK.encode()).lstrip().partition(b"\n")[0]
    line = plain(first.decode("utf-8", "replace")).partition("\n")[0]
    try:
        names = first_choice(choices, json_of(line)) if line.startswith("{") else None
    except ValueError:
        return False
    if names is not None:
        raise checks.refusal(
            "data",
            "text",
            f"JSON lines with {_named([names])} in {name}",
            "let its name end in .jsonl",
        )
    return False


def not_empty(texts: Iterable[str], where: str) -> list[str]:
    """Texts without blanks around them, without those that are nothing else.

    Raises:
      ValueError: none is left.
    """
    stripped = (plain(text).strip() for text in texts)
    kept = [text for text in stripped if text]
    if not kept:
        raise checks.refusal(
            "data", "one document or more", f"none in {where}", "give a file with text in it"
        )
    return kept


def json_rows(content: bytes, where: str, choices: Sequence[Row]) -> list[Row]:
    """The texts of some fields of a JSON object in each line; empty lines are passed over.

    Args:
      content: UTF-8.
      where: what to call it in errors.
      choices: names of fields; in each line, those of the first choice that are all there count.

    Raises:
      ValueError: it is no UTF-8, or a line is not as expected; the error names it.
    """
    rows = []
    for number, line in enumerate(decoded(content, where).split("\n"), 1):
        if not line.strip():
            continue
        try:
            entry = json_of(line)
        except ValueError as error:
            raise _bad_line(where, number, "a JSON object", f"what is none ({error})") from None
        if not isinstance(entry, dict):
            raise _bad_line(where, number, "a JSON object", type(entry).__name__)
        names = first_choice(choices, entry)
        if names is None:
            raise _bad_line(where, number, f"the field {_named(choices)}", _listed(entry))
        for name in names:
            if not isinstance(entry[name], str):
                raise _bad_line(where, number, f"a text in '{name}'", type(entry[name]).__name__)
            if any("\ud800" <= character <= "\udfff" for character in entry[name]):
                raise _bad_line(where, number, f"Unicode in '{name}'", "half of a surrogate pair")
        rows.append(tuple(entry[name] for name in names))
    return rows


def first_choice(choices: Sequence[Row], present: Iterable[str]) -> Row | None:
    """The first choice of names that are all present."""
    present = set(present)
    return next((names for names in choices if present.issuperset(names)), None)


def _named(choices: Sequence[Row]) -> str:
    return ", or ".join(" and ".join(f"'{name}'" for name in names) for names in choices)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"


def _bad_line(where: str, number: int, expected: str, got: str) -> ValueError:
    return checks.refusal(f"line {number} of {where}", expected, got, "mend or remove the line")


def hub_rows(splits: Any, name: str, split: str, choices: Sequence[Row]) -> list[Row]:
    """The texts of some fields of one split, as ``json_rows`` chooses them.

    Raises:
      ValueError: there is no such split or field, or what is in it is no text.
    """
    if split not in splits:
        raise checks.refusal(
            "data", f"a split '{split}' in '{name}'", _listed(splits), "choose another data set"
        )
    columns = splits[split]
    names = first_choice(choices, columns.column_names)
    if names is None:
        raise checks.refusal(
            "data",
            f"the field {_named(choices)} in '{name}'",
            _listed(columns.column_names),
            "choose another data set",
        )
    rows = list(zip(*(list(columns[name]) for name in names), strict=True))
    wrong = next((text for row in rows for text in row if not isinstance(text, str)), None)
    if wrong is not None:
        raise checks.refusal(
            "data", f"texts in {_named([names])} of '{name}'", type(wrong).__name__, "choose others"
        )
    return rows
