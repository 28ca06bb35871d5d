"""Parameters from tensors with the hub's names, whatever file they are in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks
from jaxcollapse.lm import architectures
from jaxcollapse.lm.architectures.hub_fields import OTHER_MODEL
from jaxcollapse.lm.checkpoints.hub_names import BUFFERS, HEAD, pieces, pieces_of, shapes_of
from jaxcollapse.lm.decoder.config import Config
from jaxcollapse.lm.decoder.decoder import Params


class Stored(NamedTuple):
    """A tensor in a file.

    Attributes:
      shape: of its array.
      read: reads it.
    """

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


def add_tensor(tensors: dict[str, Stored], name: str, tensor: Stored, where: str) -> None:
    """Adds a tensor of a file to others, none of which has its name.

    Raises:
      ValueError: one has, and nothing says which of them is the model's.
    """
    if name in tensors:
        raise checks.refusal(
            f"tensor {name}", "one of that name", f"another in {where}", "download them again"
        )
    tensors[name] = tensor


def _by_bare_names(config: Config, tensors: Mapping[str, Stored]) -> dict[str, Stored]:
    """The tensors of a decoder by their names without a prefix, all there, each of its shape."""
    prefix = architectures.find(config.family).prefix
    found: dict[str, Stored] = {}
    for name, tensor in tensors.items():
        add_tensor(found, name.removeprefix(prefix), tensor, "the same model, with another prefix")
    for path, shape in shapes_of(config).items():
        stacked = path.startswith("layers/")
        for piece in pieces_of(config, path):
            if piece.name not in found:
                raise checks.refusal(
                    "weights", f"a tensor {piece.name}", "none of that name", "download them again"
                )
            *others, columns = shape[1:] if stacked else shape
            part = piece.place[-1]
            expected = (*others, len(range(columns)[part]))
            expected = expected[::-1] if piece.turned else expected
            got = found[piece.name].shape
            if got != expected:
                raise checks.refusal(
                    f"tensor {piece.name}",
                    f"shape {list(expected)} by the model's configuration",
                    list(got),
                    "use the configuration and the weights of one model",
                )
    return found


def assembled(config: Config, tensors: Mapping[str, Stored]) -> Params:
    """Parameters from the tensors of a checkpoint, names with or without a prefix.

    One tensor is read at a time, and none before all are known to be there: a configuration that
    asks for more than there is takes no memory.
    """
    left = _by_bare_names(config, tensors)
    dtype = jnp.dtype(config.param_dtype)
    arrays = {path: np.empty(shape, dtype) for path, shape in shapes_of(config).items()}
    for path, piece in pieces(config):
        array = left.pop(piece.name).read()
        if not np.isfinite(array).all():
            raise checks.refusal(
                f"tensor {piece.name}", "finite numbers", "NaN or infinity", "download them again"
            )
        place = arrays[path][piece.place]
        place[...] = array.T if piece.turned else array
    if config.tied and HEAD in left:
        head = left.pop(HEAD).read().astype(dtype)
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
