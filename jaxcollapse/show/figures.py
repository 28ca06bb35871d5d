"""Figures of results: arrays in, figure out. Files are the caller's business."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxcollapse import checks
from jaxcollapse.sweeps import results

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A column of a journal's page is about 3.4 inches wide, a page 7.
PAGE_WIDTH = 7.0
FEW_GENERATIONS = 20  # are drawn on a linear axis, where each has its place
STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "figure.dpi": 200,
}


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
    dataset: xarray.Dataset,
    metrics: Sequence[str] | None = None,
    hue: str | None = None,
    statistic: str = "mean",
) -> Figure:
    """One panel for each workflow (column) and each metric at each point of the grid (row).

    Lines are the mean over seeds with its 95% confidence interval, or the median with the
    quartiles; dashes are the mean known in closed form.

    Args:
      dataset: a sweep's result.
      metrics: the metrics to show; by default the squared error of the mean and the trace ratio,
        or the first two that there are.
      hue: the axis that colours tell apart; by default the last one of several values. The others
        become rows.
      statistic: ``mean`` or ``median``.

    Raises:
      ValueError: an unknown metric, axis or statistic.
      ImportError: the extra ``plot`` is not installed.
    """
    axes_names = results.axes_of(dataset)
    shown = list(metrics or _default_metrics(dataset))
    for metric in shown:
        checks.one_of("metric", metric, results.metrics_of(dataset))
    several = [name for name in axes_names if dataset.sizes[name] > 1]
    hue = checks.one_of("hue", (several or axes_names)[-1] if hue is None else hue, axes_names)
    rest = [name for name in axes_names if name != hue]
    rows = [
        Row(dataset.sel(point), metric, ", ".join(equation(k, v) for k, v in point.items()))
        for metric in shown
        for point in _points(dataset, rest)
    ]
    return panels(rows, hue, statistic)


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


def panels(rows: Sequence[Row], hue: str, statistic: str = "mean") -> Figure:
    """A row of panels for each of ``rows``, which share workflows and the values of ``hue``.

    Args:
      rows: what to draw.
      hue: the axis that colours tell apart.
      statistic: ``mean`` or ``median``.

    Raises:
      ValueError: an unknown statistic.
      ImportError: the extra ``plot`` is not installed.
    """
    plt = checks.require("matplotlib.pyplot", "plot")
    checks.one_of("statistic", statistic, ("mean", "median"))
    columns = rows[0].dataset["workflow"].values
    size = (max(PAGE_WIDTH * len(columns) / 3, 3.4), 1.85 * len(rows) + 0.9)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            len(rows),
            len(columns),
            figsize=size,
            sharex=True,
            sharey="row",
            squeeze=False,
            layout="constrained",
        )
        colours = plt.get_cmap("viridis")(np.linspace(0, 0.88, rows[0].dataset.sizes[hue]))
        for row, panel_axes in zip(rows, axes, strict=True):
            for workflow, axis in zip(columns, panel_axes, strict=True):
                panel = row.dataset.sel(workflow=workflow)
                _panel(axis, panel, row.metric, hue, colours, statistic)
                axis.set_title("\n".join(filter(None, [str(workflow), row.title])))
            _scale_row(panel_axes, row.metric, row.dataset)
            attrs = row.dataset[row.metric].attrs
            units = "" if attrs["units"] == "1" else f"\n[{attrs['units']}]"
            panel_axes[0].set_ylabel(wrap(attrs["long_name"]) + units)
        for axis in axes[-1]:
            axis.set_xlabel("Generation")
        _legend(figure, axes, statistic, rows[0].dataset.sizes["seed"])
    return figure


def last_generation(dataset: xarray.Dataset, metric: str, x: str, hue: str) -> Figure:
    """A metric in the last generation against an axis of the grid, means with 95% confidence.

    Columns are workflows, rows the values of the other axis, colours those of ``hue``.

    Args:
      dataset: a sweep's result with three grid axes, ``x`` of numbers or text.
      metric: what is drawn.
      x: the axis that runs from left to right.
      hue: the axis that colours tell apart.
    """
    plt = checks.require("matplotlib.pyplot", "plot")
    (row_axis,) = [name for name in results.axes_of(dataset) if name not in (x, hue)]
    last = dataset.isel(generation=-1)
    places = np.arange(dataset.sizes[x])
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            dataset.sizes[row_axis],
            dataset.sizes["workflow"],
            figsize=(PAGE_WIDTH, 1.85 * dataset.sizes[row_axis] + 0.9),
            sharex=True,
            sharey="row",
            squeeze=False,
            layout="constrained",
        )
        colours = plt.get_cmap("viridis")(np.linspace(0, 0.88, dataset.sizes[hue]))
        for value, panel_axes in zip(dataset[row_axis].values, axes, strict=True):
            for workflow, axis in zip(dataset["workflow"].values, panel_axes, strict=True):
                for colour, shade in zip(dataset[hue].values, colours, strict=True):
                    line = last.sel({row_axis: value, "workflow": workflow, hue: colour})
                    low, mean, high = mean_with_interval(line, metric)
                    name = f"{label(hue)} = {colour}"
                    axis.plot(places, mean, color=shade, marker="o", markersize=2.5, label=name)
                    axis.fill_between(places, low, high, color=shade, alpha=0.25, linewidth=0)
                axis.set_title(f"{workflow}\n{equation(row_axis, value)}")
                axis.set_xticks(places, [str(v) for v in dataset[x].values], rotation=60)
            _scale_row(panel_axes, metric, dataset, over_generations=False)
            attrs = dataset[metric].attrs
            panel_axes[0].set_ylabel(f"{wrap(attrs['long_name'])}\n[{attrs['units']}]")
        for axis in axes[-1]:
            axis.set_xlabel(label(x).capitalize())
        _legend(figure, axes, "mean", dataset.sizes["seed"])
    return figure


def label(axis: str) -> str:
    """The name of a grid axis as a figure shows it."""
    return {"num_samples": "N", "dim": "D", "num_outcomes": "K"}.get(axis, axis.replace("_", " "))


def equation(axis: str, value: Any) -> str:
    """A value of a grid axis as a figure shows it."""
    return str(value) if axis == "dataset" else f"{label(axis)} = {value}"


def _default_metrics(dataset: xarray.Dataset) -> list[str]:
    names = results.metrics_of(dataset)
    preferred = [n for n in names if n in ("squared_error_of_mean", "trace_ratio")]
    return list(preferred or names[:2])


def _points(dataset: xarray.Dataset, names: list[str]) -> list[dict[str, Any]]:
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
        line = panel.sel({hue: value})
        if line[metric].isnull().all():
            continue  # left out
        if statistic == "mean":
            low, centre, high = mean_with_interval(line, metric)
        else:
            low, centre, high = (line[metric].quantile(q, "seed") for q in (0.25, 0.5, 0.75))
        finite = np.isfinite(centre.values)
        if not finite.any():
            continue
        marker = "o" if generation.size == 1 else None
        axis.plot(generation, centre, color=colour, marker=marker, label=f"{label(hue)} = {value}")
        axis.fill_between(generation, low, high, color=colour, alpha=0.25, linewidth=0)
        theory = results.theory(line, metric)
        if theory is not None and np.isfinite(theory).any():
            theory = np.where(np.isnan(centre), np.nan, theory)
            axis.plot(generation, theory, color="black", linewidth=0.8, linestyle=(0, (4, 2)))


def _scale_row(
    row: Any, metric: str, dataset: xarray.Dataset, over_generations: bool = True
) -> None:
    generations = dataset.sizes["generation"]
    if over_generations and generations > FEW_GENERATIONS:
        row[0].set_xscale("log")
    elif over_generations:
        step = -(-generations // 10)
        row[0].set_xticks(dataset["generation"].values[::step])
    if not _is_log(dataset, metric):
        return
    shown = [np.asarray(line.get_ydata(), float) for axis in row for line in axis.lines]
    positive = all((values[np.isfinite(values)] >= 0).all() for values in shown)
    for axis in row:
        axis.set_yscale("log" if positive else "symlog")
    if not positive:
        return
    # A collapse goes on below anything worth looking at; but every line shows where it begins.
    low, high = row[0].get_ylim()
    begins = min((v for values in shown for v in values[:1] if v > 0), default=high)
    row[0].set_ylim(max(low, min(high * 1e-6, begins / 3)), high)


def _legend(figure: Figure, axes: Any, statistic: str, seeds: int) -> None:
    plt = checks.require("matplotlib.pyplot", "plot")
    entries: dict[str, Any] = {}
    for axis in axes.flat:
        handles, labels = axis.get_legend_handles_labels()
        entries.update(zip(labels, handles, strict=True))
    if any(line.get_linestyle() == "--" for axis in axes.flat for line in axis.lines):
        entries["mean, closed form"] = plt.Line2D(
            [], [], color="black", linewidth=0.8, linestyle=(0, (4, 2))
        )
    band = (
        "one seed"
        if seeds == 1
        else {
            "mean": f"mean of {seeds} seeds, 95% confidence",
            "median": f"median of {seeds} seeds, quartiles",
        }[statistic]
    )
    width = 14 * figure.get_size_inches()[0]  # in characters; a handle takes eight
    figure.legend(
        entries.values(),
        entries.keys(),
        loc="outside lower center",
        ncols=max(1, min(len(entries), int(width) // (max(map(len, entries), default=0) + 8))),
        title=band,
        title_fontsize=7,
        frameon=False,
    )


def wrap(text: str, width: int = 24) -> str:
    """The text in lines of about ``width`` characters."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def densities(
    mean: np.ndarray,
    std: np.ndarray,
    generations: Sequence[int],
    titles: Sequence[str],
    preset: str = "corrected",
) -> Figure:
    """Densities of fitted one-dimensional Gaussians, a column a workflow, coloured by generation.

    Args:
      mean: ``[W, S, G]``, fitted means.
      std: ``[W, S, G]``, fitted standard deviations.
      generations: ``[G]``, the generation of each.
      titles: ``[W]``.
      preset: ``authors`` draws them as published: centred at 0, with the variance as scale.
    """
    plt = checks.require("matplotlib.pyplot", "plot")
    matplotlib = checks.require("matplotlib", "plot")
    if preset == "authors":
        mean, std = np.zeros_like(mean), std**2
    x = np.linspace(-4, 4, 801)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1,
            len(titles),
            figsize=(max(PAGE_WIDTH * len(titles) / 3, 3.4), 2.4),
            sharex=True,
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        norm = matplotlib.colors.LogNorm(min(generations), max(generations))
        colours = plt.cm.ScalarMappable(norm, "viridis_r")
        for column, axis in enumerate(axes[0]):
            for index, generation in enumerate(generations):
                for seed in range(mean.shape[1]):
                    m, s = mean[column, seed, index], std[column, seed, index]
                    density = np.exp(-0.5 * ((x - m) / s) ** 2) / (s * np.sqrt(2 * np.pi))
                    axis.plot(
                        x, density, color=colours.to_rgba(generation), linewidth=0.7, alpha=0.8
                    )
            real = np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)
            axis.plot(x, real, color="black", linewidth=1.4, linestyle="--", label="real")
            axis.set_title(titles[column])
            axis.set_xlabel("x")
            axis.set_ylim(0, 1.5)
        axes[0, 0].set_ylabel("Density of the fitted models")
        axes[0, 0].legend(frameon=False, loc="upper left")
        bar = figure.colorbar(colours, ax=axes, label="Generation", ticks=list(generations))
        bar.ax.set_yticklabels([str(generation) for generation in generations])
        bar.ax.minorticks_off()
    return figure
