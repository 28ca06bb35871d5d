"""Closed forms for categorical distributions: means over seeds."""

from __future__ import annotations

import functools
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
    "categorical_survivors_of_many",
]


def categorical_heterozygosity(workflow: Any, t: ArrayLike, n: ArrayLike) -> np.ndarray | None:
    """``E H_t / H_0`` with ``H = 1 - sum p^2``: that of the Gaussian's variance with ddof 0.

    Replace ``(1 - 1/N)^t``; accumulate ``prod_{i<=t} (1 - 1/(N i^2))``. H is the sum of the
    variances of the outcomes' indicators, so the formulas and the recursions hold unchanged, for
    every record, with a share, a weight or sizes too: with fresh real data of weight w, n real rows
    and m synthetic ones, ``H' = 1 - w^2/n - (1-w)^2 (1 - H (1 - 1/m))`` in units of ``H_0``.
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


# N up to which powers of a matrix of N + 1 rows are taken: of 1000, 8 MB and some ms a generation.
_LARGEST = 1000


def categorical_survivors(
    t: ArrayLike, outcomes: ArrayLike, num_samples: int, largest: int = _LARGEST
) -> dict[str, np.ndarray] | None:
    """Expected outcomes left and entropy over the real one under replace, of any real law.

    The count of an outcome of probability p is a Markov chain, ``X_1 ~ Bin(N, p)``,
    ``X_{t+1} ~ Bin(N, X_t/N)``, whatever the others do. So ``E outcomes left = sum_i P(X_t > 0)``
    and ``E entropy = -sum_i E (X_t/N) log (X_t/N)``: exact, by powers of its ``[N+1, N+1]`` matrix
    between these and the sum of the laws of all outcomes.

    Args:
      t: generations, any shape.
      outcomes: K of the uniform law, or the probabilities ``[K]``.
      num_samples: N.
      largest: N above which None is returned; see ``categorical_survivors_of_many`` there.
    """
    if num_samples > largest:
        return None
    t = np.asarray(t, np.int64)
    p, count = _laws(outcomes)
    law = np.zeros(num_samples + 1)
    for first in range(0, p.size, 1000):  # of so many outcomes at a time
        some = slice(first, first + 1000)
        law += count[some] @ _binomial(p[some], num_samples)
    left, entropy = (_later(num_samples, int(t.max(initial=1))) @ law).T
    real_entropy = -count @ scipy.special.xlogy(p, p)
    return {"outcomes_left": left[t - 1], "entropy_ratio": entropy[t - 1] / real_entropy}


def categorical_survivors_of_many(
    t: ArrayLike, outcomes: ArrayLike, num_samples: int
) -> np.ndarray:
    """Expected outcomes left under replace, of any real law and many samples: an approximation.

    ``sum_i [1 - exp(-N p_i g_t)]`` with ``g_1 = 1``, ``g' = 1 - exp(-g)``, counts taken for
    Poisson's (after Suresh et al. 2412.17646). For Zipf's law of exponent 1 and K = N = 1000 it is
    0.4% low at t = 20; ``categorical_survivors`` is exact.

    Args:
      t: generations, any shape.
      outcomes: K of the uniform law, or the probabilities ``[K]``.
      num_samples: N.
    """
    t = np.asarray(t, np.int64)
    p, count = _laws(outcomes)
    g, left = 1.0, []
    for _ in range(int(t.max(initial=1))):
        left.append(-count @ np.expm1(-num_samples * p * g))
        g = -np.expm1(-g)
    return np.asarray(left)[t - 1]


def _laws(outcomes: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Different probabilities, and how many outcomes have each."""
    if np.ndim(outcomes) == 0:
        number = float(np.asarray(outcomes))
        return np.asarray([1 / number]), np.asarray([number])
    return np.unique(np.asarray(outcomes, np.float64), return_counts=True)


def _binomial(p: np.ndarray, n: int) -> np.ndarray:
    """``P(Bin(n, p) = k)``, ``[..., n + 1]``."""
    k = np.arange(n + 1)
    special = scipy.special
    log_choose = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    p = np.asarray(p, np.float64)[..., None]
    return np.exp(log_choose + special.xlogy(k, p) + special.xlog1py(n - k, -p))


@functools.lru_cache(maxsize=4)
def _later(n: int, num_generations: int) -> np.ndarray:
    """What is expected of an outcome of which there are k now: ``[G, 2, n + 1]``.

    Whether it is there, and its ``-x log x`` of the share x it has, now and in each generation that
    follows; by the matrix of one generation, which is the same for all real laws.
    """
    share = np.arange(n + 1) / n
    step = _binomial(share, n)
    expected = np.stack([share > 0, -scipy.special.xlogy(share, share)], axis=-1)
    found = np.empty((num_generations, 2, n + 1))
    for generation in range(num_generations):
        found[generation] = expected.T
        expected = step @ expected
    return found


def categorical_metric(
    metric: str,
    workflow: Any,
    t: ArrayLike,
    outcomes: ArrayLike,
    num_samples: int,
) -> np.ndarray | None:
    """The mean over seeds of a metric of the categorical task, or None where none is known.

    Args:
      metric: its name.
      workflow: its record.
      t: generations, any shape.
      outcomes: K of the uniform law, or the probabilities ``[K]`` of the real one.
      num_samples: N.
    """
    if metric == "squared_error":
        p, count = _laws(outcomes)
        return categorical_squared_error(workflow, t, num_samples, float(1 - count @ p**2))
    if metric == "heterozygosity_ratio":
        return categorical_heterozygosity(workflow, t, num_samples)
    record = record_of(workflow)
    if record is None or not record.newest_alone:
        return None
    # Of the N outcomes of one batch a draw leaves as many independent ones.
    known = categorical_survivors(t, outcomes, record.draw or num_samples)
    return None if known is None else known.get(metric)
