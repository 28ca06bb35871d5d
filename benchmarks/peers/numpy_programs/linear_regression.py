"""Least squares, one design for all generations, whose factor is computed once."""

from __future__ import annotations

import numpy as np
from parts import ACCUMULATE, Metrics

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


def by_sums(
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


def by_rows(
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
    first = offsets(seeds, n)
    std = np.sqrt(FLOAT(noise_variance))
    weights = real
    pool = np.empty((seeds, generations * n), FLOAT)
    errors = np.empty((seeds, generations, dim), FLOAT)
    for t in range(1, generations + 1):
        batch = pool[:, (t - 1) * n : t * n]
        batch[...] = (inputs @ weights[..., None])[..., 0] + std * normals(rng, seeds, n)
        chosen = distinct_rows(rng, seeds, t * n, n)
        flat = (chosen % n + first).ravel()
        seen = taken(pool, chosen + offsets(*pool.shape)).ravel()
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
            seen = taken(x, first + offsets(*x.shape[:2]))
            c = np.take_along_axis(c, first, axis=1)
        else:
            seen = x.copy()
        seen *= np.sqrt(c, dtype=x.dtype)[..., None]
        right = transposed(x) @ total[many][..., None]
        weights[many] = np.linalg.solve(transposed(seen) @ seen, right)[..., 0]
    return weights
