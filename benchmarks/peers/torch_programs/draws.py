"""What all programs draw, and how they take rows."""

from __future__ import annotations

import math

import numpy as np
import torch
from parts import Metrics

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


def bartlett(rng: Rng, batch: tuple[int, ...], degrees: int, dim: int, rank: int) -> Tensor:
    """Triangles T ``[..., D, K]`` with the law of ``T T'`` Wishart (Bartlett 1933)."""
    below, column = torch.tril_indices(dim, rank, -1)
    drawn = normals(rng, math.prod(batch), below.numel())
    flat = torch.zeros((len(drawn), dim * rank))
    flat.scatter_(1, (below * rank + column).expand(drawn.shape), drawn)
    flat = flat.reshape(*batch, dim * rank)
    shapes = ((degrees - torch.arange(rank, dtype=torch.float32)) / 2).expand(*batch, rank)
    flat[..., : rank * rank : rank + 1] = (2 * torch._standard_gamma(shapes, generator=rng)).sqrt()
    return flat.reshape(*batch, dim, rank)
