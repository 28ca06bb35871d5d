"""What a page that explores results holds of them: numbers of every line, packed, with names."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcollapse import checks
from jaxcollapse.show import against, figures
from jaxcollapse.sweeps import results
from jaxcollapse.sweeps.closed_forms import closed_form, closed_form_of_mixtures

if TYPE_CHECKING:
    import xarray

# What is kept of the seeds, in order: the mean between the ends of its interval, and quantiles.
STATISTICS = ("mean", "low", "high", "q05", "q25", "median", "q75", "q95")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
WORDS = {
    "generation": "Generation",
    "workflow": "Workflow",
    "real": "Real count",
    "synthetic": "Synthetic count",
}
MOST_NUMBERS = 4_000_000  # in a page, of four bytes each
FEWEST_GENERATIONS = 50  # are left where there are too many


def described(
    dataset: xarray.Dataset, name: str, metrics: Sequence[str], seeds: int, room: int = MOST_NUMBERS
) -> dict[str, Any]:
    """A result as the page's script reads it.

    Arrays are little-endian float32 in base64, ``[statistic, *dims]`` for what ``STATISTICS``
    names, ``[*dims]`` for the mean known in closed form, ``[seed, *dims]`` for single seeds. Where
    they would be more than ``room`` there are fewer single seeds, then fewer generations, and
    ``notes`` say so.

    Args:
      dataset: of a sweep or of mixtures; it may be in its file.
      name: what the page calls it.
      metrics: those to hold; all where there are none.
      seeds: how many single seeds are held, the first ones.
      room: how many numbers there may be.

    Raises:
      ValueError: an unknown metric; or there is no room for any seeds and the fewest generations.
    """
    along = "synthetic" if results.is_mixture(dataset) else "generation"
    dims = _dims(dataset)
    known = [
        str(metric)
        for metric, array in dataset.data_vars.items()
        if set(array.dims) == {*dims, "seed"} and "long_name" in array.attrs
    ]
    for metric in metrics:
        checks.one_of("metric", metric, known)
    shown = list(metrics or known)
    dataset, seeds, notes = _within(dataset, dims, len(shown), seeds, room)
    arrays = _arrays(dataset, dims, along, shown, seeds)
    return {
        "name": name,
        "title": dataset.attrs["title"],
        "notes": [*notes, *_nonfinite(dataset)],
        "along": along,
        "against": (against.natural(dataset) if along == "generation" else None) or along,
        "dims": [_dim(dataset, dim) for dim in dims],
        "fields": _fields(dataset),
        "seeds": [int(seed) for seed in dataset["seed"].values[:seeds]],
        "count": int(dataset.sizes["seed"]),
        "metrics": [_labels(dataset, metric) | arrays[metric] for metric in shown],
    }


def _labels(dataset: xarray.Dataset, metric: str) -> dict[str, Any]:
    attrs = dataset[metric].attrs
    units = "" if attrs["units"] == "1" else attrs["units"]
    named = {"name": metric, "label": attrs["long_name"], "units": units}
    return named | {"log": attrs.get("scale") == "log"}


def _dims(dataset: xarray.Dataset) -> list[str]:
    """The dimensions of a metric but for seeds, in order."""
    axes = results.axes_of(dataset)
    if not results.is_mixture(dataset):
        return ["workflow", *axes, "generation"]
    return [*(name for name in axes if name not in ("real", "synthetic")), "real", "synthetic"]


def _within(
    dataset: xarray.Dataset, dims: Sequence[str], metrics: int, seeds: int, room: int
) -> tuple[xarray.Dataset, int, list[str]]:
    """A result with no more generations than there is room for, how many seeds are held, notes."""
    notes = []
    there = dataset.sizes["seed"]
    each = len(STATISTICS) + 1  # and the closed form
    points = metrics * int(np.prod([dataset.sizes[dim] for dim in dims], dtype=np.int64))
    if points * each > room:
        generations = dataset.sizes.get("generation", 1)
        kept = int(room * generations // (points * each))
        if kept < min(generations, FEWEST_GENERATIONS):
            raise checks.refusal(
                "what a page holds",
                f"at most {room:,} numbers",
                f"{points * each:,} for {metrics} metrics",
                "take some with --metric or --select",
            )
        # Evenly on a logarithmic axis, with the first and the last.
        chosen = np.unique(np.geomspace(1, generations, kept).round().astype(int)) - 1
        dataset = dataset.isel(generation=chosen)
        notes.append(
            f"{chosen.size} of {generations} generations are held, evenly on a logarithmic axis"
        )
        points = points // generations * chosen.size
    held = max(0, min(seeds, there, (room - points * each) // points))
    if held < there:
        short = " (there is no room for more)" if held < min(seeds, there) else ""
        notes.append(f"of {there} seeds, single ones are held of the first {held}{short}")
    return dataset, int(held), notes


def _nonfinite(dataset: xarray.Dataset) -> list[str]:
    if "first_nonfinite_generation" not in dataset:
        return []
    bad = int((dataset["first_nonfinite_generation"] > 0).sum())
    return [f"{bad} chains turned non-finite; from then on they are left out"] if bad else []


def _dim(dataset: xarray.Dataset, name: str) -> dict[str, Any]:
    values = dataset[name].values
    numeric = values.dtype.kind in "iuf"
    symbol, spelled = figures.label(dataset, name), name.replace("_", " ")
    return {
        "name": name,
        "label": WORDS[name].lower() if name in WORDS else symbol,
        "words": WORDS.get(name) or (spelled if symbol == spelled else f"{spelled}, {symbol}"),
        "values": values.tolist() if numeric else [str(value) for value in values],
        "numeric": numeric,
    }


def _fields(dataset: xarray.Dataset) -> list[dict[str, Any]]:
    """Numbers of the workflows that lines may be drawn against, such as ``share``."""
    if "workflow" not in dataset.dims:
        return []
    names = [str(name) for name in dataset["workflow"].values]
    found = []
    for field, label in against.FIELDS.items():
        numbers = against.numbers_of(dataset, field) if field in dataset.coords else {}
        if len(set(numbers.values())) > 1:
            values = [numbers.get(name) for name in names]
            rest = [against.without(name, field) for name in names]
            found.append({"name": field, "label": label, "values": values, "rest": rest})
    return found


def _arrays(
    dataset: xarray.Dataset, dims: Sequence[str], along: str, metrics: Sequence[str], seeds: int
) -> dict[str, dict[str, str | None]]:
    """The packed arrays of every metric."""
    shape = tuple(dataset.sizes[dim] for dim in dims)
    held = {
        metric: {
            "statistics": np.empty((len(STATISTICS), *shape), "<f4"),
            "theory": np.full(shape, np.nan, "<f4"),
            "seeds": np.empty((seeds, *shape), "<f4"),
        }
        for metric in metrics
    }
    for place, cell in _lines(dataset, dims, along):
        cell = cell[list(metrics)].load()
        for metric in metrics:
            into = held[metric]
            # Values that are too large for the page are infinite there, as those of the result are.
            with np.errstate(over="ignore", invalid="ignore"):
                into["statistics"][(slice(None), *place)] = _statistics(cell, metric)
                into["theory"][place] = _theory(dataset, cell, metric, along)
                values = cell[metric].transpose("seed", along).values[:seeds]
                into["seeds"][(slice(None), *place)] = values
    return {metric: {name: _packed(a) for name, a in held[metric].items()} for metric in metrics}


def _lines(
    dataset: xarray.Dataset, dims: Sequence[str], along: str
) -> Iterator[tuple[tuple[Any, ...], xarray.Dataset]]:
    """Each part of a result in which only seeds and one dimension vary, and its place."""
    others = [dim for dim in dims if dim != along]
    for index in itertools.product(*(range(dataset.sizes[dim]) for dim in others)):
        at = dict(zip(others, index, strict=True))
        yield tuple(at.get(dim, slice(None)) for dim in dims), dataset.isel(at)


def _statistics(cell: xarray.Dataset, metric: str) -> np.ndarray:
    """What is kept of the seeds ``[statistic, along]``, as ``plot`` has it."""
    values = cell[metric].transpose("seed", ...).values.astype(np.float64)
    # The same, but a hundred times slower, where there are values to leave out.
    quantile = np.nanquantile if np.isnan(values).any() else np.quantile
    quantiles = quantile(values, QUANTILES, axis=0)
    low, mean, high = (np.asarray(part) for part in figures.mean_with_interval(cell, metric))
    return np.concatenate([[mean, low, high], quantiles])


def _theory(dataset: xarray.Dataset, cell: xarray.Dataset, metric: str, along: str) -> Any:
    """The closed form of the mean along a line, NaN where none is known."""
    if along == "generation":
        known = closed_form(cell, metric)
        return np.nan if known is None else known
    line = dataset.sel({name: cell[name].item() for name in _dims(dataset)[:-2]})
    law = closed_form_of_mixtures(line, metric)
    if law is None:
        return np.nan
    return law[list(dataset["real"].values).index(cell["real"].item())]


def _packed(array: np.ndarray) -> str | None:
    """An array in base64; None where it says nothing."""
    if not array.size or np.isnan(array).all():
        return None
    return base64.b64encode(array.tobytes()).decode("ascii")
