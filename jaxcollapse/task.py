"""A kind of model, the data it starts from and how it is judged, as pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcollapse import checks, parts
from jaxcollapse.metrics import Metrics
from jaxcollapse.pools import POOLS, Pool, View, points_pool
from jaxcollapse.workflows import Workflow

Truth = Any
Params = Any


def _not_told(noise: Any, truth: Truth) -> Any:
    raise checks.refusal(
        "task under a workflow of fresh real data",
        "a function real(noise, truth), which draws more of them from the same truth",
        "none",
        "give it one, or choose another workflow",
    )


class _Functions(NamedTuple):
    init: Callable[[Any], tuple[Truth, Any]]
    pool: Callable[[Truth, Workflow, int], Pool]
    fit: Callable[..., Params]
    sample: Callable[[Any, Params], Any]
    evaluate: Callable[..., Metrics]
    noise: Callable[[jax.Array], Any] = lambda key: key
    real: Callable[[Any, Truth], Any] = _not_told
    describe: Callable[[Any], Metrics] = lambda batch: {}
    statistics: Any = None
    use: str = "auto"
    serves: Callable[[Workflow], bool] = lambda w: not w.needs_points and w.weight is None
    coordinates: Any = None
    tempered: Callable[[Params, Any], Params] | None = None
    central: Callable[[Any, Params, Any], Any] | None = None
    scores: Mapping[str, Callable[..., Any]] = {}
    held_out: Callable[[jax.Array, Truth], Any] | None = None
    pooled: Callable[[Truth, Params], Metrics] | None = None
    num_rows: Any = None


class Task(_Functions):
    """A kind of model, the data it starts from and how it is judged. Pure functions.

    ``fit`` and ``evaluate`` are called with as many of their arguments as they require, in order.

    Attributes:
      init: ``init(noise) -> (truth, batch)``: what ``evaluate`` needs, and the real batch, a
        pytree of arrays ``[N, ...]``.
      pool: ``pool(truth, workflow, num_generations) -> Pool``: how batches are kept.
      fit: ``fit(key, view, generation, before) -> params``: the model of a view; the key is for
        fits that use chance, the generation is int32, from 1, and ``before`` is the model before,
        None in generation 1.
      sample: ``sample(noise, params) -> batch``: a deterministic function of its arguments. Rows
        come in no order: where a workflow or a publisher takes some of them it takes the first.
      evaluate: ``evaluate(truth, params, published, key) -> metrics``: a dict of arrays;
        ``published`` is the batch that the model publishes.
      noise: ``noise(key) -> noise``: the randomness of one batch; by default the key itself. It is
        drawn for all generations before the first.
      real: ``real(noise, truth) -> batch``: another real batch of the same truth.
      describe: ``describe(batch) -> metrics`` of what a generation publishes, its diversity for
        instance; none by default.
      statistics: the same task on sufficient statistics, of the same law and faster; None if its
        fit needs the points.
      use: ``points``, ``statistics``, or ``auto``: statistics where they serve the workflow.
      serves: ``serves(workflow)``, of a task on statistics: whether they can be right under it; by
        default where it tells no rows of a batch apart and has no weight.
      coordinates: ``Coordinates``, if the task keeps its data or models in some of its own.
      tempered: ``tempered(params, temperature) -> params``, what is sampled in place of a model at
        a temperature above 0, which may be traced; at 1 it is the model. None if there is no such.
      central: ``central(noise, params, mass) -> batch``, a sample of the central mass of a model
        alone, which may be traced; at 1 it is ``sample``. None if there is no such.
      scores: by name, ``score(truth, params, batch)`` ``[N]`` of the rows of a batch, larger for
        better ones: ``real``, the log-density of the real law, and ``model``, that of the model,
        up to a constant, where a task can say it.
      held_out: ``held_out(key, truth)``, real points that no model trains on, ``[M, D]`` or a
        ``HeldOut``, for metrics of points; as its batches are kept, which are then points of the
        real coordinates up to a shift. None for more of ``real``.
      pooled: ``pooled(truth, params) -> metrics`` of the even mixture of the laws of several
        models, stacked ``[k, ...]``: those of ``evaluate`` that it has. None if there are none.
      num_rows: N, of a task on statistics that can draw those of fewer rows, as a share and sizes
        ask for; may be traced. Then there is ``noise(key, rows)`` of so many rows, int32, or of
        several sets of rows, ``[P]``, whose statistics ``init``, ``real`` and ``sample`` give
        stacked.
    """

    __slots__ = ()

    def _replace(self, **changes: Any) -> Task:
        """``modify``, which reaches the task on statistics too; other fields stay as they are."""
        for name in changes:
            checks.one_of("what to replace of a task", name, ("fit", "sample", "evaluate"))
        return modify(self, **changes)

    def under(self, workflow: Workflow, rows: bool = False) -> Task:
        """The task on the kind of data that serves a workflow.

        Args:
          workflow: which data each model trains on.
          rows: whether what is published is looked at, so that points are needed.

        Raises:
          ValueError: it is to use statistics, which do not serve the workflow.
        """
        served = self.statistics is not None and self.statistics.serves(workflow) and not rows
        if self.use == "statistics" and not served:
            raise checks.refusal(
                f"pool for {workflow.name}",
                f"auto or points, {_why_points(workflow, self.statistics, rows)}",
                "statistics",
                "use pool='auto'",
            )
        return self.statistics if served and self.use != "points" else self


def _why_points(workflow: Workflow, statistics: Task | None, rows: bool) -> str:
    """Why statistics do not serve."""
    if rows:
        return "whose rows a metric looks at"
    if parts.draws_rows(workflow):
        return "since models see rows drawn of batches that stay"
    sized = workflow.share is not None or workflow.sizes is not None
    if sized and statistics is not None and statistics.num_rows is None:
        return "since its statistics are those of whole batches"
    if not parts.served(workflow):
        return "since real rows stay of which each model sees another number"
    if sized or workflow.weight is not None or workflow.real == "fresh":
        return "since its statistics are not right there, or not of so few rows"
    return "since statistics cannot be right there"


def nothing_published(params: Params, rows: Any) -> Any:
    """Refuses rows of one's own."""
    raise checks.refusal(
        "sample of one's own",
        "for a task whose models say all that a batch needs",
        "one whose batches share inputs that its models do not know",
        "use design='fresh'",
    )


def _rows_chosen(batches: Any, index: Any) -> Any:
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[index], batches)


def _rows_pooled(batches: Any, owner: Any) -> Any:
    return jax.tree.map(lambda x: x[owner, np.arange(x.shape[1])], batches)


class Coordinates(NamedTuple):
    """What a task keeps in coordinates of its own, in those of its real data, and back.

    Attributes:
      truth: ``truth(truth)``.
      model: ``model(params)``.
      rows: ``rows(truth, batch)``.
      view: ``view(view) -> View`` of rows.
      fitted: ``fitted(view, model) -> params``, of a model of that view.
      published: ``published(params, rows) -> batch``, of rows that a model made.
      chosen: ``chosen(batches, index) -> batch`` of several batches of one model, stacked
        ``[m, N, ...]``: their rows ``index`` ``[N]``, numbered through.
      pooled: ``pooled(batches, owner) -> batch`` of batches of several models, stacked likewise:
        row i is row i of batch ``owner[i]``.
      ordered: whether the place of a row in its batch says who made it, so that it has to stay.
    """

    truth: Callable[[Truth], Any]
    model: Callable[[Params], Any]
    rows: Callable[[Truth, Any], Any]
    view: Callable[[Any], View]
    fitted: Callable[[Any, Any], Params]
    published: Callable[[Params, Any], Any] = nothing_published
    chosen: Callable[[Any, Any], Any] = _rows_chosen
    pooled: Callable[[Any, Any], Any] = _rows_pooled
    ordered: bool = False


def with_fields(task: Task, **changes: Any) -> Task:
    """The task with other fields, for whoever makes tasks; see ``modify``."""
    return Task(**{**dict(zip(task._fields, task, strict=True)), **changes})


def points_task(
    init: Callable[[jax.Array], tuple[Truth, Any]],
    fit: Callable[..., Params],
    sample: Callable[[jax.Array, Params], Any],
    evaluate: Callable[..., Metrics],
    real: Callable[[jax.Array, Truth], Any] = _not_told,
    tempered: Callable[[Params, Any], Params] | None = None,
) -> Task:
    """A task of one's own from four functions; it runs under every workflow.

    ``fit`` and ``evaluate`` are called with as many of their arguments as they require, in order.

    Args:
      init: ``init(key) -> (truth, batch)``; a batch is a pytree of arrays ``[N, ...]``, of the
        same shapes every generation.
      fit: ``fit(key, view, generation, before) -> params`` from ``view.data`` ``[R, ...]``, of
        which each row counts as ``view.weights`` ``[R]`` rows, 0 for no data; where no workflow
        weighs rows, ``view.mask`` ``[R]`` says which ones count. ``generation`` is int32, from 1;
        ``before`` is the model before, None in generation 1.
      sample: ``sample(key, params) -> batch`` of synthetic data, in no order: where a workflow or a
        publisher takes some of the rows it takes the first, of which none may be likelier there.
      evaluate: ``evaluate(truth, params, published, key) -> metrics``, a dict of arrays;
        ``published`` is the batch that the model publishes.
      real: ``real(key, truth) -> batch``, another real batch of the same truth, which workflows of
        fresh real data need.
      tempered: ``tempered(params, temperature) -> params``, what is sampled at a temperature, which
        ``publishers.tempered`` needs.
    """
    return Task(
        init=init,
        pool=lambda truth, workflow, generations: points_pool(workflow, generations),
        fit=fit,
        sample=sample,
        evaluate=evaluate,
        real=real,
        tempered=tempered,
    )


def with_statistics(points: Task, statistics: Task | None, use: str) -> Task:
    """A task on points that knows itself on statistics, and which of them it is to use.

    Args:
      points: the task on points.
      statistics: the same on statistics, if there is such a task.
      use: ``auto``, ``points`` or ``statistics``.

    Raises:
      ValueError: ``use`` has another name.
    """
    checks.one_of("pool", use, POOLS)
    return with_fields(points, statistics=statistics, use=use)


def modify(
    task: Task,
    *,
    fit: Callable[..., Any] | None = None,
    sample: Callable[..., Any] | None = None,
    evaluate: Callable[..., Metrics] | None = None,
) -> Task:
    """The task with functions of one's own, which see real coordinates and rows.

    ``evaluate`` reaches the task on points and on statistics alike. The others are functions of
    points, so that the task keeps these under every workflow. (Metrics beside the task's own are
    the argument ``measures`` of ``make_chain``.)

    >>> modify(gaussian.task(3, 20), evaluate=lambda truth, model: {"scale": model.cov.max()})

    Args:
      task: the task.
      fit: ``fit(key, view, generation, before) -> model`` from rows ``view.data`` ``[R, ...]``.
      sample: ``sample(key, model) -> rows`` ``[N, ...]``.
      evaluate: ``evaluate(truth, model, published, key) -> metrics``.

    Raises:
      ValueError: the task is to use statistics, and a function of points is given; or a function
        requires arguments that there are not.
    """
    if not isinstance(task, Task):
        raise checks.refusal("task to modify", "a Task", repr(task), "make one of a family")
    of_points = {"fit": fit, "sample": sample}
    given = [name for name, function in of_points.items() if function is not None]
    if given:
        if task.use == "statistics":
            raise checks.refusal(
                f"task to modify the {' and '.join(given)} of",
                "one that may keep points",
                "one with pool='statistics'",
                "make it with pool='auto' or 'points'",
            )
        task = with_fields(task, statistics=None, use="points")
    if fit is not None:
        task = with_fields(task, fit=_fit_of_rows(task.coordinates, fit))
    if sample is not None:
        # Which need not know what the task's own does with a temperature or a mass.
        sampled = _sample_of_rows(task.coordinates, sample)
        task = with_fields(task, sample=sampled, tempered=None, central=None)
    return task if evaluate is None else _evaluated(task, evaluate)


def _fit_of_rows(coordinates: Coordinates | None, fit: Callable[..., Any]) -> Callable[..., Any]:
    count = checks.arguments(fit, "fit", FITTED, 2)
    if coordinates is None:
        return fit

    def of_rows(key, view, generation, before):
        if before is not None:
            before = coordinates.model(before)
        model = fit(*(key, coordinates.view(view), generation, before)[:count])
        return coordinates.fitted(view, model)

    return (
        of_rows if count > 3 else lambda key, view, generation: of_rows(key, view, generation, None)
    )


def _sample_of_rows(
    coordinates: Coordinates | None, sample: Callable[..., Any]
) -> Callable[..., Any]:
    if coordinates is None:
        return sample
    if coordinates.published is nothing_published:
        nothing_published(None, None)
    return lambda noise, params: coordinates.published(
        params, sample(noise, coordinates.model(params))
    )


def _evaluated(task: Task, evaluate: Callable[..., Metrics]) -> Task:
    """The task on both kinds of data with another evaluation."""
    statistics = task.statistics and _evaluated(task.statistics, evaluate)
    judged = in_real_coordinates(task.coordinates, evaluate, "evaluate")
    return with_fields(task, evaluate=judged, pooled=None, statistics=statistics)


def in_real_coordinates(
    coordinates: Coordinates | None, function: Callable[..., Any], name: str
) -> Callable[..., Any]:
    """A function of (truth, model, published, key) that is given a task's own of these."""
    count = checks.arguments(function, name, JUDGED, 2)
    if coordinates is None:
        return function

    def of_two(truth, params):
        return function(coordinates.truth(truth), coordinates.model(params))

    def of_three(truth, params, batch):
        rows = coordinates.rows(truth, batch)
        return function(coordinates.truth(truth), coordinates.model(params), rows)

    def of_four(truth, params, batch, key):
        rows = coordinates.rows(truth, batch)
        return function(coordinates.truth(truth), coordinates.model(params), rows, key)

    known: dict[int, Callable[..., Any]] = {2: of_two, 3: of_three, 4: of_four}
    return known[count]


# What functions of the user's are called with, as many of these as they require.
FITTED = ("key", "view", "generation", "before")
JUDGED = ("truth", "model", "published", "key")
