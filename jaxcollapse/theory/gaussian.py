"""Closed forms for Gaussians that are fitted by their mean and variance: exact means over seeds.

``gaussian_variance``, ``gaussian_mean_error`` and ``gaussian_metric`` find them by a workflow's
record, whatever it says; the others are formulas of one workflow each, some of them for counts of
real and synthetic points that no record has. Plain NumPy in float64, for arrays that broadcast.

Formulas are for one coordinate, in units of its real variance; the coordinates of a Gaussian in D
dimensions have the same law, so a trace ratio has the mean of the variance, and the squared error
of the mean is D times that of one coordinate (``tr S0`` times, for a real covariance S0).

Letters: N points a generation, t the generation (1 is fitted to real data), ``ddof`` 0 for a
variance over N and 1 for one over N - 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike

from jaxcollapse import checks
from jaxcollapse.theory.counted import moments
from jaxcollapse.theory.publishers import (
    ensemble_mean_error,
    ensemble_variance,
    truncated_gaussian_factor,
)
from jaxcollapse.theory.workflows import (
    ACCUMULATE,
    ACCUMULATE_SUBSAMPLE,
    REPLACE,
    record_of,
    rows_of_batch,
)

__all__ = [
    "gaussian_accumulate_mean_error",
    "gaussian_accumulate_subsample_mean_error",
    "gaussian_accumulate_subsample_variance",
    "gaussian_accumulate_variance",
    "gaussian_accumulate_variance_limit",
    "gaussian_first_fit_kl",
    "gaussian_mean_error",
    "gaussian_metric",
    "gaussian_replace_det_ratio",
    "gaussian_replace_log_det_drift",
    "gaussian_replace_log_variance_drift",
    "gaussian_replace_mean_error",
    "gaussian_replace_variance",
    "gaussian_replace_wasserstein2_squared",
    "gaussian_variance",
]


def _cumulative(
    t: ArrayLike, n: ArrayLike, step: Callable[[int, Any, np.ndarray], tuple[Any, np.ndarray]]
) -> np.ndarray:
    """A recursion's value at each t: ``step(i, state, n) -> (state, value)`` for i = 1, 2, ..."""
    t, n = np.broadcast_arrays(np.asarray(t), np.asarray(n, np.float64))
    out = np.full(t.shape, np.nan)
    state = None
    for i in range(1, int(t.max(initial=0)) + 1):
        state, value = step(i, state, n)
        out = np.where(t == i, value, out)
    return out


def _check_ddof(ddof: int) -> None:
    checks.one_of("ddof", ddof, (0, 1))


# Replace --------------------------------------------------------------------------------------


def gaussian_replace_variance(t: ArrayLike, n: ArrayLike, ddof: int = 0) -> np.ndarray:
    """``E v_t = (1 - 1/N)^t`` for ddof 0; 1 for ddof 1: there only the median shows collapse."""
    _check_ddof(ddof)
    t, n = np.broadcast_arrays(np.asarray(t, np.float64), np.asarray(n, np.float64))
    return (1 - 1 / n) ** t if ddof == 0 else np.ones(t.shape)


def gaussian_replace_mean_error(t: ArrayLike, n: ArrayLike, ddof: int = 0) -> np.ndarray:
    """``E (mu_t - mu_0)^2 = 1 - (1 - 1/N)^t`` for ddof 0, which ends at 1; ``t / N`` for ddof 1."""
    if ddof == 0:
        return 1 - gaussian_replace_variance(t, n, ddof)
    _check_ddof(ddof)
    return np.asarray(t, np.float64) / np.asarray(n, np.float64)


def gaussian_replace_wasserstein2_squared(t: ArrayLike, n: ArrayLike, ddof: int = 0) -> np.ndarray:
    """``E W2^2`` in one dimension.

    With ``c = sqrt(2/(N - ddof)) Gamma(N/2) / Gamma((N-1)/2)``, the mean ratio of successive
    standard deviations: ``2 (1 - c^t)`` for ddof 0, ``t/N + 2 - 2 c^t`` for ddof 1. N >= 2.
    """
    _check_ddof(ddof)
    t, n = np.broadcast_arrays(np.asarray(t, np.float64), np.asarray(n, np.float64))
    log_c = (
        0.5 * np.log(2 / (n - ddof))
        + scipy.special.gammaln(n / 2)
        - scipy.special.gammaln((n - 1) / 2)
    )
    contraction = -2 * np.expm1(t * log_c)
    return contraction if ddof == 0 else t / n + contraction


def gaussian_replace_log_variance_drift(n: ArrayLike, ddof: int = 0) -> np.ndarray:
    """Nats of log-variance a generation: ``psi((N-1)/2) - log((N - ddof)/2)``. Negative; N >= 2."""
    _check_ddof(ddof)
    n = np.asarray(n, np.float64)
    return scipy.special.digamma((n - 1) / 2) - np.log((n - ddof) / 2)


def gaussian_replace_log_det_drift(n: ArrayLike, dim: int, ddof: int = 0) -> np.ndarray:
    """Nats of log-determinant a generation: ``sum_{k<D} psi((N-1-k)/2) - log((N - ddof)/2)``.

    -inf for N <= D, where the fitted covariance is singular. Derived from Bartlett's decomposition.
    """
    _check_ddof(ddof)
    n = np.asarray(n, np.float64)[..., None]
    dof = n - 1 - np.arange(dim)
    terms = scipy.special.digamma(np.maximum(dof, 1) / 2) - np.log((n - ddof) / 2)
    return np.where(dof > 0, terms, -np.inf).sum(axis=-1)


def gaussian_replace_det_ratio(t: ArrayLike, n: ArrayLike, dim: int) -> np.ndarray:
    """``E det S_t / det S_0 = (prod_{k<D} (N-1-k)/N)^t``, ddof 0; 0 for N <= D."""
    t, n = np.broadcast_arrays(np.asarray(t, np.float64), np.asarray(n, np.float64))
    factors = np.maximum(n[..., None] - 1 - np.arange(dim), 0) / n[..., None]
    return factors.prod(axis=-1) ** t


def gaussian_first_fit_kl(n: ArrayLike, dim: int, ddof: int = 0) -> np.ndarray:
    """``E KL(real || fitted)`` in nats of a Gaussian fitted to N real points, for ``N > D + 2``.

    ``[D (N - ddof) (1 + 1/N) / (N - D - 2) - D + E log det S / det S_0] / 2``: the mean of an
    inverse Wishart matrix, and the drift of a log-determinant. Infinite for ``N <= D + 2``.
    """
    n = np.asarray(n, np.float64)
    excess = n - dim - 2
    inverse = dim * (n - ddof) * (1 + 1 / n) / np.where(excess > 0, excess, np.nan)
    kl = 0.5 * (inverse - dim + gaussian_replace_log_det_drift(n, dim, ddof))
    return np.where(excess > 0, kl, np.inf)


# Accumulate -----------------------------------------------------------------------------------


def gaussian_accumulate_variance(t: ArrayLike, n: ArrayLike, ddof: int = 0) -> np.ndarray:
    """``E v_t``: the paper's Theorem 1 for ddof 0, its counterpart for ddof 1.

    ``prod_{i=1..t} (1 - 1/(N i^2))`` and ``prod_{i=2..t} (1 - 1/(i (N i - 1)))``.
    """
    _check_ddof(ddof)

    def step(i, product, n):
        if i == 1:
            product = np.ones_like(n) if ddof == 1 else 1 - 1 / n
        else:
            product = product * (1 - 1 / (i * (n * i - 1) if ddof == 1 else n * i**2))
        return product, product

    return _cumulative(t, n, step)


def gaussian_accumulate_variance_limit(n: ArrayLike, ddof: int = 0) -> np.ndarray:
    """``lim E v_t``: ``sin(pi/sqrt N) / (pi/sqrt N)`` for ddof 0.

    ``Gamma(2 - 1/N) / (Gamma(2 - r) Gamma(2 - s))`` with ``r, s = (1 +- sqrt(1 + 4N)) / (2N)``
    for ddof 1.
    """
    _check_ddof(ddof)
    n = np.asarray(n, np.float64)
    if ddof == 0:
        return np.sinc(1 / np.sqrt(n))
    root = np.sqrt(1 + 4 * n)
    r, s = (1 + root) / (2 * n), (1 - root) / (2 * n)
    return scipy.special.gamma(2 - 1 / n) / (
        scipy.special.gamma(2 - r) * scipy.special.gamma(2 - s)
    )


def gaussian_accumulate_mean_error(t: ArrayLike, n: ArrayLike, ddof: int = 0) -> np.ndarray:
    """``E (mu_t - mu_0)^2``: ``1 - E v_t`` for ddof 0 (Corollary 4).

    ``(1 + sum_{i=2..t} E v_{i-1} / i^2) / N`` for ddof 1.
    """
    if ddof == 0:
        return 1 - gaussian_accumulate_variance(t, n, ddof)

    def step(i, state, n):
        if state is None:
            return (1.0, 1.0), 1 / n
        total, variance = state
        total = total + variance / i**2
        variance = variance * (1 - 1 / (i * (n * i - 1)))
        return (total, variance), total / n

    return _cumulative(t, n, step)


# Accumulate-subsample -------------------------------------------------------------------------


def _subsample(t: ArrayLike, n: ArrayLike, ddof: int, what: str) -> np.ndarray:
    """``E v_t`` (``variance``) or the mean error (``mean error``) with subsamples of N points.

    ``a_t`` is the mean unbiased variance of the pool and ``M_t`` the error of its mean; with
    ``c = (N - 1)/N`` for ddof 0 and 1 for ddof 1:
    ``a_{t+1} = a_t [(N t - 1) + (N - 1) c + ((t - 1) + c t)/(t + 1)] / (N (t + 1) - 1)`` and
    ``M_{t+1} = M_t + a_t [(1 - 1/t) + c] / (N (t + 1)^2)``.
    """
    _check_ddof(ddof)

    def step(i, state, n):
        c = 1.0 if ddof == 1 else 1 - 1 / n
        if state is None:
            a, error = np.ones_like(n), 1 / n
        else:
            a, error = state
            s = i - 1
            error = error + a * ((1 - 1 / s) + c) / (n * i**2)
            a = a * ((n * s - 1) + (n - 1) * c + ((s - 1) + c * s) / i) / (n * i - 1)
        return (a, error), (c * a if what == "variance" else error + a * (1 - 1 / i) / n)

    return _cumulative(t, n, step)


def gaussian_accumulate_subsample_variance(t: ArrayLike, n: ArrayLike, ddof: int = 0) -> np.ndarray:
    """``E v_t``; converges for ddof 0, grows like ``t^(1/N)`` for ddof 1. See ``_subsample``."""
    return _subsample(t, n, ddof, "variance")


def gaussian_accumulate_subsample_mean_error(
    t: ArrayLike, n: ArrayLike, ddof: int = 0
) -> np.ndarray:
    """``E (mu_t - mu_0)^2`` under accumulate_subsample. See ``_subsample``."""
    return _subsample(t, n, ddof, "mean error")


# By the record of a workflow ------------------------------------------------------------------

_VARIANCE = {
    REPLACE: gaussian_replace_variance,
    ACCUMULATE: gaussian_accumulate_variance,
    ACCUMULATE_SUBSAMPLE: gaussian_accumulate_subsample_variance,
}
_MEAN_ERROR = {
    REPLACE: gaussian_replace_mean_error,
    ACCUMULATE: gaussian_accumulate_mean_error,
    ACCUMULATE_SUBSAMPLE: gaussian_accumulate_subsample_mean_error,
}


def _known(
    formulas: Mapping[Any, Callable[..., np.ndarray]],
    of_moments: Callable[[Any], np.ndarray],
    workflow: Any,
    t: ArrayLike,
    n: ArrayLike,
    ddof: int,
    factor: float,
) -> np.ndarray | None:
    """By a record's formula, or from its moments; None for a workflow that no record says."""
    _check_ddof(ddof)
    record = record_of(workflow, numbers=True)
    if record is None:
        return None
    formula = formulas.get(record)
    if formula is not None and factor == 1:
        return formula(t, n, ddof)
    return of_moments(moments(record, t, n, ddof, factor))


def gaussian_variance(
    workflow: Any, t: ArrayLike, n: ArrayLike, ddof: int = 0, factor: float = 1.0
) -> np.ndarray | None:
    """``E v_t`` under any workflow that is a record, by its formula or a recursion of moments.

    With real data in every generation, n real and m synthetic rows, w of the weight on the real
    ones: ``1 - E v_t = M_t``, ``M_1 = 1/n``, ``M' = w^2/n + (1-w)^2 (M + (1-M)/m)`` if fresh, and
    with ``1 - (1-w)^2`` in place of ``w^2`` if fixed; for all else see ``theory.counted``.

    Args:
      workflow: its record, as ``jaxcollapse.workflows`` has it.
      t: generations; they broadcast against n.
      n: points a generation.
      ddof: 0 or 1.
      factor: what the variance of a model is multiplied by in what it publishes.

    Returns:
      None for a subclass; nan where more than n rows are to be drawn.
    """
    return _known(_VARIANCE, lambda found: found.variance, workflow, t, n, ddof, factor)


def gaussian_mean_error(
    workflow: Any, t: ArrayLike, n: ArrayLike, ddof: int = 0, factor: float = 1.0
) -> np.ndarray | None:
    """``E (mu_t - mu_0)^2``, which for ddof 0 and a factor of 1 is ``1 - E v_t``.

    Args:
      workflow: its record.
      t: generations; they broadcast against n.
      n: points a generation.
      ddof: 0 or 1.
      factor: what the variance of a model is multiplied by in what it publishes.

    Returns:
      None for a subclass; nan where more than n rows are to be drawn.
    """
    return _known(
        _MEAN_ERROR,
        lambda found: found.mean_error / np.asarray(n, np.float64),
        workflow,
        t,
        n,
        ddof,
        factor,
    )


def gaussian_metric(
    metric: str,
    workflow: Any,
    t: ArrayLike,
    dim: int,
    num_samples: int,
    ddof: int = 0,
    real_trace: float | None = None,
    temperature: float = 1.0,
    mass: float = 1.0,
    models: int = 1,
) -> np.ndarray | None:
    """The mean over seeds of a metric of the Gaussian task, or None where none is known.

    Args:
      metric: ``squared_error_of_mean``, ``trace_ratio``, or ``log_det_ratio`` (where each model
        sees the newest batch alone); ``kl`` where t is 1 alone.
      workflow: its record.
      t: generations, any shape.
      dim: D.
      num_samples: N.
      ddof: 0 or 1; for others there is no formula here.
      real_trace: trace of the real covariance; D by default.
      temperature: T, what the covariance of a model is multiplied by in what it publishes.
      mass: the central mass of a model's law, which alone is published.
      models: k, among which the points are dealt; known under replace, where k divides N.
    """
    record = record_of(workflow, numbers=True)
    if ddof not in (0, 1) or record is None:
        return None
    factor = temperature * float(truncated_gaussian_factor(mass, dim))
    trace = dim if real_trace is None else real_trace
    if models != 1:
        if record != REPLACE or num_samples % models:
            return None
        plain = metric.removesuffix("_pooled")
        given = t, num_samples, models, ddof, factor, plain != metric
        if plain == "trace_ratio":
            return ensemble_variance(*given)
        return trace * ensemble_mean_error(*given) if plain == "squared_error_of_mean" else None
    if metric == "trace_ratio":
        return gaussian_variance(workflow, t, num_samples, ddof, factor)
    if metric == "squared_error_of_mean":
        error = gaussian_mean_error(workflow, t, num_samples, ddof, factor)
        return None if error is None else trace * error
    fitted = record.draw or int(rows_of_batch(record, 0, num_samples))  # of the first fit
    if metric == "log_det_ratio" and record.newest_alone and mass == 1:
        batches = rows_of_batch(record, np.arange(int(np.max(t, initial=1))), num_samples)
        drift = np.asarray(t) * gaussian_replace_log_det_drift(fitted, dim, ddof)
        if record.sizes is not None:
            drifts = np.cumsum(gaussian_replace_log_det_drift(batches, dim, ddof))
            drift = drifts[np.asarray(t, np.int64) - 1]
        return drift + (np.asarray(t) - 1) * dim * np.log(temperature)
    if metric == "kl" and np.all(np.asarray(t) == 1):
        return np.full(np.shape(t), gaussian_first_fit_kl(fitted, dim, ddof))
    return None
