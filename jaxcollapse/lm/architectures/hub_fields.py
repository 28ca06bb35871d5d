"""Fields of the Hugging Face hub's ``config.json``, as all architectures read and write them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from jaxcollapse import checks

CONFIG = "config.json"
OTHER_MODEL = "this is not implemented; choose another model"
TANH_GELU = ("gelu_pytorch_tanh", "gelu_new", "gelu_fast")  # three names of one function
SILU = ("silu", "swish")


class Fields:
    """The fields of a ``config.json``; what it leaves out is as in transformers."""

    def __init__(self, content: Mapping[str, Any]):
        """The fields of a file.

        Args:
          content: the JSON object in the file.
        """
        self.content = content

    def get(self, name: str, default: Any = None) -> Any:
        """What the file says; a field without a default has to be there."""
        value = self.content.get(name)
        if value is None and default is None:
            raise checks.refusal(CONFIG, f"a field '{name}'", "none", "restore it")
        return default if value is None else value

    def size(self, name: str) -> int:
        """A whole number that has to be there."""
        return checks.whole_number(f"{name} in {CONFIG}", self.get(name))

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
        content = self.content
        rope = {**(content.get("rope_scaling") or {}), **(content.get("rope_parameters") or {})}
        kind = rope.get("rope_type", rope.get("type", "default"))
        if kind != "default" or any(isinstance(value, dict) for value in rope.values()):
            field = "rope_parameters" if content.get("rope_parameters") else "rope_scaling"
            raise unknown_feature(field, "the default rotary positions in every layer", rope)
        part = rope.get("partial_rotary_factor", content.get("partial_rotary_factor"))
        if part not in (None, 1):
            raise unknown_feature("partial_rotary_factor", "1", part)
        base = rope.get("rope_theta") or content.get("rope_theta") or 10_000.0
        return float(base)


def unknown_feature(name: str, expected: str, got: Any) -> ValueError:
    """Says that a field has a value that is not implemented; for the caller to raise."""
    return checks.refusal(f"{name} in {CONFIG}", expected, json.dumps(got), OTHER_MODEL)


def gate_of(mlp: str) -> str:
    """The hub's name of the activation in a gated feed-forward layer."""
    return "silu" if mlp == "swiglu" else "gelu_pytorch_tanh"
