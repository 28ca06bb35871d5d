"""A grid of mixtures whose every parameter has been checked."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcollapse import checks
from jaxcollapse.chain import Task, whole_seeds
from jaxcollapse.families import TaskFamily
from jaxcollapse.registry import as_family
from jaxcollapse.sweeps import grids, results
from jaxcollapse.theory.mixtures import SOURCES
from jaxcollapse.workflows import accumulate


class MixPlan(NamedTuple):
    """A grid of mixtures whose every parameter has been checked.

    Attributes:
      family: the task.
      axes: values by axis, without that of the number of points.
      num_real: A, how many real points there are.
      real: numbers of real points, in the order of the result.
      synthetic: numbers of synthetic points, in the order of the result.
      seeds: uint32 ``[S]``.
      source: ``all`` or ``subset``.
      options: of the task, the same for every cell.
      preset: where the options that were not given came from.
      metrics: names of the metrics to compute.
      loss: the metric that says how good a fit is.
      memory_limit: bytes that the seeds of one call may take on one device.
    """

    family: TaskFamily
    axes: dict[str, list[Any]]
    num_real: int
    real: list[int]
    synthetic: list[int]
    seeds: np.ndarray
    source: str
    options: dict[str, Any]
    preset: str
    metrics: list[str]
    loss: str
    memory_limit: float

    @property
    def cells(self) -> list[dict[str, Any]]:
        """Every point of the other axes, in the order of the result."""
        return [
            dict(zip(self.axes, values, strict=True))
            for values in itertools.product(*self.axes.values())
        ]

    @property
    def configuration(self) -> dict[str, Any]:
        """All that decides the numbers, as JSON can hold it."""
        return {
            "task": self.family.name,
            "axes": self.axes,
            "num_real": self.num_real,
            "real": self.real,
            "synthetic": self.synthetic,
            "seeds": [int(seed) for seed in self.seeds],
            "source": self.source,
            "preset": self.preset,
            "options": results.as_json(self.options),
            "metrics": self.metrics,
        }

    def point(self, cell: Mapping[str, Any]) -> dict[str, Any]:
        """All axes of the task at a point of the others."""
        return {**cell, "num_samples": self.num_real}

    def traced(self, cell: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a point that change no shape."""
        return self.family.traced(accumulate(), self.point(cell), self.options)

    def program(self, cell: Mapping[str, Any]) -> Hashable:
        """A name for the program of a point: those that share it share one compilation."""
        traced = self.traced(cell)
        fixed = tuple((k, v) for k, v in cell.items() if k not in traced)
        return fixed, jax.tree.structure(traced)

    def task(self, cell: Mapping[str, Any], traced: Mapping[str, Any]) -> Task:
        """The task at a point, with traced values in place of those of its traced axes."""
        return self.family.make(**{**self.point(cell), **self.options, **traced})


def plan(
    task: TaskFamily | str,
    axes: Mapping[str, Iterable[Any]],
    real: Iterable[int],
    synthetic: Iterable[int],
    num_real: int | None = None,
    seeds: int | Iterable[int] = 1000,
    source: str = "all",
    preset: str = "corrected",
    metrics: Sequence[str] | None = None,
    loss: str | None = None,
    memory_limit: float | None = None,
    **options: Any,
) -> MixPlan:
    """Checks everything that ``mix`` takes, before anything is compiled or written.

    Raises:
      ValueError: as for ``mix``.
    """
    family = as_family(task)
    if "num_samples" not in family.axes:
        raise checks.refusal(
            "task to mix data for", "one with an axis num_samples", family.name, "give it one"
        )
    checks.one_of("preset", preset, family.presets)
    given = {**family.presets[preset], **family.mixing.options, **options}
    if given.setdefault("pool", "points") == "auto":
        given["pool"] = "points"
    checks.one_of("pool of mixtures", given["pool"], ("auto", "points"))
    grids.check_options(family, given)
    others = [name for name in family.axes if name != "num_samples"]
    of_a_fit = family.mixing.metrics or tuple(family.metrics)
    known = [name for name in family.known(given) if name in of_a_fit]
    for metric in metrics or ():
        checks.one_of("metric", metric, known)
    chosen = list(metrics or known)
    if loss is None:
        usual = family.mixing.loss or known[0]
        loss = usual if usual in chosen else chosen[0]
    checks.one_of("metric", loss, known)
    counts = {
        name: [checks.whole_number(name, n, minimum=0) for n in grids.axis_values(name, values)]
        for name, values in (("real", real), ("synthetic", synthetic))
    }
    most = max(counts["real"])
    made = MixPlan(
        family=family,
        axes=grids.axes_of(family, others, axes),
        num_real=checks.whole_number("num_real", most if num_real is None else num_real),
        real=counts["real"],
        synthetic=counts["synthetic"],
        seeds=whole_seeds(grids.seed_list(seeds)),
        source=checks.one_of("source", source, SOURCES),
        options=given,
        preset=preset,
        metrics=list(dict.fromkeys([*chosen, loss])),
        loss=loss,
        memory_limit=grids.bytes_a_device(memory_limit),
    )
    _check_counts(made)
    return made


def _check_counts(plan: MixPlan) -> None:
    if max(plan.real) > plan.num_real:
        raise checks.refusal(
            "real",
            f"at most the {plan.num_real} real points that there are",
            f"{max(plan.real)}, more data than exist",
            "lower it or raise num_real",
        )
    synthetic_rows = -(-max(plan.synthetic) // plan.num_real)
    for cell in plan.cells:
        point = plan.point(cell)
        plan.family.check(accumulate(), point, plan.options, 1 + synthetic_rows)
        fewest = plan.family.mixing.fewest_rows(point, plan.options)
        if plan.num_real < fewest:
            raise checks.refusal(
                f"real points that there are for {point_name(cell)}",
                f"at least {fewest}, which a fit needs",
                plan.num_real,
                "raise num_real",
            )
        if min(plan.real) + min(plan.synthetic) < fewest:
            raise checks.refusal(
                f"points of a mixture for {point_name(cell)}",
                f"at least {fewest}, which a fit needs",
                f"{min(plan.real)} real and {min(plan.synthetic)} synthetic",
                "leave the smallest counts out",
            )
        if plan.source == "subset" and min(plan.real) < fewest:
            raise checks.refusal(
                f"real for {point_name(cell)} with the source subset",
                f"at least {fewest}, which the model that makes synthetic data needs",
                min(plan.real),
                "leave the smallest counts out, or use the source all",
            )


def point_name(cell: Mapping[str, Any]) -> str:
    """A point of the other axes in words."""
    return " ".join(f"{axis}={value}" for axis, value in cell.items()) or "the task"
