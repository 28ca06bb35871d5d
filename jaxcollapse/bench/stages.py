"""What a program costs, stage by stage: tracing, lowering, compiling, first call, the others."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

# A repeat is worth taking while all of them together have not taken this long, in seconds.
ENOUGH = 2.0
LONG = 5.0  # seconds of a run that is not repeated, for it hardly varies


class Staged(NamedTuple):
    """A compiled program and what it took to make.

    Attributes:
      program: what is called.
      jaxpr: what JAX traced.
      seconds: by stage: ``trace``, ``lower``, ``compile`` and, once it has run, ``first``.
    """

    program: Any
    jaxpr: Any
    seconds: dict[str, float]


def built(function: Callable[..., Any], *arguments: Any) -> Staged:
    """A function traced, lowered and compiled, each timed.

    Args:
      function: jitted or not.
      *arguments: what it is to be called with.
    """
    seconds = {}
    start = time.perf_counter()

    def lap(stage: str) -> None:
        nonlocal start
        now = time.perf_counter()
        seconds[stage] = now - start
        start = now

    jitted = function if hasattr(function, "trace") else jax.jit(function)
    traced = jitted.trace(*arguments)
    lap("trace")
    lowered = traced.lower()
    lap("lower")
    program = lowered.compile()
    lap("compile")
    return Staged(program, traced.jaxpr, seconds)


def staged(function: Callable[..., Any], *arguments: Any) -> Staged:
    """A function built and called once, which is timed too and waited for."""
    made = built(function, *arguments)
    made.seconds["first"] = once(partial(made.program, *arguments))
    return made


def once(run: Callable[[], Any]) -> float:
    """Seconds of one run, waited for."""
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


def steady(run: Callable[[], Any], repeats: int = 5, enough: float = ENOUGH) -> list[float]:
    """Seconds of each of several runs, waited for; at least two, or one that is long.

    Args:
      run: what is timed; it has run before.
      repeats: the most runs.
      enough: seconds of all together after which there are no more.
    """
    taken: list[float] = []
    while (
        not taken
        or (len(taken) < 2 and taken[0] < LONG)
        or (len(taken) < repeats and sum(taken) < enough)
    ):
        taken.append(once(run))
    return taken


def median(seconds: list[float]) -> float:
    """The median as a plain number, which files take."""
    return float(np.median(seconds))
