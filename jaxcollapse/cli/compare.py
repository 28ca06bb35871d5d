"""``jaxcollapse compare FILE OTHER``: whether two results have one law."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import tyro

from jaxcollapse import checks
from jaxcollapse.show.tables import TABLE_WIDTH, plain_table
from jaxcollapse.sweeps import references, results


@dataclasses.dataclass(frozen=True)
class Compare:
    """Say whether a result has the law of another, or of a figure of the paper.

    Quantiles over seeds are compared wherever both have a cell, a metric and a generation, by a
    test that is exact for any continuous law. It ends with exit code 1 where one is beyond five
    standard errors.
    """

    file: tyro.conf.Positional[Path]
    """The results file, of chains."""
    other: tyro.conf.Positional[str]
    """A reference result by name, of 'jaxcollapse list references', or another results file."""


def compare(args: Compare) -> None:
    """``jaxcollapse compare FILE OTHER``."""
    if args.other not in references.names() and not Path(args.other).is_file():
        known = ", ".join(references.names())
        raise checks.refusal("OTHER", f"a results file or one of {known}", args.other, "name one")
    with results.lazily(args.file) as mine, references.opened(args.other) as other:
        if results.is_mixture(mine):
            raise checks.refusal("results file", "one of chains", str(args.file), "give one")
        for name, (here, there) in references.differing_options(mine, other).items():
            print(f"{name} is {here} here and {there} there")
        seeds = mine.sizes["seed"], other.attrs.get("seeds") or other.sizes["seed"]
        rows = references.compare(mine, other)
    table = plain_table("quantiles over seeds, and the medians where they are least likely")
    for name in ("metric", "workflow"):
        table.add_column(name)
    for name in ("compared", "beyond 5 s.e.", "least chance", "median", "expected"):
        table.add_column(name, justify="right")
    for row in rows:
        found = [f"{row.least_chance:.2g}", f"{row.median:.4g}", f"{row.expected:.4g}"]
        counts = [f"{row.tests:,}", f"{row.differ:,}"]
        table.add_row(row.metric, row.workflow, *counts, *(found if row.tests else "---"))
    checks.require("rich.console", "sweep").Console(width=TABLE_WIDTH).print(table)
    compared = {row.workflow for row in rows}
    alone = [str(name) for name in mine["workflow"].values if name not in compared]
    if alone:
        print(f"not compared, {args.other} has none: {', '.join(alone)}")
    if set(mine["seed"].values.tolist()) & references.seeds_of(other):
        print(f"some seeds are also those of {args.other}: the same chains, which prove nothing")
    left_out = sum(row.left_out for row in rows)
    if left_out:
        print(f"{left_out:,} quantiles left out, which are NaN in one of both")
    tests, differ = (sum(getattr(row, name) for row in rows) for name in ("tests", "differ"))
    worst = min(rows, key=lambda row: row.least_chance)
    print(
        f"{seeds[0]} seeds against {seeds[1]}: {differ:,} of {tests:,} quantiles beyond five "
        f"standard errors; least likely {worst.metric} under {worst.workflow}, {worst.where}"
    )
    if differ:
        raise SystemExit(1)
