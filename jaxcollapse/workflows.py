"""Which data each generation's model trains on. A workflow knows no task.

A workflow decides two things: what of the pool the next model sees, and what the pool becomes
once that model has published its own batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxcollapse import checks
from jaxcollapse.pools import Pool


class Workflow(NamedTuple):
    """A training workflow, as two pure functions.

    Attributes:
      name: as written on the command line and in results.
      capacity: ``capacity(G) -> int``, the most batches that its pool holds over G generations.
      select: ``select(key, pool, state) -> view`` that the next model trains on.
      update: ``update(pool, state, batch) -> state``, the pool after a batch of synthetic data.
      needs_points: whether ``select`` draws rows, which statistics alone cannot give.
      subsample_size: how many rows; None for as many as a batch has.
    """

    name: str
    capacity: Callable[[int], int]
    select: Callable[[jax.Array, Pool, Any], Any]
    update: Callable[[Pool, Any, Any], Any]
    needs_points: bool = False
    subsample_size: int | None = None


def replace() -> Workflow:
    """Each model trains only on what the model before it made."""
    return Workflow(
        name="replace",
        capacity=lambda num_generations: 1,
        select=lambda key, pool, state: pool.all(state),
        update=lambda pool, state, batch: pool.start(batch),
    )


def accumulate() -> Workflow:
    """Each model trains on the real data and everything made since."""
    return Workflow(
        name="accumulate",
        capacity=lambda num_generations: num_generations,
        select=lambda key, pool, state: pool.all(state),
        update=lambda pool, state, batch: pool.add(state, batch),
    )


def accumulate_subsample(size: int | None = None) -> Workflow:
    """Each model trains on ``size`` points drawn, without replacement, from all made so far.

    Args:
      size: points drawn; None draws as many as one generation makes, so that the first model
        trains on all the real data.

    Raises:
      ValueError: ``size`` is not a whole number of at least 1; or, once a chain is built, it is
        larger than the first pool.
    """
    if size is not None:
        size = checks.whole_number("subsample size", size)
    return Workflow(
        name="accumulate-subsample",
        capacity=lambda num_generations: num_generations,
        select=lambda key, pool, state: pool.draw(key, state, size),
        update=lambda pool, state, batch: pool.add(state, batch),
        needs_points=True,
        subsample_size=size,
    )


WORKFLOWS: dict[str, Callable[[], Workflow]] = {
    "replace": replace,
    "accumulate": accumulate,
    "accumulate-subsample": accumulate_subsample,
}


def as_workflow(workflow: Workflow | Callable[[], Workflow] | str) -> Workflow:
    """A workflow from its name (``"accumulate-subsample"``), its function, or itself."""
    if isinstance(workflow, Workflow):
        return workflow
    if isinstance(workflow, str):
        name = checks.one_of("workflow", workflow.replace("_", "-"), WORKFLOWS)
        return WORKFLOWS[name]()
    return workflow()
