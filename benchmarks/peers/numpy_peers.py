"""The best batched NumPy programs: all seeds at once, the seeds first among an array's axes.

Metrics have the names and laws of the chains that these are timed against; nothing of ours is in
them. ``PEERS[task](workflow, generations, seeds, **cell)`` gives them, arrays ``[S, G]``.

What pools needs sums alone keeps sums, and draws them where that is faster than drawing points
(``how="statistics"``); ``how="points"`` draws the points. Numbers are float32 but where a comment
says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from parts import (
    ACCUMULATE,
    REPLACE,
    SUBSAMPLE,
    blocks,
    check_workflow,
    circle_positions,
    moon_positions,
    over_seeds,
)

Metrics = dict[str, np.ndarray]
Rng = np.random.Generator
FLOAT = np.float32


def generator(seed: np.random.SeedSequence) -> Rng:
    """NumPy's fastest generator."""
    return np.random.Generator(np.random.SFC64(seed))


def normals(rng: Rng, *shape: int) -> np.ndarray:
    """Standard normals."""
    return rng.standard_normal(shape, FLOAT)


def transposed(x: np.ndarray) -> np.ndarray:
    """The matrices of a batch, transposed."""
    return x.swapaxes(-1, -2)


def distinct_rows(rng: Rng, seeds: int, rows: int, size: int) -> np.ndarray:
    """``size`` of ``rows`` numbers without replacement, int ``[S, size]``, in any order."""
    if rows == size:
        return np.broadcast_to(np.arange(rows), (seeds, rows))
    if rows < 4 * size:
        return np.argpartition(rng.random((seeds, rows)), size, axis=1)[:, :size]
    chosen = rng.integers(rows, size=(seeds, size), dtype=np.int32)
    while True:  # what was drawn before is drawn anew: any set is as likely as another
        chosen.sort(axis=1)
        again = chosen[:, 1:] == chosen[:, :-1]
        count = np.count_nonzero(again)
        if not count:
            return chosen
        chosen[:, 1:][again] = rng.integers(rows, size=count, dtype=np.int32)


def taken(pool: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Rows ``[S, size, ...]`` of a pool ``[S, R, ...]``."""
    flat = chosen + (np.arange(len(pool)) * pool.shape[1])[:, None]
    return pool.reshape(-1, *pool.shape[2:])[flat]


# Gaussian ---------------------------------------------------------------------------------------


def bartlett(rng: Rng, batch: tuple[int, ...], degrees: int, dim: int, rank: int) -> np.ndarray:
    """Triangles T ``[..., D, K]`` with the law of ``T T'`` Wishart (Bartlett 1933)."""
    triangle = np.zeros((*batch, dim, rank), FLOAT)
    below, column = np.tril_indices(dim, -1, rank)
    flat = triangle.reshape(*batch, dim * rank)
    flat[..., below * rank + column] = normals(rng, *batch, below.size)
    shapes = (degrees - np.arange(rank, dtype=FLOAT)) / 2
    gammas = rng.standard_gamma(np.broadcast_to(shapes, (*batch, rank)), dtype=FLOAT)
    flat[..., : rank * rank : rank + 1] = np.sqrt(2 * gammas)
    return triangle


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


def gaussian_by_moments(
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


def gaussian_by_rows(rng: Rng, seeds: int, generations: int, dim: int, num_samples: int) -> Metrics:
    """Rows drawn from all points so far; of N <= D points no D x D matrix is made."""
    n = num_samples
    pool = np.empty((seeds, generations * n, dim), FLOAT)
    pool[:, :n] = normals(rng, seeds, n, dim)
    found = []
    for t in range(1, generations + 1):
        view = taken(pool, distinct_rows(rng, seeds, t * n, n)) if t > 1 else pool[:, :n]
        mean = view.mean(axis=1, keepdims=True)
        centred = (view - mean) / np.sqrt(FLOAT(n))
        if n <= dim:
            factor, log_det = transposed(centred), np.zeros(seeds)
        else:
            if n < 2 * dim:  # too ill-conditioned for its square
                factor = transposed(np.linalg.qr(centred, mode="r"))
            else:
                factor = cholesky(transposed(centred) @ centred)
            log_det = 2 * np.log(np.abs(np.diagonal(factor, axis1=1, axis2=2))).sum(axis=1)
        found.append(_gaussian_metrics(mean[:, 0], factor, log_det, n <= dim))
        if t < generations:
            noise = normals(rng, seeds, n, factor.shape[-1])
            np.matmul(noise, transposed(factor), out=pool[:, t * n : (t + 1) * n])
            pool[:, t * n : (t + 1) * n] += mean
    return {name: np.stack([f[name] for f in found], axis=1) for name in found[0]}


def gaussian(
    workflow: str,
    generations: int,
    seeds: int,
    dim: int,
    num_samples: int,
    how: str | None = None,
    seed: int = 0,
    threads: int = 2,
) -> Metrics:
    """Gaussians, real data N(0, I), scatter over N."""
    check_workflow(workflow)
    sizes: dict[str, Any] = {"generations": generations, "dim": dim, "num_samples": num_samples}
    how = how or way("gaussian", workflow, dim=dim, num_samples=num_samples)
    if workflow == SUBSAMPLE:
        run = partial(gaussian_by_rows, **sizes)
        return over_seeds(run, generator, seeds, dim * max(dim, num_samples), seed, threads)
    run = partial(gaussian_by_moments, workflow=workflow, how=how, **sizes)
    numbers = dim * min(dim, num_samples)
    return over_seeds(run, generator, seeds, numbers, seed, threads)


# Kernel density estimates -----------------------------------------------------------------------


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
            np.exp(exponents, out=exponents)
            found = np.log(exponents.sum(axis=1)) + top[:, 0]
            out[some] = found if r == 0 else np.logaddexp(out[some], found)
    return out - 0.5 * np.einsum("...i,...i->...", test, test)


def kde_parts(
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
    offsets = (np.arange(seeds, dtype=np.int32) * pool.shape[1])[:, None]
    sums, mean, scatter = np.zeros(0), np.zeros(0), np.zeros(0)
    found = []
    for t in range(1, generations + 1):
        at = (t - 1) % held * n
        pool[:, at : at + n] = batch
        rows = t * n if workflow == ACCUMULATE else n
        h = bandwidth if isinstance(bandwidth, int | float) else rows ** (-1 / (dim + 4))
        chosen = None
        if workflow == SUBSAMPLE and t > 1:
            chosen = distinct_rows(rng, seeds, t * n, n) + offsets
            view = pool.reshape(-1, dim)[chosen]
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
            flat = picked + offsets if chosen is None else np.take_along_axis(chosen, picked, 1)
            batch = pool.reshape(-1, dim)[flat]
            batch += FLOAT(h) * normals(rng, seeds, n, dim)
    nll, variance = np.moveaxis(np.asarray(found), 0, -1)
    return {"nll": nll, "pool_variance": variance}


def kde(
    workflow: str,
    generations: int,
    seeds: int,
    dataset: str,
    bandwidth: float | str,
    num_samples: int,
    num_test: int = 500,
    seed: int = 0,
    threads: int = 2,
) -> Metrics:
    """Kernel density estimates, Gaussian kernel, bandwidth a number or "scott"."""
    check_workflow(workflow)
    run = partial(
        kde_parts,
        workflow=workflow,
        generations=generations,
        dataset=dataset,
        bandwidth=bandwidth,
        num_samples=num_samples,
        num_test=num_test,
    )
    return over_seeds(run, generator, seeds, num_samples * num_test / 4, seed, threads)


# Linear regression ------------------------------------------------------------------------------


def pseudo_inverse(rows: np.ndarray) -> np.ndarray:
    """``X^+`` ``[..., D, K]`` of rows ``[..., K, D]`` in general position, in float64."""
    rows = rows.astype(np.float64)
    if rows.shape[-2] == rows.shape[-1]:
        return np.linalg.inv(rows)
    if rows.shape[-2] < rows.shape[-1]:
        return transposed(np.linalg.solve(rows @ transposed(rows), rows))
    return np.linalg.solve(transposed(rows) @ rows, transposed(rows))


def regression_rows(rng: Rng, how: str, seeds: int, dim: int, count: int) -> np.ndarray:
    """Inputs ``[S, N, D]``, or a square root of their Gram matrix, ``[S, min(N, D), D]``."""
    if how == "points":
        return normals(rng, seeds, count, dim)
    return transposed(bartlett(rng, (seeds,), count, dim, min(dim, count)))


def _regression_metrics(error, test):
    seen = error @ transposed(test)  # [S, G, K]
    return {
        "mse": np.einsum("sgk,sgk->sg", seen, seen),
        "excess_risk": np.einsum("sgd,sgd->sg", error, error),
    }


def _test_root(rng, how, seeds, dim, num_test):
    """A square root ``[S, D, D]`` of ``X' X / M``: a generation costs D^2 then, not M D."""
    rows = regression_rows(rng, how, seeds, dim, num_test)
    if how == "points" and num_test > dim:
        rows = transposed(np.linalg.cholesky(transposed(rows) @ rows))
    return rows / np.sqrt(FLOAT(num_test))


def regression_by_sums(
    rng: Rng,
    seeds: int,
    workflow: str,
    how: str,
    generations: int,
    dim: int,
    num_samples: int,
    noise_variance: float,
    num_test: int,
) -> Metrics:
    """One design for all: ``X^+ X`` is a projection P, and each batch adds ``s X^+ e`` to P w.

    So what a model is off by is a running sum of noise, of which all generations' are one product.
    """
    real = normals(rng, seeds, dim, 1)
    rows = regression_rows(rng, how, seeds, dim, num_samples)
    inverse = pseudo_inverse(rows).astype(FLOAT)
    test = _test_root(rng, how, seeds, dim, num_test)
    noise = np.sqrt(FLOAT(noise_variance)) * normals(rng, seeds, generations, rows.shape[1])
    if workflow == ACCUMULATE:
        noise /= np.arange(1, generations + 1, dtype=FLOAT)[:, None]
    error = np.cumsum(noise @ transposed(inverse), axis=1)
    if num_samples < dim:
        error += transposed(inverse @ (rows @ real) - real)
    return _regression_metrics(error, test)


def regression_by_rows(
    rng: Rng,
    seeds: int,
    generations: int,
    dim: int,
    num_samples: int,
    noise_variance: float,
    num_test: int,
) -> Metrics:
    """Rows drawn from all examples so far: each input counts as often as it is drawn."""
    n = num_samples
    real = normals(rng, seeds, dim)
    inputs = normals(rng, seeds, n, dim)
    test = _test_root(rng, "points", seeds, dim, num_test)
    few_rows = n < 4 * dim  # then float64, and the Gram matrix of the rows where these are fewer
    wide = inputs.astype(np.float64) if few_rows else inputs
    gram_of_rows = wide @ transposed(wide) if few_rows else None
    offsets = (np.arange(seeds) * n)[:, None]
    std = np.sqrt(FLOAT(noise_variance))
    weights = real
    pool = np.empty((seeds, generations * n), FLOAT)
    errors = np.empty((seeds, generations, dim), FLOAT)
    for t in range(1, generations + 1):
        batch = pool[:, (t - 1) * n : t * n]
        batch[...] = (inputs @ weights[..., None])[..., 0] + std * normals(rng, seeds, n)
        chosen = distinct_rows(rng, seeds, t * n, n)
        flat = (chosen % n + offsets).ravel()
        seen = np.take_along_axis(pool, chosen, axis=1).ravel()
        count = np.bincount(flat, minlength=seeds * n).reshape(seeds, n)
        total = np.bincount(flat, seen, minlength=seeds * n).reshape(seeds, n).astype(wide.dtype)
        weights = _least_squares(wide, gram_of_rows, count, total).astype(FLOAT)
        errors[:, t - 1] = weights - real
    return _regression_metrics(errors, test)


def _least_squares(inputs, gram_of_rows, count, total):
    """Shortest least squares ``[S, D]`` of inputs ``[S, N, D]`` that count ``[S, N]`` times."""
    seeds, _, dim = inputs.shape
    weights = np.empty((seeds, dim), inputs.dtype)
    few = np.count_nonzero(count, axis=1) <= dim
    if few.any():  # all can be met: X' a with X X' a = y
        x = inputs[few]
        gram = x @ transposed(x) if gram_of_rows is None else gram_of_rows[few]
        there = (count[few] > 0).astype(x.dtype)
        gram = gram * there[:, None, :] * there[:, :, None]
        np.einsum("sii->si", gram)[...] += 1 - there
        mean = total[few] / np.maximum(count[few], 1)
        weights[few] = (transposed(x) @ np.linalg.solve(gram, mean[..., None]))[..., 0]
    if not few.all():
        many = slice(None) if not few.any() else ~few
        x, c = inputs[many], count[many]
        most = np.count_nonzero(c, axis=1).max()
        if most < x.shape[1]:  # rows that count first
            first = np.argsort(c == 0, axis=1, kind="stable")[:, :most]
            seen, c = taken(x, first), np.take_along_axis(c, first, axis=1)
        else:
            seen = x.copy()
        seen *= np.sqrt(c, dtype=x.dtype)[..., None]
        right = transposed(x) @ total[many][..., None]
        weights[many] = np.linalg.solve(transposed(seen) @ seen, right)[..., 0]
    return weights


def linear_regression(
    workflow: str,
    generations: int,
    seeds: int,
    dim: int,
    num_samples: int,
    noise_variance: float = 1.0,
    num_test: int = 1000,
    how: str | None = None,
    seed: int = 0,
    threads: int = 2,
) -> Metrics:
    """Least squares, one design for all generations; the factor is computed once."""
    check_workflow(workflow)
    sizes: dict[str, Any] = {
        "generations": generations,
        "dim": dim,
        "num_samples": num_samples,
        "noise_variance": noise_variance,
        "num_test": num_test,
    }
    how = how or way("linear-regression", workflow, dim=dim, num_samples=num_samples)
    if workflow == SUBSAMPLE:
        run = partial(regression_by_rows, **sizes)
        return over_seeds(run, generator, seeds, num_samples * dim, seed, threads)
    run = partial(regression_by_sums, workflow=workflow, how=how, **sizes)
    numbers = dim * (max(num_samples, num_test) if how == "points" else dim + generations)
    return over_seeds(run, generator, seeds, numbers, seed, threads)


# Categorical ------------------------------------------------------------------------------------


def _categorical_metrics(counts, table, outcomes):
    """Of counts ``[S, K]``; ``table`` holds c log c, float64, so that one outcome left has 0."""
    total = counts[0].sum()
    present = np.count_nonzero(counts, axis=1)
    squares = np.einsum("sk,sk->s", counts, counts, dtype=np.float64)
    entropy = np.log(total) - table[counts].sum(axis=1) / total
    return (
        np.where(present > 1, entropy, 0.0) / np.log(outcomes),
        present.astype(np.float64),
        (1 - squares / float(total) ** 2) / (1 - 1 / outcomes),
    )


def _named(found):
    names = "entropy_ratio", "outcomes_left", "heterozygosity_ratio"
    return dict(zip(names, np.moveaxis(np.asarray(found), 0, -1), strict=True))


def _table(workflow, generations, num_samples):
    counts = np.arange((generations if workflow == ACCUMULATE else 1) * num_samples + 1)
    return counts * np.log(np.maximum(counts, 1))


def categorical_by_counts(
    rng: Rng, seeds: int, workflow: str, generations: int, num_outcomes: int, num_samples: int
) -> Metrics:
    """Few outcomes: counts, drawn from a multinomial, and rows from a hypergeometric law."""
    n = num_samples
    table = _table(workflow, generations, n)
    pool = rng.multinomial(n, np.full(num_outcomes, 1 / num_outcomes), size=seeds)
    found = []
    for t in range(1, generations + 1):
        view = pool
        if workflow == SUBSAMPLE and t > 1:
            view = np.empty_like(pool)
            rows, left = np.full(seeds, t * n), np.full(seeds, n)
            for k in range(num_outcomes - 1):
                rows -= pool[:, k]
                view[:, k] = rng.hypergeometric(pool[:, k], rows, left)
                left -= view[:, k]
            view[:, -1] = left
        found.append(_categorical_metrics(view, table, num_outcomes))
        batch = rng.multinomial(n, view / view[0].sum())
        pool = batch if workflow == REPLACE else pool + batch
    return _named(found)


def categorical_by_outcomes(
    rng: Rng, seeds: int, workflow: str, generations: int, num_outcomes: int, num_samples: int
) -> Metrics:
    """Many outcomes: a sample is outcomes seen before, chosen at random.

    None comes that the first batch has not, so those are numbered anew, from 0.
    """
    n = num_samples
    table = _table(workflow, generations, n)
    first = np.sort(rng.integers(num_outcomes, size=(seeds, n), dtype=np.int32), axis=1)
    batch = np.zeros((seeds, n), np.int32)
    np.cumsum(first[:, 1:] != first[:, :-1], axis=1, out=batch[:, 1:])
    width = int(batch.max()) + 1
    labels = (np.arange(seeds, dtype=np.int32) * width)[:, None]
    batch += labels  # no two seeds share one
    held = 1 if workflow == REPLACE else generations
    pool = np.empty((seeds, held * n), np.int32)
    offsets = (np.arange(seeds, dtype=np.int32) * held * n)[:, None]
    counts = np.zeros((seeds, width), np.int64)
    found = []
    for t in range(1, generations + 1):
        at = (t - 1) % held * n
        pool[:, at : at + n] = batch
        chosen = None
        if workflow == SUBSAMPLE and t > 1:
            chosen = distinct_rows(rng, seeds, t * n, n) + offsets
            batch = pool.reshape(-1)[chosen]
        new = np.bincount(batch.ravel(), minlength=seeds * width).reshape(seeds, width)
        counts = counts + new if workflow == ACCUMULATE else new
        found.append(_categorical_metrics(counts, table, num_outcomes))
        rows = t * n if workflow == ACCUMULATE else n
        picked = rng.integers(rows, size=(seeds, n), dtype=np.int32)
        flat = picked + offsets if chosen is None else np.take_along_axis(chosen, picked, axis=1)
        batch = pool.reshape(-1)[flat]
    return _named(found)


def categorical(
    workflow: str,
    generations: int,
    seeds: int,
    num_outcomes: int,
    num_samples: int,
    how: str | None = None,
    seed: int = 0,
    threads: int = 2,
) -> Metrics:
    """Frequencies, real data uniform."""
    check_workflow(workflow)
    sizes = {"num_outcomes": num_outcomes, "num_samples": num_samples}
    how = how or way("categorical", workflow, **sizes)
    by = categorical_by_counts if how == "statistics" else categorical_by_outcomes
    run = partial(by, workflow=workflow, generations=generations, **sizes)
    return over_seeds(run, generator, seeds, num_samples, seed, threads)


def way(task: str, workflow: str, **cell: Any) -> str:
    """The faster way of a cell: "statistics", or "points"."""
    if task == "categorical":
        few = 10 if workflow == SUBSAMPLE else 100
        small = 10 * cell["num_outcomes"] <= cell["num_samples"]
        return "statistics" if cell["num_outcomes"] <= few and small else "points"
    return "points" if task == "kde" or workflow == SUBSAMPLE else "statistics"


PEERS: dict[str, Callable[..., Metrics]] = {
    "gaussian": gaussian,
    "kde": kde,
    "linear-regression": linear_regression,
    "categorical": categorical,
}
