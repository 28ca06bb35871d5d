"""Kernel density estimates, Gaussian kernel, bandwidth a number or "scott"."""

from __future__ import annotations

import numpy as np
import torch
from parts import ACCUMULATE, REPLACE, SUBSAMPLE, Metrics, circle_positions, moon_positions

from torch_programs.draws import (
    Rng,
    Tensor,
    collected,
    distinct_rows,
    normals,
    offsets,
    taken,
)


def real_points(rng: Rng, dataset: str, seeds: int, count: int, centres: Tensor) -> Tensor:
    """Points ``[S, N, D]`` of the laws of scikit-learn's generators, with the paper's noise."""
    if dataset == "blobs":
        return centres[:, torch.arange(count) % centres.shape[1]] + normals(rng, seeds, count, 2)
    if dataset == "swiss-roll":
        along, across = torch.rand((2, seeds, count), generator=rng)
        t = 1.5 * np.pi * (1 + 2 * along)
        positions = torch.stack([t * t.cos(), 21 * across, t * t.sin()], dim=-1)
    else:
        at = {"moons": moon_positions, "circles": circle_positions}[dataset]
        positions = torch.from_numpy(at(count)).float()[None]
    return positions + 0.05 * normals(rng, seeds, count, positions.shape[-1])


TILE = 2**16  # kernels at a time
LEAST = -80.0  # of an exponent: nothing beside 1, and what underflows would be slow


def log_sums(points: Tensor, test: Tensor, bandwidth: float) -> Tensor:
    """``log sum_i exp(-|x - x_i|^2 / 2 h^2)`` ``[S, M]`` of points ``[S, N, D]``.

    Exponents are one product, ``x . x_i - |x_i|^2 / 2``; what depends on x alone comes after. Of
    each x the largest goes before the exponential, so that far points do not underflow.
    """
    test, points = test / bandwidth, points / bandwidth
    seeds, rows, dim = points.shape
    num_test = test.shape[1]
    left = torch.cat([points, -0.5 * points.square().sum(dim=-1, keepdim=True)], dim=-1)
    right = torch.ones((seeds, dim + 1, num_test))
    right[:, :dim] = test.mT
    high = max(1, min(rows, TILE // num_test))
    wide = max(1, min(seeds, TILE // (num_test * high)))
    out = torch.empty((seeds, num_test))
    for s in range(0, seeds, wide):
        some = slice(s, min(s + wide, seeds))
        for r in range(0, rows, high):
            exponents = torch.bmm(left[some, r : r + high], right[some])
            top = exponents.amax(dim=1, keepdim=True)
            kernels = exponents.sub_(top).clamp_(min=LEAST).exp_()
            added = kernels.sum(dim=1).log_().add_(top[:, 0])
            out[some] = added if r == 0 else torch.logaddexp(out[some], added)
    return out - 0.5 * test.square().sum(dim=-1)


@torch.inference_mode()
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
    centres = 20 * torch.rand((seeds, 3, 2), generator=rng) - 10
    test = real_points(rng, dataset, seeds, num_test, centres)
    batch = real_points(rng, dataset, seeds, n, centres)
    dim = test.shape[-1]
    held = 1 if workflow == REPLACE else generations
    pool = torch.empty((seeds, held * n, dim))
    place = torch.empty((seeds, held * n), dtype=torch.int64)
    first = offsets(seeds, held * n)
    sums = mean = scatter = torch.zeros(0)
    found = []
    for t in range(1, generations + 1):
        at = (t - 1) % held * n
        pool[:, at : at + n] = batch
        rows = t * n if workflow == ACCUMULATE else n
        h = bandwidth if isinstance(bandwidth, int | float) else rows ** (-1 / (dim + 4))
        chosen, view = None, batch
        if workflow == SUBSAMPLE:
            chosen = distinct_rows(rng, t * n, n, place) + first
            view = taken(pool, chosen)
        if workflow != ACCUMULATE:
            sums = log_sums(view, test, h)
        elif h == bandwidth:
            added = log_sums(view, test, h)
            sums = added if t == 1 else torch.logaddexp(sums, added)
        else:
            sums = log_sums(pool[:, : t * n], test, h)
        new_mean = view.mean(dim=1)
        new_scatter = (view - new_mean[:, None]).square_().sum(dim=1)
        if workflow != ACCUMULATE or t == 1:
            mean, scatter = new_mean, new_scatter
        else:
            apart = new_mean - mean
            scatter = scatter + new_scatter + n * (t - 1) / t * apart**2
            mean = mean + apart / t
        norm = float(np.log(rows) + dim * (0.5 * np.log(2 * np.pi) + np.log(h)))
        nll = norm - sums.mean(dim=1)
        found.append({"nll": nll[None], "pool_variance": scatter.mean(dim=1)[None] / rows})
        if t < generations:
            picked = torch.randint(rows, (seeds, n), generator=rng)
            flat = picked + first if chosen is None else chosen.gather(1, picked)
            batch = taken(pool, flat).add_(normals(rng, seeds, n, dim), alpha=h)
    return collected(found)
