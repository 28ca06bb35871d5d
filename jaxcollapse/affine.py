"""Gaussians as affine maps, in a form that survives any number of compositions.

A Gaussian N(mean, L L') is the law of ``mean + L x`` for standard normal x. With L kept as
``U diag(exp(l))``, U lower triangular with ones on its diagonal, a product of such factors neither
underflows nor loses the directions that shrink fastest.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Gaussian(NamedTuple):
    """N(mean, L L') with ``L = unit_factor @ diag(exp(log_diagonal))``; also the map ``mean + L x``.

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
        return self.factor @ self.factor.T

    @property
    def log_det(self) -> jax.Array:
        """The logarithm of the covariance's determinant, in nats; -inf where it is singular."""
        return 2.0 * jnp.sum(self.log_diagonal)


def from_factor(mean: jax.Array, factor: jax.Array) -> Gaussian:
    """The Gaussian N(mean, L L') of a lower triangular L ``[D, D]`` with diagonal >= 0.

    A zero on the diagonal stands for a zero column.
    """
    diagonal = jnp.diagonal(factor)
    positive = diagonal > 0
    safe = jnp.where(positive, diagonal, 1.0)
    unit = jnp.where(positive[None, :], factor / safe[None, :], jnp.eye(factor.shape[0], dtype=factor.dtype))
    return Gaussian(mean, unit, jnp.where(positive, jnp.log(safe), -jnp.inf))


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
        mean=outer.mean + outer.factor @ inner.mean,
        unit_factor=outer.unit_factor @ scaled,
        log_diagonal=outer.log_diagonal + inner.log_diagonal,
    )


class Moments(NamedTuple):
    """What a Gaussian fit needs of its data.

    Attributes:
      count: number of points.
      mean: ``[D]``.
      scatter: ``[D, D]``, the sum of ``(x - mean)(x - mean)'``.
    """

    count: jax.Array
    mean: jax.Array
    scatter: jax.Array


def merge(a: Moments, b: Moments) -> Moments:
    """The moments of two sets of points pooled (Chan, Golub & LeVeque 1979)."""
    count = a.count + b.count
    shift = b.mean - a.mean
    weight = a.count * b.count / count
    return Moments(
        count=count,
        mean=a.mean + shift * (b.count / count),
        scatter=a.scatter + b.scatter + weight * jnp.outer(shift, shift),
    )
