"""Does the number or the share of real data matter? What a grid of mixtures answers.

Two questions of a loss on held-out real data over a grid of real counts R and synthetic counts M:

- *Which term explains it?* Least squares of the cells' mean losses on a function of the real count
  and on the share of real data, ``loss = a + b f(R) + c R/(R + M)``, and the F-test of each term
  given the other. The losses themselves are regressed, not their logarithms, as published.
  The F-tests take cells as independent, which cells of one seed are not: they describe. What holds
  are intervals of the coefficients, from a bootstrap over seeds, all cells of a seed together.
- *How much synthetic data is best?* For each real count the synthetic count of the least mean
  loss, with a bootstrap interval over seeds, and the paired difference of every synthetic count
  from none.

Seeds of a cell enter the regression through their mean. Cells of one seed share their real points;
the paired differences are what makes use of that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import stats

from jaxcollapse import checks
from jaxcollapse.analysis.synthetic_counts import (
    LEVEL,
    Best,
    best_counts,
    resampled_means,
    uncompared,
)

if TYPE_CHECKING:
    import xarray

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
      exponent: a of ``n^-a``, fitted with the terms of this fit; None where none was.
    """

    terms: tuple[str, ...]
    coefficients: np.ndarray
    r_squared: float
    residual: float
    parameters: int
    exponent: float | None = None


class FTest(NamedTuple):
    """Whether a term explains what the other one leaves.

    Attributes:
      term: which.
      given: the other.
      f: the statistic.
      dof: its degrees of freedom.
      p: how likely one as large would be without an effect of the term, were the errors of cells
        independent. They are not where cells share data, as those of one seed do: then the test
        of the real count rejects far too often. Descriptive, as published.
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
      fits: on the real count, on the share, on both.
      tests: of the real count given the share, and of the share given the real count.
      intervals: 95%, of the coefficients of both terms and of the exponent where one was fitted,
        ``[2 or 3, 2]``, from a bootstrap over seeds; None for fewer than 10 of them.
    """

    transform: str
    fits: tuple[Fit, Fit, Fit]
    tests: tuple[FTest, FTest]
    intervals: np.ndarray | None


class Analysis(NamedTuple):
    """The answers.

    Attributes:
      metric: the loss's name.
      num_seeds: S.
      num_cells: how many cells were regressed.
      regressions: one for each transform of the real count; none where cells are too few.
      best: one for each real count.
      left_out: which cells were left out and why, in words; "" for none.
      uncompared: why no synthetic count is compared with none, in words; "" where some are.
    """

    metric: str
    num_seeds: int
    num_cells: int
    regressions: tuple[Regression, ...]
    best: tuple[Best, ...]
    left_out: str
    uncompared: str


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
        raise checks.refusal(
            f"dimensions of {metric}",
            "real, synthetic and seed, and others of one value",
            ", ".join(f"{d} ({size})" for d, size in array.sizes.items()),
            "select one value of each other dimension",
        )
    array = array.isel(dict.fromkeys(others, 0)).transpose("real", "synthetic", "seed")
    losses = np.asarray(array.values, np.float64)
    real, synthetic = (np.asarray(dataset[name].values) for name in ("real", "synthetic"))
    finite = np.asarray(np.isfinite(losses).all(axis=-1))
    best = best_counts(real, synthetic, losses, seed)
    return Analysis(
        metric=metric,
        num_seeds=losses.shape[-1],
        num_cells=int((finite & (real > 0)[:, None]).sum()),
        regressions=regress(real, synthetic, losses, seed),
        best=best,
        left_out=_left_out(real, synthetic, finite),
        uncompared="" if any(b.comparisons for b in best) else uncompared(synthetic, losses),
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


def regress(
    real: np.ndarray, synthetic: np.ndarray, losses: np.ndarray, seed: int = 0
) -> tuple[Regression, ...]:
    """Regressions on ``log n``, ``n^-1/2`` and ``n^-a``, of the cells with n > 0.

    Args:
      real: counts ``[A]``.
      synthetic: counts ``[B]``.
      losses: ``[A, B, S]``, paired over seeds; a cell with one that is not finite is left out.
      seed: of the bootstrap.

    Returns:
      None at all where cells, or different real counts or shares, are too few.
    """
    n, m = np.meshgrid(real.astype(np.float64), synthetic.astype(np.float64), indexing="ij")
    kept = np.isfinite(losses).all(axis=-1) & (n > 0)
    n, m, values = n[kept], m[kept], losses[kept]
    y = values.mean(axis=-1)
    share = n / np.where(kept.any(), n + m, 1)
    if y.size < 5 or np.unique(n).size < 2 or np.unique(share).size < 2 or np.ptp(y) == 0:
        return ()
    one = np.ones_like(y)

    def fit(count: np.ndarray | None, with_share: bool, exponent: float | None = None) -> Fit:
        columns = {} if count is None else {REAL: count}
        columns |= {SHARE: share} if with_share else {}
        design = np.column_stack([one, *columns.values()])
        coefficients = np.linalg.lstsq(design, y, rcond=None)[0]
        residual = float(np.sum((y - design @ coefficients) ** 2))
        explained = 1 - residual / float(np.sum((y - y.mean()) ** 2))
        parameters = design.shape[1] + (exponent is not None)
        return Fit(tuple(columns), coefficients, explained, residual, parameters, exponent)

    def test(term: str, given: str, small: Fit, large: Fit) -> FTest:
        dof = large.parameters - small.parameters, y.size - large.parameters
        left = large.residual / dof[1]
        f = (small.residual - large.residual) / dof[0] / left if left > 0 else np.inf
        return FTest(term, given, float(f), dof, float(stats.f.sf(f, *dof)))

    def regression(transform, count_alone, both, intervals):
        share_alone = fit(None, True)
        tests = (
            test(REAL, SHARE, share_alone, both),
            test(SHARE, REAL, count_alone, both),
        )
        fits = count_alone, share_alone, both
        return Regression(transform, fits, tests, intervals)

    resampled = resampled_means(values, seed)

    def intervals(count, *others):
        """Of the coefficients of ``count``, ``[cells]`` or ``[K, cells]``, and of the share."""
        if not resampled.size:
            return None
        design = np.stack(np.broadcast_arrays(count, share, one, resampled)[:3], axis=-1)
        q, r = np.linalg.qr(design)
        coefficients = np.linalg.solve(r, q.swapaxes(-2, -1) @ resampled[..., None])[:, :2, 0]
        drawn = np.column_stack([coefficients, *others])
        return np.quantile(drawn, [LEVEL / 2, 1 - LEVEL / 2], axis=0).T

    found = [
        regression(name, fit(count, False), fit(count, True), intervals(count))
        for name, count in (("log n", np.log(n)), ("n^-1/2", n**-0.5))
    ]
    if np.unique(n).size > 2 and y.size > 5:
        alone = float(_exponents(n, one[:, None], y[None])[0])
        with_share = np.column_stack([one, share])
        both, *others = _exponents(n, with_share, np.vstack([y, resampled])).tolist()
        powers = n ** -np.reshape(others, (-1, 1))
        found.append(
            regression(
                "n^-a",
                fit(n**-alone, False, alone),
                fit(n**-both, True, both),
                intervals(powers, others),
            )
        )
    return tuple(found)


def _exponents(n: np.ndarray, others: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """The exponent a of least squares on ``n^-a`` and other columns, of losses ``[K, cells]``."""
    grid = np.geomspace(*EXPONENTS, 200)
    powers = n ** -grid[:, None]
    rest = np.broadcast_to(others, (grid.size, *others.shape))
    q = np.linalg.qr(np.concatenate([powers[..., None], rest], axis=-1))[0]
    centred = losses - losses.mean(axis=-1, keepdims=True)
    explained = np.sum((q.swapaxes(-2, -1) @ centred.T) ** 2, axis=1)
    best = np.clip(np.argmax(explained, axis=0), 1, grid.size - 2)
    # The top of the parabola through the best of the grid and its neighbours.
    left, middle, right = (np.take_along_axis(explained, best[None] + k, 0)[0] for k in (-1, 0, 1))
    bend = left - 2 * middle + right
    inside = bend < 0
    top = 0.5 * (left - right) / np.where(inside, bend, 1)
    step = np.where(inside, np.clip(top, -1, 1), np.sign(right - left))
    return grid[best] * (grid[1] / grid[0]) ** step
