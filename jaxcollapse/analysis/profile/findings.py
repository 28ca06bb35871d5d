"""What a profile holds: a finding for every definition, workflow and point; as JSON too."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxcollapse.analysis.profile.definitions import DEFINITIONS, Thresholds

FORMAT = "jaxcollapse profile 1"
FEW_SEEDS = 10  # below it intervals are rough


class AgainstTheory(NamedTuple):
    """The mean of a metric beside its closed form.

    Attributes:
      metric: which.
      mean: over seeds, at the last generation.
      standard_error: of it; it misleads where the law is heavy-tailed.
      closed_form: of the mean, there.
      later: the generation ten times as late.
      closed_form_later: the closed form there.
    """

    metric: str
    mean: float
    standard_error: float
    closed_form: float
    later: int
    closed_form_later: float


class Finding(NamedTuple):
    """One definition, for one workflow at one point of the grid.

    Attributes:
      definition: its name.
      workflow: its name.
      point: values of the axes; of the scaling law without N.
      verdict: ``yes``, ``no``, ``undecided``, or ``not told`` where no metric speaks for it.
      because: in words.
      metric: which spoke; "" for none.
      threshold: in words.
      value: what is compared with it, the median over seeds at the last generation, or of its
        limit; NaN where there is no number.
      interval: its 95% interval over seeds.
      when: the first generation from which on the median is beyond the threshold; inf for never.
      when_interval: likewise.
      growth: the growth class that was found; "" where none was looked for.
      support: by class, the share of resamples in which it foretells best.
      nonfinite: chains that are not finite in this metric, which count as collapsed.
      theory: the closed form of the asymptotic law, where one is known.
    """

    definition: str
    workflow: str
    point: Mapping[str, Any]
    verdict: str
    because: str
    metric: str = ""
    threshold: str = ""
    value: float = math.nan
    interval: tuple[float, float] = (math.nan, math.nan)
    when: float = math.inf
    when_interval: tuple[float, float] = (math.inf, math.inf)
    growth: str = ""
    support: Mapping[str, float] = {}
    nonfinite: int = 0
    theory: AgainstTheory | None = None


class Profile(NamedTuple):
    """The findings of a result.

    Attributes:
      title: of the result.
      task: its name.
      workflows: their names.
      axes: values by axis.
      seeds: S.
      generations: G.
      thresholds: of the definitions.
      findings: every definition, workflow and point.
    """

    title: str
    task: str
    workflows: tuple[str, ...]
    axes: Mapping[str, tuple]
    seeds: int
    generations: int
    thresholds: Thresholds
    findings: tuple[Finding, ...]

    def of(self, definition: str, workflow: str) -> list[Finding]:
        """The findings of a definition under a workflow."""
        return [f for f in self.findings if (f.definition, f.workflow) == (definition, workflow)]

    def records(self) -> list[dict[str, Any]]:
        """The findings as rows of a table, as JSON can hold them: None for what is no number."""
        return [_record(finding) for finding in self.findings]

    def as_json(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {
            "format": FORMAT,
            "title": self.title,
            "task": self.task,
            "workflows": list(self.workflows),
            "axes": {name: list(map(_plain, values)) for name, values in self.axes.items()},
            "seeds": self.seeds,
            "generations": self.generations,
            "thresholds": self.thresholds._asdict(),
            "definitions": {d.name: d.title for d in DEFINITIONS},
            "findings": self.records(),
        }


def _record(finding: Finding) -> dict[str, Any]:
    row = {name: _plain(value) for name, value in finding._asdict().items()}
    if finding.theory is not None:
        row["theory"] = {name: _plain(v) for name, v in finding.theory._asdict().items()}
    return row


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: no NaN, no infinity, no NumPy."""
    if isinstance(value, Mapping):
        return {name: _plain(v) for name, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
