"""Results to explore, as one HTML page in which what is drawn is chosen; no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxcollapse import checks
from jaxcollapse.analysis.profile.findings import Profile
from jaxcollapse.show import explorer_data, profile_page
from jaxcollapse.show.language_models import Text
from jaxcollapse.show.pages import document, text
from jaxcollapse.show.tables import PROVENANCE

if TYPE_CHECKING:
    import xarray

STYLE = """
.choices,.ticks{display:flex;flex-wrap:wrap;gap:.4rem .8rem;margin:.4rem 0;align-items:end}
.choices label{display:flex;flex-direction:column;font-size:.8rem;color:var(--soft);min-width:0}
select,button{font:inherit;font-size:.9rem;color:var(--ink);background:var(--silent);
border:1px solid var(--line);border-radius:4px;padding:.25rem .4rem;max-width:18rem;
text-overflow:ellipsis}
input{accent-color:#3f6fd1}
fieldset{border:1px solid var(--line);border-radius:4px;padding:.1rem .5rem .3rem;margin:0;
display:flex;flex-wrap:wrap;gap:.1rem .8rem;min-width:0}
legend{font-size:.75rem;color:var(--soft);padding:0 .3rem}
.tick{font-size:.9rem;white-space:nowrap}
:focus-visible{outline:2px solid #3f6fd1;outline-offset:2px}
#picture{min-height:22rem;margin:.6rem -.4rem 0}
.texts{display:grid;grid-template-columns:minmax(2rem,auto) 1fr;gap:.3rem .8rem;font-size:.9rem}
.texts p{margin:0 0 .35rem;overflow-wrap:anywhere}
kbd{border:1px solid var(--line);border-radius:3px;padding:0 .25rem;font-size:.8rem}
@media (max-width:40rem){.choices{display:grid;grid-template-columns:1fr 1fr}
.choices select{width:100%}body{padding:.7rem}}
"""
KEYS = (
    ("m", "the next metric"),
    ("b", "the next bands"),
    ("x", "the scale of the horizontal axis"),
    ("y", "of the vertical one"),
    ("s", "single seeds"),
    ("t", "closed forms"),
)


class Explored(NamedTuple):
    """A result on the page.

    Attributes:
      name: what the page calls it.
      dataset: of a sweep or of mixtures.
      profile: its collapse profile, or why there is none.
      texts: of its models, in order, where it has some.
    """

    name: str
    dataset: xarray.Dataset
    profile: Profile | str
    texts: Sequence[Text] = ()


def page(explored: Sequence[Explored], metrics: Sequence[str] = (), seeds: int = 10) -> str:
    """The page, with the library that draws it.

    Args:
      explored: the results, which share what they have in common: a metric, workflows, axes.
      metrics: those to hold; all where there are none.
      seeds: how many single seeds of each are held.

    Raises:
      ValueError: see ``explorer_data.described``; or two results have one name.
      ImportError: the extra ``explore`` is not installed.
    """
    plotly = checks.require("plotly.offline", "explore").get_plotlyjs()
    names = checks.distinct("names of results", [one.name for one in explored])
    room = explorer_data.MOST_NUMBERS // len(names)
    data = [
        explorer_data.described(one.dataset, one.name, metrics, seeds, room) for one in explored
    ]
    told = explored[0].dataset.attrs["title"] if len(names) == 1 else f"{len(names)} results"
    script = resources.files("jaxcollapse.show").joinpath("explorer.js").read_text("utf-8")
    parts = [
        *(f"<p class='soft'>{text(note)}</p>" for note in _notes(data)),
        "<noscript><p>This page draws with JavaScript, which is switched off here.</p></noscript>",
        "<form id='controls' aria-label='What is drawn' onsubmit='return false'></form>",
        "<div id='picture' role='img' aria-labelledby='caption'></div>",
        "<p id='caption' class='soft' aria-live='polite'></p>",
        f"<p class='soft'>{', '.join(f'<kbd>{key}</kbd> {said}' for key, said in KEYS)}.</p>",
        "<details><summary>The last points in numbers</summary>"
        "<div class='wide'><table id='table' class='cells'></table></div>"
        "<button id='csv' type='button'>All points as CSV</button></details>",
        *(_texts(one) for one in explored),
        *(_profile(one) for one in explored),
        *(_origin(one) for one in explored),
        f"<script id='data' type='application/json'>{_json(data)}</script>",
        f"<script>{plotly}</script>",
        f"<script>{script}</script>",
    ]
    return document(told, "".join(parts), STYLE)


def _json(data: Any) -> str:
    """JSON that ends no script early."""
    return json.dumps(data, separators=(",", ":")).replace("</", "<\\/")


def _notes(data: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each result is, and what of it is not held."""
    return [f"{file['name']}: {'; '.join([file['title'], *file['notes']])}." for file in data]


def _texts(one: Explored) -> str:
    """What models wrote, a block a chain, a row a generation."""
    chains: dict[str, list[Text]] = {}
    for found in one.texts:
        chains.setdefault(found.chain, []).append(found)
    blocks = []
    for chain, generations in chains.items():
        rows = "".join(
            f"<b>{found.generation}</b><div>"
            + "".join(f"<p>{text(document)}</p>" for document in found.documents)
            + "</div>"
            for found in generations
        )
        blocks.append(
            f"<details><summary>{text(chain)}</summary><div class='texts'>{rows}</div></details>"
        )
    if not blocks:
        return ""
    return f"<h2>What models of {text(one.name)} wrote, by generation</h2>{''.join(blocks)}"


def _profile(one: Explored) -> str:
    title = f"Collapse profile of {text(one.name)}"
    if isinstance(one.profile, str):
        return f"<details><summary>{title}</summary><p>None: {text(one.profile)}</p></details>"
    said = profile_page.sections(one.profile, one.dataset, curves=False)
    return f"<details><summary>{title}</summary>{said}</details>"


def _origin(one: Explored) -> str:
    attrs = one.dataset.attrs
    rows = "".join(
        f"<tr><th>{text(key.replace('_', ' '))}</th><td>{text(attrs[key])}</td></tr>"
        for key in ("preset", "options", *PROVENANCE)
        if key in attrs
    )
    return (
        f"<details><summary>Where {text(one.name)} came from</summary>"
        f"<div class='wide'><table class='cells'>{rows}</table></div></details>"
    )
