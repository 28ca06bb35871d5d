"""What a chain keeps of the data made so far: all points, or only their statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws

# What a task's option ``pool`` may be: "auto" is statistics where the workflow allows.
POOLS = ("auto", "points", "statistics")

Batch = Any
State = Any
View = Any


def _no_rows(key: jax.Array, state: State, *counts: Any) -> View:
    raise checks.refusal(
        "pool to draw from",
        "one that keeps points",
        "one that keeps only statistics",
        "use pool='auto' or 'points'",
    )


class Pool(NamedTuple):
    """How batches are kept. Pure functions on a state that is any pytree.

    Attributes:
      start: ``start(batch, real=False) -> state``, a pool that holds one batch, real or synthetic.
      add: ``add(state, batch) -> state``, the pool with one batch of synthetic data more.
      all: ``all(state) -> view`` of everything in the pool.
      draw: ``draw(key, state, size) -> view`` of ``size`` rows without replacement (None: as many
        as a batch has); refused by a pool that keeps no rows.
      mix: ``mix(key, state, real, synthetic) -> view`` of ``real`` rows of the first batch, drawn
        without replacement, and the first ``synthetic`` rows of the later ones. Both counts may be
        traced; with one key the rows of a smaller count are among those of a larger one. Refused
        by a pool that keeps no rows.

    A view that knows how much of it is real has an attribute ``share``, from 0 to 1; one of rows
    has ``mask``, bool ``[R]``, those that count.
    """

    start: Callable[..., State]
    add: Callable[[State, Batch], State]
    all: Callable[[State], View]
    draw: Callable[[jax.Array, State, int | None], View] = _no_rows
    mix: Callable[[jax.Array, State, Any, Any], View] = _no_rows


class Points(NamedTuple):
    """A view of rows, of which those with a mask of True count.

    Attributes:
      data: a pytree of arrays ``[R, ...]``.
      mask: bool ``[R]``.
      real: bool ``[R]``, rows that no model made.
      count: how many count, where this is known apart from the mask (of a mixture); or None.
    """

    data: Any
    mask: jax.Array
    real: jax.Array
    count: Any = None

    @property
    def share(self) -> jax.Array:
        """The share of real data among the rows that count."""
        counted = jnp.sum(self.mask, dtype=float)
        return jnp.sum(self.mask & self.real, dtype=float) / counted


def counted(mask: jax.Array, size: int) -> jax.Array:
    """The indices, int32 ``[size]``, of up to ``size`` rows that count; then one past the last."""
    (index,) = jnp.nonzero(mask, size=size, fill_value=mask.shape[0])
    return index.astype(np.int32)


class Buffer(NamedTuple):
    """The state of a points pool.

    Attributes:
      rows: a pytree of arrays ``[capacity * N, ...]``, the first ``batches * N`` in use.
      batches: how many batches it holds.
      real: how many of them, the first ones, are real: 0 or 1.
    """

    rows: Any
    batches: jax.Array
    real: jax.Array


def points_pool(capacity: int) -> Pool:
    """A pool that keeps every row of up to ``capacity`` batches of equal size.

    A batch is a pytree of arrays ``[N, ...]``; rows are ``[capacity * N, ...]``. Adding to a full
    pool overwrites its last batch, so a chain asks for the capacity that its workflow names.
    """

    def start(batch, real=False):
        def pad(rows):
            unused = (capacity - 1) * rows.shape[0]
            return jnp.pad(rows, [(0, unused)] + [(0, 0)] * (rows.ndim - 1))

        return Buffer(jax.tree.map(pad, batch), jnp.int32(1), jnp.int32(real))

    def add(state, batch):
        def write(rows, new):
            row = state.batches * new.shape[0]
            return jax.lax.dynamic_update_slice_in_dim(rows, new, row, axis=0)

        rows = jax.tree.map(write, state.rows, batch)
        return state._replace(rows=rows, batches=state.batches + 1)

    def batch_size(state):
        return jax.tree.leaves(state.rows)[0].shape[0] // capacity

    def all_rows(state):
        n = batch_size(state)
        index = jnp.arange(capacity * n, dtype=jnp.int32)
        return Points(state.rows, index < state.batches * n, index < state.real * n)

    def draw(key, state, size):
        n = batch_size(state)
        size = n if size is None else size
        if size > n:
            raise checks.refusal(
                "subsample size",
                f"at most the {n} points of a generation, all that the first pool holds",
                size,
                "lower the subsample size or raise the number of points",
            )

        def from_one_batch(key):
            everything = jnp.arange(n, dtype=jnp.int32)
            return everything if size == n else jax.random.permutation(key, everything)[:size]

        def from_many(key):
            return draws.distinct(key, state.batches * n, size, capacity * n)

        if capacity == 1:
            chosen = from_one_batch(key)
        else:
            chosen = jax.lax.cond(state.batches == 1, from_one_batch, from_many, key)
        rows = jax.tree.map(lambda x: x.at[chosen].get(mode="promise_in_bounds"), state.rows)
        return Points(rows, jnp.ones(size, bool), chosen < state.real * n)

    def mix(key, state, real, synthetic):
        n = batch_size(state)
        place = jax.random.permutation(key, jnp.arange(n, dtype=jnp.int32))
        later = jnp.arange((capacity - 1) * n, dtype=jnp.int32)
        made = later < (state.batches - 1) * n
        mask = jnp.concatenate([place < real, made & (later < synthetic)])
        index = jnp.arange(capacity * n, dtype=jnp.int32)
        count = jnp.asarray(real, np.int32) + jnp.asarray(synthetic, np.int32)
        return Points(state.rows, mask, index < state.real * n, count)

    return Pool(start, add, all_rows, draw, mix)


class Statistics(NamedTuple):
    """The state and the view of a statistics pool.

    Attributes:
      content: the statistics of all batches together.
      batches: how many there are.
      real: how many of them are real: 0 or 1.
    """

    content: Any
    batches: jax.Array
    real: jax.Array

    @property
    def share(self) -> jax.Array:
        """The share of real data."""
        dtype = draws.float_dtype()
        return self.real.astype(dtype) / self.batches.astype(dtype)


def statistics_pool(merge: Callable[[Any, Any], Any]) -> Pool:
    """A pool that keeps sufficient statistics, so that a generation costs the same at any age.

    Args:
      merge: ``merge(a, b)`` gives the statistics of two sets of data pooled; for plain sums it is
        ``partial(jax.tree.map, jnp.add)``.
    """

    def start(batch, real=False):
        return Statistics(batch, jnp.int32(1), jnp.int32(real))

    def add(state, batch):
        return state._replace(content=merge(state.content, batch), batches=state.batches + 1)

    return Pool(start, add, all=lambda state: state)
