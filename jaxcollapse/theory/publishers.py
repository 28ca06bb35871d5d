"""Closed forms of what publishers do: temperatures, cut tails, several models.

Letters as in ``gaussian``: N points a generation, t the generation (1 is fitted to real data), in
units of the real variance; T a temperature, p a central mass.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from jaxcollapse import checks

__all__ = [
    "tempered_categorical_limit",
    "tempered_gaussian_mean_error",
    "tempered_gaussian_variance",
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
    near = np.isclose(ratio, 1, rtol=1e-12)
    series = np.where(near, t - 1, (1 - ratio ** (t - 1)) / np.where(near, 1.0, 1 - ratio))
    return (1 + ratio * series) / n


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
