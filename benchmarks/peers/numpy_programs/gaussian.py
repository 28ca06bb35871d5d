"""Gaussians, real data N(0, I), scatter over N."""

from __future__ import annotations

import numpy as np
from parts import REPLACE, Metrics, blocks

from numpy_programs.draws import (
    FLOAT,
    Rng,
    bartlett,
    distinct_rows,
    normals,
    offsets,
    taken,
    transposed,
)


def cholesky(matrix: np.ndarray) -> np.ndarray:
    """Cholesky factors, of numbers their roots."""
    return np.sqrt(matrix) if matrix.shape[-1] == 1 else np.linalg.cholesky(matrix)


def standard_scatter(rng: Rng, how: str, batch: tuple[int, ...], n: int, dim: int):
    """Of n standard normal points: root n times their mean, and T with T T' their scatter."""
    if how == "statistics":
        return normals(rng, *batch, dim), bartlett(rng, batch, n - 1, dim, dim)
    points = normals(rng, *batch, n, dim)
    mean = points.mean(axis=-2, keepdims=True)
    points -= mean
    if n < 2 * dim:  # then the scatter's condition asks for float64
        points = points.astype(np.float64)
    root = cholesky(transposed(points) @ points).astype(FLOAT)
    return np.sqrt(FLOAT(n)) * mean[..., 0, :], root


def by_moments(
    rng: Rng, seeds: int, workflow: str, how: str, generations: int, dim: int, num_samples: int
) -> Metrics:
    """A model is the map ``mean + L x``; its sample is the map of a standard one.

    So the next fit's L is L times a triangle that depends on no model, and the triangles of many
    generations are drawn and decomposed at once. Where N <= D all models lie in the span of the
    first N points, and L is ``[D, N - 1]``.
    """
    n, rank = num_samples, min(dim, num_samples - 1)
    root = np.sqrt(FLOAT(n))
    mean = normals(rng, seeds, dim) / root
    if how == "statistics" or n <= dim:
        factor = bartlett(rng, (seeds,), n - 1, dim, rank) / root
    else:
        factor = standard_scatter(rng, how, (seeds,), n, dim)[1] / root
    log_det = 2 * np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
    found = []
    drawn = n * rank if how == "points" else dim * rank
    for block in blocks(generations, seeds * drawn):
        shift, growth = standard_scatter(rng, how, (len(block), seeds), n, rank)
        shift /= root
        if workflow == REPLACE:
            growth /= root
        else:
            batches = np.asarray(block, FLOAT)[:, None, None] + 1
            shift *= root
            pooled = growth @ transposed(growth)
            pooled += (batches / (batches + 1) * shift)[..., None] * shift[..., None, :]
            np.einsum("...ii->...i", pooled)[...] += batches * n
            growth = cholesky(pooled / ((batches + 1) * n)[..., None])
            shift /= (batches + 1) * root
        means, factors = _steps(mean, factor, shift, growth)
        grown = 2 * np.log(np.einsum("...ii->...i", growth)).sum(axis=-1)
        log_dets = log_det + np.cumsum(np.concatenate([0 * grown[:1], grown]), axis=0)
        mean, factor, log_det = means[-1], factors[-1], log_dets[-1]
        found.append(_gaussian_metrics(means[:-1], factors[:-1], log_dets[:-1], rank < dim))
    return {name: np.concatenate([f[name] for f in found]).T for name in found[0]}


def _steps(mean, factor, shift, growth):
    """Means and factors before each step and after the last."""
    steps = len(growth)
    if factor.shape[1:] == (1, 1):
        factors = np.concatenate([factor[None], growth]).cumprod(axis=0)
        moved = factors[:-1, ..., 0] * shift
        return np.concatenate([mean[None], moved]).cumsum(axis=0), factors
    means = np.empty((steps + 1, *mean.shape), FLOAT)
    factors = np.empty((steps + 1, *factor.shape), FLOAT)
    means[0], factors[0] = mean, factor
    for g in range(steps):
        np.matmul(factors[g], growth[g], out=factors[g + 1])
    means[1:] = (factors[:-1] @ shift[..., None])[..., 0]
    return means.cumsum(axis=0), factors


def _gaussian_metrics(means, factors, log_dets, singular):
    dim = factors.shape[-2]
    trace = np.einsum("...ij,...ij->...", factors, factors)
    if singular:  # then the error is no small difference, and the smaller product does
        gram = transposed(factors) @ factors
        error = np.einsum("...ij,...ij->...", gram, gram) - 2 * trace + dim
    else:
        excess = factors @ transposed(factors)
        np.einsum("...ii->...i", excess)[...] -= 1
        error = np.einsum("...ij,...ij->...", excess, excess)
    return {
        "squared_error_of_mean": np.einsum("...i,...i->...", means, means),
        "squared_error_of_cov": error,
        "trace_ratio": trace / dim,
        "log_det_ratio": np.full_like(trace, -np.inf) if singular else log_dets,
    }


def by_rows(rng: Rng, seeds: int, generations: int, dim: int, num_samples: int) -> Metrics:
    """Rows drawn from all points so far; of N <= D points no D x D matrix is made."""
    n = num_samples
    pool = np.empty((seeds, generations * n, dim), FLOAT)
    pool[:, :n] = normals(rng, seeds, n, dim)
    found = []
    for t in range(1, generations + 1):
        view = taken(pool, distinct_rows(rng, seeds, t * n, n) + offsets(*pool.shape[:2]))
        mean = view.mean(axis=1, keepdims=True)
        centred = (view - mean) / np.sqrt(FLOAT(n))
        if n <= dim:
            factor, log_det = transposed(centred), np.zeros(seeds)
        else:
            if n < 2 * dim:  # too ill-conditioned for its square
                factor = transposed(np.asarray(np.linalg.qr(centred, mode="r")))
            else:
                factor = cholesky(transposed(centred) @ centred)
            log_det = 2 * np.log(np.abs(np.diagonal(factor, axis1=1, axis2=2))).sum(axis=1)
        found.append(_gaussian_metrics(mean[:, 0], factor, log_det, n <= dim))
        if t < generations:
            noise = normals(rng, seeds, n, factor.shape[-1])
            np.matmul(noise, transposed(factor), out=pool[:, t * n : (t + 1) * n])
            pool[:, t * n : (t + 1) * n] += mean
    return {name: np.stack([f[name] for f in found], axis=1) for name in found[0]}
