"""Categorical distributions on arrays: sampled, fitted by frequencies, and judged.

The field's smallest model of collapse, and population genetics' Wright-Fisher model: outcomes that
a generation happens not to draw are lost for ever under ``replace``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import draws
from jaxcollapse.families import Summary
from jaxcollapse.metrics import Metric

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
      counts: int32 ``[K]``, with a sum below 2**31, or float, of weighted outcomes.
      num_samples: N.
    """
    if jnp.issubdtype(counts.dtype, jnp.floating):
        return draws.weighted(key, (num_samples,), counts)
    cumulative = jnp.cumsum(counts)
    place = draws.integers(key, (num_samples,), cumulative[-1])
    return jnp.searchsorted(cumulative, place, side="right").astype(np.int32)


# Whole numbers that stand for probabilities sum to about this many.
_TEMPERED_TOTAL = 2.0**30


def tempered(counts: jax.Array, temperature: Any) -> jax.Array:
    """Counts of ``p^(1/T)`` normalised, for p the frequencies: T above 1 flattens, below sharpens.

    What has no count gets none. Of whole counts these are whole numbers too, and the counts
    themselves where T is 1: every probability is right to within 2**-31 and, as float32 computes
    it, about 1e-6 of itself.

    Args:
      counts: int32 or float ``[K]``.
      temperature: T, above 0.
    """
    dtype = draws.float_dtype()
    share = counts.astype(dtype) / jnp.max(counts).astype(dtype)
    present = counts > 0
    log_share = jnp.log(jnp.where(present, share, 1.0))
    weights = jnp.where(present, jnp.exp(log_share / temperature), 0.0)
    weights = weights / jnp.sum(weights)
    if not jnp.issubdtype(counts.dtype, jnp.floating):
        weights = jnp.round(weights * _TEMPERED_TOTAL).astype(counts.dtype)
    return jnp.where(temperature == 1, counts, weights.astype(counts.dtype))


def nucleus(counts: jax.Array, mass: Any) -> jax.Array:
    """The counts of the fewest outcomes that together hold a mass, the others 0.

    Of several with one count those of a smaller number come first.

    Args:
      counts: int32 or float ``[K]``.
      mass: above 0 and up to 1, which holds all of them.
    """
    dtype = draws.float_dtype()
    share = counts.astype(dtype) / jnp.sum(counts).astype(dtype)
    order = jnp.argsort(-share, stable=True)
    sorted_share = share[order]
    kept = jnp.cumsum(sorted_share) - sorted_share < mass
    kept = jnp.zeros(counts.shape, bool).at[order].set(kept)
    return jnp.where(kept | (mass == 1), counts, jnp.zeros((), counts.dtype))


# Fit ----------------------------------------------------------------------------------------


def fit(outcomes: jax.Array, num_outcomes: int, inclusion: jax.Array | None = None) -> jax.Array:
    """Counts ``[K]`` of ``outcomes`` ``[N]`` from 0 to K - 1, int32, or float of weighted ones.

    Args:
      outcomes: int32 ``[N]``.
      num_outcomes: K.
      inclusion: bool or float ``[N]``, of how many outcomes each counts as; 1 by default.
    """
    if inclusion is None:
        return jnp.zeros(num_outcomes, np.int32).at[outcomes].add(1)
    if inclusion.dtype == bool:
        inclusion = inclusion.astype(np.int32)
    return jnp.zeros(num_outcomes, inclusion.dtype).at[outcomes].add(inclusion)


def counts_of_parts(outcomes: jax.Array, rows: jax.Array, num_outcomes: int) -> jax.Array:
    """Counts of the first ``rows`` outcomes of ``[N]``, or ``[P, K]`` of parts of so many each.

    Args:
      outcomes: int32 ``[N]``; what is left of them counts for nothing.
      rows: int32, or ``[P]`` of parts that follow one another.
      num_outcomes: K.
    """
    place = jnp.arange(outcomes.shape[0], dtype=np.int32)
    if rows.ndim == 0:
        return fit(outcomes, num_outcomes, place < rows)
    part = jnp.searchsorted(jnp.cumsum(rows), place, side="right")
    nothing = jnp.zeros((rows.size, num_outcomes), np.int32)
    return nothing.at[part, outcomes].add(1, mode="drop")


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


def evaluate_pooled(truth: Truth, counts: jax.Array) -> dict[str, jax.Array]:
    """Metrics of the average law ``mean_i p_i`` of k models, from counts ``[k, K]``."""
    dtype = draws.float_dtype()
    p = counts.astype(dtype) / jnp.sum(counts, axis=1, keepdims=True).astype(dtype)
    return evaluate(truth, jnp.mean(p, axis=0))


METRICS = {
    "entropy_ratio": Metric(
        "Entropy, fitted / real", "1", speaks_for=("diversity",), real=1.0, pooled=True
    ),
    "outcomes_left": Metric(
        "Outcomes left",
        "outcomes",
        scale="log",
        speaks_for=("modes",),
        real="num_outcomes",
        pooled=True,
    ),
    "heterozygosity_ratio": Metric(
        "Heterozygosity, fitted / real", "1", speaks_for=("variance", "law"), real=1.0, pooled=True
    ),
    "squared_error": Metric(
        "Squared error of the probabilities",
        "1",
        scale="log",
        speaks_for=("loss", "law"),
        real=0.0,
        pooled=True,
    ),
}
ABSORBED = 1e-8  # of the real entropy; with counts, it is reached when one outcome is left


def absorption(metrics: Mapping[str, np.ndarray], generation: np.ndarray) -> dict[str, Summary]:
    """``absorption_generation``: the first with an entropy ratio below 1e-8.

    inf if there is none, so that a median over seeds is right as long as half of them got there.
    """
    if "entropy_ratio" in metrics:
        absorbed = metrics["entropy_ratio"] < ABSORBED
    elif "outcomes_left" in metrics:
        absorbed = metrics["outcomes_left"] == 1
    else:
        return {}
    first = np.where(absorbed.any(axis=-1), generation[np.argmax(absorbed, axis=-1)], np.inf)
    label = "First generation with an entropy ratio below 1e-8; inf where there is none"
    return {"absorption_generation": Summary(first, label)}
