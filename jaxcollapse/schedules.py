"""Numbers that may change with the generation, and how they are spelled.

A schedule is a number; a tuple of the values of generation 1, 2, ..., of which the last goes on; or
``c*t^-a`` in the generation t.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Decay:
    """``c t^-a`` in the generation t.

    Attributes:
      scale: c.
      power: a.
    """

    scale: Any
    power: Any

    def __str__(self) -> str:
        """As it is spelled."""
        return f"{_text(self.scale)}*t^-{_text(self.power)}"


def read_decay(text: str) -> Decay | None:
    """``c*t^-a`` from its spelling; None if it is something else."""
    number = r"[0-9.eE+-]+"
    found = re.fullmatch(rf"({number})\s*\*\s*t\s*(?:\^|\*\*)\s*-({number})", text.strip())
    try:
        return Decay(*map(float, found.groups())) if found else None
    except ValueError:
        return None


def fraction(name: str, value: Any) -> Any:
    """A schedule of numbers from 0 to 1, from a number, several, or their spelling.

    What is traced stays as it is, unchecked.

    Raises:
      ValueError: it is none, or leaves the interval.
    """
    if value is None:
        return None
    made = _schedule(value)
    if isinstance(made, Decay):
        parts = (made.scale, made.power)
        known = [part for part in parts if not checks.is_traced(part)]
        right = all(0 <= part < float("inf") for part in known)
        right &= checks.is_traced(made.scale) or made.scale <= 1
    elif checks.is_traced(made):
        right = made.ndim <= 1 and jnp.issubdtype(made.dtype, jnp.floating)
    else:
        numbers = made if isinstance(made, tuple) else (made,)
        known = [number for number in numbers if not checks.is_traced(number)]
        right = bool(numbers) and all(isinstance(n, float) and 0 <= n <= 1 for n in known)
    if not right:
        raise checks.refusal(
            name,
            "a number from 0 to 1, one for each generation, or a schedule like 0.5*t^-1",
            checks.described(value) if checks.is_traced(value) else repr(value),
            f"choose one of those, as {name}=0.5",
        )
    return made


def counts(name: str, value: Any) -> Any:
    """Whole numbers of at least 1, of batches 0, 1, ..., from one, several, or their spelling.

    A ``Decay`` in the batch's number, counted from 1, is rounded, and 1 where it is less. What is
    traced stays as it is, unchecked.

    Raises:
      ValueError: there are none, or one is no such number.
    """
    if value is None or checks.is_traced(value):
        return value
    if isinstance(value, str):
        value = read_decay(value) or [_whole(part) for part in value.split(",")]
    if isinstance(value, Decay):
        made = _schedule(value)
        known = [part for part in jax.tree.leaves(made) if not checks.is_traced(part)]
        if made is None or not all(0 <= part < float("inf") for part in known):
            remedy = f"choose {name}=100*t^-0.5, or numbers"
            raise checks.refusal(name, "c*t^-a of finite c and a of at least 0", str(value), remedy)
        return made
    checks.not_too_many(name, value)
    numbers = list(value) if checks.is_several(value) else [value]
    if not numbers:
        raise checks.refusal(name, "at least one number of rows", "none", f"say {name}=10,20,40")
    return tuple(n if checks.is_traced(n) else checks.whole_number(name, n) for n in numbers)


def at(schedule: Any, generation: jax.Array) -> jax.Array:
    """The value of a schedule in a generation, from 1 on; of JAX, float or int32."""
    if isinstance(schedule, Decay):
        dtype = jnp.result_type(float)
        scale, power = (jnp.asarray(part, dtype) for part in (schedule.scale, schedule.power))
        return scale * generation.astype(dtype) ** -power
    if isinstance(schedule, tuple):
        whole = all(jnp.issubdtype(jnp.result_type(n), jnp.integer) for n in schedule)
        dtype = np.dtype(np.int32) if whole else jnp.result_type(float)
        schedule = jnp.stack([jnp.asarray(number, dtype) for number in schedule])
    values = jnp.atleast_1d(jnp.asarray(schedule))
    return values[jnp.clip(generation - 1, 0, values.shape[0] - 1)]


def counts_at(sizes: Any, batch: jax.Array) -> jax.Array:
    """How many rows batches of some numbers have, 0 being the real one: int32."""
    found = at(sizes, jnp.maximum(batch, 0) + 1)
    return _rounded(found, jnp).astype(np.int32) if isinstance(sizes, Decay) else found


def values_of_counts(sizes: Any, batch: Any) -> np.ndarray:
    """The same of sizes that are not traced, float64."""
    found = values(sizes, np.asarray(batch, np.int64) + 1)
    return _rounded(found, np) if isinstance(sizes, Decay) else found


def _rounded(x: Any, module: Any) -> Any:
    """Whole numbers of at least 1; a half, or what float32 may take for less, is rounded up."""
    return module.maximum(module.floor(x * (1 + 1e-5) + 0.5), 1.0)


def values(schedule: Any, generation: Any) -> np.ndarray:
    """The values of a schedule that is not traced in generations of any shape, float64."""
    generation = np.asarray(generation, np.int64)
    if isinstance(schedule, Decay):
        return schedule.scale * np.maximum(generation, 1) ** -float(schedule.power)
    known = np.atleast_1d(np.asarray(schedule, np.float64))
    return known[np.clip(generation - 1, 0, known.size - 1)]


def length(schedule: Any) -> int:
    """How many values of its own a schedule has that is no ``Decay``; 0 of None."""
    if schedule is None:
        return 0
    return len(schedule) if isinstance(schedule, tuple) else int(np.size(schedule))


def fewest(sizes: Any) -> Any:
    """The least of numbers of rows, traced where they are; of a ``Decay``, which ends there, 1."""
    if isinstance(sizes, Decay):
        return 1
    if is_traced(sizes):
        numbers = sizes if isinstance(sizes, tuple) else jnp.atleast_1d(sizes)
        return jnp.min(jnp.stack([jnp.asarray(n) for n in numbers]))
    return min(sizes)


def most(sizes: Any) -> int:
    """The largest of numbers of rows that are not traced."""
    return int(values_of_counts(sizes, 0)) if isinstance(sizes, Decay) else max(sizes)


def is_traced(schedule: Any) -> bool:
    """Whether a part of a schedule is known only while JAX traces."""
    return any(checks.is_traced(leaf) for leaf in jax.tree.leaves(schedule))


def spelled(schedule: Any) -> str:
    """The shortest spelling that is read again: ``0.5``, ``0.9,0.5`` or ``0.5*t^-1.0``."""
    return ",".join(map(_text, schedule)) if isinstance(schedule, tuple) else _text(schedule)


def plain(schedule: Any) -> Any:
    """A schedule as JSON can hold it."""
    if isinstance(schedule, Decay):
        return str(schedule)
    return list(schedule) if isinstance(schedule, tuple) else schedule


def _schedule(value: Any) -> Any:
    """A float, a tuple of floats, a ``Decay``, or what is traced; anything else as it came."""
    if isinstance(value, str):
        parts = value.split(",")
        try:
            return read_decay(value) or _schedule(tuple(map(float, parts)))
        except ValueError:
            return value
    if isinstance(value, Decay):  # of floats, which all have one program
        numbers = tuple(map(_schedule, (value.scale, value.power)))
        known = all(isinstance(n, float) or checks.is_traced(n) for n in numbers)
        return Decay(*numbers) if known else None
    if checks.is_traced(value) or isinstance(value, bool):
        return value
    if isinstance(value, list | tuple) or np.ndim(value):
        numbers = tuple(_schedule(number) for number in value)
        return numbers[0] if len(numbers) == 1 else numbers
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def _whole(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        return text


def _text(value: Any) -> str:
    return "traced" if checks.is_traced(value) else str(value).removesuffix(".0")
