"""Metadata of GGUF files: read, or known to change nothing, or refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxcollapse import checks
from jaxcollapse.lm.architectures.hub_fields import MEND, Noted, shown

# Of an architecture, without its name: the values that leave the numbers of a Llama as they are,
# as llama.cpp reads them.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "rope.scaling.type": ("none",),
    "rope.scaling.factor": (0, 1),
    "rope.scaling.attn_factor": (0, 1),
    "rope.scale_linear": (0, 1),  # of the files of 2023
    "attention.scale": (0,),
    "attention.causal": (True,),
    "attention.clamp_kqv": (0,),
    "attention.max_alibi_bias": (0,),
    "attention.sliding_window": (0,),
    "expert_count": (0,),
    "expert_used_count": (0,),
    "leading_dense_block_count": (0,),
    "pooling_type": (0,),
    "use_parallel_residual": (False,),
    "tensor_data_layout": ("Meta AI original pth",),
}
# Whatever they say, where positions are not scaled.
NOTES = ("rope.scaling.finetuned", "rope.scaling.original_context_length")
# Of the whole file.
OF_FILES: dict[str, tuple[Any, ...]] = {"general.type": ("model",), "split.count": (0, 1)}
DESCRIPTIONS = ("general.", "tokenizer.", "quantize.", "split.", "GGUF.")
# Of a tokenizer: those that a byte-pair encoding does not need, as texts get no special tokens.
_OF_TOKENIZERS = """
add_bos_token add_eos_token add_sep_token add_space_prefix scores token_type_count pre model
unknown_token_id padding_token_id seperator_token_id separator_token_id cls_token_id mask_token_id
eot_token_id eom_token_id prefix_token_id suffix_token_id middle_token_id fim_pre_token_id
fim_suf_token_id fim_mid_token_id fim_pad_token_id fim_rep_token_id fim_sep_token_id
"""
OF_TOKENIZERS = frozenset(_OF_TOKENIZERS.split())


class Metadata:
    """The metadata of a GGUF file, typed."""

    def __init__(self, content: Mapping[str, Any], family: str = ""):
        """The metadata of a file.

        Args:
          content: values by name.
          family: the architecture's name, which its own fields begin with.
        """
        self.content = Noted(content)
        self.family = family

    def get(self, name: str, default: Any = None) -> Any:
        """A value of the architecture; without a default it has to be there."""
        return self.of_file(f"{self.family}.{name}", default)

    def of_file(self, name: str, default: Any = None) -> Any:
        """A value of the whole file; without a default it has to be there."""
        value = self.content.get(name, default)
        if value is None:
            raise checks.refusal("GGUF file", f"a field {name}", "none", "download it again")
        return value

    def size(self, name: str, default: int | None = None) -> int:
        """A whole number of at least 1."""
        value = self.get(name, default)
        if not isinstance(value, int):
            raise self._wrong(name, "a whole number", value)
        return checks.whole_number(f"{self.family}.{name}", value)

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number of at least 0: of float32 of a short decimal, that decimal."""
        value = self.get(name, default)
        whole = isinstance(value, int | float) and not isinstance(value, bool)
        if not whole or not (0 <= value <= float(np.finfo(np.float32).max)):
            raise self._wrong(name, "a number of at least 0", value)
        return float(str(np.float32(value))) if isinstance(value, float) else float(value)

    def check_all_read(self) -> None:
        """Refuses metadata that nobody asked for and that may change what is computed.

        Raises:
          ValueError: there is such a field.
        """
        own = f"{self.family}."
        for name, value in self.content.unasked().items():
            allowed = OF_FILES.get(name)
            if name.startswith(own):
                if name.removeprefix(own) in NOTES:
                    continue
                allowed = NEUTRAL.get(name.removeprefix(own), ())
            elif allowed is None and name.startswith(DESCRIPTIONS):
                continue
            if value not in (allowed or ()):
                expected = "only fields whose meaning is known"
                if allowed:
                    expected = f"one of {', '.join(map(str, allowed))}"
                raise checks.refusal(
                    f"{name} in a GGUF file",
                    expected,
                    shown(value),
                    "this is not implemented; choose another model",
                )

    def _wrong(self, name: str, expected: str, got: Any) -> ValueError:
        return checks.refusal(f"{self.family}.{name} in a GGUF file", expected, shown(got), MEND)
