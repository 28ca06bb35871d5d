"""Gaussians, real data N(0, I), scatter over N."""

from __future__ import annotations

import torch
from parts import REPLACE, Metrics, blocks

from torch_programs.draws import (
    Rng,
    Tensor,
    bartlett,
    collected,
    distinct_rows,
    normals,
    offsets,
    taken,
)


def cholesky(matrix: Tensor) -> Tensor:
    """Cholesky factors, of numbers their roots."""
    return matrix.sqrt() if matrix.shape[-1] == 1 else torch.linalg.cholesky(matrix)


def standard_scatter(rng: Rng, how: str, batch: tuple[int, ...], n: int, dim: int):
    """Of n standard normal points: root n times their mean, and T with T T' their scatter."""
    if how == "statistics":
        return normals(rng, *batch, dim), bartlett(rng, batch, n - 1, dim, dim)
    points = normals(rng, *batch, n, dim)
    mean = points.mean(dim=-2, keepdim=True)
    points -= mean
    if n < 2 * dim:  # then the scatter's condition asks for float64
        points = points.double()
    return n**0.5 * mean[..., 0, :], cholesky(points.mT @ points).float()


@torch.inference_mode()
def by_moments(
    rng: Rng, seeds: int, workflow: str, how: str, generations: int, dim: int, num_samples: int
) -> Metrics:
    """A model is the map ``mean + L x``; its sample is the map of a standard one.

    So the next fit's L is L times a triangle that depends on no model, and the triangles of many
    generations are drawn and decomposed at once. Where N <= D all models lie in the span of the
    first N points, and L is ``[D, N - 1]``.
    """
    n, rank = num_samples, min(dim, num_samples - 1)
    root = n**0.5
    mean = normals(rng, seeds, dim) / root
    if how == "statistics" or n <= dim:
        factor = bartlett(rng, (seeds,), n - 1, dim, rank) / root
    else:
        factor = standard_scatter(rng, how, (seeds,), n, dim)[1] / root
    log_det = 2 * factor.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    found = []
    drawn = n * rank if how == "points" else dim * rank
    for block in blocks(generations, seeds * drawn):
        shift, growth = standard_scatter(rng, how, (len(block), seeds), n, rank)
        if workflow == REPLACE:
            growth /= root
            shift /= root
        else:
            batches = torch.arange(block.start + 1, block.stop + 1)[:, None, None].float()
            pooled = growth @ growth.mT
            pooled += (batches / (batches + 1) * shift)[..., None] * shift[..., None, :]
            pooled.diagonal(dim1=-2, dim2=-1).add_(batches * n)
            growth = cholesky(pooled / ((batches + 1) * n)[..., None])
            shift /= (batches + 1) * root
        means, factors = _steps(mean, factor, shift, growth)
        grown = 2 * growth.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
        log_dets = torch.cat([log_det[None], grown]).cumsum(dim=0)
        mean, factor, log_det = means[-1], factors[-1], log_dets[-1]
        found.append(_gaussian_metrics(means[:-1], factors[:-1], log_dets[:-1], rank < dim))
    return collected(found)


def _steps(mean, factor, shift, growth):
    """Means and factors before each step and after the last."""
    steps = len(growth)
    if factor.shape[1:] == (1, 1):
        factors = torch.cat([factor[None], growth]).cumprod(dim=0)
        moved = factors[:-1, ..., 0] * shift
    else:
        factors = torch.empty((steps + 1, *factor.shape))
        factors[0] = factor
        for g in range(steps):
            torch.bmm(factors[g], growth[g], out=factors[g + 1])
        moved = (factors[:-1] @ shift[..., None])[..., 0]
    return torch.cat([mean[None], moved]).cumsum(dim=0), factors


def _gaussian_metrics(means, factors, log_dets, singular):
    dim = factors.shape[-2]
    trace = factors.square().sum(dim=(-2, -1))
    if singular:  # then the error is no small difference, and the smaller product does
        error = (factors.mT @ factors).square().sum(dim=(-2, -1)) - 2 * trace + dim
    else:
        excess = factors @ factors.mT
        excess.diagonal(dim1=-2, dim2=-1).sub_(1)
        error = excess.square_().sum(dim=(-2, -1))
    return {
        "squared_error_of_mean": means.square().sum(dim=-1),
        "squared_error_of_cov": error,
        "trace_ratio": trace / dim,
        "log_det_ratio": torch.full_like(trace, -torch.inf) if singular else log_dets,
    }


@torch.inference_mode()
def by_rows(rng: Rng, seeds: int, generations: int, dim: int, num_samples: int) -> Metrics:
    """Rows drawn from all points so far; of N <= D points no D x D matrix is made."""
    n = num_samples
    pool = torch.empty((seeds, generations * n, dim))
    pool[:, :n] = normals(rng, seeds, n, dim)
    place, first = (
        torch.empty((seeds, generations * n), dtype=torch.int64),
        offsets(seeds, generations * n),
    )
    found = []
    for t in range(1, generations + 1):
        view = taken(pool, distinct_rows(rng, t * n, n, place) + first)
        mean = view.mean(dim=1, keepdim=True)
        centred = (view - mean) / n**0.5
        if n <= dim:
            factor, log_det = centred.mT, torch.zeros(seeds)
        else:
            if n < 2 * dim:  # too ill-conditioned for its square
                factor = torch.linalg.qr(centred, mode="r").R.mT
            else:
                factor = cholesky(centred.mT @ centred)
            log_det = 2 * factor.diagonal(dim1=1, dim2=2).abs().log().sum(dim=1)
        step = _gaussian_metrics(mean[:, 0], factor, log_det, n <= dim)
        found.append({name: values[None] for name, values in step.items()})
        if t < generations:
            noise = normals(rng, seeds, n, factor.shape[-1])
            pool[:, t * n : (t + 1) * n] = torch.baddbmm(mean, noise, factor.mT)
    return collected(found)
