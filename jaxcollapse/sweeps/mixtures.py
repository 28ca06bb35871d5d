"""Fits to every mixture of a grid of real and synthetic counts.

A point of the task's other axes is one program, which runs all mixtures of a chunk of seeds: what
is real, and with the source ``all`` what is synthetic, is drawn once a seed. Mixtures of a seed
share their points, those of a smaller count being among those of a larger one, so that cells are
compared pair by pair.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxcollapse import checks, publishers, registry
from jaxcollapse.families import TaskFamily
from jaxcollapse.metrics import SHARE_OF_REAL_DATA, Metric, unlabelled
from jaxcollapse.mixture import make_mixture
from jaxcollapse.registry import as_family
from jaxcollapse.sweeps import plan as plans
from jaxcollapse.sweeps import results
from jaxcollapse.sweeps.plan import Cell, Plan, Variable
from jaxcollapse.sweeps.programs import tree_bytes
from jaxcollapse.sweeps.progress import Report
from jaxcollapse.sweeps.run import run
from jaxcollapse.task import Task
from jaxcollapse.theory.mixtures import SOURCES
from jaxcollapse.workflows import Workflow, accumulate

if TYPE_CHECKING:
    import xarray

MOST_SEEDS_A_CALL = 64  # on a CPU, so that what a call works on stays in the caches


@dataclasses.dataclass(frozen=True)
class MixturePlan(Plan):
    """A grid of mixtures whose every parameter has been checked; its axes are without N.

    Attributes:
      num_real: A, how many real points there are.
      real: numbers of real points, in the order of the result.
      synthetic: numbers of synthetic points, in the order of the result.
      source: ``all`` or ``subset``.
      loss: the metric that says how good a fit is.
    """

    num_real: int = 1
    real: list[int] = dataclasses.field(default_factory=list)
    synthetic: list[int] = dataclasses.field(default_factory=list)
    source: str = "all"
    loss: str = ""

    @property
    def cells(self) -> list[Cell]:
        """Every point of the other axes, in the order of the result."""
        return [Cell(point) for point in self.points]

    @property
    def facts(self) -> dict[str, Any]:
        """What decides the numbers beside what every plan has, as JSON can hold it."""
        counts = {"num_real": self.num_real, "real": self.real, "synthetic": self.synthetic}
        return {**counts, "source": self.source}

    @property
    def steps(self) -> int:
        """How many fits a seed of a cell makes."""
        return len(self.real) * len(self.synthetic)

    @property
    def is_own(self) -> bool:
        """Whether functions of the user's decide its numbers."""
        return registry.is_own(self.family) or plans.has_own_data(self)

    @property
    def title(self) -> str:
        """What a result of it is called."""
        seeds = plans.number_of(self.seeds.size, "seed")
        return f"{self.family.name}: mixtures of real and synthetic data, {seeds}"

    @property
    def marks(self) -> dict[str, Any]:
        """Attributes that tell a result of it from others."""
        facts = {"source": self.source, "num_real": self.num_real, "loss": self.loss}
        return {"format": results.MIXTURE_FORMAT, **facts}

    @property
    def grid(self) -> dict[str, list[Any]]:
        """Values by dimension, in the order of the result."""
        counts = {"real": self.real, "synthetic": self.synthetic}
        return {**self.axes, **counts, "seed": self.seeds.tolist()}

    def on(self, grid: Mapping[str, list[Any]]) -> MixturePlan:
        """The same on another grid, of the same dimensions."""
        axes = {name: grid[name] for name in self.axes}
        seeds = plans.checked_seeds(grid["seed"])
        real, synthetic = grid["real"], grid["synthetic"]
        return dataclasses.replace(self, axes=axes, seeds=seeds, real=real, synthetic=synthetic)

    def check(self) -> None:
        """Refuses counts and cells that the task cannot have."""
        plans.check_named(self.family, self.axes, self.options)
        if max(self.real) > self.num_real:
            raise checks.refusal(
                "real",
                f"at most the {self.num_real} real points that there are",
                f"{max(self.real)}, more data than exist",
                "lower it or raise num_real",
            )
        synthetic_rows = -(-max(self.synthetic) // self.num_real)
        for cell in self.cells:
            point = self.point(cell)
            self.family.check(accumulate(), point, self.options, 1 + synthetic_rows)
            fewest = self.family.mixtures.fewest_rows(point, self.options)
            if self.num_real < fewest:
                raise checks.refusal(
                    f"real points that there are for {cell}",
                    f"at least {fewest}, which a fit needs",
                    self.num_real,
                    "raise num_real",
                )
            if min(self.real) + min(self.synthetic) < fewest:
                raise checks.refusal(
                    f"points of a mixture for {cell}",
                    f"at least {fewest}, which a fit needs",
                    f"{min(self.real)} real and {min(self.synthetic)} synthetic",
                    "leave the smallest counts out",
                )
            if self.source == "subset" and min(self.real) < fewest:
                raise checks.refusal(
                    f"real for {cell} with the source subset",
                    f"at least {fewest}, which the model that makes synthetic data needs",
                    min(self.real),
                    "leave the smallest counts out, or use the source all",
                )

    def point(self, cell: Cell) -> dict[str, Any]:
        """All axes of the task at a cell."""
        assert self.family.batch is not None
        return {**cell.point, self.family.batch: self.num_real}

    def keeps(self, cell: Cell) -> Workflow:
        """The workflow that decides how a cell's data are kept."""
        return accumulate()

    def _task(self, cell: Cell, traced: Mapping[str, Any]) -> Task:
        return self.family.make(self.point(cell), {**self.options, **traced})

    def function(self, cell: Cell) -> Callable[[jax.Array, Any], dict[str, jax.Array]]:
        """``function(key, traced)``: metrics ``[R, M]`` of the mixtures of one seed."""
        real, synthetic = (np.asarray(n, np.int32) for n in (self.real, self.synthetic))

        def metrics_of(key, traced):
            mixture = make_mixture(self._task(cell, traced), max(self.synthetic), self.source)

            def fits(published, r):
                return jax.lax.map(lambda m: mixture.fit(published, r, m), synthetic)

            # One mixture after another, so that a choice by their counts is one for all seeds.
            if self.source == "all":
                published = mixture.publish(key, self.num_real)
                return jax.lax.map(lambda r: fits(published, r), real)
            return jax.lax.map(lambda r: fits(mixture.publish(key, r), r), real)

        return metrics_of

    def seed_bytes(self, cell: Cell) -> float:
        """An estimate of one seed's memory: all its points, and what a fit makes of them."""
        mixture = make_mixture(self._task(cell, {}), max(self.synthetic), self.source)
        key = jax.eval_shape(jax.random.key, 0)
        published = jax.eval_shape(lambda key: mixture.publish(key, self.num_real), key)
        data = tree_bytes((published.truth, published.state))
        metrics = 8 * len(self.real) * len(self.synthetic) * len(self.metrics)
        return self.family.fit_bytes(self.point(cell), self.options) + 6 * data + metrics

    def most_seeds(self, cell: Cell) -> float:
        """The most seeds that a call should have on one device, whatever fits."""
        platform = jax.default_backend()
        if platform in self.family.sequential_on:
            return 1.0
        return MOST_SEEDS_A_CALL if platform == "cpu" else float("inf")

    def label(self, metric: str) -> Metric:
        """The label and units of a metric."""
        return self.family.labels.get(metric) or unlabelled(metric)

    @property
    def coordinates(self) -> dict[str, Any]:
        """Coordinates of a result, those of its dimensions first, in their order."""
        return {
            **results.axis_coordinates(self),
            "real": self.real,
            "synthetic": self.synthetic,
            "seed": self.seeds.astype(np.int64),
        }

    @property
    def along(self) -> tuple[str, ...]:
        """The first dimensions of a result: those along which its cells are, in order."""
        return tuple(self.axes)

    def variables(self, cell: Mapping[str, np.ndarray]) -> dict[str, Variable]:
        """What a result says of a point, from its metrics ``[S, R, M]`` and its seconds."""
        dims = ("real", "synthetic", "seed")
        found = {
            name: Variable(
                dims, np.moveaxis(cell[name], 0, -1), results.labels_of(self.label(name))
            )
            for name in self.metrics
        }
        ran = {"long_name": "Time that the point ran, compiling apart", "units": "s"}
        return {**found, results.RUN_SECONDS: Variable((), cell[results.RUN_SECONDS], ran)}

    @property
    def constants(self) -> dict[str, Variable]:
        """What a result says beside its points: the shares of real data."""
        real, synthetic = np.meshgrid(self.real, self.synthetic, indexing="ij")
        label = results.labels_of(self.label(SHARE_OF_REAL_DATA))
        label.pop("scale")
        share = real / (real + synthetic)
        return {SHARE_OF_REAL_DATA: Variable(("real", "synthetic"), share, label)}


def plan(
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
) -> MixturePlan:
    """Checks everything that ``mix`` takes, before anything is compiled or written.

    Raises:
      ValueError: as for ``mix``.
    """
    family, axes = as_family(task), dict(axes)
    if "models" in axes and "models" not in family.parameters:
        raise checks.refusal(
            "publishers of a mixture",
            "those of one model, which makes the synthetic data",
            "models",
            "leave it out",
        )
    family = registry.published(family, axes)
    publishers.check_options(family, options, axes)
    if family.batch is None:
        raise checks.refusal(
            "task to mix data for",
            "one with an axis of the number of points, num_samples",
            family.name,
            "give it one",
        )
    given = plans.checked_options(family, preset, family.mixtures.options, options)
    if "pool" in family.parameters:
        checks.one_of("pool of mixtures", given.get("pool", "auto"), ("auto", "points"))
        given["pool"] = "points"
    others = [name for name in family.axes if name != family.batch]
    of_a_fit = family.mixtures.metrics or tuple(family.metrics)
    known = [name for name in family.known(given) if name in of_a_fit]
    counts = {
        name: [checks.whole_number(name, n, minimum=0) for n in plans.axis_values(name, values)]
        for name, values in (("real", real), ("synthetic", synthetic))
    }
    most = max(counts["real"])
    made = MixturePlan(
        family=family,
        axes=plans.checked_axes(family, others, axes),
        num_real=checks.whole_number("num_real", most if num_real is None else num_real),
        real=counts["real"],
        synthetic=counts["synthetic"],
        seeds=plans.checked_seeds(seeds),
        source=checks.one_of("source", source, SOURCES),
        options=given,
        preset=preset,
        metrics=known,
        memory=plans.memory_of(memory_limit),
    )
    made.check()
    known = known or _traced_metrics(made)
    for metric in metrics or ():
        checks.one_of("metric", metric, known)
    chosen = list(metrics or known)
    if loss is None:
        usual = family.mixtures.loss or known[0]
        loss = usual if usual in chosen else chosen[0]
    checks.one_of("metric", loss, known)
    return dataclasses.replace(made, metrics=list(dict.fromkeys([*chosen, loss])), loss=loss)


def _traced_metrics(plan: MixturePlan) -> list[str]:
    """The names of a task's metrics that tells none."""
    cell = plan.cells[0]
    key = jax.eval_shape(jax.random.key, 0)
    found = jax.eval_shape(lambda key: plan.function(cell)(key, plan.traced(cell)), key)
    return [name for name in found if name not in plan.family.known(plan.options)]


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
    folder: Path | str | None = None,
    progress: bool | Report | None = None,
    **options: Any,
) -> xarray.Dataset:
    """A fit to R real and M synthetic points for every R, every M and every seed.

    >>> mix("gaussian", {"dim": [10]}, real=[16, 64, 256], synthetic=[0, 16, 64, 256])

    Args:
      task: a task's name, or a ``TaskFamily`` of one's own with an axis ``num_samples``.
      axes: values for each other axis of the task; and of publishers of its synthetic data, all but
        ``models``, see ``jaxcollapse.publishers``.
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
      folder: as for ``sweep``.
      progress: likewise.
      **options: of the task, the same for every cell.

    Returns:
      One variable a metric, with a dimension for each axis, ``real``, ``synthetic`` and ``seed``;
      ``share_of_real_data``; and the loss's name as the attribute ``loss``.

    Raises:
      ValueError: an unknown name, an empty or repeated value, a count that is not a whole number of
        at least 0, more real points than there are, or too few for a fit.
      ImportError: the extra ``sweep`` is not installed.
    """
    checked = plan(
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
    return run(checked, folder, progress)
