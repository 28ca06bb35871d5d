"""Publishers that change the law which a model's sample is drawn from."""

from __future__ import annotations

import math
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws
from jaxcollapse.parameters import Axis
from jaxcollapse.task import Task, with_fields


def tempered(task: Task, /, temperature: Annotated[float, Axis(symbol="T", traced=True)]) -> Task:
    """The task whose models are sampled at a temperature; their fits are what they were.

    Of Gaussians ``N(m, T S)`` is sampled in place of ``N(m, S)``; of kernel density estimates the
    kernel has T times its variance; of categorical distributions outcomes have the probabilities
    ``p^(1/T)``, normalised; of regressions the noise of the labels has T times its variance. Both
    kinds of pool serve as before. At T = 1 it is the task itself; at a traced one that is 1 it is
    so to the rounding of sums. Of outcomes any other ends in few of them or in the uniform law
    (Marchi et al. 2404.02325); of the rest derived here, see ``theory.tempered_gaussian_variance``.

    Args:
      task: one that says how its models are tempered, see ``Task.tempered``.
      temperature: T, the temperature at which models are sampled, is above 0: it multiplies the
        variance of what they publish (of categorical data, outcomes have the probabilities
        p^(1/T), normalised).

    Raises:
      ValueError: the task does not say how, or the temperature is not above 0 and finite. It may be
        traced, and is not checked then.
    """
    how, central = task.tempered, task.central
    if how is None:
        raise checks.refusal(
            "temperature of a task",
            "one that says how its models are tempered",
            "one without a function tempered(params, temperature)",
            "give it one, and temper before other publishers do their part",
        )
    by = checked_temperature(temperature)
    if not checks.is_traced(by) and by == 1:
        return task
    return with_fields(
        task,
        sample=lambda noise, params: task.sample(noise, how(params, by)),
        central=central and (lambda noise, params, mass: central(noise, how(params, by), mass)),
        statistics=task.statistics and tempered(task.statistics, by),
    )


def checked_temperature(value: Any) -> Any:
    """A temperature as a number of the precision in use.

    Raises:
      ValueError: it is not above 0 and finite.
    """
    if checks.is_traced(value):
        return jnp.asarray(value, draws.float_dtype())
    number = _number(value)
    if not (math.isfinite(number) and number > 0):
        remedy = "use a small one for what is likeliest, 1 for the models themselves"
        raise checks.refusal("temperature", "a finite number above 0", repr(value), remedy)
    return np.asarray(number, draws.float_dtype())


def truncated(task: Task, /, mass: Annotated[float, Axis(symbol="p", traced=True)]) -> Task:
    """The task whose models publish the central mass of their law alone; tails are cut.

    Of Gaussians the points within the ellipsoid that holds the mass p, by their Mahalanobis
    distance: in D dimensions that multiplies the published covariance by ``F_{D+2}(q) / p`` with
    ``F_D(q) = p`` and F the law of a chi-square; points are drawn, not statistics. Of categorical
    distributions the fewest outcomes that hold p. At p = 1 it is the task itself, on points where
    these are cut. Derived here, see ``theory.truncated_gaussian_factor``.

    Args:
      task: one that says how its tails are cut, see ``Task.central``.
      mass: p, the central mass of each model's law, is 0.01 or more and up to 1: what lies beyond
        is not published.

    Raises:
      ValueError: the task does not say how, or not on the kind of pool that it is to use, or the
        mass is out of range. It may be traced, and is not checked then.
    """
    how = task.central
    if how is None:
        raise checks.refusal(
            "central mass of a task",
            "one that says how its tails are cut",
            "one without a function central(noise, params, mass)",
            "give it one, and cut tails before other publishers do their part",
        )
    by = checked_mass(mass)
    known = task.statistics is not None and task.statistics.central is not None
    if task.use == "statistics" and not known:
        raise checks.refusal(
            "pool of what is truncated",
            "auto or points, since points are what is cut",
            "statistics",
            "use pool='auto'",
        )
    statistics = truncated(task.statistics, by) if known else None
    if not checks.is_traced(by) and by == 1:
        return with_fields(task, statistics=statistics)
    return with_fields(
        task,
        sample=lambda noise, params: how(noise, params, by),
        tempered=None,  # of a law whose tails are there
        central=None,
        statistics=statistics,
    )


def checked_mass(value: Any) -> Any:
    """A share from 0.01 to 1 as a number of the precision in use.

    Raises:
      ValueError: it is none.
    """
    if checks.is_traced(value):
        return jnp.asarray(value, draws.float_dtype())
    number = _number(value)
    if not 0.01 <= number <= 1:
        raise checks.refusal("mass", "a number from 0.01 to 1", repr(value), "change it")
    return np.asarray(number, draws.float_dtype())


def _number(value: Any) -> float:
    """A value as a number; NaN if it is none."""
    try:
        return math.nan if isinstance(value, str | bool) else float(value)
    except (TypeError, ValueError):
        return math.nan
