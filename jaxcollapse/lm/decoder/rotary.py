"""Rotary positions: queries and keys turned by angles that grow with the position."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse.lm.decoder.config import Config


class Rotation(NamedTuple):
    """Rotary positions: feature i and i + D/2 turn by ``position base^(-2i/D)``. Su et al. 2021.

    Attributes:
      cos: float32 ``[B, 1, T, D]``.
      sin: likewise, negative for the first half of the features.
    """

    cos: jax.Array
    sin: jax.Array


def rotation(config: Config, positions: jax.Array) -> Rotation | None:
    """The rotation of tokens at ``positions`` ``[B, T]``; None where positions are learned."""
    if config.rope_base is None:
        return None
    half = config.head_dim // 2
    frequency = np.asarray(config.rope_base ** (-np.arange(half) / half), np.float32)
    angle = positions[:, None, :, None].astype(np.float32) * frequency[None, None, None]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return Rotation(jnp.concatenate([cos, cos], -1), jnp.concatenate([-sin, sin], -1))


def rotate(x: jax.Array, rotation: Rotation) -> jax.Array:
    """Queries and keys ``[B, H, T, D]``, turned."""
    first, second = jnp.split(x, 2, axis=-1)
    full, swapped = x.astype(np.float32), jnp.concatenate([second, first], axis=-1)
    return (full * rotation.cos + swapped.astype(np.float32) * rotation.sin).astype(x.dtype)
