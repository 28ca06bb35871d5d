"""Several models that publish into one pool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws
from jaxcollapse.metrics import Metric
from jaxcollapse.parameters import Axis, Option
from jaxcollapse.pools import Beside, Chosen, Pool, View
from jaxcollapse.publishers.informed import (
    KEYS,
    batches_of,
    coordinates_of,
    of_rows_that_move,
    of_so_many,
    on_points,
    rows_of,
)
from jaxcollapse.subsamples import shuffled
from jaxcollapse.task import FITTED, JUDGED, Task, with_fields
from jaxcollapse.workflows import Workflow

BETWEEN, EACH, POOLED = "_between_models", "_each_model", "_pooled"
MODEL = "model"  # a dimension of results


def ensemble(
    task: Task,
    /,
    models: Annotated[int, Axis(symbol="k", least=1)],
    learns_from: Annotated[Any, Option(file=True)] = None,
    metrics_of: Annotated[tuple[Literal["each", "pooled"], ...], Option()] = (),
) -> Task:
    """The task with k models in each generation, which publish into one pool.

    By default the rows that a workflow shows are shuffled and dealt to the models, each of which is
    fitted to its part; parts differ by one row at most. With a matrix A each is fitted to all rows,
    of which those that model i published (of real batches every k-th row, from the i-th on) weigh
    ``A[j, i]`` together for model j: the rows of whom it learns most from count one each. Of N
    published rows, row i is made by model ``i mod k``. One model is the task itself. After Vu
    et al. 2505.21677, Hodel & West 2512.15011 and Wang et al. 2506.15690.

    Metrics are means over the models, beside each of which ``..._between_models`` is their standard
    deviation; where they are asked for, ``..._each_model`` ``[k]`` are those of each, and
    ``..._pooled`` those of the even mixture of their laws (of Gaussians its mean and covariance; it
    is none, so has no ``kl``). Metrics of points are of what all of them publish. Measures of one's
    own see the models stacked, with a first axis of k. Each model draws N rows, of which N/k are
    published.

    Args:
      task: one that may keep points.
      models: k, the number of models of each generation, is at least 1 and at most N; N/k of the
        points are published by each.
      learns_from: Who learns from whom is an array [k, k] whose rows sum to 1: how much of what a
        model (row) is fitted to is published by each (column). By default the points are shuffled
        and dealt to the models.
      metrics_of: Beside the means over the models there are metrics of "each" of them, along a
        dimension of their numbers, or of the "pooled" law, or both.

    Raises:
      ValueError: k is no such number, ``metrics_of`` has another name, or the task tells no metrics
        of a pooled law; the matrix has another shape, negative entries or rows that
        do not sum to 1, the task is to use statistics, or what it shows are no rows; without one,
        the task's own models learn from one another; with one, when it is traced, the workflow
        draws rows.
    """
    models = checks.whole_number("models", models)
    taught = None if learns_from is None else checked_teachers(learns_from, models)
    also = _checked_metrics(task, metrics_of)
    if models == 1:
        return _alone(task, also)
    task = on_points(task, "published by several models")
    if taught is None:  # which shuffles them
        task = of_rows_that_move(task, "published by several models")
    own, size = coordinates_of(task), rows_of(task)
    takes = checks.arguments(task.fit, "fit", FITTED, 2)
    judges = checks.arguments(task.evaluate, "evaluate", JUDGED, 2)
    numbers, of_mixture = np.arange(models, dtype=np.uint32), task.pooled

    def pool(truth, workflow, generations) -> Pool:
        check_size(size(), models)
        if taught is not None and workflow.draw is not None:
            raise _drawn(workflow)
        return task.pool(truth, workflow, generations)

    def fit(key, seen, generation, before):
        rows = _rows_of(seen)
        if taught is None:
            parts = _dealt(draws.fold_in(key, KEYS), rows, models)
        else:
            parts = _weighed(rows, taught, size())

        def one(number, part, before):
            own_key = draws.fold_in(key, KEYS + 1 + number)
            return task.fit(*(own_key, _with_rows(seen, part), generation, before)[:takes])

        return jax.vmap(one)(numbers, parts, before)

    def evaluate(truth, params, published, key):
        def one(number, model):
            given = (truth, model, published)
            if judges < 4:
                return task.evaluate(*given[:judges])
            return task.evaluate(*given, draws.fold_in(key, KEYS + number))

        found = jax.vmap(one)(numbers, params)
        metrics = _over_models(found)
        if "each" in also:
            metrics |= {name + EACH: x for name, x in found.items()}
        if "pooled" in also:
            assert of_mixture is not None
            metrics |= {name + POOLED: x for name, x in of_mixture(truth, params).items()}
        return metrics

    def sample(noise, params):
        batches = jax.vmap(task.sample)(noise.several, params)
        return own.pooled(batches, np.arange(size()) % models)

    def alone(*given):
        raise checks.refusal(
            "fit or sample of one's own for several models",
            "one of the task that they share",
            "one of all of them",
            "modify the task before it is many",
        )

    return with_fields(
        task,
        pool=pool,
        fit=of_so_many(fit, takes),
        sample=sample,
        evaluate=of_so_many(evaluate, judges),
        coordinates=own._replace(
            model=jax.vmap(own.model),
            fitted=alone,
            published=alone,
            ordered=own.ordered or taught is not None,
        ),
        tempered=None,
        central=None,
        scores={},
        pooled=None,
        **batches_of(task, lambda: models),
    )


def labelled(metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """Labels of all metrics that several models can have."""
    found = dict(metrics)
    for name, metric in metrics.items():
        long_name = metric.long_name
        found[name + BETWEEN] = Metric(
            f"{long_name}: spread between models", metric.units, infinite=metric.infinite
        )
        plain = metric._replace(of=None, pooled=False)
        found[name + EACH] = plain._replace(
            long_name=f"{long_name}: of each model", dims=(MODEL, *metric.dims)
        )
        if metric.pooled:
            found[name + POOLED] = plain._replace(long_name=f"{long_name}: of the pooled law")
    return found


def known(metrics: Iterable[str], labels: Mapping[str, Metric], also: Iterable[str]) -> list[str]:
    """The names of the metrics of several models, from those of one, see ``metrics_of``."""
    names = list(metrics)
    found = [*names, *(name + BETWEEN for name in names)]
    found += [name + EACH for name in names if "each" in also]
    return found + [name + POOLED for name in names if "pooled" in also and labels[name].pooled]


def _alone(task: Task, also: Sequence[str]) -> Task:
    """One model, which differs from none."""
    judges = checks.arguments(task.evaluate, "evaluate", JUDGED, 2)
    of_mixture = task.pooled

    def evaluate(truth, params, *given):
        found = task.evaluate(*(truth, params, *given)[:judges])
        metrics = {**found, **{name + BETWEEN: jnp.zeros_like(x) for name, x in found.items()}}
        if "each" in also:
            metrics |= {name + EACH: x[None] for name, x in found.items()}
        if "pooled" in also:
            assert of_mixture is not None
            stacked = jax.tree.map(lambda x: jnp.asarray(x)[None], params)
            named = jax.eval_shape(of_mixture, truth, stacked)
            metrics |= {name + POOLED: found[name] for name in named}
        return metrics

    return with_fields(
        task,
        evaluate=of_so_many(evaluate, judges),
        pooled=None,
        statistics=task.statistics and _alone(task.statistics, also),
    )


def _over_models(found: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Means of metrics ``[k, ...]`` over the models, and their standard deviations."""
    metrics = {name: jnp.mean(x, axis=0) for name, x in found.items()}

    def spread(x):
        same = jnp.all(x == x[:1], axis=0)  # infinite ones too
        apart = jnp.std(x, axis=0)
        infinite = jnp.any(jnp.isinf(x), axis=0) & ~jnp.any(jnp.isnan(x), axis=0)
        return jnp.where(same, 0.0, jnp.where(infinite, jnp.inf, apart)).astype(x.dtype)

    return {**metrics, **{name + BETWEEN: spread(x) for name, x in found.items()}}


# What each model sees ---------------------------------------------------------------------------


def _rows_of(seen: Any) -> View:
    """The rows of what a pool shows, whatever it tells beside them."""
    while isinstance(seen, Beside):
        seen = seen.view
    if not isinstance(seen, View):
        raise checks.refusal(
            "task of several models",
            "one whose pool shows rows, a View",
            f"one that shows a {type(seen).__name__}",
            "use a task on points",
        )
    return seen


def _with_rows(seen: Any, rows: View) -> Any:
    """The same with other rows."""
    return seen._replace(view=_with_rows(seen.view, rows)) if isinstance(seen, Beside) else rows


def _dealt(key: jax.Array, rows: View, models: int) -> Chosen:
    """The rows that count, shuffled and dealt to k models: views stacked ``[k, ceil(R/k)]``."""
    total = rows.inclusion.shape[0]
    each = -(-total // models)
    counts = rows.inclusion.astype(bool)
    place = shuffled(key, total)
    # Those that count come first, in random order; the last model has the last place of all.
    order = place[jnp.argsort(~counts[place], stable=True)]
    index = jnp.pad(order, (0, each * models - total), constant_values=total)
    index = index.reshape(each, models).T

    def taken(x):
        return x.at[index].get(mode="fill", fill_value=0)

    inclusion = taken(rows.inclusion)
    return Chosen(
        jax.tree.map(taken, rows.data),
        inclusion,
        taken(rows.real),
        jnp.sum(inclusion.astype(bool), axis=1, dtype=np.int32),
    )


def _weighed(rows: View, taught: np.ndarray, size: int) -> Chosen:
    """All rows, weighed by who made them: views stacked ``[k, R]``."""
    models = taught.shape[0]
    total = rows.inclusion.shape[0]
    owner = (np.arange(total) % size) % models
    made = jnp.zeros(models, draws.float_dtype()).at[owner].add(rows.weights)
    there = made[None, :] > 0
    weight = jnp.where(there, taught.astype(made.dtype) / jnp.where(there, made[None, :], 1.0), 0.0)
    most = jnp.max(weight, axis=1, keepdims=True)
    weight = weight / jnp.where(most > 0, most, 1.0)
    inclusion = weight[:, owner] * rows.weights[None, :]

    def repeated(x):
        return jnp.broadcast_to(x[None], (models, *x.shape))

    return Chosen(
        jax.tree.map(repeated, rows.data),
        inclusion,
        repeated(rows.real),
        jnp.sum(inclusion > 0, axis=1, dtype=np.int32),
    )


# Checks -----------------------------------------------------------------------------------------


def checked_teachers(value: Any, models: int) -> np.ndarray:
    """The matrix of who learns from whom, float64 ``[k, k]``.

    Raises:
      ValueError: it has another shape or negative entries, or a row does not sum to 1.
    """
    try:
        matrix = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    if matrix.shape != (models, models):
        got = f"shape {list(matrix.shape)}"
        raise checks.refusal("learns_from", f"[{models}, {models}]", got, "give a row a model")
    if not (np.isfinite(matrix).all() and (matrix >= 0).all()):
        raise checks.refusal("learns_from", "weights of at least 0", "others", "mend them")
    sums = matrix.sum(axis=1)
    if not np.allclose(sums, 1, atol=1e-6):
        row = int(np.argmax(np.abs(sums - 1)))
        got = f"{sums[row]:.6g} in row {row}"
        raise checks.refusal("learns_from", "rows that sum to 1", got, "divide them by their sums")
    return matrix


def _checked_metrics(task: Task, metrics_of: Any) -> tuple[str, ...]:
    names = (metrics_of,) if isinstance(metrics_of, str) else tuple(metrics_of)
    for name in names:
        checks.one_of("metrics_of", name, ("each", "pooled"))
    if "pooled" in names and task.pooled is None:
        raise checks.refusal(
            "metrics of a pooled law",
            "a task that tells them",
            "one without a function pooled(truth, params)",
            "leave pooled out, or ask for metrics of points, which are of what all publish",
        )
    return names


def check_grid(axes: Mapping[str, Any], metrics_of: Any) -> None:
    """Raises ``ValueError`` for metrics of each model that no dimension of a result can hold."""
    if "each" not in metrics_of:
        return
    models = list(axes["models"])
    if MODEL in axes:
        raise checks.refusal(
            "metrics of each model",
            f"a task without an axis {MODEL}, which is their dimension",
            f"one with {MODEL} {', '.join(map(str, axes[MODEL]))}",
            "leave each out",
        )
    if len(models) > 1:
        remedy = "sweep one at a time"
        raise checks.refusal("models beside metrics of each", "one number of them", models, remedy)


def check_size(size: int, models: int) -> None:
    """Raises ``ValueError`` for more models than points of a generation."""
    if models > size:
        raise checks.refusal(
            "models", f"at most the {size} points of a generation", models, "lower it"
        )


def _drawn(workflow: Workflow) -> ValueError:
    return checks.refusal(
        "workflow of models that learn from one another",
        "one that shows all rows of its batches",
        workflow.name,
        "leave out draw, or learns_from",
    )
