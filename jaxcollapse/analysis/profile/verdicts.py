"""Whether curves over generations collapse, by each definition.

Curves are medians over seeds ``[1 + K, T]``: the result's own, and those of resamples of its seeds.
A verdict is yes or no where the 95% interval lies on one side of the threshold, else undecided.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxcollapse.analysis.profile.definitions import NO, OPEN, YES, Thresholds
from jaxcollapse.analysis.profile.growth import FEWEST_GENERATIONS, Growth, growth
from jaxcollapse.analysis.profile.resamples import interval, medians

LOGARITHMIC = "logarithmic"
FEWEST_SIZES = 3  # values of N for an exponent
FEWEST_SEEDS = 6  # fewer have no 95% interval of their median: all are on one side of it too often
TOO_FEW = f"fewer than {FEWEST_GENERATIONS} generations or {FEWEST_SEEDS} seeds tell no class"


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """A metric of one cell, and its curves, which several definitions ask for.

    Attributes:
      values: ``[S, T]``.
      generation: ``[T]``.
      real: its value for the real law; None where it is not known.
      in_nats: whether it is a logarithm.
      per: what it is divided by.
    """

    values: np.ndarray
    generation: np.ndarray
    real: float | None
    in_nats: bool
    per: float = 1.0

    @functools.cached_property
    def losses(self) -> np.ndarray:
        """Medians of a loss; that of a chain that is not finite is infinite."""
        return medians(np.where(np.isfinite(self.values), self.values, np.inf))

    @functools.cached_property
    def growth(self) -> Growth | None:
        """The class of the loss."""
        relative = self.real == 0 and bool((self.losses > 0).all())
        return _growth_of(self, self.losses, relative)

    @functools.cached_property
    def kept(self) -> np.ndarray:
        """Medians of what it is bad to have little of; of a chain that is NaN nothing is left."""
        values = np.asarray(self.values, np.float64)
        if self.in_nats:
            values = np.exp(np.minimum((values - (self.real or 0.0)) / self.per, 700))
        return medians(np.where(np.isnan(values), 0.0, values))


class Judgement(NamedTuple):
    """What one metric says of one definition.

    Attributes:
      verdict: ``yes``, ``no`` or ``undecided``.
      because: in words.
      value: what is compared with the threshold, at the last generation or of the limit.
      interval: its 95% interval over seeds.
      when: the first generation from which on it is beyond the threshold; inf for never.
      when_interval: likewise.
      growth: the comparison of classes behind it.
    """

    verdict: str
    because: str
    value: float = np.nan
    interval: tuple[float, float] = (np.nan, np.nan)
    when: float = np.inf
    when_interval: tuple[float, float] = (np.inf, np.inf)
    growth: Growth | None = None


def beyond_use(measured: Measured, thresholds: Thresholds) -> Judgement:
    """The loss against that of the first model; of one in nats the exponentials are compared."""
    curves = measured.losses
    if not np.isfinite(curves[0, 0]):
        return Judgement(OPEN, "the loss is infinite from the first model on")
    if measured.in_nats:
        times = np.exp(np.minimum(_less(curves, curves[:, :1]), 700))
        times[np.isinf(curves)] = np.inf
    elif curves[0, 0] > 0:
        times = _over(curves, curves[:, :1])
    else:
        return Judgement(OPEN, "the first model's loss is not above 0, so that none compares")
    found = _crossed(times, measured.generation, thresholds.beyond_use, np.greater)
    what = "exponential of the loss" if measured.in_nats else "loss"
    return found._replace(because=f"the {what} ends at {_number(found.value)} times the first")


def diverges(measured: Measured, thresholds: Thresholds) -> Judgement:
    """Whether the loss grows without a bound."""
    return _grows(measured, LOGARITHMIC)


def grows_fast(measured: Measured, thresholds: Thresholds) -> Judgement:
    """The loss's growth class."""
    return _grows(measured, thresholds.growth)


def variance(measured: Measured, thresholds: Thresholds) -> Judgement:
    """The variance left: little of it, or ever less in its logarithm."""
    curves = measured.kept
    kept = _of_real(measured, curves)
    if kept is None:
        return Judgement(OPEN, "the first model has no variance")
    found = _crossed(kept, measured.generation, thresholds.variance, np.less)
    left = f"{_number(found.value)} of it is left"
    if found.verdict == YES:
        return found._replace(because=left)
    with np.errstate(divide="ignore"):
        lost = -np.log(kept)
    comparison = _growth_of(measured, lost, relative=False)
    if comparison is None:
        return found._replace(verdict=OPEN, because=f"{left}; {TOO_FEW}")
    found = found._replace(growth=comparison)
    falls = comparison.at_least(LOGARITHMIC)
    if falls:
        trend = "its logarithm falls for ever" + _kind(comparison)
        return found._replace(verdict=YES, because=f"{left}, and {trend}")
    if falls is None:
        return found._replace(verdict=OPEN, because=f"{left}; whether it settles is undecided")
    return found._replace(because=f"{left}, where it settles")


def modes(measured: Measured, thresholds: Thresholds) -> Judgement:
    """Modes, outcomes or tails left of the real ones."""
    curves = measured.kept
    kept = _of_real(measured, curves)
    if kept is None:
        return Judgement(OPEN, "the first model has none")
    found = _crossed(kept, measured.generation, thresholds.modes, np.less)
    first = " from the first fit on" if found.when == measured.generation[0] else ""
    return found._replace(because=f"{_number(found.value)} of them are left{first}")


def diversity(measured: Measured, thresholds: Thresholds) -> Judgement:
    """The diversity left of the first model's."""
    curves = measured.kept
    kept = _of_first(curves)
    if kept is None:
        return Judgement(OPEN, "the first model has none")
    found = _crossed(kept, measured.generation, thresholds.diversity, np.less)
    return found._replace(because=f"{_number(found.value)} of the first model's is left")


def law(measured: Measured, thresholds: Thresholds) -> Judgement:
    """The distance to the real law in the end, or where that is unknown how far it has moved."""
    known = measured.real is not None
    values = np.abs(measured.values - measured.real) if known else measured.values
    curves = medians(np.where(np.isnan(values), np.inf, values))
    if not (np.isfinite(curves[0, 0]) and curves[0, 0] > 0):
        return Judgement(OPEN, "the first model's distance from the real law is 0 or infinite")
    times = _over(curves, curves[:, :1])
    if not known:
        with np.errstate(divide="ignore"):
            times = np.exp(np.abs(np.log(np.maximum(times, 0))))
    found = _crossed(times, measured.generation, thresholds.law, np.greater)
    what = "times as far as the first model" if known else "times the first model's value"
    if not np.isfinite(curves[0, -1]):
        return found._replace(because="it grows beyond numbers")
    comparison = _growth_of(measured, curves, relative=bool((curves > 0).all()))
    ends = f"it ends at {_number(found.value)} {what}"
    if comparison is None:
        settled = found.verdict if found.verdict == YES else OPEN
        return found._replace(verdict=settled, because=f"{ends}; {TOO_FEW}")
    found = found._replace(growth=comparison)
    grows = comparison.at_least(LOGARITHMIC)
    if grows:
        because = f"{ends}, and has no limit{_kind(comparison)}"
        return found._replace(verdict=YES, because=because)
    if grows is None:
        settled = found.verdict if found.verdict == YES else OPEN
        because = f"{ends}; whether it has a limit is undecided"
        return found._replace(verdict=settled, because=because)
    limits = np.concatenate([[comparison.limit], comparison.limit_resampled]) / curves[:, 0]
    if not known:
        limits = np.exp(np.abs(np.log(np.maximum(limits, 1e-300))))
    low, high = interval(limits[1:])
    verdict = YES if low > thresholds.law else NO if high <= thresholds.law else OPEN
    because = f"its limit is {_number(limits[0])} {what}"
    return found._replace(
        verdict=verdict, because=because, value=float(limits[0]), interval=(low, high)
    )


def scaling(sizes: np.ndarray, several: list[Measured], thresholds: Thresholds) -> Judgement:
    """The exponent a of the loss ``N^-a``: at the last generation, less that at the first.

    Args:
      sizes: N ``[A]``.
      several: the loss at each.
      thresholds: of a profile.
    """
    curves = np.stack([measured.losses for measured in several])
    used = (np.isfinite(curves) & (curves > 0)).all(axis=(1, 2))
    if used.sum() < FEWEST_SIZES:
        return Judgement(OPEN, f"a finite loss at fewer than {FEWEST_SIZES} values of N")
    x = np.log(sizes[used].astype(np.float64))
    x -= x.mean()
    exponent = -np.tensordot(x / (x @ x), np.log(curves[used]), 1)
    change = exponent - exponent[:, :1]
    generation = several[0].generation
    found = _crossed(np.abs(change), generation, thresholds.scaling, np.greater)
    low, high = interval(change[1:, -1])
    outside = low > thresholds.scaling or high < -thresholds.scaling
    inside = max(abs(low), abs(high)) <= thresholds.scaling
    first, last = (
        "{:.2f} ({:.2f} to {:.2f})".format(exponent[0, k], *interval(exponent[1:, k]))
        for k in (0, -1)
    )
    return found._replace(
        verdict=YES if outside else NO if inside else OPEN,
        because=f"the exponent is {first} at first and {last} at last",
        value=float(change[0, -1]),
        interval=(low, high),
    )


# Curves -----------------------------------------------------------------------------------------


def _of_real(measured: Measured, curves: np.ndarray) -> np.ndarray | None:
    """What is left of the real law's, or if that is unknown of the first model's."""
    if measured.real is None:
        return _of_first(curves)
    return curves if measured.in_nats else curves / measured.real


def _of_first(curves: np.ndarray) -> np.ndarray | None:
    if not (np.isfinite(curves[0, 0]) and curves[0, 0] > 0):
        return None
    return _over(curves, curves[:, :1])


def _over(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """A ratio; of a resample whose denominator is infinite or 0 it is 1, for it tells nothing."""
    told = np.isfinite(below) & (below != 0)
    return np.where(told, above / np.where(told, below, 1.0), 1.0)


def _less(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    told = np.isfinite(below)
    return np.where(told, above - np.where(told, below, 0.0), 0.0)


def _crossed(
    curves: np.ndarray,
    generation: np.ndarray,
    threshold: float,
    beyond: Callable[..., np.ndarray],
) -> Judgement:
    """Whether curves end beyond a threshold, and since when."""
    low, high = interval(curves[1:, -1])
    ends = bool(beyond(low, threshold)), bool(beyond(high, threshold))
    verdict = YES if all(ends) else NO if not any(ends) else OPEN
    is_beyond = beyond(curves, threshold)
    back = np.argmin(is_beyond[:, ::-1], axis=1)  # 0 where the last is not, or where all are
    first = np.where(is_beyond.all(axis=1), 0, generation.size - back)
    since = np.append(generation, np.inf)[first]
    return Judgement(
        verdict, "", float(curves[0, -1]), (low, high), float(since[0]), interval(since[1:])
    )


def _grows(measured: Measured, slowest: str) -> Judgement:
    """Whether the loss grows as fast as a class, or faster."""
    curves, generation = measured.losses, measured.generation
    if not np.isfinite(curves[0, 0]):
        return Judgement(OPEN, "the loss is infinite from the first model on")
    if not np.isfinite(curves[0, -1]):
        when = float(generation[np.argmin(np.isfinite(curves[0]))])
        return Judgement(YES, "the loss of most chains is not finite", np.inf, when=when)
    comparison = measured.growth
    if comparison is None:
        return Judgement(OPEN, TOO_FEW)
    answer = comparison.at_least(slowest)
    verdict = OPEN if answer is None else YES if answer else NO
    by_class = ", ".join(f"{kind} {share:.0%}" for kind, share in comparison.support.items())
    because = f"{comparison.kind}; foretold best, of the resamples: {by_class}"
    return Judgement(verdict, because, growth=comparison)


def _growth_of(measured: Measured, curves: np.ndarray, relative: bool) -> Growth | None:
    """The comparison of classes up to where a resample is no longer finite."""
    generation = measured.generation
    if len(measured.values) < FEWEST_SEEDS:
        return None
    finite = np.isfinite(curves).all(axis=0)
    end = generation.size if finite.all() else int(np.argmin(finite))
    return growth(curves[:, :end], generation[:end], relative)


def _kind(comparison: Growth) -> str:
    return "" if comparison.kind == "undecided" else f" ({comparison.kind})"


def _number(value: float) -> str:
    return f"{value:.3g}"
