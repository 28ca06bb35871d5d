"""Kernel density estimates on arrays: sampled, fitted by keeping the points, and judged.

``f(x) = (1/R) sum_i K((x - x_i) / h) / h^D``. A sample of an estimate is a point of its data,
chosen at random, plus noise of the kernel.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws
from jaxcollapse.metrics import Metric
from jaxcollapse.pools import View
from jaxcollapse.tasks.kde import kernels
from jaxcollapse.tasks.kde.bandwidths import (
    Bandwidth,
    Scaled,
    bandwidth_at,
    bandwidth_rule,
)
from jaxcollapse.tasks.kde.kernels import GAUSSIAN, KERNELS, Kernel

# Parameters ---------------------------------------------------------------------------------


class Truth(NamedTuple):
    """What an estimate is held against.

    Attributes:
      test: ``[M, D]``.
      real_mean: ``[D]``, of the real batch.
      source: what more real points are drawn from, see ``PointDataset.begin``.
    """

    test: jax.Array
    real_mean: jax.Array
    source: Any = ()


class Spread(NamedTuple):
    """Where points lie and how far apart.

    Attributes:
      num_points: R, or the sum of their weights, float.
      shift: ``[D]``, of their mean from the real mean.
      scatter: the sum of squared distances from their mean.
    """

    num_points: jax.Array
    shift: jax.Array
    scatter: jax.Array

    @property
    def std(self) -> jax.Array:
        """The standard deviation of the points, the root mean square over coordinates."""
        variance = self.scatter / (self.shift.shape[0] * self.num_points)
        apart = variance > 0  # where not, the root has no slope
        return jnp.where(apart, jnp.sqrt(jnp.where(apart, variance, 1.0)), 0.0)


class Running(NamedTuple):
    """What running sums know of an estimate.

    Attributes:
      spread: of its points.
      log_density: ``[M]``, at the test points, in nats.
    """

    spread: Spread
    log_density: jax.Array


class KDE(NamedTuple):
    """A fitted estimate.

    Attributes:
      points: ``[R, D]``.
      inclusion: bool or float ``[R]``, of how many points each counts as.
      bandwidth: h, in the units of the data.
      running: what is known of it from running sums, or None; then the first points count.
    """

    points: jax.Array
    inclusion: jax.Array
    bandwidth: jax.Array
    running: Running | None = None


# Sample -------------------------------------------------------------------------------------


def sample(
    key: jax.Array, points: jax.Array, bandwidth: Any, num_samples: int, kernel: str = "gaussian"
) -> jax.Array:
    """``num_samples`` points ``[N, D]`` of the estimate of ``points`` ``[R, D]``.

    Raises:
      ValueError: an unknown kernel.
    """
    checks.one_of("kernel", kernel, KERNELS)
    chosen = draws.integers(draws.fold_in(key, 0), (num_samples,), points.shape[0])
    noise = KERNELS[kernel].noise(draws.fold_in(key, 1), num_samples, points.shape[1])
    return points[chosen] + bandwidth * noise


def sample_model(key: jax.Array, model: KDE, kernel: Kernel, num_samples: int) -> jax.Array:
    """``sample`` from the points that count, each as often as it does."""
    place, dim = draws.fold_in(key, 0), model.points.shape[1]
    if model.running is not None:
        chosen = draws.integers(place, (num_samples,), model.running.spread.num_points)
    elif model.inclusion.dtype == bool:
        rank = jnp.cumsum(model.inclusion, dtype=jnp.int32)
        chosen = jnp.searchsorted(rank, 1 + draws.integers(place, (num_samples,), rank[-1]))
    else:
        chosen = draws.weighted(place, (num_samples,), model.inclusion)
    rows = model.points.at[chosen].get(mode="promise_in_bounds")
    noise = kernel.noise(draws.fold_in(key, 1), num_samples, dim)
    return rows + model.bandwidth * noise


def tempered(model: KDE, temperature: Any) -> KDE:
    """The estimate with the variance of its kernel times the temperature."""
    return model._replace(bandwidth=model.bandwidth * jnp.sqrt(temperature))


# Fit ----------------------------------------------------------------------------------------


def fit(view: View, rule: Any, generation: Any, running: Running | None = None) -> KDE:
    """The estimate of the points that count, with the bandwidth of a rule.

    Args:
      view: points ``[R, D]``.
      rule: a bandwidth or a ``Bandwidth``.
      generation: which model this is, from 1.
      running: what is known of it from running sums.
    """
    points = view.data
    if running is not None:
        spread = running.spread
        count, std = spread.num_points, spread.std
    else:
        count, std = jnp.sum(view.inclusion, dtype=points.dtype), None
        if isinstance(rule, Scaled):
            std = spread_of(points, view.inclusion, points[0]).std
    h = bandwidth_at(rule, count, jnp.asarray(generation).astype(points.dtype), std)
    return KDE(points, view.inclusion, h, running)


def spread_of(points: jax.Array, inclusion: jax.Array, real_mean: jax.Array) -> Spread:
    """The spread of the rows of ``points`` ``[R, D]`` that count."""
    count = jnp.sum(inclusion, dtype=points.dtype)
    if inclusion.dtype == bool:

        def counted(x):
            return jnp.where(inclusion[:, None], x, 0.0)

        from_real_mean = counted(points - real_mean[None, :])
        shift = jnp.sum(from_real_mean, axis=0) / count
        return Spread(count, shift, jnp.sum(counted(from_real_mean - shift[None, :]) ** 2))
    weight = inclusion[:, None]
    from_real_mean = jnp.where(weight > 0, points - real_mean[None, :], 0.0)
    shift = jnp.sum(weight * from_real_mean, axis=0) / count
    return Spread(count, shift, jnp.sum(weight * (from_real_mean - shift[None, :]) ** 2))


def merge(a: Spread, b: Spread) -> Spread:
    """The spread of two sets of points pooled (Chan, Golub & LeVeque 1979)."""
    total = a.num_points + b.num_points
    share = b.num_points / total
    apart = b.shift - a.shift
    scatter = a.scatter + b.scatter + a.num_points * share * jnp.sum(apart**2)
    return Spread(total, a.shift + share * apart, scatter)


# Evaluate -----------------------------------------------------------------------------------


def log_density(
    test: jax.Array, points: jax.Array, bandwidth: Any, kernel: str = "gaussian"
) -> jax.Array:
    """Log-density ``[M]`` in nats at ``test`` ``[M, D]`` of the estimate of ``points`` ``[R, D]``.

    ``log (1/R) sum_i K((x - x_i)/h) / (h^D |K|)``; -inf where a tophat kernel reaches no point.
    In float32, or float64 under x64: distances are right to about 1e-7 of the coordinates.

    Raises:
      ValueError: an unknown kernel, a bandwidth that is no positive number, or shapes that do not
        fit.
    """
    checks.one_of("kernel", kernel, KERNELS)
    if not checks.is_traced(bandwidth) and isinstance(bandwidth_rule(bandwidth, 1), Bandwidth):
        raise checks.refusal(
            "bandwidth", "a number", repr(bandwidth), "use bandwidths.bandwidth_at for a rule"
        )
    shapes = np.shape(test), np.shape(points)
    if any(len(shape) != 2 for shape in shapes) or shapes[0][1] != shapes[1][1]:
        raise checks.refusal(
            "test and points",
            "[M, D] and [R, D]",
            f"{shapes[0]} and {shapes[1]}",
            "give a row a point",
        )
    dtype = draws.float_dtype()
    test, points = jnp.asarray(test, dtype), jnp.asarray(points, dtype)
    everything = jnp.ones(shapes[1][0], bool)
    bandwidth = jnp.asarray(bandwidth, dtype)
    return direct_log_density(KERNELS[kernel], test, points, everything, bandwidth)


def direct_log_density(
    kernel: Kernel, test: jax.Array, points: jax.Array, inclusion: jax.Array, bandwidth: jax.Array
) -> jax.Array:
    """``log_density`` of the rows that count, from all kernels."""
    precision = kernel.precision(bandwidth)[None]
    sums = kernels.no_points(test.shape[0])
    sums = kernels.add_points(kernel, sums, precision, test, points, inclusion)
    count = jnp.sum(inclusion, dtype=test.dtype)
    return kernels.log_density(kernel, sums, bandwidth, count, test.shape[1])


def evaluate(truth: Truth, model: KDE, kernel: Kernel = GAUSSIAN) -> dict[str, jax.Array]:
    """How an estimate does on real test points, and how wide it is.

    Returns:
      ``nll``: the mean over test points of ``-log f``, in nats; inf if one is uncovered.
      ``uncovered``: how many test points have a density of 0 (tophat kernel).
      ``pool_variance``: of the points that it was fitted to, about their own mean (``ddof=0``),
      the mean over coordinates.
      ``second_moment``: of the estimate, about the mean of the real batch, the mean over
      coordinates.
    """
    spread, log_f = _judged(truth, model, kernel)
    dim = truth.test.shape[1]
    variance = spread.scatter / (dim * spread.num_points)
    about_real_mean = variance + jnp.sum(spread.shift**2) / dim
    return {
        "nll": -jnp.mean(log_f),
        "uncovered": jnp.sum(jnp.isneginf(log_f), dtype=log_f.dtype),
        "pool_variance": variance,
        "second_moment": about_real_mean + kernel.variance(dim) * model.bandwidth**2,
    }


def evaluate_pooled(truth: Truth, models: KDE, kernel: Kernel = GAUSSIAN) -> dict[str, jax.Array]:
    """Metrics of the density ``mean_i f_i`` of k models, stacked ``[k, ...]``."""
    found = jax.vmap(lambda model: evaluate(truth, model, kernel))(models)
    spread, log_f = jax.vmap(lambda model: _judged(truth, model, kernel))(models)
    count, dim = log_f.shape[0], truth.test.shape[1]
    mixed = jax.nn.logsumexp(log_f, axis=0) - np.log(count)
    apart = jnp.sum((spread.shift - jnp.mean(spread.shift, axis=0, keepdims=True)) ** 2) / (
        count * dim
    )
    return {
        "nll": -jnp.mean(mixed),
        "uncovered": jnp.sum(jnp.isneginf(mixed), dtype=log_f.dtype),
        "pool_variance": jnp.mean(found["pool_variance"]) + apart,
        "second_moment": jnp.mean(found["second_moment"]),
    }


def _judged(truth: Truth, model: KDE, kernel: Kernel) -> tuple[Spread, jax.Array]:
    """The spread of the points of an estimate, and its log-density at the test points ``[M]``."""
    if model.running is not None:
        spread, log_f = model.running
        return spread, log_f
    spread = spread_of(model.points, model.inclusion, truth.real_mean)
    log_f = direct_log_density(kernel, truth.test, model.points, model.inclusion, model.bandwidth)
    return spread, log_f


METRICS = {
    "nll": Metric(
        "Negative log-likelihood of real test points",
        "nats",
        infinite=True,
        scale="log",
        pooled=True,
        speaks_for=("loss",),
    ),
    "pool_variance": Metric(
        "Variance of the fitted points",
        "data units squared",
        scale="log",
        pooled=True,
        speaks_for=("variance",),
    ),
    "second_moment": Metric(
        "Second moment about the real mean",
        "data units squared",
        scale="log",
        pooled=True,
        speaks_for=("law",),
    ),
    "uncovered": Metric("Test points without density", "points", pooled=True),
}
