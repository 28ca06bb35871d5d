"""Labelled results: made, kept cell by cell while a sweep runs, written whole, read again."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcollapse import checks, draws, machine
from jaxcollapse.chain import SHARE_OF_REAL_DATA

if TYPE_CHECKING:
    import xarray

    from jaxcollapse.sweeps.chains import Plan
    from jaxcollapse.workflows import Workflow

FORMAT = "jaxcollapse sweep 1"
MIXING_FORMAT = "jaxcollapse mixing 1"
# Numbers of an option that are written out in a file's attributes, which hold 64 KiB.
LARGEST_ARRAY = 1000
RUN_SECONDS = "run_seconds"


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


def number_of(number: int, noun: str) -> str:
    """A number of things, in words: ``1 seed``, ``2 seeds``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def dataset(
    plan: Plan,
    values: list[dict[str, np.ndarray]],
    compile_seconds: float,
    run_seconds: float,
    programs: int,
) -> xarray.Dataset:
    """The result of a plan from its cells, in order: metrics ``[S, G]`` and ``run_seconds``."""
    xarray = checks.require("xarray", "sweep")
    coords: dict[str, Any] = {
        "workflow": [workflow.name for workflow in plan.workflows],
        **{name: coordinate(values) for name, values in plan.axes.items()},
        "seed": plan.seeds.astype(np.int64),
        "generation": np.arange(1, plan.generations + 1),
    }
    shape = tuple(len(values) for values in coords.values())
    variables = {}
    finite = np.ones(shape, bool)
    for name in plan.metrics:
        metric = plan.family.labels[name]
        array = np.stack([cell[name] for cell in values]).reshape(shape)
        labels = {"long_name": metric.long_name, "units": metric.units, "scale": metric.scale}
        variables[name] = (tuple(coords), array, labels)
        finite &= ~np.isnan(array) if metric.infinite else np.isfinite(array)
    first = np.where(finite.all(axis=-1), 0, 1 + np.argmin(finite, axis=-1))
    variables["first_nonfinite_generation"] = (
        tuple(coords)[:-1],
        first.astype(np.int32),
        {"long_name": "First generation with a metric that is not finite; 0 where there is none"},
    )
    variables[RUN_SECONDS] = (
        tuple(coords)[:-2],
        np.stack([cell[RUN_SECONDS] for cell in values]).reshape(shape[:-2]),
        {"long_name": "Time that the cell ran, compiling apart", "units": "s"},
    )
    computed = {name: variables[name][1] for name in plan.metrics}
    for name, summary in plan.family.summaries(computed).items():
        variables[name] = (tuple(coords)[:-1], summary.values, {"long_name": summary.long_name})
    attrs = attributes(
        plan,
        f"{plan.family.name}: {number_of(plan.seeds.size, 'seed')}, "
        f"{number_of(plan.generations, 'generation')}",
        [(cell.workflow, cell.point) for cell in plan.cells],
        compile_seconds=compile_seconds,
        run_seconds=run_seconds,
        programs=programs,
    )
    return xarray.Dataset(variables, coords, attrs)


def attributes(
    plan: Any,
    title: str,
    cells: Sequence[tuple[Workflow, Mapping[str, Any]]],
    compile_seconds: float,
    run_seconds: float,
    programs: int,
) -> dict[str, Any]:
    """What a file says of a result: what was asked for, where it was made, what it took."""
    config, family, options = plan.configuration, plan.family, plan.options
    approximations = {family.approximations(workflow, p, options) for workflow, p in cells} - {""}
    attrs: dict[str, Any] = {
        "title": title,
        "format": FORMAT,
        "task": family.name,
        "preset": plan.preset,
        "options": json.dumps(config["options"]),
        "configuration": json.dumps(config),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "compile_seconds": round(compile_seconds, 3),
        "run_seconds": round(run_seconds, 3),
        "programs": programs,
        "approximations": "; ".join(sorted(approximations)) or "none",
        "peak_memory_bytes": machine.peak_memory(),
        **machine.describe(),
    }
    if family.details is not None:
        points = {tuple(point.items()): point for _, point in cells}.values()
        attrs["details"] = json.dumps([family.details(point, options) for point in points])
    return attrs


def coordinate(values: list[Any]) -> list[Any]:
    """Values of an axis as a file holds them: all text if one is."""
    return [str(value) for value in values] if any(isinstance(v, str) for v in values) else values


class CellStore:
    """Finished cells of a sweep in a folder, so that an interrupted run goes on where it was.

    The folder's name in the file system is the caller's; it holds one file a cell and the
    configuration they belong to. Without a folder nothing is kept.
    """

    def __init__(self, folder: Path | None, plan: Any):
        self.folder = folder
        if folder is None:
            return
        # Cells of another precision or of other code are not mixed with these.
        code = [str(draws.float_dtype()), machine.versions(), machine.commit()]
        config = json.dumps([plan.configuration, code], sort_keys=True)
        self.digest = hashlib.sha256(config.encode()).hexdigest()[:16]
        folder.mkdir(exist_ok=True)

    def _path(self, index: int) -> Path:
        assert self.folder is not None
        return self.folder / f"{self.digest}-{index}.npz"

    def has(self, index: int) -> bool:
        """Whether a cell is finished."""
        return self.folder is not None and self._path(index).exists()

    def finished(self, cells: int) -> int:
        """How many of so many cells are finished."""
        return sum(self.has(index) for index in range(cells))

    def load(self, index: int) -> dict[str, np.ndarray]:
        """What ``save`` was given of a finished cell."""
        with np.load(self._path(index)) as arrays:
            return dict(arrays)

    def save(self, index: int, arrays: dict[str, np.ndarray]) -> None:
        """Keeps the metrics ``[S, G]`` of a cell and its ``run_seconds``."""
        if self.folder is not None:
            with whole_file(self._path(index)) as temporary, temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)

    def remove(self) -> None:
        """Removes this sweep's cells, and the folder if nothing else is in it."""
        if self.folder is None:
            return
        for path in self.folder.glob(f"{self.digest}-*.npz"):
            path.unlink()
        with contextlib.suppress(OSError):
            self.folder.rmdir()


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path that takes the name ``path`` once the block has ended without an error."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_output(path: Path, suffixes: tuple[str, ...], overwrite: bool) -> None:
    """Refuses a path that cannot or must not be written, before work is done for it.

    Raises:
      ValueError: the ending is none of ``suffixes``, the folder does not exist or cannot be
        written, or the file exists and ``overwrite`` is False.
    """
    if path.suffix not in suffixes:
        raise checks.refusal(
            "output file", f"an ending of {' or '.join(suffixes)}", path.name, "rename it"
        )
    if not path.parent.is_dir():
        raise checks.refusal(
            "output folder", "one that exists", str(path.parent), f"mkdir -p {path.parent}"
        )
    if not os.access(path.parent, os.W_OK):
        raise checks.refusal(
            "output folder", "one that can be written", str(path.parent), "choose another"
        )
    if path.is_dir() or (path.exists() and not overwrite):
        raise checks.refusal(
            "output file",
            "a new name",
            f"{path}, which exists",
            "choose another name or pass --overwrite",
        )


def save(dataset: xarray.Dataset, path: Path | str, overwrite: bool = False) -> None:
    """Writes a result as NetCDF-4, whole or not at all.

    Raises:
      ValueError: see ``check_output``.
      ImportError: the extra ``sweep`` is not installed.
    """
    path = Path(path)
    check_output(path, (".nc",), overwrite)
    checks.require("h5netcdf", "sweep")
    with whole_file(path) as temporary:
        dataset.to_netcdf(temporary, engine="h5netcdf")


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
    except (OSError, ValueError, KeyError) as error:
        raise checks.refusal(
            "results file",
            "NetCDF-4 written by 'jaxcollapse run'",
            f"{path} ({error})",
            "run again",
        ) from None
    if dataset.attrs.get("format") not in (FORMAT, MIXING_FORMAT):
        raise checks.refusal(
            "results file",
            f"one of format '{FORMAT}' or '{MIXING_FORMAT}'",
            str(path),
            "make it with 'jaxcollapse run' or 'jaxcollapse mix'",
        )
    return dataset


def is_mixing(dataset: xarray.Dataset) -> bool:
    """Whether a result is one of mixtures of real and synthetic data."""
    return {"real", "synthetic"} <= set(dataset.dims)


def options_of(dataset: xarray.Dataset) -> dict[str, Any]:
    """The task's options that a result was made with."""
    return json.loads(dataset.attrs["options"])


def metrics_of(dataset: xarray.Dataset) -> list[str]:
    """The names of a result's metrics: its variables that have a value for each generation."""
    return [str(name) for name, array in dataset.data_vars.items() if "generation" in array.dims]


def axes_of(dataset: xarray.Dataset) -> list[str]:
    """The names of a result's grid axes: its dimensions but workflow, seed and generation."""
    first = next(iter(dataset.data_vars.values()))
    return [str(d) for d in first.dims if d not in ("workflow", "seed", "generation")]


def theory(line: xarray.Dataset, metric: str) -> np.ndarray | None:
    """The closed form of a metric's mean for one workflow at one point of the grid, or None.

    Args:
      line: a result with scalar ``workflow`` and scalar grid axes.
      metric: the metric's name.
    """
    from jaxcollapse.registry import FAMILIES
    from jaxcollapse.theory import share_of_real_data

    if metric == SHARE_OF_REAL_DATA:
        return share_of_real_data(line["workflow"].item(), line["generation"].values)
    options = options_of(line)
    if any(isinstance(value, dict) for value in options.values()):
        return None  # of a large array the file knows the digest only
    family = FAMILIES.get(line.attrs["task"])
    subsampled = any(size for size in json.loads(line.attrs["configuration"])["subsample_size"])
    workflow = line["workflow"].item()
    if (
        family is None
        or not set(family.axes) <= set(line.coords)
        or (subsampled and workflow == "accumulate-subsample")
    ):
        return None
    point = {axis: line[axis].item() for axis in family.axes}
    generation = line["generation"].values
    return family.theory(metric, workflow, generation, options, **point)
