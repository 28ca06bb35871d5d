"""Kernel density estimates refitted to their own samples, as a task.

The points are kept under every workflow; what the two kinds of pool differ in is how an estimate of
many points is evaluated: on ``points`` all kernels anew, on ``statistics`` from sums at each test
point to which every generation adds its own, at the same cost however many there are.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, theory
from jaxcollapse.datasets.points import PointDataset, real_data
from jaxcollapse.families import MixtureFacts, TaskFamily
from jaxcollapse.held_out import HeldOut, Modes
from jaxcollapse.parameters import Axis, Option, declared
from jaxcollapse.pools import points_pool
from jaxcollapse.task import Coordinates, Task, with_fields, with_statistics
from jaxcollapse.tasks.kde import kernels
from jaxcollapse.tasks.kde.bandwidths import Bandwidth, Scaled, bandwidth_rule
from jaxcollapse.tasks.kde.fitting import (
    METRICS,
    Truth,
    direct_log_density,
    evaluate,
    evaluate_pooled,
    fit,
    sample_model,
    tempered,
)
from jaxcollapse.tasks.kde.kernels import GAUSSIAN, KERNELS, Kernel
from jaxcollapse.tasks.kde.sums import keeps_sums, serves, summing_pool
from jaxcollapse.theory.workflows import REPLACE, record_of
from jaxcollapse.workflows import Workflow

FAR_FROM_1 = 3.0  # times, of a standard deviation


@declared
def task(
    dataset: Annotated[Any, Axis("blobs", "circles", "moons", "swiss-roll", mixture=("moons",))],
    bandwidth: Annotated[float | str, Axis(0.1, 0.5, 1.0, mixture=(0.3,), symbol="h", traced=True)],
    num_samples: Annotated[int, Axis(10, 32, 100, 316, 1000, symbol="N", least=1, batch=True)],
    kernel: Literal["gaussian", "tophat"] = "gaussian",
    num_test: Annotated[int, Option(least=1)] = 500,
    num_clusters: Annotated[int, Option(least=1)] = 3,
    blob_dim: Annotated[int, Option(least=1)] = 2,
    test_centres: Literal["shared", "redrawn"] = "shared",
    data: Annotated[Any, Option(file=True, names="dataset")] = None,
    pool: Literal["auto", "points", "statistics"] = "auto",
) -> Task:
    """Kernel density estimates of points: fitted, sampled, and fitted again.

    ``bandwidth``, a number or the fields of a ``Bandwidth``, may be traced.

    Args:
      dataset: The real data are blobs, circles, moons or swiss-roll, or an array ``[R, D]``; where
        ``data`` are given, this is only what to call them.
      bandwidth: h, the bandwidth, is a number, "scott" or "silverman" (both for data of standard
        deviation 1, whatever theirs is, as scikit-learn has them), "scott-scaled" (Scott's rule
        times the standard deviation of the points that are fitted, as SciPy has it), or a schedule
        in the generation t such as "0.5*t^-0.25".
      num_samples: N, the number of real points and of the points of every generation.
      kernel: The kernel is "gaussian" or "tophat".
      num_test: M, the number of real test points.
      num_clusters: The number of clusters of blobs.
      blob_dim: The number of dimensions of blobs.
      test_centres: The test points of blobs have centres that are "shared" with the training
        points, or "redrawn", as published.
      data: Real data in place of a named data set are an array ``[R, D]``, a row a point, or a
        ``PointDataset``. Each seed's training and test points are distinct rows of an array, so it
        needs N + M of them.
      pool: "points" computes all kernels for every estimate; "statistics" keeps sums at the test
        points, exact for a fixed bandwidth and within 0.001 nats for one
        that changes (gaussian kernel); "auto" uses these where they serve the workflow. What the
        models sample is the same.

    Raises:
      ValueError: an unknown name, a number out of range, or data of another shape or too few.
    """
    source = real_data(dataset if data is None else data, num_clusters, blob_dim, test_centres)
    radial = KERNELS[kernel]
    rule = bandwidth_rule(bandwidth, source.dim)
    source.check(checks.known_size("num_samples", num_samples, ""), num_test)
    if isinstance(rule, Scaled) and num_samples < 2:
        raise checks.refusal(
            "points of a bandwidth in units of their standard deviation",
            "at least 2",
            num_samples,
            "raise num_samples or give a number",
        )

    points = _points_task(source, rule, radial, num_samples, num_test)
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
        return with_statistics(points, None, "points")
    summed = with_fields(
        points,
        pool=lambda truth, workflow, generations: summing_pool(
            truth, workflow, generations, radial, rule
        ),
        fit=lambda key, seen, generation: fit(seen.view, rule, generation, seen.known),
        serves=serves,
    )
    return with_statistics(points, summed, pool)


def _points_task(
    source: PointDataset, rule: Any, radial: Kernel, num_samples: int, num_test: int
) -> Task:
    def init(key):
        test, begun = source.begin(key, num_samples, num_test)
        train = source.draw(key, begun, num_samples)
        return Truth(test, jnp.mean(train, axis=0), begun), train

    return Task(
        init=init,
        pool=lambda truth, workflow, generations: points_pool(
            workflow, generations, lambda rows: rows + np.atleast_2d(source.origin)
        ),
        fit=lambda key, view, generation: fit(view, rule, generation),
        sample=lambda key, model: sample_model(key, model, radial, num_samples),
        evaluate=functools.partial(evaluate, kernel=radial),
        real=lambda key, truth: source.draw(key, truth.source, num_samples),
        coordinates=_shifted_by(source.origin) if np.any(source.origin) else None,
        tempered=tempered,
        scores={
            "model": lambda truth, model, rows: direct_log_density(
                radial, rows, model.points, model.inclusion, model.bandwidth
            )
        },
        held_out=functools.partial(_held_out, source),
        pooled=functools.partial(evaluate_pooled, kernel=radial),
    )


def _held_out(source: PointDataset, key: Any, truth: Truth) -> HeldOut:
    """The test points, and the modes of blobs."""
    if source.modes is None:
        return HeldOut(truth.test)
    centres, radius = source.modes(truth.source)
    return HeldOut(truth.test, Modes(centres, jnp.asarray(radius, centres.dtype)))


def _shifted_by(origin: np.ndarray) -> Coordinates:
    """Points of an array, which are kept about its mean, where they are in it."""
    rows = origin[None, :]

    def truth(truth):
        return truth._replace(test=truth.test + rows, real_mean=truth.real_mean + origin)

    return Coordinates(
        truth=truth,
        model=lambda model: model._replace(points=model.points + rows),
        rows=lambda truth, points: points + rows,
        view=lambda view: view._replace(data=view.data + rows),
        fitted=lambda view, model: model._replace(points=model.points - rows),
        published=lambda model, points: points - rows,
    )


def _traced(workflow: Workflow, point: Mapping[str, Any], options: Mapping[str, Any]) -> dict:
    """The bandwidth: as a number where sums for a fixed one are kept, else as a rule."""
    rule = bandwidth_rule(point["bandwidth"], _source_of(point, options).dim)
    if not isinstance(rule, Bandwidth):
        if keeps_sums(workflow) and options.get("pool") != "points":
            return {"bandwidth": rule}
        rule = Bandwidth(rule)
    return {"bandwidth": type(rule)(*map(float, rule))}


def _source_of(point: Mapping[str, Any], options: Mapping[str, Any]) -> PointDataset:
    names = ("num_clusters", "blob_dim", "test_centres")
    chosen = {name: options[name] for name in names if name in options}
    data = options.get("data")
    return real_data(point["dataset"] if data is None else data, **chosen)


def _approximations(
    workflow: Workflow, point: Mapping[str, Any], options: Mapping[str, Any]
) -> str:
    changes = isinstance(bandwidth_rule(point["bandwidth"], 1), Bandwidth)
    on_sums = keeps_sums(workflow) and options.get("pool") != "points"
    if not (changes and on_sums) or options.get("kernel") == "tophat":
        return ""
    return (
        f"nll with a bandwidth that changes, {workflow.name}: log-densities interpolated in the "
        f"bandwidth, within {kernels.INTERPOLATION_ERROR:g} nats at every test point "
        "(pool 'points' is exact); what the models sample is exact"
    )


def _advice(point: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """Of data of one's own, that a rule of the bandwidth has not their scale."""
    if point["bandwidth"] not in ("scott", "silverman") or options.get("data") is None:
        return ""
    std = _source_of(point, options).variance(point["num_samples"]) ** 0.5
    if not (std > FAR_FROM_1 or 0 < std < 1 / FAR_FROM_1):
        return ""
    return (
        f"bandwidth {point['bandwidth']} is for data of standard deviation 1, and that of the data "
        f"is {std:.3g}: scott-scaled is in units of it"
    )


def _closed_form(
    metric, workflow, generation, options, dataset, bandwidth, num_samples, temperature=1.0
):
    if metric not in ("pool_variance", "second_moment"):
        return None
    source = _source_of({"dataset": dataset}, options)
    rule = bandwidth_rule(bandwidth, source.dim)
    rule = rule if isinstance(rule, Bandwidth) else Bandwidth(rule)
    t = np.arange(1, int(np.max(generation)) + 1)
    size = theory.rows_seen(workflow, t, num_samples)
    if size is None:
        return None
    h = rule.scale * size**-rule.per_point * t ** -float(rule.per_generation)
    added = KERNELS[options.get("kernel", "gaussian")].variance(source.dim) * h**2
    real = source.variance(num_samples), source.variance_of_mean(num_samples)
    if isinstance(rule, Scaled):
        if record_of(workflow) != REPLACE:
            return None
        published = temperature * added[0]
        added = added * theory.kde_scaled_pool_variance(real[0], published, num_samples, t)
    # What is published has kernels of T times the variance; an estimate itself has its own.
    values = theory.kde_metric(metric, workflow, *real, temperature * added, num_samples)
    if values is None:
        return None
    if metric == "second_moment":
        values = values + (1 - temperature) * added
    return values[np.asarray(generation) - 1]


FAMILY = TaskFamily(
    name="kde",
    task=task,
    metrics=METRICS,
    traced=_traced,
    # Per generation: overheads and a row of test points for each point.
    relative_cost=lambda dataset, bandwidth, num_samples: 2000.0 + 100 * num_samples,
    closed_form=_closed_form,
    presets={"corrected": {"test_centres": "shared"}, "authors": {"test_centres": "redrawn"}},
    approximations=_approximations,
    advice=_advice,
    mixtures=MixtureFacts(real=(8, 16, 32, 64, 128), synthetic=(0, 8, 32, 128, 512)),
)
