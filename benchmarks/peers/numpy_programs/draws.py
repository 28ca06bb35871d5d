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


def taken(pool: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Rows ``[S, size, ...]`` of a pool ``[S, R, ...]``."""
    flat = chosen + (np.arange(len(pool)) * pool.shape[1])[:, None]
    return pool.reshape(-1, *pool.shape[2:])[flat]


def bartlett(rng: Rng, batch: tuple[int, ...], degrees: int, dim: int, rank: int) -> np.ndarray:
    """Triangles T ``[..., D, K]`` with the law of ``T T'`` Wishart (Bartlett 1933)."""
    triangle = np.zeros((*batch, dim, rank), FLOAT)
    below, column = np.tril_indices(dim, -1, rank)
    flat = triangle.reshape(*batch, dim * rank)
    drawn = normals(rng, *batch, below.size)
    if dim < 32:
        flat[..., below * rank + column] = drawn
    else:  # few rows, each long
        end = 0
        for row in range(1, dim):
            width = min(row, rank)
            triangle[..., row, :width] = drawn[..., end : end + width]
            end += width
    shapes = (degrees - np.arange(rank, dtype=FLOAT)) / 2
    gammas = rng.standard_gamma(np.broadcast_to(shapes, (*batch, rank)), dtype=FLOAT)
    flat[..., : rank * rank : rank + 1] = np.sqrt(2 * gammas)
    return triangle
