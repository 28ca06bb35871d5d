"""Values of fields as they are written on the command line and in results."""

from __future__ import annotations

import re
import typing
from typing import Any

from jaxcollapse import checks


def read_value(kind: Any, field: str, text: str) -> Any:
    """The value of a field of a type from its spelling; ``all`` is None."""
    kinds = set(typing.get_args(kind) or (kind,))
    if text == "all" and type(None) in kinds:
        return None
    for number in (int, float):
        if number in kinds:
            try:
                return number(text)
            except ValueError:
                continue
    if kinds & {int, float}:
        whole = "a whole number" if int in kinds else "a number"
        expected = f"{whole}, or all" if type(None) in kinds else whole
        raise checks.refusal(f"{field} of a workflow", expected, repr(text), "mend it")
    if bool in kinds:
        return checks.one_of(f"{field} of a workflow", text.lower(), ("true", "false")) == "true"
    return text


def spelled(value: Any) -> str:
    """A value as ``read_value`` reads it."""
    return "all" if value is None else str(value)


def kebab(name: str) -> str:
    """``FadingMemory`` as ``fading-memory``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()
