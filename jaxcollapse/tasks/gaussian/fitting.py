"""Multivariate Gaussians on arrays: sampled, fitted by mean and covariance, and judged.

``N(mean, L L')`` is kept as the map ``x -> mean + L x`` of a standard normal x, with the logarithms
of L's diagonal apart (``affine``), so that neither a thousand compositions nor fits to N <= D
points underflow or turn into NaN.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws
from jaxcollapse.metrics import Metric
from jaxcollapse.pools import Chosen, View, indices_of
from jaxcollapse.products import product
from jaxcollapse.tasks.gaussian.affine import (
    Gaussian,
    Moments,
    compose,
    from_factor,
    kl_from_standard,
    of_any_factor,
    safe_sqrt,
    singular_values,
)

# Parameters ---------------------------------------------------------------------------------


class Truth(NamedTuple):
    """The real distribution N(mean, A A').

    Attributes:
      mean: ``[D]``; no metric depends on it.
      factor: A, ``[D, K]`` for a covariance of rank K, or a scalar ``a`` that stands for ``a I``.
    """

    mean: jax.Array
    factor: jax.Array

    @property
    def cov(self) -> jax.Array:
        """The real covariance A A' ``[D, D]``."""
        if self.factor.ndim == 0:
            return self.factor**2 * jnp.eye(self.mean.shape[0], dtype=self.mean.dtype)
        return product(self.factor, self.factor.T)


# Sample -------------------------------------------------------------------------------------


def sample(key: jax.Array, model: Gaussian, num_samples: int) -> jax.Array:
    """``num_samples`` points ``[N, D]`` of a Gaussian: ``mean + L z``, singular or not."""
    z = draws.normal_points(key, num_samples, model.mean.shape[0])
    return model.mean[None, :] + product(z, model.factor.T)


def log_kernel(points: jax.Array) -> jax.Array:
    """``-|z|^2 / 2`` ``[N]`` of standard points: their log-density in nats, up to a constant."""
    return -0.5 * jnp.sum(points**2, axis=-1)


class Drawn(NamedTuple):
    """What a Gaussian fit needs of standard normal points.

    Attributes:
      num_points: how many.
      law: the Gaussian that fits them with ``ddof=0``.
    """

    num_points: Any
    law: Gaussian


def sample_moments(normals: jax.Array, chi: jax.Array, num_samples: Any) -> Drawn:
    """What a fit needs of N standard normal points, drawn without the points.

    Their mean is ``z / sqrt N``, and their scatter is Wishart with N-1 degrees of freedom: the law
    of ``T T'`` when the triangle T has ``chi_j`` on its diagonal, ``chi_j^2`` of N-1-j degrees (j
    from 0), standard normals below, and, when N <= D, no columns beyond the first N-1 (Bartlett
    1933).

    Args:
      normals: ``[(D + 1) D]``, standard.
      chi: ``[D]``, the diagonal of T; 0 marks a column that is absent.
      num_samples: N; of 0 points the mean is as of one, and counts for nothing.
    """
    dim = chi.shape[0]
    normals = normals.reshape(dim + 1, dim)
    scale = jnp.sqrt(num_samples)
    if checks.is_traced(num_samples):
        scale = jnp.sqrt(jnp.maximum(num_samples, 1.0))
    law = from_factor(normals[0] / scale, draws.bartlett(normals[1:], chi) / scale)
    return Drawn(num_samples, law)


# Fit ----------------------------------------------------------------------------------------


def fit(points: jax.Array, ddof: float = 0, weights: jax.Array | None = None) -> Gaussian:
    """The Gaussian of points ``[N, D]``: mean, and scatter over ``N - ddof``; N <= D allowed.

    Args:
      points: ``[N, D]``.
      ddof: what is taken from N in the divisor.
      weights: ``[N]``, of how many points each one counts as; 1 by default. N is then their sum.

    Raises:
      ValueError: another number of axes, N <= ddof, or weights of another shape.
    """
    if np.ndim(points) != 2:
        raise checks.refusal("points", "[N, D]", f"{np.ndim(points)} axes", "use points[:, None]")
    rows = points.shape[0]
    if not checks.is_traced(ddof) and rows <= ddof:
        raise checks.refusal("points", f"more than ddof, {ddof}", rows, "lower ddof or add points")
    if weights is None:
        return fit_points(points, jnp.ones(rows, bool), ddof, fewest=rows)
    if np.shape(weights) != (rows,):
        raise checks.refusal("weights", f"shape ({rows},)", np.shape(weights), "one for each point")
    weights = jnp.asarray(weights, draws.float_dtype())
    num_rows = jnp.sum(weights.astype(bool), dtype=np.int32)
    return fit_points(points, weights, ddof, rows, num_rows, in_any_position=True)


def fit_view(view: View, ddof: float, num_samples: int, spans_all: bool = False) -> Gaussian:
    """``fit`` to the rows of a view that count.

    Args:
      view: points ``[R, D]``.
      ddof: see ``fit``.
      num_samples: N; see ``fit_points`` for what it bounds.
      spans_all: likewise.
    """
    fewest = min(num_samples, view.data.shape[0])
    return fit_points(
        view.data,
        view.inclusion,
        ddof,
        fewest,
        view.num_rows,
        spans_all,
        in_any_position=isinstance(view, Chosen),
    )


def fit_points(
    points: jax.Array,
    inclusion: jax.Array,
    ddof: float,
    fewest: int,
    num_rows: Any = None,
    spans_all: bool = False,
    in_any_position: bool = False,
) -> Gaussian:
    """``fit`` to the rows that count.

    What a model of N <= D points makes lies in the span of these, so the covariance has the rank
    of that many.

    Args:
      points: ``[R, D]``.
      inclusion: bool or float ``[R]``, of how many rows each counts as.
      ddof: see ``fit``.
      fewest: N, static: where real data are those of the first batch, all rows lie in its span.
      num_rows: how many rows count, may be traced, where they may be fewer than ``fewest``.
      spans_all: whether each row that counts may bring a direction of its own, which rows do where
        fresh real data come.
      in_any_position: whether rows may lie in the span of fewer than they are, so that the rank
        has to be read off them.
    """
    dim = points.shape[1]
    weight = inclusion.astype(points.dtype)
    total = jnp.sum(weight)
    mean = product(weight, points) / total
    shifted = points - mean[None, :]
    weighted = inclusion.dtype != bool
    root = safe_sqrt(weight) if weighted else weight
    centred = shifted * root[:, None]
    spanned: Any = fewest
    if spans_all:
        spanned = jnp.sum(inclusion.astype(bool), dtype=np.int32)
    elif num_rows is not None:
        spanned = jnp.minimum(num_rows, np.int32(fewest))

    def by_scatter(centred):
        if weighted:  # which has a slope where a weight is 0, as its root has not
            return jnp.linalg.cholesky(product((shifted * weight[:, None]).T, shifted))
        return jnp.linalg.cholesky(product(centred.T, centred))

    def by_rows(centred):
        # The scatter of few points is too ill-conditioned to be formed; a QR needs no scatter.
        upper = jnp.linalg.qr(centred, mode="r")
        upper = jnp.pad(upper, ((0, max(0, dim - upper.shape[0])), (0, 0)))
        diagonal = jnp.diagonal(upper)
        factor = upper.T * jnp.where(diagonal < 0, -1.0, 1.0)[None, :]
        present = jnp.arange(dim, dtype=np.int32) < spanned - 1
        if in_any_position:  # what is left of a direction that is not there is rounding
            rounding = 16 * jnp.finfo(points.dtype).eps * jnp.linalg.norm(centred, axis=0)
            present &= jnp.abs(diagonal) > rounding
        return jnp.where(present[None, :], factor, 0.0)

    def by_few_rows(centred):
        return by_rows(
            centred.at[indices_of(inclusion.astype(bool), 2 * dim)].get(mode="fill", fill_value=0)
        )

    if dim == 1 and weighted:
        factor = safe_sqrt(jnp.sum(weight[:, None] * shifted**2, axis=0, keepdims=True))
    elif dim == 1:
        factor = jnp.linalg.norm(centred, axis=0, keepdims=True)
    elif fewest < 2 * dim:
        factor = by_rows(centred)
    elif num_rows is None:
        factor = by_scatter(centred)
    else:
        factor = jax.lax.cond(num_rows >= 2 * dim, by_scatter, by_few_rows, centred)
    return from_factor(mean, factor / jnp.sqrt(total - ddof))


def fit_moments(moments: Moments, ddof: float) -> Gaussian:
    """The Gaussian of moments whose scatter is singular only by rows and columns of zeros."""
    empty = jnp.diagonal(moments.scatter) == 0
    factor = jnp.linalg.cholesky(moments.scatter + jnp.diag(empty.astype(moments.scatter.dtype)))
    factor = jnp.where(empty[None, :], 0.0, factor)
    return from_factor(moments.mean, factor / jnp.sqrt(moments.num_points - ddof))


# Coordinates --------------------------------------------------------------------------------


def in_real_coordinates(truth: Truth, model: Gaussian) -> Gaussian:
    """A model in standard coordinates, in those of the data: ``x -> mean + A x``."""
    dim = truth.mean.shape[0]
    if truth.factor.ndim == 0:
        scale = jnp.log(truth.factor) * jnp.ones(dim, model.mean.dtype)
        outer = Gaussian(truth.mean, jnp.eye(dim, dtype=model.mean.dtype), scale)
        return compose(outer, model)
    return of_any_factor(
        truth.mean + product(truth.factor, model.mean), product(truth.factor, model.factor)
    )


def in_standard_coordinates(truth: Truth, model: Gaussian) -> Gaussian:
    """A model in the coordinates of the data, in those in which these are N(0, I)."""
    shift = model.mean - truth.mean
    if truth.factor.ndim == 0:
        scale = model.log_diagonal - jnp.log(truth.factor)
        return Gaussian(shift / truth.factor, model.unit_factor, scale)
    inverse = jnp.linalg.pinv(truth.factor)
    return of_any_factor(product(inverse, shift), product(inverse, model.factor))


def standard_points(truth: Truth, points: jax.Array) -> jax.Array:
    """Points ``[N, D]`` in the coordinates of the data, in standard ones: ``[N, K]``."""
    shifted = points - truth.mean[None, :]
    if truth.factor.ndim == 0:
        return shifted / truth.factor
    return product(shifted, jnp.linalg.pinv(truth.factor).T)


def real_points(truth: Truth, points: jax.Array) -> jax.Array:
    """Points ``[N, K]`` in standard coordinates, in those of the data: ``[N, D]``."""
    scaled = truth.factor * points if truth.factor.ndim == 0 else product(points, truth.factor.T)
    return truth.mean[None, :] + scaled


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
    excess = product(factor, factor.T) - jnp.eye(dim, dtype=factor.dtype)
    if real.ndim == 0:
        mean_shift, image, shift = real * model.mean, real * factor, real**2 * excess
        trace_real = dim * real**2
        transport = jnp.sum((singular_values(image, rank) - real) ** 2)
    else:
        mean_shift, image, shift = (
            product(real, model.mean),
            product(real, factor),
            product(product(real, excess), real.T),
        )
        trace_real = jnp.sum(real**2)
        # tr (S0^1/2 S S0^1/2)^1/2 is the sum of the singular values of A' (A L).
        overlap = jnp.sum(singular_values(product(real.T, image), rank))
        transport = jnp.sum(image**2) + trace_real - 2.0 * overlap
    squared_error_of_mean = jnp.sum(mean_shift**2)
    return {
        "squared_error_of_mean": squared_error_of_mean,
        "squared_error_of_cov": jnp.sum(shift**2),
        "trace_ratio": jnp.sum(image**2) / trace_real,
        "log_det_ratio": model.log_det,
        "wasserstein2": safe_sqrt(squared_error_of_mean + transport),
        "kl": kl_from_standard(model),
    }


def evaluate_pooled(truth: Truth, models: Gaussian) -> dict[str, jax.Array]:
    """Metrics of the mean and the covariance of an even mixture of k Gaussians.

    Its mean is that of the means, its covariance ``mean_i L_i L_i' + mean_i (m_i - m)(m_i - m)'``.

    Args:
      truth: the real distribution.
      models: stacked ``[k, ...]``, in the coordinates in which the real data are N(0, I).
    """
    factors = jax.vmap(lambda model: model.factor)(models)
    mean = jnp.mean(models.mean, axis=0)
    apart = models.mean - mean[None, :]
    second = jnp.mean(jax.vmap(lambda factor: product(factor, factor.T))(factors), axis=0)
    second = second + product(apart.T, apart) / apart.shape[0]
    excess, real = second - jnp.eye(mean.shape[0], dtype=second.dtype), truth.factor
    if real.ndim == 0:
        mean_shift, shift = real * mean, real**2 * excess
        trace_ratio = jnp.trace(second) / mean.shape[0]
    else:
        mean_shift = product(real, mean)
        shift = product(product(real, excess), real.T)
        trace_ratio = jnp.sum(real * product(real, second)) / jnp.sum(real**2)
    return {
        "squared_error_of_mean": jnp.sum(mean_shift**2),
        "squared_error_of_cov": jnp.sum(shift**2),
        "trace_ratio": trace_ratio,
    }


METRICS = {
    "squared_error_of_mean": Metric(
        "Squared error of the mean",
        "data units squared",
        scale="log",
        speaks_for=("loss", "law"),
        real=0.0,
        pooled=True,
    ),
    "trace_ratio": Metric(
        "Trace of the covariance, fitted / real",
        "1",
        scale="log",
        speaks_for=("variance", "law"),
        real=1.0,
        pooled=True,
    ),
    "squared_error_of_cov": Metric(
        "Squared error of the covariance",
        "data units to the fourth",
        scale="log",
        speaks_for=("law",),
        real=0.0,
        pooled=True,
    ),
    "log_det_ratio": Metric(
        "Log-determinant of the covariance, fitted - real",
        "nats",
        infinite=True,
        speaks_for=("diversity",),
        real=0.0,
        per="dim",
    ),
    "wasserstein2": Metric(
        "Wasserstein-2 distance to the real law",
        "data units",
        scale="log",
        speaks_for=("law",),
        real=0.0,
    ),
    "kl": Metric(
        "KL divergence from the real law",
        "nats",
        infinite=True,
        scale="log",
        speaks_for=("loss", "law"),
        real=0.0,
    ),
}
