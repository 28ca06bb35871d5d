"""``jaxcollapse list`` and ``jaxcollapse describe NAME``: what there is and what is known of it."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib.util
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from jaxcollapse import checks, held_out, plugins, point_metrics, publishers
from jaxcollapse.datasets.points import DATASETS
from jaxcollapse.families import TaskFamily
from jaxcollapse.held_out import POINT_METRICS
from jaxcollapse.metrics import SHARE_OF_REAL_DATA, Metric
from jaxcollapse.parameters import Axis, parameters_of
from jaxcollapse.publishers import PUBLISHERS
from jaxcollapse.registry import TASKS, as_family, families
from jaxcollapse.sweeps import references
from jaxcollapse.workflows import NUMBERS, WORKFLOWS, Workflow, as_workflow

KINDS = ("tasks", "workflows", "publishers", "metrics", "datasets", "references", "models")


@dataclasses.dataclass(frozen=True)
class List:
    """Say which tasks, workflows, publishers, metrics, data sets and so on there are."""

    what: tyro.conf.Positional[
        tuple[
            Literal[
                "tasks",
                "workflows",
                "publishers",
                "metrics",
                "datasets",
                "references",
                "models",
            ],
            ...,
        ]
    ] = ()
    """The kinds to list; all by default."""


@dataclasses.dataclass(frozen=True)
class Describe:
    """Say what is known of a task, workflow, publisher, metric, data set or model."""

    name: tyro.conf.Positional[str]
    """Its name, as 'jaxcollapse list' tells it."""


def about_task(name: str) -> str:
    """The first line of the docstring of a task's module, which is not imported for it."""
    place = TASKS.where(name)
    if place is None:
        return plugins.summary(as_family(name).task)
    spec = importlib.util.find_spec(place.partition(":")[0])
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return ""
    doc = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return doc.partition("\n")[0]


def list_things(args: List) -> None:
    """``jaxcollapse list``."""
    for kind in args.what or KINDS:
        print(f"{kind}:")
        for name, about in LISTED[kind]():
            print(f"  {name:24} {about}".rstrip())


def _tasks() -> Iterator[tuple[str, str]]:
    for name in TASKS.names():
        yield name, about_task(name) + _origin(TASKS, name)


def _workflows() -> Iterator[tuple[str, str]]:
    for name in WORKFLOWS.names():
        known = WORKFLOWS.find(name)
        about = known if callable(known) else type(known)
        yield name, plugins.summary(about) + _origin(WORKFLOWS, name)


def _publishers() -> Iterator[tuple[str, str]]:
    for axis, publisher in PUBLISHERS.items():
        yield axis, plugins.summary(publisher)


def _metrics() -> Iterator[tuple[str, str]]:
    found: dict[str, Any] = {}
    for family in families():
        for name, metric in family.labels.items():
            found.setdefault(name, metric)
    for name, of_points in POINT_METRICS.items():
        found.setdefault(name, of_points.label)
    for name, metric in found.items():
        yield name, f"{metric.long_name} [{metric.units}]"


def _datasets() -> Iterator[tuple[str, str]]:
    for name in DATASETS.names():
        known = DATASETS.find(name)
        about = plugins.summary(known) if callable(known) else known.about
        yield name, plugins.plain(about) + _origin(DATASETS, name)


def _models() -> Iterator[tuple[str, str]]:
    checks.require("flax", "lm")
    from jaxcollapse.lm import architectures
    from jaxcollapse.lm.decoder import decoder

    for name, config in architectures.configs().items():
        count = decoder.num_parameters(config)
        yield (
            name,
            f"{config.family}, {count:,} parameters at a vocabulary of {config.vocab_size:,}",
        )


def _references() -> Iterator[tuple[str, str]]:
    for name in references.names():
        yield name, f"{references.reference(name).attrs['title']}, for 'jaxcollapse compare'"


LISTED = {
    "tasks": _tasks,
    "workflows": _workflows,
    "publishers": _publishers,
    "metrics": _metrics,
    "datasets": _datasets,
    "references": _references,
    "models": _models,
}


def _origin(names: plugins.Named, name: str) -> str:
    package = names.package_of(name)
    return "" if name in names.built_in else f" (of {package})" if package else " (registered)"


# Describe ---------------------------------------------------------------------------------------


def describe(args: Describe) -> None:
    """``jaxcollapse describe NAME``."""
    name = args.name
    if name in TASKS or (":" in name and "=" not in name):
        lines = _of_task(as_family(name))
    elif name.partition(":")[0].replace("_", "-") in WORKFLOWS:
        lines = _of_workflow(name)
    elif name.replace("-", "_") in PUBLISHERS:
        lines = _of_publisher(name.replace("-", "_"))
    else:
        lines = _of_others(name)
    print("\n".join(lines))


def _of_task(family: TaskFamily) -> list[str]:
    lines = [f"{family.name}: {plugins.summary(family.task)}", "", "axes:"]
    for name in family.axes:
        parameter = family.parameters[name]
        assert isinstance(parameter.how, Axis)
        values = " ".join(map(str, parameter.how.grid)) or "none by default"
        symbol = f" ({parameter.how.symbol})" if parameter.how.symbol else ""
        lines += [f"  {name}{symbol}: {values}", f"      {plugins.plain(parameter.help)}"]
    lines += ["", "options:" if len(family.parameters) > len(family.axes) else "no options"]
    for name, parameter in family.parameters.items():
        if not parameter.is_axis:
            choices = f" of {', '.join(map(str, parameter.choices))}" if parameter.choices else ""
            default = "none" if parameter.by_default is None else parameter.by_default
            lines += [
                f"  {name}{choices}, by default {default}",
                f"      {plugins.plain(parameter.help)}",
            ]
    told = publishers.offers(family)
    lines += ["", "publishers, each an axis where it is asked for:"]
    for name, parameter in told.items():
        if parameter.is_axis:
            lines += [f"  {name} ({parameter.symbol})", f"      {plugins.plain(parameter.help)}"]
    lines += ["", "metrics:"]
    known = known_closed_forms(family)
    for name, metric in family.labels.items():
        lines.append(f"  {name}: {metric.long_name} [{metric.units}]")
        if known.get(name):
            lines.append(f"      closed form under {', '.join(known[name])}")
    if of_points := metrics_of_points(family):
        lines.append(f"  where they are named, of points: {', '.join(of_points)}")
    presets = {name: dict(options) for name, options in family.presets.items()}
    lines += [
        "",
        *(f"preset {name}: {options or 'the defaults'}" for name, options in presets.items()),
    ]
    return [*lines, f"source: {family.source}"] if family.source else lines


def known_closed_forms(family: TaskFamily) -> dict[str, list[str]]:
    """The workflows under which the mean of each metric is known, at some point of the grid."""
    found: dict[str, list[str]] = {}
    named = [as_workflow(an_instance(name)) for name in WORKFLOWS.names()]
    grids = {a: family.parameters[a].how.grid for a in family.axes}  # type: ignore[union-attr]
    if not all(grids.values()):
        return found
    options = dict(next(iter(family.presets.values())))
    for metric in family.labels:
        for workflow in sorted(named, key=str):
            for place in range(max(map(len, grids.values()))):
                point = {axis: grid[min(place, len(grid) - 1)] for axis, grid in grids.items()}
                known = family.mean_of(metric, workflow, np.arange(1, 3), options, point)
                if known is not None and np.isfinite(known).any():
                    found.setdefault(metric, []).append(str(workflow))
                    break
    return found


def metrics_of_points(family: TaskFamily) -> list[str]:
    """The metrics of points that a task can be asked for, at the largest point of its grid."""
    grids = {a: family.parameters[a].how.grid for a in family.axes}  # type: ignore[union-attr]
    if not all(grids.values()):
        return []
    point = {a: g[0] if isinstance(g[0], str) else g[-1] for a, g in grids.items()}
    found = []
    for name in POINT_METRICS:
        with contextlib.suppress(ValueError):
            held_out.check(family.make(point, {}), [name])
            found.append(name)
    return found


def _of_workflow(spelling: str) -> list[str]:
    name = spelling.partition(":")[0].replace("_", "-")
    known = WORKFLOWS.find(name)
    told = as_workflow(an_instance(name) if ":" not in spelling else spelling)
    doc = inspect.getdoc(known if callable(known) else type(known)) or ""
    about = re.split(r"\n\n\w+:\n", plugins.plain(doc))[0]
    helps = {n: p.help for kind in (Workflow, type(told)) for n, p in parameters_of(kind).items()}
    required = [] if ":" in spelling else _required(name)
    lines = [f"{name}: {about}", "", "fields of the workflow:"]
    for field, value in told.fields.items():
        nothing = "not set" if field in NUMBERS else "all"
        shown = nothing if value is None else value
        shown = "has to be given" if field in required else shown
        lines.append(f"  {field}: {shown}")
        lines += [f"      {plugins.plain(helps[field])}"] if helps.get(field) else []
    return [*lines, "", f"written as {told}, for instance; fields follow colons"]


def _of_publisher(axis: str) -> list[str]:
    publisher = PUBLISHERS[axis]
    known = parameters_of(publisher)
    about = re.split(r"\n\n(?:\w+:\n|>>>)", plugins.plain(inspect.getdoc(publisher) or ""))[0]
    lines = [f"{axis} ({known[axis].symbol}): {about}", "", "axis:"]
    one = known[axis].is_traced(on_statistics=False)
    programs = "one program serves all values" if one else "a program for each value"
    lines += [f"  {axis}: {programs}", f"      {plugins.plain(known[axis].help)}"]
    lines += ["", "options:"] * (len(known) > 1)
    for name, parameter in known.items():
        if name != axis:
            default = "none" if parameter.by_default is None else parameter.by_default
            lines += [f"  {name}, by default {default}", f"      {plugins.plain(parameter.help)}"]
    found = list(families())
    served = [family.name for family in found if publishers.serves(family, axis)]
    own = [family.name for family in found if axis in family.parameters]
    lines += ["", f"serves {', '.join(served)}"]
    lines += [f"of {', '.join(own)} it is an option of their own"] if own else []
    if axis == "models":
        lines += _of_pooled_laws([family for family in found if family.name in served])
    flag = axis.replace("_", "-")
    return [
        *lines,
        f"written as --{flag} on the command line, as an axis of jc.sweep, or as "
        f"jc.{publisher.__name__}(task, ...)",
    ]


def _of_pooled_laws(found: list[TaskFamily]) -> list[str]:
    """Which metrics the even mixture of several models' laws has."""
    lines = []
    for family in found:
        pooled = [name for name, metric in family.metrics.items() if metric.pooled]
        others = [name for name in family.metrics if name not in pooled]
        told = ", ".join(pooled) or "no metric"
        lines.append(f"  the pooled law of {family.name} has {told}")
        lines[-1] += f"; it has no {', '.join(others)}" if pooled and others else ""
    return lines


def _required(name: str) -> list[str]:
    """The fields that a workflow's spelling has to give."""
    known = WORKFLOWS.find(name)
    if isinstance(known, type) or not callable(known):
        return []
    parameters = inspect.signature(known).parameters.values()
    return [p.name for p in parameters if p.default is p.empty]


def an_instance(name: str) -> str:
    """The spelling of a workflow of a name; 3 stands for what has to be given."""
    return ":".join([name, *(f"{field}=3" for field in _required(name))])


def _told_of_collapse(metric: Metric) -> list[str]:
    if not metric.speaks_for:
        return []
    real = "unknown" if metric.real is None else metric.real
    return [f"  in a profile it speaks for {', '.join(metric.speaks_for)}; of the real law: {real}"]


def _of_others(name: str) -> list[str]:
    lines = []
    found = [family for family in families() if name in family.labels]
    # What every chain has is the same for all of them.
    for family in found[:1] if name == SHARE_OF_REAL_DATA else found:
        metric = family.labels[name]
        of = "every task" if name == SHARE_OF_REAL_DATA else family.name
        known = known_closed_forms(family).get(name, [])
        lines += [
            f"metric {name} of {of}: {metric.long_name} [{metric.units}]",
            f"  axis in figures: {metric.scale}"
            + (", an infinity is a value of it" if metric.infinite else ""),
            f"  closed form under {', '.join(known)}" if known else "  no closed form is known",
            *_told_of_collapse(metric),
        ]
    if name in POINT_METRICS:
        label = POINT_METRICS[name].label
        doc = plugins.plain(inspect.getdoc(getattr(point_metrics, name)) or "")
        lines.append(f"metric {name} of points: {label.long_name} [{label.units}]")
        lines += [f"  {line}".rstrip() for line in doc.partition("\n\nArgs:")[0].splitlines()]
    for kind in ("datasets", "models"):
        try:
            listed = dict(LISTED[kind]())
        except ImportError:
            continue
        if name in listed:
            lines.append(f"{kind.removesuffix('s')} {name}: {listed[name]}")
    if not lines:
        raise checks.refusal(
            "name to describe",
            "that of a task, workflow, publisher, metric, data set or model",
            repr(name),
            "see jaxcollapse list",
        )
    return lines
