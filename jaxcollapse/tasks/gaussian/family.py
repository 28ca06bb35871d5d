"""Multivariate Gaussians: fitted by mean and covariance, sampled, and fitted again.

Everything runs in the coordinates in which the real data are N(0, I), with covariances in the
form L L', L lower triangular. There fitting and sampling do not depend on the real mean and
covariance; the covariance enters only where a model is evaluated, the mean nowhere.

A sample of a model is the model's own map ``x -> mean + L x`` applied to a standard normal sample,
so a model fitted to it is a composition of two such maps, and the history of ``replace`` is a
product of triangular matrices. Kept as ``L = U diag(exp(l))`` with U of unit diagonal, the product
neither underflows nor loses the directions that collapse fastest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws, metrics, theory
from jaxcollapse.chain import Task
from jaxcollapse.families import Mixing, TaskFamily
from jaxcollapse.pools import POOLS, counted, points_pool, statistics_pool
from jaxcollapse.tasks.gaussian.affine import (
    Gaussian,
    Moments,
    compose,
    from_factor,
    kl_from_standard,
    merge,
    square_root,
)
from jaxcollapse.tasks.gaussian.framed import Batch, fitted, framed_pool, real_model
from jaxcollapse.workflows import Workflow

# Parameters ---------------------------------------------------------------------------------


class Truth(NamedTuple):
    """The real distribution N(mean, A A').

    Attributes:
      mean: ``[D]``, for the reader: no metric depends on it.
      factor: A, ``[D, K]`` for a covariance of rank K, or a scalar ``a`` that stands for ``a I``.
    """

    mean: jax.Array
    factor: jax.Array


# Sample -------------------------------------------------------------------------------------


def sample(key: jax.Array, model: Gaussian, num_samples: int) -> jax.Array:
    """``num_samples`` points ``[N, D]`` of a Gaussian: ``mean + L z``, singular or not."""
    z = draws.normal_points(key, num_samples, model.mean.shape[0])
    return model.mean[None, :] + z @ model.factor.T


def sample_moments(key: jax.Array, chi: jax.Array, num_samples: Any) -> Gaussian:
    """The Gaussian that fits (``ddof=0``) N standard normal points, without the points.

    Their mean is ``z / sqrt N``, and their scatter is Wishart with N-1 degrees of freedom: the law
    of ``T T'`` when the triangle T has ``chi_j`` on its diagonal, ``chi_j^2`` of N-1-j degrees (j
    from 0), standard normals below, and, when N <= D, no columns beyond the first N-1 (Bartlett
    1933).

    Args:
      key: a typed key.
      chi: ``[D]``, the diagonal of T; 0 marks a column that is absent.
      num_samples: N.
    """
    dim = chi.shape[0]
    normals = draws.normal(key, (dim + dim * (dim - 1) // 2,))
    scale = jnp.sqrt(num_samples)
    return from_factor(normals[:dim] / scale, draws.bartlett(normals[dim:], chi) / scale)


# Fit ----------------------------------------------------------------------------------------


def fit(points: jax.Array, ddof: float = 0) -> Gaussian:
    """The Gaussian of points ``[N, D]``: mean, and scatter over ``N - ddof``; N <= D allowed.

    Raises:
      ValueError: another number of axes, or N <= ddof.
    """
    if np.ndim(points) != 2:
        raise checks.refusal("points", "[N, D]", f"{np.ndim(points)} axes", "use points[:, None]")
    rows = points.shape[0]
    if not checks.is_traced(ddof) and rows <= ddof:
        raise checks.refusal("points", f"more than ddof, {ddof}", rows, "lower ddof or add points")
    return fit_points(points, jnp.ones(rows, bool), ddof, fewest=rows)


def fit_points(
    points: jax.Array, mask: jax.Array, ddof: float, fewest: int, count: Any = None
) -> Gaussian:
    """``fit`` to the rows with ``mask`` True, which lie in the span of no fewer than ``fewest``.

    What a model of N <= D points makes lies in the span of these, so the covariance has the rank
    of that many.

    Args:
      points: ``[R, D]``.
      mask: bool ``[R]``.
      ddof: see ``fit``.
      fewest: N, static.
      count: how many rows count, may be traced, where they may be fewer than ``fewest``.
    """
    dim = points.shape[1]
    weight = mask.astype(points.dtype)
    total = jnp.sum(weight)
    mean = weight @ points / total
    centred = (points - mean[None, :]) * weight[:, None]
    spanned = fewest if count is None else jnp.minimum(count, np.int32(fewest))

    def by_scatter(centred):
        return jnp.linalg.cholesky(centred.T @ centred)

    def by_rows(centred):
        # The scatter of few points is too ill-conditioned to be formed; a QR needs no scatter.
        upper = jnp.linalg.qr(centred, mode="r")
        upper = jnp.pad(upper, ((0, dim - upper.shape[0]), (0, 0)))
        factor = upper.T * jnp.where(jnp.diagonal(upper) < 0, -1.0, 1.0)[None, :]
        return jnp.where((jnp.arange(dim, dtype=np.int32) < spanned - 1)[None, :], factor, 0.0)

    def by_few_rows(centred):
        return by_rows(centred.at[counted(mask, 2 * dim)].get(mode="fill", fill_value=0))

    if dim == 1:
        factor = jnp.linalg.norm(centred, axis=0, keepdims=True)
    elif fewest < 2 * dim:
        factor = by_rows(centred)
    elif count is None:
        factor = by_scatter(centred)
    else:
        factor = jax.lax.cond(count >= 2 * dim, by_scatter, by_few_rows, centred)
    return from_factor(mean, factor / jnp.sqrt(total - ddof))


def fit_moments(moments: Moments, ddof: float) -> Gaussian:
    """The Gaussian of moments whose scatter is singular only by rows and columns of zeros."""
    empty = jnp.diagonal(moments.scatter) == 0
    factor = jnp.linalg.cholesky(moments.scatter + jnp.diag(empty.astype(moments.scatter.dtype)))
    factor = jnp.where(empty[None, :], 0.0, factor)
    return from_factor(moments.mean, factor / jnp.sqrt(moments.num_points - ddof))


# Evaluate -----------------------------------------------------------------------------------


def evaluate(truth: Truth, model: Gaussian, rank: int | jax.Array) -> dict[str, jax.Array]:
    """How far N(m, S), the model in real coordinates, is from the real N(m0, S0).

    Returns:
      ``squared_error_of_mean``: ``|m - m0|^2``.
      ``squared_error_of_cov``: ``|S - S0|_F^2``.
      ``trace_ratio``: ``tr S / tr S0``.
      ``log_det_ratio``: ``log det S - log det S0`` in nats, on the support of S0; -inf where S is
      singular there.
      ``wasserstein2``: the Wasserstein-2 distance, in the units of the data.
      ``kl``: ``KL(real || fitted)`` in nats, how far the fitted law's cross-entropy on real data is
      above the entropy of these, on the support of S0; inf where S is singular there.

    Args:
      truth: the real distribution.
      model: the model in the coordinates in which the real data are N(0, I).
      rank: a bound on the rank of S; beyond it the columns of L are zero.
    """
    dim = model.mean.shape[0]
    real = truth.factor
    factor = model.factor
    # S - S0 = A (L L' - I) A', in which what the two share cancels before anything is squared.
    excess = factor @ factor.T - jnp.eye(dim, dtype=factor.dtype)
    if real.ndim == 0:
        mean_shift, image, shift = real * model.mean, real * factor, real**2 * excess
        trace_real = dim * real**2
        transport = jnp.sum((metrics.singular_values(image, rank) - real) ** 2)
    else:
        mean_shift, image, shift = real @ model.mean, real @ factor, real @ excess @ real.T
        trace_real = jnp.sum(real**2)
        # tr (S0^1/2 S S0^1/2)^1/2 is the sum of the singular values of A' (A L).
        overlap = jnp.sum(metrics.singular_values(real.T @ image, rank))
        transport = jnp.sum(image**2) + trace_real - 2.0 * overlap
    squared_error_of_mean = jnp.sum(mean_shift**2)
    return {
        "squared_error_of_mean": squared_error_of_mean,
        "squared_error_of_cov": jnp.sum(shift**2),
        "trace_ratio": jnp.sum(image**2) / trace_real,
        "log_det_ratio": model.log_det,
        "wasserstein2": metrics.safe_sqrt(squared_error_of_mean + transport),
        "kl": kl_from_standard(model),
    }


METRICS = {
    "squared_error_of_mean": metrics.Metric(
        "Squared error of the mean", "data units squared", scale="log"
    ),
    "squared_error_of_cov": metrics.Metric(
        "Squared error of the covariance", "data units to the fourth", scale="log"
    ),
    "trace_ratio": metrics.Metric("Trace of the covariance, fitted / real", "1", scale="log"),
    "log_det_ratio": metrics.Metric(
        "Log-determinant of the covariance, fitted - real", "nats", infinite=True
    ),
    "wasserstein2": metrics.Metric(
        "Wasserstein-2 distance to the real law", "data units", scale="log"
    ),
    "kl": metrics.Metric("KL divergence from the real law", "nats", infinite=True, scale="log"),
}

# Task ---------------------------------------------------------------------------------------


def task(
    dim: int,
    num_samples: int | jax.Array,
    ddof: float | jax.Array = 0,
    mean: Any = None,
    cov: Any = None,
    pool: str = "auto",
) -> Task:
    """Gaussians fitted to N points in D dimensions.

    Args:
      dim: D.
      num_samples: N, real points and points of every generation; may be traced when only the
        statistics pool is used.
      ddof: the fitted covariance is the scatter over ``N - ddof``: 0 for maximum likelihood (what
        the paper's experiments and its Theorem 1 use), 1 for the unbiased estimate. May be traced.
      mean: of the real data, ``[D]``; 0 by default. No metric depends on it: all are of what
        differs from the real law.
      cov: of the real data: a variance, ``[D]`` variances, or ``[D, D]``, singular or not; the
        identity by default. May be traced, then positive definite.
      pool: ``"statistics"`` draws mean and scatter of each sample without the sample, exact in
        law (Bartlett 1933); ``"points"`` draws the points; ``"auto"`` uses statistics where the
        workflow allows.

    Raises:
      ValueError: a count is not a whole number of at least 1, ``num_samples <= ddof``, ``cov`` is
        not symmetric positive semidefinite or has another shape, or ``pool`` has another name.
    """
    dim = checks.whole_number("dim", dim)
    checks.one_of("pool", pool, POOLS)
    if not checks.is_traced(num_samples):
        num_samples = checks.whole_number("num_samples", num_samples)
        if not checks.is_traced(ddof) and not 0 <= ddof < num_samples:
            raise checks.refusal(
                "ddof",
                f"from 0 to below num_samples, which is {num_samples}",
                ddof,
                "lower ddof or raise num_samples",
            )
    truth = Truth(_real_mean(mean, dim), square_root(cov, dim))
    rank_of_real = dim if truth.factor.ndim == 0 else truth.factor.shape[1]
    statistics = _statistics_task(rank_of_real, num_samples, ddof, truth)
    if pool == "statistics":
        return statistics
    points = _points_task(rank_of_real, num_samples, ddof, truth)
    return points if pool == "points" else points._replace(statistics=statistics)


def _points_task(dim: int, num_samples: Any, ddof: Any, truth: Truth) -> Task:
    """The task on points. ``dim`` is the rank of the real covariance."""

    def size() -> int:
        return checks.known_size("num_samples", num_samples)

    def pool(truth, capacity):
        return framed_pool(
            points_pool(capacity),
            first=lambda batch: (batch.model.absolute, batch.drawn),
            further=lambda local, z: local.mean[None, :] + z @ local.factor.T,
        )

    def fit_view(key, view):
        points = view.content
        fewest = min(size(), points.data.shape[0])
        model = fit_points(points.data, points.mask, ddof, fewest, points.count)
        return fitted(view.frame, model)

    def sample_batch(key, model):
        return Batch(model, draws.normal_points(key, size(), dim))

    def init(key):
        return truth, sample_batch(key, real_model(dim))

    return Task(
        init=init,
        pool=pool,
        fit=fit_view,
        noise=lambda key: key,
        sample=sample_batch,
        evaluate=lambda truth, model: evaluate(truth, model.absolute, min(size() - 1, dim)),
    )


def _statistics_task(dim: int, num_samples: Any, ddof: Any, truth: Truth) -> Task:
    """The task on mean and scatter. ``dim`` is the rank of the real covariance."""
    # A constant of numpy's, so that building a task runs nothing.
    as_float = jnp.asarray if checks.is_traced(num_samples) else np.asarray
    n: Any = as_float(num_samples, draws.float_dtype())
    rank = jnp.minimum(n - 1, dim) if checks.is_traced(num_samples) else min(num_samples - 1, dim)

    def pool(truth, capacity):
        def first(batch):
            # A batch is standard in the coordinates of the Gaussian that fits it.
            present = jnp.isfinite(batch.drawn.log_diagonal).astype(n.dtype)
            return compose(batch.model.absolute, batch.drawn), Moments(
                num_points=n, mean=jnp.zeros(dim, n.dtype), scatter=n * jnp.diag(present)
            )

        def further(local, drawn):
            factor = local.factor @ drawn.factor
            mean = local.mean + local.factor @ drawn.mean
            return Moments(num_points=n, mean=mean, scatter=n * factor @ factor.T)

        return framed_pool(statistics_pool(merge), first, further)

    def noise(key):
        # The draws of a rejection sampler are worth drawing ahead; normals are cheap.
        return key, jnp.sqrt(draws.chi_square(key, n - 1 - jnp.arange(dim, dtype=n.dtype)))

    def sample_batch(noise, model):
        key, chi = noise
        return Batch(model, sample_moments(key, chi, n))

    def init(noise):
        return truth, sample_batch(noise, real_model(dim))

    return Task(
        init=init,
        pool=pool,
        fit=lambda key, view: fitted(view.frame, fit_moments(view.content.content, ddof)),
        noise=noise,
        sample=sample_batch,
        evaluate=lambda truth, model: evaluate(truth, model.absolute, rank),
    )


def _real_mean(mean: Any, dim: int) -> Any:
    if mean is None:
        return np.zeros(dim, draws.float_dtype())
    if np.shape(mean) not in ((), (dim,)):
        raise checks.refusal(
            "mean", f"shape ({dim},)", np.shape(mean), "give one entry a dimension"
        )
    if checks.is_traced(mean):
        return jnp.broadcast_to(mean, (dim,))
    if not np.isfinite(mean).all():
        raise checks.refusal("mean", "finite numbers", "others", "remove infinities and NaN")
    return np.broadcast_to(np.asarray(mean, draws.float_dtype()), (dim,))


def _traced(workflow: Workflow, point: Mapping[str, Any], options: Mapping[str, Any]) -> dict:
    on_points = workflow.needs_points or options["pool"] == "points"
    return {} if on_points else {"num_samples": point["num_samples"]}


def _real_trace_and_rank(options: Mapping[str, Any], dim: int) -> tuple[float, int]:
    cov = options.get("cov")
    root = np.asarray(square_root(None if cov is None else np.asarray(cov), dim), np.float64)
    trace = dim * root**2 if root.ndim == 0 else np.sum(root**2)
    return float(trace), dim if root.ndim == 0 else root.shape[1]


def _theory(metric, workflow, generation, options, dim, num_samples):
    trace, rank = _real_trace_and_rank(options, dim)
    ddof = options["ddof"]
    return theory.gaussian_metric(metric, workflow, generation, rank, num_samples, ddof, trace)


def _mixture_theory(metric, counts, source, options, dim):
    real, synthetic, available = counts
    trace, rank = _real_trace_and_rank(options, dim)
    if metric == "squared_error_of_mean":
        error = theory.mixture_mean_error(real, synthetic, available, source, options["ddof"])
        return trace * error
    if metric == "kl" and options["ddof"] in (0, 1):
        known = theory.gaussian_first_fit_kl(real, rank, options["ddof"])
        return np.where(synthetic == 0, known, np.nan)
    return None


FAMILY = TaskFamily(
    name="gaussian",
    make=task,
    axes=("dim", "num_samples"),
    metrics=METRICS,
    traced=_traced,
    # Per generation: overheads, products of D x D matrices, and rows of N x D points.
    work=lambda dim, num_samples: 200.0 + dim**2 + dim * num_samples / 2,
    theory=_theory,
    # The published experiments divide by N too; their plots differ (see plotting).
    presets={"corrected": {"ddof": 0}, "authors": {"ddof": 0}},
    mixing=Mixing(
        loss="kl",
        # A covariance of full rank, and a divisor above 0.
        fewest_rows=lambda point, options: max(point["dim"], int(options["ddof"])) + 1,
        theory=_mixture_theory,
    ),
)
