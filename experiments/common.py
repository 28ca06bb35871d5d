"""What every experiment shares: its command line, its sweeps, its figures, the report.

An experiment is a ``Study``. Run again, it takes the results files that it finds and draws its
figures anew; interrupted, it goes on where it stopped.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import html
import io
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

# XLA uses the cores; OpenBLAS's threads get in its way. Read when JAX loads it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from jaxcollapse import checks
from jaxcollapse.files import whole_file
from jaxcollapse.sweeps import chains, results
from jaxcollapse.sweeps.plan import Plan
from jaxcollapse.sweeps.run import run_and_save

if TYPE_CHECKING:
    import xarray

WORKFLOWS = ("replace", "accumulate", "accumulate-subsample")
NUM_SAMPLES = [10, 32, 100, 316, 1000]
DATASETS = ["blobs", "circles", "moons", "swiss-roll"]


VERDICTS = ("holds", "holds with a difference", "does not hold")


class Verdict(NamedTuple):
    """What a result says of a published claim.

    Attributes:
      holds: one of ``VERDICTS``.
      numbers: what it rests on, in a sentence or two.
    """

    holds: str
    numbers: str


class Study(NamedTuple):
    """An experiment.

    Attributes:
      name: of its file, and of its folder of results.
      title: of its part of the report.
      seen: one sentence on what is to be seen.
      sweeps: ``sweeps(quick, preset)``, plans by the name of their results file, or functions
        that make one.
      figures: ``figures(datasets)``, figures by name, from results by name.
      run: ``run(plan, path, overwrite)``, which makes a results file.
      claim: what was published, with its source; "" where nothing is held against a claim.
      verdict: ``verdict(datasets)`` on that claim.
    """

    name: str
    title: str
    seen: str
    sweeps: Callable[[bool, str], Mapping[str, Plan | Callable[[], Plan]]]
    figures: Callable[[Mapping[str, xarray.Dataset]], Mapping[str, Any]]
    run: Callable[[Plan, Path, bool], xarray.Dataset] = run_and_save
    claim: str = ""
    verdict: Callable[[Mapping[str, xarray.Dataset]], Verdict] | None = None


def sweep(
    quick: bool,
    preset: str,
    task: str,
    axes: Mapping[str, Sequence[Any]],
    generations: int = 100,
    metrics: Sequence[str] | None = None,
    workflows: Sequence[str] = WORKFLOWS,
    quick_generations: int = 12,
    **options: Any,
) -> Plan:
    """A sweep of 100 seeds, seeds 0 to 99; the quick one has 4, and few generations."""
    seeds = 100
    if quick:
        seeds, generations = 4, min(generations, quick_generations)
    return chains.plan(task, workflows, axes, seeds, generations, preset, metrics, **options)


def run(
    study: Study,
    out: Path,
    quick: bool,
    preset: str,
    overwrite: bool,
    only: Sequence[str] = (),
) -> list[Path]:
    """The sweeps of a study, or ``only`` some, and its figures; returns the files in ``out``."""
    checks.require("matplotlib", "plot").use("Agg")
    start = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    plans = study.sweeps(quick, preset)
    for name in only:
        checks.one_of("--only", name, plans)
    plans = {name: plans[name] for name in only or plans}
    datasets: dict[str, xarray.Dataset] = {}
    made = []
    for name, planned in plans.items():
        wanted = planned() if callable(planned) else planned
        found = _existing(out / f"{name}.nc", wanted, overwrite)
        if found is None:
            found = study.run(wanted, out / f"{name}.nc", overwrite)
            made.append(name)
        datasets[name] = found
    paths = [out / f"{name}.nc" for name in datasets]
    for name, dataset in datasets.items():
        paths.append(out / f"{name}_cells.csv")
        with whole_file(paths[-1]) as temporary:
            dataset[results.RUN_SECONDS].to_dataframe().to_csv(temporary)
    figures = study.figures(datasets)
    for name, figure in figures.items():
        paths.append(out / f"{name}.png")
        with whole_file(paths[-1]) as temporary:
            figure.savefig(temporary)
    judged = {}
    # A quick run, or a part of one, judges nothing.
    if study.verdict is not None and not quick and not only:
        verdict = study.verdict(datasets)
        checks.one_of("verdict", verdict.holds, VERDICTS)
        judged = {"claim": study.claim, "verdict": verdict.holds, "numbers": verdict.numbers}
        print(f"{study.claim}\n{verdict.holds}: {verdict.numbers}")
    seconds = {
        key: sum(dataset.attrs[f"{key}_seconds"] for dataset in datasets.values())
        for key in ("compile", "run")
    }
    facts = {
        "title": study.title,
        "seen": study.seen,
        **judged,
        "quick": quick,
        "command": f"python experiments/{study.name}.py"
        + (" --quick" if quick else "")
        + (f" --preset {preset}" if preset != "corrected" else "")
        + (f" --only {' '.join(only)}" if only else ""),
        "preset": preset,
        "figures": [f"{name}.png" for name in figures],
        "programs": sum(int(dataset.attrs["programs"]) for dataset in datasets.values()),
        "compile_seconds": round(seconds["compile"], 1),
        "run_seconds": round(seconds["run"], 1),
        "device": next(iter(datasets.values())).attrs["device"],
        "approximations": sorted({d.attrs["approximations"] for d in datasets.values()}),
    }
    with whole_file(out / FACTS) as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n")
    print(*paths, sep="\n")
    print(
        f"{time.perf_counter() - start:.0f} s, of {len(plans)} sweeps {len(made)} run now; "
        f"{facts['programs']} programs compiled in {facts['compile_seconds']} s, "
        f"ran for {facts['run_seconds']} s"
    )
    return paths


FACTS = "study.json"


def _existing(path: Path, wanted: Plan, overwrite: bool) -> xarray.Dataset | None:
    """The result in a file if it is that of the plan; None if it has to be made.

    Raises:
      ValueError: the file is another result, and must not be written over.
    """
    if overwrite or not path.exists():
        return None
    dataset = results.load(path)
    configuration = json.loads(json.dumps(wanted.configuration))
    if json.loads(dataset.attrs["configuration"]) != configuration:
        raise checks.refusal(
            "results file",
            "none, or one of this very sweep",
            f"{path}, which is another",
            "choose another --out or pass --overwrite",
        )
    return dataset


def write_report(folder: Path) -> Path:
    """One HTML page, ``report.html``, of all studies that have a folder in ``folder``."""
    sections = []
    for path in sorted(folder.glob(f"*/{FACTS}")):
        facts = json.loads(path.read_text())
        text = {key: html.escape(str(value)) for key, value in facts.items()}
        images = "".join(_image(path.parent / name) for name in facts["figures"])
        notes = "".join(
            f"<p>Approximate: {html.escape(note)}</p>"
            for note in facts["approximations"]
            if note != "none"
        )
        sections.append(
            f"<section><h2>{text['title']}</h2><p>{text['seen']}</p>"
            f"<p><code>{text['command']}</code>, preset {text['preset']}, {text['programs']} "
            f"programs compiled in {text['compile_seconds']} s, ran for {text['run_seconds']} s "
            f"on {text['device']}</p>{notes}{images}</section>"
        )
    if not sections:
        raise checks.refusal("report", "results of experiments", f"none in {folder}", "run some")
    page = (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Model collapse</title>"
        "<style>body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
        "img{max-width:100%}code{background:#eee;padding:.1em .3em}</style>"
        f"<h1>Model collapse: every figure</h1>{''.join(sections)}</html>\n"
    )
    with whole_file(folder / "report.html") as temporary:
        temporary.write_text(page)
    return folder / "report.html"


def _image(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    name = html.escape(path.stem.replace("_", " "))
    return f"<figure><img src='data:image/png;base64,{data}' alt='{name}'></figure>"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Runs a figure of the paper."""

    out: Path
    """Folder for results files and figures."""
    quick: bool = False
    """A small grid, few seeds and generations."""
    preset: str = "corrected"
    """corrected (what we recommend) or authors (what the published experiments did)."""
    only: tuple[str, ...] = ()
    """Some of its results files, by name, where it has several."""
    report: bool = False
    """Also gather all figures beside ``out`` in one page, report.html."""
    overwrite: bool = False
    """Run again where there are results."""


def main(study: Study, arguments: Sequence[str] | None = None) -> None:
    """The command line of an experiment; what goes wrong is told in one line."""
    try:
        options = _parsed(study, sys.argv[1:] if arguments is None else arguments)
        run(
            study,
            options.out,
            options.quick,
            options.preset,
            options.overwrite,
            options.only,
        )
        if options.report:
            print(write_report(options.out.parent))
    except (ValueError, ImportError) as error:
        _fail(study, str(error))
    except KeyboardInterrupt:
        _fail(study, "interrupted; it goes on where it stopped when it is run again", code=130)


def _parsed(study: Study, arguments: Sequence[str]) -> Options:
    tyro = checks.require("tyro", "sweep")
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(
                Options,
                default=Options(out=Path("results") / study.name),
                description=f"{study.title}. {study.seen}",
                args=list(arguments),
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        # What is drawn as a box is easier to read in a log without it.
        raise ValueError(re.sub("[\u2500-\u257f]+", " ", errors.getvalue())) from None


def _fail(study: Study, message: str, code: int = 2) -> NoReturn:
    print(f"{study.name}: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(code)
