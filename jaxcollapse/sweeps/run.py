"""The one runner of grids, of chains and of mixtures.

A cell is one point of the grid. Cells that differ only in traced parameters share a program; one
call of it runs one cell for one chunk of seeds, sharded over the devices. Programs compile in the
background while earlier cells run.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, locks, machine, registry
from jaxcollapse.files import check_output
from jaxcollapse.sweeps import kept, memory, programs, results
from jaxcollapse.sweeps.cells import CellStore
from jaxcollapse.sweeps.plan import Cell, Plan
from jaxcollapse.sweeps.programs import Arrays, Program
from jaxcollapse.sweeps.progress import Progress, Report, RunLog, reported

if TYPE_CHECKING:
    import xarray


def run(
    plan: Plan,
    folder: Path | str | None = None,
    progress: bool | Report | RunLog | None = None,
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
    progress: bool | Report | RunLog | None = None,
) -> xarray.Dataset:
    """Runs a plan and writes its result to ``out``.

    Finished cells are kept in ``out`` with ``.partial`` added, from which the same plan goes on if
    it is interrupted; the folder goes once the result is written.

    Raises:
      ValueError: another process writes to ``out``, or it exists and ``overwrite`` is False.
    """
    checks.installed("xarray", "sweep")
    with locks.writing(out):
        check_output(out, (".nc",), overwrite)
        return _run_and_save(plan, out, overwrite, progress)


def _run_and_save(
    plan: Plan, out: Path, overwrite: bool, progress: bool | Report | RunLog | None
) -> xarray.Dataset:
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
        plan = self.plan
        name = plan.program(cell)
        with self._lock:
            if name not in self._lowered:
                with jax.enable_x64(self._x64):
                    chunk = self._chunk(cell, plan.seed_bytes(cell))
                    self._lowered[name] = self._lower(cell, chunk)
            return self._lowered[name]

    def _lower(self, cell: Cell, chunk: int) -> Program:
        plan = self.plan
        function = plan.function(cell)

        def chosen(key, traced):
            metrics = function(key, traced)
            for name in plan.metrics:
                checks.one_of("metric", name, metrics)
            return {name: metrics[name] for name in plan.metrics}

        sequential = jax.default_backend() in plan.family.sequential_on
        return programs.lowered_over_seeds(chosen, plan.seeds, plan.traced(cell), chunk, sequential)

    def _chunk(self, cell: Cell, seed_bytes: float) -> int:
        plan = self.plan
        if self.chunk is not None:
            return self.chunk
        most = min(plan.memory.limit / seed_bytes, plan.most_seeds(cell))
        return programs.chunk_size(plan.seeds.size, most, jax.device_count())

    def digest(self, cell: Cell) -> str:
        """Of a cell's program, and of what this is given."""
        leaves, structure = jax.tree.flatten(self.plan.traced(cell))
        given = [(np.shape(leaf), np.asarray(leaf).tolist()) for leaf in leaves]
        return f"{self.program(cell).digest} {structure} {given}"

    def compiled(self, cell: Cell) -> Program:
        """The program of a cell, compiled; refused if not even a seed a device has memory."""
        brief = self._runs_briefly(cell)
        with jax.enable_x64(self._x64):
            program = self._kept(cell, brief)
            if program is None:
                program, seed_bytes = self._fitting(cell, brief)
                if self.kept is not None and not program.from_cache:
                    facts = program.chunk, seed_bytes, program.decomposes
                    self.kept.save(cell, brief, kept.Kept(program.compiled, *facts))
        memory.check_fits(self.plan, cell, program)
        return program

    def _kept(self, cell: Cell, brief: bool) -> Program | None:
        start = time.perf_counter()
        found = None if self.kept is None else self.kept.load(cell, brief)
        if found is None or found.chunk != self._chunk(cell, found.seed_bytes):
            return None
        seconds = time.perf_counter() - start
        return Program(None, programs.placement(), found.chunk, "", seconds, found.compiled)

    def _fitting(self, cell: Cell, brief: bool) -> tuple[Program, float]:
        """The program of a cell with as many seeds a call as fit, and bytes that a seed takes.

        They are estimated, compiled, and if XLA's analysis finds more, compiled again.
        """
        program, seed_bytes = self.program(cell).compile(brief), self.plan.seed_bytes(cell)
        while (measured := memory.of_a_seed(program)) > seed_bytes:
            seed_bytes = measured
            chunk = self._chunk(cell, seed_bytes)
            if chunk >= program.chunk:
                break
            program = self._lower(cell, chunk).compile(brief)
        return program, seed_bytes

    def halved(self, cell: Cell, program: Program) -> Program:
        """The program of a cell with half the seeds a call, where a device had no memory left."""
        devices = len(machine.devices())
        chunk = -(-program.chunk // (2 * devices)) * devices
        with jax.enable_x64(self._x64):
            return self._lower(cell, chunk).compile(self._runs_briefly(cell))

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

        def run_in_chunks(cell: Cell) -> Iterator[tuple[Arrays, float]]:
            """Metrics and seconds of seeds at a time; of fewer where there is no memory left."""
            program, traced, first = compile_for(cell).result(), plan.traced(cell), 0
            while first < plan.seeds.size:
                seeds = plan.seeds[first : first + program.chunk]
                start = time.perf_counter()
                try:
                    part = program(seeds, traced)
                except jax.errors.JaxRuntimeError as error:
                    if not memory.is_exhausted(error) or program.chunk <= len(machine.devices()):
                        raise
                    compiling[plan.program(cell)] = pool.submit(lowering.halved, cell, program)
                    program = compile_for(cell).result()
                    print(f"no memory left: {program.chunk} seeds a call", file=sys.stderr)
                    continue
                yield part, time.perf_counter() - start
                first += seeds.size

        for index in missing:
            compile_for(cells[index])
        for cell in (cells[index] for index in missing):
            if plan.seed_bytes(cell) > plan.memory.limit:
                compile_for(cell).result()  # which refuses what cannot fit, before others run
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
                parts, seconds = [], 0.0
                for part, took in run_in_chunks(cell):
                    parts.append(part)
                    seconds += took
                    done += work[index] * len(next(iter(part.values())))
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
