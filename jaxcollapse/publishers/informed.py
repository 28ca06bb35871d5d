"""Tasks whose models know what they are held against, for publishers that look at it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcollapse import checks, draws
from jaxcollapse.pools import beside
from jaxcollapse.task import FITTED, JUDGED, Coordinates, Task, nothing_published, with_fields

# Keys that a publisher folds from a batch's are numbered from here on, far from a task's own.
KEYS = 2**20


class Informed(NamedTuple):
    """A model beside what it is held against.

    Attributes:
      model: as the task keeps it.
      truth: likewise.
    """

    model: Any
    truth: Any


class Draws(NamedTuple):
    """What one published batch draws from; keys of publishers in one another never meet.

    Attributes:
      own: the noise of a batch of the task's, for real data.
      several: that of several batches, stacked.
      key: for choosing among them.
    """

    own: Any
    several: Any
    key: jax.Array


def on_points(task: Task, what: str) -> Task:
    """The task on points alone, whose rows a publisher looks at.

    Raises:
      ValueError: it is to use statistics.
    """
    if not isinstance(task, Task):
        raise checks.refusal(f"task of {what}", "a Task", repr(task), "make one of a family")
    if task.use == "statistics":
        raise checks.refusal(
            f"pool of what is {what}",
            "auto or points, whose rows it looks at",
            "statistics",
            "use pool='auto'",
        )
    return with_fields(task, statistics=None, use="points")


def of_any_rows(task: Task) -> Task:
    """The task, if a batch of it may be of any rows.

    Raises:
      ValueError: its batches share inputs that none of them may lack.
    """
    if coordinates_of(task).published is nothing_published:
        raise checks.refusal(
            "task whose rows are chosen",
            "one of which any rows make a batch",
            "one whose batches share their inputs",
            "use design='fresh'",
        )
    return task


def of_rows_that_move(task: Task, what: str) -> Task:
    """The task, if its rows may change places.

    Raises:
      ValueError: their places say whose they are.
    """
    if coordinates_of(task).ordered:
        raise checks.refusal(
            f"task of what is {what}",
            "one whose rows may change places",
            "one whose models learn from one another, which their places tell apart",
            "leave out learns_from, or let the ensemble be the outer one",
        )
    return task


def coordinates_of(task: Task) -> Coordinates:
    """Those of the task, or the ones of a task that has none of its own."""
    if task.coordinates is not None:
        return task.coordinates
    return Coordinates(
        truth=lambda truth: truth,
        model=lambda params: params,
        rows=lambda truth, batch: batch,
        view=lambda view: view,
        fitted=lambda view, model: model,
        published=lambda params, rows: rows,
    )


def informed(task: Task) -> Task:
    """The task on points, whose models are ``Informed``; its pool shows them the truth."""
    own = coordinates_of(task)
    takes = checks.arguments(task.fit, "fit", FITTED, 2)

    def fit(key, seen, generation, before):
        before = None if before is None else before.model
        return Informed(task.fit(*(key, seen.view, generation, before)[:takes]), seen.known)

    def evaluate(truth, params, published, key):
        return task.evaluate(*(truth, params.model, published, key)[:judges])

    judges = checks.arguments(task.evaluate, "evaluate", JUDGED, 2)
    pooled = task.pooled
    return with_fields(
        task,
        pool=lambda truth, *given: beside(task.pool(truth, *given), truth),
        fit=of_so_many(fit, takes),
        evaluate=of_so_many(evaluate, judges),
        coordinates=own._replace(
            model=lambda params: own.model(params.model),
            view=lambda seen: own.view(seen.view),
            fitted=lambda seen, model: Informed(own.fitted(seen.view, model), seen.known),
            published=lambda params, rows: own.published(params.model, rows),
        ),
        pooled=pooled and (lambda truth, params: pooled(truth, params.model)),
        # These are of models that know less.
        tempered=None,
        central=None,
        scores={
            name: lambda truth, params, batch, score=score: score(truth, params.model, batch)
            for name, score in task.scores.items()
        },
    )


def of_so_many(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """A function of four arguments as one that requires the first 2, 3 or 4 of them."""
    if count == 2:
        return lambda a, b: function(a, b, None, None)
    if count == 3:
        return lambda a, b, c: function(a, b, c, None)
    return lambda a, b, c, d: function(a, b, c, d)


def batches_of(task: Task, count: Callable[[], int]) -> dict[str, Callable[..., Any]]:
    """``init``, ``real`` and ``noise`` of a task that publishes what it chooses of several batches.

    What a batch draws from is ``Draws``: real data are what they were without a publisher.
    """

    def noise(key):
        numbers = jnp.arange(count(), dtype=jnp.uint32) + jnp.uint32(KEYS)
        several = jax.vmap(task.noise)(draws.fold_in(key, numbers))
        return Draws(task.noise(key), several, draws.fold_in(key, KEYS - 1))

    return {
        "noise": noise,
        "init": lambda noise: task.init(noise.own),
        "real": lambda noise, truth: task.real(noise.own, truth),
    }


def rows_of(task: Task) -> Callable[[], int]:
    """How many rows a batch has, found when it is asked for first; nothing is run."""
    return functools.cache(lambda: shapes_of_rows(task)[0].shape[0])


def shapes_of_rows(task: Task) -> list[Any]:
    """Shapes and types of the arrays of a batch, in real coordinates; nothing is run."""
    own = coordinates_of(task)

    def rows(key):
        return own.rows(*task.init(task.noise(key)))

    return jax.tree.leaves(jax.eval_shape(rows, jax.eval_shape(jax.random.key, 0)))
