"""Least squares, one design for all generations, whose factor is computed once."""

from __future__ import annotations

import torch
from parts import ACCUMULATE, Metrics

from torch_programs.draws import Rng, Tensor, bartlett, distinct_rows, normals, offsets, taken


def pseudo_inverse(rows: Tensor) -> Tensor:
    """``X^+`` ``[..., D, K]`` of rows ``[..., K, D]`` in general position, in float64."""
    rows = rows.double()
    if rows.shape[-2] == rows.shape[-1]:
        return torch.linalg.inv(rows)
    if rows.shape[-2] < rows.shape[-1]:
        return torch.linalg.solve(rows @ rows.mT, rows).mT
    return torch.linalg.solve(rows.mT @ rows, rows.mT)


def regression_rows(rng: Rng, how: str, seeds: int, dim: int, count: int) -> Tensor:
    """Inputs ``[S, N, D]``, or a square root of their Gram matrix, ``[S, min(N, D), D]``."""
    if how == "points":
        return normals(rng, seeds, count, dim)
    return bartlett(rng, (seeds,), count, dim, min(dim, count)).mT


def _regression_metrics(error, test):
    seen = error @ test.mT  # [S, G, K]
    found = {"mse": seen.square().sum(dim=-1), "excess_risk": error.square().sum(dim=-1)}
    return {name: values.numpy() for name, values in found.items()}


def _test_root(rng, how, seeds, dim, num_test):
    """A square root ``[S, D, D]`` of ``X' X / M``: a generation costs D^2 then, not M D."""
    rows = regression_rows(rng, how, seeds, dim, num_test)
    if how == "points" and num_test > dim:
        rows = torch.linalg.cholesky(rows.mT @ rows).mT
    return rows / num_test**0.5


@torch.inference_mode()
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
    inverse = pseudo_inverse(rows).float()
    test = _test_root(rng, how, seeds, dim, num_test)
    noise = noise_variance**0.5 * normals(rng, seeds, generations, rows.shape[1])
    if workflow == ACCUMULATE:
        noise /= torch.arange(1, generations + 1)[:, None]
    error = (noise @ inverse.mT).cumsum(dim=1)
    if num_samples < dim:
        error += (inverse @ (rows @ real) - real).mT
    return _regression_metrics(error, test)


@torch.inference_mode()
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
    wide = inputs.double() if few_rows else inputs
    gram_of_rows = wide @ wide.mT if few_rows else None
    std = noise_variance**0.5
    weights = real
    pool = torch.empty((seeds, generations * n))
    place = torch.empty((seeds, generations * n), dtype=torch.int64)
    errors = torch.empty((seeds, generations, dim))
    for t in range(1, generations + 1):
        targets = (inputs @ weights[..., None])[..., 0] + std * normals(rng, seeds, n)
        pool[:, (t - 1) * n : t * n] = targets
        chosen = distinct_rows(rng, t * n, n, place)
        row = chosen % n
        seen = pool.gather(1, chosen).to(wide.dtype)
        count = torch.zeros((seeds, n), dtype=wide.dtype).scatter_add_(
            1, row, torch.ones_like(seen)
        )
        total = torch.zeros((seeds, n), dtype=wide.dtype).scatter_add_(1, row, seen)
        weights = _least_squares(wide, gram_of_rows, count, total).float()
        errors[:, t - 1] = weights - real
    return _regression_metrics(errors, test)


def _least_squares(inputs, gram_of_rows, count, total):
    """Shortest least squares ``[S, D]`` of inputs ``[S, N, D]`` that count ``[S, N]`` times."""
    seeds, _, dim = inputs.shape
    weights = torch.empty((seeds, dim), dtype=inputs.dtype)
    distinct = torch.count_nonzero(count, dim=1)
    few = distinct <= dim
    some, every = bool(few.any()), bool(few.all())
    if some:  # all can be met: X' a with X X' a = y
        x = inputs[few]
        gram = x @ x.mT if gram_of_rows is None else gram_of_rows[few]
        there = (count[few] > 0).to(x.dtype)
        gram = gram * there[:, None, :] * there[:, :, None]
        gram.diagonal(dim1=1, dim2=2).add_(1 - there)
        mean = total[few] / count[few].clamp(min=1)
        weights[few] = (x.mT @ torch.linalg.solve(gram, mean[..., None]))[..., 0]
    if not every:
        many = ~few if some else slice(None)
        x, c, y = inputs[many], count[many], total[many]
        most = int(distinct.max())
        if most < x.shape[1]:  # rows that count first
            first = (c == 0).to(torch.uint8).argsort(dim=1, stable=True)[:, :most]
            c, y = c.gather(1, first), y.gather(1, first)
            x = taken(x, first + offsets(*x.shape[:2]))
        weighted = x * c[..., None]
        weights[many] = torch.linalg.solve(weighted.mT @ x, x.mT @ y[..., None])[..., 0]
    return weights
