"""A result in words: what it is, where it came from, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcollapse import checks
from jaxcollapse.metrics import SHARE_OF_REAL_DATA
from jaxcollapse.sweeps import results
from jaxcollapse.sweeps.closed_forms import closed_form
from jaxcollapse.sweeps.plan import number_of

if TYPE_CHECKING:
    import xarray

TABLE_WIDTH = 110  # narrower, tables would cut the names of what they are about
PROVENANCE = (
    "command",
    "created",
    "device",
    "compile_seconds",
    "run_seconds",
    "programs",
    "approximations",
    "settings",
    "peak_memory_bytes",
    "jaxcollapse_version",
    "jax_version",
    "jaxlib_version",
    "numpy_version",
    "python_version",
    "platform",
    "commit",
    "source_tree",
)


def plain_table(title: str) -> Any:
    """A table without columns yet, in the one style of all."""
    return checks.require("rich.table", "sweep").Table(
        title=title,
        title_justify="left",
        box=checks.require("rich.box", "sweep").SIMPLE,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )


def show(dataset: xarray.Dataset, name: str) -> None:
    """Prints what a result is, its provenance and its summary table."""
    console = show_origin(dataset, name)
    for metric in results.metrics_of(dataset):
        told = any(cell[metric].any() for cell in results.cells_of(dataset))
        if metric == SHARE_OF_REAL_DATA or not told:
            continue  # known without a table, or all 0
        console.print()
        console.print(summary(dataset, metric))


def show_origin(dataset: xarray.Dataset, name: str) -> Any:
    """Prints what a result is and its provenance; returns the console for what follows."""
    console = checks.require("rich.console", "sweep").Console(highlight=False, markup=False)
    console.width = max(console.width, TABLE_WIDTH)
    console.print(f"{name}: {dataset.attrs['title']}", soft_wrap=True)
    console.print(f"preset {dataset.attrs['preset']}, options {dataset.attrs['options']}")
    for dimension, size in dataset.sizes.items():
        values = [str(value) for value in dataset[dimension].values]
        shown = values if len(values) <= 12 else [values[0], "...", values[-1]]
        console.print(f"  {dimension} ({size}): {' '.join(shown)}", soft_wrap=True)
    if "first_nonfinite_generation" in dataset:
        bad = int((dataset["first_nonfinite_generation"] > 0).sum())
        console.print(f"  chains that turned non-finite: {bad}")
    for key in PROVENANCE:
        console.print(f"  {key}: {dataset.attrs.get(key, 'unknown')}", soft_wrap=True)
    rate = generations_per_second(dataset)
    if rate is not None:
        seconds = dataset[results.RUN_SECONDS].attrs.get("long_name", "as its cells tell")
        console.print(f"  chain-generations a second: {_rounded(rate)} ({seconds})", soft_wrap=True)
    return console


def generations_per_second(dataset: xarray.Dataset) -> float | None:
    """Chain-generations a second: S x G x cells over the seconds that the cells ran together.

    None for a result that does not tell how long its cells ran, or of mixtures, which have no
    generations.
    """
    if results.RUN_SECONDS not in dataset or "generation" not in dataset.dims:
        return None
    # Of cells, not the file's attribute: that is of the last run alone where one was interrupted.
    seconds = dataset[results.RUN_SECONDS].values.astype(np.float64)
    if not (np.isfinite(seconds).all() and seconds.sum() > 0):
        return None
    chains = seconds.size * dataset.sizes["seed"]
    return float(chains * int(dataset["generation"][-1]) / seconds.sum())


def _rounded(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def summary(dataset: xarray.Dataset, metric: str) -> Any:
    """A table of a metric in the last generation: mean, its standard error, closed form, median.

    The mean of a heavy-tailed metric over some hundred seeds can be far from its expectation, and
    its standard error with it; the median is not.
    """
    table = plain_table(
        f"{dataset[metric].attrs['long_name']}, generation "
        f"{int(dataset['generation'][-1])}, {number_of(dataset.sizes['seed'], 'seed')}"
    )
    axes = results.axes_of(dataset)
    for heading in ("workflow", *axes):
        table.add_column(heading.replace("_", " "), min_width=max(map(len, heading.split("_"))))
    for heading in ("mean", "s.e.", "theory", "median"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=6)
    for cell in results.cells_of(dataset):
        point = [cell[name].item() for name in ("workflow", *axes)]
        values = cell[metric].isel(generation=-1).values.astype(np.float64)
        theory = closed_form(cell, metric)
        infinite = bool(np.isinf(values).any())
        error = np.nan if infinite or values.size < 2 else values.std(ddof=1) / values.size**0.5
        known = "" if theory is None else f"{theory[-1]:.4g}"
        numbers = (f"{values.mean():.4g}", f"{error:.1g}", known, f"{np.median(values):.4g}")
        table.add_row(*map(str, point), *numbers)
    return table
