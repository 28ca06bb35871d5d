"""A collapse profile as one HTML page: maps of the grid and curves, light and dark, no network."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jaxcollapse.analysis.profile.definitions import DEFINITIONS, SILENT, Definition
from jaxcollapse.analysis.profile.findings import Finding, Profile
from jaxcollapse.show import figures, pages, profile_curves
from jaxcollapse.show.pages import text
from jaxcollapse.show.profile_tables import brief, compared, notes, sums

if TYPE_CHECKING:
    import xarray

FEW_ROWS = 12  # of a table that is open from the beginning


def page(profile: Profile, dataset: xarray.Dataset) -> str:
    """The page.

    Args:
      profile: of ``dataset``.
      dataset: the result, for curves.

    Raises:
      ImportError: the extra ``plot`` is not installed.
    """
    title = f"Collapse profile: {profile.title}"
    return pages.document(title, sections(profile, dataset))


def sections(profile: Profile, dataset: xarray.Dataset, curves: bool = True) -> str:
    """What the page says below its title; without curves as a part of another page."""
    told = [d for d in DEFINITIONS if _is_told(profile, d.name)]
    silent = [d for d in DEFINITIONS if d not in told]
    parts = [
        *(f"<p class='soft'>{text(note)}</p>" for note in notes(profile)),
        _key(),
        _overview(profile, told),
        *(_section(profile, dataset, definition) for definition in told),
        _silent(profile, silent),
        _theory(profile),
        _curves(profile, dataset) if curves else "",
    ]
    return "".join(parts)


def _class(verdict: str) -> str:
    return "silent" if verdict == SILENT else verdict


def _is_told(profile: Profile, definition: str) -> bool:
    found = [f for f in profile.findings if f.definition == definition]
    return any(f.verdict != SILENT for f in found)


def _key() -> str:
    shown = (
        ("yes", "yes 21: collapses, from generation 21 on"),
        ("no", "no: does not"),
        ("undecided", "?: undecided"),
        ("silent", "-: not told"),
    )
    return "<p class='key'>" + "".join(f"<span class='{c}'>{t}</span> " for c, t in shown) + "</p>"


def _overview(profile: Profile, told: Sequence[Definition]) -> str:
    head = "".join(f"<th>{text(name)}</th>" for name in ("", *profile.workflows))
    rows = []
    for definition in told:
        cells = []
        for workflow in profile.workflows:
            found = profile.of(definition.name, workflow)
            alone = {f.verdict for f in found}
            kind = _class(alone.pop()) if len(alone) == 1 else "mixed"
            said = sums(profile, definition.name, workflow)
            if len(found) == 1 and kind in ("yes", "no"):
                said = brief(found[0])
            cells.append(f"<td class='{kind}'>{text(said)}</td>")
        rows.append(f"<tr><th>{text(definition.title)}</th>{''.join(cells)}</tr>")
    return (
        "<h2>Does it collapse?</h2><div class='wide'><table>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _silent(profile: Profile, silent: Sequence[Definition]) -> str:
    if not silent:
        return ""
    items = "".join(f"<li>{text(d.title)}: {text(compared(profile, d.name))}.</li>" for d in silent)
    return f"<h2>Not told</h2><ul>{items}</ul>"


# Maps -------------------------------------------------------------------------------------------


def _section(profile: Profile, dataset: xarray.Dataset, definition: Definition) -> str:
    rows = _every_cell(profile, definition.name)
    head = (
        f"<h2>{text(definition.title)}</h2>"
        f"<p class='soft'>{text(compared(profile, definition.name))}</p>"
    )
    if all(len(profile.of(definition.name, workflow)) == 1 for workflow in profile.workflows):
        return head + rows  # a map of one cell shows nothing
    maps = [
        f"<div><h3>{text(workflow)}</h3>{_maps(profile, dataset, definition.name, workflow)}</div>"
        for workflow in profile.workflows
    ]
    return (
        f"{head}<div class='row'>{''.join(maps)}</div>"
        f"<details><summary>Every cell</summary>{rows}</details>"
    )


def _maps(profile: Profile, dataset: xarray.Dataset, definition: str, workflow: str) -> str:
    """A table over the two longest axes for every combination of the others."""
    found = profile.of(definition, workflow)
    axes = {name: values for name, values in profile.axes.items() if name in found[0].point}
    order = list(axes)  # of axes of one length the later ones
    longest = sorted(axes, key=lambda name: (len(axes[name]), order.index(name)))[-2:]
    across, down = _placed([name for name in axes if name in longest])
    others = [name for name in axes if name not in (across, down)]
    tables = []
    for values in itertools.product(*(axes[name] for name in others)):
        rest = dict(zip(others, values, strict=True))
        here = [f for f in found if rest.items() <= f.point.items()]
        tables.append(_map(here, dataset, axes, across, down, rest))
    return "".join(tables)


def _placed(names: Sequence[str]) -> tuple[str | None, str | None]:
    """Which axis goes across a map and which down: the last across."""
    return (names[-1] if names else None), (names[0] if len(names) > 1 else None)


def _map(
    found: Sequence[Finding],
    dataset: xarray.Dataset,
    axes: Mapping[str, tuple],
    across: str | None,
    down: str | None,
    rest: Mapping[str, Any],
) -> str:
    said = ", ".join(figures.equation(dataset, name, value) for name, value in rest.items())
    caption = f"<caption>{text(said)}</caption>" if said else ""
    if across is None:
        return f"<table class='map'>{caption}<tr>{_tile(found[0])}</tr></table>"
    corner = figures.label(dataset, across)
    if down is not None:
        corner = f"{figures.label(dataset, down)} \\ {corner}"
    head = "".join(f"<th>{text(value)}</th>" for value in axes[across])
    rows = []
    for value in axes[down] if down is not None else ("",):
        row = [f for f in found if down is None or f.point[down] == value]
        tiles = "".join(_tile(f) for f in row)
        rows.append(f"<tr><th>{text(value)}</th>{tiles}</tr>")
    return (
        f"<div class='wide'><table class='map'>{caption}<thead><tr><th>{text(corner)}</th>"
        f"{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _tile(finding: Finding) -> str:
    title = f"{finding.verdict}: {finding.because}"
    return (
        f"<td class='{_class(finding.verdict)}' title='{text(title)}'>{text(brief(finding))}</td>"
    )


def _every_cell(profile: Profile, definition: str) -> str:
    found = [f for f in profile.findings if f.definition == definition]
    axes = [name for name in found[0].point if len(profile.axes[name]) > 1]
    head = "".join(
        f"<th>{text(name)}</th>"
        for name in ("workflow", *axes, "", "value", "95%", "since", "because")
    )
    rows = []
    for f in found:
        place = (f.workflow, *(f.point[name] for name in axes))
        named = "".join(f"<td>{text(cell)}</td>" for cell in place)
        said = (_number(f.value), _range(f.interval), _since(f), f.because)
        told = "".join(f"<td>{text(cell)}</td>" for cell in said)
        verdict = f"<td class='{_class(f.verdict)}'>{text(f.verdict)}</td>"
        rows.append(f"<tr>{named}{verdict}{told}</tr>")
    return f"<div class='wide'><table class='cells'><tr>{head}</tr>{''.join(rows)}</table></div>"


def _number(value: float) -> str:
    return "" if value != value else f"{value:.3g}"


def _range(interval: tuple[float, float]) -> str:
    low, high = interval
    return "" if low != low else f"{low:.3g} to {high:.3g}"


def _since(finding: Finding) -> str:
    if finding.when == float("inf"):
        return ""
    low, high = (f"{end:.0f}" if end != float("inf") else "later" for end in finding.when_interval)
    return f"{finding.when:.0f} ({low} to {high})" if low != "nan" else f"{finding.when:.0f}"


# Theory and curves ------------------------------------------------------------------------------


def _theory(profile: Profile) -> str:
    found = [(f, f.theory) for f in profile.findings if f.theory is not None]
    if not found:
        return ""
    last, later = profile.generations, found[0][1].later
    axes = list(found[0][0].point)
    headings = ("workflow", *axes, "metric", f"mean at {last}", f"theory at {last}")
    head = "".join(f"<th>{text(name)}</th>" for name in (*headings, f"theory at {later}"))
    rows = []
    for f, t in found:
        mean = f"{t.mean:.3g}" + (f" ± {t.standard_error:.1g}" if t.standard_error >= 0 else "")
        cells = (*(f.workflow, *f.point.values()), t.metric, mean)
        cells = (*cells, f"{t.closed_form:.3g}", f"{t.closed_form_later:.3g}")
        rows.append("<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in cells) + "</tr>")
    return (
        "<h2>The asymptotic law against theory</h2><p class='soft'>Means over seeds with their "
        "standard error, which misleads where the law is heavy-tailed, and the mean known in "
        f"closed form.</p><details{' open' if len(rows) <= FEW_ROWS else ''}>"
        "<summary>Every cell</summary><div class='wide'>"
        f"<table><tr>{head}</tr>{''.join(rows)}</table></div></details>"
    )


def _curves(profile: Profile, dataset: xarray.Dataset) -> str:
    metrics = list(dict.fromkeys(f.metric for f in profile.findings if f.metric))
    parts = ["<h2>Curves</h2><p class='soft'>Median over seeds, with quartiles.</p>"]
    for metric in metrics:
        drawn = "".join(
            f"<figure><figcaption>{text(caption)}</figcaption>{svg}</figure>"
            for caption, svg in profile_curves.panels(dataset, metric, profile.axes)
        )
        name = dataset[metric].attrs.get("long_name", metric)
        parts.append(f"<h3>{text(name)}</h3><div class='curves'>{drawn}</div>")
    return "".join(parts)
