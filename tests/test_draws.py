"""Draws: bit for bit those of jax.random where that is promised, exact in law elsewhere."""

import jax
import numpy as np
import pytest
from scipy import stats

import jaxcollapse as jc
from jaxcollapse import draws


def key_words(keys):
    return np.asarray(jax.random.key_data(keys))


def test_normal_gives_the_numbers_of_jax():
    key = jax.random.key(42)
    for shape in [(1,), (1001,), (7, 3), (2, 3, 5)]:
        np.testing.assert_array_equal(draws.normal(key, shape), jax.random.normal(key, shape))


def test_fold_in_gives_the_keys_of_jax():
    key = jax.random.key(3)
    numbers = np.asarray([[0, 1], [17, 2**31]], np.uint32)
    ours = key_words(draws.fold_in(key, numbers))
    for index in np.ndindex(numbers.shape):
        theirs = key_words(jax.random.fold_in(key, numbers[index]))
        np.testing.assert_array_equal(ours[index], theirs)


def test_seed_is_a_jax_key():
    np.testing.assert_array_equal(
        key_words(jc.seed_keys([5, 17, 2**32 - 1])[1]), key_words(jax.random.key(17))
    )


@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg"])
def test_other_generators_are_left_to_jax(impl):
    key = jax.random.key(1, impl=impl)
    np.testing.assert_array_equal(draws.normal(key, (5,)), jax.random.normal(key, (5,)))
    assert np.isfinite(draws.chi_square(key, np.full(5, 3.0, np.float32))).all()


@pytest.mark.parametrize("dof", [1, 2, 3, 9, 999])
def test_chi_square_law(dof):
    drawn = draws.chi_square(jax.random.key(dof), np.full(100_000, dof, np.float32))
    assert stats.kstest(np.asarray(drawn, np.float64), "chi2", args=(dof,)).pvalue > 1e-3


def test_chi_square_without_freedom_is_zero():
    dof = np.asarray([0, -3, 2], np.float32)
    drawn = np.asarray(draws.chi_square(jax.random.key(0), dof))
    assert (drawn[:2] == 0).all()
    assert drawn[2] > 0


def test_chi_square_is_independent_of_normal_with_the_same_key():
    keys = jc.seed_keys(range(50_000))
    chi = jax.vmap(lambda key: draws.chi_square(key, np.full(1, 4, np.float32))[0])(keys)
    z = jax.vmap(lambda key: draws.normal(key, (1,))[0])(keys)
    for a, b in [(chi, z), (chi, z**2)]:
        assert abs(stats.spearmanr(a, b).statistic) < 5 / np.sqrt(len(keys))


def test_chi_square_slope_in_dof():
    # Implicit reparameterisation: the quantile stays, so the slope is that of the quantile.
    key, dof = jax.random.key(8), np.float32(7)
    draw, slope = jax.jvp(lambda dof: draws.chi_square(key, dof), (dof,), (np.float32(1),))
    quantile = stats.chi2.cdf(float(draw), 7.0)
    expected = (stats.chi2.ppf(quantile, 7.01) - stats.chi2.ppf(quantile, 6.99)) / 0.02
    assert float(slope) == pytest.approx(expected, rel=1e-3)
