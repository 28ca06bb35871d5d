"""How a curve grows with the generation: bounded, logarithmic, linear, exponential, or between.

Each class is ``a + b g(t)``, fitted by least squares to the first three fifths of the generations,
with b > 0 for those that grow for ever:

- bounded: ``g = 1 - exp(-c t)`` or ``g = -t^-c``, either way up or down, or a constant;
- logarithmic ``g = log t``, linear ``g = t``, exponential ``g = exp(c t)``;
- and between these root ``g = t^c``, c about 1/2, and power ``g = t^c``, c from 3/2 to 3, so that
  neither a distance that wanders nor a parabola is taken for a neighbour.

The class is the one that foretells the others best. Generations are held out, in place of a
likelihood or BIC: chains wander, so errors of neighbouring generations go together, and what takes
them for independent decides where nothing is known; and what is asked is what comes after. A class
is named if it wins in 95% of resamples of the seeds, whole chains drawn again, and foretells to
within its errors; else the curve is undecided. A curve that is flat is bounded: between the second
and the third part of the generations it changes by less than 5%, and by nothing that shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jaxcollapse.analysis.profile.resamples import LEVEL, interval

CLASSES = ("bounded", "logarithmic", "root", "linear", "power", "exponential")
UNDECIDED = "undecided"
FEWEST_GENERATIONS = 5
EARLY, FIRST = 0.6, 0.2  # of the generations are fitted, the others foretold
# Times G: a bounded curve has gone 63% of its way by the end; slower exponentials are powers.
SETTLES, EXPLODES, FASTEST, RATES = 1.0, 2.0, 500.0, 60
ENDING = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0)  # c of t^-c
ROOTS, POWERS = (0.4, 0.5, 0.6), (1.5, 2.0, 3.0)
MOST = 1e100  # that a class may miss by, so that squares are numbers
ERRORS = 2.0  # standard errors that the best class may be off,
TOLERANCE = 0.05  # and of the curve's whole change beside them


class Growth(NamedTuple):
    """The class of a curve and how sure it is.

    Attributes:
      kind: one of ``CLASSES``, or ``undecided``.
      support: by class, the share of resamples in which it foretells best.
      adequate: whether the best class foretells to within its errors.
      limit: of the bounded fit to all generations.
      limit_resampled: likewise of the resamples ``[K]``.
    """

    kind: str
    support: Mapping[str, float]
    adequate: bool
    limit: float
    limit_resampled: np.ndarray

    def at_least(self, kind: str) -> bool | None:
        """Whether the curve grows as fast as ``kind`` or faster; None where it is undecided."""
        if not self.adequate:
            return None
        share = sum(self.support[name] for name in CLASSES[CLASSES.index(kind) :])
        return True if share >= 1 - LEVEL else False if share <= LEVEL else None


@np.errstate(over="ignore", divide="ignore", invalid="ignore")
def growth(curves: np.ndarray, generation: np.ndarray, relative: bool) -> Growth | None:
    """The class of a curve.

    Args:
      curves: finite, ``[1 + K, T]``: the curve, and resamples of it.
      generation: ``[T]``.
      relative: whether errors are in proportion to the curve, which is then positive.

    Returns:
      None of fewer than five generations.
    """
    if generation.size < FEWEST_GENERATIONS:
        return None
    unit = np.abs(curves).max() or 1.0
    curves = curves / unit
    scale = curves[0] if relative else np.ones(generation.size)
    early = generation <= EARLY * generation[-1]
    shapes = _shapes(generation)
    errors = []
    for name, columns in shapes.items():
        foretold, rises = _foretold(columns, curves, scale, early)
        missed = np.abs(foretold - curves[:, ~early]) / scale[~early]
        # Of curves over hundreds of decades a class may be no number at all.
        error = np.mean(np.where(missed < MOST, missed, MOST) ** 2, axis=1)
        errors.append(error if name in ("constant", "bounded") else np.where(rises, error, np.inf))
    best = np.maximum(np.argmin(errors, axis=0) - 1, 0)  # a constant is bounded
    noise = np.mean((curves[1:, ~early] / scale[~early]).var(axis=0))
    change = TOLERANCE * np.ptp(curves[0]) / scale[~early]
    adequate = bool(np.min(errors, axis=0)[0] <= ERRORS**2 * noise + np.mean(change**2))
    if _is_flat(curves, generation, early, curves[0].mean() if relative else 1 / unit):
        best, adequate = np.zeros_like(best), True
    support = {name: float(np.mean(best[1:] == k)) for k, name in enumerate(CLASSES)}
    kind = CLASSES[best[0]]
    if support[kind] < 1 - LEVEL or not adequate:
        kind = UNDECIDED
    limits = _limits(shapes["bounded"], curves, scale)
    return Growth(kind, support, adequate, float(limits[0] * unit), limits[1:] * unit)


def _is_flat(curves: np.ndarray, generation: np.ndarray, early: np.ndarray, level: float) -> bool:
    """Whether a curve has stopped to change, as far as its resamples show."""
    middle = early & (generation > FIRST * generation[-1])
    changes = curves[:, ~early].mean(axis=1) - curves[:, middle].mean(axis=1)
    low, high = interval(changes[1:] / level)
    return -TOLERANCE < low <= 0 <= high < TOLERANCE


def _shapes(generation: np.ndarray) -> dict[str, np.ndarray]:
    """``g(t)`` by class ``[shapes, T]``; those of the bounded end at 0."""
    t = generation.astype(np.float64)
    settles, explodes = (
        np.geomspace(slowest, FASTEST, RATES)[:, None] for slowest in (SETTLES, EXPLODES)
    )
    x = t / t[-1]
    return {
        "constant": np.zeros((0, t.size)),
        "bounded": np.concatenate([-np.exp(-settles * x), *(-(t[None] ** -c) for c in ENDING)]),
        "logarithmic": np.log(t)[None],
        "root": np.stack([x**c for c in ROOTS]),
        "linear": x[None],
        "power": np.stack([x**c for c in POWERS]),
        "exponential": np.exp(explodes * (x - 1)),
    }


def _fit(columns: np.ndarray, curves: np.ndarray, scale: np.ndarray) -> tuple:
    """Least squares of ``a + b g``: a, b and the number of the best shape, each ``[1 + K]``."""
    weighted = curves / scale
    if not len(columns):
        one = 1 / scale
        a = weighted @ one / (one @ one)
        return a, np.zeros_like(a), None
    design = np.stack([np.ones_like(columns), columns], axis=-1) / scale[:, None]
    q, r = np.linalg.qr(design)
    seen = q.swapaxes(-2, -1) @ weighted.T  # [shapes, 2, 1 + K]
    best = np.argmax(np.sum(seen**2, axis=1), axis=0)
    chosen = seen[best, :, np.arange(best.size)]
    r = r[best]
    flat = np.abs(r[:, 1, 1]) < 1e-12 * np.abs(r[:, 0, 0])
    b = np.where(flat, 0.0, chosen[:, 1] / np.where(flat, 1.0, r[:, 1, 1]))
    return (chosen[:, 0] - r[:, 0, 1] * b) / r[:, 0, 0], b, best


def _foretold(
    columns: np.ndarray, curves: np.ndarray, scale: np.ndarray, early: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The later generations ``[1 + K, later]`` from the early ones, and whether the fit rises."""
    a, b, best = _fit(columns[:, early], curves[:, early], scale[early])
    if best is None:
        return np.repeat(a[:, None], np.sum(~early), axis=1), b > 0
    return a[:, None] + b[:, None] * columns[best][:, ~early], b > 0


def _limits(columns: np.ndarray, curves: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Where the bounded fits to all generations end ``[1 + K]``."""
    return _fit(columns, curves, scale)[0]


def limit_interval(found: Growth) -> tuple[float, float]:
    """The 95% interval of the limit."""
    return interval(found.limit_resampled)
