"""The one runner of grids, of chains and of mixtures.

A cell is one point of the grid. Cells that differ only in traced parameters share a program. What a
file already has is not run again, and several processes may share the rest.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxcollapse import checks, locks, machine
from jaxcollapse.files import check_output
from jaxcollapse.sweeps import growing, hosts, kept, leftovers, merging, results, units
from jaxcollapse.sweeps.cells import CellStore
from jaxcollapse.sweeps.hosts import ALONE, Share
from jaxcollapse.sweeps.lowering import Lowering
from jaxcollapse.sweeps.plan import Plan
from jaxcollapse.sweeps.programs import Arrays
from jaxcollapse.sweeps.progress import Report, RunLog, reported
from jaxcollapse.sweeps.units import Unit

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
      chunk: seeds that a device has in a call; by default as many as fit.
    """
    checks.installed("xarray", "sweep")
    piece = _piece(plan, None if folder is None else Path(folder), chunk=chunk)
    with reported(progress) as report:
        (held,) = _run([piece], ALONE, report)
    return results.dataset(plan, _cells(piece, held), **_took(held, ALONE))


def run_and_save(
    plan: Plan,
    out: Path,
    overwrite: bool = False,
    progress: bool | Report | RunLog | None = None,
    extend: bool = False,
) -> xarray.Dataset:
    """Runs a plan and writes its result to ``out``, of whose cells one is in memory at a time.

    Finished cells are kept in ``out`` with ``.partial`` added, from which the same plan goes on if
    it is interrupted; the folder goes once the result is written.

    Args:
      plan: of chains or of mixtures.
      out: the results file.
      overwrite: whether an existing file is replaced.
      progress: as for ``run``.
      extend: whether an existing file grows: it has its own values and those of the plan then, of
        which only what is missing is run, and all are in memory.

    Returns:
      The result, whose numbers are read from ``out`` when they are asked for.

    Raises:
      ValueError: another process writes to ``out``, or it exists and neither ``overwrite`` nor
        ``extend`` is True.
    """
    dataset = run_share(plan, out, ALONE, overwrite, progress, extend)
    assert dataset is not None  # as of every first process
    return dataset


def run_share(
    plan: Plan,
    out: Path,
    share: Share,
    overwrite: bool = False,
    progress: bool | Report | RunLog | None = None,
    extend: bool = False,
) -> xarray.Dataset | None:
    """``run_and_save`` by one of several processes, which have the same plan and the same ``out``.

    Args:
      plan: as for ``run_and_save``.
      out: likewise, in a folder that all of them share.
      share: which of the processes this is.
      overwrite: as for ``run_and_save``.
      progress: likewise.
      extend: likewise.

    Returns:
      The result, once all are done; None of a process that is not the first.

    Raises:
      ValueError: as for ``run_and_save``; or see ``hosts.wait``.
    """
    checks.installed("xarray", "sweep")
    own = out.with_name(f"{out.name}.process-{share.process}") if share.process else out
    if not overwrite:
        leftovers.tidy(out)
    with locks.writing(own):
        check_output(out, (".nc",), overwrite or extend)
        return _run_share(plan, out, share, overwrite, progress, extend)


def _run_share(
    plan: Plan,
    out: Path,
    share: Share,
    overwrite: bool,
    progress: bool | Report | RunLog | None,
    extend: bool,
) -> xarray.Dataset | None:
    found = [results.load(out)] if extend and out.exists() else []
    plans = growing.missing(plan, found[0], str(out)) if found else [plan]
    if found:
        print(growing.told(found[0], plans, str(out)), file=sys.stderr)
    cache = machine.cache_folder("programs")
    if not kept.Programs(cache, plan).keeps:  # two caches of the same would only take longer
        machine.enable_compilation_cache()
    partial = leftovers.partial_of(out)
    pieces = [_piece(plan, partial, share, kept.Programs(cache, plan)) for plan in plans]
    everything = [unit for piece in pieces for unit in piece.units]
    done = sum(unit.is_done for unit in everything)
    if done:
        print(f"going on: {done} of {len(everything)} cells were done", file=sys.stderr)
    with reported(progress) as report:
        held = _run(pieces, share, report)
    if share.process > 0:
        return None
    told = [
        (p.plan, _cells(p, own), _took(own, share)) for p, own in zip(pieces, held, strict=True)
    ]
    cells_of_it = [name for piece in pieces for store in piece.stores for name in store.names]

    def whole(temporary: Path) -> None:
        leftovers.note(out, temporary, cells_of_it)

    if found:
        found += [results.dataset(plan, cells, **took) for plan, cells, took in told]
        dataset = merging.merge(found) if len(found) > 1 else found[0]
        results.save(dataset, out, overwrite=True, whole=whole)
    else:
        ((plan, cells, took),) = told
        replaces = overwrite or extend
        results.save_cells(out, plan, cells, **took, overwrite=replaces, whole=whole)
    leftovers.remove(out)
    return results.lazily(out)


class _Piece(NamedTuple):
    """A plan in units: its cells, each as often as its seeds are split.

    Attributes:
      plan: the whole.
      parts: the same plan with some of the seeds each.
      stores: where the units of each part are kept.
      units: cell by cell, of each cell part by part.
    """

    plan: Plan
    parts: list[Plan]
    stores: list[CellStore]
    units: list[Unit]


def kept_of(plan: Plan, folder: Path, share: Share = ALONE) -> tuple[int, int]:
    """How many units of a plan have files in a folder, and of how many; nothing is written."""
    piece = _piece(plan, folder if folder.is_dir() else None, share)
    names = [name for store in piece.stores if store.folder for name in store.names]
    return sum((folder / name).is_file() for name in names), len(piece.units)


def lowering_of(plan: Plan, share: Share = ALONE) -> Lowering:
    """The programs of a plan, none of them traced yet."""
    return _piece(plan, None, share).units[0].lowering


def _piece(
    plan: Plan,
    folder: Path | None,
    share: Share = ALONE,
    keeper: kept.Programs | None = None,
    chunk: int | None = None,
) -> _Piece:
    cells = plan.cells
    seeds = hosts.slices(plan.seeds, [plan.work(cell) for cell in cells], share.processes)
    lowering = Lowering(plan, chunk, keeper, max(map(len, seeds)), 1 / share.processes)
    parts = [plan] if len(seeds) == 1 else [dataclasses.replace(plan, seeds=s) for s in seeds]
    stores = [CellStore(folder, part, lowering.digest) for part in parts]
    # Cells of one program next to one another, for processes that share them.
    units = [
        Unit(part, cell, store, lowering)
        for cell in cells
        for part, store in zip(parts, stores, strict=True)
    ]
    return _Piece(plan, parts, stores, units)


def _run(pieces: Sequence[_Piece], share: Share, report: Report) -> list[list[list[Arrays]]]:
    """What is held of units, by piece and cell; nothing of a process that is not the first."""
    everything = [unit for piece in pieces for unit in piece.units]
    order: dict[tuple[int, object], int] = {}
    for unit in everything:
        order.setdefault(unit.program, len(order))
    by_program = sorted(range(len(everything)), key=lambda n: order[everything[n].program])
    shares = hosts.dealt([everything[n].work for n in by_program], share.processes)
    owner = {by_program[n]: process for process, some in enumerate(shares) for n in some}
    mine = sorted(number for number, process in owner.items() if process == share.process)
    waited = [n for n, process in owner.items() if process > 0] if share.process == 0 else []
    # Of what is missing, so that the time left is not reckoned from what was found.
    missing = {n for n in [*mine, *waited] if not everything[n].is_done}
    done = units.Done(sum(everything[n].work for n in missing), report)
    found = units.run_units([everything[n] for n in mine], done)
    if share.process > 0:
        return []
    held = {mine[place]: arrays for place, arrays in found.items()}

    def tell(place: int) -> None:
        if waited[place] in missing:
            done.count(everything[waited[place]])

    hosts.wait([(owner[n], everything[n]) for n in waited], share, tell)
    for number in waited:
        unit = everything[number]
        held[number] = unit.held(unit.whole({}))
    arrays = iter([held[number] for number in range(len(everything))])
    return [[[next(arrays) for _ in p.parts] for _ in p.plan.cells] for p in pieces]


def _cells(piece: _Piece, held: list[list[Arrays]]) -> Iterator[Arrays]:
    """Cells of a piece in order, from what is held of their units and where these are kept."""
    some = iter(piece.units)
    for cell in held:
        yield units.joined_units([next(some).whole(part) for part in cell])


def _took(held: list[list[Arrays]], share: Share) -> dict[str, Any]:
    """What a result says of running, from what is held of its units."""
    every = [unit for cell in held for unit in cell]
    compiled = [float(unit.get(units.COMPILE_SECONDS, 0)) for unit in every]
    devices = dict.fromkeys(str(unit[units.DEVICE]) for unit in every if units.DEVICE in unit)
    of_each = f"{share.processes} processes of " if share.processes > 1 else ""
    return {
        "compile_seconds": sum(compiled),
        "run_seconds": float(sum(np.float64(unit[results.RUN_SECONDS]) for unit in every)),
        "programs": sum(seconds > 0 for seconds in compiled),
        "device": of_each + "; ".join(devices),
    }
