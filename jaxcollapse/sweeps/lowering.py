"""The programs of a plan, each lowered once, from any thread; or kept from another process."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, machine, registry
from jaxcollapse.sweeps import kept, memory, programs
from jaxcollapse.sweeps.plan import Cell, Plan
from jaxcollapse.sweeps.programs import Program


class Lowering:
    """The programs of a plan, and the devices of each.

    Devices stand in lanes, which run programs at a time: as many as all devices have place for
    where each program has too few chains for more.
    """

    def __init__(
        self,
        plan: Plan,
        chunk: int | None = None,
        kept: kept.Programs | None = None,
        seeds: int | None = None,
        share: float = 1.0,
    ):
        """Nothing is traced yet.

        Args:
          plan: of chains or of mixtures.
          chunk: seeds that a device has in a call; by default as many as fit.
          kept: programs of other processes.
          seeds: at most so many of a cell run together; by default all.
          share: of all chains of the plan, how many this process runs.
        """
        self.plan, self.chunk, self.kept = plan, chunk, kept
        self._seeds = seeds or plan.seeds.size
        self._cells = {
            name: max(1, round(cells * share * plan.seeds.size / self._seeds))
            for name, cells in Counter(map(plan.program, plan.cells)).items()
        }
        devices = machine.devices()
        self._widths = {
            name: min(len(devices), cells * self._seeds) for name, cells in self._cells.items()
        }
        widest = max(self._widths.values())
        self.lanes = len(devices) // widest
        self._devices = {
            name: tuple(devices[number % self.lanes * widest :][: self._widths[name]])
            for number, name in enumerate(self._widths)
        }
        self._lanes = {name: number % self.lanes for number, name in enumerate(self._widths)}
        self._share = share
        self._digests: dict[object, str] = {}
        self._lowered: dict[object, Program] = {}
        self._lock = threading.Lock()
        # A context of the caller's, such as jax.enable_x64, does not reach another thread.
        self._x64 = jnp.result_type(float) == jnp.float64

    def lane(self, cell: Cell) -> int:
        """Which lane runs a cell."""
        return self._lanes[self.plan.program(cell)]

    def seeds_a_call(self, cell: Cell) -> int:
        """How many seeds of a cell a device has in a call, as memory is reckoned."""
        return self._chunk(cell, self.plan.seed_bytes(cell))

    def program(self, cell: Cell) -> Program:
        """The program of a cell, not yet compiled."""
        name = self.plan.program(cell)
        with self._lock:
            if name not in self._lowered:
                with jax.enable_x64(self._x64):
                    self._lowered[name] = self._lower(cell, self.seeds_a_call(cell))
            return self._lowered[name]

    def _chosen(self, cell: Cell) -> Callable[..., dict[str, jax.Array]]:
        """The function of a cell, with the metrics that are wanted."""
        plan, function = self.plan, self.plan.function(cell)

        def chosen(key, traced):
            metrics = function(key, traced)
            for name in plan.metrics:
                checks.one_of("metric", name, metrics)
            return {name: metrics[name] for name in plan.metrics}

        return chosen

    def _lower(self, cell: Cell, chunk: int) -> Program:
        plan = self.plan
        return programs.lowered_over_seeds(
            self._chosen(cell),
            plan.seeds,
            plan.traced(cell),
            chunk,
            self._devices[plan.program(cell)],
            jax.default_backend() in plan.family.sequential_on,
        )

    def _chunk(self, cell: Cell, seed_bytes: float) -> int:
        if self.chunk:
            return self.chunk
        plan, name = self.plan, self.plan.program(cell)
        most = min(plan.memory.limit / seed_bytes, plan.most_seeds(cell))
        return programs.chunk_size(self._seeds, most, self._widths[name], self._cells[name])

    def digest(self, cell: Cell) -> str:
        """Of a cell's program, and of what this is given."""
        leaves, structure = jax.tree.flatten(self.plan.traced(cell))
        given = [(np.shape(leaf), np.asarray(leaf).tolist()) for leaf in leaves]
        return f"{self._digest(cell)} {structure} {given}"

    def _digest(self, cell: Cell) -> str:
        """Of a cell's program; where processes share the work, whatever a call of each takes."""
        if self._share == 1:
            return self.program(cell).digest
        name = self.plan.program(cell)
        with self._lock:
            if name not in self._digests:
                with jax.enable_x64(self._x64):
                    traced = self.plan.traced(cell)
                    self._digests[name] = programs.digest_of_one(self._chosen(cell), traced)
            return self._digests[name]

    def compiled(self, cell: Cell) -> Program:
        """The program of a cell, compiled; refused if not even a seed a device has memory."""
        brief = self._runs_briefly(cell)
        with jax.enable_x64(self._x64):
            program = self._kept(cell, brief)
            if program is None:
                program, seed_bytes = self._fitting(cell, brief)
                if self.kept is not None and not program.from_cache:
                    facts = program.chunk, seed_bytes, program.decomposes
                    self.kept.save(cell, brief, kept.Kept(program.compiled, *facts), self._on(cell))
        memory.check_fits(self.plan, cell, program)
        return program

    def _on(self, cell: Cell) -> list[Any]:
        """What decides how a kept program is cut, beside its plan."""
        name = self.plan.program(cell)
        devices = self._devices[name]
        cells = self._cells[name] if len(devices) > 1 else 1
        return [[device.id for device in devices], self._seeds, cells]

    def _kept(self, cell: Cell, brief: bool) -> Program | None:
        start = time.perf_counter()
        found = None if self.kept is None else self.kept.load(cell, brief, self._on(cell))
        if found is None or found.chunk != self._chunk(cell, found.seed_bytes):
            return None
        seconds = time.perf_counter() - start
        devices = self._devices[self.plan.program(cell)]
        return Program(None, devices, found.chunk, "", seconds, found.compiled)

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
        with jax.enable_x64(self._x64):
            return self._lower(cell, -(-program.chunk // 2)).compile(self._runs_briefly(cell))

    def _runs_briefly(self, cell: Cell) -> bool:
        """Whether all cells of a program run for less than thorough compiling takes."""
        plan = self.plan
        name = plan.program(cell)
        work = sum(plan.work(other) for other in plan.cells if plan.program(other) == name)
        seconds = programs.SECONDS_A_UNIT_OF_WORK * work * plan.seeds.size * plan.steps
        most = programs.BRIEFLY.get(jax.default_backend(), 0.0)
        return not registry.is_own(plan.family) and seconds < most
