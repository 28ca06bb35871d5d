"""``jaxcollapse profile FILE``: whether and when a result collapses, by eight definitions."""

from __future__ import annotations

import dataclasses
import json as jsons
from pathlib import Path
from typing import Literal

import tyro

from jaxcollapse import checks
from jaxcollapse.analysis.profile.definitions import Thresholds
from jaxcollapse.cli.files import select
from jaxcollapse.files import check_output, whole_file
from jaxcollapse.show import profile_tables
from jaxcollapse.sweeps import profiles, results


@dataclasses.dataclass(frozen=True)
class Profile:
    """Say whether and when a result collapses, by each of eight definitions.

    Verdicts have thresholds, 95% intervals over seeds, and a comparison of growth classes behind
    them; what no metric of the result speaks for is not told.
    """

    file: tyro.conf.Positional[Path]
    """The results file, of chains."""
    out: Path | None = None
    """Also write a page of maps and curves (.html), which needs no network."""
    json: Path | None = None
    """Also write all findings (.json)."""
    metric: tuple[str, ...] = ()
    """The metrics that may speak, of several for one definition the first; all by default."""
    select: tuple[str, ...] = ()
    """Only these values of an axis, as dim=1,3."""
    beyond_use: float = Thresholds().beyond_use
    """A loss is beyond use above so many times that of the first model; of losses in nats their
    exponentials are compared."""
    growth: Literal["logarithmic", "root", "linear", "power", "exponential"] = "linear"
    """The slowest growth of the loss that counts as a collapse."""
    variance: float = Thresholds().variance
    """The variance has gone below this share of the real one."""
    modes: float = Thresholds().modes
    """Modes, outcomes or tails are lost below this share of the real ones."""
    diversity: float = Thresholds().diversity
    """Diversity has fallen below this share of the first model's."""
    scaling: float = Thresholds().scaling
    """The scaling law in N has changed if its exponent has by more than this."""
    law: float = Thresholds().law
    """The asymptotic law is another one from so many times the first model's distance from the
    real law on."""
    overwrite: bool = False
    """Replace existing files."""


def profile(args: Profile) -> None:
    """``jaxcollapse profile FILE``."""
    if args.out is not None:
        checks.require("matplotlib", "plot").use("Agg")
        check_output(args.out, (".html",), args.overwrite)
    if args.json is not None:
        check_output(args.json, (".json",), args.overwrite)
    dataset = select(results.lazily(args.file), args.select)
    thresholds = {name: getattr(args, name) for name in Thresholds._fields}
    found = profiles.profile(dataset, args.metric, **thresholds)
    profile_tables.show(found)
    if args.json is not None:
        with whole_file(args.json) as temporary:
            temporary.write_text(jsons.dumps(found.as_json(), indent=1, allow_nan=False) + "\n")
        print(args.json)
    if args.out is not None:
        from jaxcollapse.show import profile_page

        page = profile_page.page(found, dataset)
        with whole_file(args.out) as temporary:
            temporary.write_text(page, encoding="utf-8")
        print(args.out)
