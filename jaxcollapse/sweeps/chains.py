"""Chains for every workflow, every combination of axis values and every seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxcollapse import checks, held_out, parts, publishers, registry
from jaxcollapse.chain import Chain, make_chain
from jaxcollapse.families import TaskFamily
from jaxcollapse.held_out import POINT_METRICS
from jaxcollapse.metrics import SHARE_OF_REAL_DATA, Measures, Metric, functions_of, unlabelled
from jaxcollapse.registry import as_family
from jaxcollapse.sweeps import fields, labelled, results
from jaxcollapse.sweeps import plan as plans
from jaxcollapse.sweeps.plan import Cell, Plan, Variable
from jaxcollapse.sweeps.programs import tree_bytes
from jaxcollapse.sweeps.progress import Report
from jaxcollapse.sweeps.run import run
from jaxcollapse.task import JUDGED, Task
from jaxcollapse.workflows import NUMBERS, Workflow, as_workflows

if TYPE_CHECKING:
    import xarray

Workflows = Sequence[Workflow | Callable[[], Workflow] | str] | Workflow | str


# What a result has beside its metrics and its axes.
RESERVED = (
    *("workflow", "seed", "generation", "keep", "real", "draw", *NUMBERS),
    *(results.RUN_SECONDS, "first_nonfinite_generation"),
)
NUMBERS_OF_WORKFLOW = "workflow"  # beside the task's own traced parameters
# On a CPU, where with ten times as many each takes a fifth longer: they leave the caches.
MOST_SEEDS_ON_POINTS = 128


@dataclasses.dataclass(frozen=True)
class ChainPlan(Plan):
    """A grid of chains whose every parameter has been checked.

    Attributes:
      workflows: in the order of the result.
      generations: G.
      measures: metrics of one's own, as ``make_chain`` takes them.
      of_points: names of the metrics of points among those that it computes.
      every: of which generations metrics are kept: every so many, the first and the last.
    """

    workflows: list[Workflow] = dataclasses.field(default_factory=list)
    generations: int = 1
    measures: Measures = None
    of_points: list[str] = dataclasses.field(default_factory=list)
    every: int = 1

    @property
    def kept_generations(self) -> np.ndarray:
        """Of which generations metrics are kept: 1, K, 2K, ... and the last, ``[T]``."""
        numbers = np.arange(1, self.generations + 1)
        ends = (numbers == 1) | (numbers == self.generations)
        return numbers[ends | (numbers % self.every == 0)]

    @property
    def cells(self) -> list[Cell]:
        """Every workflow at every point, in the order of the result."""
        return [Cell(point, workflow) for workflow in self.workflows for point in self.points]

    @property
    def facts(self) -> dict[str, Any]:
        """What decides the numbers beside what every plan has, as JSON can hold it."""
        return {
            "workflow": [workflow.name for workflow in self.workflows],
            "records": [workflow.describe() for workflow in self.workflows],
            "generations": self.generations,
            **({} if self.every == 1 else {"every": self.every}),
        }

    @property
    def steps(self) -> int:
        """How many fits a seed of a cell makes."""
        return self.generations

    @property
    def is_own(self) -> bool:
        """Whether functions of the user's decide its numbers."""
        own_workflow = any(type(workflow) is not Workflow for workflow in self.workflows)
        own_task = registry.is_own(self.family) or plans.has_own_data(self)
        return own_task or own_workflow or self.measures is not None

    @property
    def title(self) -> str:
        """What a result of it is called."""
        return (
            f"{self.family.name}: {plans.number_of(self.seeds.size, 'seed')}, "
            f"{plans.number_of(self.generations, 'generation')}"
        )

    @property
    def marks(self) -> dict[str, Any]:
        """Attributes that tell a result of it from others."""
        return {"format": results.FORMAT}

    @property
    def grid(self) -> dict[str, list[Any]]:
        """Values by dimension, in the order of the result; without generations."""
        names = [workflow.name for workflow in self.workflows]
        return {"workflow": names, **self.axes, "seed": self.seeds.tolist()}

    def on(self, grid: Mapping[str, list[Any]]) -> ChainPlan:
        """The same on another grid, of the same dimensions."""
        known = {workflow.name: workflow for workflow in self.workflows}
        workflows = as_workflows([known.get(name, name) for name in grid["workflow"]])
        axes = {name: grid[name] for name in self.axes}
        seeds = plans.checked_seeds(grid["seed"])
        return dataclasses.replace(self, workflows=workflows, axes=axes, seeds=seeds)

    def check(self) -> None:
        """Refuses cells that the task cannot have."""
        plans.check_named(self.family, self.axes, self.options)
        for cell in self.cells:
            self.family.check(self.keeps(cell), cell.point, self.options, self.generations)

    def point(self, cell: Cell) -> dict[str, Any]:
        """All axes of the task at a cell."""
        return cell.point

    def keeps(self, cell: Cell) -> Workflow:
        """The workflow that decides how a cell's data are kept."""
        assert cell.workflow is not None
        return cell.workflow

    def traced(self, cell: Cell) -> dict[str, Any]:
        """The parameters of a cell that change no shape, and such numbers of its workflow."""
        numbers = self.keeps(cell).numbers
        return super().traced(cell) | ({NUMBERS_OF_WORKFLOW: numbers} if numbers else {})

    def function(self, cell: Cell) -> Callable[[jax.Array, Any], dict[str, jax.Array]]:
        """``function(key, traced) -> metrics`` of one seed: the chain of a cell."""

        def metrics_of(key, traced):
            metrics = self.chain(cell, traced)(key)
            if self.every == 1:
                return metrics
            kept = self.kept_generations - 1
            return {name: array[kept] for name, array in metrics.items()}

        return metrics_of

    def chain(self, cell: Cell, traced: Mapping[str, Any] = MappingProxyType({})) -> Chain:
        """The chain of a cell, with traced values in place of those of its traced axes."""
        task = self._task(cell, {k: v for k, v in traced.items() if k != NUMBERS_OF_WORKFLOW})
        workflow = self.keeps(cell)
        if NUMBERS_OF_WORKFLOW in traced:
            workflow = dataclasses.replace(workflow, **traced[NUMBERS_OF_WORKFLOW])
        return make_chain(task, workflow, self.generations, self.measures)

    def _task(self, cell: Cell, traced: Mapping[str, Any]) -> Task:
        task = self.family.make(cell.point, {**self.options, **traced})
        return held_out.measured(task, self.of_points) if self.of_points else task

    def seed_bytes(self, cell: Cell) -> float:
        """An estimate of one chain's memory: its pool, a few batches, its noise, its metrics."""
        workflow = self.keeps(cell)
        task = self._task(cell, {}).under(workflow)

        def start(key):
            noise = task.noise(key)
            first = parts.noise_of(task.noise, workflow, task.num_rows).first
            truth, batch = task.init(noise if first is None else first(key))
            state = task.pool(truth, workflow, self.generations).start(batch)
            return state, (batch, truth), jax.tree.leaves(noise)

        shapes = jax.eval_shape(start, jax.eval_shape(jax.random.key, 0))
        state, batch, noise = map(tree_bytes, shapes)
        metrics = 8 * self.generations * len(self.metrics)
        fit = self.family.fit_bytes(cell.point, self.options)
        size = cell.point.get(self.family.batch or "", 0)
        pairs = 4 * (held_out.NUM_HELD_OUT + size) ** 2 if self.of_points else 0
        return fit + 1.1 * state + 8 * batch + 4 * (self.generations + 1) * noise + metrics + pairs

    def most_seeds(self, cell: Cell) -> float:
        """The most seeds that a call should have on one device, whatever fits."""
        task = self._task(cell, {})
        on_points = task.under(self.keeps(cell)) is task
        return MOST_SEEDS_ON_POINTS if on_points and jax.default_backend() == "cpu" else np.inf

    def label(self, metric: str) -> Metric:
        """The label and units of a metric."""
        if isinstance(self.measures, Mapping) and isinstance(self.measures.get(metric), Metric):
            return self.measures[metric]
        if metric in self.of_points:
            return POINT_METRICS[metric].label
        return self.family.labels.get(metric) or unlabelled(metric)

    @property
    def coordinates(self) -> dict[str, Any]:
        """Coordinates of a result, those of its dimensions first, in their order."""
        return {
            "workflow": [workflow.name for workflow in self.workflows],
            **results.axis_coordinates(self),
            "seed": self.seeds.astype(np.int64),
            "generation": self.kept_generations,
            **fields.coordinates(self.workflows),
        }

    @property
    def along(self) -> tuple[str, ...]:
        """The first dimensions of a result: those along which its cells are, in order."""
        return ("workflow", *self.axes)

    def variables(self, cell: Mapping[str, np.ndarray]) -> dict[str, Variable]:
        """What a result says of a cell, from its metrics ``[S, G, ...]`` and its seconds."""
        labels = {name: self.label(name) for name in self.metrics}
        is_whole, summaries = self.every == 1, self.family.summaries
        return labelled.of_chains(cell, labels, self.kept_generations, is_whole, summaries)


def _check_names(names: Iterable[str], family: TaskFamily) -> None:
    """Refuses names that a result could not hold beside its own."""
    for name in names:
        if name in RESERVED or name in family.axes or "/" in name:
            raise checks.refusal(
                "name of a metric or of a workflow's field",
                "one that a result does not have already, without a slash",
                repr(name),
                "rename it",
            )


def plan(
    task: TaskFamily | Task | str,
    workflows: Workflows,
    axes: Mapping[str, Iterable[Any]] | None = None,
    seeds: int | Iterable[int] = 100,
    generations: int = 100,
    preset: str = "corrected",
    metrics: Sequence[str] | None = None,
    memory_limit: float | None = None,
    measures: Measures = None,
    every: int = 1,
    **options: Any,
) -> ChainPlan:
    """Checks everything that ``sweep`` takes, before anything is compiled or written.

    Raises:
      ValueError: as for ``sweep``.
    """
    plans.check_no_fields([*(axes or ()), *options], as_family(task))
    family = registry.published(task, axes or ())
    publishers.check_options(family, options, axes or {})
    options = plans.checked_options(family, preset, options)
    if _look_at_rows(measures):
        options = _keeping_points(family, options)
    checked = ChainPlan(
        family=family,
        axes=plans.checked_axes(family, family.axes, axes or {}),
        seeds=plans.checked_seeds(seeds),
        options=options,
        preset=preset,
        metrics=[],
        memory=plans.memory_of(memory_limit),
        workflows=as_workflows(workflows),
        generations=checks.whole_number("generations", generations),
        measures=measures,
        every=checks.whole_number("every", every),
    )
    checked.check()
    fields = dict.fromkeys(name for w in checked.workflows for name in w.fields)
    _check_names([name for name in fields if name not in Workflow().fields], family)
    known = _known_metrics(checked)
    _check_names(known, family)
    of_points = [name for name in metrics or () if name in POINT_METRICS and name not in known]
    for metric in metrics or ():
        checks.one_of("metric", metric, [*known, *of_points])
    if of_points:
        checked = _on_points(checked, of_points)
    return dataclasses.replace(checked, metrics=list(metrics or known))


def _look_at_rows(measures: Measures) -> bool:
    """Whether metrics of one's own are of what is published."""
    functions = functions_of(measures)
    return any(checks.arguments(f, name, JUDGED, 2) > 2 for name, f in functions.items())


def _keeping_points(family: TaskFamily, options: dict[str, Any]) -> dict[str, Any]:
    """Options with which a task keeps points, so that nothing is traced that decides how many."""
    auto = "pool" in family.parameters and options.get("pool", "auto") == "auto"
    return {**options, "pool": "points"} if auto else options


def _on_points(plan: ChainPlan, names: list[str]) -> ChainPlan:
    """The plan with metrics of points, for which every cell keeps them."""
    options = _keeping_points(plan.family, plan.options)
    for point in plan.points:
        held_out.check(plan.family.make(point, options), names, str(Cell(point)))
    return dataclasses.replace(plan, options=options, of_points=names)


def _known_metrics(plan: ChainPlan) -> list[str]:
    """Names of the metrics of its chains; where functions of one's own tell them, by tracing."""
    known = plan.family.known(plan.options)
    if plan.measures is None and plan.family.metrics:
        return known
    shapes: dict[str, Any] = {}
    programs = {plan.program(cell): cell for cell in reversed(plan.cells)}
    for cell in reversed(programs.values()):
        traced = plan.traced(cell)
        key = jax.eval_shape(jax.random.key, 0)
        found = jax.eval_shape(plan.function(cell), key, traced)
        for name, leaf in found.items():
            if not hasattr(leaf, "shape"):
                raise checks.refusal(
                    f"metric {name} of a sweep",
                    "an array",
                    f"a {type(leaf).__name__}",
                    "return the parts of a tree as metrics of their own",
                )
            if shapes.setdefault(name, leaf.shape) != leaf.shape:
                raise checks.refusal(
                    f"metric {name} of a sweep",
                    "an array of one shape in all cells",
                    f"{list(shapes[name])} and {list(leaf.shape)} at {cell}",
                    "sweep the axis that its shape depends on one value at a time",
                )
    names = [name for name in (*known, *shapes) if name in shapes]
    return list(dict.fromkeys([*(n for n in names if n != SHARE_OF_REAL_DATA), SHARE_OF_REAL_DATA]))


def sweep(
    task: TaskFamily | Task | str,
    workflows: Workflows,
    axes: Mapping[str, Iterable[Any]] | None = None,
    seeds: int | Iterable[int] = 100,
    generations: int = 100,
    preset: str = "corrected",
    metrics: Sequence[str] | None = None,
    memory_limit: float | None = None,
    measures: Measures = None,
    every: int = 1,
    folder: Path | str | None = None,
    progress: bool | Report | None = None,
    **options: Any,
) -> xarray.Dataset:
    """Chains for every workflow, every combination of axis values and every seed.

    >>> sweep("gaussian", ["replace", "window:keep=3"], {"dim": [1, 3], "num_samples": [10, 100]})

    Args:
      task: a task's name, or a ``TaskFamily`` or a ``Task`` of one's own.
      workflows: spellings, functions or ``Workflow``s.
      axes: values for each axis of the task, none for a ``Task``; and for those of publishers that
        are asked for, such as ``temperature``.
      seeds: how many, from 0, or the seeds themselves.
      generations: G.
      preset: ``corrected`` or ``authors``; it sets the options that are not given.
      metrics: names of those to compute; all of the task by default. Of tasks whose data are points
        also those of ``jaxcollapse.point_metrics``, which are computed where they are named.
      memory_limit: bytes that running chains may take; an eighth of what is free by default.
      measures: metrics of one's own, as ``make_chain`` takes them; a ``Metric`` with a function
        also gives label and units.
      every: keeps metrics of generations K, 2K, ... alone, and of the first and the last.
      folder: keeps finished cells, from which the same sweep goes on if it is interrupted, and
        which it takes when it is asked for again.
      progress: whether to show a bar, or a function that is called after every chunk of seeds; by
        default a bar where somebody is looking.
      **options: of the task, the same for every cell (for instance ``ddof=1``).

    Returns:
      One variable a metric, with dimensions ``workflow``, one for each axis, ``seed`` and
      ``generation`` (from 1), more for metrics that are arrays, and
      ``first_nonfinite_generation`` for each seed.

    Raises:
      ValueError: an unknown name, an empty or repeated value, or a cell that the task refuses.
      ImportError: the extra ``sweep`` is not installed.
    """
    checked = plan(
        task,
        workflows,
        axes,
        seeds,
        generations,
        preset,
        metrics,
        memory_limit,
        measures,
        every,
        **options,
    )
    return run(checked, folder, progress)
