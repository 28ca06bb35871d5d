"""The rows of a pool, and how much each counts under a workflow's share, weight and sizes."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws, schedules
from jaxcollapse.subsamples import shuffled
from jaxcollapse.workflows import Workflow


class Rows(NamedTuple):
    """All rows of a pool, in the coordinates of the real data.

    Attributes:
      data: a pytree of arrays ``[R, ...]``.
      generation: int32 ``[R]``, whose model made each row; 0 for real rows.
      occupied: bool ``[R]``; the other rows are no data.
      now: int32, which generation's model sees them next.
    """

    data: Any
    generation: jax.Array
    occupied: jax.Array
    now: jax.Array

    @property
    def real(self) -> jax.Array:
        """Occupied rows that no model made, bool ``[R]``."""
        return self.occupied & (self.generation == 0)


class Shown(NamedTuple):
    """What a record with a share, a weight or sizes shows of a pool, for ``Pool.view``.

    Attributes:
      now: int32, which generation's model sees it.
      order: a key of the order of the real rows, the same as long as these are; None under a
        weight alone, which looks at none by itself.
    """

    now: jax.Array
    order: Any = None


def row_counts(
    workflow: Workflow, key: jax.Array, rows: Rows, num_rows: int, order: Any = None
) -> jax.Array:
    """Of how many rows each row counts, ``[R]``: bool under sizes alone, else float.

    With a share a the model of generation t sees T rows, T as many as the newest batch has, or
    ``n / a`` of n real rows that run short: a T real ones, row i of a random order (from 0) as
    ``clip(a T - i, 0, 1)``, and (1 - a) T synthetic ones, of one batch the first, of several some
    drawn without replacement. Real rows may come sorted, as data sets of several parts do, so that
    the first of them are not like the others. A weight then scales both kinds, see ``scales``.

    Args:
      workflow: its record.
      key: a typed key.
      rows: of the pool, whose batches follow one another; ``data`` is not looked at.
      num_rows: N, for which a batch has room.
      order: a key of the order of the real rows.
    """
    place = jnp.arange(rows.occupied.shape[0], dtype=np.int32) % num_rows
    if order is not None:
        place = jnp.where(rows.real, shuffled(order, num_rows)[place], place)
    there = rows.occupied & (place < batch_rows(workflow, rows.generation, num_rows))
    if workflow.share is None and workflow.weight is None:
        return there
    dtype = draws.float_dtype()
    counts = there.astype(dtype)
    if workflow.share is not None:
        counts = _shared(workflow, key, rows, place, there, num_rows)
    if workflow.weight is None:
        return counts
    real, synthetic = (jnp.sum(jnp.where(kind, counts, 0.0)) for kind in (rows.real, ~rows.real))
    of_real, of_synthetic = scales(workflow, rows.now, real, synthetic)
    return counts * jnp.where(rows.real, of_real, of_synthetic)


def batch_rows(workflow: Workflow, batch: jax.Array, num_rows: Any) -> jax.Array:
    """How many rows batches of some numbers have, 0 being the real one; int32 like these."""
    most = jnp.asarray(num_rows, np.int32)
    if workflow.sizes is None:
        return jnp.broadcast_to(most, jnp.shape(batch))
    return jnp.minimum(schedules.counts_at(workflow.sizes, batch).astype(np.int32), most)


def check_sizes(workflow: Workflow, num_rows: int) -> None:
    """Refuses sizes for which a batch has no room; those that are traced are cut there.

    Raises:
      ValueError: one is above ``num_rows``.
    """
    if workflow.sizes is None or schedules.is_traced(workflow.sizes):
        return
    most = schedules.most(workflow.sizes)
    if most > num_rows:
        raise checks.refusal(
            f"sizes of {workflow.name}",
            f"at most {num_rows}, the rows for which a batch has room",
            most,
            "lower it, or raise the number of points",
        )


def scales(
    workflow: Workflow, now: jax.Array, real: jax.Array, synthetic: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """What real rows and what synthetic ones are multiplied by, so that they weigh w and 1 - w.

    ``w (C_r + C_s) / C_r`` and ``(1 - w) (C_r + C_s) / C_s``, which leaves their number what it is;
    1 where there is only one kind.

    Args:
      workflow: its record, with a weight w.
      now: which generation's model sees them.
      real: C_r, of how many rows the real ones count.
      synthetic: C_s, likewise.
    """
    both = (real > 0) & (synthetic > 0)
    weight = _fraction(workflow.weight, now)
    total = real + synthetic

    def scale(weight, count):
        return jnp.where(both, weight * total / jnp.where(both, count, 1.0), 1.0)

    return scale(weight, real), scale(1.0 - weight, synthetic)


def shared_out(
    workflow: Workflow,
    now: jax.Array,
    num_rows: Any,
    held: jax.Array,
    any_real: jax.Array,
    any_synthetic: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Of how many rows the real and the synthetic ones are to count under a share, see above.

    A number within rounding of a whole one is that, so that no row counts as next to nothing.

    Args:
      workflow: its record, with a share a.
      now: which generation's model sees them.
      num_rows: N.
      held: n, how many real rows there are.
      any_real: whether there are real rows.
      any_synthetic: whether there are synthetic ones.
    """
    share = jnp.where(any_real, _fraction(workflow.share, now), 0.0)
    share = jnp.where(any_synthetic, share, 1.0)
    newest = batch_rows(workflow, now - 1, num_rows).astype(share.dtype)
    total = newest
    if workflow.sizes is not None:  # otherwise there are as many real rows as are ever wanted
        short = any_real & (share * newest > held)
        total = jnp.where(short, held / jnp.where(short, share, 1.0), newest)
    real = _whole(share * total, total)
    return real, _whole(total - real, total)


def _whole(count: jax.Array, total: jax.Array) -> jax.Array:
    """A number of rows of so many in all; the whole number that it differs from by rounding."""
    off = count - jnp.round(count)
    rounding = 4 * jnp.finfo(count.dtype).eps * total
    return count - jax.lax.stop_gradient(jnp.where(jnp.abs(off) <= rounding, off, 0.0))


def _fraction(schedule: Any, now: jax.Array) -> jax.Array:
    """The value of a schedule, NaN where it leaves the interval from 0 to 1."""
    value = schedules.at(schedule, now).astype(draws.float_dtype())
    return jnp.where((value >= 0) & (value <= 1), value, np.asarray(np.nan, value.dtype))


def _shared(
    workflow: Workflow,
    key: jax.Array,
    rows: Rows,
    place: jax.Array,
    there: jax.Array,
    num_rows: int,
) -> jax.Array:
    """Of how many rows each counts under a share."""
    dtype = draws.float_dtype()
    real = there & rows.real
    synthetic = there & ~rows.real
    held = jnp.sum(real, dtype=dtype)
    kinds = jnp.any(real), jnp.any(synthetic)
    of_real, of_synthetic = shared_out(workflow, rows.now, num_rows, held, *kinds)
    one_batch = workflow.keep == 1
    order = place if one_batch else _drawn_order(key, synthetic)
    rank = jnp.where(rows.real, place, order).astype(dtype)
    count = jnp.where(rows.real, of_real, of_synthetic)
    return jnp.where(there, jnp.clip(count - rank, 0.0, 1.0), 0.0)


def _drawn_order(key: jax.Array, rows: jax.Array) -> jax.Array:
    """The place of each of some rows ``[R]`` in a random order of these: int32, from 0."""
    order = shuffled(key, rows.shape[0])
    before = jnp.cumsum(rows[order], dtype=np.int32) - 1
    return jnp.zeros(rows.shape[0], np.int32).at[order].set(before)
