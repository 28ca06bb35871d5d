"""Chains of one cell, timed stage by stage, and how their rate grows with the seeds of a call."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcollapse import machine
from jaxcollapse.bench import counts as counting
from jaxcollapse.bench.ceilings import Ceiling, bound
from jaxcollapse.bench.cells import BenchCell
from jaxcollapse.bench.stages import Staged, built, median, once, steady
from jaxcollapse.sweeps import chains, programs
from jaxcollapse.sweeps.plan import Cell

SHARE_OF_MEMORY = 1 / 2  # of what is free; what is reckoned to take more is not tried
CACHE = 2**25  # bytes that are taken to stay in a cache, of a CPU or a GPU
GROWTH = 1.1  # of the rate, which makes ten times as many seeds worth trying
LONGEST_GROWN = 10.0  # seconds that a run of more seeds may be reckoned to take
Row = dict[str, Any]


class Chained(NamedTuple):
    """The program of a cell, which others may share, and what a cell gives it.

    Attributes:
      function: of one seed's key and of ``traced``.
      traced: what the cell gives it.
      seed_bytes: an estimate of the memory that one seed takes.
      sequential: whether a device runs its seeds one after another.
    """

    function: Callable[..., dict[str, jax.Array]]
    traced: Any
    seed_bytes: float
    sequential: bool


def _plan(cell: BenchCell, generations: int) -> tuple[chains.ChainPlan, Cell, Hashable]:
    """The plan of a sweep of one cell, its cell, and the name of its program."""
    axes = {name: [value] for name, value in cell.point.items()}
    plan = chains.plan(cell.family, [cell.workflow], axes, 1, generations)
    of_plan = Cell(cell.point, cell.workflow)
    return plan, of_plan, (cell.family.name, plan.program(of_plan))


def chained(cell: BenchCell, generations: int) -> Chained:
    """The chain of a cell with all metrics of its task, as a sweep runs it.

    Raises:
      ValueError: the cell is none of its task.
    """
    plan, of_plan, _ = _plan(cell, generations)
    return Chained(
        plan.function(of_plan),
        plan.traced(of_plan),
        plan.seed_bytes(of_plan),
        jax.default_backend() in cell.family.sequential_on,
    )


def compiled(chain: Chained, seeds: int) -> tuple[Staged, Callable[[Any], Callable[[], Any]]]:
    """The program of a chain for so many seeds, and ``call(traced)``, which returns a run of it.

    Raises:
      MemoryError: it is reckoned to take more memory than there is.
    """
    devices = tuple(jax.local_devices())
    size = -(-seeds // len(devices)) * len(devices)
    needed, free = chain.seed_bytes * size, machine.free_memory()
    if needed > SHARE_OF_MEMORY * free:
        raise MemoryError(
            f"{seeds} seeds are reckoned to take {needed / 2**30:.1f} GiB "
            f"of {free / 2**30:.1f} that are free"
        )
    mapped, place = programs.over_seeds(chain.function, devices, chain.sequential)
    numbers = np.resize(np.arange(seeds, dtype=np.uint32), size)
    made = built(mapped, *place(numbers, [chain.traced] * len(devices)))

    def call(traced):
        return partial(made.program, *place(numbers, [traced] * len(devices)))

    return made, call


def measured(
    cells: Sequence[BenchCell],
    seeds: int,
    generations: int,
    ceilings: Sequence[Ceiling],
    at_once: int = 1,
) -> Iterator[Row]:
    """A row a cell, in order. What fails has ``error`` in place of numbers, and hinders no other.

    Args:
      cells: those that share a program stand next to one another, see ``in_order``.
      seeds: S, of a call.
      generations: G.
      ceilings: of the device; none where they were not measured.
      at_once: how many programs are compiled at a time, while nothing else runs; where that is more
        than one, each takes longer than it would alone.
    """
    groups = [list(group) for _, group in itertools.groupby(cells, partial(_name, generations))]
    with ThreadPoolExecutor(at_once) as pool:
        for first in range(0, len(groups), at_once):
            wave = groups[first : first + at_once]
            build = partial(_build, seeds=seeds, generations=generations)
            programs_of = list(pool.map(build, (group[0] for group in wave)))
            for group, program in zip(wave, programs_of, strict=True):
                for cell in group:
                    row: Row = {**cell.facts(), "seeds": seeds, "generations": generations}
                    row["shares_program"] = cell is not group[0]
                    try:
                        _measure(row, chained(cell, generations), program, ceilings)
                    except Exception as error:  # one that is too large must not hide the others
                        row["error"] = told(error)
                    yield {name: _plain(value) for name, value in row.items()}


def _name(generations: int, cell: BenchCell) -> Hashable:
    """Of a cell's program; its own for a cell that has none."""
    try:
        return _plan(cell, generations)[2]
    except Exception:
        return id(cell)


def _build(cell: BenchCell, seeds: int, generations: int) -> Any:
    """A program, ``call`` and the program's operations, or why there is none."""
    try:
        made, call = compiled(chained(cell, generations), seeds)
        return made, call, counting.counted(made.jaxpr)
    except Exception as error:
        return error


def _measure(row: Row, chain: Chained, program: Any, ceilings: Sequence[Ceiling]) -> None:
    """Fills a row."""
    if isinstance(program, Exception):
        raise program
    made, call, counts = program
    run = call(chain.traced)
    if not row["shares_program"]:
        made.seconds["first"] = once(run)
        row |= {f"{stage}_seconds": seconds for stage, seconds in made.seconds.items()}
    row |= _rates(steady(run), row["seeds"] * row["generations"])
    row |= _memory(made.program) | _operations(made.program, counts)
    binding = _binding(counts, row)
    limit = bound(binding, ceilings, row["run_seconds"], jax.device_count())
    row |= {"bound": limit.kind, "share": limit.share, "share_of_all": limit.share_of_all}


def grown(cell: BenchCell, generations: int, seeds: Sequence[int]) -> Iterator[Row]:
    """Rows of one cell with more and more seeds a call, until that gains nothing.

    Args:
      cell: which.
      generations: G.
      seeds: rising numbers of seeds.
    """
    rate = 0.0
    for count in seeds:
        row: Row = {**cell.facts(), "seeds": count, "generations": generations}
        try:
            chain = chained(cell, generations)
            made, call = compiled(chain, count)
            run = call(chain.traced)
            once(run)
            row |= _rates(steady(run, repeats=3), count * generations) | _memory(made.program)
            del made, call, run
        except Exception as error:
            row["error"] = told(error)
        yield row
        before, rate = rate, row.get("generations_per_second", 0.0)
        if "error" in row or rate < GROWTH * before or 10 * row["run_seconds"] > LONGEST_GROWN:
            return


def in_order(cells: Sequence[BenchCell], generations: int) -> list[BenchCell]:
    """Cells that share a program next to one another, otherwise as they were."""
    places: dict[Hashable, int] = {}
    order = [places.setdefault(_name(generations, cell), len(places)) for cell in cells]
    return [cells[place] for place in sorted(range(len(cells)), key=lambda place: order[place])]


def told(error: Exception) -> str:
    """The first line of an error, which may be pages long."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


def _rates(taken: list[float], chain_generations: int) -> Row:
    seconds = median(taken)
    return {
        "run_seconds": seconds,
        "least_run_seconds": min(taken),
        "runs": len(taken),
        "generations_per_second": chain_generations / seconds,
    }


def _memory(program: Any) -> Row:
    """Bytes of a device that a program needs beside what it is given, where that is told."""
    told = program.memory_analysis()
    if told is None:
        return {}
    return {
        "temp_bytes": int(told.temp_size_in_bytes),
        "output_bytes": int(told.output_size_in_bytes),
    }


def _binding(counts: Counter[str], row: Row) -> Counter[str]:
    """The operations that can bind: without what is moved where everything stays in a cache."""
    held = row.get("temp_bytes", math.inf) + row.get("output_bytes", 0)
    return Counter({k: n for k, n in counts.items() if k != "memory" or held > CACHE})


def _operations(program: Any, counts: Counter[str]) -> Row:
    """Operations as the jaxpr tells them, loops as often as they go round; and as XLA reckons."""
    try:
        cost = program.cost_analysis() or {}
    except Exception:  # of a device that does not tell
        cost = {}
    cost = cost[0] if isinstance(cost, list) else cost
    return {
        "operations": {kind: float(count) for kind, count in sorted(counts.items())},
        "flops": counting.flops(counts),
        "xla_flops": float(cost.get("flops", math.nan)),
        "xla_bytes": float(cost.get("bytes accessed", math.nan)),
    }


def _plain(value: Any) -> Any:
    """NaN as None, which every reader of JSON takes."""
    return None if isinstance(value, float) and math.isnan(value) else value
