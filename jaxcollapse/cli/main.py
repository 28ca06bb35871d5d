"""The command line: ``jaxcollapse run | mix | plot | info | lm``."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

# XLA spreads a batch of small decompositions over the cores itself; OpenBLAS's own threads then
# only get in its way. Read when JAX loads OpenBLAS, so it is set before that.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from jaxcollapse import checks, machine
from jaxcollapse.cli.mix_options import MIXES, LanguageModel, Mix
from jaxcollapse.cli.options import TASKS, Common
from jaxcollapse.show import tables
from jaxcollapse.sweeps import results
from jaxcollapse.sweeps.chains import Plan, Progress
from jaxcollapse.sweeps.chains import plan as plan_sweep
from jaxcollapse.sweeps.chains import run as run_sweep
from jaxcollapse.workflows import Workflow, accumulate_subsample, as_workflow

if TYPE_CHECKING:
    import xarray

try:
    import tyro
except ModuleNotFoundError:
    print(
        "jaxcollapse: the command line needs the extra 'sweep': pip install 'jaxcollapse[sweep]'",
        file=sys.stderr,
    )
    raise SystemExit(2) from None


INTERRUPTED = "interrupted; a run goes on where it stopped when it is given again"


@dataclasses.dataclass(frozen=True)
class Plot:
    """Draw a results file: a column a workflow, colours by the last axis, theory dashed.

    Of mixtures, the loss against the synthetic count and against the share of real data.
    """

    file: tyro.conf.Positional[Path]
    """Results file."""
    out: Path
    """Figure to write (.png, .pdf or .svg)."""
    metric: tuple[str, ...] = ()
    """Metrics to draw, a row each; by default the task's first two."""
    select: tuple[str, ...] = ()
    """Only these values of an axis, as dim=1,3."""
    hue: str | None = None
    """The axis that colours tell apart; by default the last one of several values."""
    statistic: Literal["mean", "median"] = "mean"
    """mean with 95% confidence, or median with quartiles."""
    overwrite: bool = False
    """Replace an existing figure."""


@dataclasses.dataclass(frozen=True)
class Info:
    """Say what a results file is, where it came from, and how it ends."""

    file: tyro.conf.Positional[Path]
    """Results file."""
    csv: Path | None = None
    """Also write every number as a table (.csv)."""
    overwrite: bool = False
    """Replace an existing table."""


def run(args: Any) -> None:
    """``jaxcollapse run TASK``: a sweep into a results file, resumed if it was interrupted."""
    results.check_output(args.out, (".nc",), args.overwrite)
    workflows = workflows_of(args.workflow, args.subsample_size)
    limit = None if args.memory_limit is None else args.memory_limit * 2**30
    checked = plan_sweep(
        next(name for name, options in TASKS.items() if isinstance(args, options)),
        workflows,
        args.grid(),
        parse_seeds(args.seeds),
        args.generations,
        args.preset,
        args.metric or None,
        limit,
        pool=args.pool,
        **args.options(),
    )
    dataset = run_and_save(checked, args.out, args.overwrite)
    bad = int((dataset["first_nonfinite_generation"] > 0).sum())
    if bad:
        print(f"{bad} chains turned non-finite: see first_nonfinite_generation", file=sys.stderr)
    print(
        f"{args.out}: {dataset.attrs['title']}, {dataset.attrs['programs']} programs compiled in "
        f"{dataset.attrs['compile_seconds']:.1f} s, ran for {dataset.attrs['run_seconds']:.1f} s"
    )


def workflows_of(names: Sequence[str], subsample_size: int | None) -> list[Workflow]:
    """Workflows by name, accumulate-subsample with the size that was asked for."""
    workflows = [as_workflow(name) for name in names]
    if subsample_size is None:
        return workflows
    sized = accumulate_subsample(subsample_size)
    if all(workflow.name != sized.name for workflow in workflows):
        raise checks.refusal(
            "--subsample-size", f"the workflow {sized.name}", " ".join(names), "add it"
        )
    return [sized if w.name == sized.name else w for w in workflows]


def run_and_save(plan: Plan, out: Path, overwrite: bool = False) -> xarray.Dataset:
    """Runs a sweep with a progress bar and writes it to ``out``.

    Finished cells are kept in ``out`` with ``.partial`` added, from which the same sweep goes on
    if it is interrupted; the folder goes once the result is written.
    """
    enable_compilation_cache()
    partial = out.with_name(f"{out.name}.partial")
    done = results.CellStore(partial, plan).finished(len(plan.cells))
    if done:
        print(f"going on: {done} of {len(plan.cells)} cells were done", file=sys.stderr)
    with progress_bar() as update:
        dataset = run_sweep(plan, partial, update)
    results.save(dataset, out, overwrite)
    results.CellStore(partial, plan).remove()
    return dataset


def mix(args: Mix) -> None:
    """``jaxcollapse mix TASK``: fits to mixtures, with their tables and figure beside the file."""
    from jaxcollapse.show import mixture_files

    beside = mixture_files.outputs(args.out)
    for path in beside:
        results.check_output(path, (path.suffix,), args.overwrite)
    limit = None if args.memory_limit is None else args.memory_limit * 2**30
    seeds = parse_seeds(args.seeds)
    if isinstance(args, LanguageModel):  # whose seeds run one after another on a device
        use_cores_as_devices(len(seeds))
    checked = mixture_files.plan(
        next(name for name, options in MIXES.items() if isinstance(args, options)),
        args.axes(),
        args.real,
        args.synthetic,
        args.num_real,
        seeds,
        args.source,
        args.preset,
        loss=args.metric,
        memory_limit=limit,
        **args.options(),
    )
    enable_compilation_cache()
    with bar() as update:
        dataset = mixture_files.run_and_save(checked, args.out, args.overwrite, update)
    mixture_files.show_and_draw(dataset, args.out)
    print(*beside, sep="\n")


def plot(args: Plot) -> None:
    """``jaxcollapse plot FILE``."""
    checks.require("matplotlib", "plot").use("Agg")
    from jaxcollapse.show import figures

    results.check_output(args.out, (".png", ".pdf", ".svg"), args.overwrite)
    dataset = select(results.load(args.file), args.select)
    if results.is_mixing(dataset):
        from jaxcollapse.show import mixture_figures as mixtures

        if args.hue is not None or args.statistic != "mean":
            raise checks.refusal(
                "options of a figure of mixtures",
                "--metric and --select alone",
                "--hue or --statistic",
                "leave these out: it has means over seeds, a colour a real count",
            )
        figure = mixtures.figure(dataset, *args.metric[:1])
    else:
        figure = figures.grid(dataset, args.metric, args.hue, args.statistic)
    with results.whole_file(args.out) as temporary:
        figure.savefig(temporary)
    print(args.out)


def info(args: Info) -> None:
    """``jaxcollapse info FILE``."""
    if args.csv is not None:
        results.check_output(args.csv, (".csv",), args.overwrite)
    dataset = results.load(args.file)
    if results.is_mixing(dataset):
        from jaxcollapse.show import mixture_tables as mixtures

        tables.show_origin(dataset, str(args.file))
        mixtures.show(dataset)
    else:
        tables.show(dataset, str(args.file))
    if args.csv is not None:
        with results.whole_file(args.csv) as temporary:
            dataset.to_dataframe().to_csv(temporary)


def parse_seeds(text: str) -> range:
    """Seeds from ``"100"`` (0 to 99) or ``"5:8"`` (5, 6, 7)."""
    match = re.fullmatch(r"(?:(\d+):)?(\d+)", text)
    seeds = range(int(match[1] or 0), int(match[2])) if match else range(0)
    if not seeds:
        raise checks.refusal(
            "--seeds", "a number of at least 1 or a range FIRST:END", repr(text), "try 100 or 5:8"
        )
    return seeds


def select(dataset: Any, choices: Sequence[str]) -> Any:
    """The part of a result at the values of axes given as ``dim=1,3``."""
    axes = [str(d) for d in dataset.dims if d not in ("seed", "generation")]
    for choice in choices:
        name, _, values = choice.partition("=")
        checks.one_of("--select", name, axes)
        present = {str(value): value for value in dataset[name].values}
        chosen = [checks.one_of(f"--select {name}", v, present) for v in values.split(",")]
        dataset = dataset.sel({name: [present[v] for v in chosen]})
    return dataset


def enable_compilation_cache() -> None:
    """Keeps compiled programs on disk, in the folder that JAX is told or the user's cache."""
    import jax

    if getattr(jax.config, "jax_compilation_cache_dir", None) is None:
        folder = machine.cache_folder("xla")
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def use_cores_as_devices(chains: int) -> None:
    """One JAX device a core, but no more than there are chains of language models.

    A small model on one core is nearly as fast as on two, so two of them at a time are nearly
    twice as fast. Without effect on an accelerator, or once JAX has begun to compute.
    """
    import jax

    machine.no_spare_threads()
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", max(1, min(machine.cores(), chains)))


def use_simulated_devices(count: int) -> None:
    """So many devices on a CPU, whatever its cores; without effect on an accelerator."""
    import jax

    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", count)


@contextlib.contextmanager
def bar(total: float | None = None) -> Iterator[Callable[..., None]]:
    """A bar with an estimate of the time left, on standard error.

    Yields:
      ``update(done, description, total=None)``.
    """
    progress = checks.require("rich.progress", "sweep")
    console = checks.require("rich.console", "sweep").Console(stderr=True)
    # The times keep their room; what is running is cut where a line is short.
    column = checks.require("rich.table", "sweep").Column
    rest = column(ratio=1, no_wrap=True, overflow="ellipsis")
    columns = (
        progress.BarColumn(16),
        progress.TaskProgressColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(elapsed_when_finished=False),
        progress.TextColumn("{task.description}", table_column=rest),
    )
    with progress.Progress(
        *columns, console=console, speed_estimate_period=300, expand=True
    ) as shown:
        task = shown.add_task("compiling", total=total)

        def update(done: float, description: str, total: float | None = total) -> None:
            shown.update(task, total=total, completed=done, description=description)

        yield update


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[Progress], None]]:
    """A bar for a sweep; yields the function that it calls."""
    with bar() as update:
        yield lambda state: update(state.done, str(state.cell), state.total)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. Bad input ends in one line on standard error and exit code 2."""
    try:
        from jaxcollapse.cli import lm

        command = parse(sys.argv[1:] if arguments is None else list(arguments))
        if isinstance(command, Common):
            run(command)
        elif isinstance(command, Mix):
            mix(command)
        elif isinstance(command, Plot):
            plot(command)
        elif isinstance(command, Info):
            info(command)
        else:
            lm.run_command(command)
    except (ValueError, ImportError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail(INTERRUPTED, code=130)
    except OSError as error:
        fail(f"{error.filename or 'file'}: {error.strerror or error}", code=1)


def fail(message: str, code: int = 2) -> None:
    """Ends the process with one line."""
    print(f"jaxcollapse: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(code)


def commands() -> dict[str, type]:
    """The options of each command, by its words."""
    from jaxcollapse.cli import lm  # which imports this module

    return {
        **{f"run {name}": options for name, options in TASKS.items()},
        **{f"mix {name}": options for name, options in MIXES.items()},
        "plot": Plot,
        "info": Info,
        **lm.COMMANDS,
    }


def parse(arguments: list[str]) -> Any:
    """The command's options, as one of the classes above."""
    words = 2 if arguments[:1] in (["run"], ["mix"], ["lm"]) else 1
    name, rest = " ".join(arguments[:words]), arguments[words:]
    known = commands()
    if name.split(" ")[-1] in ("-h", "--help"):
        print(usage())
        raise SystemExit(0)
    tasks = {"run": TASKS, "mix": MIXES}.get(" ".join(arguments[:1]))
    if tasks is not None and len(arguments) > 1:
        checks.one_of("task", arguments[1], tasks)
    if name not in known:
        raise checks.refusal(
            "command", ", ".join(known), repr(name) if name else "none", "see jaxcollapse --help"
        )
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), _wide(rest):
            return tyro.cli(
                known[name],
                prog=f"jaxcollapse {name}",
                args=rest,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalMetavarFromFieldName),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ValueError(f"{name}: {_in_one_line(errors.getvalue(), name)}") from None


@contextlib.contextmanager
def _wide(arguments: list[str]) -> Iterator[None]:
    """Columns enough for an error, which tyro breaks at their end, in the middle of words too."""
    if {"-h", "--help"} & set(arguments):
        yield
        return
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "10000"
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def _in_one_line(box: str, name: str) -> str:
    """What tyro draws as a box of several lines, as one, which is easier to read in a log."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines()
    inside = [line.strip("│ ") for line in lines if not line.startswith(("╭", "╰"))]
    parts = [" ".join(part.split()) for part in re.split(r"\n(?:─+|-+)\n", "\n".join(inside))]
    if "╭" not in box:  # plain letters, with the title on a line of its own
        parts = parts[1:]
    told = [part for part in parts if not part.startswith(("Argument helptext", "For full"))]
    return "; ".join([*told, f"see jaxcollapse {name} --help"])


def usage() -> str:
    """The commands, a line each."""
    lines = [
        f"  jaxcollapse {name:21} {(c.__doc__ or '').strip()}" for name, c in commands().items()
    ]
    title = "Model collapse, simulated: sweeps, figures, results."
    return "\n".join([title, "", *lines, "", "Options: jaxcollapse COMMAND --help"])


if __name__ == "__main__":
    main()
