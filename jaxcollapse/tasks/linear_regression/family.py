"""Linear regression: weights fitted, used to label the inputs, and fitted again, as a task.

With a fixed design (the paper's) every generation has the inputs of the first, with a fresh one its
own.

On statistics, inputs and targets are never drawn. With R a square root of the Gram matrix,
``R' R = X' X``, all that a fit needs of the targets is ``c = R w + s z``, z standard normal: then
``X' y = R' c``, and the fit is ``R^+ c``. R' is a triangle of Bartlett's.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws, parts, theory
from jaxcollapse.families import MixtureFacts, TaskFamily
from jaxcollapse.parameters import Axis, Option, declared
from jaxcollapse.pools import beside, points_pool
from jaxcollapse.products import product
from jaxcollapse.statistics import statistics_pool
from jaxcollapse.task import Coordinates, Task, with_statistics
from jaxcollapse.tasks.linear_regression.fitting import (
    METRICS,
    Batch,
    Model,
    Truth,
    evaluate,
    fit_fixed,
    fit_view,
    gram_root,
    sample,
)
from jaxcollapse.tasks.linear_regression.least_squares import minimum_norm, pseudo_inverse
from jaxcollapse.workflows import Workflow


@declared
def task(
    dim: Annotated[int, Axis(1, 3, 10, 32, 100, mixture=(1, 10), symbol="D", least=1)],
    num_samples: Annotated[
        int, Axis(10, 32, 100, 316, 1000, symbol="N", least=1, batch=True, traced="statistics")
    ],
    noise_variance: Annotated[float, Axis(0.1, 1.0, 10.0, mixture=(1.0,), least=0, traced=True)] = (
        1.0
    ),
    design: Literal["fixed", "fresh"] = "fixed",
    num_test: Annotated[int, Option(least=1)] = 1000,
    pool: Literal["auto", "points", "statistics"] = "auto",
) -> Task:
    """Linear regression: weights fitted by least squares, used to label, and fitted again.

    ``noise_variance`` may be traced; so may ``num_samples`` where the statistics pool is used.

    Args:
      dim: D, the number of dimensions.
      num_samples: N, the number of real examples and of the examples of every generation.
      noise_variance: s^2, the variance of the noise in the targets.
      design: "fixed" is one X for all generations, as published; "fresh" is one for each.
      num_test: M, the number of test inputs, which are drawn anew for each seed.
      pool: "statistics" draws what a fit needs of each generation, exact in law; "points" draws
        inputs and targets; "auto" uses statistics where they serve the workflow.

    Raises:
      ValueError: a count is not a whole number of at least 1, the variance is negative or not
        finite, or a name is unknown.
    """
    given = dim, num_samples, noise_variance, design == "fixed", num_test
    return with_statistics(_points_task(*given), _statistics_task(*given), pool)


def _noise_of(model: Model, noise_variance: Any) -> Any:
    """The variance of the noise in the labels of a model."""
    return noise_variance if model.temperature is None else noise_variance * model.temperature


def _tempered(model: Model, temperature: Any) -> Model:
    before = 1.0 if model.temperature is None else model.temperature
    return model._replace(temperature=before * temperature)


def _pooled(truth: Truth, models: Model) -> dict[str, jax.Array]:
    """Of the mean of the pooled law, whose weights are those of all models on average."""
    return evaluate(truth, jnp.mean(models.weights, axis=0))


def _closeness(weights: jax.Array, batch: Batch) -> jax.Array:
    """Minus half the squared error of each label: its log-density for a noise of variance 1."""
    return -0.5 * (batch.targets - product(batch.inputs, weights)) ** 2


_SCORES = {
    "real": lambda truth, model, batch: _closeness(truth.weights, batch),
    "model": lambda truth, model, batch: _closeness(model.weights, batch),
}


def _merge_roots(a: Batch, b: Batch) -> Batch:
    """Two sets of data pooled: R and c of the rows of both, by a QR decomposition."""
    orthogonal, root = jnp.linalg.qr(jnp.concatenate([a.inputs, b.inputs]))
    return Batch(root, product(orthogonal.T, jnp.concatenate([a.targets, b.targets])))


def _scaled_roots(batch: Batch, times: Any) -> Batch:
    """R and c of data of which each row counts as so many.

    As none they count as fewer than rounding tells from it, so that the root has a slope.
    """
    least = jnp.finfo(times.dtype).eps / 16
    few = times < least
    root = jnp.sqrt(jnp.where(few, least, times))
    root = jnp.where(few, root + 0.5 * (times - jax.lax.stop_gradient(times)) / root, root)
    return jax.tree.map(lambda x: root * x, batch)


def _joined_roots(batches: Batch, counts: jax.Array) -> Batch:
    """R and c of sets of data, stacked ``[P, ...]``, of which each row counts as so many."""
    scaled = jax.vmap(_scaled_roots)(batches, counts)
    orthogonal, root = jnp.linalg.qr(scaled.inputs.reshape(-1, batches.inputs.shape[-1]))
    return Batch(root, product(orthogonal.T, scaled.targets.ravel()))


def _points_task(dim: int, num_samples: Any, noise_variance: Any, fixed: bool, num_test: int):
    def size() -> int:
        return checks.known_size("num_samples", num_samples)

    def sample_batch(key, model):
        noise = _noise_of(model, noise_variance)
        if fixed:
            targets = sample(key, model.inputs, model.weights, noise)
            return Batch(jnp.arange(size(), dtype=jnp.int32), targets)
        inputs = draws.normal_points(draws.fold_in(key, 1), size(), dim)
        return Batch(inputs, sample(key, inputs, model.weights, noise))

    def init(key):
        weights = draws.normal(draws.fold_in(key, 2), (dim,))
        test = draws.normal_points(draws.fold_in(key, 3), num_test, dim)
        inputs = draws.normal_points(draws.fold_in(key, 4), size(), dim)
        truth = Truth(weights, jnp.linalg.qr(test, mode="r") / np.sqrt(num_test), inputs)
        return truth, real(key, truth)

    def real(key, truth):
        return sample_batch(key, Model(truth.weights, truth.design))

    def pool(truth, workflow, num_generations):
        if not fixed:
            return points_pool(workflow, num_generations)
        rows = points_pool(workflow, num_generations, lambda batch: _labelled(truth.design, batch))
        return beside(rows, truth.design)

    def fit(key, view):
        if fixed:
            return Model(fit_fixed(view.view, view.known), view.known)
        return Model(fit_view(view))

    return Task(
        init=init,
        pool=pool,
        fit=fit,
        sample=sample_batch,
        evaluate=lambda truth, model: evaluate(truth, model.weights),
        real=real,
        coordinates=_fixed_coordinates() if fixed else _fresh_coordinates(),
        tempered=_tempered,
        pooled=_pooled,
        scores=_SCORES,
    )


def _labelled(design: jax.Array, batch: Batch) -> Batch:
    """A batch of a fixed design with its inputs in place of their numbers."""
    return Batch(design[batch.inputs], batch.targets)


def _fixed_coordinates() -> Coordinates:
    """Models as weights ``[D]``, data as inputs and targets."""
    return Coordinates(
        truth=lambda truth: truth,
        model=lambda model: model.weights,
        rows=lambda truth, batch: _labelled(truth.design, batch),
        view=lambda view: view.view._replace(data=_labelled(view.known, view.view.data)),
        fitted=lambda view, weights: Model(weights, view.known),
    )


def _fresh_coordinates() -> Coordinates:
    return Coordinates(
        truth=lambda truth: truth,
        model=lambda model: model.weights,
        rows=lambda truth, batch: batch,
        view=lambda view: view,
        fitted=lambda view, weights: Model(weights),
        published=lambda model, batch: batch,
    )


def _statistics_task(dim: int, num_samples: Any, noise_variance: Any, fixed: bool, num_test: int):
    def sample_batch(noise, model):
        key, rows = noise
        if rows is not None and rows.ndim:
            of_parts = parts.keys_of(key, rows), rows
            return jax.vmap(lambda *one: sample_batch(one, model))(*of_parts)
        root = model.inputs
        if not fixed:
            root = gram_root(draws.fold_in(key, 1), dim, num_samples if rows is None else rows)
        targets = sample(key, root, model.weights, _noise_of(model, noise_variance))
        return Batch(root, targets)

    def noise(key, rows=None):
        return key, rows

    def serves(workflow: Workflow) -> bool:
        # Batches of a fixed design have one set of inputs, of which parts of them have others.
        return not workflow.needs_points if fixed else parts.served(workflow, num_samples, dim)

    def init(noise):
        key, _ = noise
        weights = draws.normal(draws.fold_in(key, 2), (dim,))
        test_root = gram_root(draws.fold_in(key, 3), dim, num_test) / np.sqrt(num_test)
        root = gram_root(draws.fold_in(key, 4), dim, num_samples)
        truth = Truth(weights, test_root, root)
        return truth, real(noise, truth)

    def real(noise, truth):
        return sample_batch(noise, Model(truth.weights, truth.design))

    def pool(truth, workflow, num_generations):
        if not fixed:
            how = _scaled_roots, _joined_roots, num_samples
            return statistics_pool(_merge_roots, workflow, num_generations, *how)

        # All generations share R: what is pooled is the sum of their c.
        def merge(a, b):
            return Batch(a.inputs, a.targets + b.targets)

        def scaled(batch, times):
            return batch._replace(targets=times * batch.targets)

        inner = statistics_pool(merge, workflow, num_generations, scaled)
        return beside(inner, pseudo_inverse(truth.design, rank_of_one))

    # Of rows in general position; cut to D before it is multiplied, so that nothing overflows.
    rank_of_one: Any
    if checks.is_traced(num_samples):
        rank_of_one = jnp.minimum(jnp.asarray(num_samples, np.int32), np.int32(dim))
    else:
        rank_of_one = np.int32(min(num_samples, dim))

    def rank_of(batches):
        return jnp.minimum(batches * rank_of_one, np.int32(dim))

    def fit(key, view):
        if fixed:
            content, batches = view.view.content, view.view.batches
            mean = content.targets / batches.astype(content.targets.dtype)
            return Model(product(view.known, mean), content.inputs)
        content = view.content
        rank = rank_of(view.counted)
        if view.rows is not None:
            rank = jnp.minimum(view.rows, dim).astype(np.int32)
        return Model(minimum_norm(content.inputs, content.targets, rank), content.inputs)

    return Task(
        init=init,
        pool=pool,
        fit=fit,
        sample=sample_batch,
        evaluate=lambda truth, model: evaluate(truth, model.weights),
        real=real,
        serves=serves,
        noise=noise,
        num_rows=None if fixed else num_samples,
        coordinates=_fresh_coordinates(),
        tempered=_tempered,
        pooled=_pooled,
    )


def _closed_form(
    metric, workflow, generation, options, dim, noise_variance, num_samples, temperature=1.0
):
    if metric not in METRICS:
        return None
    fixed = options.get("design", "fixed") == "fixed"
    return theory.regression_error(
        workflow, generation, dim, num_samples, noise_variance, fixed, temperature
    )


FAMILY = TaskFamily(
    name="linear-regression",
    task=task,
    metrics=METRICS,
    # Per generation: overheads, and a decomposition of N x D.
    relative_cost=lambda dim, noise_variance, num_samples: 20.0 + dim * min(num_samples, 4 * dim),
    closed_form=_closed_form,
    presets={"corrected": {"design": "fixed"}, "authors": {"design": "fixed"}},
    # Of a mixture each example is a new one.
    mixtures=MixtureFacts(options={"design": "fresh"}),
)
