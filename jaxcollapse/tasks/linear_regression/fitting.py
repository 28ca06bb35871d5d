"""Least squares on arrays: targets sampled, weights fitted, and judged.

Real targets are ``y = X w* + s e`` with rows of X, e and w* standard normal; a model labels with
its own weights and the same noise.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws
from jaxcollapse.metrics import Metric
from jaxcollapse.pools import Chosen, View
from jaxcollapse.products import product
from jaxcollapse.tasks.linear_regression.least_squares import (
    minimum_norm,
    repeated_rows,
    weighted_rows,
)

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


class Model(NamedTuple):
    """Fitted weights, and what their labels need.

    Attributes:
      weights: w, ``[D]``.
      inputs: of a fixed design X ``[N, D]``, or R ``[D, D]`` on statistics; else None, or whatever.
      temperature: what the variance of the noise of its labels is multiplied by; None for nothing.
    """

    weights: jax.Array
    inputs: Any = None
    temperature: Any = None


# Sample -------------------------------------------------------------------------------------


def sample(key: jax.Array, inputs: jax.Array, weights: jax.Array, noise_variance: Any) -> jax.Array:
    """Targets ``X w + s e`` ``[N]`` for inputs ``[N, D]``; also c for R in place of X."""
    std = jnp.sqrt(jnp.asarray(noise_variance, draws.float_dtype()))
    return product(inputs, weights) + std * draws.normal(key, (inputs.shape[0],))


def gram_root(key: jax.Array, dim: int, num_rows: Any) -> jax.Array:
    """R ``[D, D]`` with the law of ``R' R = X' X`` for ``num_rows`` standard normal rows."""
    degrees = jnp.asarray(num_rows, draws.float_dtype()) - jnp.arange(
        dim, dtype=draws.float_dtype()
    )
    chi = jnp.sqrt(draws.chi_square(key, degrees))
    return draws.bartlett(draws.normal(key, (dim, dim)), chi).T


# Fit ----------------------------------------------------------------------------------------


def fit(inputs: jax.Array, targets: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """Weights ``[D]`` of least squares and, among those, minimum norm.

    ``X^+ y`` with singular values up to ``max(N, D) eps`` times the largest counted as 0, which is
    ``numpy.linalg.pinv(X, rtol=None) @ y``.

    Args:
      inputs: X, ``[N, D]``; N < D and deficient ranks are allowed.
      targets: y, ``[N]``.
      weights: ``[N]``, of how many examples each one counts as; 1 by default.

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
    inputs, targets = jnp.asarray(inputs, dtype), jnp.asarray(targets, dtype)
    if weights is None:
        return minimum_norm(inputs, targets)
    if np.shape(weights) != np.shape(targets):
        raise checks.refusal(
            "weights", f"shape {np.shape(targets)}", np.shape(weights), "one for each example"
        )
    return weighted_rows(inputs, targets, jnp.asarray(weights, dtype))


def fit_view(view: View) -> jax.Array:
    """``fit`` to the examples of a view, with inputs in general position."""
    inputs, targets = view.data
    if view.weighted:
        return weighted_rows(inputs, targets, view.weights)
    if view.num_rows is not None:
        once = view.mask.astype(targets.dtype)
        return repeated_rows(inputs, once, once * targets, view.num_rows, distinct=True)
    rank = jnp.minimum(jnp.sum(view.mask, dtype=np.int32), np.int32(inputs.shape[1]))
    kept = jnp.where(view.mask[:, None], inputs, 0.0), jnp.where(view.mask, targets, 0.0)
    return minimum_norm(*kept, rank)


def fit_fixed(view: View, design: jax.Array) -> jax.Array:
    """``fit`` to a view of targets, ``Batch`` with the numbers of rows of one design ``[N, D]``."""
    count, total = _seen_rows(view, design.shape[0])
    if isinstance(view, Chosen):  # any rows: many of them may be few of the design
        return repeated_rows(design, count, total, None)
    rows = view.num_rows
    if rows is None:
        rows = jnp.sum(view.mask, dtype=np.int32)
    return repeated_rows(design, count, total, rows)


def _seen_rows(view: View, num_inputs: int) -> tuple[jax.Array, jax.Array]:
    """How often each row of a fixed design counts, and the sum of its targets: ``[N]``."""
    rows, targets = view.data
    counted = view.inclusion.astype(targets.dtype)
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
    return {
        "mse": jnp.sum((product(truth.test_root, error)) ** 2),
        "excess_risk": jnp.sum(error**2),
    }


METRICS = {
    "mse": Metric(
        "Mean squared error on noiseless test targets",
        "target units squared",
        scale="log",
        speaks_for=("loss", "law"),
        real=0.0,
        pooled=True,
    ),
    "excess_risk": Metric(
        "Expected squared error on a new input",
        "target units squared",
        scale="log",
        speaks_for=("loss", "law"),
        real=0.0,
        pooled=True,
    ),
}
