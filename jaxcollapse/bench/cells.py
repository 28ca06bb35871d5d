"""Which cells are measured: some of the paper's grids, all of them, or one's own."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from jaxcollapse import checks
from jaxcollapse.families import TaskFamily
from jaxcollapse.registry import as_family
from jaxcollapse.workflows import Workflow

Point = dict[str, Any]
REQUIRED = inspect.Parameter.empty  # in place of a default

# Of each task one small, one middling and one large, and what is known to be dear. The first is
# what ``quick`` measures, and the first two are what more and more seeds are tried on.
CHOSEN: dict[str, list[Point]] = {
    "gaussian": [
        {"dim": 10, "num_samples": 100},
        {"dim": 1, "num_samples": 100},
        {"dim": 31, "num_samples": 316},
        {"dim": 100, "num_samples": 1000},
    ],
    "kde": [
        {"dataset": "moons", "bandwidth": 0.1, "num_samples": 100},
        {"dataset": "moons", "bandwidth": 0.1, "num_samples": 1000},
        {"dataset": "swiss-roll", "bandwidth": 0.5, "num_samples": 316},
        {"dataset": "moons", "bandwidth": "scott", "num_samples": 100},
    ],
    "linear-regression": [
        {"dim": 10, "noise_variance": 1.0, "num_samples": 100},
        {"dim": 100, "noise_variance": 1.0, "num_samples": 1000},
    ],
    "categorical": [
        {"num_outcomes": 10, "num_samples": 100},
        {"num_outcomes": 1000, "num_samples": 1000},
    ],
}
TASKS = tuple(CHOSEN)
SIZES = (10, 32, 100, 316, 1000)
# The classical grids of the paper that it published, 160 cells under each of three workflows.
PAPER: dict[str, dict[str, Sequence[Any]]] = {
    "gaussian": {"dim": (1, 3, 10, 31, 100), "num_samples": SIZES},
    "kde": {
        "dataset": ("blobs", "circles", "moons", "swiss-roll"),
        "bandwidth": (0.1, 0.5, 1.0),
        "num_samples": SIZES,
    },
    "linear-regression": {
        "dim": (1, 3, 10, 32, 100),
        "noise_variance": (0.1, 1.0, 10.0),
        "num_samples": SIZES,
    },
}


class BenchCell(NamedTuple):
    """One task at one point of its grid under one workflow.

    Attributes:
      family: the task.
      workflow: which data each model trains on.
      point: the values of its axes.
    """

    family: TaskFamily
    workflow: Workflow
    point: Point

    def __str__(self) -> str:
        """In words, for progress, tables and errors."""
        at = " ".join(f"{name}={value}" for name, value in self.point.items())
        return " ".join(filter(None, [self.family.name, self.workflow.name, at]))

    @property
    def label(self) -> str:
        """Its point in few letters, for tables and figures: ``moons h=0.1 N=100``."""
        known = self.family.parameters
        return " ".join(
            value if isinstance(value, str) else f"{known[name].symbol}={value}"
            for name, value in self.point.items()
        )

    def facts(self) -> dict[str, Any]:
        """What a file says of it."""
        of_cell = {"cell": self.point, "label": self.label}
        return {"task": self.family.name, "workflow": self.workflow.name, **of_cell}


def chosen(
    tasks: Sequence[str],
    workflows: Iterable[Workflow],
    quick: bool = False,
    paper: bool = False,
    given: Iterable[str] = (),
) -> list[BenchCell]:
    """The cells to measure, in the order in which they are.

    Args:
      tasks: names of tasks, or ``MODULE:FAMILY``.
      workflows: each point is run under each of them.
      quick: the first point of each task alone.
      paper: the paper's grids, whole, of those tasks that have one.
      given: points in place of the task's own, as ``dim=10,num_samples=100``.

    Raises:
      ValueError: a point is none of the task's, or several tasks are named beside points, or no
        point is known of a task.
    """
    given = list(given)
    if given and len(tasks) != 1:
        raise checks.refusal("--cell", "one task beside it", len(tasks), "name its task alone")
    families = [as_family(name) for name in tasks]
    points = {family.name: _points(family, quick, paper, given) for family in families}
    cells = [
        BenchCell(family, workflow, point)
        for family in families
        for workflow in workflows
        for point in points[family.name]
    ]
    for cell in cells:
        cell.family.check(cell.workflow, cell.point, dict(cell.family.presets["corrected"]))
    return cells


def _points(family: TaskFamily, quick: bool, paper: bool, given: list[str]) -> list[Point]:
    if given:
        return [_read(family, text) for text in given]
    if paper:
        axes = PAPER.get(family.name)
        if axes is None:
            raise checks.refusal(
                "tasks of --paper", ", ".join(PAPER), family.name, "leave the others out"
            )
        return [
            dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())
        ]
    if family.name in CHOSEN:
        return CHOSEN[family.name][:1] if quick else CHOSEN[family.name]
    return [_middle(family)]


def _middle(family: TaskFamily) -> Point:
    """The middle of the grid that a task of one's own declares."""
    point = {}
    for name in family.axes:
        parameter = family.parameters[name]
        grid = getattr(parameter.how, "grid", ())
        if not grid and parameter.default is REQUIRED:
            axes = ",".join(f"{axis}=..." for axis in family.axes)
            raise checks.refusal(
                f"{name} of {family.name}",
                "a value, as its signature declares no grid for it",
                "none",
                f"give one: --cell {axes}",
            )
        point[name] = grid[len(grid) // 2] if grid else parameter.default
    return point


def _read(family: TaskFamily, text: str) -> Point:
    """A point as it is written on the command line."""
    point: Point = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        checks.one_of("--cell", name, family.axes)
        point[name] = _value(value)
    missing = [
        name
        for name in family.axes
        if name not in point and family.parameters[name].default is REQUIRED
    ]
    if missing:
        raise checks.refusal("--cell", f"all of {', '.join(family.axes)}", text, "add the others")
    return {name: point.get(name, family.parameters[name].default) for name in family.axes}


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
