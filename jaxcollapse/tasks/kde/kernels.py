"""Kernels of density estimates, and their sums at test points as points come in.

A density estimate of bandwidth h at x is ``f(x) = sum_i K(|x - x_i| / h) / (R Z)``, with Z the
integral of ``K(|x| / h)``. With ``b`` the precision of the kernel, ``1/(2 h^2)`` or ``1/h^2``, and
``u_i = |x - x_i|^2``, K is a function of ``b u_i``, so sums over points are kept for a given b.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import draws

# How far points that do not count are put: no kernel reaches them, and squares of it are finite.
FAR = 1e18
# More than any squared distance; finite, so that 0 times it is 0.
NOWHERE = 1e38
# exp(-NOTHING) is 0 in every precision.
NOTHING = 1e4
# Test points are the long, vectorised axis; so many points at a time keep partial sums in cache.
CHUNK = 50
CHUNK_WITH_MOMENTS = 10


class Kernel(NamedTuple):
    """A radial kernel.

    Attributes:
      name: as written on the command line.
      precision: ``precision(h)``, the b of this module for a bandwidth.
      log_norm: ``log_norm(dim, h)``, log Z.
      variance: ``variance(dim)`` of a coordinate, in units of ``h^2``.
      noise: ``noise(key, num_samples, dim)``, draws ``[N, D]`` from the kernel with ``h = 1``.
    """

    name: str
    precision: Callable[[jax.Array], jax.Array]
    log_norm: Callable[[int, jax.Array], jax.Array]
    variance: Callable[[int], float]
    noise: Callable[[jax.Array, int, int], jax.Array]


def _ball_noise(key: jax.Array, num_samples: int, dim: int) -> jax.Array:
    direction = draws.normal_points(draws.fold_in(key, 0), num_samples, dim)
    length = jnp.sqrt(jnp.sum(direction**2, axis=-1, keepdims=True))
    radius = draws.uniform(draws.fold_in(key, 1), (num_samples, 1)) ** (1.0 / dim)
    return direction * (radius / length)


def _log_ball(dim: int) -> float:
    """Log volume of the unit ball."""
    return dim / 2 * math.log(math.pi) - math.lgamma(dim / 2 + 1)


GAUSSIAN = Kernel(
    name="gaussian",
    precision=lambda h: 0.5 / h**2,
    log_norm=lambda dim, h: dim * (0.5 * math.log(2 * math.pi) + jnp.log(h)),
    variance=lambda dim: 1.0,
    noise=draws.normal_points,
)
TOPHAT = Kernel(
    name="tophat",
    precision=lambda h: 1.0 / h**2,
    log_norm=lambda dim, h: _log_ball(dim) + dim * jnp.log(h),
    variance=lambda dim: 1.0 / (dim + 2),
    noise=_ball_noise,
)
KERNELS = {kernel.name: kernel for kernel in (GAUSSIAN, TOPHAT)}


class KernelSums(NamedTuple):
    """Sums over points for M test points, at K precisions.

    Attributes:
      nearest: ``[M]``, the smallest ``u_i``; ``NOWHERE`` while there is no point.
      moments: ``[K, O, M]``, for orders 0 to O - 1: the sum of ``exp(-b v_i) v_i^order`` with
        ``v_i = u_i - nearest`` (gaussian), or the number of ``u_i`` with ``b u_i <= 1`` (tophat).
    """

    nearest: jax.Array
    moments: jax.Array


def no_points(num_test: int, num_precisions: int = 1, orders: int = 1) -> KernelSums:
    """The sums over no points at all."""
    dtype = draws.float_dtype()
    moments = jnp.zeros((num_precisions, orders, num_test), dtype)
    return KernelSums(jnp.full(num_test, NOWHERE, dtype), moments)


def add_points(
    kernel: Kernel,
    sums: KernelSums,
    precisions: jax.Array,
    test: jax.Array,
    points: jax.Array,
    inclusion: jax.Array | None = None,
) -> KernelSums:
    """The sums with more points: a log-sum-exp that streams, one exponential a kernel.

    Args:
      kernel: gaussian or tophat; tophat has order 0 only.
      sums: so far.
      precisions: b, ``[K]``.
      test: ``[M, D]``.
      points: ``[R, D]``.
      inclusion: bool ``[R]``, those that count, or float, of how many points each counts as; all
        count by default. Chunks without any are skipped.
    """
    rows, dim = points.shape
    orders = sums.moments.shape[1]
    sums = draws.varying_as(sums, (precisions, test, points, inclusion))
    chunks = -(-rows // (CHUNK if orders == 1 else CHUNK_WITH_MOMENTS))
    chunk = -(-rows // chunks)
    far = FAR / math.sqrt(dim)
    weights = mask = None
    padding = ((0, chunks * chunk - rows), (0, 0))
    if inclusion is not None:
        mask = inclusion
        if inclusion.dtype != bool:
            mask = inclusion > 0
            weights = jnp.pad(inclusion, padding[0]).reshape(chunks, chunk)
    if mask is not None:
        points = jnp.where(mask[:, None], points, far)
    points = jnp.pad(points, padding, constant_values=far).reshape(chunks, chunk, dim)
    add_chunk = _add_chunk_gaussian if kernel.name == "gaussian" else _add_chunk_tophat

    def add(sums, points, weights=None):
        return add_chunk(sums, precisions, test, points, weights)

    if chunks == 1:
        return add(sums, points[0], weights if weights is None else weights[0])
    if mask is None:
        return jax.lax.scan(lambda sums, points: (add(sums, points), None), sums, points)[0]
    # Of the mask alone, which all seeds share: a choice that differs between them skips nothing.
    counts = jnp.any(jnp.pad(mask, padding[0]).reshape(chunks, chunk), axis=1)

    def step(sums, inputs):
        counts, *chunk = inputs
        return jax.lax.cond(counts, add, lambda sums, *_: sums, sums, *chunk), None

    given = (points,) if weights is None else (points, weights)
    return jax.lax.scan(step, sums, (counts, *given))[0]


def _squared_distances(test: jax.Array, points: jax.Array) -> jax.Array:
    """``[R, M]``, from differences: expanded squares would lose what a small bandwidth shows."""
    total = jnp.zeros((), test.dtype)
    for axis in range(test.shape[1]):
        total = total + (points[:, axis, None] - test[:, axis][None, :]) ** 2
    return total


def _add_chunk_gaussian(sums, precisions, test, points, weights):
    u = _squared_distances(test, points)
    nearest = jnp.minimum(sums.nearest, jnp.min(u, axis=0))
    # Beyond it every kernel is 0; so far, and no further, squares of it are finite, which second
    # derivatives multiply by that 0.
    beyond = NOTHING / precisions[0]
    nearer = jnp.minimum(sums.nearest - nearest, beyond)
    v = jnp.minimum(u - nearest[None, :], beyond)
    num_precisions, orders, _ = sums.moments.shape
    terms = []
    for k in range(num_precisions):
        kernel = jnp.exp(-precisions[k] * v)
        terms.append(kernel if weights is None else weights[:, None] * kernel)
        for _ in range(orders - 1):
            terms.append(terms[-1] * v)
    moments = []
    for k, added in enumerate(_sums_over_points(terms, num_precisions)):
        shrink = jnp.exp(-precisions[k] * nearer)
        for order, new in enumerate(added):
            # The moment of v + nearer, by the binomial theorem.
            shifted = sums.moments[k, order]
            for j in range(order):
                term = math.comb(order, j) * sums.moments[k, j]
                for _ in range(order - j):
                    term = term * nearer
                shifted = shifted + term
            moments.append(shrink * shifted + new)
    return KernelSums(nearest, jnp.stack(moments).reshape(sums.moments.shape))


def _sums_over_points(terms, num_precisions):
    """Sums of arrays ``[R, M]`` over R, grouped by precision."""
    orders = len(terms) // num_precisions
    if len(terms) == 1:
        return [[jnp.sum(terms[0], axis=0)]]
    # One reduction of all of them reads each distance once.
    zeros = tuple(np.zeros((), term.dtype) for term in terms)

    def add(a, b):
        return tuple(x + y for x, y in zip(a, b, strict=True))

    summed = jax.lax.reduce(tuple(terms), zeros, add, (0,))
    return [summed[k * orders : (k + 1) * orders] for k in range(num_precisions)]


def _add_chunk_tophat(sums, precisions, test, points, weights):
    u = _squared_distances(test, points)
    nearest = jnp.minimum(sums.nearest, jnp.min(u, axis=0))
    inside = u[None, :, :] * precisions[:, None, None] <= 1.0
    if weights is not None:
        inside = jnp.where(inside, weights[None, :, None], 0.0)
    added = jnp.sum(inside, axis=1, dtype=u.dtype)
    return KernelSums(nearest, sums.moments + added[:, None, :])


def log_density(
    kernel: Kernel, sums: KernelSums, bandwidth: jax.Array, num_points: jax.Array, dim: int
) -> jax.Array:
    """Log-densities ``[M]`` in nats from sums at the precision of ``bandwidth``, the first one.

    -inf where a tophat kernel leaves a test point uncovered.
    """
    log_sum = jnp.log(sums.moments[0, 0])
    if kernel.name == "gaussian":
        log_sum = log_sum - kernel.precision(bandwidth) * sums.nearest
    return log_sum - jnp.log(num_points) - kernel.log_norm(dim, bandwidth)


# A bandwidth that changes -----------------------------------------------------------------------

# Sums are kept at two precisions this far apart; between them the logarithm is interpolated.
WINDOW = 2.0**0.25
# Nats at a test point. Chains stay below 1e-6; what is worst for it, a lone point beside 1e5 others
# that coincide at the distance where both weigh the same, reaches 3e-4 (8e-4 beside 1e6).
INTERPOLATION_ERROR = 1e-3


def interpolated_log_density(
    sums: KernelSums, low: jax.Array, bandwidth: jax.Array, num_points: jax.Array, dim: int
) -> jax.Array:
    """Log-densities ``[M]`` of a gaussian kernel between two precisions at which sums are kept.

    ``F(x) = log sum_i exp(-e^x v_i)`` is smooth in ``x = log b`` at every density: where one point
    dominates it is constant, where the density is locally uniform it is linear. Its value, slope
    and curvature at both ends (from orders 0, 1, 2) give Hermite's polynomial of degree 5.

    Args:
      sums: at ``low`` and ``WINDOW * low``, orders 0 to 2.
      low: the lower precision.
      bandwidth: h, of a precision from ``low`` to ``WINDOW * low``.
      num_points: R.
      dim: D.
    """
    width = math.log(WINDOW)
    precision = GAUSSIAN.precision(bandwidth)
    s = jnp.log(precision / low) / width

    def at(k):
        b = low * WINDOW**k
        zeroth, first, second = sums.moments[k]
        mean, square = b * first / zeroth, b**2 * second / zeroth
        slope = -mean
        curvature = square - mean**2 - mean
        return jnp.log(zeroth), width * slope, width**2 * curvature

    def basis(s):
        """Weights of value, slope and curvature at the end where s is 0."""
        value = 1.0 - s**3 * (10.0 - 15.0 * s + 6.0 * s**2)
        slope = s - s**3 * (6.0 - 8.0 * s + 3.0 * s**2)
        return value, slope, 0.5 * s**2 * (1.0 - s) ** 3

    value, slope, curvature = at(0)
    left = basis(s)
    log_sum = left[0] * value + left[1] * slope + left[2] * curvature
    value, slope, curvature = at(1)
    right = basis(1.0 - s)
    log_sum = log_sum + right[0] * value - right[1] * slope + right[2] * curvature
    log_sum = log_sum - precision * sums.nearest
    return log_sum - jnp.log(num_points) - GAUSSIAN.log_norm(dim, bandwidth)
