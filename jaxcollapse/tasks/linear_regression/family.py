"""Linear regression: weights fitted by least squares, used to label the inputs, and fitted again.

Real targets are ``y = X w* + s e`` with rows of X, e and w* standard normal; a model labels with
its own weights and the same noise. With a fixed design (the paper's) every generation has the
inputs of the first, with a fresh one its own.

On statistics, inputs and targets are never drawn. With R a square root of the Gram matrix,
``R' R = X' X``, all that a fit needs of the targets is ``c = R w + s z``, z standard normal: then
``X' y = R' c``, and the fit is ``R^+ c``. R' is a triangle of Bartlett's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws, theory
from jaxcollapse.chain import Task
from jaxcollapse.families import Mixing, TaskFamily
from jaxcollapse.metrics import Metric
from jaxcollapse.pools import POOLS, Points, Pool, points_pool, statistics_pool
from jaxcollapse.tasks.linear_regression.least_squares import (
    minimum_norm,
    pseudo_inverse,
    repeated_rows,
)
from jaxcollapse.workflows import Workflow

# Parameters ---------------------------------------------------------------------------------


class Truth(NamedTuple):
    """The real model and the test set.

    Attributes:
      weights: w*, ``[D]``.
      test_root: ``[K, D]``, a square root of ``X_test' X_test / M``.
      design: of a fixed design, what its fits share: inputs X ``[N, D]`` on points, R ``[D, D]``
        on statistics.
    """

    weights: jax.Array
    test_root: jax.Array
    design: jax.Array


class Batch(NamedTuple):
    """Labelled inputs, or their statistics.

    Attributes:
      inputs: X ``[N, D]``, for a fixed design the numbers of its rows, int32 ``[N]``; or R.
      targets: y ``[N]``, or c ``[D]``.
    """

    inputs: jax.Array
    targets: jax.Array


# Sample -------------------------------------------------------------------------------------


def sample(key: jax.Array, inputs: jax.Array, weights: jax.Array, noise_variance: Any) -> jax.Array:
    """Targets ``X w + s e`` ``[N]`` for inputs ``[N, D]``; also c for R in place of X."""
    std = jnp.sqrt(jnp.asarray(noise_variance, draws.float_dtype()))
    return inputs @ weights + std * draws.normal(key, (inputs.shape[0],))


def _gram_root(key: jax.Array, dim: int, num_rows: Any) -> jax.Array:
    """R ``[D, D]`` with the law of ``R' R = X' X`` for ``num_rows`` standard normal rows."""
    degrees = jnp.asarray(num_rows, draws.float_dtype()) - jnp.arange(
        dim, dtype=draws.float_dtype()
    )
    chi = jnp.sqrt(draws.chi_square(key, degrees))
    return draws.bartlett(draws.normal(key, (dim * (dim - 1) // 2,)), chi).T


# Fit ----------------------------------------------------------------------------------------


def fit(inputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Weights ``[D]`` of least squares and, among those, minimum norm.

    ``X^+ y`` with singular values up to ``max(N, D) eps`` times the largest counted as 0, which is
    ``numpy.linalg.pinv(X, rtol=None) @ y``.

    Args:
      inputs: X, ``[N, D]``; N < D and deficient ranks are allowed.
      targets: y, ``[N]``.

    Raises:
      ValueError: other shapes.
    """
    if np.ndim(inputs) != 2 or np.shape(targets) != np.shape(inputs)[:1]:
        raise checks.refusal(
            "inputs and targets",
            "[N, D] and [N]",
            f"{np.shape(inputs)} and {np.shape(targets)}",
            "give a row and a target for each example",
        )
    dtype = draws.float_dtype()
    return minimum_norm(jnp.asarray(inputs, dtype), jnp.asarray(targets, dtype))


def _seen_rows(view: Points, num_inputs: int) -> tuple[jax.Array, jax.Array]:
    """How often each row of a fixed design is in a view, and the sum of its targets: ``[N]``."""
    rows, targets = view.data
    counted = view.mask.astype(targets.dtype)
    nothing = jnp.zeros(num_inputs, targets.dtype)
    return nothing.at[rows].add(counted), nothing.at[rows].add(counted * targets)


# Evaluate -----------------------------------------------------------------------------------


def evaluate(truth: Truth, weights: jax.Array) -> dict[str, jax.Array]:
    """How far fitted weights are from the real ones.

    Returns:
      ``mse``: the mean squared error on the test inputs, of targets without noise.
      ``excess_risk``: its expectation over inputs, ``|w - w*|^2``. In float32 errors of weights
      below 1e-7, so risks below 1e-14, are rounding.
    """
    error = weights - truth.weights
    return {"mse": jnp.sum((truth.test_root @ error) ** 2), "excess_risk": jnp.sum(error**2)}


METRICS = {
    "mse": Metric(
        "Mean squared error on noiseless test targets", "target units squared", scale="log"
    ),
    "excess_risk": Metric(
        "Expected squared error on a new input", "target units squared", scale="log"
    ),
}

# Pools --------------------------------------------------------------------------------------


class FixedView(NamedTuple):
    """A view of targets whose inputs are those of a fixed design.

    Attributes:
      design: see ``Truth``; on statistics its pseudo-inverse.
      targets: the view of them alone.
    """

    design: jax.Array
    targets: Any

    @property
    def share(self) -> jax.Array:
        """The share of real data."""
        return self.targets.share

    @property
    def mask(self) -> jax.Array:
        """The rows that count, of a view of rows."""
        return self.targets.mask


def _fixed_pool(inner: Pool, design: jax.Array) -> Pool:
    """A pool of targets that shows the design with them."""
    return Pool(
        inner.start,
        inner.add,
        all=lambda state: FixedView(design, inner.all(state)),
        draw=lambda key, state, size: FixedView(design, inner.draw(key, state, size)),
        mix=lambda key, state, *counts: FixedView(design, inner.mix(key, state, *counts)),
    )


def _merge_roots(a: Batch, b: Batch) -> Batch:
    """Two sets of data pooled: R and c of the rows of both, by a QR decomposition."""
    orthogonal, root = jnp.linalg.qr(jnp.concatenate([a.inputs, b.inputs]))
    return Batch(root, orthogonal.T @ jnp.concatenate([a.targets, b.targets]))


# Task ---------------------------------------------------------------------------------------


def task(
    dim: int,
    num_samples: int | jax.Array,
    noise_variance: float | jax.Array = 1.0,
    design: str = "fixed",
    num_test: int = 1000,
    pool: str = "auto",
) -> Task:
    """Least squares on N examples in D dimensions.

    Args:
      dim: D.
      num_samples: N, real examples and examples of every generation; may be traced when only the
        statistics pool is used.
      noise_variance: s^2, of the targets; may be traced.
      design: ``fixed``: one X for all generations, as published; ``fresh``: one for each.
      num_test: M, test inputs, drawn anew for each seed.
      pool: ``"statistics"`` draws what a fit needs of each generation, exact in law; ``"points"``
        draws inputs and targets; ``"auto"`` uses statistics where the workflow allows.

    Raises:
      ValueError: a count is not a whole number of at least 1, the variance is negative or not
        finite, or a name is unknown.
    """
    dim = checks.whole_number("dim", dim)
    num_test = checks.whole_number("num_test", num_test)
    checks.one_of("design", design, ("fixed", "fresh"))
    checks.one_of("pool", pool, POOLS)
    if not checks.is_traced(num_samples):
        num_samples = checks.whole_number("num_samples", num_samples)
    if not checks.is_traced(noise_variance) and not 0 <= noise_variance < float("inf"):
        raise checks.refusal(
            "noise_variance", "a finite number of at least 0", noise_variance, "change it"
        )
    statistics = _statistics_task(dim, num_samples, noise_variance, design == "fixed", num_test)
    if pool == "statistics":
        return statistics
    points = _points_task(dim, num_samples, noise_variance, design == "fixed", num_test)
    return points if pool == "points" else points._replace(statistics=statistics)


def _points_task(dim: int, num_samples: Any, noise_variance: Any, fixed: bool, num_test: int):
    def size() -> int:
        return checks.known_size("num_samples", num_samples)

    def sample_batch(key, model):
        weights, inputs = model
        if fixed:
            targets = sample(key, inputs, weights, noise_variance)
            return Batch(jnp.arange(size(), dtype=jnp.int32), targets)
        inputs = draws.normal_points(draws.fold_in(key, 1), size(), dim)
        return Batch(inputs, sample(key, inputs, weights, noise_variance))

    def init(key):
        weights = draws.normal(draws.fold_in(key, 2), (dim,))
        test = draws.normal_points(draws.fold_in(key, 3), num_test, dim)
        inputs = draws.normal_points(draws.fold_in(key, 4), size(), dim)
        truth = Truth(weights, jnp.linalg.qr(test, mode="r") / np.sqrt(num_test), inputs)
        return truth, sample_batch(key, (weights, inputs))

    def pool(truth, capacity):
        rows = points_pool(capacity)
        return _fixed_pool(rows, truth.design) if fixed else rows

    def fit_view(key, view):
        if fixed:
            count, total = _seen_rows(view.targets, size())
            rows = view.targets.count
            rows = jnp.sum(view.mask, dtype=np.int32) if rows is None else rows
            return repeated_rows(view.design, count, total, rows), view.design
        inputs, targets = view.data
        if view.count is not None:
            once = view.mask.astype(targets.dtype)
            return repeated_rows(inputs, once, once * targets, view.count, distinct=True), None
        rank = jnp.minimum(jnp.sum(view.mask, dtype=np.int32), np.int32(dim))
        kept = jnp.where(view.mask[:, None], inputs, 0.0), jnp.where(view.mask, targets, 0.0)
        return minimum_norm(*kept, rank), None

    return Task(
        init=init,
        pool=pool,
        fit=fit_view,
        noise=lambda key: key,
        sample=sample_batch,
        evaluate=lambda truth, model: evaluate(truth, model[0]),
    )


def _statistics_task(dim: int, num_samples: Any, noise_variance: Any, fixed: bool, num_test: int):
    def sample_batch(key, model):
        weights, root = model
        if not fixed:
            root = _gram_root(draws.fold_in(key, 1), dim, num_samples)
        targets = sample(key, root, weights, noise_variance)
        return Batch(root, targets)

    def init(key):
        weights = draws.normal(draws.fold_in(key, 2), (dim,))
        test_root = _gram_root(draws.fold_in(key, 3), dim, num_test) / np.sqrt(num_test)
        root = _gram_root(draws.fold_in(key, 4), dim, num_samples)
        return Truth(weights, test_root, root), sample_batch(key, (weights, root))

    def pool(truth, capacity):
        if not fixed:
            return statistics_pool(_merge_roots)
        # All generations share R: what accumulates is the sum of their c.
        inner = statistics_pool(lambda a, b: Batch(a.inputs, a.targets + b.targets))
        return _fixed_pool(inner, pseudo_inverse(truth.design, rank_of_one))

    # Of rows in general position; cut to D before it is multiplied, so that nothing overflows.
    rank_of_one: Any
    if checks.is_traced(num_samples):
        rank_of_one = jnp.minimum(jnp.asarray(num_samples, np.int32), np.int32(dim))
    else:
        rank_of_one = np.int32(min(num_samples, dim))

    def rank_of(batches):
        return jnp.minimum(batches * rank_of_one, np.int32(dim))

    def fit_view(key, view):
        if fixed:
            content, batches = view.targets.content, view.targets.batches
            mean = content.targets / batches.astype(content.targets.dtype)
            return view.design @ mean, content.inputs
        content = view.content
        rank = rank_of(view.batches)
        return minimum_norm(content.inputs, content.targets, rank), content.inputs

    return Task(
        init=init,
        pool=pool,
        fit=fit_view,
        noise=lambda key: key,
        sample=sample_batch,
        evaluate=lambda truth, model: evaluate(truth, model[0]),
    )


def _traced(workflow: Workflow, point: Mapping[str, Any], options: Mapping[str, Any]) -> dict:
    traced = {"noise_variance": float(point["noise_variance"])}
    if not workflow.needs_points and options["pool"] != "points":
        traced["num_samples"] = point["num_samples"]
    return traced


def _theory(metric, workflow, generation, options, dim, noise_variance, num_samples):
    if options.get("design", "fixed") != "fixed" or metric not in METRICS:
        return None
    return theory.regression_error(workflow, generation, dim, num_samples, noise_variance)


FAMILY = TaskFamily(
    name="linear-regression",
    make=task,
    axes=("dim", "noise_variance", "num_samples"),
    metrics=METRICS,
    traced=_traced,
    # Per generation: overheads, and a decomposition of N x D.
    work=lambda dim, noise_variance, num_samples: 20.0 + dim * min(num_samples, 4 * dim),
    theory=_theory,
    presets={"corrected": {"design": "fixed"}, "authors": {"design": "fixed"}},
    # Of a mixture each example is a new one.
    mixing=Mixing(options={"design": "fresh"}),
)
