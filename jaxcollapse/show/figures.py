"""Figures of results: arrays in, figure out. Files are the caller's business."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxcollapse import checks
from jaxcollapse.show import style
from jaxcollapse.show.style import PAGE_WIDTH, STYLE
from jaxcollapse.sweeps import results
from jaxcollapse.sweeps.closed_forms import closed_form

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WORKFLOW = "workflow"  # may be what colours tell apart
FEW_GENERATIONS = 20  # are drawn on a linear axis, where each has its place
NARROWEST = 1.4  # inches of a panel; where they would be narrower they stand one below the other


def mean_with_interval(
    dataset: xarray.Dataset, metric: str
) -> tuple[xarray.DataArray, xarray.DataArray, xarray.DataArray]:
    """The mean over seeds between the ends of its 95% confidence interval: low, mean, high.

    For metrics on a logarithmic scale the interval is one for the logarithm of the mean, so that it
    stays positive: ``mean exp(+- 1.96 s / mean)`` with s the standard error.
    """
    values = dataset[metric].astype(np.float64)
    mean = values.mean("seed")
    # One seed has no spread: its interval is NaN, and is not drawn.
    with np.errstate(invalid="ignore"):  # an infinite mean has no interval
        spread = values.std("seed", ddof=1) if values.sizes["seed"] > 1 else mean * np.nan
    half = 1.96 * spread / np.sqrt(values.sizes["seed"])
    if not _is_log(dataset, metric) or (mean < 0).any():
        return mean - half, mean, mean + half
    factor = np.exp(half / mean.where(mean > 0, 1.0))
    return mean / factor, mean, mean * factor


def _is_log(dataset: xarray.Dataset, metric: str) -> bool:
    """Whether a metric is drawn on a logarithmic axis."""
    return dataset[metric].attrs.get("scale") == "log"


def grid(
    dataset: xarray.Dataset | Mapping[str, xarray.Dataset],
    metrics: Sequence[str] | None = None,
    hue: str | None = None,
    statistic: str = "mean",
    scale: str | None = None,
    width: float | None = None,
) -> Figure:
    """One panel for each workflow (column) and each metric at each point of the grid (row).

    Lines are the mean over seeds with its 95% confidence interval, or the median with the
    quartiles; dashes are the mean known in closed form.

    Args:
      dataset: a sweep's result; or several by name, one below the other, which share workflows and
        the values that colours tell apart.
      metrics: the metrics to show; by default the first two that there are.
      hue: the axis that colours tell apart, or ``workflow``, then in one column; by default the
        last axis of several values. The others become rows.
      statistic: ``mean`` or ``median``.
      scale: of the axes of metrics; by default each metric's own, linear where one is negative.
      width: of the figure, in inches; by default as wide as its panels need.

    Raises:
      ValueError: an unknown metric, axis or statistic; or results that share too little.
      ImportError: the extra ``plot`` is not installed.
    """
    # A dataset is a mapping too.
    named: Any = {"": dataset} if hasattr(dataset, "attrs") else dataset
    (first, *_) = named.values()
    shown = list(metrics or results.metrics_of(first)[:2])
    if hue is None:
        axes_names = results.axes_of(first)
        several = [name for name in axes_names if first.sizes[name] > 1]
        hue = [WORKFLOW, *axes_names[-1:], *several][-1]
    rows = [
        row._replace(title="\n".join(filter(None, [name, row.title])))
        for metric in shown
        for name, one in named.items()
        for row in _rows(one, metric, hue)
    ]
    for row in rows:
        for shared in (WORKFLOW, hue):
            expected, got = (part.dataset[shared].values.tolist() for part in (rows[0], row))
            if expected != got:
                raise checks.refusal(
                    "results in one figure",
                    f"the same values of {shared}, {expected}",
                    got,
                    "choose those that all have with --select, or give another --hue",
                )
    return panels(rows, hue, statistic, scale, width)


def _rows(dataset: xarray.Dataset, metric: str, hue: str) -> list[Row]:
    """A row for each point of the axes that colours do not tell apart."""
    axes_names = results.axes_of(dataset)
    checks.one_of("metric", metric, results.metrics_of(dataset))
    checks.one_of("hue", hue, [*axes_names, WORKFLOW])
    return [
        Row(
            dataset.sel(point), metric, ", ".join(equation(dataset, k, v) for k, v in point.items())
        )
        for point in points_of(dataset, [name for name in axes_names if name != hue])
    ]


class Row(NamedTuple):
    """A row of panels.

    Attributes:
      dataset: a result whose grid axes are scalars but for the one that colours tell apart.
      metric: what is drawn.
      title: under the workflow's name.
    """

    dataset: xarray.Dataset
    metric: str
    title: str


def empty_panels(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """A figure of ``size`` inches and panels ``[rows, columns]``; those of a row share a scale."""
    plt = checks.require("matplotlib.pyplot", "plot")
    shared: dict[str, Any] = {"sharex": True, "sharey": "row", "squeeze": False}
    return plt.subplots(rows, columns, figsize=size, layout="constrained", **shared)


def panels(
    rows: Sequence[Row],
    hue: str,
    statistic: str = "mean",
    scale: str | None = None,
    width: float | None = None,
) -> Figure:
    """A row of panels for each of ``rows``, which share workflows and the values of ``hue``.

    Args:
      rows: what to draw.
      hue: the axis that colours tell apart, or ``workflow``.
      statistic: ``mean`` or ``median``.
      scale: of the axes of metrics, as matplotlib calls it; by default each metric's own.
      width: of the figure, in inches; by default as wide as its panels need. Panels that it would
        make too narrow stand one below the other.

    Raises:
      ValueError: an unknown statistic.
      ImportError: the extra ``plot`` is not installed.
    """
    plt = checks.require("matplotlib.pyplot", "plot")
    checks.one_of("statistic", statistic, ("mean", "median"))
    columns = [None] if hue == WORKFLOW else rows[0].dataset["workflow"].values.tolist()
    stacked = width is not None and width < NARROWEST * len(columns)
    shape = (len(rows) * len(columns), 1) if stacked else (len(rows), len(columns))
    size = (width or max(PAGE_WIDTH * len(columns) / 3, 3.4), 1.85 * shape[0] + 0.9)
    with plt.rc_context(STYLE):
        figure, drawn = empty_panels(*shape, size)
        colours = style.colours_of(rows[0].dataset[hue].values.tolist())
        for row, panel_axes in zip(rows, drawn.reshape(len(rows), len(columns)), strict=True):
            for workflow, axis in zip(columns, panel_axes, strict=True):
                panel = row.dataset if workflow is None else row.dataset.sel(workflow=workflow)
                _panel(axis, panel, row.metric, hue, colours, statistic)
                axis.set_title("\n".join(filter(None, [workflow, row.title])))
            for axis in panel_axes[1:] if stacked else ():
                axis.sharey(panel_axes[0])
            scale_row(panel_axes, row.metric, row.dataset, scale=scale)
            attrs = row.dataset[row.metric].attrs
            units = "" if attrs["units"] == "1" else f"\n[{attrs['units']}]"
            for axis in panel_axes if stacked else panel_axes[:1]:
                axis.set_ylabel(wrap(attrs["long_name"]) + units)
        for axis in drawn[-1]:
            axis.set_xlabel("Generation")
        style.plain_numbers(drawn)
        counts = dict.fromkeys(row.dataset.sizes["seed"] for row in rows)
        legend(figure, drawn, statistic, *counts)
    return figure


def band(dataset: xarray.Dataset, metric: str, statistic: str) -> tuple[Any, Any, Any]:
    """What is drawn of some seeds, between the ends of its band."""
    if statistic == "mean":
        return mean_with_interval(dataset, metric)
    low, centre, high = (dataset[metric].quantile(q, "seed") for q in (0.25, 0.5, 0.75))
    return low, centre, high


def label(dataset: xarray.Dataset, axis: str) -> str:
    """The name of a grid axis as a figure shows it: its symbol, if the task declares one."""
    return dataset[axis].attrs.get("symbol") or axis.replace("_", " ")


def equation(dataset: xarray.Dataset, axis: str, value: Any) -> str:
    """A value of a grid axis as a figure shows it; a name that needs no axis stands alone."""
    said = label(dataset, axis)
    named = isinstance(value, str) and said == axis.replace("_", " ")
    return str(value) if named else f"{said} = {value}"


def points_of(dataset: xarray.Dataset, names: list[str]) -> list[dict[str, Any]]:
    """Every combination of the values of some axes."""
    points: list[dict[str, Any]] = [{}]
    for name in names:
        points = [{**point, name: v} for point in points for v in dataset[name].values]
    return points


def _panel(
    axis: Axes,
    panel: xarray.Dataset,
    metric: str,
    hue: str,
    colours: Any,
    statistic: str,
) -> None:
    generation = panel["generation"].values
    for value, colour in zip(panel[hue].values, colours, strict=True):
        line = panel.sel({hue: value})[[metric]].load()
        if line[metric].isnull().all():
            continue  # left out
        low, centre, high = band(line, metric, statistic)
        finite = np.isfinite(centre.values)
        if not finite.any():
            continue
        marker = "o" if finite.sum() == 1 else None
        axis.plot(
            generation, centre, color=colour, marker=marker, label=equation(panel, hue, value)
        )
        style.band(axis, generation, low, centre, high, colour)
        theory = closed_form(line, metric)
        if theory is not None and np.isfinite(theory).any():
            theory = np.where(np.isnan(centre), np.nan, theory)
            style.law(axis, generation, theory, colour)


def scale_row(
    row: Any,
    metric: str,
    dataset: xarray.Dataset,
    over_generations: bool = True,
    scale: str | None = None,
) -> None:
    """Scales a row of panels: few generations are linear, and what the metric says logarithmic.

    Of negative values a logarithmic axis would be one without a tick; they are on a linear one,
    unless ``scale`` asks for another.
    """
    generations = dataset.sizes["generation"]
    if over_generations and generations > FEW_GENERATIONS:
        row[0].set_xscale("log")
    elif over_generations:
        step = -(-generations // 10)
        row[0].set_xticks(dataset["generation"].values[::step])
    if scale is not None:
        for axis in row:
            axis.set_yscale(scale)
        return
    if not _is_log(dataset, metric):
        return
    shown = [np.asarray(line.get_ydata(), float) for axis in row for line in axis.lines]
    positive = all((values[np.isfinite(values)] >= 0).all() for values in shown)
    if not positive:
        return
    for axis in row:
        axis.set_yscale("log")
    # A collapse goes on below anything worth looking at; but every line shows where it begins.
    low, high = row[0].get_ylim()
    begins = min((v for values in shown for v in values[:1] if v > 0), default=high)
    row[0].set_ylim(max(low, min(high * 1e-6, begins / 3)), high)


def legend(figure: Figure, axes: Any, statistic: str, *seeds: int) -> None:
    """Below all panels what lines and bands are, and on a line of their own the known laws.

    Args:
      figure: of the panels.
      axes: the panels.
      statistic: of the seeds.
      *seeds: how many there are, in one result or another.
    """
    entries: dict[str, Any] = {}
    for axis in axes.flat:
        handles, labels = axis.get_legend_handles_labels()
        entries.update(zip(labels, handles, strict=True))
    count = " or ".join(map(str, seeds))
    said = {
        "mean": f"mean of {count} seeds, 95% confidence",
        "median": f"median of {count} seeds, quartiles",
    }
    known = any(line.get_linestyle() == "--" for axis in axes.flat for line in axis.lines)
    style.legend(figure, entries, "one seed" if seeds == (1,) else said[statistic], known)


def wrap(text: str, width: int = 24) -> str:
    """The text in lines of about ``width`` characters."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
