"""A grid of chains in few compiled calls, as labelled arrays.

A cell is one workflow at one point of the grid. Cells that differ only in traced axes share a
program; one call of it runs one cell for one chunk of seeds, sharded over the devices. Programs
compile in the background while earlier cells run.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks
from jaxcollapse.chain import make_chain, whole_seeds
from jaxcollapse.families import TaskFamily
from jaxcollapse.registry import as_family
from jaxcollapse.sweeps import grids, programs, results
from jaxcollapse.sweeps.programs import Program
from jaxcollapse.workflows import Workflow, as_workflow

if TYPE_CHECKING:
    import xarray


class Cell(NamedTuple):
    """One workflow at one point of the grid."""

    workflow: Workflow
    point: dict[str, Any]

    def __str__(self) -> str:
        return " ".join([self.workflow.name, *(f"{k}={v}" for k, v in self.point.items())])


class Plan(NamedTuple):
    """A sweep whose every parameter has been checked.

    Attributes:
      family: the task.
      workflows: in the order of the result.
      axes: values by axis, in the order of the result.
      seeds: uint32 ``[S]``.
      generations: G.
      options: of the task, the same for every cell.
      preset: where the options that were not given came from.
      metrics: names of the metrics to compute.
      memory_limit: bytes that the chains of one call may take on one device.
    """

    family: TaskFamily
    workflows: list[Workflow]
    axes: dict[str, list[Any]]
    seeds: np.ndarray
    generations: int
    options: dict[str, Any]
    preset: str
    metrics: list[str]
    memory_limit: float

    @property
    def cells(self) -> list[Cell]:
        """Every workflow at every point, in the order of the result."""
        points = [
            dict(zip(self.axes, values, strict=True))
            for values in itertools.product(*self.axes.values())
        ]
        return [Cell(workflow, point) for workflow in self.workflows for point in points]

    @property
    def configuration(self) -> dict[str, Any]:
        """All that decides the numbers, as JSON can hold it."""
        return {
            "task": self.family.name,
            "workflow": [workflow.name for workflow in self.workflows],
            "subsample_size": [workflow.subsample_size for workflow in self.workflows],
            "axes": self.axes,
            "seeds": [int(seed) for seed in self.seeds],
            "generations": self.generations,
            "preset": self.preset,
            "options": results.as_json(self.options),
            "metrics": self.metrics,
        }

    def traced(self, cell: Cell) -> dict[str, Any]:
        """The parameters of a cell that change no shape."""
        return self.family.traced(cell.workflow, cell.point, self.options)

    def program(self, cell: Cell) -> Hashable:
        """A name for the program of a cell: cells that share it share one compilation."""
        traced = self.traced(cell)
        fixed = ((k, v) for k, v in cell.point.items() if k not in traced)
        return (cell.workflow.name, *fixed, jax.tree.structure(traced))

    def chain(self, cell: Cell, traced: Mapping[str, Any]) -> Callable[[jax.Array], Any]:
        """The chain of a cell, with traced values in place of those of its traced axes."""
        task = self.family.make(**{**cell.point, **self.options, **traced})
        return make_chain(task, cell.workflow, self.generations)


def plan(
    task: TaskFamily | str,
    workflows: Sequence[Workflow | Callable[[], Workflow] | str],
    axes: Mapping[str, Iterable[Any]],
    seeds: int | Iterable[int] = 100,
    generations: int = 100,
    preset: str = "corrected",
    metrics: Sequence[str] | None = None,
    memory_limit: float | None = None,
    **options: Any,
) -> Plan:
    """Checks everything that ``sweep`` takes, before anything is compiled or written.

    Raises:
      ValueError: as for ``sweep``.
    """
    family = as_family(task)
    checks.one_of("preset", preset, family.presets)
    options = {"pool": "auto", **family.presets[preset], **options}
    values = grids.axes_of(family, family.axes, axes)
    grids.check_options(family, options)
    if isinstance(workflows, str):
        workflows = [workflows]
    chosen = [as_workflow(workflow) for workflow in workflows]
    grids.distinct("workflow", [workflow.name for workflow in chosen])
    seeds = whole_seeds(grids.seed_list(seeds))
    for metric in metrics or ():
        checks.one_of("metric", metric, family.known(options))
    checked = Plan(
        family=family,
        workflows=chosen,
        axes=values,
        seeds=seeds,
        generations=checks.whole_number("generations", generations),
        options=options,
        preset=preset,
        metrics=list(metrics or family.known(options)),
        memory_limit=grids.bytes_a_device(memory_limit),
    )
    for cell in checked.cells:
        family.check(cell.workflow, cell.point, options, checked.generations)
    return checked


class Progress(NamedTuple):
    """How far a sweep is, told after every chunk of seeds.

    Attributes:
      cell: the cell that is running.
      done: work done, in the units of ``total``.
      total: all the work, as the task's ``work`` reckons it.
    """

    cell: Cell
    done: float
    total: float


def sweep(
    task: TaskFamily | str,
    workflows: Sequence[Workflow | Callable[[], Workflow] | str],
    axes: Mapping[str, Iterable[Any]],
    seeds: int | Iterable[int] = 100,
    generations: int = 100,
    preset: str = "corrected",
    metrics: Sequence[str] | None = None,
    memory_limit: float | None = None,
    **options: Any,
) -> xarray.Dataset:
    """Chains for every workflow, every combination of axis values and every seed.

    >>> sweep("gaussian", ["replace", "accumulate"], {"dim": [1, 3], "num_samples": [10, 100]})

    Args:
      task: a task's name, or a ``TaskFamily`` of one's own.
      workflows: names, functions or ``Workflow``s.
      axes: values for each axis of the task.
      seeds: how many, from 0, or the seeds themselves.
      generations: G.
      preset: ``corrected`` or ``authors``; it sets the options that are not given.
      metrics: names of those to compute; all by default.
      memory_limit: bytes that running chains may take; an eighth of what is free by default.
      **options: of the task, the same for every cell (for instance ``ddof=1``).

    Returns:
      One variable a metric, with dimensions ``workflow``, one for each axis, ``seed`` and
      ``generation`` (from 1), and ``first_nonfinite_generation`` for each seed.

    Raises:
      ValueError: an unknown name, an empty or repeated value, or a cell that the task refuses.
      ImportError: the extra ``sweep`` is not installed.
    """
    checked = plan(
        task, workflows, axes, seeds, generations, preset, metrics, memory_limit, **options
    )
    return run(checked)


def run(
    plan: Plan,
    checkpoint: Path | None = None,
    progress: Callable[[Progress], None] = lambda progress: None,
) -> xarray.Dataset:
    """Runs a plan; see ``sweep`` for the result.

    Args:
      plan: from ``plan``.
      checkpoint: a folder for finished cells, from which an interrupted run goes on; the caller
        removes it once the result is safe.
      progress: called after every chunk of seeds.
    """
    checks.require("xarray", "sweep")
    store = results.CellStore(checkpoint, plan)
    cells = plan.cells
    work = [plan.family.work(**cell.point) for cell in cells]
    total = float(sum(work)) * plan.seeds.size
    done = 0.0
    run_seconds = 0.0
    values: list[dict[str, np.ndarray]] = []
    # A context of the caller's, such as jax.enable_x64, does not reach the compiling thread.
    x64 = jnp.result_type(float) == jnp.float64
    missing = [index for index in range(len(cells)) if not store.has(index)]
    with ThreadPoolExecutor(max_workers=1) as pool:
        programs = {}
        for index in missing:
            name = plan.program(cells[index])
            if name not in programs:
                programs[name] = pool.submit(_compile, plan, cells[index], x64)
        try:
            for index, cell in enumerate(cells):
                if store.has(index):
                    values.append(store.load(index))
                    done += work[index] * plan.seeds.size
                    progress(Progress(cell, done, total))
                    continue
                program = programs[plan.program(cell)].result()
                parts = []
                cell_seconds = 0.0
                for first in range(0, plan.seeds.size, program.chunk):
                    seeds = plan.seeds[first : first + program.chunk]
                    start = time.perf_counter()
                    parts.append(_call(program, seeds, plan.traced(cell)))
                    cell_seconds += time.perf_counter() - start
                    done += work[index] * seeds.size
                    progress(Progress(cell, done, total))
                joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
                joined[results.RUN_SECONDS] = np.asarray(cell_seconds, np.float32)
                run_seconds += cell_seconds
                store.save(index, joined)
                values.append(joined)
        finally:
            pool.shutdown(cancel_futures=True)
    compiled = [future.result() for future in programs.values()]
    return results.dataset(
        plan,
        values,
        compile_seconds=sum(program.seconds for program in compiled),
        run_seconds=run_seconds,
        programs=len(compiled),
    )


def _call(program: Program, seeds: np.ndarray, traced: dict[str, Any]) -> dict[str, np.ndarray]:
    return programs.call(program, seeds, traced)


def _compile(plan: Plan, cell: Cell, x64: bool) -> Program:
    def chain(key, traced):
        metrics = plan.chain(cell, traced)(key)
        for name in plan.metrics:
            checks.one_of("metric of the chains", name, metrics)
        return {name: metrics[name] for name in plan.metrics}

    with jax.enable_x64(x64):
        return programs.compile_over_seeds(
            chain,
            plan.seeds,
            plan.traced(cell),
            _chunk(plan, cell, jax.device_count()),
            sequential=jax.default_backend() in plan.family.sequential_on,
        )


def _chunk(plan: Plan, cell: Cell, devices: int) -> int:
    """Seeds a call: as many as fit in memory, in few chunks of equal size."""
    fitting = plan.memory_limit / _chain_bytes(plan, cell)
    return programs.chunk_size(plan.seeds.size, fitting, devices)


def _chain_bytes(plan: Plan, cell: Cell) -> float:
    """An estimate of one chain's memory: its pool, a few batches, its noise and its metrics."""
    task = plan.family.make(**cell.point, **plan.options)
    if task.statistics is not None and not cell.workflow.needs_points:
        task = task.statistics

    def start(key):
        noise = task.noise(key)
        truth, batch = task.init(noise)
        state = task.pool(truth, cell.workflow.capacity(plan.generations)).start(batch)
        return state, (batch, truth), jax.tree.leaves(noise)

    shapes = jax.eval_shape(start, jax.eval_shape(jax.random.key, 0))
    state, batch, noise = map(programs.tree_bytes, shapes)
    metrics = 8 * plan.generations * len(plan.metrics)
    fit = plan.family.fit_bytes(cell.point, plan.options)
    return fit + 1.1 * state + 8 * batch + 2 * (plan.generations + 1) * noise + metrics
