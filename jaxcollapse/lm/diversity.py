"""How diverse documents are, from their runs of n tokens (n-grams), and from single ones.

All but the beginning of sequence counts. A run is known by a number of 32 bits; of n different
runs about n^2 / 2^33 share one with another, which takes 0.01% off the distinct ones of a million.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import draws

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


def distinct_tokens(tokens: jax.Array, lengths: jax.Array) -> jax.Array:
    """How many words of the vocabulary are left: different tokens in all documents together.

    It falls where rare words are no longer written, and rises where garbled ones are, of pieces
    that are rare in real text. It grows with the number of tokens.

    Args:
      tokens: int32 ``[N, C]``.
      lengths: int32 ``[N]``.
    """
    repeats, count = _share_of_repeats(_runs(tokens, lengths, 1).reshape(-1))
    return count - repeats


STEEPEST = 20.0  # the most that an exponent of Zipf's law is taken for


def zipf_exponent(tokens: jax.Array, lengths: jax.Array) -> jax.Array:
    """The exponent s of Zipf's law ``p_r ~ r^-s`` of the frequencies of tokens by their rank r.

    By maximum likelihood, given the order: of the V' tokens that are left, s is where the law's
    mean ``log r`` is that of the tokens. It rises where common words take over. Ranks are of the
    same tokens, so it is a little too large where few are of each; 0 where all are as frequent, and
    20, the most, where one token alone is left.

    Args:
      tokens: int32 ``[N, C]``.
      lengths: int32 ``[N]``.
    """
    ordered = jnp.sort(_runs(tokens, lengths, 1).reshape(-1))
    is_token = ordered != NONE
    begins = is_token & jnp.concatenate([jnp.ones(1, bool), ordered[1:] != ordered[:-1]])
    place = jnp.cumsum(begins, dtype=np.int32) - 1
    counts = jnp.zeros(ordered.shape, np.int32).at[place].add(is_token.astype(np.int32))
    counts = jnp.sort(counts, descending=True).astype(np.float32)
    log_rank = jnp.log(jnp.arange(1, counts.size + 1, dtype=np.float32))
    share = counts / jnp.maximum(jnp.sum(counts), 1.0)
    observed = jnp.sum(share * log_rank)
    left = counts > 0

    def closer(ends, _):
        low, high = ends
        middle = 0.5 * (low + high)
        weight = jnp.where(left, jnp.exp(-middle * log_rank), 0.0)
        too_flat = jnp.sum(weight * log_rank) > observed * jnp.sum(weight)
        return (jnp.where(too_flat, middle, low), jnp.where(too_flat, high, middle)), None

    ends = draws.varying_as((jnp.float32(0.0), jnp.float32(STEEPEST)), counts)
    (low, high), _ = jax.lax.scan(closer, ends, length=25)
    return jnp.where(jnp.sum(left) > 1, 0.5 * (low + high), STEEPEST)
