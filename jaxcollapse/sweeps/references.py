"""Reference results of published figures, and whether a result has the law of another.

Of each metric, cell and generation a reference keeps order statistics over M seeds: of quantile q
the ``ceil(q M)``-th smallest value. If K is the number of seeds, of another N, whose value is not
above the k-th smallest of M, then K is beta-binomial with parameters ``(N, k, M + 1 - k)`` whenever
both are of one continuous law, whatever that is. So each order statistic is a test of the law that
is exact, needs no mean and holds for heavy tails.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxcollapse import checks
from jaxcollapse.metrics import SHARE_OF_REAL_DATA
from jaxcollapse.sweeps import results

if TYPE_CHECKING:
    import xarray

FORMAT = "jaxcollapse reference 1"
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FIVE_ERRORS = 5.733e-7  # chance of a normal number beyond five standard errors, on either side
FOLDER = Path(__file__).parents[1] / "reference_results"


class Compared(NamedTuple):
    """How a metric of one result compares with that of another under a workflow.

    Attributes:
      metric: its name.
      workflow: its name.
      tests: how many order statistics were compared: cells x generations x quantiles.
      left_out: how many are NaN in one of both.
      differ: how many have a chance below that of five standard errors.
      least_chance: the smallest chance of one, two-sided.
      where: its cell, generation and quantile, in words.
      median: there, of the seeds compared.
      expected: there, the median of the others.
    """

    metric: str
    workflow: str
    tests: int
    left_out: int
    differ: int
    least_chance: float
    where: str
    median: float
    expected: float


def names() -> list[str]:
    """Of the reference results that there are."""
    return sorted(file.stem for file in FOLDER.glob("*.nc"))


def reference(name: str) -> xarray.Dataset:
    """A reference result: metrics ``[workflow, *axes, generation, quantile]``.

    Args:
      name: such as ``figure1``; ``jaxcollapse list references`` names all.

    Raises:
      ValueError: there is none of this name.
    """
    xarray = checks.require("xarray", "sweep")
    checks.require("h5netcdf", "sweep")
    checks.one_of("reference result", name, names())
    return xarray.load_dataset(FOLDER / f"{name}.nc", engine="h5netcdf")


def summary(
    dataset: xarray.Dataset,
    generations: Sequence[int] = (),
    quantiles: Sequence[float] = QUANTILES,
) -> xarray.Dataset:
    """Order statistics over the seeds of a result, as a reference keeps them.

    Args:
      dataset: of a sweep, with a dimension ``seed``.
      generations: those to keep, of the result's; all by default.
      quantiles: between 0 and 1.
    """
    metrics = _metrics_of(dataset)
    if generations:
        known = set(dataset["generation"].values.tolist())
        dataset = dataset.sel(generation=[g for g in generations if g in known])
    ranks = [_rank(q, dataset.sizes["seed"]) - 1 for q in quantiles]

    def ordered(array):
        kept = array.transpose(..., "seed").astype(np.float32)
        values = np.sort(kept.values, axis=-1)
        values[np.isnan(values[..., -1])] = np.nan  # one of them is NaN, which sorts last
        return kept.isel(seed=ranks).rename(seed="quantile").copy(data=values[..., ranks])

    made = dataset[metrics].map(ordered, keep_attrs=True)
    made = made.drop_vars("seed", errors="ignore").assign_coords(quantile=list(quantiles))
    told = {k: v for k, v in dataset.attrs.items() if k != "format"}
    return made.assign_attrs(told | {"format": FORMAT, "seeds": dataset.sizes["seed"]})


def _rank(quantile: float, seeds: int) -> int:
    return max(1, math.ceil(quantile * seeds))


def _metrics_of(dataset: xarray.Dataset) -> list[str]:
    """Variables with a number of each seed and generation, and no further dimension but axes."""
    known = {"workflow", "seed", "generation", *_axes_of(dataset)}
    return [
        str(name)
        for name, array in dataset.data_vars.items()
        if {"seed", "generation"} <= set(array.dims) <= known and name != SHARE_OF_REAL_DATA
    ]


def _axes_of(dataset: xarray.Dataset) -> list[str]:
    """Dimensions of the grid, also of a dataset that another program made."""
    known = ("workflow", "seed", "generation", "quantile")
    return [str(name) for name in dataset.dims if name not in known]


def compare(mine: xarray.Dataset, other: xarray.Dataset | str) -> list[Compared]:
    """Whether two results have one law, where both have a number: a row a metric and workflow.

    ``mine`` may come from any program: variables with the dimensions ``workflow``, axes, ``seed``
    and ``generation``, and coordinates named as those of ``other``.

    Args:
      mine: with a dimension ``seed``.
      other: a reference or its name, or a result with a dimension ``seed``.

    Raises:
      ValueError: they share no metric, cell or generation.
    """
    if isinstance(other, str):
        other = reference(other)
    if "seed" not in mine.dims:
        raise checks.refusal(
            "the first of two results", "one with a dimension 'seed'", list(mine.dims), "swap them"
        )
    seeds = int(other.attrs["seeds"]) if "quantile" in other.dims else other.sizes["seed"]
    known = other if "quantile" in other.dims else summary(other)
    shared = [name for name in _metrics_of(mine) if name in known.data_vars]
    if not shared:
        expected = "one of " + ", ".join(map(str, known.data_vars))
        raise checks.refusal("metrics", expected, ", ".join(_metrics_of(mine)) or "none", "add it")
    mine, known = _aligned(mine[shared], known[shared])
    ranks = [_rank(q, seeds) for q in known["quantile"].values.tolist()]
    return [
        _compared(name, workflow, mine, known, ranks, seeds)
        for name in shared
        for workflow in mine["workflow"].values.tolist()
    ]


def _aligned(mine: Any, other: Any) -> tuple[Any, Any]:
    """Both at the cells and generations that they share, axes of one value dropped nowhere."""
    along = ["workflow", *_axes_of(other), "generation"]
    for name in along:
        if name not in mine.dims:
            raise checks.refusal("dimensions of a result", f"'{name}'", list(mine.dims), "add it")
        here, there = ([_label(v) for v in each[name].values.tolist()] for each in (mine, other))
        both = [value for value in here if value in there]
        if not both:
            expected = f"some of {', '.join(there)}"
            raise checks.refusal(f"'{name}' of a result", expected, ", ".join(here), "add some")
        mine = mine.isel({name: [here.index(value) for value in both]})
        other = other.isel({name: [there.index(value) for value in both]})
        mine, other = (each.assign_coords({name: both}) for each in (mine, other))
    return mine.transpose(*along, "seed"), other.transpose(*along, "quantile")


def _label(value: Any) -> str:
    """As numbers and texts are written: 0.1 of a grid of numbers is "0.1" of one of both."""
    try:
        return f"{float(value):.6g}"
    except (TypeError, ValueError):
        return str(value)


def _compared(
    metric: str, workflow: str, mine: Any, other: Any, ranks: list[int], seeds: int
) -> Compared:
    from scipy import stats

    of_mine = mine[metric].sel(workflow=workflow)
    values = of_mine.values.astype(np.float32)
    bounds = other[metric].sel(workflow=workflow).values.astype(np.float32)
    count = values.shape[-1]
    # Of values that tie with a bound as many are below it as suits it best.
    below = np.sum(values[..., None] < bounds[..., None, :], axis=-2)
    at_most = np.sum(values[..., None] <= bounds[..., None, :], axis=-2)
    chance = np.empty(bounds.shape)
    for place, rank in enumerate(ranks):
        law = stats.betabinom(count, rank, seeds + 1 - rank)
        few, many = law.cdf(at_most[..., place]), law.sf(below[..., place] - 1)
        chance[..., place] = np.minimum(1.0, 2 * np.minimum(few, many))
    unknown = np.isnan(bounds) | np.any(np.isnan(values), axis=-1)[..., None]
    chance[unknown] = np.inf
    worst = np.unravel_index(np.argmin(chance), chance.shape)
    middle = int(np.argmin(np.abs(other["quantile"].values - 0.5)))
    names = [str(name) for name in of_mine.dims[:-1]]
    at = [f"{n} {of_mine[n].values[i]}" for n, i in zip(names, worst[:-1], strict=True)]
    quantile = float(other["quantile"].values[worst[-1]])
    return Compared(
        metric,
        workflow,
        tests=int(np.sum(~unknown)),
        left_out=int(np.sum(unknown)),
        differ=int(np.sum(chance < FIVE_ERRORS)),
        least_chance=float(chance[worst]),
        where=", ".join([*at, f"quantile {quantile:g}"]),
        median=float(np.median(values[worst[:-1]])),
        expected=float(bounds[*worst[:-1], middle]),
    )


def differing_options(mine: xarray.Dataset, other: xarray.Dataset) -> dict[str, tuple[str, str]]:
    """Options of the task that two results were made with, where they differ."""
    first, second = (json.loads(each.attrs.get("options", "{}")) for each in (mine, other))
    if not first or not second:
        return {}
    names = sorted({*first, *second})
    differing = [name for name in names if first.get(name) != second.get(name)]
    return {name: (_label(first.get(name)), _label(second.get(name))) for name in differing}


def seeds_of(other: xarray.Dataset) -> set[int]:
    """The seeds of a result, or those that a reference is of."""
    if "seed" in other.dims:
        return set(other["seed"].values.tolist())
    return set(json.loads(other.attrs.get("configuration", "{}")).get("seeds", ()))


def opened(given: str) -> xarray.Dataset:
    """A result by its file, or a reference by its name."""
    return reference(given) if given in names() else results.lazily(Path(given))
