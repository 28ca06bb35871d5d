"""Closed forms of real data in every generation: what it ends at, and which weight is best."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

__all__ = [
    "gaussian_fixed_real_mean_error",
    "gaussian_fresh_real_mean_error",
    "golden_ratio_mean_error",
    "golden_ratio_weight",
]


def gaussian_fresh_real_mean_error(
    num_real: ArrayLike, num_synthetic: ArrayLike, weight: ArrayLike | None = None
) -> np.ndarray:
    """Stationary mean error when each generation adds fresh real points to synthetic ones, ddof 0.

    ``[w^2/n + (1-w)^2/m] / [1 - (1-w)^2 (1 - 1/m)]`` with n real points that weigh w together and m
    synthetic ones; pooled, ``w = n/(n+m)``.

    Args:
      num_real: n.
      num_synthetic: m, may be 0 where no weight is given.
      weight: w; pooled by default.
    """
    return _stationary(num_real, num_synthetic, weight, fresh=True)


def gaussian_fixed_real_mean_error(
    num_real: ArrayLike, num_synthetic: ArrayLike, weight: ArrayLike | None = None
) -> np.ndarray:
    """The same with one set of real points that every generation reuses.

    ``[(1 - (1-w)^2)/n + (1-w)^2/m] / [1 - (1-w)^2 (1 - 1/m)]``.
    """
    return _stationary(num_real, num_synthetic, weight, fresh=False)


def _stationary(
    num_real: ArrayLike, num_synthetic: ArrayLike, weight: ArrayLike | None, fresh: bool
) -> np.ndarray:
    n, m = np.asarray(num_real, np.float64), np.asarray(num_synthetic, np.float64)
    w = np.asarray(n / (n + m) if weight is None else weight, np.float64)
    of_model = (1 - w) ** 2
    noise = np.divide(of_model, m, out=np.zeros(np.broadcast_shapes(w.shape, m.shape)), where=m > 0)
    return ((w**2 if fresh else 1 - of_model) / n + noise) / (1 - of_model + noise)


def golden_ratio_weight(k: ArrayLike) -> np.ndarray:
    """The weight of fresh real points that makes the stationary error least, ``k = n/m``, n large.

    ``w* = (sqrt(k^2 + 4k) - k) / 2``, where ``[w^2/n + (1-w)^2/m] / (1 - (1-w)^2)`` is ``w*/n``: of
    means, frequencies and least squares (He, Xu & Cheng 2502.18049). For k = 1 it is the inverse of
    the golden ratio, 0.618.
    """
    k = np.asarray(k, np.float64)
    return (np.sqrt(k**2 + 4 * k) - k) / 2


def golden_ratio_mean_error(
    weight: ArrayLike, num_real: ArrayLike, num_synthetic: ArrayLike
) -> np.ndarray:
    """``[w^2/n + (1-w)^2/m] / (1 - (1-w)^2)``, which the golden ratio makes least.

    The stationary error of the mean with fresh real points of weight w, where m is so large that
    the variance stays what it is. See ``golden_ratio_weight``.
    """
    w, n, m = (np.asarray(x, np.float64) for x in (weight, num_real, num_synthetic))
    return (w**2 / n + (1 - w) ** 2 / m) / (1 - (1 - w) ** 2)
