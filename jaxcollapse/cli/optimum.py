"""``jaxcollapse best TASK``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from jaxcollapse import checks, optimum
from jaxcollapse.cli import asked
from jaxcollapse.families import TaskFamily
from jaxcollapse.files import check_output, whole_file
from jaxcollapse.sweeps.plan import parse_seeds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Best:
    """Options of every ``best``."""

    vary: str
    """What is varied: weight or share of the workflow, or an option or axis of the task that
    changes no shape, such as temperature or bandwidth."""
    loss: str
    """The metric whose mean over seeds at the last generation is to be least."""
    workflow: str = "fixed-real"
    """The workflow; what is varied of it need not be given."""
    generation: int = 30
    """The last generation."""
    seeds: str = "1000"
    """How many seeds there are from 0 (100 is 0 to 99), or a range FIRST:END without END
    (5:8 is 5 6 7)."""
    bounds: tuple[float, float] | None = None
    """The lower and the upper bound of the values; 0 and 1 of weights and shares."""
    schedule: bool = False
    """Each generation from the second on has a value of its own."""
    budget: float | None = None
    """The mean of a schedule, which then stays what it is."""
    grid: int = 33
    """How many values the grid has, against which the optimum is held."""
    preset: str = "corrected"
    """The options that are not given are those that we recommend (corrected), or those of the
    published experiments (authors)."""
    out: Path | None = None
    """A file to write the optimum and its grid to (.json)."""
    overwrite: bool = False
    """Replace an existing file."""


def parse(family: TaskFamily, command: str, arguments: list[str]) -> Any:
    """The options of ``best`` for a task."""
    # A grid is of one cell, so no axis has several values by default.
    none = dict.fromkeys(family.axes, ())
    return asked.parsed(options(family), command, arguments, **none)


def options(family: TaskFamily) -> type:
    """The dataclass of the options of ``best`` for a task."""
    return asked.options_class(family, Best)


def best(args: Any) -> None:
    """``jaxcollapse best TASK``: where a loss is least, with its interval, beside a grid."""
    if args.out is not None:
        check_output(args.out, (".json",), args.overwrite)
    axes: dict[str, Any] = {}
    for name, values in asked.axes_of(args, args.family.axes).items():
        if len(values) > 1:
            raise checks.refusal(f"values of {name}", "one", values, "ask for each on its own")
        axes.update(zip([name], values, strict=False))  # of some there is none
    found = optimum.best(
        args.family,
        args.workflow,
        args.vary,
        args.loss,
        args.generation,
        axes,
        parse_seeds(args.seeds),
        args.bounds,
        args.schedule,
        args.budget,
        args.grid,
        args.preset,
        **asked.options_of(args),
    )
    _show(found, args.loss, args.generation)
    if args.out is not None:
        with whole_file(args.out) as temporary:
            temporary.write_text(json.dumps(_plain(found), indent=1) + "\n")
        print(args.out)


def _show(found: optimum.Optimum, loss: str, generation: int) -> None:
    best_of_grid = int(np.argmin(found.grid_loss))
    print(f"mean {loss} at generation {generation}: {found.loss:.6g} +- {found.loss_error:.2g}")
    rows = zip(*map(np.atleast_1d, (found.value, found.low, found.high)), strict=True)
    for place, (value, low, high) in enumerate(rows):
        at = f", generation {place + 2}" if found.value.ndim else ""
        none = found.at_end or "no interval"
        interval = none if np.isnan(low) else f"95% interval {low:.5f} to {high:.5f}"
        print(f"{found.name}{at}: {value:.5f}, {interval}")
    of = "constants" if found.value.ndim else "the grid"
    print(
        f"best of {of}: {found.grid[best_of_grid]:.5f} with {found.grid_loss[best_of_grid]:.6g}, "
        f"above the optimum by {found.gain:.2g} +- {found.gain_error:.2g} "
        "over as many fresh seeds"
    )
    if not found.agrees:
        print("the grid holds a better value, or lies elsewhere: give narrower bounds")


def _plain(found: optimum.Optimum) -> dict[str, Any]:
    """An optimum as JSON can hold it; what is not known is null."""

    def one(value: Any) -> Any:
        if isinstance(value, np.ndarray | np.generic):
            value = value.tolist()
        if isinstance(value, list):
            return [one(each) for each in value]
        return None if isinstance(value, float) and not np.isfinite(value) else value

    return {name: one(value) for name, value in found._asdict().items()}
