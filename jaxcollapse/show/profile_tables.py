"""A collapse profile as tables for a terminal: an overview, and a map of each workflow's grid."""

from __future__ import annotations

from collections import Counter
from typing import Any

from jaxcollapse import checks
from jaxcollapse.analysis.profile.definitions import DEFINITIONS, OPEN, SILENT, VERDICTS, YES
from jaxcollapse.analysis.profile.findings import FEW_SEEDS, Finding, Profile
from jaxcollapse.analysis.profile.growth import CLASSES
from jaxcollapse.show import tables

SHORT_CLASS = {name: name for name in CLASSES} | {"logarithmic": "log", "exponential": "exp"}
NEAR = 5  # standard errors
STYLES = {"yes": "bold red", "no": "green", "undecided": "yellow", "not told": "dim"}


def show(profile: Profile) -> None:
    """Prints the overview, what it rests on, and where the grid collapses."""
    console = checks.require("rich.console", "sweep").Console(highlight=False, markup=False)
    console.width = max(console.width, tables.TABLE_WIDTH)
    console.print(f"Collapse profile: {profile.title}", soft_wrap=True)
    console.print(_overview(profile))
    for definition in DEFINITIONS:
        told = compared(profile, definition.name)
        console.print(f"  {definition.name}: {told}", soft_wrap=True)
    console.print()
    for note in notes(profile):
        console.print(note, soft_wrap=True)
    for workflow in profile.workflows:
        console.print()
        console.print(_map(profile, workflow))


def notes(profile: Profile) -> list[str]:
    """What a reader has to know beside the verdicts, in sentences."""
    told = [
        "Verdicts are of medians over seeds, with 95% intervals from resamples of whole chains; "
        f"{OPEN}: the interval does not decide; {SILENT}: no metric of this result speaks for it.",
        f"The generation is the first from which on a median is beyond its threshold, of "
        f"{profile.generations}.",
    ]
    if 1 < profile.seeds < FEW_SEEDS:
        inside = 1 - 2.0 ** (1 - profile.seeds)
        told.append(
            f"Of {profile.seeds} seeds intervals are rough: the median lies between the least and "
            f"the largest of them in {inside:.3g} of all cases."
        )
    bad = max((finding.nonfinite for finding in profile.findings), default=0)
    if bad:
        told.append(
            f"Chains that are not finite count as collapsed: up to {bad} of {profile.seeds} in "
            "one cell."
        )
    against = [f.theory for f in profile.findings if f.theory is not None]
    if against:
        near = sum(abs(t.mean - t.closed_form) <= NEAR * t.standard_error for t in against)
        told.append(
            f"The mean at the end is within {NEAR} standard errors of its closed form in {near} of "
            f"the {len(against)} cells that have one."
        )
    return told


def sums(profile: Profile, definition: str, workflow: str) -> str:
    """How many cells have which verdict, in words: ``yes 20, no 5``."""
    counts = Counter(finding.verdict for finding in profile.of(definition, workflow))
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{verdict} {counts[verdict]}" for verdict in VERDICTS if counts[verdict])


def compared(profile: Profile, definition: str) -> str:
    """The metric and the threshold of a definition, in words; why none spoke."""
    found = [finding for finding in profile.findings if finding.definition == definition]
    spoke = [finding for finding in found if finding.metric]
    if not spoke:
        return found[0].because if found else ""
    return f"{spoke[0].metric}: {spoke[0].threshold}"


def brief(finding: Finding) -> str:
    """A verdict in a word, with its class or its generation."""
    if finding.verdict == SILENT:
        return "-"
    if finding.definition == "growth" and finding.growth in SHORT_CLASS:
        return SHORT_CLASS[finding.growth]
    if finding.verdict == OPEN:
        return "?"
    if finding.verdict == YES and finding.when != float("inf"):
        return f"yes {finding.when:.0f}"
    return finding.verdict


def _table(title: str, headings: list[str]) -> Any:
    table = tables.plain_table(title)
    for heading in headings:
        table.add_column(heading, overflow="fold")  # names of workflows differ in their ends
    return table


def _overview(profile: Profile) -> Any:
    cells = 1
    for values in profile.axes.values():
        cells *= len(values)
    several = f", of {cells} cells each" if cells > 1 else ""
    table = _table(f"Does it collapse{several}?", ["definition", "", *profile.workflows])
    for definition in DEFINITIONS:
        row = [_styled(profile, definition.name, workflow) for workflow in profile.workflows]
        table.add_row(definition.name, definition.title, *row)
    return table


def _styled(profile: Profile, definition: str, workflow: str) -> Any:
    text = checks.require("rich.text", "sweep").Text
    found = profile.of(definition, workflow)
    if len(found) == 1 and found[0].verdict != SILENT:
        finding = found[0]
        word = brief(finding) if finding.verdict != OPEN else OPEN
        return text(word, style=STYLES[finding.verdict])
    told = sums(profile, definition, workflow)
    return text(told, style=STYLES.get(told, ""))


def _map(profile: Profile, workflow: str) -> Any:
    """A row a point, a column a definition."""
    text = checks.require("rich.text", "sweep").Text
    shown = [
        d for d in DEFINITIONS if any(f.verdict != SILENT for f in profile.of(d.name, workflow))
    ]
    title = f"{workflow}: the generation from which on it collapses"
    table = _table(title, [*profile.axes, *(d.name for d in shown)])
    found = {d.name: profile.of(d.name, workflow) for d in shown}
    points = [f.point for f in profile.of("law", workflow)]
    for point in points:
        row = []
        for definition in shown:
            finding = next(f for f in found[definition.name] if f.point.items() <= point.items())
            row.append(text(brief(finding), style=STYLES[finding.verdict]))
        table.add_row(*map(str, point.values()), *row)
    return table
