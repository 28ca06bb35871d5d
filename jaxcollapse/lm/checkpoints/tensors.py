"""Parameters from tensors with the hub's names, whatever file they are in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks
from jaxcollapse.lm import architectures
from jaxcollapse.lm.architectures.hub_fields import OTHER_MODEL
from jaxcollapse.lm.checkpoints.hub_names import BUFFERS, HEAD, pieces, shapes_of
from jaxcollapse.lm.decoder.config import Config
from jaxcollapse.lm.decoder.decoder import Params

# Reads a tensor of a file.
Read = Callable[[], np.ndarray]


def assembled(config: Config, tensors: Mapping[str, Read]) -> Params:
    """Parameters from the tensors of a checkpoint, names with or without a prefix.

    One tensor is read at a time.
    """
    prefix = architectures.find(config.family).prefix
    left = {name.removeprefix(prefix): read for name, read in tensors.items()}
    dtype = jnp.dtype(config.param_dtype)
    arrays = {path: np.empty(shape, dtype) for path, shape in shapes_of(config).items()}
    for path, piece in pieces(config):
        if piece.name not in left:
            raise checks.refusal(
                "weights", f"a tensor {piece.name}", "none of that name", "download them again"
            )
        array = left.pop(piece.name)()
        place = arrays[path][piece.place]
        expected = place.shape[::-1] if piece.turned else place.shape
        if array.shape != expected:
            raise checks.refusal(
                f"tensor {piece.name}",
                f"shape {list(expected)} by the model's configuration",
                list(array.shape),
                "use the configuration and the weights of one model",
            )
        place[...] = array.T if piece.turned else array
    if config.tied and HEAD in left:
        head = left.pop(HEAD)().astype(dtype)
        if not np.array_equal(head, arrays["embed/tokens"]):
            raise checks.refusal(
                f"tensor {HEAD}",
                "the embedding's numbers, as the configuration ties them",
                "others",
                "set tie_word_embeddings to false if the model is not tied",
            )
    unknown = sorted(name for name in left if not f".{name}".endswith(BUFFERS))
    if unknown:
        raise checks.refusal(
            "weights",
            f"only tensors of a {config.family} decoder",
            f"{len(unknown)} more: {', '.join(unknown[:3])}{', ...' if unknown[3:] else ''}",
            OTHER_MODEL,
        )
    params: dict[str, Any] = {}
    for path in list(arrays):
        *parents, last = path.split("/")
        node = params
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = jnp.asarray(arrays.pop(path))
    return params


def check_context(config: Config, context: int | None) -> None:
    """Refuses a context that is longer than the model's own."""
    if context is not None and checks.whole_number("context", context) > config.context:
        raise checks.refusal(
            "context", f"at most the model's own, {config.context}", context, "lower it"
        )


def shortened(config: Config, params: Params, context: int | None) -> tuple[Config, Params]:
    """The model for sequences of at most ``context`` tokens."""
    if context is None:
        return config, params
    if config.rope_base is None:
        embed = {**params["embed"], "positions": params["embed"]["positions"][:context]}
        params = {**params, "embed": embed}
    return dataclasses.replace(config, context=context), params


def hub_rows(rows: np.ndarray, turn_heads: int | None) -> np.ndarray:
    """A tensor of llama2.c or GGUF as the hub has it.

    Features 2i and 2i + 1 of a head turn together in those files, i and i + D/2 at the hub.

    Args:
      rows: ``[out, in]``.
      turn_heads: H or K where they make queries or keys, which turn; None for others.
    """
    if turn_heads is None:
        return rows
    pairs = rows.reshape(turn_heads, -1, 2, rows.shape[-1])
    return pairs.transpose(0, 2, 1, 3).reshape(rows.shape)
