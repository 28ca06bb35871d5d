"""Checks that grids of every kind share: their axes, the task's options, the memory."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from jaxcollapse import checks
from jaxcollapse.families import TaskFamily
from jaxcollapse.machine import free_memory

# The memory that a grid takes unless told, of what is free: others use the machine too.
SHARE_OF_FREE_MEMORY = 1 / 8


def axes_of(
    family: TaskFamily, names: Iterable[str], axes: Mapping[str, Iterable[Any]]
) -> dict[str, list[Any]]:
    """Distinct values of each of the axes ``names``, in their order.

    Raises:
      ValueError: an axis is missing or unknown, or its values are none or repeated.
    """
    names = list(names)
    if set(axes) != set(names):
        raise checks.refusal(
            f"axes of {family.name}",
            ", ".join(names),
            ", ".join(axes) or "none",
            "give values for each of them",
        )
    return {name: axis_values(name, axes[name]) for name in names}


def axis_values(name: str, values: Iterable[Any]) -> list[Any]:
    """Distinct numbers and names, also when they are written out in a file."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise checks.refusal(f"values of {name}", "a list", repr(values), f"write [{values!r}]")
    # Numbers of NumPy's as Python's own, which labels and files take.
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    for value in plain:
        if not isinstance(value, int | float | str):
            raise checks.refusal(name, "numbers or names", type(value).__name__, "give those")
    if any(isinstance(value, str) for value in plain):
        distinct(name, map(str, plain))
    return distinct(name, plain)


def distinct(name: str, values: Iterable[Any]) -> list[Any]:
    """The values as a list; raises ``ValueError`` if there are none or one is repeated."""
    values = list(values)
    repeated = [value for value, times in Counter(values).items() if times > 1]
    if not values or repeated:
        got = f"{repeated[0]!r} twice" if repeated else "none"
        raise checks.refusal(name, "at least one value, each once", got, "correct the list")
    return values


def check_options(family: TaskFamily, options: Mapping[str, Any]) -> None:
    """Raises ``ValueError`` for an option that the task does not have."""
    known = inspect.signature(family.make).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known):
        return
    names = [parameter.name for parameter in known if parameter.name not in family.axes]
    for option in options:
        checks.one_of(f"option of {family.name}", option, names)


def seed_list(seeds: int | Iterable[int]) -> list[int]:
    """Seeds as they are given, or so many from 0."""
    if not isinstance(seeds, Iterable):
        seeds = range(checks.whole_number("seeds", seeds))
    return distinct("seed", seeds)


def bytes_a_device(limit: float | None) -> float:
    """What running chains may take on one device, of ``limit`` bytes or of what is free."""
    if limit is not None and not 0 < limit < float("inf"):
        raise checks.refusal(
            "memory limit", "more than 0, finite", limit, "change it or leave it out"
        )
    return (limit or SHARE_OF_FREE_MEMORY * free_memory()) / jax.device_count()
