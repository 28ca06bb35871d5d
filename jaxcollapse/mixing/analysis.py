"""Does the number or the share of real data matter? What a grid of mixtures answers.

Two questions of a loss on held-out real data over a grid of real counts R and synthetic counts M:

- *Which term explains it?* Least squares of the cells' mean losses on a function of the real count
  and on the share of real data, ``loss = a + b f(R) + c R/(R + M)``, and the F-test of each term
  given the other. The losses themselves are regressed, not their logarithms, as published.
- *How much synthetic data is best?* For each real count the synthetic count of the least mean
  loss, with a bootstrap interval over seeds, and the paired difference of every synthetic count
  from none.

Seeds of a cell enter the regression through their mean: cells of one seed share their real points,
so its losses are not independent; the paired differences are what makes use of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import optimize, stats

from jaxcollapse import checks

if TYPE_CHECKING:
    import xarray

LEVEL = 0.05
RESAMPLES = 2000
EXPONENTS = (0.01, 4.0)  # among which the exponent of the real count is sought
REAL, SHARE = "real count", "share of real data"


class Fit(NamedTuple):
    """Least squares of a loss.

    Attributes:
      terms: beside the constant.
      coefficients: of the constant and of each term.
      r_squared: the part of the variance between cells that it explains.
      residual: the sum of squared residuals.
      parameters: how many were fitted, an exponent included.
    """

    terms: tuple[str, ...]
    coefficients: np.ndarray
    r_squared: float
    residual: float
    parameters: int


class FTest(NamedTuple):
    """Whether a term explains what the other one leaves.

    Attributes:
      term: which.
      given: the other.
      f: the statistic.
      dof: its degrees of freedom.
      p: how likely one as large is if the term has no effect; approximate where an exponent was
        fitted.
    """

    term: str
    given: str
    f: float
    dof: tuple[int, int]
    p: float


class Regression(NamedTuple):
    """A loss on the real count, on the share of real data, and on both.

    Attributes:
      transform: of the real count n: ``log n``, ``n^-1/2`` or ``n^-a``.
      exponent: a, fitted together with both terms; None where none was.
      fits: on the real count, on the share, on both.
      tests: of the real count given the share, and of the share given the real count.
    """

    transform: str
    exponent: float | None
    fits: tuple[Fit, Fit, Fit]
    tests: tuple[FTest, FTest]


class Comparison(NamedTuple):
    """One synthetic count against none, seed by seed.

    Attributes:
      synthetic: the count.
      difference: of the mean losses; negative where synthetic data help.
      low: the lower end of its 95% interval.
      high: the upper end.
      p: of Student's test, two-sided.
      verdict: ``better``, ``worse`` or ``-``, at 5% over all synthetic counts of the real count
        together (Bonferroni).
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
      low: the lower end of its 95% bootstrap interval.
      high: the upper end.
      loss: the mean loss there.
      comparisons: of every other synthetic count with none; empty where there is no cell without.
    """

    real: int
    synthetic: int
    low: int
    high: int
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


class Analysis(NamedTuple):
    """The answers.

    Attributes:
      metric: the loss's name.
      num_seeds: S.
      num_cells: how many cells were regressed.
      regressions: one for each transform of the real count; none where cells are too few.
      best: one for each real count.
      left_out: which cells were left out and why, in words; "" for none.
    """

    metric: str
    num_seeds: int
    num_cells: int
    regressions: tuple[Regression, ...]
    best: tuple[Best, ...]
    left_out: str


def analyse(dataset: xarray.Dataset, metric: str | None = None, seed: int = 0) -> Analysis:
    """The answers of one grid of mixtures.

    Args:
      dataset: a loss with the dimensions ``real``, ``synthetic`` and ``seed``, and no other of more
        than one value.
      metric: the loss; by default the one that the attribute ``loss`` names.
      seed: of the bootstrap.

    Raises:
      ValueError: an unknown metric, or other dimensions.
    """
    metric = loss_of(dataset, metric)
    array = dataset[metric]
    others = [d for d in array.dims if d not in ("real", "synthetic", "seed")]
    if any(array.sizes[d] > 1 for d in others) or not {"real", "synthetic"} <= set(array.dims):
        raise checks.refuse(
            f"dimensions of {metric}",
            "real, synthetic and seed, and others of one value",
            ", ".join(f"{d} ({size})" for d, size in array.sizes.items()),
            "select one value of each other dimension",
        )
    array = array.isel(dict.fromkeys(others, 0)).transpose("real", "synthetic", "seed")
    losses = np.asarray(array.values, np.float64)
    real, synthetic = (np.asarray(dataset[name].values) for name in ("real", "synthetic"))
    finite = np.asarray(np.isfinite(losses).all(axis=-1))
    return Analysis(
        metric=metric,
        num_seeds=losses.shape[-1],
        num_cells=int((finite & (real > 0)[:, None]).sum()),
        regressions=regress(real, synthetic, np.where(finite, losses.mean(axis=-1), np.nan)),
        best=best_counts(real, synthetic, losses, seed),
        left_out=_left_out(real, synthetic, finite),
    )


def loss_of(dataset: xarray.Dataset, metric: str | None = None) -> str:
    """The loss that is asked for, or the one that a result names."""
    known = [str(name) for name, array in dataset.data_vars.items() if "seed" in array.dims]
    if metric is None:
        metric = dataset.attrs.get("loss", known[0] if known else None)
    return checks.one_of("metric", metric, known)


def _left_out(real: np.ndarray, synthetic: np.ndarray, finite: np.ndarray) -> str:
    bad = np.argwhere(~finite)
    if not len(bad):
        return ""
    named = [f"{real[i]} real and {synthetic[j]} synthetic" for i, j in bad[:3]]
    more = ", ..." if len(bad) > 3 else ""
    return (
        f"left out: {len(bad)} of {finite.size} cells, where a loss is not finite "
        f"({'; '.join(named)}{more})"
    )


# Which term explains the loss -------------------------------------------------------------------


def regress(real: np.ndarray, synthetic: np.ndarray, loss: np.ndarray) -> tuple[Regression, ...]:
    """Regressions on ``log n``, ``n^-1/2`` and ``n^-a``, of the cells with n > 0.

    Args:
      real: counts ``[A]``.
      synthetic: counts ``[B]``.
      loss: mean losses ``[A, B]``; NaN where a cell is left out.

    Returns:
      None at all where cells, or different real counts or shares, are too few.
    """
    n, m = np.meshgrid(real.astype(np.float64), synthetic.astype(np.float64), indexing="ij")
    kept = np.isfinite(loss) & (n > 0)
    n, m, y = n[kept], m[kept], loss[kept]
    share = n / np.where(kept.any(), n + m, 1)
    if y.size < 5 or np.unique(n).size < 2 or np.unique(share).size < 2 or np.ptp(y) == 0:
        return ()

    def fit(count: np.ndarray | None, with_share: bool, fitted: int = 0) -> Fit:
        columns = {} if count is None else {REAL: count}
        columns |= {SHARE: share} if with_share else {}
        design = np.column_stack([np.ones_like(y), *columns.values()])
        coefficients = np.linalg.lstsq(design, y, rcond=None)[0]
        residual = float(np.sum((y - design @ coefficients) ** 2))
        explained = 1 - residual / float(np.sum((y - y.mean()) ** 2))
        return Fit(tuple(columns), coefficients, explained, residual, design.shape[1] + fitted)

    def test(term: str, given: str, small: Fit, large: Fit) -> FTest:
        dof = large.parameters - small.parameters, y.size - large.parameters
        left = large.residual / dof[1]
        f = (small.residual - large.residual) / dof[0] / left if left > 0 else np.inf
        return FTest(term, given, float(f), dof, float(stats.f.sf(f, *dof)))

    def regression(transform, exponent, count_alone, both):
        share_alone = fit(None, True)
        tests = (
            test(REAL, SHARE, share_alone, both),
            test(SHARE, REAL, count_alone, both),
        )
        return Regression(transform, exponent, (count_alone, share_alone, both), tests)

    def power(with_share: bool) -> tuple[float, Fit]:
        def residual(a):
            return fit(n**-a, with_share, 1).residual

        # The best of a few exponents, then the least residual around it.
        grid = np.geomspace(*EXPONENTS, 40)
        middle = int(np.argmin([residual(a) for a in grid]))
        around = grid[max(middle - 1, 0)], grid[min(middle + 1, grid.size - 1)]
        a = float(optimize.minimize_scalar(residual, bounds=around, method="bounded").x)
        return a, fit(n**-a, with_share, 1)

    found = [
        regression(name, None, fit(count, False), fit(count, True))
        for name, count in (("log n", np.log(n)), ("n^-1/2", n**-0.5))
    ]
    if np.unique(n).size > 2 and y.size > 5:
        exponent, both = power(True)
        found.append(regression("n^-a", exponent, power(False)[1], both))
    return tuple(found)


# How much synthetic data is best ----------------------------------------------------------------


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
        # The same resamples for every real count.
        chosen = _bootstrap_best(values, np.random.default_rng(seed))
        low, high = np.quantile(amounts[chosen], [0.025, 0.975], method="inverted_cdf")
        means = values.mean(axis=-1)
        best = int(np.argmin(means))
        comparisons = _compare(amounts, values)
        found.append(
            Best(
                int(count),
                int(amounts[best]),
                int(low),
                int(high),
                float(means[best]),
                comparisons,
            )
        )
    return tuple(found)


def _bootstrap_best(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Which row of ``[B, S]`` has the least mean, for resamples of its columns."""
    size = values.shape[-1]
    # How often each seed is drawn; chosen together for all cells, so that pairs stay together.
    times = rng.multinomial(size, np.full(size, 1 / size), RESAMPLES).astype(np.float64)
    return np.argmin(times @ values.T, axis=-1)


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
        half = stats.t.ppf(1 - LEVEL / 2, size - 1) * error
        p = 1.0 if error == 0 else float(2 * stats.t.sf(abs(mean) / error, size - 1))
        clear = p * len(others) < LEVEL
        verdict = ("better" if mean < 0 else "worse") if clear else "-"
        found.append(
            Comparison(
                amount, float(mean), float(mean - half), float(mean + half), float(p), verdict
            )
        )
    return tuple(found)
