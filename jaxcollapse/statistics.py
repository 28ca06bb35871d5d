"""Pools of sufficient statistics of each batch, at a cost that does not grow with its points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws, parts
from jaxcollapse.pools import Pool
from jaxcollapse.ring import Slots, not_taken_over, slots_of
from jaxcollapse.rows import batch_rows, check_sizes, scales
from jaxcollapse.workflows import Workflow


class Statistics(NamedTuple):
    """A view of statistics.

    Attributes:
      content: the statistics of all batches together.
      batches: int32, how many there are.
      real: int32, how many of them are real: 0 or 1.
      weight: what the real one counts, of 1, where the workflow says it; else None.
      rows: how many rows count as more than nothing, a float, where batches are not seen whole or
        are of several sizes; else None.
    """

    content: Any
    batches: jax.Array
    real: jax.Array
    weight: Any = None
    rows: Any = None

    @property
    def share(self) -> jax.Array:
        """The share of real data."""
        dtype = draws.float_dtype()
        if self.weight is not None:
            return self.weight
        return self.real.astype(dtype) / self.batches.astype(dtype)

    @property
    def counted(self) -> jax.Array:
        """How many batches count as more than nothing: int32."""
        if self.weight is None:
            return self.batches
        real, synthetic = self.real, self.batches - self.real
        return jnp.where(self.weight > 0, real, 0) + jnp.where(self.weight < 1, synthetic, 0)


def statistics_pool(
    merge: Callable[[Any, Any], Any],
    workflow: Workflow,
    num_generations: int,
    scaled: Callable[[Any, Any], Any] | None = None,
    joined: Callable[[Any, Any], Any] | None = None,
    num_rows: Any = None,
) -> Pool:
    """A pool of sufficient statistics, for workflows that draw no rows of batches that stay.

    Where all batches stay they are merged as they come, so that a generation costs the same at any
    age; where some go, those of each batch are kept, and merged when they are seen. Where real data
    have a weight, theirs are kept apart. Where they have a share, batches come as the statistics of
    their parts, stacked, see ``parts``.

    Args:
      merge: ``merge(a, b)`` gives the statistics of two sets of data pooled; for plain sums it is
        ``partial(jax.tree.map, jnp.add)``.
      workflow: the record.
      num_generations: G.
      scaled: ``scaled(a, c)`` gives the statistics of data of which each counts as c of them, which
        a weight needs; for plain sums they are multiplied by c, as floats.
      joined: ``joined(parts, counts)`` gives the statistics of several sets of data ``[P, ...]``
        pooled, of which each row counts as ``counts`` ``[P]`` of them, which a share needs; a set
        may have no rows.
      num_rows: N, which a share and sizes need; may be traced.

    Raises:
      ValueError: the workflow has a weight, a share or sizes and what these need is not given; it
        draws rows of batches that stay; or sizes are above N.
    """
    needs = {"share": joined, "weight": scaled, "sizes": num_rows}
    if workflow.share is not None:  # which weighs the parts as it joins them
        needs = {"share": None if num_rows is None else joined}
    lacking = [name for name in workflow.numbers if needs.get(name, True) is None]
    if lacking or not parts.served(workflow):
        raise checks.refusal(
            f"statistics under {workflow.name}",
            "points, or how statistics are scaled, joined and drawn",
            f"a {' and a '.join(lacking)}" if lacking else "rows that it draws",
            "have the task serve workflows without them, see Task.serves",
        )
    if num_rows is not None and not checks.is_traced(num_rows):
        check_sizes(workflow, num_rows)
    if workflow.share is not None:
        return _parted(joined, workflow, num_rows)
    if workflow.keep is None and not workflow.real_apart and workflow.weight is None:
        return _running(merge, workflow, num_generations, num_rows)
    return _kept(merge, workflow, num_generations, scaled, num_rows)


def _running(
    merge: Callable[[Any, Any], Any], workflow: Workflow, num_generations: int, num_rows: Any
) -> Pool:
    def start(batch):
        return Statistics(batch, jnp.int32(1), jnp.int32(1))

    def add(state, batch, generation):
        return state._replace(content=merge(state.content, batch), batches=state.batches + 1)

    def view(key, state, inclusion=None):
        if workflow.sizes is None:
            return state
        numbers = np.arange(num_generations, dtype=np.int32)
        each = _rows_of_batches(workflow, numbers, num_rows)
        rows = jnp.sum(jnp.where(numbers < state.batches, each, 0.0))
        return state._replace(weight=each[0] / rows, rows=rows)

    return Pool(start, add, view)


def _rows_of_batches(workflow: Workflow, batches: Any, num_rows: Any) -> jax.Array:
    """How many rows batches of some numbers have, as floats; batch -1, of none, has none."""
    rows = batch_rows(workflow, jnp.asarray(batches), num_rows).astype(draws.float_dtype())
    return jnp.where(batches >= 0, rows, 0.0)


class _Parts(NamedTuple):
    """The statistics of the parts of the real batch, and behind them those of the newest one."""

    content: Any


def _parted(joined: Any, workflow: Workflow, num_rows: Any) -> Pool:
    synthetic = parts.OF_A_BATCH

    def start(batch):
        none = jax.tree.map(lambda x: jnp.zeros((synthetic, *x.shape[1:]), x.dtype), batch)
        return _Parts(jax.tree.map(lambda *both: jnp.concatenate(both), batch, none))

    def add(state, batch, generation):
        return _Parts(jax.tree.map(lambda x, new: x.at[-synthetic:].set(new), state[0], batch))

    def renew(state, batch):
        return _Parts(jax.tree.map(lambda x, new: x.at[:-synthetic].set(new), state[0], batch))

    def view(key, state, shown):
        counts = parts.counts(workflow, shown.now, num_rows)
        wanted = parts.wanted(workflow, shown.now, num_rows)
        times = (1.0, 1.0) if workflow.weight is None else scales(workflow, shown.now, *wanted)
        each = jnp.concatenate([count * by for count, by in zip(counts, times, strict=True)])
        weights = [count * by for count, by in zip(wanted, times, strict=True)]
        rows = sum(
            jnp.where(weight > 0, jnp.ceil(count), 0.0)
            for count, weight in zip(wanted, weights, strict=True)
        )
        both = jnp.where(shown.now > 1, np.int32(2), np.int32(1))
        weight = weights[0] / (weights[0] + weights[1])
        return Statistics(joined(state.content, each), both, jnp.int32(1), weight, rows)

    return Pool(start, add, view, renew)


def _kept(
    merge: Callable[[Any, Any], Any],
    workflow: Workflow,
    num_generations: int,
    scaled: Callable[[Any, Any], Any] | None,
    num_rows: Any,
) -> Pool:
    # Batches that all stay take one slot together, beside that of the real data.
    together = workflow.keep is None
    slots = slots_of(workflow, num_generations)
    if together:
        slots = Slots(min(slots.total, 2), 1)

    def add(ring, batch, generation):
        if not together:
            return slots.add(ring, batch, generation, as_rows=False)
        if slots.total == 1:  # of one generation, which nothing follows
            return ring
        merged = merge(_slot(ring.content, 1), batch)
        batch = jax.tree.map(lambda a, b: jnp.where(ring.added > 0, a, b), merged, batch)
        added = ring.added
        return slots.add(
            ring._replace(added=jnp.int32(0)), batch, generation, as_rows=False
        )._replace(added=added + 1)

    def merged_from(ring, first):
        """The slots in use from one on, merged into it."""

        def more(merged, slot):
            number, content = slot
            joined = merge(merged, content)
            held = slots.occupied(ring)
            return jax.tree.map(lambda a, b: jnp.where(number < held, a, b), joined, merged), None

        if first + 1 == slots.total:
            return _slot(ring.content, first)
        rest = jax.tree.map(lambda x: x[first + 1 :], ring.content)
        numbers = jnp.arange(first + 1, slots.total, dtype=jnp.int32)
        content, _ = jax.lax.scan(more, _slot(ring.content, first), (numbers, rest))
        return content

    def counted(ring):
        """How many batches there are, and how many of them are real."""
        batches = slots.occupied(ring)
        if together:  # of which the newest ones share a slot
            batches = jnp.int32(1) if slots.total == 1 else 1 + ring.added
        return batches, jnp.sum(ring.made_by == 0, dtype=np.int32)

    def rows_of(ring):
        """How many rows there are, and how many of them are real."""
        each = _rows_of_batches(workflow, ring.made_by, num_rows)
        total = jnp.sum(each)
        if together and slots.total > 1:
            numbers = np.arange(1, num_generations, dtype=np.int32)
            others = _rows_of_batches(workflow, numbers, num_rows)
            total = each[0] + jnp.sum(jnp.where(numbers <= ring.added, others, 0.0))
        return total, jnp.sum(jnp.where(ring.made_by == 0, each, 0.0))

    def view(key, ring, inclusion=None):
        if workflow.weight is not None:
            return weighed(ring, inclusion.now, scaled)
        seen = Statistics(merged_from(ring, 0), *counted(ring))
        if workflow.sizes is None:
            return seen
        rows, real = rows_of(ring)
        return seen._replace(weight=real / rows, rows=rows)

    def weighed(ring, now, scaled):
        # A real batch is in the first slot, as long as it is there at all.
        first = _slot(ring.content, 0)
        dtype = draws.float_dtype()
        batches, real = counted(ring)
        alone = scaled(first, jnp.ones((), dtype))
        total, of_real = (count.astype(dtype) for count in (batches, real))
        if workflow.sizes is not None:
            total, of_real = rows_of(ring)
        of_others = total - of_real
        if slots.total == 1:
            found = Statistics(alone, batches, real, real.astype(dtype))
        else:
            scale, scale_of_others = scales(workflow, now, of_real, of_others)
            # Into the others, of which a weight of 0 leaves every digit.
            content = merge(scaled(merged_from(ring, 1), scale_of_others), scaled(first, scale))
            content = jax.tree.map(lambda a, b: jnp.where(batches > 1, a, b), content, alone)
            weight = jnp.where(batches > 1, of_real * scale / total, real.astype(dtype))
            found = Statistics(content, batches, real, weight)
        if workflow.sizes is None:
            return found
        rows = jnp.where(found.weight > 0, of_real, 0.0)
        return found._replace(rows=rows + jnp.where(found.weight < 1, of_others, 0.0))

    return Pool(
        start=lambda batch: slots.start(batch, as_rows=False),
        add=add,
        view=view,
        renew=lambda ring, batch: slots.renew(ring, batch, as_rows=False),
        take_over=not_taken_over
        if together
        else lambda r: slots.take_over(r, as_rows=False, needs_real=workflow.real == "kept"),
    )


def _slot(content: Any, number: int) -> Any:
    return jax.tree.map(lambda x: x[number], content)
