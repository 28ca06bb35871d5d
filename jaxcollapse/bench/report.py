"""What a benchmark found, as tables in a terminal; and two benchmarks beside one another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxcollapse import checks
from jaxcollapse.bench.ceilings import EACH, Ceiling, said
from jaxcollapse.show.tables import plain_table

Facts = Mapping[str, Any]
WIDTH = 132  # narrower, tables would cut the names of cells


def point(row: Facts) -> str:
    """The values of a cell's axes, in words."""
    return " ".join(f"{name}={value}" for name, value in row["cell"].items())


def show(facts: Facts) -> None:
    """Prints the tables of a benchmark."""
    console = _console()
    cache = facts["compilation_cache"]
    console.print(f"{facts['device']}, {facts['seconds']:.0f} s", soft_wrap=True)
    if cache != "none":
        console.print(f"compile times may be of programs kept in {cache}", soft_wrap=True)
    for title, headings, rows in tables(facts):
        if rows:
            console.print()
            console.print(_table(title, headings, rows))
    summary = facts.get("against_summary")
    if summary and summary["cells"]:
        console.print(
            f"The best of the others takes {number(summary['geometric_mean'])} times as long "
            f"(geometric mean of {summary['cells']} cells), at the least "
            f"{number(summary['least'])} times: {summary['least_cell']}",
            soft_wrap=True,
        )
    for unequal in (summary or {}).get("unequal", ()):
        console.print(f"no ratio, for the laws differ: {unequal}", soft_wrap=True)
    for what in facts["left_out"]:
        console.print(f"left out, for there was no time: {what}", soft_wrap=True)
    console.print(
        "\nThe bound is the limit that would take most of the run by itself, and the share how "
        "much of it; a small share says that no limit binds, but many small operations do.",
        soft_wrap=True,
    )


def _console() -> Any:
    console = checks.require("rich.console", "sweep").Console(highlight=False, markup=False)
    console.width = max(console.width, WIDTH)
    return console


def _table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    table = plain_table(title)
    words = ("", "task", "workflow", "cell", "bound", "what", "model", "limit")
    for heading in headings:
        side: Any = "left" if heading in words else "right"
        table.add_column(heading, justify=side, min_width=len(heading), no_wrap=heading != "bound")
    for row in rows:
        table.add_row(*row)
    return table


def number(value: Any, digits: int = 3) -> str:
    """A number in few digits, with separators rather than exponents; "" for none."""
    if value is None:
        return ""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, decimals):,.{max(0, decimals)}f}"


def tables(facts: Facts) -> Iterator[tuple[str, Sequence[str], list[list[str]]]]:
    """The title, headings and rows of each table of a benchmark; no rows where it has none."""
    limits = [row for row in facts["ceilings"] if "value" in row]
    yield (
        "Limits of one device",
        ("limit", "rate"),
        [[row["kind"], said(Ceiling(**row))] for row in limits],
    )
    settings = facts["settings"]
    chains = [row for row in facts["cells"] if "task" in row]
    for task in dict.fromkeys(row["task"] for row in chains):
        yield (
            f"{task}: {settings['seeds']} seeds, {settings['generations']} generations; seconds",
            (
                *("workflow", "cell", "trace", "lower", "compile", "first", "run"),
                *("generations/s", "MiB", "bound", "share"),
            ),
            [_of_cell(row) for row in chains if row["task"] == task],
        )
    yield (
        "More seeds a call",
        ("task", "workflow", "cell", "seeds", "run s", "generations/s"),
        [
            [row["task"], row["workflow"], row["label"], f"{row['seeds']:,}", *_rate(row)]
            for row in facts["seeds"]
            if "task" in row
        ],
    )
    yield (
        "Language models",
        ("what", "model", "seeds", "compile s", "tokens/s", "share of peak"),
        [
            [
                row["what"],
                f"{row['model']} {row['dtype']}",
                str(row["seeds"]),
                number(row.get("compile_seconds")),
                row.get("error") or number(row["tokens_per_second"]),
                _percent(row.get("share_of_peak")),
            ]
            for row in facts["language_models"]
            if "what" in row
        ],
    )
    libraries = list(
        dict.fromkeys(name for row in facts["against"] for name in row.get("peers", ()))
    )
    yield (
        "Against others: how many times as long they take",
        ("task", "workflow", "cell", "run s", *libraries),
        [
            [
                *(row["task"], row["workflow"], row["label"]),
                row.get("error") or number(row.get("run_seconds")),
                *(_ratio(row["peers"].get(library, {})) for library in libraries),
            ]
            for row in facts["against"]
            if "task" in row
        ],
    )


def _of_cell(row: Facts) -> list[str]:
    name = [row["workflow"], row["label"]]
    stages = [number(row.get(f"{stage}_seconds"), 2) for stage in STAGES]
    if "error" in row:
        return [*name, *stages, row["error"], "", "", "", ""]
    memory = row.get("temp_bytes")
    return [
        *(*name, *stages, *_rate(row)),
        "" if memory is None else number((memory + row["output_bytes"]) / 2**20, 2),
        row["bound"],
        _percent(row["share"]),
    ]


STAGES = ("trace", "lower", "compile", "first")


def _rate(row: Facts) -> list[str]:
    if "error" in row:
        return [row["error"], ""]
    return [number(row["run_seconds"]), number(row["generations_per_second"])]


def _percent(share: Any) -> str:
    return "" if share is None else f"{share:.1%}"


def _ratio(peer: Facts) -> str:
    if peer.get("differs"):
        return "other laws"
    return number(peer["ratio"]) if "ratio" in peer else "failed"


# Two benchmarks ---------------------------------------------------------------------------------


def compare(first: Facts, second: Facts) -> None:
    """Prints how the rates of a second benchmark compare with those of a first."""
    console = _console()
    console.print(f"first:  {_made(first)}", soft_wrap=True)
    console.print(f"second: {_made(second)}", soft_wrap=True)
    for title, ratios, alone in compared(first, second):
        if ratios:
            console.print()
            headings = ("what", "first", "second", "second / first")
            rows = [[name, number(a), number(b), number(b / a)] for name, a, b in ratios]
            console.print(_table(title, headings, rows))
            mean = math.exp(sum(math.log(b / a) for _, a, b in ratios) / len(ratios))
            console.print(f"geometric mean {number(mean)}")
        if alone:
            console.print(f"{title}: in one of them alone: {len(alone)}: {'; '.join(alone)}")


def _made(facts: Facts) -> str:
    return f"{facts['device']}, jax {facts['jax_version']}, {facts['created']}, {facts['commit']}"


def compared(
    first: Facts, second: Facts
) -> Iterator[tuple[str, list[tuple[str, float, float]], list[str]]]:
    """By part: rates that both have, as (name, first, second), and the names of the others.

    Higher is better in all of them: decompositions are told as how many are made in a second.
    """
    for title, part in PARTS.items():
        one, other = (_rates(facts[part], part) for facts in (first, second))
        both = [(name, one[name], other[name]) for name in one if name in other]
        yield (
            title,
            both,
            [name for name in {**one, **other} if name not in one or name not in other],
        )


PARTS = {
    "Limits, a second": "ceilings",
    "Chain-generations a second": "cells",
    "Chain-generations a second, more seeds": "seeds",
    "Tokens a second": "language_models",
}


def _rates(rows: Sequence[Facts], part: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for row in rows:
        if "error" in row:
            continue
        if part == "ceilings":
            each = row["unit"] == EACH
            found[row["kind"]] = 1e6 / row["value"] if each else row["value"]
        elif part == "language_models":
            sizes = f"seeds {row['seeds']}, {row['rows']} x {row['tokens']}"
            name = f"{row['what']} {row['model']} {row['dtype']}, {sizes}"
            found[name] = row["tokens_per_second"]
        else:
            size = f"{row['seeds']} seeds, {row['generations']} generations"
            name = f"{row['task']} {row['workflow']} {point(row)}, {size}"
            found[name] = row["generations_per_second"]
    return found
