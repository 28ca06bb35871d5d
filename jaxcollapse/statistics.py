"""Pools of sufficient statistics of each batch, at a cost that does not grow with its points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws
from jaxcollapse.pools import Pool
from jaxcollapse.ring import Slots, not_taken_over, slots_of
from jaxcollapse.rows import Shown, scales
from jaxcollapse.workflows import Workflow


class Statistics(NamedTuple):
    """A view of statistics.

    Attributes:
      content: the statistics of all batches together.
      batches: int32, how many there are.
      real: int32, how many of them are real: 0 or 1.
      weight: what the real one counts, of 1, where the workflow weighs it; else None.
    """

    content: Any
    batches: jax.Array
    real: jax.Array
    weight: Any = None

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
) -> Pool:
    """A pool of sufficient statistics, for workflows that do not tell rows of a batch apart.

    Where all batches stay they are merged as they come, so that a generation costs the same at any
    age; where some go, those of each batch are kept, and merged when they are seen. Where real data
    have a weight, theirs are kept apart.

    Args:
      merge: ``merge(a, b)`` gives the statistics of two sets of data pooled; for plain sums it is
        ``partial(jax.tree.map, jnp.add)``.
      workflow: the record.
      num_generations: G.
      scaled: ``scaled(a, c)`` gives the statistics of data of which each counts as c of them, which
        a weight needs; for plain sums they are multiplied by c, as floats.

    Raises:
      ValueError: the workflow has a weight, and it is not told how statistics are scaled; or it has
        a share or sizes.
    """
    told = [name for name in workflow.numbers if name != "weight" or scaled is None]
    if told:
        raise checks.refusal(
            f"statistics under {workflow.name}",
            "points, or how statistics are scaled",
            f"a {' and a '.join(told)}",
            "have the task serve workflows without them, see Task.serves",
        )
    if workflow.keep is None and not workflow.real_apart and workflow.weight is None:
        return _running(merge)
    return _kept(merge, workflow, num_generations, scaled)


def _running(merge: Callable[[Any, Any], Any]) -> Pool:
    def start(batch):
        return Statistics(batch, jnp.int32(1), jnp.int32(1))

    def add(state, batch, generation):
        return state._replace(content=merge(state.content, batch), batches=state.batches + 1)

    return Pool(start, add, view=lambda key, state, inclusion=None: state)


def _kept(
    merge: Callable[[Any, Any], Any],
    workflow: Workflow,
    num_generations: int,
    scaled: Callable[[Any, Any], Any] | None,
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

    def view(key, ring, inclusion=None):
        if scaled is not None and isinstance(inclusion, Shown):
            return weighed(ring, inclusion.now, scaled)
        return Statistics(merged_from(ring, 0), *counted(ring))

    def weighed(ring, now, scaled):
        # A real batch is in the first slot, as long as it is there at all.
        first = _slot(ring.content, 0)
        dtype = draws.float_dtype()
        batches, real = counted(ring)
        alone = scaled(first, jnp.ones((), dtype))
        if slots.total == 1:
            return Statistics(alone, batches, real, real.astype(dtype))
        of_real, of_others = real.astype(dtype), (batches - real).astype(dtype)
        scale, scale_of_others = scales(workflow, now, of_real, of_others)
        # Into the others, of which a weight of 0 leaves every digit.
        content = merge(scaled(merged_from(ring, 1), scale_of_others), scaled(first, scale))
        content = jax.tree.map(lambda a, b: jnp.where(batches > 1, a, b), content, alone)
        weight = jnp.where(batches > 1, of_real * scale / batches.astype(dtype), of_real)
        return Statistics(content, batches, real, weight)

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
