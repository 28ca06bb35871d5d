"""Closed forms for kernel density estimates: means over seeds, per coordinate.

Letters: N points a generation, k_t the variance of the kernel in generation t (``h_t^2`` if it is
Gaussian), v_0 the expected variance of a real batch about its mean (``ddof=0``).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxcollapse import schedules
from jaxcollapse.theory.counted import counted
from jaxcollapse.theory.moments import recursion
from jaxcollapse.theory.workflows import REPLACE, Record, record_of, rows_of_batch, seen

__all__ = [
    "kde_metric",
    "kde_pool_variance",
    "kde_replace_pool_variance",
    "kde_scaled_pool_variance",
    "kde_second_moment",
]


def kde_second_moment(
    workflow: Any, real_variance: float, variance_of_mean: float, added: ArrayLike
) -> np.ndarray | None:
    """The estimate's second moment about the mean of the first real batch: ``[G]``.

    ``m_t = k_t +`` the mean over the batches that generation t finds of their second moments: of
    batch j that of its model, ``m_j``; of the first real batch ``v_0``; of a fresh one
    ``v_0 + 2 u``, u the variance of a real batch's mean. Draws change nothing. Replace:
    ``v_0 + sum_{i<=t} k_i``; accumulate: ``v_0 + k_t + sum_{i<t} k_i/(i+1)``, which for a fixed
    bandwidth is ``v_0 + k H_t`` (the paper's Theorem 7 with its bandwidths left open). With a share
    or a weight a of real points beside those of the newest model ``m_t = k_t + a m_0 + (1-a)
    m_{t-1}``, for a fixed bandwidth ``m_0 + k (1 - (1-a)^t) / a``; sizes weigh batches by their
    rows. Derived here.

    Args:
      workflow: its record.
      real_variance: v_0.
      variance_of_mean: u, which only fresh real data need; nan if it is not known.
      added: k, ``[G]``.

    Returns:
      None for a subclass, and for fresh real data of unknown u.
    """
    record = record_of(workflow, numbers=True)
    added = np.asarray(added, np.float64)
    if record is None or (record.real == "fresh" and math.isnan(variance_of_mean)):
        return None
    if record.counts:
        of_fresh = 2 * variance_of_mean if record.real == "fresh" else 0.0
        return _weighted_second_moment(record, real_variance, of_fresh, added)
    if record.newest_alone:
        return real_variance + np.cumsum(added)
    if record.real == "once" and record.keep is None:
        earlier = np.cumsum(added / (np.arange(added.size) + 2))
        return real_variance + added + np.concatenate([[0.0], earlier[:-1]])
    again = real_variance + (2 * variance_of_mean if record.real == "fresh" else 0.0)
    moments = [real_variance]  # of batches 0, 1, ...
    for t, k in enumerate(added, 1):
        batches = int(record.batches(t))
        if record.real == "once" or t == 1:
            found = sum(moments[t - batches :])
        else:
            found = again + sum(moments[t - batches + 1 :])
        moments.append(found / batches + k)
    return np.asarray(moments[1:])


def _weighted_second_moment(
    record: Record, real_variance: float, of_fresh: float, added: np.ndarray
) -> np.ndarray:
    """With a share, a weight or sizes: the mean over rows, by what each counts."""
    rows = (
        1.0 if record.sizes is None else float(schedules.most(record.sizes))
    )  # which says nothing else
    moments: list[float] = []  # of batches 1, 2, ...
    for t, k in enumerate(added, 1):
        view = seen(record, t, rows)
        of_real = real_variance + (of_fresh if t > 1 else 0.0)
        found = view.weight * of_real
        if view.batches:
            counts = rows_of_batch(record, np.asarray(view.batches), rows)
            made = np.asarray(moments[view.batches.start - 1 : view.batches.stop - 1])
            found += (1 - view.weight) * float(counts @ made / counts.sum())
        moments.append(found + k)
    return np.asarray(moments)


def kde_replace_pool_variance(
    real_variance: float, added: ArrayLike, num_samples: int
) -> np.ndarray:
    """The variance of the fitted points about their own mean under replace: ``[G]``.

    ``w_1 = v_0``, ``w_{t+1} = (w_t + k_t) (1 - 1/N)``: with k fixed it tends to ``(N - 1) k``.
    """
    out = []
    variance = real_variance
    for k in np.asarray(added, np.float64):
        out.append(variance)
        variance = (variance + k) * (1 - 1 / num_samples)
    return np.asarray(out)


def kde_scaled_pool_variance(
    real_variance: float, relative: float, num_samples: int, t: ArrayLike
) -> np.ndarray:
    """The same where the bandwidth is in units of the points' standard deviation, replace.

    ``w_t = v_0 [(1 + c) (1 - 1/N)]^(t-1)`` with ``k_t = c w_t``: exponential where a bandwidth of a
    fixed size grows linearly. With Scott's rule and a Gaussian kernel ``c = N^(-2/(D+4))``.

    Args:
      real_variance: v_0.
      relative: c, the variance of the kernel over that of the points.
      num_samples: N.
      t: generations, any shape.
    """
    growth = (1 + relative) * (1 - 1 / num_samples)
    return real_variance * growth ** (np.asarray(t, np.float64) - 1)


def kde_pool_variance(
    workflow: Any,
    real_variance: float,
    variance_of_mean: float,
    added: ArrayLike,
    num_samples: int,
) -> np.ndarray | None:
    """The variance of the fitted points about their own mean: ``[G]``.

    An estimate is a law with the mean of its points and their variance plus k_t, so the recursion
    of moments holds with ``ddof=0``. Where the true mean is matters for fresh batches only.

    Args:
      workflow: its record.
      real_variance: v_0.
      variance_of_mean: u, which only fresh real data need; nan if it is not known.
      added: k, ``[G]``.
      num_samples: N.

    Returns:
      None for a subclass, and for fresh real data of unknown u.
    """
    record = record_of(workflow, numbers=True)
    if record is None or (record.real == "fresh" and math.isnan(variance_of_mean)):
        return None
    if record == REPLACE:
        return kde_replace_pool_variance(real_variance, added, num_samples)
    added = np.asarray(added, np.float64)
    apart = num_samples * variance_of_mean if record.real == "fresh" else 0.0
    real = (float(real_variance), float(apart))
    of = counted if record.counts else recursion
    return of(record, added.size, num_samples, 0, real, tuple(added.tolist())).variance[1:]


def kde_metric(
    metric: str,
    workflow: Any,
    real_variance: float,
    variance_of_mean: float,
    added: ArrayLike,
    num_samples: int,
) -> np.ndarray | None:
    """The mean over seeds ``[G]`` of a metric of the KDE task, or None where none is known.

    Args:
      metric: ``second_moment`` or ``pool_variance``.
      workflow: its record.
      real_variance: v_0.
      variance_of_mean: that of a real batch, which only fresh real data need; nan if not known.
      added: k, ``[G]``.
      num_samples: N.
    """
    if metric == "second_moment":
        return kde_second_moment(workflow, real_variance, variance_of_mean, added)
    if metric == "pool_variance":
        return kde_pool_variance(workflow, real_variance, variance_of_mean, added, num_samples)
    return None
