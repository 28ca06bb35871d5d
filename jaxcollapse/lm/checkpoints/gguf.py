"""GGUF files: a model, and its tokenizer."""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxcollapse import checks
from jaxcollapse.lm import architectures
from jaxcollapse.lm.architectures.hub_fields import MEND, OTHER_MODEL, shown
from jaxcollapse.lm.checkpoints.gguf_fields import OF_TOKENIZERS, Metadata
from jaxcollapse.lm.checkpoints.tensors import (
    Stored,
    add_tensor,
    assembled,
    check_context,
    hub_rows,
    shortened,
)
from jaxcollapse.lm.decoder.config import Config
from jaxcollapse.lm.decoder.decoder import Params
from jaxcollapse.lm.hub import first_sentence

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
    library, reader, content = _open(Path(path))
    read_from = {every.name: every.gguf for every in architectures.known() if every.gguf}
    family = Metadata(content).of_file("general.architecture")
    how = read_from[checks.one_of("architecture of a GGUF file", str(family), read_from)]
    about = Metadata(content, str(family))
    about.of_file("general.architecture")

    width, heads = about.size("embedding_length"), about.size("attention.head_count")
    dim = about.size("attention.key_length", max(width // heads, 1))
    for name in ("rope.dimension_count", "attention.value_length"):
        checks.one_of(f"{family}.{name}", about.get(name, dim), (dim,))
    tokens = about.of_file("tokenizer.ggml.tokens")
    checks.one_of(f"{family}.vocab_size", about.get("vocab_size", len(tokens)), (len(tokens),))
    stored = {tensor.name: tensor for tensor in reader.tensors}
    config = how.config(
        width=width,
        layers=about.size("block_count"),
        heads=heads,
        mlp_width=about.size("feed_forward_length"),
        kv_heads=about.size("attention.head_count_kv", heads),
        head_dim=dim,
        vocab_size=len(tokens),
        context=about.size("context_length"),
        norm_eps=about.number("attention.layer_norm_rms_epsilon"),
        rope_base=about.number("rope.freq_base", 10_000.0),
        tied="output.weight" not in stored,
        dtype=dtype,
        param_dtype=dtype,
    )
    about.check_all_read()
    check_context(config, context)

    def read(tensor):
        try:
            with np.errstate(all="ignore"):  # what is not finite is refused when it is placed
                rows = library.quants.dequantize(tensor.data, tensor.tensor_type)
        except NotImplementedError:
            kind = tensor.tensor_type.name
            raise checks.refusal(
                f"tensor {tensor.name}", "a quantisation that gguf reads", kind, OTHER_MODEL
            ) from None
        turn_heads = {"attn_q": heads, "attn_k": config.kv_heads} if how.interleaved else {}
        return hub_rows(rows, turn_heads.get(tensor.name.split(".")[-2]))

    tensors: dict[str, Stored] = {}
    for name, tensor in stored.items():
        block, _, kind = name.removesuffix(".weight").rpartition(".")
        if kind in how.tensors:
            block = block.replace("blk.", "layers.") + "." if block else ""
            name = f"{block}{how.tensors[kind]}.weight"
        shape = tuple(int(size) for size in reversed(tensor.shape))
        add_tensor(tensors, name, Stored(shape, partial(read, tensor)), str(path))
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
    _, _, content = _open(Path(path))
    prefix = "tokenizer.ggml."
    about = {name.removeprefix(prefix): v for name, v in content.items() if name.startswith(prefix)}
    kind, pre = about.get("model"), about.get("pre") or "default"
    checks.one_of("tokenizer.ggml.model", kind, ("gpt2",))
    checks.one_of("tokenizer.ggml.pre", str(pre), _LONE_DIGITS)
    tokens, merges, types = (
        _list(about, name, kind)
        for name, kind in (("tokens", str), ("merges", str), ("token_type", int))
    )
    ends = [about.get(f"{end}_token_id") for end in ("bos", "eos")]
    read = ("tokens", "merges", "token_type", "bos_token_id", "eos_token_id")
    for name, value in about.items():
        known = name in (*read, *OF_TOKENIZERS) or name.startswith("chat_template")
        if not known and value not in (False, 0, "", []):
            raise checks.refusal(
                f"{prefix}{name}", "only fields whose meaning is known", shown(value), OTHER_MODEL
            )
    cuts = library.pre_tokenizers
    backend = library.Tokenizer(
        library.models.BPE(
            vocab={token: number for number, token in enumerate(tokens)},
            merges=[tuple(merge.split(" ", 1)) for merge in merges],
        )
    )
    digits = [cuts.Digits(individual_digits=True)] if _LONE_DIGITS[pre] else []
    backend.pre_tokenizer = cuts.Sequence([*digits, cuts.ByteLevel(add_prefix_space=False)])
    backend.decoder = library.decoders.ByteLevel()
    for kind, add in ((_CONTROL, backend.add_special_tokens), (_USER_DEFINED, backend.add_tokens)):
        add([token for token, its in zip(tokens, types, strict=False) if its == kind])
    return backend, ends[0], ends[1]


def _list(about: dict[str, Any], name: str, kind: type) -> list[Any]:
    """A list of the tokenizer's; only that of the kinds of tokens may be left out."""
    found = about.get(name, [] if kind is int else None)
    if not isinstance(found, list) or not all(isinstance(item, kind) for item in found):
        raise checks.refusal(
            f"tokenizer.ggml.{name}", f"a list of {kind.__name__}", shown(found), MEND
        )
    return found


def _open(path: Path) -> tuple[Any, Any, dict[str, Any]]:
    """The library ``gguf``, an open file, and its metadata."""
    try:
        library = importlib.import_module("gguf")
    except ModuleNotFoundError:
        raise ImportError("gguf is not installed; .gguf files need it: pip install gguf") from None
    if not path.is_file():
        raise checks.refusal("model", "a .gguf file", str(path), "check the path")
    try:
        reader = library.GGUFReader(path)
        return library, reader, {name: field.contents() for name, field in reader.fields.items()}
    except Exception as error:  # of a damaged file the library raises many kinds
        raise checks.refusal(
            "model", "a whole GGUF file", f"{path} ({first_sentence(error)})", "download it again"
        ) from None
