"""GGUF files: a model, and its tokenizer."""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxcollapse import checks
from jaxcollapse.lm import architectures
from jaxcollapse.lm.architectures.hub_fields import OTHER_MODEL
from jaxcollapse.lm.checkpoints.tensors import Read, assembled, check_context, hub_rows, shortened
from jaxcollapse.lm.decoder.config import Config
from jaxcollapse.lm.decoder.decoder import Params

# Whether digits are tokens of their own, for the names of GPT-2's pre-tokenizer in GGUF.
_LONE_DIGITS = {"default": False, "gpt-2": False, "smollm": True, "starcoder": True, "refact": True}
_CONTROL, _USER_DEFINED = 3, 4  # kinds of token that a text is not cut into


def load_gguf(
    path: Path | str, dtype: str = "float32", context: int | None = None
) -> tuple[Config, Params]:
    """A model from a GGUF file, its quantised weights as the numbers they stand for.

    Args:
      path: the ``.gguf`` file.
      dtype: as in ``load``.
      context: as in ``load``.

    Returns:
      The decoder and its parameters.

    Raises:
      ValueError: the file is damaged, or of an architecture that is not read from such files, or
        has a feature that is not implemented.
      ImportError: ``gguf`` is not installed.
    """
    library, reader = _open(Path(path))
    about = {name: field.contents() for name, field in reader.fields.items()}

    def field(name, default=None):
        value = about.get(name, default)
        if value is None:
            raise checks.refusal(str(path), f"a field {name}", "none", "download it again")
        # float32 of a short decimal: that decimal.
        return float(str(np.float32(value))) if isinstance(value, float) else value

    read_from = {every.name: every.gguf for every in architectures.known() if every.gguf}
    family = field("general.architecture")
    how = read_from[checks.one_of("architecture of a GGUF file", family, read_from)]

    def own(name, default=None):
        return field(f"{family}.{name}", default)

    def only(name, value):
        checks.one_of(f"{family}.{name}", own(name, value), (value,))

    width, heads = own("embedding_length"), own("attention.head_count")
    dim = own("attention.key_length", width // heads)
    only("rope.scaling.type", "none")
    only("rope.dimension_count", dim)
    stored = {tensor.name: tensor for tensor in reader.tensors}
    config = how.config(
        width=width,
        layers=own("block_count"),
        heads=heads,
        mlp_width=own("feed_forward_length"),
        kv_heads=own("attention.head_count_kv", heads),
        head_dim=dim,
        vocab_size=len(field("tokenizer.ggml.tokens")),
        context=own("context_length"),
        norm_eps=own("attention.layer_norm_rms_epsilon"),
        rope_base=float(own("rope.freq_base", 10_000.0)),
        tied="output.weight" not in stored,
        dtype=dtype,
        param_dtype=dtype,
    )
    check_context(config, context)

    def read(tensor):
        try:
            rows = library.quants.dequantize(tensor.data, tensor.tensor_type)
        except NotImplementedError:
            kind = tensor.tensor_type.name
            raise checks.refusal(
                f"tensor {tensor.name}", "a quantisation that gguf reads", kind, OTHER_MODEL
            ) from None
        turn_heads = {"attn_q": heads, "attn_k": config.kv_heads} if how.interleaved else {}
        return hub_rows(rows, turn_heads.get(tensor.name.split(".")[-2]))

    tensors: dict[str, Read] = {}
    for name, tensor in stored.items():
        block, _, kind = name.removesuffix(".weight").rpartition(".")
        if kind in how.tensors:
            block = block.replace("blk.", "layers.") + "." if block else ""
            name = f"{block}{how.tensors[kind]}.weight"
        tensors[name] = partial(read, tensor)
    return shortened(config, assembled(config, tensors), context)


def gguf_tokenizer(path: Path | str) -> tuple[Any, int | None, int | None]:
    """The byte-pair encoding in a GGUF file.

    Args:
      path: the ``.gguf`` file.

    Returns:
      A ``tokenizers.Tokenizer``, and the numbers of the tokens that begin and end a document, None
      where the file names none.

    Raises:
      ValueError: the file is damaged or has a tokenizer of another kind.
      ImportError: ``gguf`` or the extra ``lm`` is not installed.
    """
    library = checks.require("tokenizers", "lm")
    _, reader = _open(Path(path))

    def field(name):
        found = reader.get_field(f"tokenizer.ggml.{name}")
        return found and found.contents()

    kind, pre, tokens = field("model"), field("pre"), field("tokens")
    checks.one_of("tokenizer.ggml.model", kind, ("gpt2",))
    lone_digits = _LONE_DIGITS[checks.one_of("tokenizer.ggml.pre", pre or "default", _LONE_DIGITS)]
    cuts = library.pre_tokenizers
    backend = library.Tokenizer(
        library.models.BPE(
            vocab={token: number for number, token in enumerate(tokens)},
            merges=[tuple(merge.split(" ", 1)) for merge in field("merges")],
        )
    )
    digits = [cuts.Digits(individual_digits=True)] if lone_digits else []
    backend.pre_tokenizer = cuts.Sequence([*digits, cuts.ByteLevel(add_prefix_space=False)])
    backend.decoder = library.decoders.ByteLevel()
    types = field("token_type") or []
    for kind, add in ((_CONTROL, backend.add_special_tokens), (_USER_DEFINED, backend.add_tokens)):
        add([token for token, its in zip(tokens, types, strict=False) if its == kind])
    return backend, field("bos_token_id"), field("eos_token_id")


def _open(path: Path) -> tuple[Any, Any]:
    """The library ``gguf`` and an open file."""
    try:
        library = importlib.import_module("gguf")
    except ModuleNotFoundError:
        raise ImportError("gguf is not installed; .gguf files need it: pip install gguf") from None
    if not path.is_file():
        raise checks.refusal("model", "a .gguf file", str(path), "check the path")
    try:
        return library, library.GGUFReader(path)
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise checks.refusal(
            "model", "a whole GGUF file", f"{path} ({error})", "download it again"
        ) from None
