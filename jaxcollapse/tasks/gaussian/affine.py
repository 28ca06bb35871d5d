"""Gaussians as affine maps, in a form that survives any number of compositions.

A Gaussian N(mean, L L') is the law of ``mean + L x`` for standard normal x. With L kept as
``U diag(exp(l))``, U lower triangular with ones on its diagonal, a product of such factors neither
underflows nor loses the directions that shrink fastest.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, decompositions, draws
from jaxcollapse.products import product


class Gaussian(NamedTuple):
    """N(mean, L L') with ``L = unit_factor @ diag(exp(log_diagonal))``, or ``x -> mean + L x``.

    Attributes:
      mean: ``[D]``.
      unit_factor: ``[D, D]``, lower triangular with ones on the diagonal.
      log_diagonal: ``[D]``, logarithms of the diagonal of L; -inf where the covariance is singular.
    """

    mean: jax.Array
    unit_factor: jax.Array
    log_diagonal: jax.Array

    @property
    def factor(self) -> jax.Array:
        """L ``[D, D]``, a lower triangular square root of the covariance."""
        return self.unit_factor * jnp.exp(self.log_diagonal)[None, :]

    @property
    def cov(self) -> jax.Array:
        """The covariance L L' ``[D, D]``."""
        return product(self.factor, self.factor.T)

    @property
    def log_det(self) -> jax.Array:
        """The logarithm of the covariance's determinant, in nats; -inf where it is singular."""
        return 2.0 * jnp.sum(self.log_diagonal)


def from_factor(mean: jax.Array, factor: jax.Array) -> Gaussian:
    """The Gaussian N(mean, L L') of a lower triangular L ``[D, D]`` with diagonal >= 0.

    A zero on the diagonal stands for a zero column.
    """
    diagonal = jnp.diagonal(factor)
    absent = diagonal == 0  # and not NaN, which stays
    safe = jnp.where(absent, 1.0, diagonal)
    identity = jnp.eye(factor.shape[0], dtype=factor.dtype)
    unit = jnp.where(absent[None, :], identity, factor / safe[None, :])
    return Gaussian(mean, unit, jnp.where(absent, -jnp.inf, jnp.log(safe)))


def standard(dim: int) -> Gaussian:
    """N(0, I) in ``dim`` dimensions."""
    return from_factor(jnp.zeros(dim), jnp.eye(dim))


def compose(outer: Gaussian, inner: Gaussian) -> Gaussian:
    """The law of ``outer.mean + outer.L x`` for ``x`` of the law ``inner``.

    ``U_o D_o U_i D_i = U_o (D_o U_i D_o^-1) (D_o D_i)``: diagonals multiply as sums of logarithms,
    and the ratios of scales in the bracket shrink towards the corner that collapses fastest.
    """
    singular = jnp.isneginf(outer.log_diagonal)
    scale = jnp.where(singular, 0.0, outer.log_diagonal)
    usable = jnp.tril(~singular[:, None] & ~singular[None, :])
    ratio = jnp.exp(jnp.where(usable, scale[:, None] - scale[None, :], 0.0))
    identity = jnp.eye(scale.shape[0], dtype=scale.dtype)
    scaled = jnp.where(usable, ratio * inner.unit_factor, identity)
    return Gaussian(
        mean=outer.mean + product(outer.factor, inner.mean),
        unit_factor=product(outer.unit_factor, scaled),
        log_diagonal=outer.log_diagonal + inner.log_diagonal,
    )


def scaled(model: Gaussian, variance: Any) -> Gaussian:
    """N(mean, v S) of a Gaussian N(mean, S) and a factor of its variance v."""
    return model._replace(log_diagonal=model.log_diagonal + 0.5 * jnp.log(variance))


class Moments(NamedTuple):
    """What a Gaussian fit needs of its data.

    Attributes:
      num_points: how many.
      mean: ``[D]``.
      scatter: ``[D, D]``, the sum of ``(x - mean)(x - mean)'``.
    """

    num_points: jax.Array
    mean: jax.Array
    scatter: jax.Array


def merge(a: Moments, b: Moments) -> Moments:
    """The moments of two sets of points pooled (Chan, Golub & LeVeque 1979)."""
    total = a.num_points + b.num_points
    share = b.num_points / total
    shift = b.mean - a.mean
    return Moments(
        num_points=total,
        mean=a.mean + share * shift,
        scatter=a.scatter + b.scatter + a.num_points * share * jnp.outer(shift, shift),
    )


def joined(parts: Moments, counts: jax.Array) -> Moments:
    """The moments of several sets of points, of which each point counts as so many, pooled.

    Args:
      parts: stacked ``[P, ...]``; a set may have no points.
      counts: ``[P]``.
    """
    number = counts * parts.num_points
    total = jnp.sum(number)
    mean = product(number, parts.mean) / total
    apart = parts.mean - mean[None, :]
    between = product((number[:, None] * apart).T, apart)
    return Moments(total, mean, jnp.sum(counts[:, None, None] * parts.scatter, axis=0) + between)


def counting(moments: Moments, times: Any) -> Moments:
    """The moments of points of which each counts as so many."""
    number, mean, scatter = moments
    return Moments(times * number, mean, times * scatter)


def square_root(cov: Any, dim: int) -> Any:
    """A with ``A A' = cov``: ``[D, K]`` for rank K, or a scalar for a multiple of the identity.

    Args:
      cov: a variance, ``[D]`` variances or ``[D, D]``; None for the identity. May be traced, then
        positive definite.
      dim: D.

    Raises:
      ValueError: another shape, not finite or symmetric, not positive semidefinite, or 0.
    """
    dtype = draws.float_dtype()
    if cov is None:
        return np.ones((), dtype)
    if not checks.is_traced(cov):
        cov = checks.real_numbers("cov", cov)
    shape = np.shape(cov)
    if shape not in ((), (dim,), (dim, dim)):
        raise checks.refusal(
            "cov", f"a variance, shape ({dim},) or ({dim}, {dim})", f"shape {shape}", "reshape it"
        )
    if checks.is_traced(cov):
        if len(shape) == 2:
            return jnp.linalg.cholesky(cov)
        return jnp.sqrt(cov) if shape == () else jnp.diag(jnp.sqrt(cov))
    matrix = np.asarray(cov, np.float64)
    matrix = matrix * np.eye(dim) if matrix.ndim < 2 else matrix
    if not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T, rtol=1e-5, atol=0):
        raise checks.refusal("cov", "finite and symmetric", "it is not", "use (cov + cov.T) / 2")
    values, vectors = np.linalg.eigh(matrix)
    largest = values[-1]
    rounding = 1e-6 * max(abs(values[0]), abs(largest))  # of a covariance computed in float32
    if values[0] < -rounding or largest <= 0:
        raise checks.refusal(
            "cov",
            "positive semidefinite and not 0",
            f"smallest eigenvalue {values[0]:.3g}, largest {largest:.3g}",
            "clip negative eigenvalues at 0",
        )
    if np.array_equal(matrix, matrix[0, 0] * np.eye(dim)):
        return np.asarray(np.sqrt(matrix[0, 0]), dtype)
    kept = values > dim * np.finfo(np.float64).eps * largest
    if kept.all():  # the factor that a traced covariance has, so that both give the same draws
        return np.linalg.cholesky(matrix).astype(dtype)
    return (vectors[:, kept] * np.sqrt(values[kept])).astype(dtype)


def kl_from_standard(model: Gaussian) -> jax.Array:
    """``KL(N(0, I) || model)`` in nats; inf where the model is singular.

    ``(tr S^-1 + m' S^-1 m - D + log det S) / 2`` with the inverse of L by its parts: of its
    diagonal ``exp(-l)`` what nearly cancels is summed first, ``expm1(-2 l) + 2 l``.
    """
    dim = model.mean.shape[0]
    right = jnp.concatenate([jnp.eye(dim, dtype=model.mean.dtype), model.mean[:, None]], axis=1)
    solved = jax.scipy.linalg.solve_triangular(
        model.unit_factor, right, lower=True, unit_diagonal=True
    )
    log_diagonal = jnp.where(jnp.isneginf(model.log_diagonal), 0.0, model.log_diagonal)
    beside = solved - jnp.eye(dim, dim + 1, dtype=solved.dtype)
    whitened = jnp.exp(-log_diagonal)[:, None] * beside
    squares = jnp.where(beside == 0, 0.0, whitened**2)
    on_diagonal = jnp.expm1(-2.0 * log_diagonal) + 2.0 * log_diagonal
    kl = 0.5 * (jnp.sum(squares) + jnp.sum(on_diagonal))
    return jnp.where(jnp.isneginf(model.log_det), jnp.inf, kl)


def standard_like(model: Gaussian) -> Gaussian:
    """N(0, I) on the columns that a model has; where it has none, neither has this."""
    singular = jnp.isneginf(model.log_diagonal)
    identity = jnp.eye(model.mean.shape[0], dtype=model.mean.dtype)
    return Gaussian(
        jnp.zeros_like(model.mean),
        identity,
        jnp.where(singular, -jnp.inf, 0.0).astype(identity.dtype),
    )


def image(model: Gaussian, points: jax.Array) -> jax.Array:
    """``mean + L x`` for points ``[R, D]``."""
    return model.mean[None, :] + product(points, model.factor.T)


def preimage(outer: Gaussian, law: Gaussian) -> Gaussian:
    """The Gaussian whose ``compose`` with ``outer`` is ``law``, which lies in the span of outer."""
    mean = inverse_map(outer, law.mean[None, :])[0]
    return from_factor(mean, inverse_factor(outer, law.factor))


def inverse_map(model: Gaussian, points: jax.Array) -> jax.Array:
    """``L^-1 (x - mean)`` for points ``[R, D]``, 0 in the columns that the model does not have."""
    return inverse_factor(model, (points - model.mean[None, :]).T).T


def inverse_factor(model: Gaussian, columns: jax.Array) -> jax.Array:
    """``L^-1 X`` for X ``[D, K]`` in the span of L; 0 in rows of columns that L does not have."""
    solved = jax.scipy.linalg.solve_triangular(
        model.unit_factor, columns, lower=True, unit_diagonal=True
    )
    singular = jnp.isneginf(model.log_diagonal)
    scale = jnp.where(singular, 0.0, jnp.exp(-jnp.where(singular, 0.0, model.log_diagonal)))
    return scale[:, None] * solved


def moved(model: Gaussian, moments: Moments) -> Moments:
    """Moments of points seen through ``inverse_map``."""
    half = inverse_factor(model, moments.scatter)
    return Moments(
        num_points=moments.num_points,
        mean=inverse_map(model, moments.mean[None, :])[0],
        scatter=inverse_factor(model, half.T),
    )


def imaged(model: Gaussian, moments: Moments) -> Moments:
    """Moments of points seen through ``image``."""
    return Moments(
        num_points=moments.num_points,
        mean=image(model, moments.mean[None, :])[0],
        scatter=product(product(model.factor, moments.scatter), model.factor.T),
    )


def from_cov(mean: jax.Array, cov: jax.Array) -> Gaussian:
    """N(mean, cov) of a covariance ``[D, D]``, singular or not: what a fit of one's own returns."""
    values, vectors = jnp.linalg.eigh(cov)
    return of_any_factor(mean, vectors * safe_sqrt(values)[None, :])


def of_any_factor(mean: jax.Array, factor: jax.Array) -> Gaussian:
    """The Gaussian N(mean, F F') of any F ``[D, K]``, by a QR decomposition."""
    dim = factor.shape[0]
    upper = jnp.linalg.qr(factor.T, mode="r")
    upper = jnp.pad(upper, ((0, max(0, dim - upper.shape[0])), (0, 0)))
    sign = jnp.where(jnp.diagonal(upper) < 0, -1.0, 1.0).astype(factor.dtype)
    return from_factor(mean, upper.T * sign[None, :])


def safe_sqrt(x: jax.Array) -> jax.Array:
    """``sqrt(max(x, 0))`` with slope 0, not infinity, where ``x <= 0``."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), jnp.where(jnp.isnan(x), x, 0.0))


def singular_values(matrix: jax.Array, rank: int | jax.Array) -> jax.Array:
    """Singular values ``[K]`` of ``[M, K]``, K <= M, whose columns beyond ``rank`` are zero.

    The work of a decomposition grows with the columns squared, so a wide matrix of small rank is
    cut to the narrowest of a few widths that hold it; a traced rank chooses among them.
    """
    columns = matrix.shape[1]
    if columns == 1:
        return jnp.linalg.norm(matrix, axis=0)
    widths = [width for width in (16, 32) if 2 * width <= columns] + [columns]

    def of_width(width):
        def decompose(matrix):
            values = decompositions.singular_values(matrix[:, :width])
            return jnp.pad(values, (0, columns - width))

        return decompose

    if isinstance(rank, int):
        return of_width(next(width for width in widths if rank <= width))(matrix)
    branch = jnp.sum(rank > np.asarray(widths[:-1], np.float32), dtype=jnp.int32)
    return jax.lax.switch(branch, [of_width(width) for width in widths], matrix)
