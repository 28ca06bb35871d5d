"""Results that grow: what is missing of the grid of a result and of a plan together."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

from jaxcollapse.sweeps import merging, results
from jaxcollapse.sweeps.plan import Plan

if TYPE_CHECKING:
    import xarray

APART = (
    "a result grows in values of axes, workflows, counts and seeds; "
    "give what else differs a file of its own"
)
OF_ONE_VERSION = (
    "run what is missing into a file of its own, and merge both with jaxcollapse merge "
    "--any-version, which lists them"
)


def missing(plan: Plan, found: xarray.Dataset, name: str) -> list[Plan]:
    """Plans of all that a result lacks of its own grid and a plan's, put together.

    Every value of either stands against every value of the other. A full grid that lies in another
    leaves, dimension by dimension, the new values of this one, with the old values of those before
    and all values of those behind it.

    Args:
      plan: what was asked for.
      found: the result.
      name: of its file, for errors.

    Returns:
      Plans that have no cell in common; none if nothing is missing.

    Raises:
      ValueError: the result differs in what decides the numbers, or a cell of the whole grid is one
        that the task refuses.
    """
    names = [name, "this command"]
    attributes = [found.attrs, results.attributes(plan)]
    merging.check_alike(attributes, names, False, APART, OF_ONE_VERSION)
    old = merging.grid_of(found.attrs)
    whole = merging.union([old, plan.grid])
    plan.on(whole).check()
    pieces = []
    before: merging.Grid = {}
    for dim, values in whole.items():
        new = [value for value in values if value not in old[dim]]
        if new:
            pieces.append(plan.on({**whole, **before, dim: new}))
        before[dim] = old[dim]
    return pieces


def told(found: xarray.Dataset, pieces: Sequence[Plan], name: str) -> str:
    """What a result has and what is run, in one line."""
    has = prod(len(values) for values in merging.grid_of(found.attrs).values())
    lacks = sum(prod(len(values) for values in piece.grid.values()) for piece in pieces)
    what = "mixtures" if results.is_mixture(found) else "chains"
    return f"{name} has {has:,} of {has + lacks:,} {what}; {lacks:,} are missing"
