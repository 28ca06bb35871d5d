"""Fields of the Hugging Face hub's ``config.json``, as all architectures read and write them.

A field that nobody asks for may change what a model computes, so it is refused by name, unless it
is one of those that change nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from jaxcollapse import checks
from jaxcollapse.lm.architectures.harmless import is_harmless

CONFIG = "config.json"
OTHER_MODEL = "this is not implemented; choose another model"
MEND = "mend the file, or download it again"
TANH_GELU = ("gelu_pytorch_tanh", "gelu_new", "gelu_fast")  # three names of one function
LARGEST = float(np.finfo(np.float32).max)
SILU = ("silu", "swish")
# Of rotary positions without a scale; what else is there scales them.
PLAIN_ROPE = ("rope_type", "type", "rope_theta", "partial_rotary_factor")


class Noted(Mapping[str, Any]):
    """A mapping that knows which of its names were asked for."""

    def __init__(self, content: Mapping[str, Any]):
        """Takes over a mapping.

        Args:
          content: names and values.
        """
        self._content = content
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.asked.add(name)
        return self._content[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)

    def unasked(self) -> dict[str, Any]:
        """What nobody asked for."""
        return {name: value for name, value in self._content.items() if name not in self.asked}


class Fields:
    """The fields of a ``config.json``; what it leaves out is as in transformers."""

    def __init__(self, content: Mapping[str, Any]):
        """The fields of a file.

        Args:
          content: the JSON object in the file.
        """
        self.content = Noted(content)

    def get(self, name: str, default: Any = None) -> Any:
        """What the file says; a field without a default has to be there."""
        value = self.content.get(name)
        if value is None and default is None:
            raise checks.refusal(CONFIG, f"a field '{name}'", "none", "restore it")
        return default if value is None else value

    def size(self, name: str, default: int | None = None) -> int:
        """A whole number of at least 1; without a default it has to be there."""
        value = self.get(name, default)
        if not isinstance(value, int):
            raise self._wrong(name, "a whole number", value)
        return checks.whole_number(f"{name} in {CONFIG}", value)

    def number(self, name: str, default: float, above: float | None = None) -> float:
        """A number of at least 0, or above another one, that float32 holds."""
        value = self.get(name, default)
        fits = _is_finite(value) and (value >= 0 if above is None else value > above)
        if not fits:
            expected = "at least 0" if above is None else f"above {above:g}"
            raise self._wrong(name, f"a number {expected}", value)
        return float(value)

    def cap(self, name: str, default: float) -> float | None:
        """A number above 0, or none where the file says null."""
        if self.content.get(name, default) is None:
            return None
        return self.number(name, default, above=0)

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self.get(name, default)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false", value)
        return value

    def activation(self, name: str, default: str, known: Iterable[str]) -> str:
        """An activation, one of those known."""
        got = self.get(name, default)
        if got not in known:
            raise unknown_feature(name, f"one of {', '.join(known)}", got)
        return got

    def gated(self, name: str, default: str) -> str:
        """The gated feed-forward layer with an activation, as ``Config.mlp`` names it."""
        activation = self.activation(name, default, SILU + TANH_GELU)
        return "swiglu" if activation in SILU else "geglu"

    def rope_base(self) -> float:
        """The base of rotary positions, from the older fields or the newer one."""
        name = "rope_parameters" if self.content.get("rope_parameters") else "rope_scaling"
        older, newer = self._object("rope_scaling"), self._object("rope_parameters")
        rope = {**older, **newer}
        plain = rope.get("rope_type", rope.get("type", "default")) == "default"
        # Transformers takes one of two that differ, another version the other.
        if any(older[field] != newer[field] for field in older.keys() & newer):
            raise unknown_feature(name, "what rope_scaling says too", rope)
        scaled = [f for f, v in rope.items() if f not in PLAIN_ROPE and v is not None]
        if not plain or any(rope[field] != 1 for field in scaled):
            raise unknown_feature(name, "the default rotary positions in every layer", rope)
        for part in (rope.get("partial_rotary_factor"), self.content.get("partial_rotary_factor")):
            if part not in (None, 1):
                raise unknown_feature("partial_rotary_factor", "1", part)
        bases = [
            Fields(content).number("rope_theta", 10_000.0, above=0)
            for content in (rope, {"rope_theta": self.content.get("rope_theta")})
            if content.get("rope_theta") is not None
        ]
        if len(set(bases)) > 1:
            raise self._wrong("rope_theta", f"{bases[0]:g}, as in {name}", bases[1])
        return float(bases[0]) if bases else 10_000.0

    def check_all_read(self, others: Iterable[str]) -> None:
        """Refuses fields that nobody asked for and that may change what is computed.

        Args:
          others: names of fields that change nothing in this family.

        Raises:
          ValueError: there is such a field.
        """
        for name, value in self.content.unasked().items():
            if name not in others and not is_harmless(name, value):
                raise checks.refusal(
                    f"{name} in {CONFIG}",
                    "only fields whose meaning is known",
                    shown(value),
                    "choose another model, or remove the field if it changes nothing",
                )

    def _object(self, name: str) -> dict[str, Any]:
        value = self.content.get(name) or {}
        if not isinstance(value, dict):
            raise self._wrong(name, "a JSON object", value)
        return value

    @staticmethod
    def _wrong(name: str, expected: str, got: Any) -> ValueError:
        return checks.refusal(f"{name} in {CONFIG}", expected, shown(got), MEND)


def _is_finite(value: Any) -> bool:
    a_number = isinstance(value, int | float) and not isinstance(value, bool)
    return a_number and abs(value) <= LARGEST


def shown(value: Any) -> str:
    """A value as JSON has it, in one line that is not too long."""
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def unknown_feature(name: str, expected: str, got: Any) -> ValueError:
    """Says that a field has a value that is not implemented; for the caller to raise."""
    return checks.refusal(f"{name} in {CONFIG}", expected, shown(got), OTHER_MODEL)


def gate_of(mlp: str) -> str:
    """The hub's name of the activation in a gated feed-forward layer."""
    return "silu" if mlp == "swiglu" else "gelu_pytorch_tanh"
