"""Point data sets: the laws of scikit-learn's generators as pure functions of a key.

``blobs``, ``circles``, ``moons`` and ``swiss_roll`` draw what ``sklearn.datasets.make_blobs``,
``make_circles``, ``make_moons`` and ``make_swiss_roll`` draw, evenly spaced angles included; rows
stand in the order of their cluster or curve, not shuffled. ``real_data`` turns a name or an array
of one's own into real data for a task, with a test set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws

CENTRE_BOX = 10.0  # centres of blobs are uniform on [-10, 10] in each coordinate


def blob_centres(key: jax.Array, num_clusters: int = 3, dim: int = 2) -> jax.Array:
    """Centres ``[K, D]`` of blobs, uniform on ``[-10, 10]^D``."""
    return CENTRE_BOX * (2.0 * draws.uniform(key, (num_clusters, dim)) - 1.0)


def blobs(key: jax.Array, num_samples: int, centres: jax.Array, std: float = 1.0) -> jax.Array:
    """Points ``[N, D]`` of isotropic Gaussians about ``centres`` ``[K, D]``, shared out evenly.

    The first ``N mod K`` clusters have one point more.
    """
    num_clusters, dim = centres.shape
    cluster = np.sort(np.arange(num_samples) % num_clusters)
    return centres[cluster] + std * draws.normal_points(key, num_samples, dim)


def circles(
    key: jax.Array, num_samples: int, noise: float = 0.05, factor: float = 0.8
) -> jax.Array:
    """Points ``[N, 2]`` on two circles about 0, of radius 1 and ``factor``, with Gaussian noise."""
    return _noisy(key, circle_positions(num_samples, factor), noise)


def moons(key: jax.Array, num_samples: int, noise: float = 0.05) -> jax.Array:
    """Points ``[N, 2]`` on two half circles of radius 1 that reach into each other, with noise."""
    return _noisy(key, moon_positions(num_samples), noise)


def swiss_roll(key: jax.Array, num_samples: int, noise: float = 0.05) -> jax.Array:
    """Points ``[N, 3]`` on ``(t cos t, y, t sin t)``, with Gaussian noise in all coordinates.

    t is uniform on ``[1.5 pi, 4.5 pi]`` and y on ``[0, 21]``.
    """
    along, across = draws.uniform(draws.fold_in(key, 1), (2, num_samples))
    t = 1.5 * np.pi * (1.0 + 2.0 * along)
    positions = jnp.stack([t * jnp.cos(t), 21.0 * across, t * jnp.sin(t)], axis=-1)
    return _noisy(key, positions, noise)


def circle_positions(num_samples: int, factor: float = 0.8) -> np.ndarray:
    """Evenly spaced positions ``[N, 2]`` on the two circles, the outer one first."""

    def circle(n):
        angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
        return np.stack([np.cos(angle), np.sin(angle)], axis=-1)

    outer = num_samples // 2
    return np.concatenate([circle(outer), factor * circle(num_samples - outer)])


def moon_positions(num_samples: int) -> np.ndarray:
    """Evenly spaced positions ``[N, 2]`` on the two half circles, the upper one first."""

    def half_circle(n):
        angle = np.linspace(0, np.pi, n)
        return np.stack([np.cos(angle), np.sin(angle)], axis=-1)

    upper = num_samples // 2
    return np.concatenate(
        [half_circle(upper), np.asarray([1.0, 0.5]) - half_circle(num_samples - upper)]
    )


def _noisy(key: jax.Array, positions: Any, noise: float) -> jax.Array:
    positions = jnp.asarray(positions, draws.float_dtype())
    return positions + noise * draws.normal_points(key, *positions.shape)


# Real data for a task --------------------------------------------------------------------------


class PointDataset(NamedTuple):
    """Real data for a task.

    Attributes:
      dim: D.
      draw: ``draw(key, num_samples, num_test) -> (train [N, D], test [M, D])``.
      variance: ``variance(num_samples)``, the expected variance of N training points about their
        own mean (``ddof=0``), the mean over coordinates.
      check: ``check(num_samples, num_test)`` raises ``ValueError`` if there are not so many.
    """

    dim: int
    draw: Callable[[jax.Array, int, int], tuple[jax.Array, jax.Array]]
    variance: Callable[[int], float]
    check: Callable[[int, int], None] = lambda num_samples, num_test: None


NOISE = 0.05
CIRCLES_FACTOR = 0.8
DATASETS = ("blobs", "circles", "moons", "swiss-roll")


def real_data(
    name: str | Any,
    num_clusters: int = 3,
    blob_dim: int = 2,
    test_centres: str = "shared",
) -> PointDataset:
    """A data set by name, or from an array ``[R, D]`` of one's own.

    Of an array, centred at its mean, each seed's test set and training points are distinct rows
    chosen at random.

    Args:
      name: ``blobs``, ``circles``, ``moons`` or ``swiss-roll``; or the array.
      num_clusters: K, of blobs.
      blob_dim: D, of blobs.
      test_centres: ``shared``: the test set of blobs has the centres of the training points;
        ``redrawn``: centres of its own, as in the published experiments.

    Raises:
      ValueError: an unknown name, a number below 1, or an array of another shape or not finite.
    """
    if not isinstance(name, str):
        return _of_array(name)
    name = checks.one_of("dataset", name.replace("_", "-"), DATASETS)
    if name == "blobs":
        return _blobs(num_clusters, blob_dim, test_centres)
    sampler = {"circles": circles, "moons": moons, "swiss-roll": swiss_roll}[name]

    def draw(key, num_samples, num_test):
        return (
            sampler(draws.fold_in(key, 0), num_samples),
            sampler(draws.fold_in(key, 1), num_test),
        )

    positions = {"circles": circle_positions, "moons": moon_positions}.get(name)

    def variance(num_samples):
        free = 1 - 1 / num_samples  # the share of a variance that N points show about their mean
        if positions is None:
            return free * (_swiss_roll_variance() + NOISE**2)
        return float(positions(num_samples).var(axis=0).mean()) + free * NOISE**2

    return PointDataset(3 if name == "swiss-roll" else 2, draw, variance)


def _blobs(num_clusters: int, dim: int, test_centres: str) -> PointDataset:
    num_clusters = checks.whole_number("num_clusters", num_clusters)
    dim = checks.whole_number("blob_dim", dim)
    checks.one_of("test_centres", test_centres, ("shared", "redrawn"))

    def draw(key, num_samples, num_test):
        centres = blob_centres(draws.fold_in(key, 2), num_clusters, dim)
        others = centres
        if test_centres == "redrawn":
            others = blob_centres(draws.fold_in(key, 3), num_clusters, dim)
        train = blobs(draws.fold_in(key, 0), num_samples, centres)
        return train, blobs(draws.fold_in(key, 1), num_test, others)

    def variance(num_samples):
        sizes = np.bincount(np.arange(num_samples) % num_clusters, minlength=num_clusters)
        between = (2 * CENTRE_BOX) ** 2 / 12 * (1 - np.sum((sizes / num_samples) ** 2))
        return float(between + 1 - 1 / num_samples)

    return PointDataset(dim, draw, variance)


def _swiss_roll_variance() -> float:
    """The variance of ``(t cos t, y, t sin t)``, the mean over coordinates, by integrals over t."""
    t = np.linspace(1.5 * np.pi, 4.5 * np.pi, 100_001)
    moments = [np.trapezoid(f, t) / (3 * np.pi) for f in (t * np.cos(t), t * np.sin(t), t**2)]
    return float(moments[2] - moments[0] ** 2 - moments[1] ** 2 + 21**2 / 12) / 3


def _of_array(array: Any) -> PointDataset:
    data = np.asarray(array, np.float64)
    if data.ndim == 1:
        data = data[:, None]
    if data.ndim != 2 or data.shape[0] < 2:
        raise checks.refusal(
            "data", "points [R, D], two or more", f"shape {data.shape}", "give a row a point"
        )
    if not np.isfinite(data).all():
        raise checks.refusal("data", "finite numbers", "others", "remove infinities and NaN")
    # Centred while precise: a float32 far from 0 has lost what is near it. No metric minds.
    data = (data - data.mean(axis=0)).astype(draws.float_dtype())

    def check(num_samples, num_test):
        wanted = num_samples + num_test
        if wanted > len(data):
            raise checks.refusal(
                "data",
                f"at least {wanted} rows, {num_samples} to train on and {num_test} to test on",
                len(data),
                "lower num_samples or num_test, or bring more data",
            )

    def draw(key, num_samples, num_test):
        wanted = num_samples + num_test
        order = jax.random.permutation(draws.fold_in(key, 0), len(data))[:wanted]
        chosen = jnp.asarray(data)[order]
        return chosen[:num_samples], chosen[num_samples:]

    def variance(num_samples):
        # N of R rows, without replacement.
        rows = len(data)
        return float(data.var(axis=0).mean() * (1 - 1 / num_samples) * rows / (rows - 1))

    return PointDataset(data.shape[1], draw, variance, check)
