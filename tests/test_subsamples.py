"""Samples without replacement."""

import jax
import numpy as np
import pytest
from scipy import stats

import jaxcollapse as jc
from jaxcollapse import subsamples


@pytest.mark.parametrize(
    ("count", "size", "bound"),
    [(4, 2, 4), (20, 10, 100), (3, 1, 5), (2000, 1000, 100_000), (1000, 500, 2**31 - 1)],
)
def test_distinct_draws_are_distinct(count, size, bound):
    keys = jc.seed_keys(range(20))
    drawn = jax.vmap(lambda key: subsamples.distinct(key, count, size, bound))(keys)
    for row in np.asarray(drawn):
        assert len(set(row.tolist())) == size
        assert row.min() >= 0
        assert row.max() < count


@pytest.mark.parametrize("bound", [5, 10**4, 2**31 - 1])
def test_distinct_is_uniform_over_ordered_pairs(bound):
    keys = jc.seed_keys(range(40_000))
    drawn = np.asarray(jax.vmap(lambda key: subsamples.distinct(key, 5, 2, bound))(keys))
    counts = np.bincount(drawn[:, 0] * 5 + drawn[:, 1], minlength=25).reshape(5, 5)
    off_diagonal = counts[~np.eye(5, dtype=bool)]
    assert np.diag(counts).sum() == 0
    assert stats.chisquare(off_diagonal).pvalue > 1e-3


@pytest.mark.parametrize(("count", "size", "bound"), [(20, 10, 100), (300, 100, 9000), (2, 1, 2)])
def test_a_table_and_sorts_find_the_same_indices(count, size, bound, monkeypatch):
    """How many generations follow decides between them, and must not change a draw."""
    keys = jc.seed_keys(range(200))

    def drawn(ratio):
        monkeypatch.setattr(subsamples, "_ROWS_FOR_A_TABLE", ratio)
        return jax.vmap(lambda key: subsamples.distinct(key, count, size, bound))(keys)

    np.testing.assert_array_equal(drawn(10**9), drawn(0))


def test_too_few_distinct_values_are_told():
    """Repeats, and words that were left out, stand for none."""
    values = np.asarray([7, 3, 9, 7, 3, 9, 1, 7], np.uint32)
    for find in (subsamples._first_distinct_by_table, subsamples._first_distinct_by_sorting):
        indices, found = find(values, 3, 9)
        np.testing.assert_array_equal(indices, [7, 3, 1])
        assert found == 3


@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 1000])
def test_running_counts(size):
    mask = np.random.default_rng(size).random(size) < 0.6
    np.testing.assert_array_equal(subsamples._running_count(mask), np.cumsum(mask))
