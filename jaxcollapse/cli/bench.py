"""``jaxcollapse bench``: how fast this device runs chains."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path
from typing import Any, Literal

import tyro

from jaxcollapse import checks, machine
from jaxcollapse.files import check_output, whole_file

FILE = "bench.json"


@dataclasses.dataclass(frozen=True)
class Bench:
    """Measure how fast this device runs chains, and how near that comes to what it can do.

    It measures what the device can do at all; chains of every task under three workflows, with
    the seconds of every stage; language models; and how the rate grows with the seeds of a call.
    It takes up to ten minutes.
    """

    task: tyro.conf.Positional[tuple[str, ...]] = ()
    """The tasks to measure, by the names of 'jaxcollapse list tasks' or as MODULE:FAMILY; 'lm'
    stands for language models. By default all that are built in."""
    workflow: tuple[str, ...] = ("replace", "accumulate", "accumulate-subsample")
    """The workflows that each cell is run under."""
    seeds: int = 100
    """How many seeds a call has."""
    generations: int = 100
    """How many generations a chain has."""
    cell: tuple[str, ...] = ()
    """Cells in place of the task's usual ones, as dim=10,num_samples=100; of one named task."""
    paper: bool = False
    """All 480 cells of the paper's Gaussian, kernel density and regression grids: for an
    accelerator. There is no limit of time then."""
    against: tuple[Literal["numpy", "torch"], ...] = ()
    """Also time batched programs of these libraries that do the same work, in turns with ours;
    only in a source checkout."""
    peers_draw: Literal["fastest", "points"] = "fastest"
    """What the libraries of --against draw: sums of points where sums suffice and are faster, or
    every point, as published programs do."""
    quick: bool = False
    """One cell a task under the first workflow, in under a minute, for a look."""
    seconds: float | None = None
    """No further thing is begun after this many seconds, and what is left out is named; 600 by
    default, 60 with --quick."""
    out: Path = Path(FILE)
    """The file to write (.json), or a folder for it; the figure (.png) is written beside it."""
    compare: tuple[Path, ...] = ()
    """Measure nothing: show how the rates of a second file compare with those of a first."""
    overwrite: bool = False
    """Replace existing files."""


def bench(args: Bench) -> None:
    """``jaxcollapse bench``."""
    from jaxcollapse.bench import record, report

    if args.compare:
        if len(args.compare) != 2:
            raise checks.refusal("--compare", "two files", len(args.compare), "name two")
        report.compare(*map(record.read, args.compare))
        return
    path = args.out / FILE if args.out.is_dir() else args.out
    drawn = path.with_suffix(".png")
    check_output(path, (".json",), args.overwrite)
    draws = importlib.util.find_spec("matplotlib") is not None
    if draws:
        check_output(drawn, (".png",), args.overwrite)
    _measure(args, path, drawn if draws else None)


def _measure(args: Bench, path: Path, drawn: Path | None) -> None:
    from jaxcollapse.bench import report, run

    if args.task == (run.LANGUAGE_MODELS,):
        machine.no_spare_threads()
    benchmark = run.plan(
        tasks=args.task,
        workflows=args.workflow,
        seeds=args.seeds,
        generations=args.generations,
        quick=args.quick,
        paper=args.paper,
        given=args.cell,
        against=args.against,
        peers_draw=args.peers_draw,
        seconds=args.seconds,
    )
    facts: dict[str, Any] = run.run(benchmark, path, lambda line: print(line, flush=True))
    report.show(facts)
    print(path)
    if drawn is None:
        print("no figure: pip install 'jaxcollapse[plot]'", file=sys.stderr)
    elif any("generations_per_second" in row for row in facts["cells"]):
        checks.require("matplotlib", "plot").use("Agg")
        from jaxcollapse.bench import figure

        with whole_file(drawn) as temporary:
            figure.figure(facts).savefig(temporary)
        print(drawn)
