"""The one look of all figures: sizes, fonts, colours, and how lines, bands and laws are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcollapse import checks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches, of most journals.
COLUMN_WIDTH, PAGE_WIDTH = 3.4, 7.0
NARROWEST_FIGURE, WIDEST_FIGURE = 2.0, 40.0
WIDTHS = {"column": COLUMN_WIDTH, "page": PAGE_WIDTH}
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
    # Text stays text, in fonts that journals take (TrueType, not Type 3).
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
}
# Of names: told apart by those who do not see all colours (Okabe and Ito 2008).
NAMED = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
DASHES = (0, (4, 2))
SHADE = 0.45  # of a line's colour, for the law of its mean
LAW = "mean, closed form"  # dashed, in the dark shade of its line
PLAIN = 1e-3, 1e4  # numbers between them are written out
FEW_DECADES = 2.0  # have a number at 1, 2 and 5 of each, or more where these are few
FEW_NUMBERS = 3


def colours_of(values: int | Sequence[Any]) -> np.ndarray:
    """A colour ``[K, 4]`` for each of some values: in order for numbers, distinct for few names."""
    colormaps = checks.require("matplotlib", "plot").colormaps
    count = values if isinstance(values, int) else len(values)
    names = not isinstance(values, int) and np.asarray(values).dtype.kind not in "iuf"
    if names and count <= len(NAMED):
        return checks.require("matplotlib.colors", "plot").to_rgba_array(NAMED[:count])
    return colormaps["viridis"](np.linspace(0, 0.88, count))


def band(axis: Axes, x: Any, low: Any, centre: Any, high: Any, colour: Any) -> None:
    """Draws a band between ``low`` and ``high``; of a single point, which has no width, a bar."""
    x, low, centre, high = (np.asarray(part, np.float64) for part in (x, low, centre, high))
    there = np.isfinite(low) & np.isfinite(high)
    if there.sum() != 1:
        axis.fill_between(x, low, high, color=colour, alpha=0.25, linewidth=0)
        return
    ends = np.stack([centre - low, high - centre])[:, there]
    style: dict[str, Any] = {"fmt": "none", "capsize": 2, "elinewidth": 1.0}
    axis.errorbar(x[there], centre[there], np.maximum(ends, 0), ecolor=colour, **style)


def law(axis: Axes, x: Any, known: Any, colour: Any) -> None:
    """Draws a mean known in closed form over a line of a colour, dashed in its dark shade."""
    shade = (*(SHADE * np.asarray(colour)[:3]), 1.0)
    alone = np.isfinite(known).sum() == 1  # a line of one point is not seen
    marker: dict[str, Any] = {"marker": "_", "markersize": 7} if alone else {}
    axis.plot(x, known, color=shade, linewidth=1.0, linestyle=DASHES, zorder=3, **marker)


def legend(figure: Figure, entries: Mapping[str, Any], title: str, laws: bool) -> None:
    """Below all panels: what lines are, and last, where there are some, the laws.

    Args:
      figure: of the panels.
      entries: handles by what they are.
      title: of the entries.
      laws: whether some are drawn.
    """
    line = checks.require("matplotlib.lines", "plot").Line2D
    shown = dict(entries)
    if laws:
        shown[LAW] = line([], [], color="0.25", linewidth=1.0, linestyle=DASHES)
    width = 14 * figure.get_size_inches()[0]  # in characters; a handle takes eight
    columns = int(width) // (max(map(len, shown), default=0) + 8)
    figure.legend(
        shown.values(),
        shown.keys(),
        loc="outside lower center",
        ncols=max(1, min(len(shown), columns)),
        title=title,
        title_fontsize=7,
        frameon=False,
    )


def plain_numbers(axes: Any) -> None:
    """Writes the numbers of logarithmic axes out: 0.5, 1, 2, 5 where there are few decades.

    Args:
      axes: panels, of which each has its limits.
    """
    ticker = checks.require("matplotlib.ticker", "plot")
    for panel in np.asarray(axes).flat:
        for axis in (panel.xaxis, panel.yaxis):
            low, high = axis.get_view_interval()
            if axis.get_scale() != "log" or not 0 < low < high < np.inf:
                continue
            if not isinstance(axis.get_major_formatter(), ticker.LogFormatterSciNotation):
                continue  # its numbers are given
            if np.log10(high / low) < FEW_DECADES:
                steps = ticker.LogLocator(subs=(1, 2, 5))
                inside = [v for v in steps.tick_values(low, high) if low <= v <= high]
                even = ticker.MaxNLocator(4, steps=[1, 2, 5, 10])
                axis.set_major_locator(steps if len(inside) >= FEW_NUMBERS else even)
                axis.set_minor_locator(ticker.NullLocator())
            axis.set_minor_formatter(ticker.NullFormatter())
            if PLAIN[0] <= low and high <= PLAIN[1]:
                axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
