"""Singular values as a GPU finds them, against those of float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcollapse import decompositions


def matrices(size: int, smallest: float) -> np.ndarray:
    """Five of random directions whose singular values fall from 1 to the smallest."""
    rng = np.random.default_rng(size)
    left, right = np.linalg.qr(rng.standard_normal((2, 5, size, size)))[0]
    return (left * np.geomspace(1.0, smallest, size) @ right).astype(np.float32)


@pytest.mark.parametrize("scale", [1.0, 1e-12])
@pytest.mark.parametrize("smallest", [1.0, 1e-4, 1e-9])
def test_eigenvectors_give_the_singular_values(smallest, scale):
    given = matrices(60, smallest) * np.float32(scale)
    exact = np.linalg.svd(given.astype(np.float64), compute_uv=False)
    found = np.asarray(jax.vmap(decompositions.by_eigenvectors)(given), np.float64)
    assert np.all(np.diff(found) <= 0)
    np.testing.assert_allclose(found / exact[:, :1], exact / exact[:, :1], atol=3e-5)
    np.testing.assert_allclose(found.sum(-1), exact.sum(-1), rtol=3e-5)


def test_columns_of_zeros_and_nothing_at_all():
    given = matrices(40, 0.1)[0]
    given[:, 25:] = 0
    exact = np.linalg.svd(given.astype(np.float64), compute_uv=False)
    np.testing.assert_allclose(decompositions.by_eigenvectors(given), exact, atol=1e-6)
    assert not np.any(decompositions.by_eigenvectors(jnp.zeros((40, 40))))
    assert np.all(np.isnan(decompositions.by_eigenvectors(given * np.float32(np.nan))))


def test_the_slope_is_that_of_the_library(monkeypatch):
    given = matrices(40, 0.1)[0]

    def total(matrix):
        return jnp.sum(decompositions.singular_values(matrix))

    expected = jax.grad(lambda matrix: jnp.sum(jnp.linalg.svd(matrix, compute_uv=False)))(given)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    np.testing.assert_array_equal(jax.grad(total)(given), expected)
    # Where values are equal eigenvectors have no slope, and singular values have.
    assert np.all(np.isfinite(jax.grad(total)(2.0 * jnp.eye(40))))
