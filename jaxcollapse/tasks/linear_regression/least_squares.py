"""Least squares of minimum norm, whatever the shape and the rank."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse.pools import indices_of
from jaxcollapse.products import product


def pseudo_inverse(matrix: jax.Array, rank: jax.Array | int | None = None) -> jax.Array:
    """Moore-Penrose inverse ``[D, N]`` of ``[N, D]``, through singular values.

    Args:
      matrix: ``[N, D]``.
      rank: how many singular values are not 0, if known; otherwise those above
        ``max(N, D) eps`` times the largest, the cut-off of ``numpy.linalg.pinv(rtol=None)``.
    """
    left, inverse, right = _inverse_parts(matrix, rank)
    return product(right.T * inverse[None, :], left.T)


def minimum_norm(
    inputs: jax.Array, targets: jax.Array, rank: jax.Array | int | None = None
) -> jax.Array:
    """The shortest w ``[D]`` of all that make ``|X w - y|`` least.

    Args:
      inputs: X, ``[N, D]``.
      targets: y, ``[N]``.
      rank: of X: see ``pseudo_inverse``.
    """
    left, inverse, right = _inverse_parts(inputs, rank)
    return product(right.T, inverse * product(left.T, targets))


def _inverse_parts(matrix, rank):
    left, values, right = jnp.linalg.svd(matrix, full_matrices=False)
    if rank is None:
        cut_off = max(matrix.shape) * jnp.finfo(matrix.dtype).eps * values[0]
        keep = values > cut_off
    else:
        keep = jnp.arange(values.size, dtype=np.int32) < rank
    return left, jnp.where(keep, 1.0 / jnp.where(keep, values, 1.0), 0.0), right


DIM_FOR_NORMAL_EQUATIONS = 8


def rows_for_normal_equations(dim: int) -> int:
    """How many rows make the normal equations safe.

    Of 4 D rows drawn with replacement fewer than D differ with a probability below 1e-14 for
    D >= 8, of 3 D rows below 1e-19 for D >= 32; X is then conditioned well.
    """
    return 3 * dim if dim >= 32 else 4 * dim


def repeated_rows(
    inputs: jax.Array,
    count: jax.Array,
    total: jax.Array,
    num_rows: jax.Array | None,
    distinct: bool = False,
) -> jax.Array:
    """``minimum_norm`` for a design whose row i was seen ``count_i`` times.

    Args:
      inputs: X, ``[N, D]``, rows in general position.
      count: ``[N]``, may be 0.
      total: ``[N]``, the sum of the targets seen with each row; 0 where there were none.
      num_rows: how many rows were seen in all. Where they are many the normal equations serve;
        a number that differs between chains mapped together has both ways computed. None where
        they may be few rows seen many times, which the decomposition takes.
      distinct: whether no row was seen twice, so that many rows are many directions.
    """
    dim = inputs.shape[1]
    most = rows_for_normal_equations(dim)
    if (
        num_rows is None
        or inputs.shape[0] < most
        or (dim < DIM_FOR_NORMAL_EQUATIONS and not distinct)
    ):
        return _by_decomposition(inputs, count, total)

    def of_few_rows(inputs, count, total):
        if distinct:  # then fewer than ``most`` have a count
            index = indices_of(count > 0, most)
            inputs, count, total = (
                x.at[index].get(mode="fill", fill_value=0) for x in (inputs, count, total)
            )
        return _by_decomposition(inputs, count, total)

    return jax.lax.cond(num_rows >= most, _by_normal_equations, of_few_rows, inputs, count, total)


def weighted_rows(inputs: jax.Array, targets: jax.Array, weights: jax.Array) -> jax.Array:
    """``minimum_norm`` where each example counts as ``weights`` ``[N]`` of them."""
    some = weights > 0
    root = jnp.where(some, jnp.sqrt(jnp.where(some, weights, 1.0)), 0.0)
    left, inverse, right = _inverse_parts(inputs * root[:, None], None)
    found = product(right.T, inverse * product(left.T, targets * root))
    # Rows that count for nothing bring nothing, but for the slope that the root does not have.
    brought = jnp.where(some, 0.0, weights) * (targets - product(inputs, found))
    by_rows = product(right, product(inputs.T, brought))
    return found + product(right.T, inverse**2 * by_rows)


def _by_normal_equations(inputs, count, total):
    gram = product((inputs * count[:, None]).T, inputs)
    factor = jax.scipy.linalg.cho_factor(gram)
    weights = jax.scipy.linalg.cho_solve(factor, product(inputs.T, total))
    # A second step on what is left takes the rounding of the squared condition back.
    residual = total - count * product(inputs, weights)
    return weights + jax.scipy.linalg.cho_solve(factor, product(inputs.T, residual))


def _by_decomposition(inputs, count, total):
    # With a slope of 0, not infinity, where there are none.
    safe = jnp.sqrt(jnp.where(count > 0, count, 1.0))
    root = jnp.where(count > 0, safe, 0.0)
    distinct = jnp.sum(count > 0, dtype=np.int32)
    rank = jnp.minimum(distinct, np.int32(inputs.shape[1]))
    return minimum_norm(inputs * root[:, None], total / safe, rank)
