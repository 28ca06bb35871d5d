"""Closed forms for linear regression: means over seeds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxcollapse.theory.counted import counted
from jaxcollapse.theory.moments import recursion
from jaxcollapse.theory.workflows import ACCUMULATE, ACCUMULATE_SUBSAMPLE, REPLACE, record_of

__all__ = ["regression_error"]


def regression_error(
    workflow: Any,
    t: ArrayLike,
    dim: int,
    num_samples: int,
    noise_variance: float,
    fixed_design: bool = True,
    temperature: float = 1.0,
) -> np.ndarray | None:
    """The mean test error ``E |w_t - w*|^2`` with a design of standard normal rows.

    With one design X for all batches, real ones too, a fit to w of them stacked is the average of
    the fits to each: ``w_t = (1/w) sum_j (w_j + e_j)`` with ``E |e_j|^2 = V`` independent, and
    ``w_0 = w*``; under a weight of real data it is a weighted average. So the error is V times what
    the recursion of moments gives for the mean when variances stay what they were. ``V = s^2 D /
    (N - D - 1)`` for ``N > D + 1``; for ``N < D - 1`` (minimum norm, ``w* ~ N(0, I)``) it is
    ``s^2 N / (D - N - 1)``, and the projection of w* adds ``D - N``. In between the mean is
    infinite. Replace ``t V``, accumulate ``V sum_{i<=t} 1/i^2``. Shares and sizes have fits see
    rows of their own: none.

    Of those that draw rows only accumulate-subsample is known, to leading order for N >> D:
    ``(s^2 D / N) [1 + sum_{i=2..t} (2 - 1/(i-1))/i^2 + 1 - 1/t]``, given for ``N >= 200 D``, where
    it is right to about 1%.

    With a fresh design in each batch, replace alone: ``t V`` for ``N > D + 1``, and
    ``(D + V / (1 - r)) (1 - r^t)`` with ``r = N/D`` for ``N < D - 1``: a projection onto N random
    directions keeps r of what there is.

    Where the noise of what models label has T times the variance, so have the ``e_j`` of all
    batches but the real ones: replace ``V (1 + (t - 1) T)``; with a fresh design and ``N < D - 1``
    ``D (1 - r^t) + V [r^(t-1) + T (1 - r^(t-1))/(1 - r)]``.

    Args:
      workflow: its record.
      t: generations, any shape.
      dim: D.
      num_samples: N.
      noise_variance: s^2.
      fixed_design: whether all batches share one.
      temperature: T.

    Returns:
      None where no formula is known, or the mean is infinite.
    """
    record = record_of(workflow, numbers=True)
    if record is None or abs(num_samples - dim) <= 1:
        return None
    if record.counts and not (fixed_design and record.share is None and record.sizes is None):
        return None  # where fits see rows of their own
    t = np.asarray(t, np.float64)
    index = t.astype(int)
    last = int(t.max(initial=1))
    i = np.arange(1, last + 1)
    if fixed_design and record == ACCUMULATE_SUBSAMPLE:
        if num_samples < 200 * dim or temperature != 1:
            return None
        later = np.where(i > 1, (2 - 1 / np.maximum(i - 1, 1)) / i**2, 0.0)
        leading = 1 + np.cumsum(later)[index - 1] + 1 - 1 / t
        return noise_variance * dim / num_samples * leading
    if record.draw is not None or not (fixed_design or record == REPLACE):
        return None
    if record == REPLACE:
        growth = 1 + (t - 1) * temperature
    elif record == ACCUMULATE and temperature == 1:
        growth = np.cumsum(1 / i**2)[index - 1]
    else:
        of_labels = (float(temperature),) * last  # whatever the variance of a model
        # Of weighted batches each is a row.
        of, rows = (counted, 1) if record.counts else (recursion, math.inf)
        growth = of(record, last, rows, added=of_labels, factor=0.0).mean_error[index]
    if num_samples > dim:
        return noise_variance * dim / (num_samples - dim - 1) * growth
    if fixed_design:
        return dim - num_samples + noise_variance * num_samples / (dim - num_samples - 1) * growth
    share = num_samples / dim
    noise = noise_variance * num_samples / (dim - num_samples - 1)
    before = share ** (t - 1)
    later = temperature * (1 - before) / (1 - share)
    return dim * (1 - share**t) + noise * (before + later)
