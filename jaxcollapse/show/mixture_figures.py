"""Figure 5's form: a loss against the synthetic count, and against the share of real data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcollapse import checks
from jaxcollapse.analysis.mixtures import analyse, loss_of
from jaxcollapse.show import figures, style
from jaxcollapse.show.mixture_tables import points_of
from jaxcollapse.sweeps.closed_forms import closed_form_of_mixtures

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def figure(
    dataset: xarray.Dataset, metric: str | None = None, width: float = style.PAGE_WIDTH
) -> Figure:
    """A row for each point of the other axes: the loss against the synthetic count, and the share.

    A colour is a real count; lines are means over seeds with their 95% confidence interval, dashes
    the mean known in closed form, a star the best synthetic count. On the logarithmic axis of
    synthetic counts 0 stands apart, on the left, tied by dots.

    Args:
      dataset: with the dimensions ``real``, ``synthetic`` and ``seed``, for instance from ``mix``.
      metric: the loss; by default the one that the attribute ``loss`` names.
      width: of the figure, in inches.

    Raises:
      ValueError: an unknown metric.
      ImportError: the extra ``plot`` is not installed.
    """
    plt = checks.require("matplotlib.pyplot", "plot")
    metric = loss_of(dataset, metric)
    points = points_of(dataset, metric)
    real = np.sort(dataset["real"].values)
    colours = style.colours_of(real.size)
    with plt.rc_context(style.STYLE):
        drawn, axes = plt.subplots(
            len(points),
            2,
            figsize=(width, 2.3 * len(points) + 0.9),
            sharey="row",
            sharex="col",
            squeeze=False,
            layout="constrained",
        )
        for (name, part), (by_count, by_share) in zip(points, axes, strict=True):
            best = {found.real: found.synthetic for found in analyse(part, metric).best}
            known = closed_form_of_mixtures(part, metric)
            for count, colour in zip(real, colours, strict=True):
                _lines(by_count, by_share, part, metric, int(count), colour, best, known)
            for axis in (by_count, by_share):
                axis.set_title(name)
            _scale(by_count, by_share, part, metric)
        axes[-1, 0].set_xlabel("Synthetic count")
        axes[-1, 1].set_xlabel("Share of real data")
        style.plain_numbers(axes)
        _legend(drawn, axes, dataset)
    return drawn


def _lines(
    by_count: Axes,
    by_share: Axes,
    part: xarray.Dataset,
    metric: str,
    count: int,
    colour: Any,
    best: dict[int, int],
    known: np.ndarray | None,
) -> None:
    order = np.argsort(part["synthetic"].values)
    row = part.sel(real=count).isel(synthetic=order)
    synthetic = row["synthetic"].values
    low, mean, high = (np.asarray(x) for x in figures.mean_with_interval(row, metric))
    place = _places(synthetic)
    share = count / np.maximum(count + synthetic, 1)
    line = None
    if known is not None:
        line = known[list(part["real"].values).index(count)][order]
    star = synthetic == best.get(count, -1)
    for axis, x, kept in (
        (by_count, place, synthetic > 0),
        (by_share, share, np.full(synthetic.shape, count > 0)),
    ):
        look: dict[str, Any] = {"color": colour, "markersize": 2.5}
        axis.plot(x[kept], mean[kept], marker="o", label=f"{count} real", **look)
        style.band(axis, x[kept], low[kept], mean[kept], high[kept], colour)
        if axis is by_count and (synthetic == 0).any():
            # 0 has no place on a logarithmic axis: it stands apart.
            axis.plot(x[:2], mean[:2], linestyle=":", linewidth=0.8, **look)
            span = np.nan_to_num([mean[0] - low[0], high[0] - mean[0]])[:, None]
            axis.errorbar(x[:1], mean[:1], span, fmt="o", capsize=1.5, elinewidth=0.8, **look)
        if line is not None:
            style.law(axis, x, line, colour)
        axis.plot(
            x[star & (x > 0)],
            mean[star & (x > 0)],
            "*",
            color=colour,
            markersize=8,
            markeredgecolor="black",
            markeredgewidth=0.5,
            zorder=4,
        )


def _places(synthetic: np.ndarray) -> np.ndarray:
    """Where counts in rising order stand on a logarithmic axis; 0 a step to the left of all."""
    positive = synthetic[synthetic > 0].astype(np.float64)
    if not positive.size:
        return np.ones(synthetic.shape)
    step = (positive[-1] / positive[0]) ** (1 / max(positive.size - 1, 1))
    return np.where(synthetic > 0, synthetic, positive[0] / max(step, 2.0))


def _scale(by_count: Axes, by_share: Axes, part: xarray.Dataset, metric: str) -> None:
    synthetic = np.sort(part["synthetic"].values)
    plt = checks.require("matplotlib.pyplot", "plot")
    by_count.set_xscale("log")
    by_count.set_xticks(_places(synthetic), [str(count) for count in synthetic])
    by_count.xaxis.set_minor_locator(plt.NullLocator())
    by_share.set_xscale("log")
    attrs = part[metric].attrs
    finite = part[metric].where(np.isfinite(part[metric]))
    if attrs.get("scale") == "log" and bool(finite.min() > 0):
        by_count.set_yscale("log")
    units = "" if attrs.get("units", "1") == "1" else f"\n[{attrs['units']}]"
    by_count.set_ylabel(figures.wrap(attrs.get("long_name", metric)) + units)


def _legend(drawn: Figure, axes: Any, dataset: xarray.Dataset) -> None:
    plt = checks.require("matplotlib.pyplot", "plot")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    entries = dict(zip(labels, handles, strict=True))
    entries["best synthetic count"] = plt.Line2D(
        [], [], linestyle="", marker="*", markersize=8, color="white", markeredgecolor="black"
    )
    seeds = dataset.sizes["seed"]
    known = any(line.get_linestyle() == "--" for axis in axes.flat for line in axis.lines)
    title = "one seed" if seeds == 1 else f"mean of {seeds} seeds, 95% confidence"
    style.legend(drawn, entries, title, known)
