"""Closed forms for kernel density estimates: means over seeds."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from jaxcollapse.theory.gaussian import GAUSSIAN_VARIANCE


def kde_second_moment(workflow: str, real_variance: float, added: ArrayLike) -> np.ndarray:
    """The estimate's second moment about the mean of the real batch, per coordinate: ``[G]``.

    With ``k_t`` the variance of the kernel in generation t (``h_t^2`` if gaussian), replace:
    ``v_0 + sum_{i<=t} k_i``; accumulate and accumulate-subsample:
    ``v_0 + k_t + sum_{i<t} k_i/(i+1)``, which for a fixed bandwidth is ``v_0 + k H_t`` (the
    paper's Theorem 7 with its bandwidths left open).

    Args:
      workflow: its name.
      real_variance: v_0, the expected variance of the real batch about its mean (``ddof=0``).
      added: k, ``[G]``.
    """
    added = np.asarray(added, np.float64)
    if workflow == "replace":
        return real_variance + np.cumsum(added)
    earlier = np.cumsum(added / (np.arange(added.size) + 2))
    return real_variance + added + np.concatenate([[0.0], earlier[:-1]])


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


def kde_metric(
    metric: str, workflow: str, real_variance: float, added: ArrayLike, num_samples: int
) -> np.ndarray | None:
    """The mean over seeds ``[G]`` of a metric of the KDE task, or None where none is known."""
    if workflow not in GAUSSIAN_VARIANCE:
        return None
    if metric == "second_moment":
        return kde_second_moment(workflow, real_variance, added)
    if metric == "pool_variance" and workflow == "replace":
        return kde_replace_pool_variance(real_variance, added, num_samples)
    return None
