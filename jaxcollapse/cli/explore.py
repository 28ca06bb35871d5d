"""``jaxcollapse explore FILE ...``: a page in which results are looked at from all sides."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import tyro

from jaxcollapse import checks
from jaxcollapse.cli.files import names_of, select
from jaxcollapse.files import check_output, whole_file
from jaxcollapse.sweeps import profiles, results


@dataclasses.dataclass(frozen=True)
class Explore:
    """Make a page of results (.html) in which what is drawn is chosen; it needs no network.

    Metrics, axes, workflows, bands, single seeds, closed forms, tables, the collapse profile, and
    what language models wrote.
    """

    files: tyro.conf.Positional[tuple[Path, ...]]
    """The results files, whose lines are drawn together."""
    out: Path
    """The page to write (.html)."""
    metric: tuple[str, ...] = ()
    """The metrics to hold; all by default."""
    select: tuple[str, ...] = ()
    """Only these values of an axis, as dim=1,3."""
    seeds: int = 10
    """How many single seeds of each file are held, the first ones."""
    texts: int = 3
    """How many texts of each generation are shown, where models wrote some."""
    profile: bool = True
    """Whether the collapse profile is on the page, which takes longer than all else."""
    overwrite: bool = False
    """Replace an existing page."""


def explore(args: Explore) -> None:
    """``jaxcollapse explore FILE ...``."""
    checks.installed("plotly", "explore")
    check_output(args.out, (".html",), args.overwrite)
    checks.whole_number("seeds", args.seeds, minimum=0)
    checks.whole_number("texts", args.texts, minimum=0)
    if not args.files:
        raise checks.refusal("results files", "at least one", "none", "name one")
    from jaxcollapse.show import explorer, language_models

    explored = []
    for path, name in zip(args.files, names_of(args.files), strict=True):
        dataset = select(results.lazily(path), args.select)
        texts = list(language_models.texts_of(path.parent, dataset, args.texts))
        told = _profile(dataset, args.metric) if args.profile else "left out"
        explored.append(explorer.Explored(name, dataset, told, texts))
    page = explorer.page(explored, args.metric, args.seeds)
    with whole_file(args.out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    print(args.out)


def _profile(dataset: Any, metrics: tuple[str, ...]) -> Any:
    """A result's collapse profile, or why it has none."""
    try:
        return profiles.profile(dataset, metrics)
    except ValueError as error:
        return str(error)
