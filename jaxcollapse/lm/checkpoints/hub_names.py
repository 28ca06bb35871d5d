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
from jaxcollapse.lm import architectures
from jaxcollapse.lm.decoder import decoder
from jaxcollapse.lm.decoder.config import Config

HEAD = "lm_head.weight"
# Tensors of older files that hold no weights.
BUFFERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")


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
    return name if name == HEAD else architectures.find(config.family).prefix + name


def pieces(config: Config) -> Iterator[tuple[str, Piece]]:
    """All tensors of a checkpoint, each with the path of the parameter it is a part of."""
    for path in shapes_of(config):
        for piece in pieces_of(config, path):
            yield path, piece


def pieces_of(config: Config, path: str) -> Iterator[Piece]:
    """The tensors of a checkpoint that make one parameter, layer by layer."""
    architecture = architectures.find(config.family)
    shape = shapes_of(config)[path]
    name = HEAD if path == "head" else architecture.tensors[path]
    # The output layer is [V, E] everywhere, as embeddings are.
    turned = path == "head" or (path.endswith("kernel") and architecture.turned)
    parts = {"": shape[-1]}
    if "%" in name and path.startswith("layers/qkv/"):
        keys = config.kv_heads * config.head_dim
        parts = {"q": config.heads * config.head_dim, "k": keys, "v": keys}
    elif "%" in name:
        parts = {"gate": config.mlp_width, "up": config.mlp_width}
    stacked = path.startswith("layers/")
    for layer in ((i,) for i in range(shape[0])) if stacked else ((),):
        end = 0
        for part, columns in parts.items():
            end += columns
            place = (*layer, ..., slice(end - columns, end))
            yield Piece(name.format(*layer).replace("%", part), place, turned)


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
