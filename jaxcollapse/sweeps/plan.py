"""A grid whose every parameter has been checked: what plans of chains and of mixtures share."""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import itertools
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcollapse import checks, machine
from jaxcollapse.datasets.points import DATASETS, PointDataset
from jaxcollapse.families import TaskFamily
from jaxcollapse.keys import whole_seeds
from jaxcollapse.metrics import Metric
from jaxcollapse.parameters import takes_any
from jaxcollapse.workflows import Workflow

# The memory that a grid takes unless told, of what is free: others use the machine too.
SHARE_OF_FREE_MEMORY = 1 / 8
# Numbers of an option that are written out in a file's attributes, which hold 64 KiB.
LARGEST_ARRAY = 1000

# How fields of workflows are written.
EXAMPLES = {
    "keep": "window:keep=3",
    "real": "fixed-real",
    "draw": "accumulate-subsample:draw=50",
    "share": "fresh-real:share=0.1",
    "weight": "fresh-real:weight=0.6",
    "sizes": "accumulate:sizes=10,20,40",
}


class Cell(NamedTuple):
    """One point of a grid, of chains under one workflow.

    Attributes:
      point: values by axis.
      workflow: which data each model trains on; of a mixture, None.
    """

    point: dict[str, Any]
    workflow: Workflow | None = None

    def __str__(self) -> str:
        """In words, for progress and errors."""
        name = [] if self.workflow is None else [self.workflow.name]
        return " ".join([*name, *(f"{k}={v}" for k, v in self.point.items())]) or "the task"


class Memory(NamedTuple):
    """What the seeds of one call may take on one device, in bytes.

    Attributes:
      limit: that they should not pass, so that there are several calls where they would.
      most: that they must not pass: the limit that was asked for, or else all that is free.
    """

    limit: float
    most: float


class Variable(NamedTuple):
    """A variable of a result, or the part of it that is a cell's.

    Attributes:
      dims: the names of its dimensions, without those along which cells are.
      values: one number, or an array.
      attrs: what is said of it.
    """

    dims: tuple[str, ...]
    values: np.ndarray
    attrs: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Plan(abc.ABC):
    """A grid of chains or of mixtures; see ``chains.ChainPlan`` and ``mixtures.MixturePlan``.

    Attributes:
      family: the task.
      axes: values by axis, in the order of the result.
      seeds: uint32 ``[S]``.
      options: of the task, the same for every cell.
      preset: where the options that were not given came from.
      metrics: names of the metrics to compute.
      memory: what the seeds of one call may take on one device.
      command: that asks for it, as a shell takes it; "" of a program.
    """

    family: TaskFamily
    axes: dict[str, list[Any]]
    seeds: np.ndarray
    options: dict[str, Any]
    preset: str
    metrics: list[str]
    memory: Memory
    command: str = dataclasses.field(default="", kw_only=True)

    # What a kind of plan says ------------------------------------------------------------------

    @property
    @abc.abstractmethod
    def cells(self) -> list[Cell]:
        """What is run one after another, in the order of the result."""

    @abc.abstractmethod
    def point(self, cell: Cell) -> dict[str, Any]:
        """All axes of the task at a cell."""

    @abc.abstractmethod
    def function(self, cell: Cell) -> Callable[[jax.Array, Any], dict[str, jax.Array]]:
        """``function(key, traced) -> metrics`` of one seed."""

    @abc.abstractmethod
    def seed_bytes(self, cell: Cell) -> float:
        """An estimate of the memory that one seed takes."""

    def most_seeds(self, cell: Cell) -> float:
        """The most seeds that a call should have on one device, whatever fits."""
        return float("inf")

    @abc.abstractmethod
    def keeps(self, cell: Cell) -> Workflow:
        """The workflow that decides how a cell's data are kept."""

    @property
    @abc.abstractmethod
    def is_own(self) -> bool:
        """Whether functions of the user's decide its numbers, which may change under one name."""

    @property
    @abc.abstractmethod
    def facts(self) -> dict[str, Any]:
        """What decides the numbers beside what every plan has, as JSON can hold it."""

    @property
    @abc.abstractmethod
    def title(self) -> str:
        """What a result of it is called."""

    @abc.abstractmethod
    def label(self, metric: str) -> Metric:
        """The label and units of a metric."""

    @property
    @abc.abstractmethod
    def marks(self) -> dict[str, Any]:
        """Attributes that tell a result of it from others."""

    @property
    @abc.abstractmethod
    def grid(self) -> dict[str, list[Any]]:
        """Values by dimension, in the order of the result; without generations."""

    @abc.abstractmethod
    def on(self, grid: Mapping[str, list[Any]]) -> Plan:
        """The same on another grid, of the same dimensions; not checked."""

    @abc.abstractmethod
    def check(self) -> None:
        """Refuses cells that the task cannot have."""

    @property
    @abc.abstractmethod
    def coordinates(self) -> dict[str, Any]:
        """Coordinates of a result, those of its dimensions first, in their order."""

    @property
    @abc.abstractmethod
    def along(self) -> tuple[str, ...]:
        """The first dimensions of a result: those along which its cells are, in order."""

    @abc.abstractmethod
    def variables(self, cell: Mapping[str, np.ndarray]) -> dict[str, Variable]:
        """What a result says of a cell, from its metrics ``[S, ...]`` and its seconds."""

    @property
    def constants(self) -> dict[str, Variable]:
        """What a result says beside its cells."""
        return {}

    # What all of them have ----------------------------------------------------------------------

    @property
    def points(self) -> list[dict[str, Any]]:
        """Every combination of the values of its axes."""
        return [dict(zip(self.axes, point, strict=True)) for point in product(self.axes)]

    @property
    def configuration(self) -> dict[str, Any]:
        """All that decides the numbers, as JSON can hold it."""
        return {
            "task": self.family.name,
            "axes": self.axes,
            "seeds": [int(seed) for seed in self.seeds],
            "preset": self.preset,
            "options": as_json(self.options),
            "metrics": self.metrics,
            **self.facts,
        }

    def identity(self, cell: Cell) -> dict[str, Any]:
        """What a cell is, whatever others are in the plan, as JSON can hold it.

        That is all of ``configuration`` that decides its numbers but the seeds, and its own point
        and workflow in place of all values of axes and all workflows.
        """
        beside = ("axes", "seeds", "preset", "workflow", "records")
        told = {name: fact for name, fact in self.configuration.items() if name not in beside}
        record = None if cell.workflow is None else cell.workflow.describe()
        return {**told, "point": cell.point, "record": record}

    def traced(self, cell: Cell) -> dict[str, Any]:
        """The parameters of a cell that change no shape."""
        return self.family.traced_at(self.keeps(cell), self.point(cell), self.options)

    def program(self, cell: Cell) -> Hashable:
        """A name for the program of a cell: cells that share it share one compilation."""
        traced = self.traced(cell)
        fixed = ((k, v) for k, v in cell.point.items() if k not in traced)
        form = None if cell.workflow is None else cell.workflow.form
        return (form, *fixed, jax.tree.structure(traced))

    @property
    @abc.abstractmethod
    def steps(self) -> int:
        """How many fits a seed of a cell makes."""

    def work(self, cell: Cell) -> float:
        """How long a seed of a cell takes relative to others."""
        return float(self.family.relative_cost(**self.point(cell)))


def product(axes: Mapping[str, Sequence[Any]]) -> Iterable[tuple[Any, ...]]:
    """Every combination of the values of some axes, the last one's going round first."""
    return itertools.product(*axes.values())


def as_json(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a task as JSON can hold them."""
    return {name: _plain(value) for name, value in options.items()}


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: an array of many numbers by its shape and digest."""
    if hasattr(value, "describe"):
        return value.describe()
    if not hasattr(value, "shape"):
        return value
    array = np.asarray(value)
    if array.size <= LARGEST_ARRAY:
        return array.tolist()
    return {"shape": array.shape, "sha256": hashlib.sha256(array.tobytes()).hexdigest()}


def has_own_data(plan: Plan) -> bool:
    """Whether real data are drawn from a law of the user's."""
    of_options = any(isinstance(value, PointDataset) for value in plan.options.values())
    names = [value for values in plan.axes.values() for value in values if isinstance(value, str)]
    return of_options or any(n in DATASETS and n not in DATASETS.built_in for n in names)


# Checks -----------------------------------------------------------------------------------------


def checked_axes(
    family: TaskFamily, names: Sequence[str], axes: Mapping[str, Iterable[Any]]
) -> dict[str, list[Any]]:
    """Distinct values of each of the axes ``names``, in their order, checked as declared.

    Raises:
      ValueError: an axis is missing or unknown, or its values are none, repeated or wrong.
    """
    if set(axes) != set(names):
        raise checks.refusal(
            f"axes of {family.name}",
            ", ".join(names) or "none",
            ", ".join(axes) or "none",
            "give values for each of them",
        )
    return {name: axis_values(name, axes[name]) for name in names}


def axis_values(name: str, values: Iterable[Any]) -> list[Any]:
    """Distinct numbers and names, also when they are written out in a file."""
    if not checks.is_several(values):
        raise checks.refusal(f"values of {name}", "a list", repr(values), f"write [{values!r}]")
    checks.not_too_many(f"values of {name}", values)
    # Numbers of NumPy's as Python's own, which labels and files take.
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    for value in plain:
        if not isinstance(value, int | float | str):
            raise checks.refusal(name, "numbers or names", type(value).__name__, "give those")
    if any(isinstance(value, str) for value in plain):
        checks.distinct(name, map(str, plain))
    return checks.distinct(name, plain)


def check_no_fields(names: Iterable[str], family: TaskFamily) -> None:
    """Raises ``ValueError`` for names of a workflow's fields that are no parameters of a task."""
    for name in names:
        if (
            name in Workflow().fields
            and name not in family.parameters
            and not takes_any(family.task)
        ):
            raise checks.refusal(
                f"{name}, which is a workflow's",
                "in the spelling of one",
                "an axis or an option of the task",
                f"write it after the workflow's name, as {EXAMPLES[name]}",
            )


def checked_options(family: TaskFamily, preset: str, *given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a preset, and those that are given, the last one first.

    Raises:
      ValueError: there is no such preset or option.
    """
    checks.one_of("preset", preset, family.presets)
    options: dict[str, Any] = {}
    for some in (family.presets[preset], *given):
        options |= some
    family.check_options(options)
    return options


def check_named(
    family: TaskFamily, axes: Mapping[str, Sequence[Any]], options: Mapping[str, Any]
) -> None:
    """Raises ``ValueError`` for several names of what an option gives once."""
    for name, parameter in family.parameters.items():
        axis: Any = getattr(parameter.how, "names", None)
        if axis in axes and options.get(name) is not None and len(axes[axis]) > 1:
            raise checks.refusal(
                f"{axis} beside {name}", "one name for it", list(axes[axis]), "name it once"
            )


def checked_seeds(seeds: int | Iterable[int]) -> np.ndarray:
    """Seeds as they are given, or so many from 0: uint32 ``[S]``."""
    several = seeds if checks.is_several(seeds) else range(checks.whole_number("seeds", seeds))
    checks.not_too_many("seeds", several)
    return whole_seeds(checks.distinct("seed", several))


def parse_seeds(text: str) -> range:
    """Seeds from ``"100"`` (0 to 99) or ``"5:8"`` (5, 6, 7)."""
    match = re.fullmatch(r"(?:(\d+):)?(\d+)", text)
    seeds = range(int(match[1] or 0), int(match[2])) if match else range(0)
    if not seeds:
        raise checks.refusal(
            "--seeds", "a number of at least 1 or a range FIRST:END", repr(text), "try 100 or 5:8"
        )
    return seeds


def memory_of(limit: float | None) -> Memory:
    """What running chains may take on one device, of ``limit`` bytes or of what is free."""
    if limit is not None and not 0 < limit < float("inf"):
        raise checks.refusal(
            "memory limit", "more than 0, finite", limit, "change it or leave it out"
        )
    most = (machine.free_memory() if limit is None else limit) / len(machine.devices())
    return Memory(SHARE_OF_FREE_MEMORY * most if limit is None else most, most)


def number_of(number: int, noun: str) -> str:
    """A number of things, in words: ``1 seed``, ``2 seeds``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
