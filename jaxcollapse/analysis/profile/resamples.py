"""Medians over seeds, and those of resamples of the seeds, from which intervals come.

Whole chains are drawn again, never single generations: errors of neighbouring generations depend on
one another. The seeds drawn are the same in every call, so that pairs over cells stay together.
"""

from __future__ import annotations

import numpy as np

RESAMPLES = 500
LEVEL = 0.05
MOST_GENERATIONS = 128  # of a curve: of longer chains these are chosen evenly in the logarithm


def chosen_generations(generations: int) -> np.ndarray:
    """Places ``[T]`` of the generations that are looked at, of so many: all, or 128 at most."""
    if generations <= MOST_GENERATIONS:
        return np.arange(generations)
    return np.unique(np.geomspace(1, generations, MOST_GENERATIONS).round().astype(int)) - 1


def times_drawn(num_seeds: int) -> np.ndarray:
    """How often each seed is drawn ``[1 + K, S]``: once in the first row, the result itself."""
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), RESAMPLES)
    return np.concatenate([np.ones((1, num_seeds), drawn.dtype), drawn])


def medians(values: np.ndarray) -> np.ndarray:
    """Medians over seeds ``[1 + K, T]`` of values ``[S, T]``: of the result, then of resamples.

    Infinities are values like others.
    """
    size = values.shape[0]
    times = times_drawn(size)
    found = np.empty((times.shape[0], values.shape[1]))
    for place, column in enumerate(values.T):
        order = np.argsort(column)
        below = 2 * np.cumsum(times[:, order], axis=1)
        low, high = (
            column[order[np.argmax(reached, axis=1)]] for reached in (below >= size, below > size)
        )
        # A sum of two infinities of one sign would do, but not their difference.
        found[:, place] = np.where(low == high, low, low / 2 + high / 2)
    return found


def interval(resampled: np.ndarray) -> tuple[float, float]:
    """The 95% interval of a number from its resamples ``[K]``, infinities among them or not."""
    low, high = np.quantile(resampled, [LEVEL / 2, 1 - LEVEL / 2], method="inverted_cdf")
    return float(low), float(high)
