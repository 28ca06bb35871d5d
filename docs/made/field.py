"""Pages of the field: papers, verdicts on their claims, benchmarks, what has changed."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from text import link, table

from jaxcollapse.bench import report

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "benchmarks" / "results"
PAPERS = json.loads((REPOSITORY / "docs" / "papers.json").read_text())


def pages() -> Iterator[tuple[str, str]]:
    """The pages."""
    yield "field/verdicts.md", _verdicts()
    yield "field/papers.md", "\n".join(_papers())
    yield "field/benchmarks.md", "\n".join(_benchmarks())
    yield "field/changes.md", (REPOSITORY / "CHANGELOG.md").read_text()


def papers_of(kind: str, name: str) -> Iterator[str]:
    """A list of the papers that what is so called stands for."""
    found = [paper for paper in PAPERS if name in paper[kind]]
    if found:
        yield "\n## Papers\n"
        yield from (
            f"- [{cited(paper)}](../../field/papers.md#{paper['key']}): {paper['says']}"
            for paper in found
        )


def cited(paper: dict[str, Any]) -> str:
    """A paper in few words."""
    return f"{paper['authors']}, {paper['year']}"


def _papers() -> Iterator[str]:
    yield "# Reading list\n"
    yield f"{len(PAPERS)} papers on models that train on what models made, with what of each runs"
    yield "here. The records are `docs/papers.json`.\n"
    for paper in PAPERS:
        yield f"## {cited(paper)} {{#{paper['key']}}}\n"
        title = f"*{paper['title']}*, " if paper["title"] else ""
        yield f"{title}[arXiv {paper['arxiv']}](https://arxiv.org/abs/{paper['arxiv']})\n"
        yield f"- **Regime.** {paper['regime']}"
        yield f"- **Claim.** {paper['says']}"
        named = [
            link(name, f"../reference/{kind}/{name}.md")
            for kind in ("tasks", "workflows", "publishers", "metrics")
            for name in paper[kind]
        ]
        yield f"- **Runs here.** {paper['runs']}" + (f" {', '.join(named)}." if named else "")
        if paper["not_here"]:
            yield f"- **Not here.** {paper['not_here']}"
        if paper["experiment"]:
            yield f"- **Try it.** `python experiments/{paper['experiment']}.py`"
        yield ""


def _verdicts() -> str:
    text = (REPOSITORY / "experiments" / "VERDICTS.md").read_text()
    return re.sub(
        r"\b(\d{4}\.\d{5})\b", lambda found: f"[{found[1]}](https://arxiv.org/abs/{found[1]})", text
    )


# Benchmarks -------------------------------------------------------------------------------------


def _benchmarks() -> Iterator[str]:
    yield "# Benchmarks\n"
    yield "From the files in `benchmarks/results`, as they were committed; how to measure"
    yield "a device is told in [benchmark a device](../start/benchmark.md).\n"
    for path in sorted(RESULTS.glob("bench-*.json")):
        facts = json.loads(path.read_text())
        yield f"## {path.stem}\n"
        yield _origin(facts) + "\n"
        for title, headings, rows in report.tables(facts):
            if rows:
                yield f"### {title}\n"
                yield from table(headings, rows)
    language = json.loads((RESULTS / "language-model.json").read_text())
    yield "## Language models\n"
    yield _origin(language) + "\n"
    for what in dict.fromkeys(row["what"] for row in language["rows"]):
        yield f"### {what.capitalize()}\n"
        yield from _records([row for row in language["rows"] if row["what"] == what])
    for path in sorted(RESULTS.glob("*.md")):
        yield re.sub(r"^#", "##", path.read_text(), flags=re.M)
    faults = json.loads((RESULTS / "faults.json").read_text())
    yield "\n## Faults\n"
    yield _origin(faults) + f"\n\n{faults['note']}\n"
    yield from _records(faults["rows"])
    yield "## Seconds of the experiments' cells\n"
    cells: list[tuple[Any, ...]] = []
    for path in sorted(RESULTS.glob("*_cells.csv")):
        with path.open() as file:
            seconds = [float(row["run_seconds"]) for row in csv.DictReader(file)]
        name = path.stem.removesuffix("_cells")
        cells.append((f"`{name}`", len(seconds), f"{sum(seconds):.1f}", f"{max(seconds):.2f}"))
    yield from table(("experiment", "cells", "seconds", "the longest"), cells)


def _origin(facts: dict[str, Any]) -> str:
    return (
        f"{facts['device']}, JAX {facts['jax_version']}, commit `{facts['commit'][:12]}`, "
        f"{facts['created'][:10]}."
    )


def _records(rows: list[dict[str, Any]]) -> list[str]:
    """A table of records, a column for each of their names."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return table(
        [name.replace("_", " ") for name in names],
        [[_shown(row.get(name, "")) for name in names] for row in rows],
    )


def _shown(value: Any) -> str:
    return report.number(value) if isinstance(value, float) else str(value)
