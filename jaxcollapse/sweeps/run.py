"""The one runner of grids, of chains and of mixtures.

A cell is one point of the grid. Cells that differ only in traced parameters share a program; one
call of it runs one cell for one chunk of seeds, sharded over the devices. Programs compile in the
background while earlier cells run.
"""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, machine, registry
from jaxcollapse.sweeps import kept, programs, results
from jaxcollapse.sweeps.cells import CellStore
from jaxcollapse.sweeps.plan import Cell, Plan
from jaxcollapse.sweeps.programs import Program
from jaxcollapse.sweeps.progress import Progress, Report, reported

if TYPE_CHECKING:
    import xarray


def run(
    plan: Plan,
    folder: Path | str | None = None,
    progress: bool | Report | None = None,
    chunk: int | None = None,
) -> xarray.Dataset:
    """Runs a plan; see ``sweep`` and ``mix`` for the result.

    Args:
      plan: of chains or of mixtures.
      folder: for finished cells, from which an interrupted run goes on.
      progress: a function that is called after every chunk of seeds, or whether to show a bar; by
        default where somebody is looking.
      chunk: seeds a call, a multiple of the number of devices; by default as many as fit.
    """
    checks.installed("xarray", "sweep")
    lowering = _Lowering(plan, chunk)
    store = CellStore(None if folder is None else Path(folder), plan, lowering.digest)
    with reported(progress) as report:
        return _run(plan, store, lowering, report)


def run_and_save(
    plan: Plan,
    out: Path,
    overwrite: bool = False,
    progress: bool | Report | None = None,
) -> xarray.Dataset:
    """Runs a plan and writes its result to ``out``.

    Finished cells are kept in ``out`` with ``.partial`` added, from which the same plan goes on if
    it is interrupted; the folder goes once the result is written.
    """
    checks.installed("xarray", "sweep")
    keeper = kept.Programs(machine.cache_folder("programs"), plan)
    if not keeper.keeps:  # two caches of the same programs would only take longer
        machine.enable_compilation_cache()
    partial = out.with_name(f"{out.name}.partial")
    lowering = _Lowering(plan, kept=keeper)
    store = CellStore(partial, plan, lowering.digest)
    done = sum(store.has(cell) for cell in plan.cells)
    if done:
        print(f"going on: {done} of {len(plan.cells)} cells were done", file=sys.stderr)
    with reported(progress) as report:
        dataset = _run(plan, store, lowering, report)
    results.save(dataset, out, overwrite)
    store.remove()
    return dataset


class _Lowering:
    """The programs of a plan, each lowered once, from any thread; or kept from another process."""

    def __init__(self, plan: Plan, chunk: int | None = None, kept: kept.Programs | None = None):
        self.plan, self.chunk, self.kept = plan, chunk, kept
        self._lowered: dict[object, Program] = {}
        self._lock = threading.Lock()
        # A context of the caller's, such as jax.enable_x64, does not reach another thread.
        self._x64 = jnp.result_type(float) == jnp.float64

    def program(self, cell: Cell) -> Program:
        """The program of a cell, not yet compiled."""
        name = self.plan.program(cell)
        with self._lock:
            if name not in self._lowered:
                with jax.enable_x64(self._x64):
                    self._lowered[name] = self._lower(cell)
            return self._lowered[name]

    def _lower(self, cell: Cell) -> Program:
        plan = self.plan
        function = plan.function(cell)

        def chosen(key, traced):
            metrics = function(key, traced)
            for name in plan.metrics:
                checks.one_of("metric", name, metrics)
            return {name: metrics[name] for name in plan.metrics}

        chunk = self.chunk or self._chunk(cell, plan.seed_bytes(cell))
        sequential = jax.default_backend() in plan.family.sequential_on
        return programs.lowered_over_seeds(chosen, plan.seeds, plan.traced(cell), chunk, sequential)

    def _chunk(self, cell: Cell, seed_bytes: float) -> int:
        plan = self.plan
        most = min(plan.memory_limit / seed_bytes, plan.most_seeds(cell))
        return programs.chunk_size(plan.seeds.size, most, jax.device_count())

    def digest(self, cell: Cell) -> str:
        """Of a cell's program, and of what this is given."""
        leaves, structure = jax.tree.flatten(self.plan.traced(cell))
        given = [(np.shape(leaf), np.asarray(leaf).tolist()) for leaf in leaves]
        return f"{self.program(cell).digest} {structure} {given}"

    def compiled(self, cell: Cell) -> Program:
        """The program of a cell, compiled."""
        brief = self._runs_briefly(cell)
        if self.kept is None:
            return self.program(cell).compile(brief)
        start = time.perf_counter()
        with jax.enable_x64(self._x64):
            found = self.kept.load(cell, brief)
            if found is not None and found.chunk == self._chunk(cell, found.seed_bytes):
                seconds = time.perf_counter() - start
                return Program(None, programs.placement(), found.chunk, "", seconds, found.compiled)
            program = self.program(cell).compile(brief)
            if program.from_cache:
                return program
            seed_bytes = self.plan.seed_bytes(cell)
            facts = program.chunk, seed_bytes, program.decomposes
            self.kept.save(cell, brief, kept.Kept(program.compiled, *facts))
        return program

    def _runs_briefly(self, cell: Cell) -> bool:
        """Whether all cells of a program run for less than thorough compiling takes."""
        plan = self.plan
        name = plan.program(cell)
        work = sum(plan.work(other) for other in plan.cells if plan.program(other) == name)
        seconds = programs.SECONDS_A_UNIT_OF_WORK * work * plan.seeds.size * plan.steps
        return not registry.is_own(plan.family) and seconds < programs.BRIEFLY


def _run(plan: Plan, store: CellStore, lowering: _Lowering, report: Report) -> xarray.Dataset:
    cells = plan.cells
    work = [plan.work(cell) for cell in cells]
    missing = [index for index, cell in enumerate(cells) if not store.has(cell)]
    # Of what is missing, so that the time left is not reckoned from what was found.
    total, done = float(sum(work[index] for index in missing)) * plan.seeds.size, 0.0
    values: list[dict[str, np.ndarray]] = []
    run_seconds = 0.0
    with ThreadPoolExecutor(max_workers=machine.cores()) as pool:
        compiling: dict[object, Future[Program]] = {}

        def compile_for(cell: Cell) -> Future[Program]:
            name = plan.program(cell)
            if name not in compiling:
                compiling[name] = pool.submit(lowering.compiled, cell)
            return compiling[name]

        for index in missing:
            compile_for(cells[index])
        checks.require("xarray", "sweep")  # which takes as long as a program, while they compile
        try:
            for index, cell in enumerate(cells):
                found = store.load(cell)
                if found is not None:
                    values.append(found)
                    if index in missing:  # another process has done it meanwhile
                        done += work[index] * plan.seeds.size
                        report(Progress(str(cell), done, total))
                    continue
                program, traced = compile_for(cell).result(), plan.traced(cell)
                parts, seconds = [], 0.0
                for first in range(0, plan.seeds.size, program.chunk):
                    seeds = plan.seeds[first : first + program.chunk]
                    start = time.perf_counter()
                    parts.append(program(seeds, traced))
                    seconds += time.perf_counter() - start
                    done += work[index] * seeds.size
                    report(Progress(str(cell), done, total))
                joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
                joined[results.RUN_SECONDS] = np.asarray(seconds, np.float32)
                run_seconds += seconds
                store.save(cell, joined)
                values.append(joined)
        finally:
            pool.shutdown(cancel_futures=True)
    compiled = [future.result() for future in compiling.values()]
    return results.dataset(
        plan,
        values,
        compile_seconds=sum(program.seconds for program in compiled),
        run_seconds=run_seconds,
        programs=len(compiled),
    )
