"""Which program runs a cell, and how many seeds at a time.

What pools needs sums alone keeps sums, and draws them where that is faster than drawing points
(``how="statistics"``); ``how="points"`` draws the points, which rows drawn from a pool need.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from parts import SUBSAMPLE, WORKFLOWS, Metrics, one_of, over_seeds

Program = Callable[..., Metrics]


class Programs(NamedTuple):
    """A library's programs, each a function of a random generator, seeds and a cell.

    Attributes:
      generator: ``generator(seed)`` of a thread.
      gaussian_by_moments: mean and scatter of each batch, for ``replace`` and ``accumulate``.
      gaussian_by_rows: points, for ``accumulate-subsample``.
      kde: points.
      regression_by_sums: sums of noise, for ``replace`` and ``accumulate``.
      regression_by_rows: rows, for ``accumulate-subsample``.
      categorical_by_counts: counts.
      categorical_by_outcomes: outcomes.
      counts_of_rows: whether counts can be drawn for ``accumulate-subsample``.
    """

    generator: Callable[..., Any]
    gaussian_by_moments: Program
    gaussian_by_rows: Program
    kde: Program
    regression_by_sums: Program
    regression_by_rows: Program
    categorical_by_counts: Program
    categorical_by_outcomes: Program
    counts_of_rows: bool


class Plan(NamedTuple):
    """How a cell is run.

    Attributes:
      program: ``program(rng, seeds, generations=G)``.
      numbers: how many numbers a seed works on in a generation.
      how: "statistics" or "points".
      precision: of its numbers.
      at_once: whether many generations are drawn and judged at once.
    """

    program: Program
    numbers: float
    how: str
    precision: str = "float32"
    at_once: bool = False


def _gaussian(programs: Programs, workflow: str, how: str, dim: int, num_samples: int) -> Plan:
    sizes = {"dim": dim, "num_samples": num_samples}
    if workflow == SUBSAMPLE:
        program = partial(programs.gaussian_by_rows, **sizes)
        return Plan(program, dim * max(dim, num_samples), "points")
    how = how or "statistics"
    program = partial(programs.gaussian_by_moments, workflow=workflow, how=how, **sizes)
    return Plan(program, dim * min(dim, num_samples), how, at_once=True)


def _kde(
    programs: Programs,
    workflow: str,
    how: str,
    dataset: str,
    bandwidth: float | str,
    num_samples: int,
    num_test: int = 500,
) -> Plan:
    program = partial(
        programs.kde,
        workflow=workflow,
        dataset=dataset,
        bandwidth=bandwidth,
        num_samples=num_samples,
        num_test=num_test,
    )
    return Plan(program, num_samples * num_test / 4, "points")


def _linear_regression(
    programs: Programs,
    workflow: str,
    how: str,
    dim: int,
    num_samples: int,
    noise_variance: float = 1.0,
    num_test: int = 1000,
) -> Plan:
    sizes: dict[str, Any] = {
        "dim": dim,
        "num_samples": num_samples,
        "noise_variance": noise_variance,
        "num_test": num_test,
    }
    if workflow == SUBSAMPLE:
        precision = "float32" if num_samples >= 4 * dim else "float32, fits in float64"
        program = partial(programs.regression_by_rows, **sizes)
        return Plan(program, num_samples * dim, "points", precision)
    how = how or "statistics"
    program = partial(programs.regression_by_sums, workflow=workflow, how=how, **sizes)
    rows = max(num_samples, num_test) if how == "points" else dim + 100
    return Plan(program, dim * rows, how)


def _categorical(
    programs: Programs, workflow: str, how: str, num_outcomes: int, num_samples: int
) -> Plan:
    if how == "":
        few = 100 * num_outcomes <= num_samples  # as measured, of both libraries
        can = programs.counts_of_rows or workflow != SUBSAMPLE
        how = "statistics" if few and can else "points"
    counts = how == "statistics"
    program = programs.categorical_by_counts if counts else programs.categorical_by_outcomes
    sizes = {"num_outcomes": num_outcomes, "num_samples": num_samples}
    numbers = num_outcomes if counts else num_samples
    program = partial(program, workflow=workflow, **sizes)
    return Plan(program, numbers, how, "counts, float64 metrics")


PLANS: dict[str, Callable[..., Plan]] = {
    "gaussian": _gaussian,
    "kde": _kde,
    "linear-regression": _linear_regression,
    "categorical": _categorical,
}


def plan(programs: Programs, task: str, workflow: str, how: str = "", **cell: Any) -> Plan:
    """How a cell is run.

    Args:
      programs: of a library.
      task: a name of a task.
      workflow: a name of a workflow.
      how: "statistics", "points", or "" for the faster of both.
      cell: the task's parameters.

    Raises:
      ValueError: another name of a task, of a workflow, or of a way.
    """
    one_of("task", task, PLANS)
    one_of("workflow", workflow, WORKFLOWS)
    one_of("how", how, ("", "statistics", "points"))
    planned = PLANS[task](programs, workflow, how, **cell)
    if how not in ("", planned.how):
        raise ValueError(f"how: {task} under {workflow} has only {planned.how!r}, got {how!r}")
    return planned


def peers(programs: Programs) -> dict[str, Callable[..., Metrics]]:
    """``f(workflow, generations, seeds, seed=0, threads=2, **cell)`` by the name of its task.

    Each gives metrics ``[S, G]``; ``seed`` names all its draws.
    """

    def run(task, workflow, generations, seeds, seed=0, threads=2, **cell):
        planned = plan(programs, task, workflow, **cell)
        program = partial(planned.program, generations=generations)
        steps = generations if planned.at_once else 1
        numbers = planned.numbers
        return over_seeds(program, programs.generator, seeds, numbers, steps, seed, threads)

    return {task: partial(run, task) for task in PLANS}
