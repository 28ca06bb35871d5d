"""How diverse documents are, from their runs of n tokens (n-grams).

All but the beginning of sequence counts. A run is known by a number of 32 bits; of n different
runs about n^2 / 2^33 share one with another, which takes 0.01% off the distinct ones of a million.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

NONE = np.uint32(2**32 - 1)  # where no run begins
MULTIPLIER = np.uint32(0x9E3779B1)


def _runs(tokens: jax.Array, lengths: jax.Array, n: int) -> jax.Array:
    """A number for the run of n tokens from each place, uint32 ``[N, C - n]``."""
    width = tokens.shape[1] - n
    number = jnp.zeros((tokens.shape[0], width), np.uint32)
    for shift in range(1, n + 1):
        number = (number ^ tokens[:, shift : shift + width].astype(np.uint32)) * MULTIPLIER
        number = number ^ (number >> np.uint32(15))
    inside = jnp.arange(width, dtype=np.int32)[None] + n < lengths[:, None]
    return jnp.where(inside, jnp.minimum(number, NONE - np.uint32(1)), NONE)


def _share_of_repeats(runs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Runs that equal another before them, and all runs, over the last axis."""
    ordered = jnp.sort(runs, axis=-1)
    is_run = ordered != NONE
    repeats = (ordered[..., 1:] == ordered[..., :-1]) & is_run[..., 1:]
    return jnp.sum(repeats, dtype=np.float32), jnp.sum(is_run, dtype=np.float32)


def distinct(tokens: jax.Array, lengths: jax.Array, n: int) -> jax.Array:
    """Distinct n: different runs of n tokens over all runs, in all documents together.

    It falls with the number of tokens, so only data of like size compare. Li et al. 2016.

    Args:
      tokens: int32 ``[N, C]``.
      lengths: int32 ``[N]``.
      n: at least 1 and below C.
    """
    repeats, count = _share_of_repeats(_runs(tokens, lengths, n).reshape(-1))
    return 1.0 - repeats / jnp.maximum(count, 1.0)


def repetition(tokens: jax.Array, lengths: jax.Array, n: int) -> jax.Array:
    """The share of runs of n tokens that were in the same document before.

    Args:
      tokens: int32 ``[N, C]``.
      lengths: int32 ``[N]``.
      n: at least 1 and below C.
    """
    repeats, count = _share_of_repeats(_runs(tokens, lengths, n))
    return repeats / jnp.maximum(count, 1.0)
