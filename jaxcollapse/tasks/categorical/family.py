"""Categorical distributions refitted to their own samples, as a task."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws, parts, theory
from jaxcollapse.families import MixtureFacts, TaskFamily
from jaxcollapse.parameters import Axis, Option, declared
from jaxcollapse.products import product
from jaxcollapse.statistics import statistics_pool
from jaxcollapse.task import Task, points_task, with_fields, with_statistics
from jaxcollapse.tasks.categorical.fitting import (
    METRICS,
    Truth,
    absorption,
    counts_of_parts,
    evaluate,
    evaluate_pooled,
    fit,
    nucleus,
    real_probabilities,
    sample,
    tempered,
)


@declared
def task(
    num_outcomes: Annotated[int, Axis(10, 100, 1000, mixture=(10, 1000), symbol="K", least=2)],
    num_samples: Annotated[int, Axis(10, 100, 1000, symbol="N", least=1, batch=True)],
    exponent: Annotated[float, Option(least=0)] = 0.0,
    pool: Literal["auto", "points", "statistics"] = "auto",
) -> Task:
    """Categorical distributions: fitted by frequencies, sampled, and fitted again.

    Args:
      num_outcomes: K, the number of outcomes.
      num_samples: N, the number of real draws and of the draws of every generation.
      exponent: Real probabilities are proportional to ``k^-exponent``: 0 is uniform, 1 Zipf's law.
      pool: "statistics" keeps counts; "points" keeps the outcomes; "auto" uses counts where they
        serve the workflow.

    Raises:
      ValueError: a count is not a whole number or too small, or ``exponent`` is negative.
    """
    checks.known_size("num_samples", num_samples, "")
    p = real_probabilities(num_outcomes, exponent)
    dtype = draws.float_dtype()
    truth = Truth(
        entropy=dtype.type(-np.sum(p * np.log(p))),
        heterozygosity=dtype.type(np.sum(p * (1 - p))),
        probabilities=p.astype(dtype),
    )
    # Words of 32 bits against thresholds of as many: every probability is right to within 2**-32.
    thresholds = np.floor(np.cumsum(p)[:-1] * 2.0**32).clip(0, 2.0**32 - 1).astype(np.uint32)

    def real(key, truth=truth):
        if exponent == 0:
            return draws.integers(key, (num_samples,), num_outcomes)
        words = draws.bits(key, (num_samples,))
        return jnp.searchsorted(thresholds, words, side="right").astype(np.int32)

    count = partial(fit, num_outcomes=num_outcomes)

    def central(key, counts, mass):
        return sample(key, nucleus(counts, mass), num_samples)

    def scaled(counts, times):
        return times * counts.astype(times.dtype)

    def joined(counts, times):
        return product(times, counts.astype(times.dtype))

    points = points_task(
        init=lambda key: (truth, real(key)),
        fit=lambda key, view: count(view.data, inclusion=view.inclusion),
        sample=lambda key, counts: sample(key, counts, num_samples),
        evaluate=evaluate,
        real=real,
        tempered=tempered,
    )
    points = with_fields(
        points,
        central=central,
        pooled=evaluate_pooled,
        scores={
            "real": lambda truth, counts, outcomes: jnp.log(truth.probabilities)[outcomes],
            "model": lambda truth, counts, outcomes: jnp.log(counts.astype(dtype))[outcomes],
        },
    )

    def tally(noise, draw):
        key, rows = noise
        return count(draw(key)) if rows is None else counts_of_parts(draw(key), rows, num_outcomes)

    counted = with_fields(
        points,
        noise=lambda key, rows=None: (key, rows),
        init=lambda noise: (truth, tally(noise, real)),
        pool=lambda truth, workflow, generations: statistics_pool(
            jnp.add, workflow, generations, scaled, joined, num_samples
        ),
        fit=lambda key, view: view.content,
        sample=lambda noise, counts: tally(noise, lambda key: sample(key, counts, num_samples)),
        central=lambda noise, counts, mass: tally(noise, lambda key: central(key, counts, mass)),
        real=lambda noise, truth: tally(noise, real),
        serves=lambda workflow: parts.served(workflow, num_samples, num_outcomes),
        num_rows=num_samples,
    )
    return with_statistics(points, counted, pool)


def _heterozygosity(num_outcomes: int, options: Mapping[str, Any]) -> float:
    return float(1 - np.sum(real_probabilities(num_outcomes, options.get("exponent", 0.0)) ** 2))


def _closed_form(metric, workflow, generation, options, num_outcomes, num_samples):
    exponent = options.get("exponent", 0.0)
    outcomes = real_probabilities(num_outcomes, exponent) if exponent else num_outcomes
    return theory.categorical_metric(metric, workflow, generation, outcomes, num_samples)


def _closed_form_of_mixtures(metric, counts, source, options, num_outcomes):
    if metric != "squared_error":
        return None
    real, synthetic, available = counts
    error = theory.mixture_mean_error(real, synthetic, available, source)
    return _heterozygosity(num_outcomes, options) * error


FAMILY = TaskFamily(
    name="categorical",
    task=task,
    metrics=METRICS,
    # Per generation: overheads, passes over the outcomes, and a search for each draw.
    relative_cost=lambda num_outcomes, num_samples: 300.0 + num_outcomes / 2 + 5 * num_samples,
    closed_form=_closed_form,
    presets={"corrected": {"exponent": 0.0}, "authors": {"exponent": 0.0}},
    summaries=absorption,
    most_rows=2**31 - 1,  # counts are of 32 bits
    mixtures=MixtureFacts(loss="squared_error", closed_form=_closed_form_of_mixtures),
)
