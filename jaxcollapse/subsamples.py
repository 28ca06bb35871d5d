"""Rows in random order, and samples without replacement, whatever the number of rows."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import draws
from jaxcollapse.products import product

# Rows of a pool for each one drawn, up to which marking them in a table is faster than sorting, on
# a CPU; elsewhere atomic operations on 16 bits would be needed, and there are none.
_ROWS_FOR_A_TABLE = 256


def shuffled(key: jax.Array, size: int) -> jax.Array:
    """The numbers below ``size`` in random order, int32 ``[size]``.

    Those below a smaller size come in the order in which they would come without the others, so
    that rows keep theirs whatever room there is behind them; ``jax.random.permutation``, which
    sorts many numbers twice, does not keep it. All orders of two are as likely, to within 2**-32.

    Args:
      key: a typed key.
      size: how many there are.
    """
    words, _ = draws.words(key, 0, (size,))
    return jnp.argsort(words, stable=True).astype(np.int32)


def distinct(key: jax.Array, count: jax.Array, size: int, bound: int) -> jax.Array:
    """``size`` distinct indices below ``count``, in random order: a sample without replacement.

    Draws with replacement and keeps the first ``size`` distinct values. Which positions repeat
    says nothing of which values they hold, so that keeping is uniform over ordered samples, and
    so is redrawing the whole when there were too few. Some ``2 ln 2`` draws for each index wanted
    suffice when ``count >= 2 size``. What repeats is found in a table of 16 bits an index, or, of
    many indices for each one wanted, by two sorts of the draws, with the same result.

    Args:
      key: a typed key.
      count: how many indices there are, may be traced; at least ``2 size``.
      size: how many to draw, static.
      bound: the largest ``count`` can be, static.

    Returns:
      int32 ``[size]``.
    """
    # Four standard deviations of how many are needed.
    tries = math.ceil(2 * math.log(2) * size + 3 * math.sqrt(size) + 3)
    small = bound <= _ROWS_FOR_A_TABLE * size and tries < 2**16
    marks = small and jax.default_backend() == "cpu"
    first_distinct = _first_distinct_by_table if marks else _first_distinct_by_sorting
    count = jnp.asarray(count, jnp.uint32)

    def attempt(state):
        attempt_number, _, _ = state
        words = jnp.concatenate(draws.words(key, attempt_number, (-(-tries // 2),)))[:tries]
        # Of 2**32 words the remainder by count would favour some indices: they are left out.
        fair = words * count >= (0 - count) % count
        values = jnp.where(fair, draws.high_word(words, count), jnp.uint32(bound))
        indices, found = first_distinct(values, size, bound)
        return attempt_number + 1, indices, found >= size

    start = (jnp.uint32(0), jnp.zeros((size,), jnp.int32), jnp.array(False))
    start = draws.varying_as(start, (key, count))
    _, indices, _ = jax.lax.while_loop(lambda state: ~state[2], attempt, start)
    return indices


def _first_distinct_by_table(
    values: jax.Array, size: int, bound: int
) -> tuple[jax.Array, jax.Array]:
    """The first distinct values below ``bound``, int32 ``[size]``, and how many there are."""
    number = values.shape[0]
    position = jnp.arange(number, dtype=jnp.uint16)
    table = jnp.full(bound + 1, number, jnp.uint16)
    table = table.at[values].min(position, mode="promise_in_bounds")
    first = (table.at[values].get(mode="promise_in_bounds") == position) & (values < bound)
    until = _running_count(first)
    # Those that repeat go where none is looked for.
    place = jnp.where(first, until - 1, number - 1)
    chosen = (
        jnp.zeros(number, jnp.int32)
        .at[place]
        .set(values.astype(jnp.int32), mode="promise_in_bounds")
    )
    return chosen[:size], until[-1]


def _first_distinct_by_sorting(
    values: jax.Array, size: int, bound: int
) -> tuple[jax.Array, jax.Array]:
    """What ``_first_distinct_by_table`` gives, without a table."""
    number = values.shape[0]
    packable = (bound + 1) * (number + 1) < 2**32

    def sort_pairs(major, minor, minor_bound):
        # One sort of packed words is seven times faster than one of pairs.
        if not packable:
            return jax.lax.sort((major, minor), num_keys=2)
        packed = jnp.sort(major * jnp.uint32(minor_bound) + minor)
        return packed // jnp.uint32(minor_bound), packed % jnp.uint32(minor_bound)

    position = jnp.arange(number, dtype=jnp.uint32)
    by_value, position = sort_pairs(values, position, number)
    before = jnp.concatenate([jnp.full((1,), bound, jnp.uint32), by_value[:-1]])
    first = (by_value != before) & (by_value < bound)
    _, chosen = sort_pairs(jnp.where(first, position, jnp.uint32(number)), by_value, bound + 1)
    return chosen[:size].astype(jnp.int32), jnp.sum(first, dtype=np.int32)


def _running_count(mask: jax.Array) -> jax.Array:
    """How many entries of a mask ``[n]``, n below 2**24, are True up to each one: int32 ``[n]``.

    Two products with triangles of ones, of whole numbers: on a CPU several times as fast as a
    cumulative sum.
    """
    width = math.isqrt(mask.shape[0] - 1) + 1 if mask.shape[0] else 1
    rows = -(-mask.shape[0] // width)
    square = jnp.pad(mask.astype(jnp.float32), (0, rows * width - mask.shape[0]))
    ones = np.ones((width, width), np.float32)
    within = product(square.reshape(rows, width), np.triu(ones))
    before = product(np.tril(ones, -1)[:rows, :rows], within[:, -1])
    return (within + before[:, None]).reshape(-1)[: mask.shape[0]].astype(jnp.int32)
