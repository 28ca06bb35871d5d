"""What a result says by each definition, for every workflow at every point of its grid.

Which metric speaks for which definition is declared with the metric (``Metric.speaks_for``), and
stands in a result's file; of several the first. What no metric of a result speaks for is not told.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcollapse import checks
from jaxcollapse.analysis.profile import verdicts
from jaxcollapse.analysis.profile.definitions import (
    DEFINITIONS,
    NO,
    OPEN,
    SILENT,
    YES,
    Thresholds,
)
from jaxcollapse.analysis.profile.findings import AgainstTheory, Finding, Profile
from jaxcollapse.analysis.profile.resamples import chosen_generations
from jaxcollapse.analysis.profile.verdicts import Judgement, Measured
from jaxcollapse.metrics import TOLD, Metric

if TYPE_CHECKING:
    import xarray

LATER = 10  # times as many generations: where closed forms tell what comes
Theory = Callable[[Mapping[str, Any], str, np.ndarray], np.ndarray | None]

JUDGED: dict[str, Callable[[Measured, Thresholds], Judgement]] = {
    "beyond-use": verdicts.beyond_use,
    "diverges": verdicts.diverges,
    "growth": verdicts.grows_fast,
    "variance": verdicts.variance,
    "modes": verdicts.modes,
    "diversity": verdicts.diversity,
    "law": verdicts.law,
}


def profile(
    dataset: xarray.Dataset,
    metrics: Sequence[str] = (),
    thresholds: Thresholds | None = None,
    labels: Mapping[str, Metric] | None = None,
    batch: str = "num_samples",
    theory: Theory = lambda *given: None,
) -> Profile:
    """Whether and when a result of chains collapses, by each of eight definitions.

    Verdicts are of medians over seeds, with 95% intervals from resamples of whole chains: means of
    heavy tails mislead. A chain that is not finite counts as collapsed.

    Args:
      dataset: a sweep's result, with the dimensions ``workflow``, ``seed`` and ``generation``.
      metrics: those that may speak, the first of them first; by default all in the file's order.
      thresholds: of the definitions.
      labels: of metrics about which the file says nothing.
      batch: the axis that is N.
      theory: ``theory(cell, metric, generation)``, a closed form of the mean, or None; a cell is
        the workflow's name and the values of the axes.

    Raises:
      ValueError: the result is none of chains, or of one generation; an unknown metric; a threshold
        that cannot be one.
    """
    _check(dataset)
    thresholds = (thresholds or Thresholds()).checked()
    table = _speakers(dataset, metrics, labels or {})
    axes = [str(d) for d in dataset.dims if d not in ("workflow", "seed", "generation")]
    axes = [name for name in axes if any(name in dataset[m].dims for m in table)] or axes
    grid = {name: tuple(dataset[name].values.tolist()) for name in axes}
    findings: list[Finding] = []
    for workflow in dataset["workflow"].values.tolist():
        cells = [_Cell(dataset, table, workflow, point, thresholds) for point in _points(grid)]
        for cell in cells:
            findings += [cell.found(name, theory) for name in JUDGED]
        for point in _points({name: v for name, v in grid.items() if name != batch}):
            row = [cell for cell in cells if point.items() <= cell.point.items()]
            findings.append(_scaling(row, grid.get(batch, ()), workflow, point, thresholds))
    return Profile(
        title=dataset.attrs.get("title", ""),
        task=dataset.attrs.get("task", ""),
        workflows=tuple(dataset["workflow"].values.tolist()),
        axes=grid,
        seeds=dataset.sizes["seed"],
        generations=int(dataset["generation"][-1]),
        thresholds=thresholds,
        findings=tuple(findings),
    )


def _check(dataset: xarray.Dataset) -> None:
    expected, remedy = "chains: workflow, seed and generation", "make one with 'jaxcollapse run'"
    if not {"workflow", "seed", "generation"} <= set(dataset.dims):
        mixed = {"real", "synthetic"} <= set(dataset.dims)
        got = "mixtures, which have no generations" if mixed else ", ".join(map(str, dataset.dims))
        raise checks.refusal("result to profile", expected, got, remedy)
    if dataset.sizes["generation"] < 2:
        raise checks.refusal("generations to profile", "at least 2", 1, "run more of them")


def _speakers(
    dataset: xarray.Dataset, metrics: Sequence[str], labels: Mapping[str, Metric]
) -> dict[str, Metric]:
    """The metrics of a result that speak for something, in the order in which they are asked."""
    dims = ("seed", "generation")
    known = [str(name) for name, array in dataset.data_vars.items() if array.dims[-2:] == dims]
    for name in metrics:
        checks.one_of("metric to profile", name, known)
    found = {}
    for name in metrics or known:
        attrs = dataset[name].attrs
        label = labels.get(name, Metric(attrs.get("long_name", name), attrs.get("units", "1")))
        if "speaks_for" in attrs:
            label = label._replace(
                speaks_for=tuple(attrs["speaks_for"].split()),
                real=attrs.get("real"),
                per=attrs.get("per", ""),
            )
        for told in label.speaks_for:
            checks.one_of(f"what metric {name} speaks for", told, TOLD)
        if label.speaks_for:
            found[name] = label
    return found


def _points(grid: Mapping[str, Sequence]) -> list[dict[str, Any]]:
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


class _Cell:
    """One workflow at one point of the grid."""

    def __init__(
        self,
        dataset: xarray.Dataset,
        table: Mapping[str, Metric],
        workflow: str,
        point: Mapping[str, Any],
        thresholds: Thresholds,
    ):
        """What the profile knows, and which cell."""
        self.workflow, self.point, self.thresholds = workflow, point, thresholds
        self.table = table
        cell = dataset[list(table)].sel({"workflow": workflow, **point})
        self.dataset = cell.load()  # from a file, once
        self.generation = dataset["generation"].values
        self._measured: dict[str, Measured] = {}

    def speaker(self, needs: str) -> str | None:
        """The first metric that speaks for something."""
        return next((name for name, m in self.table.items() if needs in m.speaks_for), None)

    def values(self, name: str) -> np.ndarray:
        """A metric's values ``[S, G]``."""
        return self.dataset[name].values.astype(np.float64)

    def measured(self, name: str) -> Measured:
        """A metric at the generations that are looked at."""
        if name not in self._measured:
            self._measured[name] = self._measure(name)
        return self._measured[name]

    def _measure(self, name: str) -> Measured:
        metric = self.table[name]
        places = chosen_generations(self.generation.size)
        real = self.point.get(metric.real) if isinstance(metric.real, str) else metric.real
        per = self.point.get(metric.per, 1) if metric.per else 1
        return Measured(
            self.values(name)[:, places],
            self.generation[places],
            None if real is None else float(real),
            metric.units.startswith("nats"),
            float(per),
        )

    def found(self, definition: str, theory: Theory) -> Finding:
        """What a definition finds here."""
        needs = next(d.needs for d in DEFINITIONS if d.name == definition)
        name = self.speaker(needs)
        if name is None or np.isnan(self.values(name)).all():
            return _not_told(definition, self.workflow, self.point, needs, name)
        measured = self.measured(name)
        judged = JUDGED[definition](measured, self.thresholds)
        known = measured.real is not None
        threshold = self.thresholds.told(definition, known, measured.in_nats)
        bad = self.values(name)
        bad = np.isnan(bad) if needs in ("modes", "diversity", "variance") else ~np.isfinite(bad)
        finding = _finding(
            definition, self.workflow, self.point, judged, name, threshold, len(measured.values)
        )
        finding = finding._replace(nonfinite=int(bad.any(axis=1).sum()))
        if definition == "law":
            finding = finding._replace(theory=self.against_theory(theory))
        return finding

    def against_theory(self, theory: Theory) -> AgainstTheory | None:
        """Of the first metric for the law whose mean is known in closed form."""
        cell = {"workflow": self.workflow, **self.point}
        last = int(self.generation[-1])
        for name, metric in self.table.items():
            if "law" not in metric.speaks_for:
                continue
            known = theory(cell, name, np.array([last, LATER * last]))
            if known is None or not np.isfinite(known).all():
                continue
            values = self.values(name)[:, -1]
            with np.errstate(invalid="ignore"):  # of infinities
                mean = float(values.mean())
                spread = float(values.std(ddof=1)) if values.size > 1 else math.nan
            error = spread / math.sqrt(values.size)
            return AgainstTheory(name, mean, error, float(known[0]), LATER * last, float(known[1]))
        return None


def _scaling(
    cells: Sequence[_Cell],
    sizes: Sequence[Any],
    workflow: str,
    point: Mapping[str, Any],
    thresholds: Thresholds,
) -> Finding:
    """The exponent of the loss in N, of a row of cells."""
    if len(sizes) < verdicts.FEWEST_SIZES:
        because = f"needs at least {verdicts.FEWEST_SIZES} values of N in one sweep"
        return Finding("scaling", workflow, point, SILENT, because)
    zero = [n for n, m in cells[0].table.items() if "loss" in m.speaks_for and m.real == 0]
    if not zero:
        because = "no metric is a loss that is 0 for the real law"
        return Finding("scaling", workflow, point, SILENT, because)
    several = [cell.measured(zero[0]) for cell in cells]
    judged = verdicts.scaling(np.asarray(sizes), several, thresholds)
    threshold = thresholds.told("scaling")
    seeds = len(several[0].values)
    return _finding("scaling", workflow, point, judged, zero[0], threshold, seeds)


def _not_told(
    definition: str, workflow: str, point: Mapping[str, Any], needs: str, name: str | None
) -> Finding:
    because = f"no metric of this result speaks for {needs}"
    if name is not None:
        because = f"{name} is not known in this cell"
    return Finding(definition, workflow, point, SILENT, because)


def _finding(
    definition: str,
    workflow: str,
    point: Mapping[str, Any],
    judged: Judgement,
    metric: str,
    threshold: str,
    seeds: int,
) -> Finding:
    finding = Finding(
        definition,
        workflow,
        point,
        judged.verdict,
        judged.because,
        metric,
        threshold,
        judged.value,
        judged.interval,
        judged.when,
        judged.when_interval,
        judged.growth.kind if judged.growth else "",
        dict(judged.growth.support) if judged.growth else {},
    )
    if seeds > 1:
        return finding
    alone = finding._replace(interval=(math.nan, math.nan), when_interval=(math.nan, math.nan))
    if finding.verdict not in (YES, NO):
        return alone
    because = f"one seed has no interval; by it alone {finding.verdict}: {finding.because}"
    return alone._replace(verdict=OPEN, because=because)
