"""A benchmark's figure: rates of all cells, and what share of a limit they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcollapse import checks
from jaxcollapse.show.figures import PAGE_WIDTH, STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Facts = Mapping[str, Any]
MOST_CELLS = 60  # that can be read on one page; more are drawn as their distribution
LIBRARIES = {"numpy": ("x", "NumPy"), "torch": ("+", "PyTorch")}


def figure(facts: Facts) -> Figure:
    """Chain-generations a second of every cell, shares of the bound, and growth with seeds.

    Raises:
      ValueError: no cell has a rate.
      ImportError: the extra ``plot`` is not installed.
    """
    rows = [row for row in facts["cells"] if "generations_per_second" in row]
    if not rows:
        raise checks.refusal("figure of a benchmark", "a cell that ran", "none", "see the errors")
    pyplot = checks.require("matplotlib.pyplot", "plot")
    names = list(dict.fromkeys((row["task"], row["label"]) for row in rows))
    names = names if len(names) <= MOST_CELLS else list(dict.fromkeys((t, "") for t, _ in names))
    height = 1.6 + 0.17 * len(names)
    grown = [row for row in facts["seeds"] if "generations_per_second" in row]
    with pyplot.rc_context(STYLE):
        layout = {"layout": "constrained", "figsize": (PAGE_WIDTH, height + (2.2 if grown else 0))}
        made = pyplot.figure(**layout)
        upper, *lower = made.subfigures(
            2 if grown else 1, 1, height_ratios=[height, 2.2][: 2 if grown else 1], squeeze=False
        )[:, 0]
        rates, shares = upper.subplots(1, 2, sharey=True, width_ratios=[3, 2])
        _dots(rates, rows, names, "generations_per_second")
        _peers(rates, facts, names)
        rates.set(xscale="log", xlabel="chain-generations a second")
        _dots(shares, [row for row in rows if row.get("share") is not None], names, "share")
        shares.set(xlim=(-0.03, 1.03), xlabel="share of the limit that binds")
        settings = facts["settings"]
        sizes = f"{settings['seeds']} seeds, {settings['generations']} generations"
        upper.suptitle(f"{facts['device']}: {sizes}", fontsize=8)
        handles, labels = rates.get_legend_handles_labels()
        upper.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)
        if grown:
            _growth(lower[0].subplots(), grown)
    return made


def _workflows(rows: Sequence[Facts]) -> dict[str, tuple[str, str]]:
    """A colour and a marker for each workflow, in the order of their first rows."""
    found = list(dict.fromkeys(row["workflow"] for row in rows))
    return {name: (f"C{place % 10}", "os^Dv"[place % 5]) for place, name in enumerate(found)}


def _dots(axes: Axes, rows: Sequence[Facts], names: list[tuple[str, str]], value: str) -> None:
    """A dot for each row, on the line of its cell, a colour a workflow."""
    looks = _workflows(rows)
    for place, (workflow, (colour, marker)) in enumerate(looks.items()):
        ours = [row for row in rows if row["workflow"] == workflow]
        # Side by side where they would hide one another.
        shift = 0.22 * (place - (len(looks) - 1) / 2)
        lines = [_line(row, names) + shift for row in ours]
        axes.plot(
            [row[value] for row in ours],
            lines,
            marker,
            color=colour,
            markersize=3.5,
            alpha=0.9,
            label=workflow,
        )
    axes.set_yticks(range(len(names)), [" ".join(filter(None, name)) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)


def _line(row: Facts, names: list[tuple[str, str]]) -> int:
    name = (row["task"], row["label"])
    return names.index(name if name in names else (row["task"], ""))


def _peers(axes: Axes, facts: Facts, names: list[tuple[str, str]]) -> None:
    """What other libraries reach, and ours with their metrics alone, in grey."""
    looks = _workflows([row for row in facts["cells"] if "generations_per_second" in row])
    compared = [
        (row, name, peer["run_seconds"])
        for row in facts["against"]
        for name, peer in row.get("peers", {}).items()
        if "ratio" in peer
    ]
    ours = [(row, "ours", row["run_seconds"]) for row, _, _ in compared]
    for library, (marker, label) in {**LIBRARIES, "ours": ("|", "ours, their metrics")}.items():
        found = [(row, seconds) for row, name, seconds in ours + compared if name == library]
        if not found:
            continue
        order = list(looks)
        lines = [
            _line(row, names) + 0.22 * (order.index(row["workflow"]) - (len(order) - 1) / 2)
            for row, _ in found
        ]
        rates = [row["seeds"] * row["generations"] / seconds for row, seconds in found]
        axes.plot(rates, lines, marker, color="0.35", markersize=4, label=label)


def _growth(axes: Axes, rows: Sequence[Facts]) -> None:
    """Rates against the number of seeds a call."""
    cells = list(dict.fromkeys((row["task"], row["workflow"], row["label"]) for row in rows))
    for cell in cells:
        mine = [row for row in rows if (row["task"], row["workflow"], row["label"]) == cell]
        seeds = np.asarray([row["seeds"] for row in mine])
        rates = np.asarray([row["generations_per_second"] for row in mine])
        axes.plot(seeds, rates, "o-", markersize=3, label=" ".join(cell))
    axes.set(xscale="log", yscale="log", xlabel="seeds a call", ylabel="chain-generations a second")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
