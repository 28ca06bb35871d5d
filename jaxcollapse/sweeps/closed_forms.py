"""The closed forms that belong to a result: found by its task, its metric and its records."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcollapse import theory
from jaxcollapse.families import TaskFamily
from jaxcollapse.metrics import SHARE_OF_REAL_DATA
from jaxcollapse.publishers import offered
from jaxcollapse.registry import TASKS, is_own
from jaxcollapse.sweeps.results import MIXTURE_FORMAT, axes_of, function_name, options_of
from jaxcollapse.workflows import Workflow, accumulate_subsample, parse

if TYPE_CHECKING:
    import xarray


def closed_form(line: xarray.Dataset, metric: str) -> np.ndarray | None:
    """The closed form of a metric's mean for one workflow at one point of the grid, or None.

    See ``TaskFamily.mean_of``.

    Args:
      line: a result with scalar ``workflow`` and scalar grid axes.
      metric: the metric's name.
    """
    workflow = _workflow_of(line)
    if workflow is None:
        return None
    generation = line["generation"].values
    if metric == SHARE_OF_REAL_DATA:
        known = workflow.closed_form(line.attrs["task"], metric, generation, {})
        return theory.share_of_real_data(workflow, generation) if known is None else known
    family = family_of_result(line)
    if family is None or not set(family.axes) <= set(line.coords):
        return None
    options = _options_of(line)
    if options is None:
        return None
    point = {axis: line[axis].item() for axis in family.axes}
    return family.mean_of(metric, workflow, generation, options, point)


def closed_form_of_mixtures(line: xarray.Dataset, metric: str) -> np.ndarray | None:
    """The closed form of a metric's mean ``[real, synthetic]`` at one point, or None.

    Args:
      line: a result whose other axes are scalars.
      metric: its name.
    """
    family = family_of_result(line)
    if family is None or line.attrs.get("format") != MIXTURE_FORMAT:
        return None
    options = _options_of(line)
    if options is None:
        return None
    point = {axis: line[axis].item() for axis in family.axes if axis != family.batch}
    real, synthetic = np.meshgrid(line["real"].values, line["synthetic"].values, indexing="ij")
    counts = real, synthetic, int(line.attrs["num_real"])
    source = line.attrs["source"]
    if family.bare is not None:  # at 1 a publisher is the task itself
        if any(point[name] != 1 for name in point if name not in family.bare.axes):
            return None
        point = {name: value for name, value in point.items() if name in family.bare.axes}
    return family.mixtures.closed_form(metric, counts, source, options, **point)


def family_of_result(line: xarray.Dataset) -> TaskFamily | None:
    """The task of a result, if it is known by its name here, and is the same."""
    name = line.attrs.get("task", "")
    if name not in TASKS:
        return None
    try:
        family = TASKS.find(name)
    except ImportError:
        return None
    # What an older file does not say is what it was.
    made_by = line.attrs.get("task_function", function_name(family.task))
    own = bool(line.attrs.get("task_is_own", is_own(family)))
    if (made_by, own) != (function_name(family.task), is_own(family)):
        return None
    return offered(family, axes_of(line))


def _options_of(line: xarray.Dataset) -> dict[str, Any] | None:
    """A result's options; None where of a large array the file knows the digest only."""
    options = options_of(line)
    return None if any(isinstance(value, dict) for value in options.values()) else options


def _workflow_of(line: xarray.Dataset) -> Workflow | None:
    """The workflow of a line as a record; None for one that is not known here."""
    name = str(line["workflow"].item())
    configuration = json.loads(line.attrs["configuration"])
    if "records" not in configuration:  # files of older versions
        sizes = dict(zip(configuration["workflow"], configuration["subsample_size"], strict=True))
        size = sizes.get(name)
        return accumulate_subsample(size) if size is not None else parse(name)
    try:
        workflow = parse(name)
    except (ValueError, ImportError):
        return None
    records = dict(zip(configuration["workflow"], configuration["records"], strict=True))
    return workflow if json.loads(json.dumps(workflow.describe())) == records.get(name) else None
