"""Labelled results: made of a plan's cells, written whole, read again."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import inspect
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcollapse import checks, locks, machine
from jaxcollapse.files import check_output, whole_file
from jaxcollapse.inputs import json_of
from jaxcollapse.registry import is_own
from jaxcollapse.sweeps import netcdf
from jaxcollapse.sweeps.netcdf import Declared, Part
from jaxcollapse.sweeps.plan import Plan

if TYPE_CHECKING:
    import xarray

    from jaxcollapse.metrics import Metric

FORMAT = "jaxcollapse sweep 1"
MIXTURE_FORMAT = "jaxcollapse mixing 1"
RUN_SECONDS = "run_seconds"


def dataset(
    plan: Plan,
    values: Iterable[Mapping[str, np.ndarray]],
    compile_seconds: float,
    run_seconds: float,
    programs: int,
    device: str | None = None,
) -> xarray.Dataset:
    """The result of a plan from its cells, in order: metrics ``[S, ...]`` and ``run_seconds``."""
    bare = _bare(plan, compile_seconds, run_seconds, programs, device)
    shape = tuple(bare.sizes[name] for name in plan.along)
    cells = [plan.variables(cell) for cell in values]
    found: dict[str, Any] = {}
    for name, (dims, array, told) in cells[0].items():
        stacked = np.stack([cell[name].values for cell in cells])
        found[name] = ((*plan.along, *dims), stacked.reshape((*shape, *array.shape)), told)
    return bare.assign(found | plan.constants)


def save_cells(
    path: Path,
    plan: Plan,
    values: Iterable[Mapping[str, np.ndarray]],
    compile_seconds: float,
    run_seconds: float,
    programs: int,
    device: str | None = None,
    overwrite: bool = False,
    whole: Callable[[Path], None] = lambda temporary: None,
) -> None:
    """Writes ``dataset(plan, values, ...)``, of whose cells one is in memory at a time.

    Args:
      path: of the file.
      plan: whose result it is.
      values: as for ``dataset``.
      compile_seconds: likewise.
      run_seconds: likewise.
      programs: likewise.
      device: likewise.
      overwrite: whether an existing file is replaced.
      whole: called with the file once it is whole, before it has its name.

    Raises:
      ValueError: see ``check_output``; or cells differ in a metric's type.
    """
    check_output(path, (".nc",), overwrite)
    bare = _bare(plan, compile_seconds, run_seconds, programs, device)
    shape = tuple(bare.sizes[name] for name in plan.along)
    cells = (plan.variables(cell) for cell in values)
    first = next(cells)
    declared = {
        name: Declared((*plan.along, *dims), (*shape, *array.shape), len(shape), array.dtype, told)
        for name, (dims, array, told) in first.items()
    }
    constants = [Part(name, (), values) for name, (_, values, _) in plan.constants.items()]
    for name, (dims, array, told) in plan.constants.items():
        declared[name] = Declared(dims, array.shape, 0, array.dtype, told)
    parts = (
        Part(name, place, variable.values)
        for place, cell in zip(np.ndindex(shape), itertools.chain([first], cells), strict=True)
        for name, variable in cell.items()
    )
    with _writing(path, overwrite) as temporary:
        netcdf.write(temporary, bare, declared, itertools.chain(constants, parts))
        whole(temporary)


def _bare(
    plan: Plan, compile_seconds: float, run_seconds: float, programs: int, device: str | None
) -> xarray.Dataset:
    """A result without its cells; of a device that is not this one, if it is told."""
    xarray = checks.require("xarray", "sweep")
    attrs = attributes(plan, compile_seconds, run_seconds, programs)
    told = {} if device is None else {"device": device}
    return xarray.Dataset({}, plan.coordinates, attrs | told)


def axis_coordinates(plan: Plan) -> dict[str, Any]:
    """Coordinates of a plan's axes, with their symbols."""
    parameters = plan.family.parameters
    return {
        name: (name, coordinate(values), {"symbol": parameters[name].symbol})
        for name, values in plan.axes.items()
    }


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
    if plan.command:
        attrs["command"] = plan.command
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


def save(
    dataset: xarray.Dataset,
    path: Path | str,
    overwrite: bool = False,
    whole: Callable[[Path], None] = lambda temporary: None,
) -> None:
    """Writes a result as NetCDF-4, whole or not at all.

    Args:
      dataset: the result.
      path: of the file.
      overwrite: whether an existing file is replaced.
      whole: called with the file once it is whole, before it has its name.

    Raises:
      ValueError: see ``check_output``; or another process writes it.
      ImportError: the extra ``sweep`` is not installed.
    """
    path = Path(path)
    check_output(path, (".nc",), overwrite)
    with _writing(path, overwrite) as temporary:
        netcdf.write(temporary, *in_parts(dataset))
        whole(temporary)


def in_parts(
    dataset: xarray.Dataset,
) -> tuple[xarray.Dataset, dict[str, Declared], Iterator[Part]]:
    """A result as ``netcdf.write`` takes it: what is bare, what is declared, and its numbers."""
    axes = axes_of(dataset) if "configuration" in dataset.attrs else []
    declared, along = {}, ("workflow", *axes)
    for name, array in dataset.data_vars.items():
        if array.dtype.kind in "biuf":
            first = sum(dim in along for dim in array.dims)
            dims = tuple(map(str, array.dims))
            declared[str(name)] = Declared(dims, array.shape, first, array.dtype, array.attrs)
    parts = (
        Part(name, place, dataset[name][place].values)
        for name, variable in declared.items()
        for place in np.ndindex(variable.shape[: variable.along])
    )
    return dataset.drop_vars(list(declared)), declared, parts


@contextlib.contextmanager
def _writing(path: Path, overwrite: bool) -> Iterator[Path]:
    """A temporary path for a result that nobody else writes meanwhile."""
    checks.require("h5netcdf", "sweep")
    with locks.writing(path):
        check_output(path, (".nc",), overwrite)  # which another may have written meanwhile
        with whole_file(path) as temporary:
            yield temporary


def load(path: Path | str) -> xarray.Dataset:
    """Reads a result into memory: of a sweep, or of mixtures of real and synthetic data.

    Raises:
      ValueError: there is no such file, or it is no such result.
      ImportError: the extra ``sweep`` is not installed.
    """
    with lazily(path) as dataset:
        try:
            return dataset.load()
        except Exception as error:  # likewise
            raise _unreadable(path, error) from None


def lazily(path: Path | str) -> xarray.Dataset:
    """A result whose numbers are read from its file when they are asked for; see ``load``.

    The file is open until the result is closed, as at the end of ``with lazily(path) as dataset``,
    or is used no more.
    """
    path = Path(path)
    xarray = checks.require("xarray", "sweep")
    checks.require("h5netcdf", "sweep")
    if not path.is_file():
        remedy = "give a file in it, such as results.nc" if path.is_dir() else "check the path"
        raise checks.refusal("results file", "a file that exists", str(path), remedy)
    try:
        dataset = xarray.open_dataset(path, engine="h5netcdf", cache=False)
    except Exception as error:  # readers raise many kinds at bytes that are none of their own
        raise _unreadable(path, error) from None
    if dataset.attrs.get("format") not in (FORMAT, MIXTURE_FORMAT):
        dataset.close()
        raise checks.refusal(
            "results file",
            f"one of format '{FORMAT}' or '{MIXTURE_FORMAT}'",
            str(path),
            "make it with 'jaxcollapse run' or 'jaxcollapse mix'",
        )
    missing = _missing(dataset)
    if missing:
        dataset.close()
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
    whole = ("workflow", *axes, "seed", "generation")
    for variable, array in dataset.data_vars.items():
        if array.dtype.kind not in "biuf":
            return f"no numbers in '{variable}'"
        labels = [array.attrs.get(label) for label in ("long_name", "units")]
        if dims[-1] in array.dims and not all(isinstance(label, str) for label in labels):
            return f"no labels of '{variable}'"
        if is_chains and "generation" in array.dims and array.dims[: len(whole)] != whole:
            return f"'{variable}' along {', '.join(map(str, array.dims))} alone"
    return ""


def _unreadable(path: Path | str, error: Exception) -> Exception:
    if isinstance(error, PermissionError):
        return error
    return checks.refusal(
        "results file", "NetCDF-4 written by 'jaxcollapse run'", f"{path} ({error})", "run again"
    )


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


def cells_of(dataset: xarray.Dataset, drop: bool = True) -> Iterator[xarray.Dataset]:
    """The parts of a result at each workflow and point of its axes, in order.

    Args:
      dataset: of a sweep or of mixtures; it may be in its file.
      drop: whether their dimensions of one value are dropped.
    """
    axes = [name for name in ("workflow", *axes_of(dataset)) if name in dataset.dims]
    for place in itertools.product(*(range(dataset.sizes[name]) for name in axes)):
        at = dict(zip(axes, place, strict=True))
        yield dataset.isel(at if drop else {name: [index] for name, index in at.items()})
