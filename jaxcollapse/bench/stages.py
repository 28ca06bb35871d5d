"""What a program costs, stage by stage: tracing, lowering, compiling, first call, the others."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

# A repeat is worth taking while all of them together have not taken this long, in seconds.
ENOUGH = 2.0


class Staged(NamedTuple):
    """A compiled program and what it took to make.

    Attributes:
      program: what is called.
      jaxpr: what JAX traced.
      seconds: by stage: ``trace``, ``lower``, ``compile``, ``first``.
    """

    program: Any
    jaxpr: Any
    seconds: dict[str, float]


def staged(function: Callable[..., Any], *arguments: Any) -> Staged:
    """A function traced, lowered, compiled and called once, each timed and waited for.

    Args:
      function: jitted or not.
      *arguments: what it is called with.
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
    jax.block_until_ready(program(*arguments))
    lap("first")
    return Staged(program, traced.jaxpr, seconds)


def steady(run: Callable[[], Any], repeats: int = 5, enough: float = ENOUGH) -> list[float]:
    """Seconds of each of several runs, waited for; at least two.

    Args:
      run: what is timed; it has run before.
      repeats: the most runs.
      enough: seconds of all together after which there are no more.
    """
    taken: list[float] = []
    while len(taken) < 2 or (len(taken) < repeats and sum(taken) < enough):
        start = time.perf_counter()
        jax.block_until_ready(run())
        taken.append(time.perf_counter() - start)
    return taken


def median(seconds: list[float]) -> float:
    """The median as a plain number, which files take."""
    return float(np.median(seconds))
