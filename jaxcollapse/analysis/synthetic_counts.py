"""How much synthetic data is best beside so much real data, by paired losses of seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.05
RESAMPLES = 2000
FEWEST_SEEDS = 10  # of a bootstrap: fewer give too few different resamples


class Comparison(NamedTuple):
    """One synthetic count against none, seed by seed.

    Its interval and verdict hold for all synthetic counts of a real count together (Bonferroni),
    so also for the one that was found best.

    Attributes:
      synthetic: the count.
      difference: of the mean losses; negative where synthetic data help.
      low: the lower end of its 95% interval.
      high: the upper end.
      p: of Student's test, two-sided, of this count alone.
      verdict: ``better``, ``worse``, or ``-`` where the interval holds 0.
    """

    synthetic: int
    difference: float
    low: float
    high: float
    p: float
    verdict: str


class Best(NamedTuple):
    """How much synthetic data is best beside so much real data.

    Attributes:
      real: the real count.
      synthetic: the synthetic count of the least mean loss.
      interval: 95%, from a bootstrap over seeds; None for fewer than 10 of them.
      loss: the mean loss there.
      comparisons: of every other synthetic count with none; empty where there is no cell without.
    """

    real: int
    synthetic: int
    interval: tuple[int, int] | None
    loss: float
    comparisons: tuple[Comparison, ...]

    @property
    def helps(self) -> tuple[int, ...]:
        """Synthetic counts that are better than none."""
        return tuple(c.synthetic for c in self.comparisons if c.verdict == "better")

    @property
    def harms(self) -> tuple[int, ...]:
        """Synthetic counts that are worse than none."""
        return tuple(c.synthetic for c in self.comparisons if c.verdict == "worse")


def best_counts(
    real: np.ndarray, synthetic: np.ndarray, losses: np.ndarray, seed: int = 0
) -> tuple[Best, ...]:
    """For each real count the best synthetic count, and every synthetic count against none.

    Args:
      real: counts ``[A]``.
      synthetic: counts ``[B]``.
      losses: ``[A, B, S]``, paired over seeds.
      seed: of the bootstrap.
    """
    found = []
    for count, row in zip(real, losses, strict=True):
        kept = np.isfinite(row).all(axis=-1)
        if not kept.any():
            continue
        amounts, values = synthetic[kept], row[kept]
        means = values.mean(axis=-1)
        best = int(np.argmin(means))
        found.append(
            Best(
                int(count),
                int(amounts[best]),
                _best_interval(amounts, values, seed),
                float(means[best]),
                _compare(amounts, values),
            )
        )
    return tuple(found)


def _best_interval(amounts: np.ndarray, values: np.ndarray, seed: int) -> tuple[int, int] | None:
    resampled = resampled_means(values, seed)
    if not resampled.size:
        return None
    chosen = amounts[np.argmin(resampled, axis=-1)]
    ends = [LEVEL / 2, 1 - LEVEL / 2]
    low, high = np.quantile(chosen, ends, method="inverted_cdf")
    return int(low), int(high)


def resampled_means(values: np.ndarray, seed: int) -> np.ndarray:
    """Means ``[K, cells]`` of resamples of the seeds of ``[cells, S]``; K is 0 for few seeds.

    Seeds are drawn for all cells together, so that pairs stay together, and the same ones in every
    call.
    """
    size = values.shape[-1]
    resamples = RESAMPLES if size >= FEWEST_SEEDS else 0
    rng = np.random.default_rng(seed)
    times = rng.multinomial(size, np.full(size, 1 / size), resamples)
    return times / size @ values.T


def _compare(synthetic: Sequence[int] | np.ndarray, values: np.ndarray) -> tuple[Comparison, ...]:
    amounts = np.asarray(synthetic)
    if not (amounts == 0).any() or values.shape[-1] < 2:
        return ()
    without = values[amounts == 0][0]
    others = [(int(m), row - without) for m, row in zip(amounts, values, strict=True) if m > 0]
    found = []
    for amount, difference in others:
        size = difference.size
        mean, error = difference.mean(), difference.std(ddof=1) / np.sqrt(size)
        half = stats.t.ppf(1 - LEVEL / 2 / len(others), size - 1) * error
        p = 1.0 if error == 0 else float(2 * stats.t.sf(abs(mean) / error, size - 1))
        clear = p * len(others) < LEVEL
        verdict = ("better" if mean < 0 else "worse") if clear else "-"
        found.append(
            Comparison(
                amount, float(mean), float(mean - half), float(mean + half), float(p), verdict
            )
        )
    return tuple(found)


def uncompared(synthetic: np.ndarray, losses: np.ndarray) -> str:
    """Why no synthetic count is compared with none."""
    if 0 not in synthetic:
        return "No synthetic count is 0, so there is nothing to compare the others with."
    if synthetic.size == 1:
        return "There is no synthetic count but 0, so there is nothing to compare with it."
    if losses.shape[-1] == 1:
        return "There is one seed: synthetic counts are compared with none over two or more."
    return "Losses without synthetic data are not finite, so there is nothing to compare with."
