"""Figures of the last generation against an axis, or against a field of the workflows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxcollapse import checks
from jaxcollapse.show import figures, style
from jaxcollapse.sweeps import results
from jaxcollapse.sweeps.closed_forms import closed_form

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MANY = 5  # workflows that differ in one number alone are drawn against it
DECADES = 100  # from here on numbers are on a logarithmic axis
FIELDS = {
    "share": "Share of real rows",
    "weight": "Weight of real rows",
    "keep": "Batches kept",
    "draw": "Rows drawn",
}


class _Line(NamedTuple):
    """One line: where its points are in a result, and what it is called."""

    label: str
    numbers: list[float]
    points: list[dict[str, Any]]


def natural(dataset: xarray.Dataset) -> str | None:
    """The field in which many workflows of a result differ alone, if there is one."""
    names = dataset["workflow"].values
    if len(names) < MANY:
        return None
    for field in FIELDS:
        others = {without(str(name), field) for name in names}
        if field in dataset.coords and len(numbers_of(dataset, field)) == len(names):
            return field if len(others) == 1 else None
    return None


def against(
    dataset: xarray.Dataset,
    x: str,
    metrics: Sequence[str] | None = None,
    hue: str | None = None,
    statistic: str = "mean",
    width: float | None = None,
) -> Figure:
    """The last generation against x: a column a workflow, a row a metric at a point of the grid.

    Workflows that differ in x alone are one. Lines are the mean over seeds with its 95% confidence
    interval, or the median with the quartiles; dashes are the mean known in closed form.

    Args:
      dataset: a sweep's result.
      x: an axis of numbers; or ``share``, ``weight``, ``keep`` or ``draw`` of the workflows.
      metrics: the metrics to show; by default the first two that there are.
      hue: what colours tell apart, an axis or ``workflow``; by default the last axis of several
        values, or workflows where there is none.
      statistic: ``mean`` or ``median``.
      width: of the figure, in inches; by default as wide as its panels need.

    Raises:
      ValueError: an unknown metric, axis or statistic, or x is no such axis or field.
      ImportError: the extra ``plot`` is not installed.
    """
    plt = checks.require("matplotlib.pyplot", "plot")
    checks.one_of("statistic", statistic, ("mean", "median"))
    shown = list(metrics or results.metrics_of(dataset)[:2])
    for metric in shown:
        checks.one_of("metric", metric, results.metrics_of(dataset))
    _check(dataset, x)
    last = dataset.isel(generation=slice(-1, None))
    axes = [name for name in results.axes_of(dataset) if name != x]
    several = [name for name in axes if dataset.sizes[name] > 1]
    hue = ([figures.WORKFLOW, *several][-1]) if hue is None else hue
    checks.one_of("hue", hue, [figures.WORKFLOW, *axes])
    lines = _lines(last, x)
    columns = [lines] if hue == figures.WORKFLOW else [[line] for line in lines]
    rest = figures.points_of(last, [name for name in axes if name != hue])
    wide = width or max(style.PAGE_WIDTH * len(columns) / 3, 4.2)
    size = (wide, 1.9 * len(shown) * len(rest) + 0.9)
    with plt.rc_context(style.STYLE):
        figure, panels = figures.empty_panels(len(shown) * len(rest), len(columns), size)
        places = [(metric, point) for metric in shown for point in rest]
        for (metric, point), row in zip(places, panels, strict=True):
            at = last.sel(point)
            title = ", ".join(figures.equation(last, k, v) for k, v in point.items())
            for column, axis in zip(columns, row, strict=True):
                drawn = column if hue == figures.WORKFLOW else _by(at, column[0], hue)
                _panel(axis, at, drawn, metric, statistic)
                own = "" if hue == figures.WORKFLOW else column[0].label
                axis.set_title("\n".join(filter(None, [own, title])))
            figures.scale_row(row, metric, at, over_generations=False)
            attrs = dataset[metric].attrs
            units = "" if attrs["units"] == "1" else f"\n[{attrs['units']}]"
            row[0].set_ylabel(figures.wrap(attrs["long_name"]) + units)
        numbers = np.asarray([number for line in lines for number in line.numbers])
        if numbers.min() > 0 and numbers.max() >= DECADES * numbers.min():
            panels[0, 0].set_xscale("log")
        said = FIELDS.get(x) if x not in results.axes_of(dataset) else figures.label(dataset, x)
        for axis in panels[-1]:
            axis.set_xlabel(f"{said}, generation {last['generation'].item()}")
        style.plain_numbers(panels)
        figures.legend(figure, panels, statistic, dataset.sizes["seed"])
    return figure


def _check(dataset: xarray.Dataset, x: str) -> None:
    known = [name for name in results.axes_of(dataset) if dataset[name].dtype.kind in "iuf"]
    fields = [name for name in FIELDS if name in dataset.coords and numbers_of(dataset, name)]
    if x not in (*known, *fields):
        raise checks.refusal(
            "what to draw against",
            f"an axis of numbers or a workflow's number, {', '.join([*known, *fields])}",
            repr(x),
            "choose one of those",
        )


def numbers_of(dataset: xarray.Dataset, field: str) -> dict[str, float]:
    """A field by workflow, of those in which it is a number; schedules are none."""
    found = {}
    for name, value in zip(dataset["workflow"].values, dataset[field].values, strict=True):
        try:
            number = float(value)
        except ValueError:
            continue
        if np.isfinite(number):
            found[str(name)] = number
    return found


def without(spelling: str, field: str) -> str:
    """A workflow's spelling without one field."""
    return ":".join(p for p in spelling.split(":") if not p.startswith(f"{field}="))


def _lines(last: xarray.Dataset, x: str) -> list[_Line]:
    """A line for each workflow, or for those that differ in x alone."""
    names = [str(name) for name in last["workflow"].values]
    if x in results.axes_of(last):
        values = sorted(last[x].values.tolist())
        return [
            _Line(name, list(map(float, values)), [{"workflow": name, x: v} for v in values])
            for name in names
        ]
    numbers = numbers_of(last, x)
    groups: dict[str, list[str]] = {}
    for name in sorted(numbers, key=lambda name: numbers[name]):
        groups.setdefault(without(name, x), []).append(name)
    return [
        _Line(label, [numbers[name] for name in group], [{"workflow": name} for name in group])
        for label, group in groups.items()
    ]


def _by(at: xarray.Dataset, line: _Line, hue: str) -> list[_Line]:
    """A line for each value of an axis."""
    return [
        _Line(
            figures.equation(at, hue, value),
            line.numbers,
            [{**point, hue: value} for point in line.points],
        )
        for value in at[hue].values
    ]


def _panel(
    axis: Axes, at: xarray.Dataset, lines: Sequence[_Line], metric: str, statistic: str
) -> None:
    colours = style.colours_of(len(lines))
    for line, colour in zip(lines, colours, strict=True):
        drawn = [at.sel(point) for point in line.points]
        bands = [figures.band(one, metric, statistic) for one in drawn]
        low, centre, high = np.asarray([[part.item() for part in band] for band in bands]).T
        if not np.isfinite(centre).any():
            continue
        axis.plot(line.numbers, centre, color=colour, marker="o", markersize=3, label=line.label)
        style.band(axis, line.numbers, low, centre, high, colour)
        known = [closed_form(one, metric) for one in drawn]
        theory = np.asarray([np.nan if one is None else one[-1] for one in known])
        if np.isfinite(theory).any():
            style.law(axis, line.numbers, theory, colour)
