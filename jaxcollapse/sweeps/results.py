"""Labelled results: made of a plan's cells, written whole, read again."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcollapse import checks, locks, machine
from jaxcollapse.files import check_output, reserve, whole_file
from jaxcollapse.inputs import json_of
from jaxcollapse.registry import is_own
from jaxcollapse.sweeps.plan import Plan

if TYPE_CHECKING:
    import xarray

    from jaxcollapse.metrics import Metric

FORMAT = "jaxcollapse sweep 1"
MIXTURE_FORMAT = "jaxcollapse mixing 1"
RUN_SECONDS = "run_seconds"
BESIDE_NUMBERS = 2**17  # bytes of a file for names, attributes and places, about


def dataset(
    plan: Plan,
    values: list[dict[str, np.ndarray]],
    compile_seconds: float,
    run_seconds: float,
    programs: int,
) -> xarray.Dataset:
    """The result of a plan from its cells, in order: metrics ``[S, ...]`` and ``run_seconds``."""
    xarray = checks.require("xarray", "sweep")
    coords, variables = plan.labelled(values)
    attrs = attributes(plan, compile_seconds, run_seconds, programs)
    return xarray.Dataset(variables, coords, attrs)


def axis_coordinates(plan: Plan) -> dict[str, Any]:
    """Coordinates of a plan's axes, with their symbols."""
    parameters = plan.family.parameters
    return {
        name: (name, coordinate(values), {"symbol": parameters[name].symbol})
        for name, values in plan.axes.items()
    }


def length_of(coordinate: Any) -> int:
    """How many values a coordinate has."""
    return len(coordinate[1] if isinstance(coordinate, tuple) else coordinate)


def labels_of(metric: Metric) -> dict[str, Any]:
    """What a file says of a metric."""
    labels = {"long_name": metric.long_name, "units": metric.units, "scale": metric.scale}
    if not metric.speaks_for:
        return labels
    told = {"speaks_for": " ".join(metric.speaks_for), "real": metric.real, "per": metric.per}
    return labels | {name: value for name, value in told.items() if value not in (None, "")}


def attributes(
    plan: Plan, compile_seconds: float = 0.0, run_seconds: float = 0.0, programs: int = 0
) -> dict[str, Any]:
    """What a file says of a result: what was asked for, where it was made, what it took."""
    config, family, options = plan.configuration, plan.family, plan.options
    cells = plan.cells
    approximate = {
        family.approximations(plan.keeps(cell), plan.point(cell), options) for cell in cells
    }
    attrs: dict[str, Any] = {
        "title": plan.title,
        "task": family.name,
        "task_function": function_name((family.bare or family).task),
        "task_is_own": int(is_own(family)),
        "preset": plan.preset,
        "options": json.dumps(config["options"]),
        "configuration": json.dumps(config),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "compile_seconds": round(compile_seconds, 3),
        "run_seconds": round(run_seconds, 3),
        "programs": programs,
        "approximations": "; ".join(sorted(approximate - {""})) or "none",
        "settings": json.dumps(machine.settings()),
        "peak_memory_bytes": machine.peak_memory(),
        **machine.describe(),
        **plan.marks,
    }
    if is_own(family):  # so that results of an edited task are never joined with older ones
        attrs["task_source"] = source_digest((family.bare or family).task)
    if family.resolved is not None:
        points = {tuple(plan.point(cell).items()): plan.point(cell) for cell in cells}.values()
        attrs["details"] = json.dumps([family.resolved(point, options) for point in points])
    return attrs


def source_digest(function: Any) -> str:
    """A digest of the file that a function is defined in; ``unknown`` where there is none."""
    try:
        source = Path(inspect.getsourcefile(function) or "").read_bytes()
    except (TypeError, OSError):
        return "unknown"
    return hashlib.sha256(source).hexdigest()[:16]


def function_name(function: Any) -> str:
    """Where a function is defined, as ``module:name``."""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', '')}:{name}"


def coordinate(values: list[Any]) -> list[Any]:
    """Values of an axis as a file holds them: all text if one is."""
    return [str(value) for value in values] if any(isinstance(v, str) for v in values) else values


def save(dataset: xarray.Dataset, path: Path | str, overwrite: bool = False) -> None:
    """Writes a result as NetCDF-4, whole or not at all.

    Raises:
      ValueError: see ``check_output``; or another process writes it.
      ImportError: the extra ``sweep`` is not installed.
    """
    path = Path(path)
    check_output(path, (".nc",), overwrite)
    checks.require("h5netcdf", "sweep")
    with locks.writing(path):
        check_output(path, (".nc",), overwrite)  # which another may have written meanwhile
        # With checksums, so that a number that a disk has changed is not read as another.
        numbers = [k for k, a in dataset.variables.items() if a.size > 1 and a.dtype.kind in "iuf"]
        checked = {name: {"fletcher32": True} for name in numbers}
        with whole_file(path) as temporary:
            reserve(temporary, dataset.nbytes + BESIDE_NUMBERS)
            dataset.to_netcdf(temporary, engine="h5netcdf", encoding=checked)


def load(path: Path | str) -> xarray.Dataset:
    """Reads a result into memory: of a sweep, or of mixtures of real and synthetic data.

    Raises:
      ValueError: there is no such file, or it is no such result.
      ImportError: the extra ``sweep`` is not installed.
    """
    path = Path(path)
    xarray = checks.require("xarray", "sweep")
    checks.require("h5netcdf", "sweep")
    if not path.is_file():
        remedy = "give a file in it, such as results.nc" if path.is_dir() else "check the path"
        raise checks.refusal("results file", "a file that exists", str(path), remedy)
    try:
        with xarray.open_dataset(path, engine="h5netcdf") as opened:
            dataset = opened.load()
    except Exception as error:  # readers raise many kinds at bytes that are none of their own
        if isinstance(error, PermissionError):
            raise
        raise checks.refusal(
            "results file",
            "NetCDF-4 written by 'jaxcollapse run'",
            f"{path} ({error})",
            "run again",
        ) from None
    if dataset.attrs.get("format") not in (FORMAT, MIXTURE_FORMAT):
        raise checks.refusal(
            "results file",
            f"one of format '{FORMAT}' or '{MIXTURE_FORMAT}'",
            str(path),
            "make it with 'jaxcollapse run' or 'jaxcollapse mix'",
        )
    missing = _missing(dataset)
    if missing:
        raise checks.refusal(
            "results file", "a whole result", f"{path} with {missing}", "run again"
        )
    return dataset


# What every result says of itself; the last two as JSON.
ATTRIBUTES = {"title": str, "task": str, "preset": str, "options": dict, "configuration": dict}


def _missing(dataset: xarray.Dataset) -> str:
    """What a result lacks of what every one has, in words; "" if nothing."""
    told: dict[str, Any] = {}
    for name, kind in ATTRIBUTES.items():
        value = dataset.attrs.get(name)
        with contextlib.suppress(TypeError, ValueError):
            value = json_of(str(value)) if kind is dict else value
        if not isinstance(value, kind):
            return f"no attribute '{name}'"
        told[name] = value
    axes = told["configuration"].get("axes")
    if not isinstance(axes, dict):
        return "no axes in its configuration"
    is_chains = dataset.attrs["format"] == FORMAT
    dims = ("workflow", "seed", "generation") if is_chains else ("real", "synthetic", "seed")
    for name in (*dims, *axes):
        if not dataset.sizes.get(name) or name not in dataset.indexes:
            return f"no coordinate '{name}'"
    for variable, array in dataset.data_vars.items():
        if array.dtype.kind not in "biuf":
            return f"no numbers in '{variable}'"
        labels = [array.attrs.get(label) for label in ("long_name", "units")]
        if dims[-1] in array.dims and not all(isinstance(label, str) for label in labels):
            return f"no labels of '{variable}'"
    return ""


def is_mixture(dataset: xarray.Dataset) -> bool:
    """Whether a result is one of mixtures of real and synthetic data."""
    return {"real", "synthetic"} <= set(dataset.dims)


def options_of(dataset: xarray.Dataset) -> dict[str, Any]:
    """The task's options that a result was made with."""
    return json.loads(dataset.attrs["options"])


def metrics_of(dataset: xarray.Dataset) -> list[str]:
    """The names of a result's metrics: its variables that have a number for each generation."""
    found = dataset.data_vars.items()
    return [str(name) for name, array in found if array.dims and array.dims[-1] == "generation"]


def axes_of(dataset: xarray.Dataset) -> list[str]:
    """The names of a result's grid axes, in the order of its dimensions."""
    return list(json.loads(dataset.attrs["configuration"])["axes"])
