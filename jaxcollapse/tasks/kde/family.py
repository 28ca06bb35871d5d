"""Kernel density estimates: fitted by keeping the points, sampled, and fitted again.

A sample of an estimate is a point of its data, chosen at random, plus noise of the kernel. So the
points are kept under every workflow; what the two kinds of pool differ in is how an estimate of
many points is evaluated: on ``points`` all kernels anew, on ``statistics`` from sums at each test
point to which every generation adds its own, at the same cost however many there are.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws, theory
from jaxcollapse.chain import Task
from jaxcollapse.datasets.points import PointDataset, real_data
from jaxcollapse.families import TaskFamily
from jaxcollapse.metrics import Metric
from jaxcollapse.pools import POOLS, Points
from jaxcollapse.tasks.kde import kernels
from jaxcollapse.tasks.kde.bandwidths import Bandwidth, bandwidth_at, bandwidth_rule
from jaxcollapse.tasks.kde.kernels import GAUSSIAN, KERNELS, Kernel
from jaxcollapse.tasks.kde.sums import (
    Batch,
    Running,
    Truth,
    kept_points_pool,
    spread_of,
    summing_pool,
)
from jaxcollapse.workflows import Workflow

# Parameters ---------------------------------------------------------------------------------


class KDE(NamedTuple):
    """A fitted estimate.

    Attributes:
      points: ``[R, D]``.
      mask: bool ``[R]``, the points that count.
      bandwidth: h, in the units of the data.
      generation: which model this is, from 1, float.
      running: what is known of it from running sums, or None; then the first points count.
    """

    points: jax.Array
    mask: jax.Array
    bandwidth: jax.Array
    generation: jax.Array
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


def _sample_model(key: jax.Array, model: KDE, kernel: Kernel, num_samples: int) -> Batch:
    """``sample`` from the points that count."""
    place, dim = draws.fold_in(key, 0), model.points.shape[1]
    if model.running is not None:
        chosen = draws.integers(place, (num_samples,), model.running.spread.num_points)
    else:
        rank = jnp.cumsum(model.mask, dtype=jnp.int32)
        chosen = jnp.searchsorted(rank, 1 + draws.integers(place, (num_samples,), rank[-1]))
    rows = model.points.at[chosen].get(mode="promise_in_bounds")
    noise = kernel.noise(draws.fold_in(key, 1), num_samples, dim)
    return Batch(rows + model.bandwidth * noise, model.generation)


# Fit ----------------------------------------------------------------------------------------


def fit(points: Points, rule: Any, generation: jax.Array, running: Running | None = None) -> KDE:
    """The estimate of the points that count, with the bandwidth of a rule.

    Args:
      points: ``data`` ``[R, D]`` and ``mask`` ``[R]``.
      rule: a bandwidth or a ``Bandwidth``.
      generation: which model this is, from 1.
      running: what is known of it from running sums.
    """
    if running is None:
        count = jnp.sum(points.mask, dtype=points.data.dtype)
    else:
        count = running.spread.num_points
    h = bandwidth_at(rule, count, generation)
    return KDE(points.data, points.mask, h, generation, running)


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
    return _direct_log_density(KERNELS[kernel], test, points, everything, bandwidth)


def _direct_log_density(kernel, test, points, mask, bandwidth):
    precision = kernel.precision(bandwidth)[None]
    sums = kernels.no_points(test.shape[0])
    sums = kernels.add_points(kernel, sums, precision, test, points, mask)
    count = jnp.sum(mask, dtype=test.dtype)
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
    dim = truth.test.shape[1]
    if model.running is not None:
        spread, log_f = model.running
    else:
        spread = spread_of(model.points, model.mask, truth.real_mean)
        log_f = _direct_log_density(kernel, truth.test, model.points, model.mask, model.bandwidth)
    variance = spread.scatter / (dim * spread.num_points)
    about_real_mean = variance + jnp.sum(spread.shift**2) / dim
    return {
        "nll": -jnp.mean(log_f),
        "uncovered": jnp.sum(jnp.isneginf(log_f), dtype=log_f.dtype),
        "pool_variance": variance,
        "second_moment": about_real_mean + kernel.variance(dim) * model.bandwidth**2,
    }


METRICS = {
    "nll": Metric(
        "Negative log-likelihood of real test points", "nats", infinite=True, scale="log"
    ),
    "pool_variance": Metric("Variance of the fitted points", "data units squared", scale="log"),
    "second_moment": Metric("Second moment about the real mean", "data units squared", scale="log"),
    "uncovered": Metric("Test points without density", "points"),
}

# Task ---------------------------------------------------------------------------------------


def task(
    dataset: Any,
    bandwidth: Any,
    num_samples: int,
    kernel: str = "gaussian",
    num_test: int = 500,
    num_clusters: int = 3,
    blob_dim: int = 2,
    test_centres: str = "shared",
    data: Any = None,
    pool: str = "auto",
) -> Task:
    """Kernel density estimates of N points.

    Args:
      dataset: ``blobs``, ``circles``, ``moons``, ``swiss-roll``, or an array ``[R, D]`` of real
        data; with ``data`` given, only its label.
      bandwidth: h: see ``bandwidth_rule``. A number, or the fields of a ``Bandwidth``, may be
        traced.
      num_samples: N, real points and points of every generation.
      kernel: ``gaussian`` or ``tophat``.
      num_test: M, real test points.
      num_clusters: of blobs.
      blob_dim: D of blobs.
      test_centres: of blobs, ``shared`` with the training points or ``redrawn``, as published.
      data: real data ``[R, D]``, in place of a named data set.
      pool: ``"points"`` computes all kernels for every estimate; ``"statistics"`` keeps sums at
        the test points, exact for a fixed bandwidth and within
        ``kernels.INTERPOLATION_ERROR`` nats for one that changes (gaussian kernel); ``"auto"``
        uses them where the workflow allows. What the models sample is the same.

    Raises:
      ValueError: an unknown name, a number out of range, or data of another shape or too few.
    """
    source = real_data(dataset if data is None else data, num_clusters, blob_dim, test_centres)
    num_samples = checks.whole_number("num_samples", num_samples)
    num_test = checks.whole_number("num_test", num_test)
    checks.one_of("pool", pool, POOLS)
    radial = KERNELS[checks.one_of("kernel", kernel, KERNELS)]
    rule = bandwidth_rule(bandwidth, source.dim)
    source.check(num_samples, num_test)

    def init(key):
        train, test = source.draw(key, num_samples, num_test)
        return Truth(test, jnp.mean(train, axis=0)), Batch(train, jnp.zeros((), train.dtype))

    points = Task(
        init=init,
        pool=lambda truth, capacity: kept_points_pool(capacity),
        fit=lambda key, view: fit(view.points, rule, view.generation, view.running),
        noise=lambda key: key,
        sample=lambda key, model: _sample_model(key, model, radial, num_samples),
        evaluate=functools.partial(evaluate, kernel=radial),
    )
    if radial is not GAUSSIAN and isinstance(rule, Bandwidth):
        # A tophat has an edge, which no interpolation follows.
        known = not any(checks.is_traced(value) for value in rule)
        if pool == "statistics" and known and (rule.per_point or rule.per_generation):
            raise checks.refusal(
                "pool of a tophat kernel whose bandwidth changes",
                "auto or points: there are no sums to keep",
                "statistics",
                "use pool='auto'",
            )
        return points
    statistics = points._replace(
        pool=lambda truth, capacity: summing_pool(truth, capacity, radial, rule)
    )
    if pool == "statistics":
        return statistics
    return points if pool == "points" else points._replace(statistics=statistics)


def _traced(workflow: Workflow, point: Mapping[str, Any], options: Mapping[str, Any]) -> dict:
    """The bandwidth: as a number where sums for a fixed one are kept, else as a rule."""
    rule = bandwidth_rule(point["bandwidth"], _source_of(point, options).dim)
    if not isinstance(rule, Bandwidth):
        if _sums(workflow, options):
            return {"bandwidth": rule}
        rule = Bandwidth(rule)
    return {"bandwidth": Bandwidth(*map(float, rule))}


def _sums(workflow: Workflow, options: Mapping[str, Any]) -> bool:
    """Whether sums over several generations are kept."""
    accumulates = not workflow.needs_points and workflow.capacity(2) > 1
    return accumulates and options["pool"] != "points"


def _source_of(point: Mapping[str, Any], options: Mapping[str, Any]) -> PointDataset:
    names = ("num_clusters", "blob_dim", "test_centres")
    chosen = {name: options[name] for name in names if name in options}
    data = options.get("data")
    return real_data(point["dataset"] if data is None else data, **chosen)


def _approximations(
    workflow: Workflow, point: Mapping[str, Any], options: Mapping[str, Any]
) -> str:
    changes = isinstance(bandwidth_rule(point["bandwidth"], 1), Bandwidth)
    if not (changes and _sums(workflow, options)) or options.get("kernel") == "tophat":
        return ""
    return (
        f"nll with a bandwidth that changes, {workflow.name}: log-densities interpolated in the "
        f"bandwidth, within {kernels.INTERPOLATION_ERROR:g} nats at every test point "
        "(pool 'points' is exact); what the models sample is exact"
    )


def _theory(metric, workflow, generation, options, dataset, bandwidth, num_samples):
    if metric not in ("pool_variance", "second_moment"):
        return None
    source = _source_of({"dataset": dataset}, options)
    rule = bandwidth_rule(bandwidth, source.dim)
    rule = rule if isinstance(rule, Bandwidth) else Bandwidth(rule)
    t = np.arange(1, int(np.max(generation)) + 1)
    size = num_samples * t if workflow == "accumulate" else np.full(t.shape, num_samples)
    h = rule.scale * size**-rule.per_point * t ** -float(rule.per_generation)
    added = KERNELS[options.get("kernel", "gaussian")].variance(source.dim) * h**2
    real = source.variance(num_samples)
    values = theory.kde_metric(metric, workflow, real, added, num_samples)
    return None if values is None else values[np.asarray(generation) - 1]


FAMILY = TaskFamily(
    name="kde",
    make=task,
    axes=("dataset", "bandwidth", "num_samples"),
    metrics=METRICS,
    traced=_traced,
    # Per generation: overheads and a row of test points for each point.
    work=lambda dataset, bandwidth, num_samples: 20.0 + num_samples,
    theory=_theory,
    presets={"corrected": {"test_centres": "shared"}, "authors": {"test_centres": "redrawn"}},
    approximations=_approximations,
)
