"""The way down to where a mean over seeds is least, and how far other seeds would move it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from jaxcollapse import draws

MOST_STEPS = 50
FLAT = 1e-5  # a slope that is none, of losses in units of the grid's least
NORMAL_95 = 1.959964
# Values are logits between their bounds; from one less than this on these are as good as reached.
FARTHEST = 6.0
STEP = 0.02  # of differences of gradients, in logits
RESAMPLES = 500  # of the seeds, on which a grid is judged anew
SHARE_STEPS, FIRST_STEP = 200, 0.2  # of the way down in a share, in logits

OfSeeds = Callable[[Any], tuple[np.ndarray, np.ndarray]]  # losses [S] and slopes [S, P] at logits


class Free(NamedTuple):
    """Values between bounds from logits, which any real numbers may be.

    Attributes:
      low: the lower bound.
      high: the upper bound.
      length: of a schedule; None of one value.
      budget: its mean; None where it may be any.
    """

    low: float
    high: float
    length: int | None
    budget: float | None

    def value(self, logits: jax.Array) -> jax.Array:
        """Values, of which logits ``[length or 1]`` are free."""
        if self.budget is not None:
            logits = logits + self._shift(logits)
        value = self.low + (self.high - self.low) * jax.nn.sigmoid(logits)
        return value if self.length else value[0]

    def logits(self, value: float) -> np.ndarray:
        """Those of a value that is the same in all generations."""
        part = (value - self.low) / (self.high - self.low)
        return np.full(self.length or 1, np.log(part / (1 - part)), draws.float_dtype())

    def _shift(self, logits: jax.Array) -> jax.Array:
        """What added to the logits gives their values the mean that is the budget.

        Found by bisection; a last step of Newton's carries the derivative.
        """
        assert self.budget is not None
        aim = (self.budget - self.low) / (self.high - self.low)
        fixed = jax.lax.stop_gradient(logits)

        def halve(_, ends):
            middle = (ends[0] + ends[1]) / 2
            above = jnp.mean(jax.nn.sigmoid(fixed + middle)) > aim
            return jnp.where(above, ends[0], middle), jnp.where(above, middle, ends[1])

        far = 40 + jnp.max(jnp.abs(fixed))
        ends = jax.lax.fori_loop(0, 50, halve, (-far, far))
        found = (ends[0] + ends[1]) / 2
        parts = jax.nn.sigmoid(fixed + found)
        slope = jnp.maximum(jnp.mean(parts * (1 - parts)), 1e-6)
        return found - (jnp.mean(jax.nn.sigmoid(logits + found)) - aim) / slope


def descended(of_seeds: OfSeeds, start: np.ndarray, loss: float) -> tuple[np.ndarray, int]:
    """Logits at which the mean is least, by L-BFGS from a start, and its steps.

    On the host, where each step is a call of one compiled program.
    """
    unit = abs(loss) or 1.0  # so that slopes of all losses are of one size

    def mean(logits):
        losses, slopes = of_seeds(logits)
        return losses.mean() / unit, slopes.mean(axis=0) / unit

    found = scipy.optimize.minimize(
        mean,
        np.asarray(start, np.float64),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-FARTHEST, FARTHEST)] * start.size,
        options={"maxiter": MOST_STEPS, "gtol": FLAT, "ftol": 1e-12},
    )
    return found.x, int(found.nit)


def walked(of_seeds: OfSeeds, start: np.ndarray, loss: float) -> tuple[np.ndarray, int]:
    """Logits near those at which the mean is least, by steps that look at no loss."""
    unit = abs(loss) or 1.0
    logits = np.asarray(start, np.float64)
    first, second, passed = np.zeros_like(logits), np.zeros_like(logits), []
    for step in range(1, SHARE_STEPS + 1):
        slope = of_seeds(logits)[1].mean(axis=0) / unit
        first, second = 0.9 * first + 0.1 * slope, 0.99 * second + 0.01 * slope**2
        size = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.99**step)) + 1e-12)
        logits = logits - FIRST_STEP * (1 - step / (SHARE_STEPS + 1)) * size
        logits = np.clip(logits, -FARTHEST, FARTHEST)
        passed.append(logits)
    return np.mean(passed[SHARE_STEPS // 2 :], axis=0), SHARE_STEPS


def interval_of_grid(
    free: Free, logits: np.ndarray, grid: np.ndarray, constants: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """The same as ``interval`` where slopes are of single rows."""
    value = np.asarray(free.value(jnp.asarray(logits, draws.float_dtype())), np.float64)
    at_bound = bool((np.abs(logits) > FARTHEST - 1).any())
    if value.ndim:
        return value, value * np.nan, value * np.nan, at_bound
    losses = np.asarray(constants)
    count = losses.shape[1]
    often = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    best = grid[np.argmin(often @ losses.T, axis=1)]
    low, high = np.quantile(best, [0.025, 0.975])
    return value, np.minimum(low, value), np.maximum(high, value), at_bound


def interval(
    free: Free, slopes: Callable[[Any], np.ndarray], logits: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """The values at an optimum, their interval over seeds, and whether they are at a bound."""
    of_seeds = slopes(logits)
    count = of_seeds.shape[1]
    curvature = np.empty((count, count))
    for place, by in enumerate(STEP * np.eye(count)):
        ahead, behind = (slopes(logits + sign * by).mean(axis=0) for sign in (1, -1))
        curvature[place] = (ahead - behind) / (2 * STEP)
    curvature = (curvature + curvature.T) / 2
    at = jnp.asarray(logits, draws.float_dtype())
    derivative = np.asarray(jax.jacobian(free.value)(at), np.float64).reshape(-1, count)
    value = np.asarray(free.value(at), np.float64)
    at_bound = bool((np.abs(logits) > FARTHEST - 1).any())
    error = np.full(value.shape, np.nan)
    weakest = np.linalg.eigvalsh(curvature)[0 if free.budget is None else min(1, count - 1)]
    if weakest > 0 and not at_bound:
        inverse = np.linalg.pinv(curvature, rcond=1e-6, hermitian=True)
        spread = np.atleast_2d(np.cov(of_seeds.T)) / len(of_seeds)
        covariance = derivative @ inverse @ spread @ inverse @ derivative.T
        error = np.sqrt(np.diagonal(covariance)).reshape(value.shape)
    low, high = value - NORMAL_95 * error, value + NORMAL_95 * error
    return value, np.maximum(low, free.low), np.minimum(high, free.high), at_bound
