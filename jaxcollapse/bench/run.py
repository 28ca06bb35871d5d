"""A benchmark from beginning to end: every part apart, and what is found written at once."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxcollapse import checks, machine
from jaxcollapse.bench import ceilings, chains, peers
from jaxcollapse.bench import cells as table
from jaxcollapse.bench.ceilings import Ceiling
from jaxcollapse.bench.cells import BenchCell
from jaxcollapse.bench.chains import told
from jaxcollapse.bench.record import Record
from jaxcollapse.workflows import Workflow, as_workflows

LANGUAGE_MODELS = "lm"  # stands for a task in the command
OF_LANGUAGE = ("language-model", "fine-tuning")
MORE_SEEDS = tuple(10**power for power in range(1, 7))
QUICK_SECONDS, USUAL_SECONDS = 60.0, 600.0
Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """What is to be measured; made by ``plan``.

    Attributes:
      cells: in order.
      grown: those that more and more seeds are tried on.
      language_models: whether these are measured.
      workers: of the libraries to compare with.
      peers_draw: what these draw, "points" or "statistics"; "" for what they are faster with.
      seeds: S, of a call.
      generations: G.
      at_once: how many programs are compiled at a time.
      quick: whether everything is small.
      seconds: after which nothing further is begun.
      settings: what was asked for, for the file.
    """

    cells: list[BenchCell]
    grown: list[BenchCell]
    language_models: bool
    workers: list[peers.Worker]
    peers_draw: str
    seeds: int
    generations: int
    at_once: int
    quick: bool
    seconds: float
    settings: dict[str, Any]


def has_language_models() -> bool:
    """Whether the extra of language models is installed."""
    return all(importlib.util.find_spec(name) for name in ("flax", "optax"))


def plan(
    tasks: Sequence[str] = (),
    workflows: Sequence[Workflow | str] = ("replace", "accumulate", "accumulate-subsample"),
    seeds: int = 100,
    generations: int = 100,
    quick: bool = False,
    paper: bool = False,
    given: Sequence[str] = (),
    against: Sequence[str] = (),
    peers_draw: str = "fastest",
    seconds: float | None = None,
) -> Benchmark:
    """Checks everything that is asked for, before anything is measured.

    Args:
      tasks: names, ``MODULE:FAMILY``, and ``lm`` for language models; by default all that are
        built in and installed.
      workflows: each cell is run under each of them.
      seeds: S, of a call.
      generations: G.
      quick: one cell a task, the first workflow, smaller ceilings.
      paper: all cells of the paper's classical grids, and nothing grown.
      given: cells in place of the task's own.
      against: libraries to compare with.
      peers_draw: "fastest" lets these libraries draw sums of points where sums suffice and that is
        faster; "points" has them draw every point.
      seconds: after which nothing further is begun; by default a minute if quick, ten minutes, or
        for the paper's cells as long as they take.

    Raises:
      ValueError: something cannot be measured.
      ImportError: the extra of language models is asked for and not installed.
    """
    usual = [*(table.PAPER if paper else table.TASKS)]
    if not paper and has_language_models():
        usual.append(LANGUAGE_MODELS)
    names = checks.distinct("tasks of a benchmark", tasks or usual)
    if LANGUAGE_MODELS in names:
        checks.require("flax", "lm")
    known = as_workflows(list(workflows)[: 1 if quick else None])
    seeds = checks.whole_number("seeds", seeds)
    generations = checks.whole_number("generations", generations)
    chains_of = [name for name in names if name != LANGUAGE_MODELS]
    for name in set(chains_of).intersection(OF_LANGUAGE):
        raise checks.refusal("task of a benchmark", "one of points", name, "write lm")
    chosen = table.chosen(chains_of, known, quick, paper, given)
    path = peers.worker_file() if against else Path()
    for library in checks.distinct("--against", against) if against else ():
        checks.one_of("--against", library, peers.LIBRARIES)
    checks.one_of("--peers-draw", peers_draw, ("fastest", "points"))
    if seconds is None:
        seconds = QUICK_SECONDS if quick else math.inf if paper else USUAL_SECONDS
    if not seconds > 0:
        raise checks.refusal("--seconds", "a number above 0", seconds, "give more")
    return Benchmark(
        cells=chains.in_order(chosen, generations),
        grown=[] if paper else _grown(chosen, known[0]),
        language_models=LANGUAGE_MODELS in names,
        workers=[peers.Worker(library, path) for library in against],
        peers_draw="" if peers_draw == "fastest" else peers_draw,
        seeds=seeds,
        generations=generations,
        # Of the paper's cells there are 130.
        at_once=machine.cores() if paper else 1,
        quick=quick,
        seconds=seconds,
        settings={
            "tasks": names,
            "workflows": [workflow.name for workflow in known],
            "seeds": seeds,
            "generations": generations,
            "quick": quick,
            "paper": paper,
            "cells": list(given),
            "against": list(against),
            "peers_draw": peers_draw,
            "seconds": None if math.isinf(seconds) else seconds,
        },
    )


def _grown(cells: Sequence[BenchCell], workflow: Workflow) -> list[BenchCell]:
    """The first cell of each task under one workflow."""
    of_task: dict[str, BenchCell] = {}
    for cell in cells:
        if cell.workflow == workflow:
            of_task.setdefault(cell.family.name, cell)
    return list(of_task.values())


def run(benchmark: Benchmark, path: Path | None = None, say: Say = print) -> dict[str, Any]:
    """Measures everything, a line for each thing, and returns what the file holds.

    Args:
      benchmark: from ``plan``.
      path: of the file, written after every part; None for none.
      say: takes a line.
    """
    record = Record(path, benchmark.settings, benchmark.seconds)
    say(f"{record.facts['device']}, jax {record.facts['jax_version']}")
    limits: list[Ceiling] = []
    parts: dict[str, Callable[[], Iterator[str]]] = {
        "ceilings": lambda: _ceilings(benchmark, record, limits),
        "cells": lambda: _cells(benchmark, record, limits),
        "language_models": lambda: _language_models(benchmark, record, limits),
        "seeds": lambda: _seeds(benchmark, record),
        "against": lambda: _against(benchmark, record),
    }
    for part, lines in parts.items():
        try:
            for line in lines():
                say(f"[{record.elapsed():4.0f} s] {line}")
        except Exception as error:  # one part must not hide the others
            record.facts[part].append({"error": told(error)})
            say(f"[{record.elapsed():4.0f} s] {part}: {told(error)}")
        finally:
            for worker in benchmark.workers:
                worker.close()
        record.write()
    record.write(finished=True)
    return record.facts


def _ceilings(benchmark: Benchmark, record: Record, limits: list[Ceiling]) -> Iterator[str]:
    for kind, measure in ceilings.measured(benchmark.quick):
        if not record.has_time(f"ceiling of {kind}"):
            continue
        try:
            limits.append(measure())
        except Exception as error:  # such as a type that the device does not have
            record.facts["ceilings"].append({"kind": kind, "error": told(error)})
            yield f"{kind}: {told(error)}"
            continue
        record.facts["ceilings"].append(limits[-1]._asdict())
        yield f"{kind}: {ceilings.said(limits[-1])}"


def _cells(benchmark: Benchmark, record: Record, limits: list[Ceiling]) -> Iterator[str]:
    sizes = benchmark.seeds, benchmark.generations
    rows = chains.measured(benchmark.cells, *sizes, limits, benchmark.at_once)
    begun = record.elapsed()
    for place, cell in enumerate(benchmark.cells):
        if not record.has_time(str(cell)):
            continue
        row = next(rows)
        record.facts["cells"].append(row)
        record.write()
        passed = record.elapsed() - begun
        left = passed / (place + 1) * (len(benchmark.cells) - place - 1)
        yield f"{place + 1} of {len(benchmark.cells)}, {left:.0f} s left: {cell}: {_told_of(row)}"


def _told_of(row: dict[str, Any]) -> str:
    if "error" in row:
        return row["error"]
    stages = "shares a program"
    if "compile_seconds" in row:
        stages = f"compiled in {row['compile_seconds']:.1f} s"
    share = "" if row["share"] is None else f" {row['share']:.0%}"
    return (
        f"{row['generations_per_second']:.3g} generations/s, {stages}, bound: {row['bound']}{share}"
    )


def _against(benchmark: Benchmark, record: Record) -> Iterator[str]:
    if not benchmark.workers:
        return
    failed = {_name(row) for row in record.facts["cells"] if "error" in row}
    cells = [cell for cell in benchmark.cells if _name(cell.facts()) not in failed]
    sizes = benchmark.seeds, benchmark.generations
    rows = peers.compared(cells, benchmark.workers, *sizes, how=benchmark.peers_draw)
    for cell in cells:
        if not record.has_time(f"{cell} against others"):
            continue
        row = next(rows)
        record.facts["against"].append(row)
        record.write()
        told_of = [
            f"{library} {peer['ratio']:.3g} times as long"
            if "ratio" in peer
            else f"{library}: {peer.get('error') or 'other laws: ' + peer.get('differs', '')}"
            for library, peer in row["peers"].items()
        ]
        yield f"{cell}: {row.get('error') or '; '.join(told_of)}"
    record.facts["against_summary"] = peers.summary(record.facts["against"])


def _name(facts: dict[str, Any]) -> tuple[Any, ...]:
    return (facts["task"], facts["workflow"], *facts["cell"].items())


def _language_models(benchmark: Benchmark, record: Record, limits: list[Ceiling]) -> Iterator[str]:
    if not benchmark.language_models:
        return
    from jaxcollapse.bench import language

    for name, measure in language.planned(benchmark.quick):
        if not record.has_time(name):
            continue
        row = measure(limits)
        record.facts["language_models"].append(row)
        share = row.get("share_of_peak")
        of_peak = "" if share is None else f", {share:.1%} of the peak"
        yield f"{name}: " + (
            row.get("error") or f"{row['tokens_per_second']:.3g} tokens/s{of_peak}"
        )


def _seeds(benchmark: Benchmark, record: Record) -> Iterator[str]:
    counts = MORE_SEEDS[:2] if benchmark.quick else MORE_SEEDS
    for cell in benchmark.grown:
        if not record.has_time(f"{cell} with more seeds"):
            continue
        for row in chains.grown(cell, benchmark.generations, counts):
            record.facts["seeds"].append(row)
            record.write()
            rate = row.get("error") or f"{row['generations_per_second']:.3g} generations/s"
            yield f"{cell}, {row['seeds']} seeds: {rate}"
            if not record.has_time(f"{cell} with more than {row['seeds']} seeds"):
                break
