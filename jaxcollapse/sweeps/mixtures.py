"""Fits to every mixture of a grid of real and synthetic counts, as labelled arrays.

A point of the task's other axes is one program, which runs all mixtures of a chunk of seeds: what
is real, and with the source ``all`` what is synthetic, is drawn once a seed. Mixtures of a seed
share their points, those of a smaller count being among those of a larger one, so that cells are
compared pair by pair.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from jaxcollapse import checks
from jaxcollapse.chain import SHARE_OF_REAL_DATA
from jaxcollapse.families import TaskFamily
from jaxcollapse.mixture import Mixture, make_mixture
from jaxcollapse.sweeps import programs, results
from jaxcollapse.sweeps.mixture_plan import MixPlan, plan, point_name
from jaxcollapse.workflows import accumulate

if TYPE_CHECKING:
    import xarray

__all__ = ["MixPlan", "Progress", "dataset", "mix", "plan", "run", "theory"]

MOST_SEEDS_A_CALL = 64  # so that what a call works on stays in the caches


def mix(
    task: TaskFamily | str,
    axes: Mapping[str, Iterable[Any]],
    real: Iterable[int],
    synthetic: Iterable[int],
    num_real: int | None = None,
    seeds: int | Iterable[int] = 1000,
    source: str = "all",
    preset: str = "corrected",
    metrics: Sequence[str] | None = None,
    loss: str | None = None,
    memory_limit: float | None = None,
    **options: Any,
) -> xarray.Dataset:
    """A fit to R real and M synthetic points for every R, every M and every seed.

    >>> mix("gaussian", {"dim": [10]}, real=[16, 64, 256], synthetic=[0, 16, 64, 256])

    Args:
      task: a task's name, or a ``TaskFamily`` of one's own with an axis ``num_samples``.
      axes: values for each other axis of the task.
      real: numbers R of real points, a random subset for each seed.
      synthetic: numbers M of synthetic points.
      num_real: A, the real points that there are; the largest R by default.
      seeds: how many, from 0, or the seeds themselves.
      source: what makes synthetic points: a model of ``all`` A real points, or of the ``subset``
        of R that the mixture holds.
      preset: ``corrected`` or ``authors``; it sets the options that are not given.
      metrics: names of those to compute; all by default.
      loss: the metric that says how good a fit is; the task's own by default.
      memory_limit: bytes that running seeds may take; an eighth of what is free by default.
      **options: of the task, the same for every cell.

    Returns:
      One variable a metric, with a dimension for each axis, ``real``, ``synthetic`` and ``seed``;
      ``share_of_real_data``; and the loss's name as the attribute ``loss``.

    Raises:
      ValueError: an unknown name, an empty or repeated value, a count that is not a whole number of
        at least 0, more real points than there are, or too few for a fit.
      ImportError: the extra ``sweep`` is not installed.
    """
    return run(
        plan(
            task,
            axes,
            real,
            synthetic,
            num_real,
            seeds,
            source,
            preset,
            metrics,
            loss,
            memory_limit,
            **options,
        )
    )


class Progress(NamedTuple):
    """How far a grid is, told after every chunk of seeds.

    Attributes:
      cell: the point that is running, in words.
      done: work done, in the units of ``total``.
      total: all the work, as the task's ``work`` reckons it.
    """

    cell: str
    done: float
    total: float


def run(
    plan: MixPlan,
    checkpoint: Path | None = None,
    progress: Callable[[Progress], None] = lambda progress: None,
) -> xarray.Dataset:
    """Runs a plan; see ``mix`` for the result.

    Args:
      plan: from ``plan``.
      checkpoint: a folder for finished points, from which an interrupted run goes on; the caller
        removes it once the result is safe.
      progress: called after every chunk of seeds.
    """
    checks.require("xarray", "sweep")
    store = results.CellStore(checkpoint, plan)
    cells = plan.cells
    work = [plan.family.work(**plan.point(cell)) for cell in cells]
    total, done = float(sum(work)) * plan.seeds.size, 0.0
    compiled: dict[Hashable, programs.Program] = {}
    values = []
    for index, cell in enumerate(cells):
        if store.has(index):
            values.append(store.load(index))
            done += work[index] * plan.seeds.size
            progress(Progress(point_name(cell), done, total))
            continue
        name = plan.program(cell)
        if name not in compiled:
            compiled[name] = _compile(plan, cell)
        program, traced = compiled[name], plan.traced(cell)
        parts, seconds = [], 0.0
        for first in range(0, plan.seeds.size, program.chunk):
            seeds = plan.seeds[first : first + program.chunk]
            start = time.perf_counter()
            parts.append(programs.call(program, seeds, traced))
            seconds += time.perf_counter() - start
            done += work[index] * seeds.size
            progress(Progress(point_name(cell), done, total))
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        joined[results.RUN_SECONDS] = np.asarray(seconds, np.float32)
        store.save(index, joined)
        values.append(joined)
    return dataset(
        plan,
        values,
        compile_seconds=sum(program.seconds for program in compiled.values()),
        run_seconds=float(sum(cell[results.RUN_SECONDS] for cell in values)),
        programs=len(compiled),
    )


def _compile(plan: MixPlan, cell: Mapping[str, Any]) -> programs.Program:
    real, synthetic = (np.asarray(n, np.int32) for n in (plan.real, plan.synthetic))

    def metrics_of(key, traced):
        mixture = make_mixture(plan.task(cell, traced), max(plan.synthetic), plan.source)

        def fits(published, r):
            def one(m):
                metrics = mixture.fit(published, r, m)
                for name in plan.metrics:
                    checks.one_of("metric of the fits", name, metrics)
                return {name: metrics[name] for name in plan.metrics}

            return jax.lax.map(one, synthetic)

        # One mixture after another, so that a choice by their counts is a choice for all seeds.
        if plan.source == "all":
            published = mixture.publish(key, plan.num_real)
            return jax.lax.map(lambda r: fits(published, r), real)
        return jax.lax.map(lambda r: fits(mixture.publish(key, r), r), real)

    platform, devices = jax.default_backend(), jax.device_count()
    sequential = platform in plan.family.sequential_on
    fitting = 1.0 if sequential else plan.memory_limit / _seed_bytes(plan, cell)
    fitting = min(fitting, MOST_SEEDS_A_CALL) if platform == "cpu" else fitting
    return programs.compile_over_seeds(
        metrics_of,
        plan.seeds,
        plan.traced(cell),
        programs.chunk_size(plan.seeds.size, fitting, devices),
        sequential,
    )


def _seed_bytes(plan: MixPlan, cell: Mapping[str, Any]) -> float:
    """An estimate of one seed's memory: all its points, and what a fit makes of them."""
    mixture: Mixture = make_mixture(plan.task(cell, {}), max(plan.synthetic), plan.source)
    key = jax.eval_shape(jax.random.key, 0)
    published = jax.eval_shape(lambda key: mixture.publish(key, plan.num_real), key)
    data = programs.tree_bytes((published.truth, published.state))
    metrics = 8 * len(plan.real) * len(plan.synthetic) * len(plan.metrics)
    return plan.family.fit_bytes(plan.point(cell), plan.options) + 6 * data + metrics


def dataset(
    plan: MixPlan,
    values: list[dict[str, np.ndarray]],
    compile_seconds: float,
    run_seconds: float,
    programs: int,
) -> xarray.Dataset:
    """The result of a plan from its points, in order: metrics ``[S, R, M]`` and ``run_seconds``."""
    xarray = checks.require("xarray", "sweep")
    coords: dict[str, Any] = {
        **{name: results.coordinate(values) for name, values in plan.axes.items()},
        "real": plan.real,
        "synthetic": plan.synthetic,
        "seed": plan.seeds.astype(np.int64),
    }
    shape = tuple(len(values) for values in coords.values())
    variables: dict[str, Any] = {}
    for name in plan.metrics:
        metric = plan.family.labels[name]
        array = np.stack([np.moveaxis(cell[name], 0, -1) for cell in values]).reshape(shape)
        labels = {"long_name": metric.long_name, "units": metric.units, "scale": metric.scale}
        variables[name] = (tuple(coords), array, labels)
    label = plan.family.labels[SHARE_OF_REAL_DATA]
    real, synthetic = np.meshgrid(plan.real, plan.synthetic, indexing="ij")
    variables[SHARE_OF_REAL_DATA] = (
        ("real", "synthetic"),
        real / (real + synthetic),
        {"long_name": label.long_name, "units": label.units},
    )
    variables[results.RUN_SECONDS] = (
        tuple(plan.axes),
        np.stack([cell[results.RUN_SECONDS] for cell in values]).reshape(shape[:-3]),
        {"long_name": "Time that the point ran, compiling apart", "units": "s"},
    )
    attrs = results.attributes(
        plan,
        f"{plan.family.name}: mixtures of real and synthetic data, "
        f"{results.number_of(plan.seeds.size, 'seed')}",
        [(accumulate(), plan.point(cell)) for cell in plan.cells],
        compile_seconds=compile_seconds,
        run_seconds=run_seconds,
        programs=programs,
    )
    attrs |= {
        "format": results.MIXING_FORMAT,
        "source": plan.source,
        "num_real": plan.num_real,
        "loss": plan.loss,
    }
    return xarray.Dataset(variables, coords, attrs)


def theory(line: xarray.Dataset, metric: str) -> np.ndarray | None:
    """The closed form of a metric's mean ``[real, synthetic]`` at one point, or None.

    Args:
      line: a result whose other axes are scalars.
      metric: its name.
    """
    from jaxcollapse.registry import FAMILIES

    family = FAMILIES.get(line.attrs.get("task", ""))
    if family is None or line.attrs.get("format") != results.MIXING_FORMAT:
        return None
    options = results.options_of(line)
    if any(isinstance(value, dict) for value in options.values()):
        return None  # of a large array the file knows the digest only
    point = {axis: line[axis].item() for axis in family.axes if axis != "num_samples"}
    real, synthetic = np.meshgrid(line["real"].values, line["synthetic"].values, indexing="ij")
    counts = real, synthetic, int(line.attrs["num_real"])
    return family.mixing.theory(metric, counts, line.attrs["source"], options, **point)
