"""Closed forms for linear regression: means over seeds."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from jaxcollapse.theory.gaussian import GAUSSIAN_VARIANCE


def regression_error(
    workflow: str, t: ArrayLike, dim: int, num_samples: int, noise_variance: float
) -> np.ndarray | None:
    """The mean test error ``E |w_t - w*|^2`` with a fixed design of standard normal rows.

    With ``V = s^2 D / (N - D - 1)`` for ``N > D + 1``: replace ``t V``, accumulate
    ``V sum_{i<=t} 1/i^2``, both exact; accumulate-subsample
    ``(s^2 D / N) [1 + sum_{i=2..t} (2 - 1/(i-1))/i^2 + 1 - 1/t]``, the leading order for N >> D,
    given for ``N >= 200 D``, where it is right to about 1%. For ``N < D - 1`` (minimum norm,
    ``w* ~ N(0, I)``) the projection adds ``D - N`` and ``V = s^2 N / (D - N - 1)``. In between the
    mean is infinite: None.
    """
    if workflow not in GAUSSIAN_VARIANCE or abs(num_samples - dim) <= 1:
        return None
    t = np.asarray(t, np.float64)
    i = np.arange(1, int(t.max(initial=1)) + 1)
    index = t.astype(int) - 1
    if workflow == "accumulate-subsample":
        if num_samples < 200 * dim:
            return None
        later = np.where(i > 1, (2 - 1 / np.maximum(i - 1, 1)) / i**2, 0.0)
        leading = 1 + np.cumsum(later)[index] + 1 - 1 / t
        return noise_variance * dim / num_samples * leading
    growth = t if workflow == "replace" else np.cumsum(1 / i**2)[index]
    if num_samples > dim:
        return noise_variance * dim / (num_samples - dim - 1) * growth
    return dim - num_samples + noise_variance * num_samples / (dim - num_samples - 1) * growth
