"""Closed forms of what publishers do: temperatures, cut tails, several models.

Letters as in ``gaussian``: N points a generation, t the generation (1 is fitted to real data), in
units of the real variance; T a temperature, p a central mass.
"""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import ArrayLike

from jaxcollapse import checks

__all__ = [
    "ensemble_mean_error",
    "ensemble_variance",
    "tempered_categorical_limit",
    "tempered_gaussian_mean_error",
    "tempered_gaussian_variance",
    "truncated_gaussian_factor",
]


def tempered_gaussian_variance(
    t: ArrayLike, n: ArrayLike, temperature: ArrayLike, ddof: int = 0
) -> np.ndarray:
    """``E v_t = c (T c)^(t-1)`` under replace, ``c = 1 - 1/N`` for ddof 0 and 1 for ddof 1.

    Derived here: of N independent points of variance T v the fitted variance has the mean c T v.
    """
    checks.one_of("ddof", ddof, (0, 1))
    arrays = (np.asarray(x, np.float64) for x in (t, n, temperature))
    t, n, temperature = np.broadcast_arrays(*arrays)
    c = 1 - 1 / n if ddof == 0 else np.ones(n.shape)
    return c * (temperature * c) ** (t - 1)


def tempered_gaussian_mean_error(
    t: ArrayLike, n: ArrayLike, temperature: ArrayLike, ddof: int = 0
) -> np.ndarray:
    """``E (mu_t - mu_0)^2 = (1 + T sum_{s<t} E v_s) / N`` under replace.

    The sum is that of a geometric series of ratio ``T c``, see ``tempered_gaussian_variance``.
    """
    checks.one_of("ddof", ddof, (0, 1))
    arrays = (np.asarray(x, np.float64) for x in (t, n, temperature))
    t, n, temperature = np.broadcast_arrays(*arrays)
    c = 1 - 1 / n if ddof == 0 else np.ones(n.shape)
    ratio = temperature * c
    return (1 + ratio * _geometric(ratio, t - 1)) / n


def tempered_categorical_limit(p: ArrayLike, t: int, temperature: float) -> np.ndarray:
    """The model of generation t under replace, N large: ``p_0^(T^-(t-1))``, normalised: ``[K]``.

    Zipf's law of exponent s stays one of Zipf's, of exponent ``s T^-(t-1)``. Outcomes that are not
    drawn are lost, so at any N it holds for so long only as ``N p_t`` is large.

    Args:
      p: p_0, the real probabilities ``[K]``, all above 0.
      t: the generation.
      temperature: T.
    """
    log_p = np.log(np.asarray(p, np.float64)) * float(temperature) ** (1 - t)
    weights = np.exp(log_p - log_p.max())
    return weights / weights.sum()


def truncated_gaussian_factor(mass: ArrayLike, dim: int = 1) -> np.ndarray:
    """What the covariance of a Gaussian is multiplied by if its central mass alone is published.

    ``F_{D+2}(q) / p`` with ``F_D(q) = p`` and F the law of a chi-square, since ``|z|^2`` has the
    mean ``D F_{D+2}(q) / p`` where it is below q; in one dimension ``1 - 2 z phi(z) / p`` with
    ``z = Phi^-1((1 + p)/2)``, 0.623 at p = 0.9. At any N, and for ever: no N cures it.

    Args:
      mass: p.
      dim: D.
    """
    mass = np.asarray(mass, np.float64)
    half_reach = scipy.special.gammaincinv(dim / 2, np.minimum(mass, 1 - 1e-16))
    return np.where(mass < 1, scipy.special.gammainc(dim / 2 + 1, half_reach) / mass, 1.0)


def ensemble_variance(
    t: ArrayLike,
    n: ArrayLike,
    models: ArrayLike,
    ddof: int = 0,
    factor: ArrayLike = 1.0,
    pooled: bool = False,
) -> np.ndarray:
    """``E v_t`` of one of k models, fitted to n = N/k points of a shuffled pool, under replace.

    ``E v_t = c U_t`` with ``c = 1 - 1/n`` for ddof 0 and 1 for ddof 1, and U the unbiased variance
    of the pool: ``U_1 = 1``, ``U_{t+1} = U_t [f c + (k - 1)/(N - 1)]``; for ddof 0 and f = 1 the
    bracket is ``1 - (n - 1)/(n (N - 1))``. Derived here: batches of n points of variance ``f v``
    about means that differ as those of parts of a finite population do. Of the even mixture of the
    models' laws it is ``(c + (k - 1)/N) U_t``, with the spread of their means.

    Args:
      t: generations.
      n: N, a multiple of k.
      models: k.
      ddof: 0 or 1.
      factor: f, what the variance of a model is multiplied by in what it publishes.
      pooled: whether it is that of the mixture.
    """
    checks.one_of("ddof", ddof, (0, 1))
    t, n, k, f = (np.asarray(x, np.float64) for x in (t, n, models, factor))
    c = 1 - k / n if ddof == 0 else np.ones(np.broadcast(k, n).shape)
    apart = (k - 1) / n if pooled else 0.0
    return (c + apart) * _ensemble_ratio(n, k, f * c) ** (t - 1)


def ensemble_mean_error(
    t: ArrayLike,
    n: ArrayLike,
    models: ArrayLike,
    ddof: int = 0,
    factor: ArrayLike = 1.0,
    pooled: bool = False,
) -> np.ndarray:
    """``E (mu_t - mu_0)^2`` of one of k models: ``M_t + U_t (k - 1)/N``, see ``ensemble_variance``.

    ``M_t = (1 + f c sum_{s<t} U_s) / N`` is that of the pool's mean, which is the mean of the even
    mixture of the models' laws (``pooled``). For ddof 0 and f = 1 that of one is ``1 - E v_t``.
    """
    checks.one_of("ddof", ddof, (0, 1))
    t, n, k, f = (np.asarray(x, np.float64) for x in (t, n, models, factor))
    c = 1 - k / n if ddof == 0 else np.ones(np.broadcast(k, n).shape)
    ratio = _ensemble_ratio(n, k, f * c)
    apart = 0.0 if pooled else (k - 1) / n
    return (1 + f * c * _geometric(ratio, t - 1)) / n + ratio ** (t - 1) * apart


def _ensemble_ratio(n: np.ndarray, k: np.ndarray, kept: np.ndarray) -> np.ndarray:
    return kept + (k - 1) / np.maximum(n - 1, 1)


def _geometric(ratio: np.ndarray, terms: np.ndarray) -> np.ndarray:
    """``sum_{i<terms} ratio^i``."""
    near = np.isclose(ratio, 1, rtol=1e-12)
    return np.where(near, terms, (1 - ratio**terms) / np.where(near, 1.0, 1 - ratio))
