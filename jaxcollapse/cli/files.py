"""``jaxcollapse plot FILE``, ``jaxcollapse info FILE`` and ``jaxcollapse merge FILE ...``."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import tyro

from jaxcollapse import checks
from jaxcollapse.files import check_output, whole_file
from jaxcollapse.show import tables
from jaxcollapse.sweeps import leftovers, merging, results
from jaxcollapse.sweeps.plan import number_of


@dataclasses.dataclass(frozen=True)
class Plot:
    """Draw a results file: a column a workflow, colours by the last axis, theory dashed.

    Of mixtures, the loss against the synthetic count and against the share of real data. Several
    files are drawn one below the other, over all generations.
    """

    files: tyro.conf.Positional[tuple[Path, ...]]
    """The results file; or several that share workflows and what colours tell apart."""
    out: Path
    """The figure to write (.png, .pdf or .svg)."""
    metric: tuple[str, ...] = ()
    """The metrics to draw, a row each; by default the task's first two."""
    select: tuple[str, ...] = ()
    """Only these values of an axis, as dim=1,3."""
    hue: str | None = None
    """What colours tell apart: an axis, by default the last one of several values, or workflow."""
    against: str | None = None
    """Draw the last generation against this: an axis of numbers, or share, weight, keep or draw of
    the workflows. Five workflows or more that differ in one of these alone are drawn against it by
    default; --against generation draws all generations."""
    statistic: Literal["mean", "median"] = "mean"
    """Draw the mean with its 95% confidence interval, or the median with quartiles."""
    scale: Literal["linear", "log", "symlog"] | None = None
    """The axes of the metrics; by default each metric's own, linear where one is negative."""
    width: str | None = None
    """How wide the figure is: column (3.4 inches) or page (7 inches) of a journal, or so many
    inches; by default as wide as its panels need."""
    caption: bool = False
    """Also print a caption: what is drawn, of what, and what made it."""
    overwrite: bool = False
    """Replace an existing figure."""


@dataclasses.dataclass(frozen=True)
class Info:
    """Say what a results file is, where it came from, and how it ends."""

    file: tyro.conf.Positional[Path]
    """The results file."""
    csv: Path | None = None
    """Also write every number as a table (.csv)."""
    overwrite: bool = False
    """Replace an existing table."""


@dataclasses.dataclass(frozen=True)
class Merge:
    """Make one results file of several, whose seeds, workflows or axes differ."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """The results files, of one task with the same options, metrics and generations."""
    out: Path
    """The results file to write, NetCDF-4 (.nc)."""
    any_version: bool = False
    """Files may be of other versions or commits, which the results then list."""
    overwrite: bool = False
    """Replace existing results."""


def plot(args: Plot) -> None:
    """``jaxcollapse plot FILE``."""
    checks.require("matplotlib", "plot").use("Agg")
    from jaxcollapse.show import against, captions, figures, mixture_figures

    check_output(args.out, (".png", ".pdf", ".svg"), args.overwrite)
    if not args.files:
        raise checks.refusal("results file", "one to draw", "none", "name one")
    named = {}
    for path, name in zip(args.files, names_of(args.files), strict=True):
        leftovers.tidy(path)
        named[name] = select(results.lazily(path), args.select)
    (dataset, *others), width = named.values(), _width(args.width)
    x = args.against or ("generation" if others else None)
    if others and (x != "generation" or any(map(results.is_mixture, named.values()))):
        raise checks.refusal(
            "results in one figure",
            "chains over all generations",
            "mixtures, or --against something else",
            "draw them one by one, or on a page (jaxcollapse explore)",
        )
    if results.is_mixture(dataset):
        asked = args.hue, args.against, args.scale
        if any(asked) or args.statistic != "mean":
            raise checks.refusal(
                "options of a figure of mixtures",
                "--metric and --select alone",
                "--hue, --against, --statistic or --scale",
                "leave these out: it has means over seeds, a colour a real count",
            )
        figure = mixture_figures.figure(dataset, *(args.metric[:1] or (None,)), *width)
    else:
        x = x or against.natural(dataset) or "generation"
        given = args.metric, args.hue, args.statistic
        if x == "generation":
            figure = figures.grid(named if others else dataset, *given, args.scale, *width)
        elif args.scale is not None:
            raise checks.refusal(
                "--scale", "--against generation beside it", x, "draw all generations"
            )
        else:
            figure = against.against(dataset, x, *given, *width)
    with whole_file(args.out) as temporary:
        figure.savefig(temporary)
    print(args.out)
    if args.caption:
        print(captions.caption(named, figure, args.statistic))


def _width(width: str | None) -> tuple[float, ...]:
    """A figure's width in inches, or nothing."""
    from jaxcollapse.show.style import NARROWEST_FIGURE, WIDEST_FIGURE, WIDTHS

    if width is None:
        return ()
    try:
        inches = float(WIDTHS.get(width, width))
    except ValueError:
        inches = math.nan
    if not NARROWEST_FIGURE <= inches <= WIDEST_FIGURE:
        expected = f"{', '.join(WIDTHS)}, or {NARROWEST_FIGURE:g} to {WIDEST_FIGURE:g} inches"
        raise checks.refusal("--width", expected, repr(width), "choose one of those")
    return (inches,)


def info(args: Info) -> None:
    """``jaxcollapse info FILE``."""
    if args.csv is not None:
        check_output(args.csv, (".csv",), args.overwrite)
    leftovers.tidy(args.file)
    dataset = results.lazily(args.file)
    if results.is_mixture(dataset):
        from jaxcollapse.show import mixture_tables

        tables.show_origin(dataset, str(args.file))
        mixture_tables.show(dataset)
    else:
        tables.show(dataset, str(args.file))
    if args.csv is not None:
        with whole_file(args.csv) as temporary, temporary.open("w", newline="") as file:
            for number, cell in enumerate(results.cells_of(dataset, drop=False)):
                cell.to_dataframe().to_csv(file, header=number == 0)


def merge(args: Merge) -> None:
    """``jaxcollapse merge FILE ...``."""
    check_output(args.out, (".nc",), args.overwrite)
    dataset = merging.merge(args.files, args.any_version)
    results.save(dataset, args.out, args.overwrite)
    print(f"{args.out}: {dataset.attrs['title']}, of {number_of(len(args.files), 'file')}")


def select(dataset: Any, choices: Sequence[str]) -> Any:
    """The part of a result at the values of axes given as ``dim=1,3``."""
    axes = [str(d) for d in dataset.dims if d not in ("seed", "generation")]
    for choice in choices:
        name, _, values = choice.partition("=")
        checks.one_of("--select", name, axes)
        present = {str(value): value for value in dataset[name].values}
        chosen = [checks.one_of(f"--select {name}", v, present) for v in values.split(",")]
        dataset = dataset.sel({name: [present[v] for v in chosen]})
    return dataset


def names_of(paths: Sequence[Path]) -> list[str]:
    """The files' names, with as much of their folders as tells them apart."""
    if len(paths) == len({path.name for path in paths}):
        return [path.name for path in paths]
    common = os.path.commonpath([path.absolute().parent for path in paths])
    names = [str(path.absolute().relative_to(common)) for path in paths]
    return checks.distinct("results files", names)
