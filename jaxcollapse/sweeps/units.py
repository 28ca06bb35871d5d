"""Units of work, cells with some of the seeds of a grid, and how devices run them.

A call of a program gives each of its devices a chunk of seeds of any of its cells. Programs compile
in the background while others run.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import jax
import numpy as np

from jaxcollapse import checks, machine
from jaxcollapse.sweeps import memory, results
from jaxcollapse.sweeps.cells import CellStore
from jaxcollapse.sweeps.lowering import Lowering
from jaxcollapse.sweeps.plan import Cell, Plan
from jaxcollapse.sweeps.programs import Arrays, Program
from jaxcollapse.sweeps.progress import Progress, Report

# What a finished unit says beside its metrics and the seconds that it ran.
COMPILE_SECONDS, DEVICE = "compile_seconds", "device"
TOLD = (results.RUN_SECONDS, COMPILE_SECONDS, DEVICE)


class Unit(NamedTuple):
    """A cell with some seeds.

    Attributes:
      plan: of these seeds.
      cell: which one.
      store: where it is kept.
      lowering: its programs, of all seeds of the grid.
    """

    plan: Plan
    cell: Cell
    store: CellStore
    lowering: Lowering

    @property
    def is_done(self) -> bool:
        """Whether it is kept."""
        return self.store.has(self.cell)

    @property
    def program(self) -> tuple[int, object]:
        """A name for its program."""
        return id(self.lowering), self.plan.program(self.cell)

    @property
    def work(self) -> float:
        """How long it takes, relative to others."""
        return self.plan.work(self.cell) * self.plan.seeds.size

    def held(self, arrays: Arrays) -> Arrays:
        """What stays in memory of it: where it is kept, only what is said beside its metrics."""
        if self.store.folder is None:
            return arrays
        return {name: arrays[name] for name in TOLD if name in arrays}

    def whole(self, held: Arrays) -> Arrays:
        """All of it, read again from where it is kept.

        Raises:
          ValueError: it is there no more.
        """
        arrays = held if self.store.folder is None else self.store.load(self.cell)
        if arrays is None:
            remedy = "give the command again: the others are kept"
            raise checks.refusal(f"kept cell {self.cell}", "as it was written", "none", remedy)
        return arrays


class Done:
    """How much is done, told from any thread."""

    def __init__(self, total: float, report: Report):
        """Nothing yet, of so much work."""
        self._total, self._report, self._done = total, report, 0.0
        self._lock = threading.Lock()

    def count(self, unit: Unit) -> None:
        """A whole unit more."""
        self.add(unit.cell, unit.work)

    def add(self, cell: Cell, work: float) -> None:
        """So much more, of a cell."""
        with self._lock:
            self._done += work
            self._report(Progress(str(cell), self._done, self._total))


def run_units(units: Sequence[Unit], done: Done) -> dict[int, Arrays]:
    """Runs those that are not kept; what is held of each, by its place in the list."""
    found: dict[int, Arrays] = {}
    programs: dict[tuple[int, object], list[int]] = {}
    stop = threading.Event()
    with ThreadPoolExecutor(max_workers=machine.cores()) as compilers:
        compiling: dict[tuple[int, object], Future[Program]] = {}
        for number, unit in enumerate(units):
            arrays = unit.store.load(unit.cell)
            if arrays is not None:
                arrays.pop(COMPILE_SECONDS, None)  # of the run before
                found[number] = unit.held(arrays)
                continue
            programs.setdefault(unit.program, []).append(number)
            if unit.program not in compiling:
                compiling[unit.program] = compilers.submit(unit.lowering.compiled, unit.cell)
        for unit in (units[numbers[0]] for numbers in programs.values()):
            if unit.plan.seed_bytes(unit.cell) > unit.plan.memory.limit:
                compiling[unit.program].result()  # which refuses what cannot fit, before others run
        checks.require("xarray", "sweep")  # which takes as long as a program, while they compile

        def run(names: Sequence[tuple[int, object]]) -> None:
            for name in names:
                numbers = programs[name]
                some = [units[number] for number in numbers]
                for place, arrays in _run_program(compiling[name], some, done, stop):
                    found[numbers[place]] = some[place].held(arrays)

        try:
            lanes: dict[int, list[tuple[int, object]]] = {}
            for name, numbers in programs.items():
                unit = units[numbers[0]]
                lanes.setdefault(unit.lowering.lane(unit.cell), []).append(name)
            _at_a_time(run, list(lanes.values()), stop)
        finally:
            stop.set()
            compilers.shutdown(cancel_futures=True)
    return found


def _at_a_time(
    run: Callable[[Sequence[tuple[int, object]]], None],
    lanes: Sequence[Sequence[tuple[int, object]]],
    stop: threading.Event,
) -> None:
    """Runs lanes at a time; a single one in this thread, which an interruption reaches."""
    if len(lanes) <= 1:
        for names in lanes:
            run(names)
        return
    with ThreadPoolExecutor(len(lanes)) as threads:
        running = [threads.submit(run, names) for names in lanes]
        try:
            for future in running:
                future.result()
        finally:
            stop.set()


def _run_program(
    compiling: Future[Program], units: Sequence[Unit], done: Done, stop: threading.Event
) -> Iterator[tuple[int, Arrays]]:
    """Units of one program in turn: the place in the list and the arrays of each that is done."""
    program = compiling.result()
    traced = [unit.plan.traced(unit.cell) for unit in units]
    parts: list[list[Arrays]] = [[] for _ in units]
    seconds = [0.0] * len(units)
    compile_seconds = program.seconds
    place, first = 0, 0  # of the first chunk that is not done
    while place < len(units) and not stop.is_set():
        chunks, after = _next_chunks(units, place, first, program)
        seeds = [units[n].plan.seeds[begin : begin + program.chunk] for n, begin in chunks]
        begun = time.perf_counter()
        try:
            called = program(seeds, [traced[n] for n, _ in chunks])
        except jax.errors.JaxRuntimeError as error:
            if not memory.is_exhausted(error) or program.chunk == 1:
                raise
            program = units[0].lowering.halved(units[0].cell, program)
            print(f"no memory left: {program.chunk} seeds a call", file=sys.stderr)
            continue
        place, first = after
        each = (time.perf_counter() - begun) / len(chunks)
        for (n, begin), those, arrays in zip(chunks, seeds, called, strict=True):
            unit = units[n]
            parts[n].append(arrays)
            seconds[n] += each
            if begin + those.size == unit.plan.seeds.size:
                joined = _joined(parts[n])
                joined[results.RUN_SECONDS] = np.asarray(seconds[n], np.float32)
                joined[COMPILE_SECONDS] = np.asarray(compile_seconds)
                joined[DEVICE] = np.asarray(machine.describe_devices())
                compile_seconds, parts[n] = 0.0, []
                unit.store.save(unit.cell, joined)
                yield n, joined
            done.add(unit.cell, unit.plan.work(unit.cell) * those.size)


def _next_chunks(
    units: Sequence[Unit], place: int, first: int, program: Program
) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """The unit and the first seed of a chunk for each device, and of the one after them."""
    chunks: list[tuple[int, int]] = []
    while place < len(units) and len(chunks) < len(program.devices):
        chunks.append((place, first))
        first += program.chunk
        if first >= units[place].plan.seeds.size:
            place, first = place + 1, 0
    return chunks, (place, first)


def _joined(parts: Sequence[Arrays]) -> Arrays:
    if len(parts) == 1:
        return dict(parts[0])
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def joined_units(units: Sequence[Arrays]) -> Arrays:
    """A cell from its units, in the order of their seeds."""
    metrics = _joined([{k: v for k, v in unit.items() if k not in TOLD} for unit in units])
    seconds = sum(unit[results.RUN_SECONDS] for unit in units)
    return {**metrics, results.RUN_SECONDS: np.asarray(seconds, np.float32)}
