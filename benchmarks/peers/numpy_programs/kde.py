"""Kernel density estimates, Gaussian kernel, bandwidth a number or "scott"."""

from __future__ import annotations

import numpy as np
from parts import ACCUMULATE, REPLACE, SUBSAMPLE, Metrics, circle_positions, moon_positions

from numpy_programs.draws import FLOAT, Rng, distinct_rows, normals, offsets, taken, transposed


def real_points(rng: Rng, dataset: str, seeds: int, count: int, centres: np.ndarray) -> np.ndarray:
    """Points ``[S, N, D]`` of the laws of scikit-learn's generators, with the paper's noise."""
    if dataset == "blobs":
        return centres[:, np.arange(count) % centres.shape[1]] + normals(rng, seeds, count, 2)
    if dataset == "swiss-roll":
        along, across = rng.random((2, seeds, count), FLOAT)
        t = 1.5 * np.pi * (1 + 2 * along)
        positions = np.stack([t * np.cos(t), 21 * across, t * np.sin(t)], axis=-1)
    else:
        at = {"moons": moon_positions, "circles": circle_positions}[dataset]
        positions = at(count)[None]
    noise = FLOAT(0.05) * normals(rng, seeds, count, positions.shape[-1])
    return positions.astype(FLOAT) + noise


TILE = 2**16  # kernels at a time
LEAST = FLOAT(-80)  # of an exponent: nothing beside 1, and what underflows would be slow


def log_sums(points: np.ndarray, test: np.ndarray, bandwidth: float) -> np.ndarray:
    """``log sum_i exp(-|x - x_i|^2 / 2 h^2)`` ``[S, M]`` of points ``[S, N, D]``.

    Exponents are one product, ``x . x_i - |x_i|^2 / 2``; what depends on x alone comes after. Of
    each x the largest goes before the exponential, so that far points do not underflow.
    """
    scale = FLOAT(1 / bandwidth)
    test, points = scale * test, scale * points
    seeds, rows, dim = points.shape
    num_test = test.shape[1]
    left = np.empty((seeds, rows, dim + 1), FLOAT)
    left[..., :dim] = points
    left[..., dim] = -0.5 * np.einsum("...i,...i->...", points, points)
    right = np.ones((seeds, dim + 1, num_test), FLOAT)
    right[:, :dim] = transposed(test)
    high = max(1, min(rows, TILE // num_test))
    wide = max(1, min(seeds, TILE // (num_test * high)))
    buffer = np.empty((wide, high, num_test), FLOAT)
    out = np.empty((seeds, num_test), FLOAT)
    for s in range(0, seeds, wide):
        some = slice(s, min(s + wide, seeds))
        for r in range(0, rows, high):
            tile = left[some, r : r + high]
            exponents = buffer[: tile.shape[0], : tile.shape[1]]
            np.matmul(tile, right[some], out=exponents)
            top = exponents.max(axis=1, keepdims=True)
            exponents -= top
            np.maximum(exponents, LEAST, out=exponents)
            np.exp(exponents, out=exponents)
            found = np.log(exponents.sum(axis=1)) + top[:, 0]
            out[some] = found if r == 0 else np.logaddexp(out[some], found)
    return out - 0.5 * np.einsum("...i,...i->...", test, test)


def by_points(
    rng: Rng,
    seeds: int,
    workflow: str,
    generations: int,
    dataset: str,
    bandwidth: float | str,
    num_samples: int,
    num_test: int,
) -> Metrics:
    """Points are kept; with a fixed bandwidth so are sums at the test points."""
    n = num_samples
    centres = rng.uniform(-10, 10, (seeds, 3, 2)).astype(FLOAT)
    test = real_points(rng, dataset, seeds, num_test, centres)
    batch = real_points(rng, dataset, seeds, n, centres)
    dim = test.shape[-1]
    held = 1 if workflow == REPLACE else generations
    pool = np.empty((seeds, held * n, dim), FLOAT)
    first = offsets(seeds, held * n)
    sums, mean, scatter = np.zeros(0), np.zeros(0), np.zeros(0)
    found = []
    for t in range(1, generations + 1):
        at = (t - 1) % held * n
        pool[:, at : at + n] = batch
        rows = t * n if workflow == ACCUMULATE else n
        h = bandwidth if isinstance(bandwidth, int | float) else rows ** (-1 / (dim + 4))
        chosen = None
        if workflow == SUBSAMPLE and t > 1:
            chosen = distinct_rows(rng, seeds, t * n, n) + first
            view = taken(pool, chosen)
        else:
            view = batch
        if workflow != ACCUMULATE:
            sums = log_sums(view, test, h)
        elif h == bandwidth:
            added = log_sums(view, test, h)
            sums = added if t == 1 else np.logaddexp(sums, added)
        else:
            sums = log_sums(pool[:, : t * n], test, h)
        new_mean, new_scatter = view.mean(axis=1), n * view.var(axis=1)
        if workflow != ACCUMULATE or t == 1:
            mean, scatter = new_mean, new_scatter
        else:
            apart = new_mean - mean
            scatter = scatter + new_scatter + n * (t - 1) / t * apart**2
            mean = mean + apart / t
        norm = np.log(rows) + dim * (0.5 * np.log(2 * np.pi) + np.log(h))
        found.append((norm - sums.mean(axis=1), scatter.mean(axis=1) / rows))
        if t < generations:
            picked = rng.integers(rows, size=(seeds, n), dtype=np.int32)
            flat = picked + first if chosen is None else np.take_along_axis(chosen, picked, 1)
            batch = taken(pool, flat)
            batch += FLOAT(h) * normals(rng, seeds, n, dim)
    nll, variance = np.moveaxis(np.asarray(found), 0, -1)
    return {"nll": nll, "pool_variance": variance}
