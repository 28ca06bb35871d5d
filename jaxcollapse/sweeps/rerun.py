"""Results made again: the plan that a result tells, and how far two results of it lie apart."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxcollapse import checks, machine
from jaxcollapse.families import TaskFamily
from jaxcollapse.held_out import POINT_METRICS
from jaxcollapse.plugins import imported
from jaxcollapse.registry import as_family
from jaxcollapse.sweeps import chains, mixtures, results
from jaxcollapse.sweeps.plan import Plan
from jaxcollapse.workflows import WORKFLOWS, Workflow

if TYPE_CHECKING:
    import xarray

# What may be otherwise where a result is made again, beside versions, commit and settings.
PLACE = ("device", "platform", "python_version", "task_source")


class Apart(NamedTuple):
    """How far the numbers of a variable lie apart in two results.

    Attributes:
      variable: its name.
      numbers: how many there are.
      differ: how many of them differ in a bit.
      largest: the largest difference of two finite numbers, relative to the largest finite number.
      finite_in_one: how many are finite in one of both alone.
    """

    variable: str
    numbers: int
    differ: int
    largest: float
    finite_in_one: int

    def __str__(self) -> str:
        """In words, without the name."""
        finite = f", {self.finite_in_one:,} finite in one alone" if self.finite_in_one else ""
        return (
            f"{self.differ:,} of {self.numbers:,} numbers differ, by at most {self.largest:.2g} of "
            f"the largest{finite}"
        )


def plan_of(
    dataset: xarray.Dataset,
    family: TaskFamily | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
    memory_limit: float | None = None,
) -> Plan:
    """The plan that a result is of, from what its file tells.

    Args:
      dataset: of ``sweep`` or ``mix``, or of the commands.
      family: its task, by default the one of its name.
      options: those that a file does not hold, such as arrays of more than 1,000 numbers.
      memory_limit: as for ``sweep``.

    Raises:
      ValueError: the plan is another one: options are not held, or not those of the result, or
        functions of the program decide it.
      ImportError: the task needs an extra that is not installed.
    """
    told = json.loads(dataset.attrs["configuration"])
    given = {name: options.get(name, _as_given(v)) for name, v in told["options"].items()}
    for name, value in given.items():
        if isinstance(value, dict):
            raise checks.refusal(
                f"{name} of a result that is made again",
                "numbers in its file, or a file of them in its command",
                f"only what it was like, {value}",
                "run the program that made it",
            )
    task = as_family(told["task"]) if family is None else family
    more = {"seeds": told["seeds"], "preset": told["preset"], "memory_limit": memory_limit}
    found: Plan
    if results.is_mixture(dataset):
        counts = {name: told[name] for name in ("real", "synthetic", "num_real", "source")}
        more |= counts | {"metrics": told["metrics"], "loss": dataset.attrs["loss"]}
        found = mixtures.plan(task, told["axes"], **more, **given)
    else:
        more |= {"generations": told["generations"], "every": told.get("every", 1)}
        workflows, axes = _workflows(told), told["axes"]
        found = chains.plan(task, workflows, axes, **more, **given)
        for metric in told["metrics"]:
            if metric not in found.metrics and metric not in POINT_METRICS:
                raise checks.refusal(
                    f"metric {metric} of a result that is made again",
                    f"one of {found.family.name}",
                    "a function of the program that made it",
                    "run that program",
                )
        found = chains.plan(task, workflows, axes, **more, metrics=told["metrics"], **given)
    check_same(told, json.loads(json.dumps(found.configuration)))
    return found


def _as_given(value: Any) -> Any:
    """An option as a task takes it: JSON has lists where it takes tuples or arrays."""
    if not isinstance(value, list):
        return value
    return np.asarray(value) if value and isinstance(value[0], list) else tuple(value)


def _workflows(told: Mapping[str, Any]) -> list[Workflow | str]:
    """The workflows of a configuration: spelled, but for classes of the user's."""
    found: list[Workflow | str] = []
    for name, record in zip(told["workflow"], told["records"], strict=True):
        fields = {key: value for key, value in record.items() if key != "class"}
        own = "class" in record and name.partition(":")[0] not in WORKFLOWS
        found.append(imported(record["class"], "workflow")(**fields) if own else name)
    return found


def check_same(told: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuses a configuration that is not the one that a result tells, and names what differs."""
    for name in dict.fromkeys([*told, *now]):
        if told.get(name) != now.get(name):
            raise checks.refusal(
                f"{name} of a result that is made again",
                f"{told.get(name)}, as its file tells",
                now.get(name),
                "give the program and the files that made it",
            )


def apart(one: xarray.Dataset, other: xarray.Dataset) -> list[Apart]:
    """How far each variable of two results of one plan lies apart, but for the seconds that it ran.

    A part of each is in memory at a time.

    Raises:
      ValueError: they have other variables, or the same ones of other shapes or types.
    """
    (_, told, ours), (_, now, theirs) = map(results.in_parts, (one, other))
    shapes = [{name: (d.dims, d.shape, d.dtype) for name, d in of.items()} for of in (told, now)]
    for name in dict.fromkeys([*shapes[0], *shapes[1]]):
        was, is_now = (shape.get(name, "none") for shape in shapes)
        if was != is_now:
            remedy = "make both with one version"
            raise checks.refusal(f"variable {name} of both results", str(was), is_now, remedy)
    found = []
    pairs = zip(ours, theirs, strict=True)
    for name, some in itertools.groupby(pairs, lambda pair: pair[0].name):
        if name != results.RUN_SECONDS:
            found.append(_apart(name, ((part.values, again.values) for part, again in some)))
    return found


def _apart(name: str, parts: Iterator[tuple[np.ndarray, np.ndarray]]) -> Apart:
    numbers = differ = finite_in_one = 0
    far = size = 0.0
    for pair in parts:
        a, b = (np.ascontiguousarray(array).reshape(-1) for array in pair)
        numbers += a.size
        bits = [array.view(np.uint8).reshape(a.size, a.itemsize) for array in (a, b)]
        differ += int((bits[0] != bits[1]).any(axis=1).sum())
        finite = [np.isfinite(array) for array in (a, b)]
        finite_in_one += int((finite[0] != finite[1]).sum())
        both = finite[0] & finite[1]
        a, b = a[both].astype(np.float64), b[both].astype(np.float64)
        far = max(far, np.abs(a - b).max(initial=0.0))
        size = max(size, np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0))
    return Apart(name, numbers, differ, float(far / size if size else 0.0), finite_in_one)


def surroundings_apart(one: xarray.Dataset, other: xarray.Dataset) -> list[str]:
    """What two results were made with that differs, a line each: versions, device, flags."""
    told, now = (_surroundings(dataset) for dataset in (one, other))
    return [
        f"{name}: {told.get(name, 'unknown')} then, {now.get(name, 'unknown')} now"
        for name in dict.fromkeys([*told, *now])
        if told.get(name) != now.get(name)
    ]


def _surroundings(dataset: xarray.Dataset) -> dict[str, Any]:
    names = (*machine.versions(), "commit", "source_tree", *PLACE)
    found = {name: dataset.attrs[name] for name in names if name in dataset.attrs}
    return found | json.loads(dataset.attrs.get("settings", "{}"))
