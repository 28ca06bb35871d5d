"""Closed forms for one fit to a mixture of real and synthetic data: means over seeds."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from jaxcollapse import checks

__all__ = ["mixture_mean_error"]

SOURCES = ("all", "subset")


def mixture_mean_error(
    num_real: ArrayLike,
    num_synthetic: ArrayLike,
    num_available: ArrayLike,
    source: str = "all",
    ddof: float = 0,
) -> np.ndarray:
    """The squared error of the mean of R real and M synthetic points, over the real variance.

    With ``w = R / (R + M)`` and ``c_n = (n - 1) / (n - ddof)``, the bias of a fitted variance:
    synthetic data of a model of all A real points (R of them in the mixture) give
    ``w^2 / R + (1 - w)^2 (1/A + c_A/M) + 2 w (1 - w) / A``; of a model of those R points alone
    ``1/R + (1 - w)^2 c_R / M``.

    So synthetic data of a model of the same points only add noise. From a model of all of them,
    with c about 1, the error is ``w / R + (1 - w^2) / A``, below the ``1/R`` of no synthetic data
    where ``w < A/R - 1``: for any M where ``R <= A/2``, for none where ``R = A``, and between them
    for ``M > R (2 R - A) / (A - R)``, after a worst point at ``M = R (2 R/A - 1)``. Many bring the
    error to ``1/A``, that of all the real points.

    Holds for any law that is fitted by its mean and variance, one coordinate, and for frequencies
    (``ddof=0``), with ``1 - sum p^2`` in place of the variance.

    Args:
      num_real: R, from 0 (from 1 for ``subset``).
      num_synthetic: M, from 0; R + M at least 1.
      num_available: A, at least R.
      source: ``all`` or ``subset``.
      ddof: of the fitted variance.

    Raises:
      ValueError: an unknown source.
    """
    checks.one_of("source", source, SOURCES)
    real, synthetic, available = (
        np.asarray(x, np.float64) for x in (num_real, num_synthetic, num_available)
    )
    total = real + synthetic
    fitted = available if source == "all" else real
    noise = synthetic * (fitted - 1) / (fitted - ddof) / total**2
    if source == "subset":
        return 1 / real + noise
    return real / total**2 + (synthetic**2 + 2 * real * synthetic) / (available * total**2) + noise
