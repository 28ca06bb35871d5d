"""The loops that people write today, a seed at a time: NumPy and scikit-learn, nothing of ours.

Each draws, fits, measures and pools, and returns its metrics by name, arrays ``[G]``. They are what
the laws of the chains are held to (in the tests).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn import datasets
from sklearn.neighbors import KernelDensity


def pooled(workflow: str, rng: np.random.Generator, pool: list[np.ndarray], size: int):
    """What the next model trains on: rows of all that a pool holds."""
    if workflow == "replace":
        return pool[-1]
    everything = np.concatenate(pool)
    if workflow == "accumulate":
        return everything
    return everything[rng.choice(len(everything), size, replace=False)]


def gaussian(workflow: str, generations: int, seed: int, dim: int, num_samples: int):
    """Gaussians, real data N(0, I), scatter over N."""
    rng = np.random.default_rng(seed)
    pool = [rng.standard_normal((num_samples, dim))]
    history = []
    for _ in range(generations):
        view = pooled(workflow, rng, pool, num_samples)
        mean, cov = view.mean(axis=0), np.atleast_2d(np.cov(view.T, ddof=0))
        history.append(
            {
                "squared_error_of_mean": np.sum(mean**2),
                "squared_error_of_cov": np.sum((cov - np.eye(dim)) ** 2),
                "trace_ratio": np.trace(cov) / dim,
                "log_det_ratio": np.linalg.slogdet(cov)[1],
            }
        )
        batch = rng.multivariate_normal(mean, cov, num_samples, method="eigh", check_valid="ignore")
        pool.append(batch)
    return _stacked(history)


def real_points(dataset: str, num_samples: int, seed: int, centres: np.ndarray) -> np.ndarray:
    """Points of scikit-learn's generators with the paper's noise."""
    given = {"random_state": seed}
    if dataset == "blobs":
        return datasets.make_blobs(num_samples, centers=centres, **given)[0]
    if dataset == "circles":
        return datasets.make_circles(num_samples, noise=0.05, factor=0.8, **given)[0]
    if dataset == "moons":
        return datasets.make_moons(num_samples, noise=0.05, **given)[0]
    return datasets.make_swiss_roll(num_samples, noise=0.05, **given)[0]


def kde(
    workflow: str,
    generations: int,
    seed: int,
    dataset: str,
    bandwidth: float | str,
    num_samples: int,
    num_test: int = 500,
    one_leaf: bool = False,
):
    """Kernel density estimates, Gaussian kernel.

    With more points than fit in a leaf, 40 by default, scikit-learn's tree misses far tails by up
    to thousands of nats (its issues 7492, 25799, 27186); ``one_leaf`` evaluates every kernel.
    """
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-10, 10, (3, 2))
    first, second = (int(s) for s in rng.integers(2**31, size=2))
    pool = [real_points(dataset, num_samples, first, centres)]
    test = real_points(dataset, num_test, second, centres)
    history = []
    for _ in range(generations):
        view = pooled(workflow, rng, pool, num_samples)
        model = KernelDensity(bandwidth=bandwidth, leaf_size=len(view) if one_leaf else 40)
        model.fit(view)
        history.append(
            {
                "nll": -model.score_samples(test).mean(),
                "pool_variance": view.var(axis=0).mean(),
            }
        )
        pool.append(model.sample(num_samples, random_state=int(rng.integers(2**31))))
    return _stacked(history)


def linear_regression(
    workflow: str,
    generations: int,
    seed: int,
    dim: int,
    noise_variance: float,
    num_samples: int,
    num_test: int = 1000,
):
    """Least squares by pseudo-inverse, one design for all generations."""
    rng = np.random.default_rng(seed)
    real = rng.standard_normal(dim)
    inputs = rng.standard_normal((num_samples, dim))
    test = rng.standard_normal((num_test, dim))
    weights = real
    pool: list[np.ndarray] = []
    history = []
    for _ in range(generations):
        noise = np.sqrt(noise_variance) * rng.standard_normal(num_samples)
        pool.append(np.column_stack([inputs, inputs @ weights + noise]))
        view = pooled(workflow, rng, pool, num_samples)
        weights = np.linalg.pinv(view[:, :-1]) @ view[:, -1]
        error = weights - real
        history.append({"mse": np.mean((test @ error) ** 2), "excess_risk": np.sum(error**2)})
    return _stacked(history)


def categorical(workflow: str, generations: int, seed: int, num_outcomes: int, num_samples: int):
    """Frequencies, real data uniform."""
    rng = np.random.default_rng(seed)
    pool = [rng.integers(num_outcomes, size=num_samples)]
    history = []
    for _ in range(generations):
        view = pooled(workflow, rng, pool, num_samples)
        p = np.bincount(view, minlength=num_outcomes) / len(view)
        some = p[p > 0]
        history.append(
            {
                "entropy_ratio": -np.sum(some * np.log(some)) / np.log(num_outcomes),
                "outcomes_left": float(len(some)),
                "heterozygosity_ratio": (1 - np.sum(p**2)) / (1 - 1 / num_outcomes),
            }
        )
        pool.append(rng.choice(num_outcomes, num_samples, p=p))
    return _stacked(history)


def _stacked(history: list[dict[str, float]]) -> dict[str, np.ndarray]:
    return {name: np.asarray([row[name] for row in history]) for name in history[0]}


LOOPS: dict[str, Callable[..., dict[str, np.ndarray]]] = {
    "gaussian": gaussian,
    "kde": kde,
    "linear-regression": linear_regression,
    "categorical": categorical,
}
