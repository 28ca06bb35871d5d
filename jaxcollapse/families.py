"""What a sweep needs to know of a task beside its functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxcollapse import checks, metrics
from jaxcollapse.chain import SHARE_OF_REAL_DATA, Task
from jaxcollapse.metrics import Metric
from jaxcollapse.workflows import Workflow


class Summary(NamedTuple):
    """One number a chain.

    Attributes:
      values: ``[...]``, the shape of a metric without its generations.
      long_name: for files.
    """

    values: np.ndarray
    long_name: str


class Mixing(NamedTuple):
    """What a grid of mixtures of real and synthetic data needs to know of a task.

    Attributes:
      loss: the metric that says how good a fit is; None for the first of the family's.
      metrics: those of a fit, where others are of what it publishes; none stands for all.
      options: of the task, where they are not given.
      fewest_rows: ``fewest_rows(point, options)``, how many rows a fit needs.
      theory: ``theory(metric, (R, M, A), source, options, **axes)``, the mean over seeds known in
        closed form, from arrays of numbers of real, synthetic and available points, or None. NaN
        where it is not known.
    """

    loss: str | None = None
    metrics: tuple[str, ...] = ()
    options: Mapping[str, Any] = {}
    fewest_rows: Callable[[Mapping, Mapping], int] = lambda *given: 1
    theory: Callable[..., np.ndarray | None] = lambda *given, **axes: None


class TaskFamily(NamedTuple):
    """A task with its parameters left open.

    Attributes:
      name: as written on the command line.
      make: ``make(**axes, **options) -> Task``; refuses bad values with ``ValueError``. One of the
        options is ``pool``.
      axes: the parameters that a sweep varies, in the order of the result's dimensions.
      metrics: label and units of each metric, by name.
      traced: ``traced(workflow, point, options)``, a dict of those parameters and options that
        change no array's shape, as numbers or trees of numbers and arrays that ``make`` takes: one
        compiled program serves all their values. Cells whose trees differ in structure have their
        own.
      work: ``work(**axes)``, how long a chain takes relative to others, for estimates of time.
      theory: ``theory(metric, workflow, generation, options, **axes)``, the mean over seeds that
        is known in closed form, an array like ``generation``, or None.
      presets: options by preset name: ``corrected`` (the default) is what we recommend,
        ``authors`` what the published experiments did.
      summaries: ``summaries(metrics)``, from arrays ``[..., G]`` by metric (those that were
        computed), one number a chain.
      approximations: ``approximations(workflow, point, options)``, what is not exact in law
        there and by how much, in words for the result's attributes; "" where all is exact.
      most_rows: how many points a pool may hold; None for any number.
      computed: ``computed(options)``, the names of those metrics that are known under some
        options; None for all.
      details: ``details(point, options)``, what decides a cell's numbers, defaults that depend on
        the point included, as JSON can hold it; None where options say it all.
      fit_bytes: ``fit_bytes(point, options)``, memory that a fit needs beside its data.
      sequential_on: platforms where seeds run one after another on a device, since mapping them
        would gain nothing and take their memory together.
      mixing: what mixtures of real and synthetic data need.
    """

    name: str
    make: Callable[..., Task]
    axes: tuple[str, ...]
    metrics: Mapping[str, Metric]
    work: Callable[..., float]
    presets: Mapping[str, Mapping[str, Any]]
    traced: Callable[[Workflow, Mapping, Mapping], dict[str, Any]] = lambda *given: {}
    theory: Callable[..., np.ndarray | None] = lambda *given, **axes: None
    summaries: Callable[[Mapping[str, np.ndarray]], dict[str, Summary]] = lambda metrics: {}
    approximations: Callable[[Workflow, Mapping, Mapping], str] = lambda *given: ""
    most_rows: int | None = None
    computed: Callable[[Mapping], list[str]] | None = None
    details: Callable[[Mapping, Mapping], Any] | None = None
    fit_bytes: Callable[[Mapping, Mapping], float] = lambda *given: 0.0
    sequential_on: tuple[str, ...] = ()
    mixing: Mixing = Mixing()

    @property
    def labels(self) -> dict[str, Metric]:
        """Label and units of every metric of a chain: those of the task, and the chain's own."""
        return {**self.metrics, SHARE_OF_REAL_DATA: metrics.SHARE_OF_REAL_DATA}

    def known(self, options: Mapping[str, Any]) -> list[str]:
        """Names of the metrics that chains have under some options."""
        names = list(self.metrics) if self.computed is None else self.computed(options)
        return [*names, SHARE_OF_REAL_DATA]

    def check(
        self,
        workflow: Workflow,
        point: Mapping[str, Any],
        options: Mapping[str, Any],
        generations: int = 1,
    ) -> None:
        """Raises ``ValueError`` if a workflow cannot run the task at a point of the grid."""
        task = self.make(**point, **options)
        rows = workflow.capacity(generations) * point.get("num_samples", 1)
        if self.most_rows is not None and rows > self.most_rows:
            raise checks.refusal(
                f"points of {generations} generations under {workflow.name}",
                f"at most {self.most_rows}",
                rows,
                "lower num_samples or generations",
            )
        if not workflow.needs_points:
            return
        if options.get("pool") == "statistics" and task.statistics is None:
            raise checks.refusal(
                f"pool for {workflow.name}",
                "auto or points, since it draws points",
                "statistics",
                "use --pool auto",
            )
        if workflow.subsample_size and "num_samples" in point:
            # A fit to that many points must be one that the task allows.
            self.make(**{**point, "num_samples": workflow.subsample_size}, **options)
        num_samples = point.get("num_samples")
        if workflow.subsample_size and num_samples and workflow.subsample_size > num_samples:
            raise checks.refusal(
                "subsample size",
                f"at most num_samples, {num_samples}, all that the first pool holds",
                workflow.subsample_size,
                "lower the subsample size or raise num_samples",
            )
