"""A pool of points that keeps the sums of their kernels at the test points."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcollapse.pools import Beside, Pool, points_pool
from jaxcollapse.tasks.kde import kernels
from jaxcollapse.tasks.kde.bandwidths import Bandwidth, bandwidth_at
from jaxcollapse.tasks.kde.fitting import Running, Spread, Truth, merge, spread_of
from jaxcollapse.tasks.kde.kernels import WINDOW, Kernel, KernelSums
from jaxcollapse.workflows import Workflow


class Summed(NamedTuple):
    """The state of a pool that keeps sums of kernels.

    Attributes:
      points: the state of a points pool.
      generation: of the model that is fitted next, from 1, float.
      spread: of all points.
      sums: of kernels at the test points.
      precision: at which they are; the lower one of two if the bandwidth changes.
    """

    points: Any
    generation: jax.Array
    spread: Spread
    sums: KernelSums
    precision: jax.Array


def serves(workflow: Workflow) -> bool:
    """Whether sums can be kept under a workflow: points come, or are all replaced, never some."""
    alike = not workflow.needs_points and workflow.weight is None
    return alike and not workflow.real_apart and workflow.keep in (None, 1)


def keeps_sums(workflow: Workflow) -> bool:
    """Whether sums over several generations are kept under a workflow that they serve."""
    return serves(workflow) and workflow.keep is None


def summing_pool(
    truth: Truth, workflow: Workflow, num_generations: int, kernel: Kernel, rule: Any
) -> Pool:
    """Points, with the sums of their kernels at the test points, under a workflow that they serve.

    With a fixed bandwidth each batch adds to one log-sum a test point. With one that changes there
    are sums at two precisions around the present one; when it leaves their window, all kernels
    are computed anew around it. That happens twice each time the squared bandwidth halves.
    """
    inner = points_pool(workflow, num_generations)
    num_test, dim = truth.test.shape
    accumulates = workflow.slots(num_generations) > 1
    changes = isinstance(rule, Bandwidth) and accumulates
    nothing = kernels.no_points(num_test, 2, 3) if changes else kernels.no_points(num_test)

    def add_points(sums, precision, points, mask=None):
        at = jnp.stack([precision, WINDOW * precision]) if changes else precision[None]
        return kernels.add_points(kernel, sums, at, truth.test, points, mask)

    def spread_of_batch(batch):
        return spread_of(batch, jnp.ones(batch.shape[0], bool), truth.real_mean)

    def begun(points, batch, generation):
        spread = spread_of_batch(batch)
        h = bandwidth_at(rule, spread.num_points, generation, spread.std)
        precision = kernel.precision(h)
        sums = add_points(nothing, precision, batch)
        return Summed(points, generation, spread, sums, precision)

    def start(batch):
        return begun(inner.start(batch), batch, jnp.ones((), batch.dtype))

    def add(state, batch, generation):
        points = inner.add(state.points, batch, generation)
        generation = state.generation + 1.0
        if workflow.keep is not None:
            return begun(points, batch, generation)
        spread = merge(state.spread, spread_of_batch(batch))

        def stay():
            return add_points(state.sums, state.precision, batch), state.precision

        def move():
            rows = inner.view(None, points)
            return add_points(nothing, now, rows.data, rows.inclusion), now

        if not changes:
            sums, precision = stay()
        else:
            h = bandwidth_at(rule, spread.num_points, generation, spread.std)
            now = kernel.precision(h)
            inside = (state.precision <= now) & (now <= WINDOW * state.precision)
            sums, precision = jax.lax.cond(inside, stay, move)
        return Summed(points, generation, spread, sums, precision)

    def view(key, state, inclusion=None):
        count = state.spread.num_points
        h = bandwidth_at(rule, count, state.generation, state.spread.std)
        if changes:
            log_f = kernels.interpolated_log_density(state.sums, state.precision, h, count, dim)
        else:
            log_f = kernels.log_density(kernel, state.sums, h, count, dim)
        return Beside(inner.view(key, state.points), Running(state.spread, log_f))

    return Pool(start, add, view)
