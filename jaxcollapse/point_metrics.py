"""Metrics of points: how what a model publishes ``[N, D]`` differs from real points ``[M, D]``.

Plain functions on arrays in the coordinates of the data, for whoever has two sets of points; in
chains ``held_out`` asks for them by name. Two samples of one law differ by chance too: each says
what it gives there, what it sees, and what it does not.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws
from jaxcollapse.products import product

NEIGHBOURS = 5  # k, of precision, recall, density and coverage
DIRECTIONS = 50  # of the sliced Wasserstein distance; one where points are numbers
TAIL = 0.01  # the share of the real law that lies in its tail
AXES_AT_ONCE = 16  # whose squares one pass over all pairs adds up


# Pairs ------------------------------------------------------------------------------------------


def squared_distances(x: jax.Array, y: jax.Array) -> jax.Array:
    """``|x_i - y_j|^2``, ``[N, M]``, of ``x`` ``[N, D]`` and ``y`` ``[M, D]``.

    From differences: expanded squares would lose the distances of points that have collapsed.
    """
    dim = x.shape[1]
    total = jnp.zeros((x.shape[0], y.shape[0]), x.dtype)

    def added(total, axes):
        for a, b in zip(*axes, strict=True):
            total = total + (a[:, None] - b[None, :]) ** 2
        return total

    if dim <= AXES_AT_ONCE:
        return added(total, (x.T, y.T))
    passes = -(-dim // AXES_AT_ONCE)
    padding = ((0, passes * AXES_AT_ONCE - dim), (0, 0))
    axes = tuple(jnp.pad(z.T, padding).reshape(passes, AXES_AT_ONCE, -1) for z in (x, y))
    total = draws.varying_as(total, (x, y))
    return jax.lax.scan(lambda total, axes: (added(total, axes), None), total, axes)[0]


def distances(x: jax.Array, y: jax.Array) -> jax.Array:
    """``|x_i - y_j|``, ``[N, M]``, with a slope of 0 where points coincide."""
    squares = squared_distances(x, y)
    apart = squares > 0
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, squares, 1.0)), 0.0)


def median_distance(points: jax.Array) -> jax.Array:
    """The median distance of two of ``points`` ``[M, D]``: the usual bandwidth of a kernel."""
    pairs = _at_least(2, points, "median distance") * (points.shape[0] - 1) // 2
    squares = _of_others(points).reshape(-1)  # each twice
    below, above = (_smallest(squares, 2 * place + 1) for place in ((pairs - 1) // 2, pairs // 2))
    return 0.5 * (jnp.sqrt(below) + jnp.sqrt(above))


def _of_others(points: jax.Array) -> jax.Array:
    """Squared distances ``[N, N]``, of each point from itself infinite."""
    itself = jnp.eye(points.shape[0], dtype=bool)
    return jnp.where(itself, jnp.inf, squared_distances(points, points))


def _smallest(values: jax.Array, rank: int) -> jax.Array:
    """The value of a rank, from 1, among values of at least 0, over the last axis.

    Floats of one sign are ordered as their bits are, of which each pass tells one: that takes a
    tenth of the time of a sort.
    """
    size = 8 * values.dtype.itemsize
    bits = jax.lax.bitcast_convert_type(values, np.dtype(f"int{size}"))
    high = jnp.max(bits, axis=-1)

    def closer(ends, _):
        low, high = ends  # too few are at most the one, enough the other
        middle = low + (high - low) // 2
        enough = jnp.sum(bits <= middle[..., None], axis=-1, dtype=np.int32) >= rank
        return (jnp.where(enough, low, middle), jnp.where(enough, middle, high)), None

    (_, high), _ = jax.lax.scan(closer, (jnp.full_like(high, -1), high), length=size)
    return jax.lax.bitcast_convert_type(high, values.dtype)


def _gaussian_kernel(x: jax.Array, y: jax.Array, bandwidth: Any) -> jax.Array:
    return jnp.exp(squared_distances(x, y) * (-0.5 / bandwidth**2))


def _mean_of_two(values: jax.Array) -> jax.Array:
    """The mean over all pairs of two different rows of ``[N, N]``."""
    count = values.shape[0]
    others = jnp.where(jnp.eye(count, dtype=bool), 0.0, values)
    return jnp.mean(jnp.sum(others, axis=1) / (count - 1))


def _mean_of_all(values: jax.Array) -> jax.Array:
    return jnp.mean(jnp.mean(values, axis=1))


def kernel_among(points: jax.Array, bandwidth: Any) -> jax.Array:
    """``E k(x, x')`` over pairs of different points, see ``mmd``."""
    _at_least(2, points, "mmd")
    return _mean_of_two(_gaussian_kernel(points, points, bandwidth))


def distance_among(points: jax.Array) -> jax.Array:
    """``E |x - x'|`` over pairs of different points."""
    _at_least(2, points, "energy_distance")
    return _mean_of_two(distances(points, points))


def squared_radii(points: jax.Array, k: int) -> jax.Array:
    """Squared distances ``[N]`` of points from their k-th nearest neighbour among them."""
    _at_least(k + 1, points, f"distance to the neighbour of number {k}")
    return _smallest(_of_others(points), k)


def _at_least(least: int, points: jax.Array, what: str) -> int:
    count = points.shape[0]
    if count < least:
        raise checks.refusal(what, f"at least {least} points", count, "raise num_samples")
    return count


# How far two laws are apart ---------------------------------------------------------------------


def mmd(
    points: jax.Array, real: jax.Array, bandwidth: Any, *, among_real: jax.Array | None = None
) -> jax.Array:
    """The squared maximum mean discrepancy of a Gaussian kernel, without bias.

    ``E k(x, x') + E k(y, y') - 2 E k(x, y)``, ``k(x, y) = exp(-|x - y|^2 / (2 h^2))``, each mean
    over pairs of different points (Gretton et al. 2012, lemma 6): 0 on average where both laws are
    one, so it may be negative, and from 0 to 2 where they are not.

    It sees every difference of two laws, best those of the size of h; of laws much further apart
    than h it says no more than that they are, and of finer structure little.

    Args:
      points: ``[N, D]``, N at least 2.
      real: ``[M, D]``, M at least 2.
      bandwidth: h, for instance ``median_distance(real)``.
      among_real: ``E k(y, y')``, if it is known already.
    """
    if among_real is None:
        among_real = kernel_among(real, bandwidth)
    across = _mean_of_all(_gaussian_kernel(points, real, bandwidth))
    return kernel_among(points, bandwidth) + among_real - 2.0 * across


def energy_distance(
    points: jax.Array, real: jax.Array, *, among_real: jax.Array | None = None
) -> jax.Array:
    """The squared energy distance ``2 E|x - y| - E|x - x'| - E|y - y'|``, without bias.

    Means are over pairs of different points: 0 on average where both laws are one, so it may be
    negative. In the units of the data (Szekely & Rizzo 2013; the distance is its root).

    It sees every difference of two laws and has no bandwidth; large distances count most, so shifts
    and widths show better than fine structure.

    Args:
      points: ``[N, D]``, N at least 2.
      real: ``[M, D]``, M at least 2.
      among_real: ``E|y - y'|``, if it is known already.
    """
    if among_real is None:
        among_real = distance_among(real)
    across = _mean_of_all(distances(points, real))
    return 2.0 * across - distance_among(points) - among_real


def unit_directions(key: jax.Array, count: int, dim: int) -> jax.Array:
    """Directions ``[L, D]`` of length 1, uniform on the sphere; one where D is 1."""
    if dim == 1:
        return jnp.ones((1, 1), draws.float_dtype())
    normals = draws.normal_points(key, count, dim)
    return normals / jnp.linalg.norm(normals, axis=1, keepdims=True)


def sliced_wasserstein2(
    points: jax.Array,
    real: jax.Array,
    directions: jax.Array,
    *,
    sorted_real: jax.Array | None = None,
) -> jax.Array:
    """The root mean square, over directions, of the Wasserstein-2 distance of both projections.

    In one dimension that is between sorted points, ``int_0^1 (F^-1(u) - G^-1(u))^2 du``, exact for
    N other than M too (Bonneel et al. 2015). In the units of the data; it is above 0 for two
    samples of one law, by as much as N and M are small.

    It sees shifts, widths and outliers in the scale of the data. Of few directions in many
    dimensions it may miss a difference that lies in one of them.

    Args:
      points: ``[N, D]``.
      real: ``[M, D]``.
      directions: ``[L, D]``, of length 1.
      sorted_real: ``[L, M]``, the projections of the real points in order, if known already.
    """
    if sorted_real is None:
        sorted_real = projected(real, directions)
    ours, theirs, widths = _common_steps(points.shape[0], real.shape[0])
    apart = projected(points, directions)[:, ours] - sorted_real[:, theirs]
    square = jnp.mean(jnp.sum(apart**2 * widths.astype(apart.dtype)[None, :], axis=1))
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def projected(points: jax.Array, directions: jax.Array) -> jax.Array:
    """Points ``[N, D]`` along directions ``[L, D]``, in order: ``[L, N]``."""
    return jnp.sort(product(directions, points.T), axis=1)


def _common_steps(n: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places in n and in m sorted points for each step that both quantile functions have."""
    ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)  # in units of 1 / (n m)
    starts = np.concatenate([[0], ends[:-1]])
    return starts // m, starts // n, (ends - starts) / (n * m)


# What is kept and what is made ------------------------------------------------------------------


def precision(
    points: jax.Array, real: jax.Array, k: int = NEIGHBOURS, *, radii: jax.Array | None = None
) -> jax.Array:
    """The share of points that lie where real ones do.

    A point does that lies in the ball of a real point, which reaches to its k-th nearest neighbour
    among the real ones (Kynkaanniemi et al. 2019). A little below 1 for two samples of one law.

    It sees points that no real law would give. It is high as well where all points are one typical
    one, and a lone real outlier, whose ball is large, makes much look real.

    Args:
      points: ``[N, D]``.
      real: ``[M, D]``, M above k.
      k: which neighbour.
      radii: ``[M]``, squared, if they are known already.
    """
    inside = _inside(points, real, k, radii)
    return jnp.mean(jnp.any(inside, axis=1), dtype=real.dtype)


def _inside(points: jax.Array, real: jax.Array, k: int, radii: jax.Array | None) -> jax.Array:
    """Whether each point lies in the ball of each real one, bool ``[N, M]``; see ``precision``."""
    radii = squared_radii(real, k) if radii is None else radii
    return squared_distances(points, real) <= radii[None, :]


def recall(points: jax.Array, real: jax.Array, k: int = NEIGHBOURS) -> jax.Array:
    """The share of real points that lie where points do: ``precision``, the other way round.

    It sees what is no longer made. A few scattered points have large balls, which reach much that
    is not made any more, so it falls late; ``coverage`` does not have that fault.

    Args:
      points: ``[N, D]``, N above k.
      real: ``[M, D]``.
      k: which neighbour.
    """
    return precision(real, points, k)


def density(
    points: jax.Array, real: jax.Array, k: int = NEIGHBOURS, *, radii: jax.Array | None = None
) -> jax.Array:
    """In how many balls of real points a point lies, the mean over points, divided by k.

    1 on average for two samples of one law (Naeem et al. 2020); outliers weigh less than in
    ``precision``. Above 1 where points crowd among the densest real ones, as under a temperature
    below 1, and then it says nothing of what is left out.

    Args:
      points: ``[N, D]``.
      real: ``[M, D]``, M above k.
      k: which neighbour.
      radii: ``[M]``, squared, if they are known already.
    """
    inside = _inside(points, real, k, radii)
    return jnp.mean(jnp.mean(inside, axis=1, dtype=real.dtype)) * (real.shape[0] / k)


def coverage(
    points: jax.Array, real: jax.Array, k: int = NEIGHBOURS, *, radii: jax.Array | None = None
) -> jax.Array:
    """The share of real points in whose ball, see ``precision``, there is a point.

    For two samples of one law ``1 - prod_{i=1..k} (M - i) / (M + N - i)`` on average (Naeem et al.
    2020), 0.97 for N = M and k = 5 and less for fewer points: compare like N only. It sees modes
    and tails that are no longer made, and not whether what is made there is as frequent as real.

    Args:
      points: ``[N, D]``.
      real: ``[M, D]``, M above k.
      k: which neighbour.
      radii: ``[M]``, squared, if they are known already.
    """
    inside = _inside(points, real, k, radii)
    return jnp.mean(jnp.any(inside, axis=0), dtype=real.dtype)


def nearest_real(points: jax.Array, real: jax.Array) -> jax.Array:
    """The mean distance of points to the nearest real one, in the units of the data.

    It sees points that drift away from all that is real. It falls where they crowd in the middle of
    the real ones, and these are held out, so copies of training points do not show.

    Args:
      points: ``[N, D]``.
      real: ``[M, D]``.
    """
    return jnp.mean(jnp.min(distances(points, real), axis=1))


def vendi_score(points: jax.Array, bandwidth: Any) -> jax.Array:
    """How many different points there are, in effect: from 1, all alike, to N.

    ``exp(-sum_i l_i log l_i)`` of the eigenvalues l of ``K / N``, K the Gaussian kernel of ``mmd``
    (Friedman & Dieng 2023). It needs no real points but a scale, h: what is closer than that is
    alike. It sees diversity alone, that of noise as well as that of the data, and grows with N.
    It takes ``O(N^3)``.

    Args:
      points: ``[N, D]``.
      bandwidth: h.
    """
    kernel = _gaussian_kernel(points, points, bandwidth) / points.shape[0]
    shares = jnp.maximum(jnp.linalg.eigvalsh(kernel), 0.0)
    return jnp.exp(-jnp.sum(shares * jnp.log(jnp.where(shares > 0, shares, 1.0))))


def tail_radius(real: jax.Array, share: float = TAIL) -> jax.Array:
    """How far from the mean of real points ``[M, D]`` the tail begins, ``share`` of their law.

    Between two of their distances in order, at the place ``(1 - share) (M + 1)``, beyond which that
    share of the law lies on average; the largest where M is too small for that.
    """
    count = real.shape[0]
    ordered = jnp.sort(_from_mean(real, real))
    place = min((1 - share) * (count + 1), count) - 1
    below = math.floor(place)
    rest = place - below
    return (1.0 - rest) * ordered[below] + rest * ordered[min(below + 1, count - 1)]


def _from_mean(points: jax.Array, real: jax.Array) -> jax.Array:
    return distances(points, jnp.mean(real, axis=0, keepdims=True))[:, 0]


def tail_mass(
    points: jax.Array, real: jax.Array, share: float = TAIL, *, radius: jax.Array | None = None
) -> jax.Array:
    """The share of points in the tail of the real law: further from its mean than ``tail_radius``.

    ``share`` on average for the real law, with a spread over seeds of ``sqrt(share / M)`` since the
    radius is that of M points. It sees tails that go, the first sign of collapse, and points that
    spread beyond. Of a law that is wider along some axes it sees these, and of several modes their
    outer side.

    Args:
      points: ``[N, D]``.
      real: ``[M, D]``.
      share: of the real law.
      radius: ``tail_radius(real, share)``, if it is known already.
    """
    radius = tail_radius(real, share) if radius is None else radius
    return jnp.mean(_from_mean(points, real) > radius, dtype=real.dtype)


def modes_covered(points: jax.Array, centres: jax.Array, radius: Any) -> jax.Array:
    """How many of the centres ``[K, D]`` have a point within ``radius``.

    It sees modes that are lost, each once its last point has gone, so late and only where there are
    few points for each; not how these share them out.

    Args:
      points: ``[N, D]``.
      centres: ``[K, D]``.
      radius: in the units of the data.
    """
    near = squared_distances(points, centres) <= radius**2
    return jnp.sum(jnp.any(near, axis=0), dtype=points.dtype)
