"""Chains that hold what is published against held-out real points: a task made of a task.

The real points are drawn once a chain, from a key that nothing else draws from; so a chain of
points is the same with these metrics and without, to the rounding of sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcollapse import checks, draws, point_metrics
from jaxcollapse.metrics import EVALUATE, Metric, joined
from jaxcollapse.task import JUDGED, Coordinates, Task, with_fields

NUM_HELD_OUT = 500  # M, of a task that has no test points of its own
# Folded into the key of the first batch, far from what tasks fold into it.
_KEY = 2**31 - 1


class Modes(NamedTuple):
    """Where a law has its modes.

    Attributes:
      centres: ``[K, D]``.
      radius: how far from a centre what belongs to it lies.
    """

    centres: jax.Array
    radius: Any


class HeldOut(NamedTuple):
    """Real points that no model trains on, and what is known of their law.

    Attributes:
      points: ``[M, D]``.
      modes: of their law, if it has some.
    """

    points: jax.Array
    modes: Modes | None = None


# Metrics by name --------------------------------------------------------------------------------


class PointMetric(NamedTuple):
    """One of them, as chains compute it.

    Attributes:
      label: its label and units.
      of: ``of(points, held_out, known)``.
      known: ``known(held_out, key)``, of the real points alone, once a chain.
      needs_modes: whether the real law has to have modes.
    """

    label: Metric
    of: Callable[[jax.Array, HeldOut, Any], jax.Array]
    known: Callable[[HeldOut, jax.Array], Any] = lambda held_out, key: None
    needs_modes: bool = False


def _scale_and_kernel(held_out: HeldOut, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    bandwidth = point_metrics.median_distance(held_out.points)
    return bandwidth, point_metrics.kernel_among(held_out.points, bandwidth)


def _slices(held_out: HeldOut, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    directions = point_metrics.unit_directions(
        key, point_metrics.DIRECTIONS, held_out.points.shape[1]
    )
    return directions, point_metrics.projected(held_out.points, directions)


def _balls(held_out: HeldOut, key: jax.Array) -> jax.Array:
    return point_metrics.squared_radii(held_out.points, point_metrics.NEIGHBOURS)


POINT_METRICS = {
    "mmd": PointMetric(
        Metric("Squared MMD from real points, unbiased", "1", speaks_for=("law",), real=0.0),
        lambda x, real, known: point_metrics.mmd(x, real.points, known[0], among_real=known[1]),
        _scale_and_kernel,
    ),
    "energy_distance": PointMetric(
        Metric(
            "Squared energy distance from real points, unbiased",
            "data units",
            speaks_for=("law",),
            real=0.0,
        ),
        lambda x, real, known: point_metrics.energy_distance(x, real.points, among_real=known),
        lambda held_out, key: point_metrics.distance_among(held_out.points),
    ),
    "sliced_wasserstein2": PointMetric(
        Metric(
            "Sliced Wasserstein-2 distance from real points",
            "data units",
            scale="log",
            speaks_for=("law",),
            real=0.0,
        ),
        lambda x, real, known: point_metrics.sliced_wasserstein2(
            x, real.points, known[0], sorted_real=known[1]
        ),
        _slices,
    ),
    "precision": PointMetric(
        Metric("Published points that lie where real ones do", "1"),
        lambda x, real, known: point_metrics.precision(x, real.points, radii=known),
        _balls,
    ),
    "recall": PointMetric(
        Metric("Real points that lie where published ones do", "1", speaks_for=("modes",)),
        lambda x, real, known: point_metrics.recall(x, real.points),
    ),
    "density": PointMetric(
        Metric("Density of published points among real ones", "1"),
        lambda x, real, known: point_metrics.density(x, real.points, radii=known),
        _balls,
    ),
    "coverage": PointMetric(
        Metric("Real points with a published one near", "1", speaks_for=("modes",)),
        lambda x, real, known: point_metrics.coverage(x, real.points, radii=known),
        _balls,
    ),
    "vendi_score": PointMetric(
        Metric(
            "Vendi score, different published points in effect", "points", speaks_for=("diversity",)
        ),
        lambda x, real, known: point_metrics.vendi_score(x, known),
        lambda held_out, key: point_metrics.median_distance(held_out.points),
    ),
    "nearest_real": PointMetric(
        Metric("Distance of published points to the nearest real one", "data units", scale="log"),
        lambda x, real, known: point_metrics.nearest_real(x, real.points),
    ),
    "tail_mass": PointMetric(
        Metric("Published points in the tail of 1% of the real law", "1", speaks_for=("modes",)),
        lambda x, real, known: point_metrics.tail_mass(x, real.points, radius=known),
        lambda held_out, key: point_metrics.tail_radius(held_out.points),
    ),
    "modes_covered": PointMetric(
        Metric("Modes of the real law with a published point", "modes", speaks_for=("modes",)),
        lambda x, real, known: point_metrics.modes_covered(x, *known),
        lambda held_out, key: held_out.modes,
        needs_modes=True,
    ),
}


# Chains -----------------------------------------------------------------------------------------


class Truth(NamedTuple):
    """What a model is judged by.

    Attributes:
      task: by the task itself.
      held_out: real points that no model trains on.
      known: what each metric knows of them, by its name.
    """

    task: Any
    held_out: HeldOut
    known: dict[str, Any]


class _Noise(NamedTuple):
    task: Any
    key: jax.Array


def measured(task: Task, names: Sequence[str]) -> Task:
    """The task with metrics of what its models publish, against held-out real points.

    Those are the task's own test points where it has some, of a kernel density estimate for
    instance, and 500 more points of its real law where it has none; the same for all generations
    of a seed. What the metrics say is told in ``jaxcollapse.point_metrics``. The task keeps points.

    >>> chain = make_chain(measured(gaussian.task(2, 100), ["mmd", "coverage"]), "replace", 20)

    Args:
      task: one whose batches are points ``[N, D]``, or numbers ``[N]``.
      names: of ``POINT_METRICS``.

    Raises:
      ValueError: there is no such metric, the task is to use statistics, its batches are no points,
        there are too few of them for a metric, it cannot draw more real ones, or ``modes_covered``
        is asked for where no modes are known.
    """
    check(task, names)
    count = checks.arguments(task.evaluate, EVALUATE, JUDGED, 2)
    central, pooled = task.central, task.pooled

    def init(noise):
        truth, batch = task.init(noise.task)
        held_out = _held_out(task, truth, draws.fold_in(noise.key, 0))
        own = draws.fold_in(noise.key, 1)
        known = {name: POINT_METRICS[name].known(held_out, own) for name in names}
        return Truth(truth, held_out, known), batch

    def found(truth, given, published):
        metrics = joined({}, EVALUATE, task.evaluate(truth.task, *given[: count - 1]))
        points = _points(_rows(task, truth.task, published))
        whole = jnp.all(jnp.isfinite(points))
        for name in names:
            value = POINT_METRICS[name].of(points, truth.held_out, truth.known[name])
            # Of what is no number a count would be one.
            metrics = joined(metrics, name, jnp.where(whole, value, jnp.nan))
        return metrics

    def evaluate(truth, params, published):
        return found(truth, (params, published), published)

    def evaluate_with_key(truth, params, published, key):
        return found(truth, (params, published, key), published)

    return with_fields(
        task,
        init=init,
        noise=lambda key: _Noise(task.noise(key), draws.fold_in(key, _KEY)),
        real=lambda noise, truth: task.real(noise.task, truth.task),
        sample=lambda noise, params: task.sample(noise.task, params),
        central=central and (lambda noise, *given: central(noise.task, *given)),
        scores={name: _of_task(score) for name, score in task.scores.items()},
        pool=lambda truth, workflow, generations: task.pool(truth.task, workflow, generations),
        evaluate=evaluate_with_key if count > 3 else evaluate,
        held_out=None,
        pooled=pooled and (lambda truth, params: pooled(truth.task, params)),
        statistics=None,
        use="points",
        coordinates=_unwrapped(task.coordinates),
    )


def _of_task(score: Callable[..., Any]) -> Callable[..., Any]:
    return lambda truth, *given: score(truth.task, *given)


def _held_out(task: Task, truth: Any, key: jax.Array) -> HeldOut:
    if task.held_out is not None:
        found = task.held_out(key, truth)
        return found if isinstance(found, HeldOut) else HeldOut(_points(found))

    if task.real is Task._field_defaults["real"]:
        raise checks.refusal(
            "task for metrics of points",
            "a function real(noise, truth), which draws real points that no model trains on",
            "none",
            "give it one",
        )

    def batch(key):
        return _points(_rows(task, truth, task.real(task.noise(key), truth)))

    size = jax.eval_shape(batch, key).shape[0]
    numbers = jnp.arange(-(-NUM_HELD_OUT // size), dtype=jnp.uint32)
    several = jax.vmap(batch)(draws.fold_in(key, numbers))
    return HeldOut(several.reshape(-1, several.shape[-1])[:NUM_HELD_OUT])


def _rows(task: Task, truth: Any, batch: Any) -> Any:
    """Rows where the held-out ones are: in the task's own coordinates if it has test points."""
    as_kept = task.coordinates is None or task.held_out is not None
    return batch if as_kept else task.coordinates.rows(truth, batch)


def _points(rows: Any) -> jax.Array:
    """Rows as points ``[N, D]``.

    Raises:
      ValueError: they are none.
    """
    shape, kind = getattr(rows, "shape", ()), getattr(rows, "dtype", bool)
    if len(shape) not in (1, 2) or not jnp.issubdtype(kind, jnp.floating):
        raise checks.refusal(
            "metrics of points",
            "a task whose batches are points [N, D]",
            f"one of {checks.described(rows)}",
            "ask for the task's own metrics",
        )
    return rows[:, None] if len(shape) == 1 else rows


def check(task: Task, names: Sequence[str], called: str = "the task") -> None:
    """Raises ``ValueError`` as ``measured`` does; ``called`` is what the task is called there."""
    if isinstance(names, str):
        raise checks.refusal(
            "metrics of points", "a list of names", repr(names), f"write [{names!r}]"
        )
    for name in checks.distinct("metrics of points", names):
        checks.one_of("metric of points", name, POINT_METRICS)
    if task.use == "statistics":
        raise checks.refusal(
            f"pool for {names[0]}",
            "auto or points, whose rows a metric looks at",
            "statistics",
            "use pool='auto'",
        )

    def of_points(key):
        truth, batch = task.init(task.noise(key))
        return _points(_rows(task, truth, batch)), _held_out(task, truth, key)

    key = jax.eval_shape(jax.random.key, 0)
    points, held_out = jax.eval_shape(of_points, key)
    for name in names:
        metric = POINT_METRICS[name]
        if metric.needs_modes and held_out.modes is None:
            raise checks.refusal(
                f"real data for {name}",
                "a law whose modes are known, such as blobs",
                f"that of {called}",
                "leave the metric out",
            )
        known = jax.eval_shape(metric.known, held_out, key)
        jax.eval_shape(metric.of, points, held_out, known)


def _unwrapped(inner: Coordinates | None) -> Coordinates:
    """The task's own coordinates, which know nothing of held-out points."""
    if inner is None:
        return Coordinates(
            truth=lambda truth: truth.task,
            model=lambda model: model,
            rows=lambda truth, batch: batch,
            view=lambda view: view,
            fitted=lambda view, model: model,
            published=lambda model, rows: rows,
        )
    return inner._replace(
        truth=lambda truth: inner.truth(truth.task),
        rows=lambda truth, batch: inner.rows(truth.task, batch),
    )
