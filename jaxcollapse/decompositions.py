"""Decompositions that a device does slowly one after another, done for a whole batch at a time."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxcollapse.products import product

BATCHED = 32  # rows and columns up to which GPUs decompose a batch of matrices at once
SMALL = 1e-2  # of the largest singular value; those below are found in a second step


@jax.custom_jvp
def singular_values(matrix: jax.Array) -> jax.Array:
    """Singular values ``[K]`` of ``[M, K]``, K <= M, the largest first.

    On an NVIDIA GPU the library's decomposition takes larger matrices of a batch one by one: 2.2 ms
    each at K = 100 on an H100, where eigenvectors of a batch of 100 take 1.2 ms together.
    """
    if jax.default_backend() == "gpu" and max(matrix.shape) > BATCHED:
        return by_eigenvectors(matrix)
    return _by_library(matrix)


@singular_values.defjvp
def _slope(primals, tangents):
    """Of the library's decomposition, whose slope is defined where values are equal."""
    return jax.jvp(_by_library, primals, tangents)


def _by_library(matrix: jax.Array) -> jax.Array:
    return jnp.linalg.svd(matrix, compute_uv=False)


def by_eigenvectors(matrix: jax.Array) -> jax.Array:
    """The same from eigenvectors V of A'A, as lengths of the columns of A V.

    Values below 3e-4 of the largest are lost in A'A, whose eigenvectors mix them. A second step
    takes the columns of small values alone, scaled up. What is left is an error of rounding of the
    largest value.
    """
    scale = _largest(jnp.abs(matrix))
    turned = _turned(matrix / scale)
    lengths = jnp.linalg.norm(turned, axis=0)
    is_small = lengths < SMALL * _largest(lengths)
    rest = jnp.where(is_small, turned, 0.0)
    rest_scale = _largest(jnp.abs(rest))
    small = rest_scale * jnp.linalg.norm(_turned(rest / rest_scale), axis=0)
    found = jnp.concatenate([jnp.where(is_small, 0.0, lengths), small])
    return scale * jnp.sort(found, descending=True)[: matrix.shape[1]]


def _turned(matrix: jax.Array) -> jax.Array:
    """A V for eigenvectors V of A'A: columns at right angles to one another."""
    return product(matrix, jnp.linalg.eigh(product(matrix.T, matrix))[1])


def _largest(x: jax.Array) -> jax.Array:
    """The largest number, or 1 where all are 0."""
    most = jnp.max(x)
    return jnp.where(most > 0, most, 1.0)
