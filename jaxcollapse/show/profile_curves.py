"""Curves for a page, a small SVG a panel, in the ink of the page around them."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcollapse import checks
from jaxcollapse.show import figures

if TYPE_CHECKING:
    import xarray

INK = "#010203"  # stands for the page's own
COLOURS = ("#3f6fd1", "#1b9e86", "#c79a1b", "#d6503f")  # seen on white and on black
MOST_PANELS = 3  # a workflow: of more points of the grid these many, evenly chosen
SIZE = (3.2, 2.2)


def panels(
    dataset: xarray.Dataset, metric: str, axes: Mapping[str, tuple]
) -> Iterator[tuple[str, str]]:
    """A caption and an SVG for each workflow, at some points of the grid.

    Colours tell the values of the last axis of several apart.

    Args:
      dataset: a sweep's result.
      metric: what is drawn.
      axes: values by axis.

    Raises:
      ImportError: the extra ``plot`` is not installed.
    """
    several = [name for name, values in axes.items() if len(values) > 1]
    hue = several[-1] if several else None
    others = {name: values for name, values in axes.items() if name != hue}
    points = [dict(zip(others, v, strict=True)) for v in itertools.product(*others.values())]
    chosen = np.unique(np.linspace(0, len(points) - 1, MOST_PANELS).round().astype(int))
    for place in chosen:
        for workflow in dataset["workflow"].values.tolist():
            point = points[place]
            said = [figures.equation(dataset, k, v) for k, v in point.items() if k in several]
            line = dataset.sel({"workflow": workflow, **point})
            yield ", ".join([workflow, *said]), _svg(line, metric, hue)


def _svg(panel: xarray.Dataset, metric: str, hue: str | None) -> str:
    plt = checks.require("matplotlib.pyplot", "plot")
    colours = checks.require("matplotlib.colors", "plot").LinearSegmentedColormap.from_list(
        "page", COLOURS
    )
    ink = dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK
    )
    style: dict[str, Any] = {**figures.STYLE, **ink, "grid.color": INK, "svg.fonttype": "none"}
    style |= {"font.family": ["sans-serif"], "figure.facecolor": "none", "axes.facecolor": "none"}
    values = panel[hue].values.tolist() if hue is not None else [None]
    with plt.rc_context(style):
        figure, axis = plt.subplots(figsize=SIZE)
        figure.subplots_adjust(left=0.15, right=0.98, bottom=0.18, top=0.97)
        for number, value in enumerate(values):
            line = panel if value is None else panel.sel({hue: value})
            colour = colours(number / max(len(values) - 1, 1))
            said = None if hue is None else figures.equation(panel, hue, value)
            _line(axis, line, metric, colour, said)
        figures.scale_row([axis], metric, panel)
        axis.set_xlabel("Generation")
        if hue is not None:
            axis.legend(frameon=False, fontsize=6, labelspacing=0.2, handlelength=1.2)
        with io.StringIO() as file:
            figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
            svg = file.getvalue()
        plt.close(figure)
    return _inline(svg)


def _line(axis: Any, line: xarray.Dataset, metric: str, colour: Any, said: str | None) -> None:
    values = line[metric].values.astype(np.float64)
    if np.isnan(values).all():
        return  # left out
    low, centre, high = np.quantile(
        np.where(np.isnan(values), np.inf, values), [0.25, 0.5, 0.75], axis=0, method="lower"
    )
    generation = line["generation"].values
    marker = "o" if generation.size <= figures.FEW_GENERATIONS else None
    axis.plot(generation, centre, color=colour, marker=marker, markersize=2.5, label=said)
    axis.fill_between(generation, low, high, color=colour, alpha=0.2, linewidth=0)


def _inline(svg: str) -> str:
    """An SVG file as part of a page, as wide as there is room."""
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    opening, _, rest = svg.partition(">")
    opening = re.sub(r' (width|height)="[^"]*"', "", opening)
    return f"{opening} role='img'>{rest}"
