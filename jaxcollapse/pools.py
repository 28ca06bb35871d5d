"""What a chain keeps of the data made so far: points, or (see ``statistics``) sums of each batch.

A pool is built for a workflow's record. One ring serves every record: the newest batch takes the
place of the oldest one that need not stay, so that a full ring never holds, nor counts, more than
it has room for, and the rows in use are the first ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws
from jaxcollapse.ring import Batch, not_taken_over, slots_of
from jaxcollapse.rows import Rows, Shown, check_sizes, row_counts
from jaxcollapse.subsamples import distinct
from jaxcollapse.workflows import Workflow

# What a task's option ``pool`` may be: "auto" is statistics where they serve the workflow.
POOLS = ("auto", "points", "statistics")

State = Any


def _no_rows(*given: Any) -> Any:
    raise checks.refusal(
        "pool to draw from",
        "one that keeps points",
        "one that keeps only statistics",
        "use pool='auto' or 'points'",
    )


class Pool(NamedTuple):
    """How batches are kept under one workflow. Pure functions on a state that is any pytree.

    Attributes:
      start: ``start(batch) -> state``, a pool that holds the real batch.
      add: ``add(state, batch, generation) -> state``, with the batch of a generation, int32.
      view: ``view(key, state, inclusion=None) -> view`` for the next model: what the record says,
        which needs to be ``Shown`` where it has a share, a weight or sizes; or rows with an
        ``inclusion`` of their own, ``[R]``, see ``View``. It has an attribute ``share``, how much
        of it is real.
      renew: ``renew(state, batch) -> state``, with another real batch in place of the one before.
      rows: ``rows(state, now) -> Rows``, all that is kept, for a workflow that chooses among rows.
      take_over: ``take_over(state) -> state`` from that of a pool of the same task under another
        workflow, with as much of it as this one shows.
    """

    start: Callable[[Batch], State]
    add: Callable[[State, Batch, Any], State]
    view: Callable[..., Any]
    renew: Callable[[State, Batch], State] = _no_rows
    rows: Callable[[State, Any], Rows] = _no_rows
    take_over: Callable[[State], State] = not_taken_over


class View(NamedTuple):
    """Rows that a model is fitted to, of which not all count.

    Attributes:
      data: a pytree of arrays ``[R, ...]``.
      inclusion: bool ``[R]``, rows that count; or float ``[R]``, of how many rows each counts as.
      real: bool ``[R]``, rows that no model made.
      num_rows: int32, how many count where a workflow chose them, or a mixture; None where at least
        a whole batch does.
    """

    data: Any
    inclusion: jax.Array
    real: jax.Array
    num_rows: Any = None

    @property
    def weighted(self) -> bool:
        """Whether rows count as other than 0 or 1 of them."""
        return self.inclusion.dtype != bool

    @property
    def mask(self) -> jax.Array:
        """The rows that count, bool ``[R]``, where all of these count alike.

        Raises:
          ValueError: the workflow weighs rows, so that a mask cannot say what counts.
        """
        if self.weighted:
            raise checks.refusal(
                "view.mask",
                "a workflow whose rows count or do not",
                "one that weighs them",
                "use view.weights, float [R], in the fit",
            )
        return self.inclusion

    @property
    def weights(self) -> jax.Array:
        """Float ``[R]``, of how many rows each row counts as; 0 where it does not."""
        return self.inclusion.astype(draws.float_dtype())

    @property
    def share(self) -> jax.Array:
        """The share of real data among the rows that count."""
        dtype = draws.float_dtype()
        if self.weighted:
            weights = self.weights
            return jnp.sum(jnp.where(self.real, weights, 0.0)) / jnp.sum(weights)
        rows = jnp.sum(self.inclusion, dtype=dtype)
        return jnp.sum(self.inclusion & self.real, dtype=dtype) / rows


class Chosen(View):
    """Rows that a workflow chose one by one: any of them, of any batch."""

    __slots__ = ()


class Mixed(NamedTuple):
    """The rows of a mixture, for ``Pool.view``.

    Attributes:
      mask: bool ``[R]``, of occupied rows in general position.
      num_rows: int32, how many these are; the same for all seeds, as the mask is not.
    """

    mask: jax.Array
    num_rows: jax.Array


class Beside(NamedTuple):
    """A view with what its pool knows beside it.

    Attributes:
      view: the rows, or the statistics.
      known: that a fit uses with them.
    """

    view: Any
    known: Any

    @property
    def share(self) -> jax.Array:
        """The share of real data."""
        return self.view.share


def beside(inner: Pool, known: Any) -> Pool:
    """A pool that shows with each view something that never changes."""
    return inner._replace(view=lambda *given: Beside(inner.view(*given), known))


def indices_of(mask: jax.Array, size: int) -> jax.Array:
    """The indices, int32 ``[size]``, of up to ``size`` True entries; then one past the last."""
    (index,) = jnp.nonzero(mask, size=size, fill_value=mask.shape[0])
    return index.astype(np.int32)


# Points -----------------------------------------------------------------------------------------


def points_pool(
    workflow: Workflow,
    num_generations: int,
    shown: Callable[[Any], Any] = lambda data: data,
) -> Pool:
    """A pool that keeps every row of the batches that a workflow may show.

    A batch is a pytree of arrays ``[N, ...]``; a view has ``R = slots * N`` rows, or as many as the
    workflow draws.

    Args:
      workflow: the record.
      num_generations: G, after which nothing more is seen.
      shown: ``shown(data) -> data`` in the coordinates of the real data, for ``rows``.
    """
    slots = slots_of(workflow, num_generations)

    def batch_size(ring):
        return jax.tree.leaves(ring.content)[0].shape[0] // slots.total

    def row_numbers(ring):
        return jnp.arange(slots.total * batch_size(ring), dtype=jnp.int32)

    def occupied_rows(ring):
        return row_numbers(ring) < slots.occupied(ring) * batch_size(ring)

    def made_by(ring):
        return jnp.repeat(ring.made_by, batch_size(ring))

    def real_rows(ring):
        return occupied_rows(ring) & (made_by(ring) == 0)

    def view(key, ring, inclusion=None):
        if isinstance(inclusion, Shown):
            return shown_rows(key, ring, inclusion)
        if inclusion is not None:
            return chosen(ring, inclusion)
        if workflow.draw is not None:
            return drawn(key, ring)
        return View(ring.content, occupied_rows(ring), real_rows(ring))

    def chosen(ring, inclusion):
        if isinstance(inclusion, Mixed):
            return View(ring.content, inclusion.mask, real_rows(ring), inclusion.num_rows)
        inclusion = checked_inclusion(inclusion, occupied_rows(ring))
        counts = inclusion.astype(bool)
        # What a workflow rejects may be no number, of which 0 times is none either.
        data = jax.tree.map(lambda x: _zero_where(~counts, x), ring.content)
        return Chosen(data, inclusion, real_rows(ring), jnp.sum(counts, dtype=np.int32))

    def shown_rows(key, ring, shown):
        rows = Rows(ring.content, made_by(ring), occupied_rows(ring), shown.now)
        count = row_counts(workflow, key, rows, batch_size(ring), shown.order)
        # Rows that do not count stay what they are: in a share these have a slope too.
        return Chosen(ring.content, count, rows.real, jnp.sum(count.astype(bool), dtype=np.int32))

    def drawn(key, ring):
        n = batch_size(ring)
        size = workflow.draw or n
        if size > n:
            raise checks.refusal(
                "subsample size",
                f"at most the {n} points of a generation, all that the first pool holds",
                size,
                "lower the subsample size or raise the number of points",
            )

        def from_one_batch(key):
            everything = draws.varying_as(jnp.arange(n, dtype=jnp.int32), key)
            return everything if size == n else jax.random.permutation(key, everything)[:size]

        def from_many(key):
            held = slots.occupied(ring) * n
            return distinct(key, held, size, slots.total * n)

        if slots.total == 1:
            index = from_one_batch(key)
        else:
            index = jax.lax.cond(slots.occupied(ring) == 1, from_one_batch, from_many, key)
        rows = jax.tree.map(lambda x: x.at[index].get(mode="promise_in_bounds"), ring.content)
        real = real_rows(ring).at[index].get(mode="promise_in_bounds")
        return View(rows, jnp.ones(size, bool), real)

    def start(batch):
        ring = slots.start(batch, as_rows=True)
        check_sizes(workflow, batch_size(ring))
        return ring

    return Pool(
        start=start,
        add=lambda ring, batch, generation: slots.add(ring, batch, generation, as_rows=True),
        view=view,
        renew=lambda ring, batch: slots.renew(ring, batch, as_rows=True),
        rows=lambda ring, now: Rows(
            shown(ring.content), made_by(ring), occupied_rows(ring), jnp.asarray(now, np.int32)
        ),
        take_over=lambda ring: slots.take_over(
            ring, as_rows=True, needs_real=workflow.real == "kept"
        ),
    )


def checked_inclusion(inclusion: Any, occupied: jax.Array) -> jax.Array:
    """What a workflow says of each row, with nothing for rows that are no data; NaN below 0.

    Raises:
      ValueError: it is neither bool nor float, or not one entry a row.
    """
    inclusion = jnp.asarray(inclusion)
    kind, is_mask = inclusion.dtype, inclusion.dtype == np.dtype(bool)
    is_number = jnp.issubdtype(kind, jnp.floating)
    if inclusion.shape != occupied.shape or not (is_mask or is_number):
        raise checks.refusal(
            "rows that a workflow chooses",
            f"a mask, bool {list(occupied.shape)}, or weights, float of that shape",
            f"{kind}{list(inclusion.shape)}",
            "compare for a mask, or use .astype(float) for weights",
        )
    if is_mask:
        return inclusion & occupied
    weights = jnp.where(inclusion >= 0, inclusion, np.asarray(np.nan, inclusion.dtype))
    return jnp.where(occupied, weights, 0.0).astype(draws.float_dtype())


def _zero_where(rows: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.where(rows.reshape(-1, *[1] * (x.ndim - 1)), jnp.zeros((), x.dtype), x)
