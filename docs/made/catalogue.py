"""A page for each task, workflow, publisher and metric: what ``jaxcollapse describe`` knows."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import field
from text import about, link, table

from jaxcollapse import point_metrics, publishers, theory
from jaxcollapse.cli import catalogue
from jaxcollapse.families import TaskFamily
from jaxcollapse.held_out import POINT_METRICS
from jaxcollapse.metrics import SHARE_OF_REAL_DATA, Metric
from jaxcollapse.parameters import Axis, Parameter, parameters_of
from jaxcollapse.publishers import PUBLISHERS
from jaxcollapse.registry import families
from jaxcollapse.workflows import NUMBERS, WORKFLOWS, Workflow, as_workflow

REPOSITORY = Path(__file__).resolve().parents[2]
FAMILIES = list(families())


def pages() -> Iterator[tuple[str, str]]:
    """The pages, and one that lists them."""
    yield "reference/index.md", "\n".join(_index())
    for family in FAMILIES:
        yield f"reference/tasks/{family.name}.md", "\n".join(_of_task(family))
    for name in WORKFLOWS.built_in:
        yield f"reference/workflows/{name}.md", "\n".join(_of_workflow(name))
    for axis in PUBLISHERS:
        yield f"reference/publishers/{axis}.md", "\n".join(_of_publisher(axis))
    for name in _metrics():
        yield f"reference/metrics/{name}.md", "\n".join(_of_metric(name))


def _index() -> Iterator[str]:
    yield "# Reference\n"
    yield "What there is, as `jaxcollapse list` tells it; each page is made from the declaration"
    yield "that commands, checks and results read too.\n"
    for kind in ("tasks", "workflows", "publishers", "metrics"):
        yield f"## {kind.capitalize()}\n"
        rows = [(link(name, f"{kind}/{name}.md"), told) for name, told in catalogue.LISTED[kind]()]
        yield from table((kind.removesuffix("s"), ""), rows)
    for kind in ("datasets", "references", "models"):
        yield f"## {'Data sets' if kind == 'datasets' else 'Models'}\n"
        yield from table(("name", ""), [(f"`{n}`", told) for n, told in catalogue.LISTED[kind]()])


# Tasks ------------------------------------------------------------------------------------------


def _of_task(family: TaskFamily) -> Iterator[str]:
    yield f"# {family.name}\n"
    yield about(family.task) + "\n"
    for module in _modules(family):
        yield about(module) + "\n"
    yield "```sh"
    yield (
        f"jaxcollapse run {family.name} --help"
        if family.usual == {}
        else (f"jaxcollapse describe {family.name}")
    )
    yield "```\n"
    yield "## Axes\n"
    axes = {name: (p.how, p.help) for name, p in family.parameters.items() if p.is_axis}
    yield from table(
        ("axis", "symbol", "values by default", "one program serves all", ""),
        [
            (
                f"`{name}`",
                how.symbol or "",
                ", ".join(map(str, how.grid)) or "none",
                {True: "yes", False: "no", "statistics": "on statistics"}[how.traced],
                told,
            )
            for name, (how, told) in axes.items()
            if isinstance(how, Axis)
        ],
    )
    options = [(name, p) for name, p in family.parameters.items() if not p.is_axis]
    yield from _options(options)
    yield from _presets(family)
    yield "## Metrics\n"
    known = catalogue.known_closed_forms(family)
    yield from table(
        ("metric", "units", "", "closed form under"),
        [
            (
                link(name, f"../metrics/{name}.md"),
                metric.units,
                definition(name, family) or metric.long_name,
                _workflow_links(known.get(name, ()), "../workflows/"),
            )
            for name, metric in family.labels.items()
        ],
    )
    if of_points := catalogue.metrics_of_points(family):
        named = ", ".join(link(name, f"../metrics/{name}.md") for name in of_points)
        yield f"Of its points, where they are asked for by name: {named}.\n"
    served = [axis for axis in PUBLISHERS if publishers.serves(family, axis)]
    yield "## Publishers\n"
    yield ", ".join(link(axis, f"../publishers/{axis}.md") for axis in served) + ".\n"
    yield from _closed_forms(family)
    if modules := _modules(family):
        yield "## On arrays\n"
        yield f"`{modules[0].__name__}` holds its functions, each of which can be used alone.\n"
        yield from _functions(modules[0])
    yield from field.papers_of("tasks", family.name)


def _presets(family: TaskFamily) -> Iterator[str]:
    told = {
        name: ", ".join(f"`{k}={v}`" for k, v in options.items()) or "the defaults"
        for name, options in family.presets.items()
    }
    yield "## Presets\n"
    yield from table(("preset", "options"), [(f"`{name}`", text) for name, text in told.items()])


def _options(options: Iterable[tuple[str, Parameter]]) -> Iterator[str]:
    rows = [
        (
            f"`{name}`",
            "none" if p.by_default is None else f"`{p.by_default}`",
            ", ".join(f"`{choice}`" for choice in p.choices or ()),
            p.help,
        )
        for name, p in options
    ]
    if rows:
        yield "## Options\n"
        yield from table(("option", "by default", "of", ""), rows)


def _modules(family: TaskFamily) -> list[Any]:
    """The module of a task's functions on arrays, of the tasks that have one."""
    folder = inspect.unwrap(family.task).__module__.rpartition(".")[0]
    try:
        return [importlib.import_module(f"{folder}.fitting")]
    except ModuleNotFoundError:
        return []


def _closed_forms(family: TaskFamily) -> Iterator[str]:
    """What is known of a task in closed form, as its file of ``theory`` lists it."""
    module = getattr(theory, family.name.replace("-", "_"), None)
    rows = [
        (
            link(name, f"../../python/theory.md#jaxcollapse.theory.{name}"),
            about(getattr(module, name)).partition("\n\n")[0],
        )
        for name in getattr(module, "__all__", ())
    ]
    if rows:
        yield "## Closed forms\n"
        yield from table(("function of jc.theory", ""), rows)


def _functions(module: Any) -> Iterator[str]:
    rows = [
        (f"`{name}{inspect.signature(thing)}`", about(thing).partition("\n\n")[0])
        for name, thing in vars(module).items()
        if inspect.isfunction(thing) and thing.__module__ == module.__name__ and name[0] != "_"
    ]
    yield from table(("function", ""), rows)


# Workflows --------------------------------------------------------------------------------------


def _of_workflow(name: str) -> Iterator[str]:
    spelling = catalogue.an_instance(name)
    told = as_workflow(spelling)
    known = WORKFLOWS.find(name)
    yield f"# {name}\n"
    yield about(known if callable(known) else type(known)) + "\n"
    yield "The record, of which each field may be set otherwise:\n"
    helps = parameters_of(Workflow)
    yield from table(
        ("field", f"of `{spelling}`", ""),
        [
            (
                f"`{field_}`",
                ("not set" if field_ in NUMBERS else "all") if value is None else f"`{value}`",
                helps[field_].help if field_ in helps else "",
            )
            for field_, value in told.fields.items()
        ],
    )
    yield "```sh"
    yield f"jaxcollapse run gaussian --workflow {spelling} --dim 1 --num-samples 100 --out one.nc"
    yield "```\n"
    yield "## Closed forms\n"
    rows = []
    for family in FAMILIES:
        found = catalogue.known_closed_forms(family)
        metrics = [metric for metric, under in found.items() if spelling in under]
        if metrics:
            named = ", ".join(link(metric, f"../metrics/{metric}.md") for metric in metrics)
            rows.append((link(family.name, f"../tasks/{family.name}.md"), named))
    yield "The mean over seeds is known, at some point of the grid at least, of\n"
    yield from table(("task", "metrics"), rows)
    yield "See [a workflow is a record](../../concepts/workflows.md).\n"
    yield from field.papers_of("workflows", name)


def _workflow_links(spellings: Iterable[str], folder: str) -> str:
    return ", ".join(link(s, f"{folder}{s.partition(':')[0]}.md") for s in spellings)


# Publishers -------------------------------------------------------------------------------------


def _of_publisher(axis: str) -> Iterator[str]:
    publisher = PUBLISHERS[axis]
    known = parameters_of(publisher)
    yield f"# {axis}\n"
    yield about(publisher) + "\n"
    programs = (
        "one program serves all values"
        if known[axis].is_traced(on_statistics=False)
        else "a program for each value"
    )
    yield f"**{known[axis].symbol}**, an axis of a sweep ({programs}): {known[axis].help}\n"
    yield "```sh"
    yield f"jaxcollapse describe {axis}"
    yield "```\n"
    function = publisher.__name__
    yield f"In Python [`jc.{function}`](../../python/publishers.md#jaxcollapse.{function}),"
    yield f"or an axis `{axis}` of `jc.sweep`.\n"
    yield from _options([(name, p) for name, p in known.items() if name != axis])
    served = [family.name for family in FAMILIES if publishers.serves(family, axis)]
    yield "## Serves\n"
    yield ", ".join(link(name, f"../tasks/{name}.md") for name in served) + ".\n"
    if own := [family.name for family in FAMILIES if axis in family.parameters]:
        yield f"Of {', '.join(own)} it is an option of their own.\n"
    yield "See [publishers](../../how-to/publishers.md).\n"
    yield from field.papers_of("publishers", axis)


# Metrics ----------------------------------------------------------------------------------------


@cache
def _metrics() -> dict[str, list[tuple[TaskFamily, Metric]]]:
    """The families that have each metric, none for those of points."""
    found: dict[str, list[tuple[TaskFamily, Metric]]] = {name: [] for name in POINT_METRICS}
    for family in FAMILIES:
        for name, metric in family.labels.items():
            found.setdefault(name, []).append((family, metric))
    return found


def _of_metric(name: str) -> Iterator[str]:
    yield f"# {name}\n"
    of_points = POINT_METRICS.get(name)
    if of_points is not None:
        yield f"*{of_points.label.long_name}* [{of_points.label.units}]\n"
        yield about(getattr(point_metrics, name)) + "\n"
        yield f"In Python [`jc.point_metrics.{name}`](../../python/metrics.md) of any two arrays.\n"
        served = [f.name for f in FAMILIES if name in catalogue.metrics_of_points(f)]
        yield "Of " + ", ".join(link(n, f"../tasks/{n}.md") for n in served)
        yield f", and of tasks of one's own on points, where it is asked for: `--metric {name}`.\n"
        yield from _collapse(of_points.label)
    for family, metric in _metrics()[name]:
        everyone = name == SHARE_OF_REAL_DATA
        yield "## Of every task\n" if everyone else f"## Of {family.name}\n"
        yield f"*{metric.long_name}* [{metric.units}]\n"
        if told := definition(name, family):
            yield told + "\n"
        known = catalogue.known_closed_forms(family).get(name, [])
        yield (
            f"Its mean is known in closed form under {_workflow_links(known, '../workflows/')}.\n"
            if known
            else "No closed form of its mean is known.\n"
        )
        infinite = "; an infinity is a value of it" if metric.infinite else ""
        yield f"Figures draw it on a {metric.scale} axis{infinite}.\n"
        yield from _collapse(metric)
        if everyone:
            break
        yield f"See [{family.name}](../tasks/{family.name}.md).\n"
    yield from field.papers_of("metrics", name)


def _collapse(metric: Metric) -> Iterator[str]:
    if metric.speaks_for:
        real = "unknown" if metric.real is None else f"`{metric.real}`"
        yield (
            "In [a profile](../../how-to/collapse.md) it speaks for "
            f"{', '.join(metric.speaks_for)}; its value for the real law is {real}.\n"
        )


def definition(name: str, family: TaskFamily) -> str:
    """What a metric is: of what ``evaluate`` returns, or of the table of what is measured."""
    for module in _modules(family):
        doc = inspect.getdoc(module.evaluate) or ""
        for entry in re.split(r"\n  (?=``)", doc.partition("Returns:")[2].partition("\n\n")[0]):
            found = re.match(r"``(\w+)``: (.*)", entry.strip(), re.S)
            if found and found[1] == name:
                return " ".join(found[2].split())
    return _told().get((name, bool(_modules(family))), "")


@cache
def _told() -> dict[tuple[str, bool], str]:
    """The rows of the table of what is measured, by name and whether of a task on arrays."""
    found: dict[tuple[str, bool], str] = {}
    text = (REPOSITORY / "docs" / "concepts" / "metrics.md").read_text()
    for names, told in re.findall(r"^\| (`.*?) \| (.*?) \|", text, re.M):
        for name in re.findall(r"`(\w+)`", names):
            of_text = "language models" in names
            found.setdefault((name, not of_text), told)
            found.setdefault((name, of_text), told)
    return found
