"""What all programs draw, and how they take rows."""

from __future__ import annotations

import numpy as np

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


def offsets(seeds: int, rows: int) -> np.ndarray:
    """The number of each seed's first row among all, ``[S, 1]``."""
    return (np.arange(seeds) * rows)[:, None]


def taken(pool: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Rows ``[S, size, ...]`` of a pool ``[S, R, ...]`` by their numbers among all ``S R``."""
    return np.take(pool.reshape(-1, *pool.shape[2:]), flat, axis=0)


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
