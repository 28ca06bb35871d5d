"""Categorical distributions: fitted by frequencies, sampled, and fitted again.

The field's smallest model of collapse, and population genetics' Wright-Fisher model: outcomes that
a generation happens not to draw are lost for ever under ``replace``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws, theory
from jaxcollapse.chain import Task
from jaxcollapse.families import Mixing, Summary, TaskFamily
from jaxcollapse.metrics import Metric
from jaxcollapse.pools import POOLS, points_pool, statistics_pool

# Parameters ---------------------------------------------------------------------------------


class Truth(NamedTuple):
    """The real distribution.

    Attributes:
      entropy: in nats.
      heterozygosity: ``1 - sum p^2``, the probability that two draws differ.
      probabilities: p, ``[K]``.
    """

    entropy: float
    heterozygosity: float
    probabilities: np.ndarray


def real_probabilities(num_outcomes: int, exponent: float = 0.0) -> np.ndarray:
    """``p_k`` proportional to ``k^-exponent``, ``[K]``: uniform for 0, Zipf's law for 1."""
    weights = np.arange(1, num_outcomes + 1, dtype=np.float64) ** -exponent
    return weights / weights.sum()


# Sample -------------------------------------------------------------------------------------


def sample(key: jax.Array, counts: jax.Array, num_samples: int) -> jax.Array:
    """``num_samples`` outcomes, int32 ``[N]``, each with probability ``counts / sum(counts)``.

    Args:
      key: a typed key.
      counts: int32 ``[K]``, with a sum below 2**31.
      num_samples: N.
    """
    cumulative = jnp.cumsum(counts)
    place = draws.integers(key, (num_samples,), cumulative[-1])
    return jnp.searchsorted(cumulative, place, side="right").astype(np.int32)


# Fit ----------------------------------------------------------------------------------------


def fit(outcomes: jax.Array, num_outcomes: int, mask: jax.Array | None = None) -> jax.Array:
    """Counts, int32 ``[K]``, of ``outcomes`` ``[N]`` from 0 to K - 1, where ``mask`` is True."""
    weight = 1 if mask is None else mask.astype(np.int32)
    return jnp.zeros(num_outcomes, np.int32).at[outcomes].add(weight)


# Evaluate -----------------------------------------------------------------------------------


def evaluate(truth: Truth, counts: jax.Array) -> dict[str, jax.Array]:
    """How much of the real diversity is left.

    Returns:
      ``entropy_ratio``: ``-sum p log p`` over that of the real distribution.
      ``outcomes_left``: how many outcomes have a count.
      ``heterozygosity_ratio``: ``1 - sum p^2`` over that of the real distribution.
      ``squared_error``: ``sum (p - p_0)^2`` from the real distribution.
    """
    dtype = draws.float_dtype()
    present = counts > 0
    p = counts.astype(dtype) / jnp.sum(counts).astype(dtype)
    entropy = -jnp.sum(p * jnp.log(jnp.where(present, p, 1.0)))
    # Summed as p (1 - p), which is 0 to the last digit when one outcome is left.
    heterozygosity = jnp.sum(p * (1.0 - p))
    return {
        "entropy_ratio": entropy / truth.entropy,
        "outcomes_left": jnp.sum(present, dtype=dtype),
        "heterozygosity_ratio": heterozygosity / truth.heterozygosity,
        "squared_error": jnp.sum((p - truth.probabilities) ** 2),
    }


METRICS = {
    "entropy_ratio": Metric("Entropy, fitted / real", "1"),
    "outcomes_left": Metric("Outcomes left", "outcomes", scale="log"),
    "heterozygosity_ratio": Metric("Heterozygosity, fitted / real", "1"),
    "squared_error": Metric("Squared error of the probabilities", "1", scale="log"),
}
ABSORBED = 1e-8  # of the real entropy; with counts, it is reached when one outcome is left


def absorption(metrics: Mapping[str, np.ndarray]) -> dict[str, Summary]:
    """``absorption_generation``: the first with an entropy ratio below 1e-8.

    inf if there is none, so that a median over seeds is right as long as half of them got there.
    """
    if "entropy_ratio" in metrics:
        absorbed = metrics["entropy_ratio"] < ABSORBED
    elif "outcomes_left" in metrics:
        absorbed = metrics["outcomes_left"] == 1
    else:
        return {}
    first = np.where(absorbed.any(axis=-1), 1.0 + np.argmax(absorbed, axis=-1), np.inf)
    label = "First generation with an entropy ratio below 1e-8; inf where there is none"
    return {"absorption_generation": Summary(first, label)}


# Task ---------------------------------------------------------------------------------------


def task(num_outcomes: int, num_samples: int, exponent: float = 0.0, pool: str = "auto") -> Task:
    """Frequencies of N draws of K outcomes.

    Args:
      num_outcomes: K, at least 2.
      num_samples: N, real draws and draws of every generation.
      exponent: real probabilities are proportional to ``k^-exponent``; uniform by default.
      pool: ``"statistics"`` keeps counts; ``"points"`` keeps the outcomes; ``"auto"`` uses counts
        where the workflow allows.

    Raises:
      ValueError: a count is not a whole number or too small, or ``exponent`` is negative.
    """
    num_outcomes = checks.whole_number("num_outcomes", num_outcomes, minimum=2)
    num_samples = checks.whole_number("num_samples", num_samples)
    checks.one_of("pool", pool, POOLS)
    if not 0 <= exponent < float("inf"):
        raise checks.refusal("exponent", "a finite number of at least 0", exponent, "change it")
    p = real_probabilities(num_outcomes, exponent)
    dtype = draws.float_dtype()
    truth = Truth(
        entropy=dtype.type(-np.sum(p * np.log(p))),
        heterozygosity=dtype.type(np.sum(p * (1 - p))),
        probabilities=p.astype(dtype),
    )
    # Words of 32 bits against thresholds of as many: every probability is right to within 2**-32.
    thresholds = np.floor(np.cumsum(p)[:-1] * 2.0**32).clip(0, 2.0**32 - 1).astype(np.uint32)

    def real_outcomes(key):
        if exponent == 0:
            return draws.integers(key, (num_samples,), num_outcomes)
        words = draws.bits(key, (num_samples,))
        return jnp.searchsorted(thresholds, words, side="right").astype(np.int32)

    count = partial(fit, num_outcomes=num_outcomes)
    points = Task(
        init=lambda key: (truth, real_outcomes(key)),
        pool=lambda truth, capacity: points_pool(capacity),
        fit=lambda key, view: count(view.data, mask=view.mask),
        noise=lambda key: key,
        sample=lambda key, counts: sample(key, counts, num_samples),
        evaluate=evaluate,
    )
    statistics = points._replace(
        init=lambda key: (truth, count(real_outcomes(key))),
        pool=lambda truth, capacity: statistics_pool(jnp.add),
        fit=lambda key, view: view.content,
        sample=lambda key, counts: count(sample(key, counts, num_samples)),
    )
    if pool == "statistics":
        return statistics
    return points if pool == "points" else points._replace(statistics=statistics)


def _heterozygosity(num_outcomes: int, options: Mapping) -> float:
    return float(1 - np.sum(real_probabilities(num_outcomes, options.get("exponent", 0.0)) ** 2))


def _theory(metric, workflow, generation, options, num_outcomes, num_samples):
    return theory.categorical_metric(
        metric,
        workflow,
        generation,
        num_outcomes,
        num_samples,
        uniform=options.get("exponent", 0.0) == 0,
        heterozygosity=_heterozygosity(num_outcomes, options),
    )


def _mixture_theory(metric, counts, source, options, num_outcomes):
    if metric != "squared_error":
        return None
    real, synthetic, available = counts
    error = theory.mixture_mean_error(real, synthetic, available, source)
    return _heterozygosity(num_outcomes, options) * error


FAMILY = TaskFamily(
    name="categorical",
    make=task,
    axes=("num_outcomes", "num_samples"),
    metrics=METRICS,
    # Per generation: overheads, passes over the outcomes, and a search for each draw.
    work=lambda num_outcomes, num_samples: 300.0 + num_outcomes / 2 + 5 * num_samples,
    theory=_theory,
    presets={"corrected": {"exponent": 0.0}, "authors": {"exponent": 0.0}},
    summaries=absorption,
    most_rows=2**31 - 1,  # counts are of 32 bits
    mixing=Mixing(loss="squared_error", theory=_mixture_theory),
)
