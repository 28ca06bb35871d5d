"""The answers of a grid of mixtures as tables: on the screen, as text, as CSV."""

from __future__ import annotations

import csv
import io
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcollapse import checks
from jaxcollapse.analysis.mixtures import (
    REAL,
    SHARE,
    Analysis,
    Fit,
    Regression,
    analyse,
    loss_of,
)
from jaxcollapse.analysis.synthetic_counts import FEWEST_SEEDS
from jaxcollapse.files import whole_file
from jaxcollapse.show.figures import equation
from jaxcollapse.show.tables import TABLE_WIDTH, plain_table
from jaxcollapse.sweeps.plan import number_of
from jaxcollapse.theory.mixtures import SOURCES

if TYPE_CHECKING:
    import xarray


CAVEAT = (
    "The F-tests are descriptive: they take cells as independent, but cells of a seed share data. "
    f"With {FEWEST_SEEDS} seeds or more there are intervals that do not."
)


def points_of(dataset: xarray.Dataset, metric: str) -> list[tuple[str, xarray.Dataset]]:
    """The parts of a result at each point of its other axes, with their names in words."""
    axes = [str(d) for d in dataset[metric].dims if d not in ("real", "synthetic", "seed")]
    found = []
    for values in itertools.product(*(dataset[axis].values for axis in axes)):
        point = dict(zip(axes, values, strict=True))
        name = ", ".join(equation(dataset, axis, value) for axis, value in point.items())
        found.append((name, dataset.sel(point)))
    return found


def show(dataset: xarray.Dataset, metric: str | None = None) -> None:
    """Prints the tables of every point of a result."""
    console = checks.require("rich.console", "sweep").Console(highlight=False, markup=False)
    console.width = max(console.width, TABLE_WIDTH)
    _print(console, dataset, metric)


def text(dataset: xarray.Dataset, metric: str | None = None) -> str:
    """The tables of every point of a result, as plain text."""
    page = io.StringIO()
    console = checks.require("rich.console", "sweep").Console(
        file=page, width=TABLE_WIDTH, highlight=False, markup=False, color_system=None
    )
    _print(console, dataset, metric)
    return page.getvalue()


def _print(console: Any, dataset: xarray.Dataset, metric: str | None) -> None:
    metric = loss_of(dataset, metric)
    attrs = dataset[metric].attrs
    units = "" if attrs.get("units", "1") == "1" else f" [{attrs['units']}]"
    loss = f"{attrs.get('long_name', metric)}{units}"
    title = dataset.attrs.get("title", "mixtures")
    console.print(f"{title}; loss: {loss}", soft_wrap=True, markup=False)
    source, available = dataset.attrs.get("source"), dataset.attrs.get("num_real")
    if source in SOURCES:
        who = f"all {available} real points" if source == "all" else "the mixture's real points"
        console.print(f"synthetic data of a model of {who}", soft_wrap=True)
    elif source is not None:
        console.print(f"synthetic data: {source}", soft_wrap=True, markup=False)
    for name, part in points_of(dataset, metric):
        found = analyse(part, metric)
        console.print()
        if found.regressions:
            console.print(regression_table(found, name))
            console.print(CAVEAT, soft_wrap=True)
        else:
            few = f"{found.num_cells} cells are too few, or too alike, for a regression."
            console.print(_titled(name, few))
        console.print()
        for table in (coefficient_table(found, name), best_table(found, name)):
            if table.row_count:
                console.print(table)
        if found.left_out:
            console.print(found.left_out, soft_wrap=True)
        for line in sentences(found):
            console.print(line, soft_wrap=True)
    if source == "all":
        console.print(
            f"This synthetic data comes from all {available} real points, also those that a "
            "mixture does not hold.",
            soft_wrap=True,
        )


def _table(title: str, *headings: str) -> Any:
    table = plain_table(title)
    for index, heading in enumerate(headings):
        worded = heading.endswith("none")
        table.add_column(
            heading, justify="left" if worded or not index else "right", no_wrap=not worded
        )
    return table


def regression_table(found: Analysis, name: str = "") -> Any:
    """R^2 of the real count n, of the share of real data and of both, and F-tests of each term.

    A fitted exponent differs between n alone and both terms, and both are told.
    """
    table = _table(
        _titled(
            name, f"mean losses of {found.num_cells} cells on real count n, share of real data"
        ),
        "n as",
        "R2, n",
        "R2, share",
        "R2, both",
        "F of n",
        "p",
        "F of share",
        "p",
    )
    for one in found.regressions:
        squares = [f"{fit.r_squared:.3f}" for fit in one.fits]
        tests = [text for test in one.tests for text in (f"{test.f:.3g}", f"{test.p:.2g}")]
        table.add_row(_transforms(one), *squares, *tests)
    return table


def coefficient_table(found: Analysis, name: str = "") -> Any:
    """Coefficients of both terms and fitted exponents, with intervals over seeds; none for few."""
    table = _table(
        _titled(name, "coefficients with 95% intervals, bootstrap over seeds"),
        "n as",
        "of n",
        "of share",
        "exponent",
    )
    for one in found.regressions:
        if one.intervals is None:
            continue
        _, *values = one.fits[-1].coefficients
        values += [] if one.fits[-1].exponent is None else [one.fits[-1].exponent]
        cells = [
            f"{value:.3g} ({low:.3g} to {high:.3g})"
            for value, (low, high) in zip(values, one.intervals, strict=True)
        ]
        table.add_row(_transform(one, one.fits[-1]), *cells)
    return table


def _transforms(one: Regression) -> str:
    alone, _, both = (fit.exponent for fit in one.fits)
    if alone is None or both is None:
        return one.transform
    return f"n^-a, a = {alone:.2f}; {both:.2f} with share"


def _transform(one: Regression, fit: Fit) -> str:
    return one.transform if fit.exponent is None else f"n^-{fit.exponent:.2f} (fitted)"


def best_table(found: Analysis, name: str = "") -> Any:
    """For each real count the best synthetic count and what it gains over none.

    The interval of the gain is one of intervals that hold for all synthetic counts together.
    """
    table = _table(
        _titled(
            name,
            f"best synthetic count by real count, {number_of(found.num_seeds, 'seed')}",
        ),
        "real",
        "best synthetic (95%)",
        "loss",
        "minus none's (95%, joint)",
        "better than none",
        "worse than none",
    )
    for best in found.best:
        gain = {c.synthetic: c for c in best.comparisons}.get(best.synthetic)
        table.add_row(
            str(best.real),
            f"{best.synthetic} ({_interval(best.interval)})",
            f"{best.loss:.4g}",
            "" if gain is None else f"{gain.difference:.3g} ({gain.low:.3g} to {gain.high:.3g})",
            _counts(best.helps),
            _counts(best.harms),
        )
    return table


def _titled(name: str, title: str) -> str:
    return f"{name}: {title}" if name else f"{title[0].upper()}{title[1:]}"


def _interval(ends: tuple[int, int] | None) -> str:
    return "-" if ends is None else f"{ends[0]} to {ends[1]}"


def _counts(counts: tuple[int, ...]) -> str:
    return " ".join(map(str, counts)) or "-"


def sentences(found: Analysis) -> list[str]:
    """The answer in words."""
    said = []
    if found.regressions:
        last = found.regressions[-1]
        count, share, both = (fit.r_squared for fit in last.fits)
        transform = _transform(last, last.fits[0])
        said.append(
            f"The {REAL} alone, as {transform}, explains {count:.0%} of the variance "
            f"between cells, the {SHARE} alone, linearly, {share:.0%}, both {both:.0%}."
        )
    helped = [best.real for best in found.best if best.helps]
    harmed = [best.real for best in found.best if best.harms]
    if not found.uncompared:
        said.append(
            "Real counts where some synthetic count is significantly better than none (at 5% for "
            f"each real count): {_listed(helped)}; significantly worse: {_listed(harmed)}."
        )
    elif found.best:
        said.append(found.uncompared)
    return said


def _listed(counts: list[int]) -> str:
    return ", ".join(map(str, counts)) or "none found"


CSV_HEADINGS = (
    "real",
    "synthetic",
    "share_of_real_data",
    "mean_loss",
    "standard_error",
    "difference_from_none",
    "low",
    "high",
    "p",
    "verdict",
)


def write_csv(dataset: xarray.Dataset, path: Path, metric: str | None = None) -> None:
    """Writes a row a cell: mean loss, its difference from no synthetic data, 95% interval.

    The intervals of a real count hold together (Bonferroni); p is of each count alone.
    """
    metric = loss_of(dataset, metric)
    with whole_file(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["point", *CSV_HEADINGS])
        for name, part in points_of(dataset, metric):
            by_real = {best.real: best for best in analyse(part, metric).best}
            array = part[metric].transpose("real", "synthetic", "seed")
            for real, row in zip(part["real"].values, array.values, strict=True):
                comparisons = by_real[int(real)].comparisons if int(real) in by_real else ()
                against_none = {c.synthetic: c for c in comparisons}
                for synthetic, losses in zip(part["synthetic"].values, row, strict=True):
                    losses = np.asarray(losses, np.float64)
                    size = losses.size
                    finite = np.isfinite(losses).all()
                    error = losses.std(ddof=1) / np.sqrt(size) if size > 1 and finite else ""
                    compared = against_none.get(int(synthetic))
                    writer.writerow(
                        [
                            name,
                            int(real),
                            int(synthetic),
                            real / (real + synthetic),
                            losses.mean(),
                            error,
                            *(compared[1:] if compared is not None else [""] * 5),
                        ]
                    )
