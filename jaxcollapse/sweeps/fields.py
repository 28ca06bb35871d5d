"""What the records of workflows say, as coordinates along ``workflow``: ``keep``, ``real``, ..."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxcollapse import schedules
from jaxcollapse.workflows import NUMBERS, Workflow


def coordinates(workflows: Sequence[Workflow]) -> dict[str, Any]:
    """Fields of workflows, in their order.

    A number that a record leaves open, all batches or all rows, is infinite here; a share, a weight
    or sizes that it does not have are NaN. Schedules are text, as they are spelled.
    """
    names = dict.fromkeys(name for workflow in workflows for name in workflow.fields)
    found = {}
    for name in names:
        values = [workflow.fields.get(name) for workflow in workflows]
        if name in NUMBERS:
            found[name] = ("workflow", _field([_plain(v) for v in values], _nothing(name)))
        else:
            found[name] = ("workflow", _field(values, _nothing(name)))
    return found


def joined(
    name: str, workflows: Sequence[str], known: Sequence[Mapping[str, Any]]
) -> tuple[str, list[Any]]:
    """A field of workflows from coordinates of several results.

    Args:
      name: of the field.
      workflows: names of all of them, in their order.
      known: values by name of a workflow, of each result that has the field.
    """
    values = {workflow: value for result in known for workflow, value in result.items()}
    ordered = [values.get(workflow, _nothing(name)) for workflow in workflows]
    if any(isinstance(value, str) for value in ordered):
        ordered = [str(v) if isinstance(v, str) or np.isfinite(v) else "" for v in ordered]
    return "workflow", ordered


def _nothing(name: str) -> float:
    return float("nan" if name in NUMBERS else "inf")


def _plain(value: Any) -> Any:
    """A number of a workflow as it is, a schedule as it is spelled."""
    if isinstance(value, tuple) and len(value) == 1:
        return value[0]
    return value if value is None or isinstance(value, float) else schedules.spelled(value)


def _field(values: list[Any], nothing: float) -> list[Any]:
    """A field of several workflows: numbers, or text if one of them is none."""
    if any(value is not None and not isinstance(value, int | float) for value in values):
        return ["" if value is None else str(value) for value in values]
    return [nothing if value is None else float(value) for value in values]
