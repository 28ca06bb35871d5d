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

from jaxcollapse import checks, draws, plugins

CENTRE_BOX = 10.0  # centres of blobs are uniform on [-10, 10] in each coordinate
MODE_RADIUS = 3.0  # standard deviations about its centre, which are all of a blob, nearly


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


def _unknown(num_samples: int) -> float:
    return float("nan")


class PointDataset(NamedTuple):
    """Real data for a task: what a seed's test set and training points are drawn from.

    Attributes:
      dim: D.
      begin: ``begin(key, num_samples, num_test) -> (test [M, D], source)``: a seed's test set, and
        what all its training points are drawn from, the centres of its clusters for instance.
      draw: ``draw(key, source, num_samples) -> points [N, D]`` to train on.
      variance: ``variance(num_samples)``, the expected variance of N training points about their
        own mean (``ddof=0``), the mean over coordinates; NaN if it is not known.
      variance_of_mean: ``variance_of_mean(num_samples)``, that of the mean of N training points of
        one source, likewise.
      check: ``check(num_samples, num_test)`` raises ``ValueError`` if there are not so many.
      modes: ``modes(source) -> (centres [K, D], radius)``, where the law has its modes and how far
        from one what belongs to it lies, where points are kept; None where none are known.
      origin: ``[D]``, or 0: where 0 of these coordinates is in those of the data.
      name: what it is, for files.
      about: what it is, in a line.
    """

    dim: int
    begin: Callable[[jax.Array, int, int], tuple[jax.Array, Any]]
    draw: Callable[[jax.Array, Any, int], jax.Array]
    variance: Callable[[int], float] = _unknown
    variance_of_mean: Callable[[int], float] = _unknown
    check: Callable[[int, int], None] = lambda num_samples, num_test: None
    modes: Callable[[Any], tuple[jax.Array, float]] | None = None
    origin: Any = 0.0
    name: str = "a law of one's own"
    about: str = "points"

    def describe(self) -> dict[str, str]:
        """What it is, as a result's options tell: no name of a data set that is known."""
        return {"law": self.name}


def law(
    dim: int,
    sample: Callable[[jax.Array, int], jax.Array],
    variance: float = float("nan"),
    name: str = "a law of one's own",
    about: str = "points",
) -> PointDataset:
    """Real data that are drawn anew, point by point, from a law of one's own.

    >>> cloud = law(2, lambda key, n: jax.random.normal(key, (n, 2)), variance=1.0)
    >>> task = kde.task("cloud", 0.3, 100, data=cloud)

    Args:
      dim: D.
      sample: ``sample(key, n) -> points [n, D]``, independent ones of the law.
      variance: that of the law, the mean over coordinates, for closed forms; NaN if not known.
      name: what to call it in files.
      about: what it is, in a line.

    Raises:
      ValueError: from what is returned, when ``sample`` gives points of another shape.
    """

    def points(key, number):
        drawn = jnp.asarray(sample(key, number), draws.float_dtype())
        if drawn.shape != (number, dim):
            raise checks.refusal(
                f"points of {name}", f"shape [{number}, {dim}]", list(drawn.shape), "mend the law"
            )
        return drawn

    return PointDataset(
        dim,
        begin=lambda key, num_samples, num_test: (points(draws.fold_in(key, 1), num_test), ()),
        draw=lambda key, source, num_samples: points(draws.fold_in(key, 0), num_samples),
        variance=lambda n: variance * (1 - 1 / n),
        variance_of_mean=lambda n: variance / n,
        name=name,
        about=about,
    )


NOISE = 0.05
CIRCLES_FACTOR = 0.8


def real_data(
    name: str | Any,
    num_clusters: int = 3,
    blob_dim: int = 2,
    test_centres: str = "shared",
) -> PointDataset:
    """A data set by name, from an array ``[R, D]`` of one's own, or itself.

    Of an array, centred at its mean, each seed's test set and training points are distinct rows
    chosen at random; more real points of a seed are rows that are not of its test set.

    Args:
      name: ``blobs``, ``circles``, ``moons`` or ``swiss-roll``, or one that is registered; the
        array; or a ``PointDataset``.
      num_clusters: K, of blobs.
      blob_dim: D, of blobs.
      test_centres: ``shared``: the test set of blobs has the centres of the training points;
        ``redrawn``: centres of its own, as in the published experiments.

    Raises:
      ValueError: an unknown name, a number below 1, or an array of another shape or not finite.
    """
    if isinstance(name, PointDataset):
        return name
    if not isinstance(name, str):
        return _of_array(name)
    found = DATASETS.find(name if ":" in name else name.replace("_", "-"))
    return _blobs(num_clusters, blob_dim, test_centres) if found is blobs else found


def _of_curve(
    name: str,
    dim: int,
    sampler: Callable[[jax.Array, int], jax.Array],
    spread: Callable[[int], float],
    moves: float,
) -> PointDataset:
    """Points of a curve or sheet with noise.

    Args:
      name: of the data set.
      dim: D.
      sampler: ``sampler(key, n)``.
      spread: ``spread(n)``, the variance of n positions without noise about their mean.
      moves: how much of it the mean of n positions varies with, times n: 0 where they are fixed.
    """
    return PointDataset(
        dim,
        begin=lambda key, num_samples, num_test: (sampler(draws.fold_in(key, 1), num_test), ()),
        draw=lambda key, source, num_samples: sampler(draws.fold_in(key, 0), num_samples),
        variance=lambda n: spread(n) + (1 - 1 / n) * NOISE**2,
        variance_of_mean=lambda n: (moves + NOISE**2) / n,
        name=name,
        about=plugins.summary(sampler),
    )


def _variance_of(positions: np.ndarray) -> float:
    return float(positions.var(axis=0).mean())


def _blobs(num_clusters: int, dim: int, test_centres: str) -> PointDataset:
    num_clusters = checks.whole_number("num_clusters", num_clusters)
    dim = checks.whole_number("blob_dim", dim)
    checks.one_of("test_centres", test_centres, ("shared", "redrawn"))

    def begin(key, num_samples, num_test):
        centres = blob_centres(draws.fold_in(key, 2), num_clusters, dim)
        others = centres
        if test_centres == "redrawn":
            others = blob_centres(draws.fold_in(key, 3), num_clusters, dim)
        return blobs(draws.fold_in(key, 1), num_test, others), centres

    def variance(num_samples):
        sizes = np.bincount(np.arange(num_samples) % num_clusters, minlength=num_clusters)
        between = (2 * CENTRE_BOX) ** 2 / 12 * (1 - np.sum((sizes / num_samples) ** 2))
        return float(between + 1 - 1 / num_samples)

    return PointDataset(
        dim,
        begin,
        draw=lambda key, centres, num_samples: blobs(draws.fold_in(key, 0), num_samples, centres),
        variance=variance,
        variance_of_mean=lambda num_samples: 1 / num_samples,
        modes=lambda centres: (centres, MODE_RADIUS),
        name="blobs",
    )


def _swiss_roll_variance() -> float:
    """The variance of ``(t cos t, y, t sin t)``, the mean over coordinates, by integrals over t."""
    t = np.linspace(1.5 * np.pi, 4.5 * np.pi, 100_001)
    moments = [np.trapezoid(f, t) / (3 * np.pi) for f in (t * np.cos(t), t * np.sin(t), t**2)]
    return float(moments[2] - moments[0] ** 2 - moments[1] ** 2 + 21**2 / 12) / 3


def _of_array(array: Any) -> PointDataset:
    try:
        data = checks.real_numbers("data", array).astype(np.float64)
    except ValueError:
        raise checks.refusal(
            "data",
            "an array [R, D] of numbers, a data set's name or a PointDataset",
            f"a {type(array).__name__}",
            "make a law of one's own with jaxcollapse.datasets.points.law",
        ) from None
    if data.ndim == 1:
        data = data[:, None]
    if data.ndim != 2 or data.shape[0] < 2:
        raise checks.refusal(
            "data", "points [R, D], two or more", f"shape {data.shape}", "give a row a point"
        )
    if not np.isfinite(data).all():
        raise checks.refusal("data", "finite numbers", "others", "remove infinities and NaN")
    # Centred while precise: a float32 far from 0 has lost what is near it. No metric minds.
    origin = data.mean(axis=0)
    data = (data - origin).astype(draws.float_dtype())
    rows = len(data)

    def check(num_samples, num_test):
        wanted = num_samples + num_test
        if wanted > rows:
            raise checks.refusal(
                "data",
                f"at least {wanted} rows, {num_samples} to train on and {num_test} to test on",
                rows,
                "lower num_samples or num_test, or bring more data",
            )

    def order(key):
        return jax.random.permutation(draws.fold_in(key, 0), rows)

    def begin(key, num_samples, num_test):
        tested = order(key)[num_samples : num_samples + num_test]
        is_test = jnp.zeros(rows, bool).at[tested].set(True)
        return jnp.asarray(data)[tested], is_test

    def draw(key, is_test, num_samples):
        shuffled = order(key)
        (place,) = jnp.nonzero(~is_test[shuffled], size=num_samples)
        return jnp.asarray(data)[shuffled[place]]

    def variance_of_mean(num_samples):
        # N of R rows, without replacement.
        return float(data.var(axis=0).mean() * (rows - num_samples) / (rows - 1) / num_samples)

    return PointDataset(
        data.shape[1],
        begin,
        draw,
        variance=lambda n: float(data.var(axis=0).mean() * (1 - 1 / n) * rows / (rows - 1)),
        variance_of_mean=variance_of_mean,
        check=check,
        origin=origin.astype(draws.float_dtype()),
        name="data of one's own",
    )


# Blobs are open: how many clusters they have is an option of the task.
DATASETS = plugins.Named(
    "dataset",
    "jaxcollapse.datasets",
    {
        "blobs": blobs,
        "circles": _of_curve(
            "circles", 2, circles, lambda n: _variance_of(circle_positions(n)), moves=0.0
        ),
        "moons": _of_curve("moons", 2, moons, lambda n: _variance_of(moon_positions(n)), moves=0.0),
        "swiss-roll": _of_curve(
            "swiss-roll",
            3,
            swiss_roll,
            lambda n: (1 - 1 / n) * _swiss_roll_variance(),
            moves=_swiss_roll_variance(),
        ),
    },
)
