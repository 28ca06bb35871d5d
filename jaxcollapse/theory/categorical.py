"""Closed forms for categorical distributions: means over seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike

from jaxcollapse.theory.gaussian import gaussian_mean_error, gaussian_variance
from jaxcollapse.theory.workflows import record_of

__all__ = [
    "categorical_absorption_cdf",
    "categorical_absorption_quantile",
    "categorical_absorption_time",
    "categorical_heterozygosity",
    "categorical_metric",
    "categorical_squared_error",
    "categorical_survivors",
]


def categorical_heterozygosity(workflow: Any, t: ArrayLike, n: ArrayLike) -> np.ndarray | None:
    """``E H_t / H_0`` with ``H = 1 - sum p^2``: that of the Gaussian's variance with ddof 0.

    Replace ``(1 - 1/N)^t``; accumulate ``prod_{i<=t} (1 - 1/(N i^2))``. H is the sum of the
    variances of the outcomes' indicators, so the formulas and the recursion hold unchanged, for
    every record.
    """
    return gaussian_variance(workflow, t, n, 0)


def categorical_squared_error(
    workflow: Any, t: ArrayLike, n: ArrayLike, heterozygosity: float
) -> np.ndarray | None:
    """``E sum (p_t - p_0)^2``: ``H_0 = 1 - sum p_0^2`` times the Gaussian's mean error, ddof 0.

    Frequencies are means of indicators, whose variances sum to ``H_0``.
    """
    error = gaussian_mean_error(workflow, t, n, 0)
    return None if error is None else heterozygosity * error


def categorical_absorption_time(n: ArrayLike, num_outcomes: int) -> np.ndarray:
    """Mean generations until one outcome is left, replace, uniform, N large.

    ``2 N (K - 1) log(K / (K - 1))``, from the diffusion limit (Kimura & Ohta 1969 for K = 2).
    """
    n = np.asarray(n, np.float64)
    return -2 * n * (num_outcomes - 1) * np.log1p(-1 / num_outcomes)


# Of the series below, and where it begins to need more; P is 0 to the last digit before that.
_TERMS, _SHORTEST = 400, 1e-3


def categorical_absorption_cdf(t: ArrayLike, n: ArrayLike, num_outcomes: int) -> np.ndarray:
    """P that one outcome is left after ``t`` generations, replace, uniform, N large.

    ``1 - sum_{k>=2} (-1)^k (K/2) (P_{k-2}(z) - P_k(z)) exp(-k(k-1) t / 2N)`` with Legendre
    polynomials P and ``z = 1 - 2/K``: Kimura 1955 for K = 2. Derived for all K from the j lines
    of which the N draws descend after t generations (Tavare 1984), which are all of one outcome
    with probability ``K^(1-j)``. So the time is ``N sum_{j>L} E_j / (j(j-1)/2)`` in law, E_j
    standard exponentials and L geometric, ``P(L >= j) = K^(1-j)``.

    Args:
      t: generations, any shape.
      n: N, of a shape that goes with that of ``t``.
      num_outcomes: K, from 2 on; inf for as many outcomes as one likes.
    """
    t, n = np.broadcast_arrays(np.asarray(t, np.float64), np.asarray(n, np.float64))
    k = np.arange(2, _TERMS)
    # K/2 (P_{k-2} - P_k) by Gegenbauer polynomials, whose terms do not cancel for large K.
    less = 1 - 1 / num_outcomes
    share = scipy.special.eval_gegenbauer(k - 2, 1.5, 2 * less - 1)
    weight = np.where(k % 2 == 0, 1, -1) * (2 * k - 1) * 2 * less * share / (k * (k - 1))
    scaled = np.maximum(t / n, _SHORTEST)[..., None]
    later = np.sum(weight * np.exp(-k * (k - 1) * scaled / 2), axis=-1)
    return np.where(t / n > _SHORTEST, np.clip(1 - later, 0, 1), 0.0)


def categorical_absorption_quantile(q: float, n: ArrayLike, num_outcomes: int) -> np.ndarray:
    """Generations until one outcome is left with probability ``q`` of less than 1, N large."""

    def beyond(time):
        return float(categorical_absorption_cdf(time, 1, num_outcomes)) - q

    return np.asarray(n, np.float64) * scipy.optimize.brentq(beyond, 0.0, 1000.0, xtol=1e-12)


def categorical_survivors(
    t: ArrayLike, num_outcomes: int, num_samples: int, largest: int = 400
) -> dict[str, np.ndarray] | None:
    """Expected outcomes left and entropy over the real one under replace from uniform.

    The count of one outcome is a Markov chain, ``X_1 ~ Bin(N, 1/K)``, ``X_{t+1} ~ Bin(N, X_t/N)``,
    so ``E outcomes left = K P(X_t > 0)`` and ``E entropy = -K E (X_t/N) log (X_t/N)``: exact, by
    powers of its ``[N+1, N+1]`` matrix. None for N above ``largest``.
    """
    if num_samples > largest:
        return None
    t = np.asarray(t, np.int64)
    k = np.arange(num_samples + 1)

    def binomial(p):
        log_choose = scipy.special.gammaln(num_samples + 1) - (
            scipy.special.gammaln(k + 1) + scipy.special.gammaln(num_samples - k + 1)
        )
        p = np.asarray(p, np.float64)[..., None]
        return np.exp(
            log_choose + scipy.special.xlogy(k, p) + scipy.special.xlog1py(num_samples - k, -p)
        )

    transition = binomial(k / num_samples)
    share = k / num_samples
    law = binomial(1 / num_outcomes)
    surprise = -scipy.special.xlogy(share, share)
    left, entropy = [], []
    for _ in range(int(t.max(initial=1))):
        left.append(num_outcomes * (1 - law[0]))
        entropy.append(num_outcomes * (law @ surprise) / np.log(num_outcomes))
        law = law @ transition
    return {
        "outcomes_left": np.asarray(left)[t - 1],
        "entropy_ratio": np.asarray(entropy)[t - 1],
    }


def categorical_metric(
    metric: str,
    workflow: Any,
    t: ArrayLike,
    num_outcomes: int,
    num_samples: int,
    uniform: bool = True,
    heterozygosity: float | None = None,
) -> np.ndarray | None:
    """The mean over seeds of a metric of the categorical task, or None where none is known.

    Args:
      metric: its name.
      workflow: its record.
      t: generations, any shape.
      num_outcomes: K.
      num_samples: N.
      uniform: whether the real distribution is.
      heterozygosity: ``1 - sum p^2`` of the real distribution, needed where it is not uniform.
    """
    if metric == "squared_error":
        if uniform:
            heterozygosity = 1 - 1 / num_outcomes
        if heterozygosity is None:
            return None
        return categorical_squared_error(workflow, t, num_samples, heterozygosity)
    if metric == "heterozygosity_ratio":
        return categorical_heterozygosity(workflow, t, num_samples)
    record = record_of(workflow)
    if record is None or not (record.newest_alone and uniform):
        return None
    # Of the N outcomes of one batch a draw leaves as many independent ones.
    known = categorical_survivors(t, num_outcomes, record.draw or num_samples)
    return None if known is None else known.get(metric)
