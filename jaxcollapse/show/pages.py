"""The look of every page: one HTML file, light and dark, no network."""

from __future__ import annotations

import html
from typing import Any

STYLE = """
:root{color-scheme:light dark;--ink:#1d2329;--soft:#5c6670;--paper:#fff;--line:#d5dae0;
--yes:#f6c9b4;--yes-ink:#7c2606;--no:#c9e3ea;--no-ink:#0d4757;--open:#efe6bd;--open-ink:#5d4c00;
--silent:#eef0f2}
@media (prefers-color-scheme:dark){:root{--ink:#e4e8ec;--soft:#9aa5b0;--paper:#14181c;
--line:#343c44;--yes:#6e2a10;--yes-ink:#ffd9c7;--no:#123f4c;--no-ink:#c4ecf7;--open:#4b4213;
--open-ink:#f3e7a8;--silent:#22282e}}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);
max-width:70rem;margin:0 auto;padding:1rem}
h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.15rem;margin:2rem 0 .3rem}
h3{font-size:.95rem;margin:.8rem 0 .2rem}
p{margin:.3rem 0}.soft,figcaption,caption{color:var(--soft);font-size:.85rem}
.row{display:flex;flex-wrap:wrap;gap:.5rem 1.5rem}.wide{overflow-x:auto}
table{border-collapse:separate;border-spacing:2px;font-size:.85rem}
th{font-weight:500;text-align:left;padding:.15rem .4rem}
.map th{color:var(--soft);text-align:right}.map thead th{text-align:center}
td{padding:.2rem .4rem;border-radius:3px}
.map td{text-align:center;min-width:3rem;padding:.2rem .15rem}
.yes{background:var(--yes);color:var(--yes-ink)}.no{background:var(--no);color:var(--no-ink)}
.undecided{background:var(--open);color:var(--open-ink)}
.silent{background:var(--silent);color:var(--soft)}.mixed{background:var(--silent)}
.cells td,.cells th{white-space:nowrap}
.cells td:last-child{white-space:normal;min-width:15rem}
caption{text-align:left;padding:.2rem 0}
.curves{display:grid;grid-template-columns:repeat(auto-fill,minmax(17rem,1fr));gap:.8rem}
figure{margin:0}svg{width:100%;height:auto}details{margin:.6rem 0}summary{cursor:pointer}
.key span{padding:.1rem .5rem;border-radius:3px;margin-right:.4rem;font-size:.85rem}
"""


def text(value: Any) -> str:
    """A value as the text of a page, or of an attribute in quotes."""
    return html.escape(str(value), quote=True)


def document(title: str, body: str, style: str = "") -> str:
    """A whole page.

    Args:
      title: of the page, and its headline.
      body: HTML below the headline.
      style: rules beside those of every page.
    """
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        f"<title>{text(title)}</title><style>{STYLE}{style}</style></head>\n"
        f"<body><h1>{text(title)}</h1>{body}</body></html>\n"
    )
