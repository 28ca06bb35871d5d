"""``jaxcollapse run TASK`` and ``jaxcollapse mix TASK``."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

from jaxcollapse import checks, locks, machine, publishers, registry
from jaxcollapse.cli import asked, config
from jaxcollapse.families import TaskFamily
from jaxcollapse.files import check_output, forget_unfinished
from jaxcollapse.parameters import parameters_of
from jaxcollapse.sweeps import chains, hosts, leftovers, mixtures, nonfinite, preview
from jaxcollapse.sweeps.plan import Plan, check_no_fields, number_of, parse_seeds
from jaxcollapse.sweeps.progress import RunLog
from jaxcollapse.sweeps.run import run_share

GIB = 2**30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """Options of everything that runs many seeds."""

    seeds: str = "100"
    """How many seeds there are from 0 (100 is 0 to 99), or a range FIRST:END without END
    (5:8 is 5 6 7)."""
    preset: str = "corrected"
    """The options that are not given are those that we recommend (corrected), or those of the
    published experiments (authors)."""
    overwrite: bool = False
    """Replace existing results."""
    log: Path | None = None
    """A file to which lines of JSON are added: when the run began, how far it is every half minute
    and the seconds left, and how it ended."""

    @property
    def command(self) -> str:
        """What was given, as a shell takes it; see ``asked.parsed``."""
        return ""

    @property
    def progress(self) -> bool | RunLog:
        """What is shown of how far it is, and written."""
        return True if self.log is None else RunLog(self.log)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chains(Grid):
    """Options of everything that runs chains."""

    workflow: tuple[str, ...] = ("replace", "accumulate", "accumulate-subsample")
    """Training workflows: replace, accumulate, accumulate-subsample, window:keep=3, fixed-real,
    fresh-real, or others of 'jaxcollapse list workflows', with their fields behind colons, as
    accumulate-subsample:draw=50, fresh-real:share=0.1 or fixed-real:weight=0.9,0.5."""
    generations: int = 100
    """How many generations there are; the first is fitted to real data."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spread:
    """Options of sweeps that grow, and of those that several processes share."""

    extend: bool = False
    """Existing results grow: they have their own values and those of this command then, of which
    only what is missing is run."""
    distributed: bool = False
    """This is one of several processes that JAX finds (of Slurm, of MPI, of a TPU pod); --out is in
    a folder that all of them share."""
    coordinator: str | None = None
    """JAX finds the other processes at HOST:PORT of the first one."""
    processes: int | None = None
    """So many processes are given this command."""
    process: int | None = None
    """This is the process of that number, from 0; the first one waits for the others and writes the
    results."""
    dry_run: bool = False
    """Say which programs and chains would be run, with how much memory, how large the file would be
    and what is there already; nothing is compiled or written."""
    patience: float = 60.0
    """The first process gives up where no other finished anything for so many minutes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run(Spread, Chains):
    """Options of every ``run``."""

    out: Path
    """The results file to write, NetCDF-4 (.nc)."""
    every: int = 1
    """Metrics of generations K, 2K, ... alone are kept, and of the first and the last."""
    metric: tuple[str, ...] = ()
    """The metrics to compute; the task's own by default. Those of points are named where wanted."""
    memory_limit: float | None = None
    """The GiB that running chains may take; an eighth of what is free by default."""
    debug: bool = False
    """Say which operation first gives NaN, for a chain of each cell that turned non-finite."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mix(Spread, Grid):
    """Options of every ``mix``."""

    out: Path
    """The results file to write, NetCDF-4 (.nc); the figure (.png), tables (.txt) and cells (.csv)
    are written beside it."""
    real: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    """Numbers of real points in a mixture, a random subset for each seed."""
    synthetic: tuple[int, ...] = (0, 16, 64, 256, 1024, 4096)
    """Numbers of synthetic points in a mixture."""
    num_real: int | None = None
    """How many real points there are; the largest of --real by default."""
    source: str = "all"
    """Synthetic points are of a model of all real points (all), as published, or of a model of the
    real points that the mixture holds (subset), so that they bring nothing from others."""
    metric: str | None = None
    """The loss that tables and figure are of; the task's own by default."""
    memory_limit: float | None = None
    """The GiB that running seeds may take; an eighth of what is free by default."""


def parse_run(family: TaskFamily, command: str, arguments: list[str]) -> Any:
    """The options of ``run`` for a task."""
    given = config.names_given(arguments)
    check_no_fields(given, family)
    registry.published(family, given)  # refuses those that do not serve it
    return asked.parsed(run_options(family), command, arguments, **family.usual)


def run_options(family: TaskFamily) -> type:
    """The dataclass of the options of ``run`` for a task."""
    return asked.options_class(family, Run, beside=publishers.offers(family))


def parse_mix(family: TaskFamily, command: str, arguments: list[str]) -> Any:
    """The options of ``mix`` for a task."""
    registry.published(family, config.names_given(arguments))  # as there
    facts = family.mixtures
    usual = {"real": facts.real, "synthetic": facts.synthetic, "seeds": facts.seeds}
    return asked.parsed(mix_options(family), command, arguments, **usual)


def mix_options(family: TaskFamily) -> type:
    """The dataclass of the options of ``mix`` for a task."""
    hidden = ("pool", *filter(None, [family.batch]))
    of_several = parameters_of(publishers.ensemble)
    beside = {n: p for n, p in publishers.offers(family).items() if n not in of_several}
    return asked.options_class(family, Mix, hidden, mixture=True, beside=beside)


def run(args: Any) -> None:
    """``jaxcollapse run TASK``: a sweep into a results file, resumed if it was interrupted."""
    if not (args.overwrite or args.dry_run):
        leftovers.tidy(args.out)
    check_output(args.out, (".nc",), _replaces(args))
    seeds = parse_seeds(args.seeds)
    share = _share(args)
    use_devices(args.family, len(seeds))
    checked = chains.plan(
        args.family,
        args.workflow,
        asked.axes_of(args, _with_publishers(args).axes),
        seeds,
        args.generations,
        args.preset,
        args.metric or None,
        in_bytes(args.memory_limit),
        every=args.every,
        **asked.options_of(args),
    )
    checked = dataclasses.replace(checked, command=args.command)
    _advise(checked)
    if args.dry_run:
        print(*preview.preview(checked, args.out, share, args.extend), sep="\n")
        return
    dataset = run_share(checked, args.out, share, args.overwrite, args.progress, args.extend)
    if dataset is None:
        print(_finished(share, args.out))
        return
    bad = int((dataset["first_nonfinite_generation"] > 0).sum())
    if bad:
        print(f"{bad} chains turned non-finite: see first_nonfinite_generation", file=sys.stderr)
    if args.debug:
        print(*nonfinite.places(checked, dataset), sep="\n", file=sys.stderr)
    print(
        f"{args.out}: {dataset.attrs['title']}, "
        f"{number_of(dataset.attrs['programs'], 'program')} compiled in "
        f"{dataset.attrs['compile_seconds']:.1f} s, ran for {dataset.attrs['run_seconds']:.1f} s"
    )


def mix(args: Any) -> None:
    """``jaxcollapse mix TASK``: fits to mixtures, with their tables and figure beside the file."""
    from jaxcollapse.show import mixture_files

    if not (args.overwrite or args.dry_run):
        leftovers.tidy(args.out)
    beside = mixture_files.outputs(args.out)
    for path in beside:
        check_output(path, (path.suffix,), _replaces(args))
    seeds, batch = parse_seeds(args.seeds), args.family.batch
    share = _share(args)
    use_devices(args.family, len(seeds))
    checked = mixtures.plan(
        args.family,
        asked.axes_of(args, [name for name in _with_publishers(args).axes if name != batch]),
        args.real,
        args.synthetic,
        args.num_real,
        seeds,
        args.source,
        args.preset,
        loss=args.metric,
        memory_limit=in_bytes(args.memory_limit),
        **asked.options_of(args),
    )
    checked = dataclasses.replace(checked, command=args.command)
    _advise(checked)
    if args.dry_run:
        print(*preview.preview(checked, args.out, share, args.extend), sep="\n")
        return
    dataset = run_share(checked, args.out, share, args.overwrite, args.progress, args.extend)
    if dataset is None:
        print(_finished(share, args.out))
        return
    with locks.writing(args.out):
        for path in beside:
            forget_unfinished(path.parent, path.name)
        mixture_files.show_and_draw(dataset, args.out)
    print(*beside, sep="\n")


def _replaces(args: Any) -> bool:
    """Whether existing results may be written anew."""
    if args.overwrite and args.extend:
        got, remedy = "both", "leave one out"
        raise checks.refusal("--overwrite and --extend", "one of them", got, remedy)
    return args.overwrite or args.extend


def _share(args: Any) -> hosts.Share:
    """Which of how many processes this is."""
    if args.dry_run and (args.distributed or args.coordinator):
        remedy = "give it to one process, with --processes and --process"
        raise checks.refusal("--dry-run", "no other process", "--distributed", remedy)
    patience = 60 * args.patience
    return hosts.join(args.distributed, args.coordinator, args.processes, args.process, patience)


def _finished(share: hosts.Share, out: Path) -> str:
    """What a process says that writes no result."""
    return f"process {share.process} of {share.processes} is done; process 0 writes {out}"


def _with_publishers(args: Any) -> TaskFamily:
    """The task with those publishers whose axes have values."""
    added = [name for name in publishers.offers(args.family) if getattr(args, name, ())]
    return publishers.offered(args.family, added)


def _advise(plan: Plan) -> None:
    """Tells what whoever asks for a plan should know, each thing once."""
    told = (plan.family.advice(plan.point(cell), plan.options) for cell in plan.cells)
    for line in dict.fromkeys(filter(None, told)):
        print(line, file=sys.stderr)


def in_bytes(gib: float | None) -> float | None:
    """So many GiB as bytes."""
    return None if gib is None else gib * GIB


def use_devices(family: TaskFamily, seeds: int) -> None:
    """A core is a device where the seeds of a task run one after another on each."""
    if family.sequential_on:
        machine.use_cores_as_devices(seeds)
