"""A task with its parameters left open: what sweeps, commands and figures know of it.

>>> def task(rate: float, num_samples: int) -> Task: ...
>>> FAMILY = TaskFamily("exponential", task)

Its axes, options, checks and help are those that the task's own signature declares, see
``parameters``; all else has a default.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxcollapse import checks, schedules, theory
from jaxcollapse.metrics import SHARE, SHARE_OF_REAL_DATA, Metric
from jaxcollapse.parameters import Parameter, parameters_of, takes_any
from jaxcollapse.rows import check_sizes
from jaxcollapse.task import Task
from jaxcollapse.workflows import Workflow


class Summary(NamedTuple):
    """One number a chain.

    Attributes:
      values: ``[...]``, the shape of a metric without its generations.
      long_name: for files.
    """

    values: np.ndarray
    long_name: str


class MixtureFacts(NamedTuple):
    """What a grid of mixtures of real and synthetic data needs to know of a task.

    Attributes:
      loss: the metric that says how good a fit is; None for the first of the family's.
      metrics: those of a fit, where others are of what it publishes; none stands for all.
      options: of the task, where they are not given.
      real: numbers of real points where a command names none.
      synthetic: numbers of synthetic points, likewise.
      seeds: how many seeds, likewise.
      fewest_rows: ``fewest_rows(point, options)``, how many rows a fit needs.
      closed_form: ``closed_form(metric, (R, M, A), source, options, **axes)``, the mean over seeds
        known in closed form, from arrays of numbers of real, synthetic and available points, or
        None. NaN where it is not known.
    """

    loss: str | None = None
    metrics: tuple[str, ...] = ()
    options: Mapping[str, Any] = {}
    real: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    synthetic: tuple[int, ...] = (0, 16, 64, 256, 1024, 4096)
    seeds: str = "1000"
    fewest_rows: Callable[[Mapping, Mapping], int] = lambda *given: 1
    closed_form: Callable[..., np.ndarray | None] = lambda *given, **axes: None


class TaskFamily(NamedTuple):
    """A task with its parameters left open.

    Attributes:
      name: as written on the command line.
      task: ``task(**axes, **options) -> Task``, whose signature declares its parameters; it refuses
        bad values with ``ValueError``.
      metrics: label and units of each metric, by name; those of a task that tells none are found by
        tracing it.
      presets: options by preset name: ``corrected`` (the default) is what we recommend,
        ``authors`` what the published experiments did.
      relative_cost: ``relative_cost(**axes)``, how long a chain takes relative to the others of its
        task, for estimates of time; of the tasks that are built in, some nanoseconds a generation.
      closed_form: ``closed_form(metric, workflow, generation, options, **axes)``, the mean over
        seeds that is known in closed form, an array like ``generation``, or None; ``workflow`` is
        the record. Publishers' axes come to one that names them, as ``temperature=1``.
      summaries: ``summaries(metrics, generation)``, from arrays ``[..., G]`` by metric (those that
        were computed) and the numbers of their generations ``[G]``, one number a chain. One that
        takes metrics alone is asked only where every generation is kept.
      approximations: ``approximations(workflow, point, options)``, what is not exact in law
        there and by how much, in words for the result's attributes; "" where all is exact.
      advice: ``advice(point, options)``, what whoever asks for that should know before it runs, in
        words; "" for nothing.
      mixtures: what mixtures of real and synthetic data need.
      traced: ``traced(workflow, point, options)``, a dict of those parameters that change no
        array's shape, as numbers or trees of numbers and arrays that ``task`` takes: one compiled
        program serves all their values. None for the axes that the signature declares traced.
      metrics_under: ``metrics_under(options)``, the names of those metrics that are known under
        some options; None for all.
      resolved: ``resolved(point, options)``, what decides a cell's numbers, defaults that depend on
        the point included, as JSON can hold it; None where options say it all.
      most_rows: how many points a pool may hold; None for any number.
      fit_bytes: ``fit_bytes(point, options)``, memory that a fit needs beside its data.
      sequential_on: platforms where seeds run one after another on a device, since mapping them
        would gain nothing and take their memory together.
      usual: values of a command's own options where none are given: ``generations``, ``seeds``.
      source: where the task comes from: a paper, say.
      bare: of a family whose tasks have publishers, the one without; see ``publishers.offered``.
    """

    name: str
    task: Callable[..., Task]
    metrics: Mapping[str, Metric] = {}
    presets: Mapping[str, Mapping[str, Any]] = {"corrected": {}}
    relative_cost: Callable[..., float] = lambda **axes: 1.0
    closed_form: Callable[..., np.ndarray | None] = lambda *given, **axes: None
    summaries: Callable[..., dict[str, Summary]] = lambda metrics: {}
    approximations: Callable[[Workflow, Mapping, Mapping], str] = lambda *given: ""
    advice: Callable[[Mapping, Mapping], str] = lambda *given: ""
    mixtures: MixtureFacts = MixtureFacts()
    traced: Callable[[Workflow, Mapping, Mapping], dict[str, Any]] | None = None
    metrics_under: Callable[[Mapping], list[str]] | None = None
    resolved: Callable[[Mapping, Mapping], Any] | None = None
    most_rows: int | None = None
    fit_bytes: Callable[[Mapping, Mapping], float] = lambda *given: 0.0
    sequential_on: tuple[str, ...] = ()
    usual: Mapping[str, Any] = {}
    source: str = ""
    bare: Any = None

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """All parameters of the task, by name."""
        return parameters_of(self.task)

    @property
    def axes(self) -> tuple[str, ...]:
        """The parameters that a sweep varies, in the order of a result, N the last."""
        axes = [p for p in self.parameters.values() if p.is_axis]
        return tuple(p.name for p in sorted(axes, key=lambda p: p.is_batch))

    @property
    def batch(self) -> str | None:
        """The axis that is N, the points of each generation; None if there is none."""
        found = [p.name for p in self.parameters.values() if p.is_batch]
        return found[0] if found else None

    @property
    def labels(self) -> dict[str, Metric]:
        """Label and units of every metric of a chain: those of the task, and the chain's own."""
        return {**self.metrics, SHARE_OF_REAL_DATA: SHARE}

    def known(self, options: Mapping[str, Any]) -> list[str]:
        """Names of the metrics that chains have under some options."""
        names = list(self.metrics) if self.metrics_under is None else self.metrics_under(options)
        return [*names, SHARE_OF_REAL_DATA]

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raises ``ValueError`` for an option that the task does not have."""
        if takes_any(self.task):
            return
        names = [name for name, p in self.parameters.items() if not p.is_axis]
        for option in options:
            checks.one_of(f"option of {self.name}", option, names)

    def make(self, point: Mapping[str, Any], options: Mapping[str, Any]) -> Task:
        """The task at a point of a grid; options may stand in for axes.

        Raises:
          ValueError: a parameter cannot have its value, or what is made is no ``Task``.
        """
        known = self.parameters
        given = {**point, **options}
        made = self.task(**{n: known[n].checked(v) if n in known else v for n, v in given.items()})
        if not isinstance(made, Task):
            raise checks.refusal(
                f"task of the family {self.name}",
                "a Task",
                f"a {type(made).__name__}",
                "return one, as jaxcollapse.points_task makes",
            )
        return made

    def traced_at(
        self, workflow: Workflow, point: Mapping[str, Any], options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Those parameters that change no array's shape at a point of a grid, see ``traced``."""
        if self.traced is not None:
            return self.traced(workflow, point, options)
        declared = [p for p in self.parameters.values() if getattr(p.how, "traced", False)]
        if not declared:
            return {}
        task = self.make(point, options)
        on_statistics = task.under(workflow) is not task
        return {
            p.name: float(point[p.name]) if p.kind is float else point[p.name]
            for p in declared
            if p.is_traced(on_statistics)
        }

    def mean_of(
        self,
        metric: str,
        workflow: Workflow,
        generation: np.ndarray,
        options: Mapping[str, Any],
        point: Mapping[str, Any],
    ) -> np.ndarray | None:
        """The mean of a metric over seeds ``[G]`` in closed form, or None.

        The workflow may know it, of any task; what is known of a record the theory knows. Where
        publishers change what is published, a family's ``closed_form`` is asked if it names them.
        """
        publishers: dict[str, Any] = {}
        if self.bare is not None:  # at 1 a publisher is the task itself
            publishers = {k: v for k, v in point.items() if k not in self.bare.axes and v != 1}
            point = {k: v for k, v in point.items() if k in self.bare.axes or k in publishers}
            if not publishers:
                return self.bare.mean_of(metric, workflow, generation, options, point)
        if not publishers:
            known = workflow.closed_form(self.name, metric, generation, options, **point)
            if known is not None:
                return known
        if workflow.chooses:
            return None
        if metric == SHARE_OF_REAL_DATA:
            return theory.share_of_real_data(workflow, generation)
        if not set(publishers) <= set(inspect.signature(self.closed_form).parameters):
            return None  # it would not know what is published
        return self.closed_form(metric, workflow, generation, options, **point)

    def check(
        self,
        workflow: Workflow,
        point: Mapping[str, Any],
        options: Mapping[str, Any],
        generations: int = 1,
    ) -> None:
        """Raises ``ValueError`` if a workflow cannot run the task at a point of the grid."""
        self.make(point, options).under(workflow)
        size = point.get(self.batch) if self.batch else None
        rows = workflow.slots(generations) * (size or 1)
        if self.most_rows is not None and rows > self.most_rows:
            raise checks.refusal(
                f"points of {generations} generations under {workflow.name}",
                f"at most {self.most_rows}",
                rows,
                f"lower {self.batch} or generations",
            )
        if self.batch is None or size is None:
            return
        if workflow.sizes is not None:
            check_sizes(workflow, size)
            # A fit to that many points must be one that the task allows.
            last = np.arange(generations)
            fewest = int(schedules.values_of_counts(workflow.sizes, last).min())
            self.make({**point, self.batch: fewest}, options)
        if not workflow.draw:
            return
        # A fit to that many points must be one that the task allows.
        self.make({**point, self.batch: workflow.draw}, options)
        if workflow.draw > size:
            raise checks.refusal(
                "subsample size",
                f"at most {self.batch}, {size}, all that the first pool holds",
                workflow.draw,
                f"lower the subsample size or raise {self.batch}",
            )


def family_of(task: Task) -> TaskFamily:
    """A family without axes, of one task."""
    return TaskFamily("task", lambda: task)
