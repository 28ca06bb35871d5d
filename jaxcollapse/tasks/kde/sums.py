"""Pools of kernel density estimates: points, and points with sums of their kernels."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcollapse.pools import Points, Pool, points_pool
from jaxcollapse.tasks.kde import kernels
from jaxcollapse.tasks.kde.bandwidths import Bandwidth, bandwidth_at
from jaxcollapse.tasks.kde.kernels import WINDOW, Kernel, KernelSums


class Truth(NamedTuple):
    """What an estimate is held against.

    Attributes:
      test: ``[M, D]``.
      real_mean: ``[D]``, of the real batch.
    """

    test: jax.Array
    real_mean: jax.Array


class Batch(NamedTuple):
    """What a generation made.

    Attributes:
      points: ``[N, D]``.
      generation: which, float; 0 for real data.
    """

    points: jax.Array
    generation: jax.Array


class Spread(NamedTuple):
    """Where R points lie and how far apart.

    Attributes:
      num_points: R, float.
      shift: ``[D]``, of their mean from the real mean.
      scatter: the sum of squared distances from their mean.
    """

    num_points: jax.Array
    shift: jax.Array
    scatter: jax.Array


class Running(NamedTuple):
    """What running sums know of an estimate.

    Attributes:
      spread: of its points.
      log_density: ``[M]``, at the test points, in nats.
    """

    spread: Spread
    log_density: jax.Array


def spread_of(points: jax.Array, mask: jax.Array, real_mean: jax.Array) -> Spread:
    """The spread of the rows of ``points`` ``[R, D]`` with ``mask`` True."""
    count = jnp.sum(mask, dtype=points.dtype)
    from_real_mean = jnp.where(mask[:, None], points - real_mean[None, :], 0.0)
    shift = jnp.sum(from_real_mean, axis=0) / count
    centred = jnp.where(mask[:, None], from_real_mean - shift[None, :], 0.0)
    return Spread(count, shift, jnp.sum(centred**2))


def merge(a: Spread, b: Spread) -> Spread:
    """The spread of two sets of points pooled (Chan, Golub & LeVeque 1979)."""
    total = a.num_points + b.num_points
    share = b.num_points / total
    apart = b.shift - a.shift
    scatter = a.scatter + b.scatter + a.num_points * share * jnp.sum(apart**2)
    return Spread(total, a.shift + share * apart, scatter)


class View(NamedTuple):
    """What the next model is fitted to.

    Attributes:
      points: the points.
      generation: which model that will be, from 1, float.
      running: what is known from running sums, or None.
    """

    points: Points
    generation: jax.Array
    running: Running | None = None

    @property
    def share(self) -> jax.Array:
        """The share of real data."""
        return self.points.share

    @property
    def mask(self) -> jax.Array:
        """The rows that count."""
        return self.points.mask


class Kept(NamedTuple):
    """The state of a pool that keeps no sums.

    Attributes:
      points: the state of a points pool.
      generation: of the model that is fitted next, from 1, float.
    """

    points: Any
    generation: jax.Array


def kept_points_pool(capacity: int) -> Pool:
    """A points pool that knows which generation comes next."""
    inner = points_pool(capacity)

    def start(batch, real=False):
        return Kept(inner.start(batch.points, real), batch.generation + 1.0)

    def add(state, batch):
        return Kept(inner.add(state.points, batch.points), batch.generation + 1.0)

    return Pool(
        start,
        add,
        all=lambda state: View(inner.all(state.points), state.generation),
        draw=lambda key, state, n: View(inner.draw(key, state.points, n), state.generation),
        mix=lambda key, state, *counts: View(
            inner.mix(key, state.points, *counts), state.generation
        ),
    )


class Summed(NamedTuple):
    """The state of a pool that keeps sums of kernels.

    Attributes:
      points: the state of a points pool.
      generation: of the model that is fitted next, from 1, float.
      spread: of all points.
      sums: of kernels at the test points.
      low: the precision at which they are; the lower one of two if the bandwidth changes.
    """

    points: Any
    generation: jax.Array
    spread: Spread
    sums: KernelSums
    low: jax.Array


def summing_pool(truth: Truth, capacity: int, kernel: Kernel, rule: Any) -> Pool:
    """Points, with the sums of their kernels at the test points.

    With a fixed bandwidth each batch adds to one log-sum a test point. With one that changes there
    are sums at two precisions around the present one; when it leaves their window, all kernels
    are computed anew around it. That happens twice each time the squared bandwidth halves.
    """
    inner = points_pool(capacity)
    num_test, dim = truth.test.shape
    changes = isinstance(rule, Bandwidth) and capacity > 1
    nothing = kernels.no_points(num_test, 2, 3) if changes else kernels.no_points(num_test)

    def add_points(sums, low, points, mask=None):
        at = jnp.stack([low, WINDOW * low]) if changes else low[None]
        return kernels.add_points(kernel, sums, at, truth.test, points, mask)

    def spread_of_batch(batch):
        return spread_of(batch.points, jnp.ones(batch.points.shape[0], bool), truth.real_mean)

    def start(batch, real=False):
        generation, spread = batch.generation + 1.0, spread_of_batch(batch)
        low = kernel.precision(bandwidth_at(rule, spread.num_points, generation))
        sums = add_points(nothing, low, batch.points)
        return Summed(inner.start(batch.points, real), generation, spread, sums, low)

    def add(state, batch):
        generation = batch.generation + 1.0
        spread = merge(state.spread, spread_of_batch(batch))
        points = inner.add(state.points, batch.points)

        def stay():
            return add_points(state.sums, state.low, batch.points), state.low

        def move():
            rows = inner.all(points)
            return add_points(nothing, now, rows.data, rows.mask), now

        if not changes:
            sums, low = stay()
        else:
            now = kernel.precision(bandwidth_at(rule, spread.num_points, generation))
            inside = (state.low <= now) & (now <= WINDOW * state.low)
            sums, low = jax.lax.cond(inside, stay, move)
        return Summed(points, generation, spread, sums, low)

    def all_points(state):
        count = state.spread.num_points
        h = bandwidth_at(rule, count, state.generation)
        if changes:
            log_f = kernels.interpolated_log_density(state.sums, state.low, h, count, dim)
        else:
            log_f = kernels.log_density(kernel, state.sums, h, count, dim)
        return View(inner.all(state.points), state.generation, Running(state.spread, log_f))

    return Pool(start, add, all_points)
