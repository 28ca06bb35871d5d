"""Documents in rows of equal length, for training and evaluation.

A row holds whole documents, one after another; none is split, so each is seen from its beginning,
as it is sampled. Attention keeps to a document, and positions begin anew with each.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws


class Rows(NamedTuple):
    """Packed documents.

    Attributes:
      tokens: int32 ``[R, T]``.
      segments: int32 ``[R, T]``, the number of a token's document, from 1; 0 where there is none.
      in_loss: bool ``[R, T]``, tokens whose prediction is in the loss; None for all.
    """

    tokens: jax.Array
    segments: jax.Array
    in_loss: jax.Array | None = None


def place(lengths: jax.Array, width: int) -> tuple[jax.Array, jax.Array]:
    """Row and offset of each document, int32 ``[N]`` each: next fit.

    A document goes behind the one before it if it fits there, and else begins a row. Which ones
    begin a row follows from leaps, from each document to the first that does not fit with it,
    doubled as often as N is, rather than from N steps.

    Args:
      lengths: int32 ``[N]``, at most ``width`` each; documents of length 0 take no room.
      width: T, tokens in a row.
    """
    count = lengths.shape[0]
    end = jnp.cumsum(lengths)
    before = end - lengths
    leap = jnp.searchsorted(end, before + width, side="right").astype(np.int32)
    leap = jnp.maximum(leap, jnp.arange(1, count + 1, dtype=np.int32))
    leap = jnp.concatenate([leap, jnp.full((1,), count, np.int32)])
    begins = jnp.zeros(count + 1, bool).at[0].set(True)

    def double(_, state):
        begins, leap = state
        return begins.at[leap].max(begins), leap[leap]

    first = draws.varying_as((begins, leap), lengths)
    begins, _ = jax.lax.fori_loop(0, count.bit_length(), double, first)
    begins = begins[:-1]
    row = jnp.cumsum(begins.astype(np.int32)) - 1
    row_start = jax.lax.cummax(jnp.where(begins, before, 0))
    return row, before - row_start


_place = jax.jit(place, static_argnums=1)


def place_many(lengths: np.ndarray, width: int) -> np.ndarray:
    """Rows of any number of documents, on the host, int64 ``[N]``; see ``place``.

    Parts of fewer than 2**31 tokens are placed one after another; each begins a row.
    """
    part = (2**31 - 1) // width
    rows, used = [np.zeros(0, np.int64)], 0
    for first in range(0, len(lengths), part):
        row = _place(lengths[first : first + part].astype(np.int32), width)[0]
        rows.append(np.asarray(row, np.int64) + used)
        used = int(rows[-1][-1]) + 1
    return np.concatenate(rows)


def rows_of(lengths: np.ndarray, width: int) -> int:
    """How many rows documents of some lengths ``[N]`` make, all of them longer than 0."""
    return int(place_many(lengths, width)[-1]) + 1


def pack(tokens: jax.Array, lengths: jax.Array, width: int) -> tuple[Rows, jax.Array]:
    """Documents in rows, and how many rows hold any.

    Args:
      tokens: int32 ``[N, C]``, documents.
      lengths: int32 ``[N]``, from 0 to the smaller of C and T.
      width: T.

    Returns:
      Rows ``[N, T]``, as many as documents can need, and an int32.
    """
    count, longest = tokens.shape
    if count * width >= 2**31:
        raise checks.refusal(
            "documents that are packed at once",
            f"fewer than 2**31 / {width}, the width of a row",
            count,
            "drive the chain from the host, or take fewer documents",
        )
    row, offset = place(lengths, width)
    column = jnp.arange(longest, dtype=np.int32)[None]
    kept = column < lengths[:, None]
    index = jnp.where(kept, row[:, None] * width + offset[:, None] + column, count * width)
    number = jnp.broadcast_to(jnp.arange(1, count + 1, dtype=np.int32)[:, None], index.shape)

    def scatter(values):
        flat = jnp.zeros(count * width, np.int32)
        return flat.at[index].set(values, mode="drop").reshape(count, width)

    used = jnp.max(jnp.where(lengths > 0, row + 1, 0))
    return Rows(scatter(tokens), scatter(number)), used


def single(tokens: jax.Array, lengths: jax.Array) -> tuple[Rows, jax.Array]:
    """Documents in a row of their own each, and how many rows hold any.

    Args:
      tokens: int32 ``[N, C]``, documents.
      lengths: int32 ``[N]``, from 0 to C; those of length 0 come last.
    """
    inside = jnp.arange(tokens.shape[1], dtype=np.int32)[None] < lengths[:, None]
    used = jnp.sum(lengths > 0, dtype=np.int32)
    return Rows(jnp.where(inside, tokens, 0), inside.astype(np.int32)), used


def positions(segments: jax.Array) -> jax.Array:
    """The place of each token in its document, int32 ``[..., T]``."""
    index = jnp.broadcast_to(jnp.arange(segments.shape[-1], dtype=np.int32), segments.shape)
    previous = jnp.concatenate([jnp.full_like(segments[..., :1], -1), segments[..., :-1]], axis=-1)
    start = jnp.where(segments != previous, index, 0)
    return index - jax.lax.cummax(start, axis=segments.ndim - 1)


def shuffled(key: jax.Array, count: int, used: jax.Array | np.ndarray) -> jax.Array:
    """Indices below ``count`` in random order, those that are used before all others.

    The order of the used ones does not depend on how many others there are.

    Args:
      key: a typed key.
      count: how many indices, static.
      used: bool ``[count]``, the first ones.
    """
    words = draws.bits(key, (count,)) >> np.uint32(1)
    last = jnp.uint32(2**32 - 1)
    return jnp.argsort(jnp.where(used, words, last), stable=True).astype(np.int32)
