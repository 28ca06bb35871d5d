"""The best batched PyTorch programs on a CPU: all seeds at once, the seeds first among the axes.

They are the programs of ``numpy_peers.py`` as PyTorch is best at them, with the same names and the
same two ways, ``how="statistics"`` and ``how="points"``. Numbers are float32 but where a comment
says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
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
Rng = torch.Generator
Tensor = torch.Tensor


def generator(seed: np.random.SeedSequence) -> Rng:
    """A generator of a thread's own; parts of the seeds are what threads share, not arrays."""
    torch.set_num_threads(1)
    return torch.Generator().manual_seed(int(seed.generate_state(1, np.uint64)[0] >> 1))


def normals(rng: Rng, *shape: int) -> Tensor:
    """Standard normals."""
    return torch.randn(shape, generator=rng)


def distinct_rows(rng: Rng, rows: int, size: int, place: Tensor) -> Tensor:
    """``size`` of ``rows`` numbers without replacement, int64 ``[S, size]``, in any order.

    ``place`` is int64 ``[S, rows or more]`` for notes.
    """
    seeds = len(place)
    if rows == size:
        return torch.arange(rows).expand(seeds, rows)
    if rows < 4 * size:
        keys = torch.rand((seeds, rows), generator=rng, dtype=torch.float64)
        return keys.topk(size, dim=1, sorted=False).indices
    chosen = torch.randint(rows, (seeds, size), generator=rng)
    mine = torch.arange(size).expand(seeds, size)
    while True:  # who finds another's note draws anew: any set is as likely as another
        place.scatter_(1, chosen, mine)
        again = place.gather(1, chosen) != mine
        count = int(again.sum())
        if not count:
            return chosen
        chosen[again] = torch.randint(rows, (count,), generator=rng)


def taken(pool: Tensor, flat: Tensor) -> Tensor:
    """Rows ``[S, size, ...]`` of a pool ``[S, R, ...]`` by their numbers among all ``S R``."""
    rows = pool.flatten(0, 1).index_select(0, flat.reshape(-1))
    return rows.reshape(*flat.shape, *pool.shape[2:])


def offsets(seeds: int, rows: int) -> Tensor:
    """The number of each seed's first row among all, ``[S, 1]``."""
    return (torch.arange(seeds) * rows)[:, None]


def collected(found: list[dict[str, Tensor]]) -> Metrics:
    """Metrics ``[S, G]`` of lists of ``[T, S]``."""
    return {name: torch.cat([f[name] for f in found]).T.numpy() for name in found[0]}


# Gaussian ---------------------------------------------------------------------------------------


def bartlett(rng: Rng, batch: tuple[int, ...], degrees: int, dim: int, rank: int) -> Tensor:
    """Triangles T ``[..., D, K]`` with the law of ``T T'`` Wishart (Bartlett 1933)."""
    flat = torch.zeros((*batch, dim * rank))
    below, column = torch.tril_indices(dim, rank, -1)
    flat.index_copy_(-1, below * rank + column, normals(rng, *batch, below.numel()))
    shapes = ((degrees - torch.arange(rank, dtype=torch.float32)) / 2).expand(*batch, rank)
    flat[..., : rank * rank : rank + 1] = (2 * torch._standard_gamma(shapes, generator=rng)).sqrt()
    return flat.reshape(*batch, dim, rank)


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
def gaussian_by_moments(
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
def gaussian_by_rows(rng: Rng, seeds: int, generations: int, dim: int, num_samples: int) -> Metrics:
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
            added = exponents.sub_(top).exp_().sum(dim=1).log_().add_(top[:, 0])
            out[some] = added if r == 0 else torch.logaddexp(out[some], added)
    return out - 0.5 * test.square().sum(dim=-1)


@torch.inference_mode()
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
    """Of counts ``[S, K]``; ``table`` holds c log c, float64."""
    total = int(counts[0].sum())
    present = torch.count_nonzero(counts, dim=1)
    squares = counts.double().square_().sum(dim=1)
    entropy = np.log(total) - torch.take(table, counts).sum(dim=1) / total
    return {
        "entropy_ratio": torch.where(present > 1, entropy, 0.0)[None] / np.log(outcomes),
        "outcomes_left": present[None].double(),
        "heterozygosity_ratio": (1 - squares[None] / float(total) ** 2) / (1 - 1 / outcomes),
    }


def _table(workflow, generations, num_samples):
    counts = torch.arange((generations if workflow == ACCUMULATE else 1) * num_samples + 1)
    return counts * counts.clamp(min=1).double().log()


def _multinomial(rng, n, p):
    """Counts ``[S, K]`` of n draws with probabilities ``[S, K]``, one outcome after another."""
    counts = torch.empty_like(p)
    left, rest = torch.full((len(p),), float(n), dtype=p.dtype), torch.ones_like(p[:, 0])
    for k in range(p.shape[1] - 1):
        share = (p[:, k] / rest.clamp(min=1e-12)).clamp(0, 1)
        counts[:, k] = torch.binomial(left, share, generator=rng)
        left = left - counts[:, k]
        rest = rest - p[:, k]
    counts[:, -1] = left
    return counts


@torch.inference_mode()
def categorical_by_counts(
    rng: Rng, seeds: int, workflow: str, generations: int, num_outcomes: int, num_samples: int
) -> Metrics:
    """Few outcomes: counts of each batch, which a model draws by binomials, in float64."""
    n = num_samples
    table = _table(workflow, generations, n)
    real = torch.full((seeds, num_outcomes), 1 / num_outcomes, dtype=torch.float64)
    pool = _multinomial(rng, n, real)
    found = []
    for t in range(1, generations + 1):
        found.append(_categorical_metrics(pool.long(), table, num_outcomes))
        if t < generations:
            batch = _multinomial(rng, n, pool / pool[0].sum())
            pool = batch if workflow == REPLACE else pool + batch
    return collected(found)


@torch.inference_mode()
def categorical_by_outcomes(
    rng: Rng, seeds: int, workflow: str, generations: int, num_outcomes: int, num_samples: int
) -> Metrics:
    """Many outcomes: a sample is outcomes seen before, chosen at random.

    None comes that the first batch has not, so those are numbered anew, from 0.
    """
    n = num_samples
    table = _table(workflow, generations, n)
    drawn = torch.randint(num_outcomes, (seeds, n), generator=rng).sort(dim=1).values
    batch = torch.zeros((seeds, n), dtype=torch.int64)
    batch[:, 1:] = (drawn[:, 1:] != drawn[:, :-1]).cumsum(dim=1)
    width = int(batch.max()) + 1
    batch += offsets(seeds, width)  # no two seeds share one
    held = 1 if workflow == REPLACE else generations
    pool = torch.empty((seeds, held * n), dtype=torch.int64)
    place, first = torch.empty_like(pool), offsets(seeds, held * n)
    counts = torch.zeros((seeds, width), dtype=torch.int64)
    found = []
    for t in range(1, generations + 1):
        at = (t - 1) % held * n
        pool[:, at : at + n] = batch
        chosen = None
        if workflow == SUBSAMPLE:
            chosen = distinct_rows(rng, t * n, n, place) + first
            batch = taken(pool, chosen)
        new = torch.bincount(batch.reshape(-1), minlength=seeds * width).reshape(seeds, width)
        counts = counts + new if workflow == ACCUMULATE else new
        found.append(_categorical_metrics(counts, table, num_outcomes))
        if t < generations:
            rows = t * n if workflow == ACCUMULATE else n
            picked = torch.randint(rows, (seeds, n), generator=rng)
            batch = taken(pool, picked + first if chosen is None else chosen.gather(1, picked))
    return collected(found)


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
    if how == "statistics" and workflow != SUBSAMPLE:
        by = categorical_by_counts
    else:
        by = categorical_by_outcomes
    run = partial(by, workflow=workflow, generations=generations, **sizes)
    return over_seeds(run, generator, seeds, num_samples, seed, threads)


def way(task: str, workflow: str, **cell: Any) -> str:
    """The faster way of a cell: "statistics", or "points"."""
    if task == "categorical":
        small = 10 * cell["num_outcomes"] <= cell["num_samples"]
        return "statistics" if small and workflow != SUBSAMPLE else "points"
    return "points" if task == "kde" or workflow == SUBSAMPLE else "statistics"


PEERS: dict[str, Callable[..., Metrics]] = {
    "gaussian": gaussian,
    "kde": kde,
    "linear-regression": linear_regression,
    "categorical": categorical,
}
