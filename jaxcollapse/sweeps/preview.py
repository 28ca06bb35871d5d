"""What running a plan would be: programs, chains, memory, the size of its file, what is there."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np

from jaxcollapse.sweeps import growing, leftovers, merging, results
from jaxcollapse.sweeps.hosts import ALONE, Share
from jaxcollapse.sweeps.plan import Cell, Plan, number_of
from jaxcollapse.sweeps.run import kept_of, lowering_of

BESIDE = 100 * 1024  # of names, labels and attributes, in a file of some metrics and axes
UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def preview(plan: Plan, out: Path, share: Share = ALONE, extend: bool = False) -> list[str]:
    """What ``run_share`` would do, a line each; nothing is compiled or written.

    One chain is traced, for the shapes of its metrics. Kept cells are counted by their names: which
    of them are whole, the run finds.

    Args:
      plan: of chains or of mixtures.
      out: the results file.
      share: which of several processes runs it.
      extend: whether an existing file grows.

    Raises:
      ValueError: as for ``run_share``, of a file that cannot grow by the plan.
    """
    lines, plans, whole = [plan.title], [plan], plan
    if extend and out.exists():
        with results.lazily(out) as found:
            plans = growing.missing(plan, found, str(out))
            lines.append(growing.told(found, plans, str(out)))
            whole = plan.on(merging.union([merging.grid_of(found.attrs), plan.grid]))
    for piece in plans:
        lines += [_amount(piece), _memory(piece, share)]
        done, units = kept_of(piece, leftovers.partial_of(out), share)
        if done:
            where = leftovers.partial_of(out).name
            lines.append(f"{done:,} of {units:,} cells are finished, in {where}")
    size = f"at most about {in_words(file_bytes(whole) + BESIDE)}, less where numbers are deflated"
    is_there = ", which is there," if out.exists() else ""
    return [*lines, f"{out}{is_there} {'grows to' if whole is not plan else 'takes'} {size}"]


def _amount(plan: Plan) -> str:
    """Cells, programs and chains of a plan, in words."""
    cells = plan.cells
    programs = number_of(len({plan.program(cell) for cell in cells}), "program")
    seeds = len(cells) * plan.seeds.size
    fits = f"{seeds * plan.steps:,} fits"
    told = f"{seeds:,} chains, {fits}" if cells[0].workflow is not None else fits
    return f"{number_of(len(cells), 'cell')} in {programs}: {told}"


def _memory(plan: Plan, share: Share) -> str:
    """What the largest call takes as it is reckoned, before a program tells it."""
    lowering = lowering_of(plan, share)
    reckoned: dict[object, tuple[float, int, Cell]] = {}
    for cell in plan.cells:  # of cells of one program the first stands for all
        if (name := plan.program(cell)) not in reckoned:
            seeds = lowering.seeds_a_call(cell)
            reckoned[name] = (seeds * plan.seed_bytes(cell), seeds, cell)
    most, seeds, cell = max(reckoned.values(), key=lambda found: found[0])
    return (
        f"memory: about {in_words(most)} on a device, for {number_of(seeds, 'seed')} a call of "
        f"{cell}; calls may take {in_words(plan.memory.limit)}"
    )


def file_bytes(plan: Plan) -> int:
    """The bytes of the numbers of a result, before they are deflated."""
    cell = plan.cells[0]
    key = jax.eval_shape(jax.random.key, 0)
    shapes = jax.eval_shape(plan.function(cell), key, plan.traced(cell))
    seeds = plan.seeds.size
    arrays = {n: np.zeros((seeds, *shapes[n].shape), shapes[n].dtype) for n in plan.metrics}
    with np.errstate(all="ignore"):  # of summaries of zeros
        told = plan.variables({**arrays, results.RUN_SECONDS: np.asarray(0, np.float32)})
    of_cells = sum(np.asarray(variable.values).nbytes for variable in told.values())
    constants = sum(variable.values.nbytes for variable in plan.constants.values())
    return len(plan.cells) * of_cells + constants


def in_words(size: float) -> str:
    """A number of bytes, in the unit in which it is neither large nor small."""
    power = min(int(np.log2(max(size, 1)) // 10), len(UNITS) - 1)
    return f"{size / 1024**power:,.{0 if power == 0 else 1}f} {UNITS[power]}"
