"""What a figure of results shows, in the sentences that belong below it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from jaxcollapse.show import figures
from jaxcollapse.sweeps import results

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure


def caption(named: Mapping[str, xarray.Dataset], figure: Figure, statistic: str) -> str:
    """A caption.

    Args:
      named: the results that are drawn, by name.
      figure: what was drawn of them.
      statistic: of the seeds, ``mean`` or ``median``.
    """
    (first, *_) = named.values()
    drawn = [" ".join(axis.get_ylabel().split()) for axis in figure.axes if axis.get_ylabel()]
    shown = "; ".join(dict.fromkeys(drawn))
    counts = list(dict.fromkeys(one.sizes["seed"] for one in named.values()))
    over = " or ".join(map(str, counts))
    lines = {
        "mean": f"Lines: mean over {over} seeds; bands: its 95% confidence interval.",
        "median": f"Lines: median of {over} seeds; bands: quartiles.",
    }
    said = [f"{shown}.", "One seed." if counts == [1] else lines[statistic]]
    if any(line.get_linestyle() == "--" for axis in figure.axes for line in axis.lines):
        said.append("Dashes: the mean known in closed form.")
    fixed = [
        figures.equation(first, name, first[name].values[0])
        for name in results.axes_of(first)
        if first.sizes.get(name) == 1
    ]
    made = [f"Task {first.attrs['task']}", *fixed, f"preset {first.attrs['preset']}"]
    version = first.attrs.get("jaxcollapse_version")
    if version:
        commit = str(first.attrs.get("commit", "unknown"))
        made.append(f"jaxcollapse {version}" + (f" ({commit[:12]})" if commit != "unknown" else ""))
    return " ".join([*said, f"{', '.join(made)}."])
