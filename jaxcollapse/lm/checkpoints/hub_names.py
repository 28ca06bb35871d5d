"""The tensors of the Hugging Face hub by name, and where the numbers of each are in a decoder.

A parameter has a path in the decoder's tree, as ``layers/qkv/kernel``, with all layers in one
array; the hub has a tensor a layer, and queries, keys and values apart.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcollapse import checks
from jaxcollapse.lm.decoder import decoder
from jaxcollapse.lm.decoder.config import Config

PREFIX = {"gpt2": "transformer.", "llama": "model.", "gemma2": "model."}
HEAD = "lm_head.weight"
# Tensors of older files that hold no weights.
BUFFERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")

_GPT2 = {
    "embed/tokens": "wte.weight",
    "embed/positions": "wpe.weight",
    "layers/attention_norm/scale": "h.{}.ln_1.weight",
    "layers/attention_norm/bias": "h.{}.ln_1.bias",
    "layers/qkv/kernel": "h.{}.attn.c_attn.weight",
    "layers/qkv/bias": "h.{}.attn.c_attn.bias",
    "layers/out/kernel": "h.{}.attn.c_proj.weight",
    "layers/out/bias": "h.{}.attn.c_proj.bias",
    "layers/mlp_norm/scale": "h.{}.ln_2.weight",
    "layers/mlp_norm/bias": "h.{}.ln_2.bias",
    "layers/up/kernel": "h.{}.mlp.c_fc.weight",
    "layers/up/bias": "h.{}.mlp.c_fc.bias",
    "layers/down/kernel": "h.{}.mlp.c_proj.weight",
    "layers/down/bias": "h.{}.mlp.c_proj.bias",
    "final_norm/scale": "ln_f.weight",
    "final_norm/bias": "ln_f.bias",
}
_LLAMA = {
    "embed/tokens": "embed_tokens.weight",
    "layers/attention_norm/scale": "layers.{}.input_layernorm.weight",
    "layers/qkv/kernel": "layers.{}.self_attn.%_proj.weight",
    "layers/out/kernel": "layers.{}.self_attn.o_proj.weight",
    "layers/mlp_norm/scale": "layers.{}.post_attention_layernorm.weight",
    "layers/gate_up/kernel": "layers.{}.mlp.%_proj.weight",
    "layers/down/kernel": "layers.{}.mlp.down_proj.weight",
    "final_norm/scale": "norm.weight",
}
_GEMMA2 = {
    **_LLAMA,
    "layers/attention_post_norm/scale": "layers.{}.post_attention_layernorm.weight",
    "layers/mlp_norm/scale": "layers.{}.pre_feedforward_layernorm.weight",
    "layers/mlp_post_norm/scale": "layers.{}.post_feedforward_layernorm.weight",
}
_NAMES = {"gpt2": _GPT2, "llama": _LLAMA, "gemma2": _GEMMA2}


class Piece(NamedTuple):
    """A tensor of a file, as part of one of our parameters.

    Attributes:
      name: in the file, without the prefix of its family.
      place: of its numbers in the parameter, an index.
      turned: whether the file has ``[out, in]``.
    """

    name: str
    place: tuple[Any, ...]
    turned: bool


def full_name(config: Config, name: str) -> str:
    """The name of a tensor as transformers writes it."""
    return name if name == HEAD else PREFIX[config.family] + name


def pieces(config: Config) -> Iterator[tuple[str, Piece]]:
    """All tensors of a checkpoint, each with the path of the parameter it is a part of."""
    keys = config.kv_heads * config.head_dim
    joined = {
        "layers/qkv/kernel": {"q": config.heads * config.head_dim, "k": keys, "v": keys},
        "layers/gate_up/kernel": {"gate": config.mlp_width, "up": config.mlp_width},
    }
    for path, shape in shapes_of(config).items():
        name = HEAD if path == "head" else _NAMES[config.family][path]
        # GPT-2 keeps its layers [in, out]; embeddings are [V, E] everywhere.
        turned = path == "head" or (path.endswith("kernel") and config.family != "gpt2")
        parts = joined[path] if "%" in name else {"": shape[-1]}
        stack = [(layer,) for layer in range(shape[0])] if path.startswith("layers/") else [()]
        for layer in stack:
            end = 0
            for part, columns in parts.items():
                end += columns
                place = (*layer, ..., slice(end - columns, end))
                yield path, Piece(name.format(*layer).replace("%", part), place, turned)


def leaves_of(params: Any) -> dict[str, Any]:
    """The leaves of a tree of parameters by their paths, as ``layers/qkv/kernel``."""
    flat, _ = jax.tree_util.tree_flatten_with_path(params)
    return {"/".join(str(key.key) for key in path): leaf for path, leaf in flat}


@functools.cache
def shapes_of(config: Config) -> Mapping[str, tuple[int, ...]]:
    """The shapes of a decoder's parameters by their paths; nothing is allocated."""
    tree = jax.eval_shape(partial(decoder.init, config), jax.eval_shape(jax.random.key, 0))
    return {path: leaf.shape for path, leaf in leaves_of(tree).items()}


def check_leaves(config: Config, leaves: Mapping[str, Any]) -> None:
    """Refuses parameters of another decoder."""
    expected = {path: f"shape {list(shape)}" for path, shape in shapes_of(config).items()}
    got = {path: f"shape {list(jnp.shape(leaf))}" for path, leaf in leaves.items()}
    for path in {**expected, **got}:
        ours, theirs = expected.get(path, "none"), got.get(path, "none")
        if ours != theirs:
            raise checks.refusal(
                f"parameter {path}", ours, theirs, "give the decoder's own parameters"
            )
