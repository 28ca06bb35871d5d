"""Categorical chains followed until one outcome is left: their draws, their law, their seeds."""

import functools

import jax
import numpy as np
import pytest
from conftest import optimised_jit, standard_errors
from scipy import stats

import jaxcollapse as jc
from jaxcollapse import theory
from jaxcollapse.tasks.categorical import absorption, counts
from jaxcollapse.tasks.categorical.absorption import until_absorption

LARGEST = 100_000
SEED, DRAWN = 1_000_000, 50_000
BINOMIALS = [  # n, a, b: of probability a / (a + b)
    (1, 1, 999),
    (1, 3, 2),
    (3, 1, 1),
    (20, 1, 30),
    (40, 7, 3),
    (1000, 1, 99_999),
    (1000, 99_990, 10),
    (LARGEST, 1, 99_999),
    (LARGEST, 99_999, 1),
    (LARGEST, 30, 99_970),
    (LARGEST, 50_000, 50_000),
    (99_999, 12_345, 4_321),
]


@functools.cache
def compiled_binomial():
    return optimised_jit(counts.binomial)


def binomial(keys, n, a, b):
    with jax.enable_x64(True):
        given = (np.broadcast_to(np.int32(x), keys.shape) for x in (n, a, b))
        return np.asarray(compiled_binomial()(keys, *given, counts.log_factorials(LARGEST)))


def pvalue(drawn, law):
    """Of a chi-square test, values with few expected put together with their neighbours."""
    values = np.arange(drawn.min(), drawn.max() + 1)
    last, bounds, edges = 0.0, [0.0], []
    for value, below in zip(values, law.cdf(values), strict=True):
        if drawn.size * min(below - last, 1 - below) >= 20:
            last = below
            bounds.append(below)
            edges.append(value)
    seen = np.bincount(np.searchsorted(edges, drawn), minlength=len(edges) + 1)
    return stats.chisquare(seen, np.diff([*bounds, 1.0]) * drawn.size).pvalue


@pytest.mark.parametrize(("n", "a", "b"), BINOMIALS)
def test_binomial_law(n, a, b):
    drawn = binomial(jc.seed_keys(range(SEED, SEED + DRAWN)), n, a, b)
    law = stats.binom(n, a / (a + b))
    assert drawn.min() >= 0
    assert drawn.max() <= n
    assert pvalue(drawn, law) > 1e-3
    assert standard_errors(drawn, law.mean()) < 5
    assert standard_errors((drawn - law.mean()) ** 2, law.var()) < 5


def test_chi_square_test_sees_a_wrong_law():
    drawn = binomial(jc.seed_keys(range(SEED, SEED + DRAWN)), 40, 7, 3)
    assert pvalue(drawn, stats.binom(40, 0.69)) < 1e-6
    assert pvalue(drawn, stats.binom(41, 0.7)) < 1e-6


def test_binomials_without_chance():
    keys = jc.seed_keys(range(5))
    drawn = binomial(keys, [0, 7, 7, 7, 0], [3, 0, 3, 0, 0], [3, 3, 0, 0, 0])
    np.testing.assert_array_equal(drawn, [0, 0, 7, 0, 0])


def test_draws_in_float32_are_refused():
    with pytest.raises(ValueError, match="binomial draws: expected float64"):
        counts.binomial(jc.seed_keys([1]), *np.ones((3, 1), np.int32), counts.log_factorials(9))


def test_a_draw_depends_on_its_own_key_alone():
    """Also where the last to be accepted are put together."""
    keys = jc.seed_keys(range(2 * counts._MANY))
    n = np.arange(keys.size) % 1000
    together = binomial(keys, n, 1 + n, 500)
    alone = binomial(keys[::64], n[::64], 1 + n[::64], 500)
    np.testing.assert_array_equal(together[::64], alone)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 100, 3000])
def test_table_mountain_is_above_the_binomial(n):
    """Whatever p: else draws at its edge would be too rare."""
    for p in np.concatenate([10.0 ** np.arange(-6, 0), np.arange(0.15, 1, 0.05), [1 - 1e-5]]):
        k = np.arange(n + 1)
        log_f = stats.binom.logpmf(k, n, p)
        height = np.exp((log_f - log_f.max()) / 2)
        away = np.maximum(np.abs(k - n * p - 0.5), np.abs(k + 1 - n * p - 0.5))
        half = (counts._SLOPE * np.sqrt(n * p * (1 - p) + 0.5) + counts._OFFSET) / 2
        assert (away * height <= half * (1 + 1e-12)).all()


@functools.cache
def multinomial(n, *weights):
    with jax.enable_x64(True):
        keys = jc.seed_keys(range(20_000))
        given = np.broadcast_to(np.asarray(weights, np.int32), (keys.size, len(weights)))
        return np.asarray(jax.jit(counts.multinomial)(keys, n, given, counts.log_factorials(n)))


def test_multinomial_law():
    """All 20 counts that three draws of four outcomes can have."""
    weights = np.asarray([1, 4, 2, 3])
    seen, times = np.unique(multinomial(3, *weights), axis=0, return_counts=True)
    assert len(seen) == 20
    expected = stats.multinomial(3, weights / 10).pmf(seen) * times.sum()
    assert stats.chisquare(times, expected).pvalue > 1e-3


def test_lost_outcomes_behind_the_others_change_nothing():
    few, more = multinomial(7, 2, 5, 1, 1), multinomial(7, 2, 5, 1, 1, 0, 0, 0, 0)
    np.testing.assert_array_equal(few, more[:, :4])
    assert (more[:, 4:] == 0).all()
    assert (few.sum(axis=1) == 7).all()


# Chains -----------------------------------------------------------------------------------------


@functools.cache
def followed(num_outcomes, num_samples, seeds, generations=4000):
    return until_absorption(num_outcomes, num_samples, range(seeds), generations)


def test_recorded_generations():
    assert absorption.recorded_generations(1).tolist() == [1]
    assert absorption.recorded_generations(10).tolist() == [1, 2, 3, 4, 5, 6, 7, 9, 10]
    all_of_them = absorption.recorded_generations(10**6)
    for last in (100, 777, 2345):
        some = absorption.recorded_generations(last)
        assert some[-1] == last
        assert set(some[:-1]) <= set(all_of_them)


@pytest.mark.parametrize(("num_outcomes", "num_samples"), [(2, 20), (10, 20), (50, 15)])
def test_means(num_outcomes, num_samples):
    found = followed(num_outcomes, num_samples, 3000)
    for place, t in enumerate(found.generation):
        expected = theory.categorical_survivors(t, num_outcomes, num_samples)
        for name in ("outcomes_left", "entropy_ratio") if 4 < t < 60 else ():
            values = getattr(found, name)[:, place]
            assert standard_errors(values, float(expected[name])) < 5, (name, t)


def test_times():
    """Two outcomes, N = 20: the mean from the exact chain; and what is recorded goes with it."""
    found = followed(2, 20, 3000)
    left = theory.categorical_survivors(np.arange(1, 1000), 2, 20)["outcomes_left"]
    assert standard_errors(found.absorption_generation, 1 + np.sum(left - 1)) < 5
    absorbed = found.generation >= found.absorption_generation[:, None]
    np.testing.assert_array_equal(found.outcomes_left == 1, absorbed)
    np.testing.assert_array_equal(found.entropy_ratio == 0, absorbed)


def test_law_of_the_times():
    found = followed(10, 300, 200, 6000)
    law = functools.partial(theory.categorical_absorption_cdf, n=300, num_outcomes=10)
    assert stats.kstest(found.absorption_generation, law).pvalue > 1e-3


def test_seeds_are_names():
    alone = until_absorption(10, 30, [2], 500)
    for name in ("entropy_ratio", "outcomes_left", "absorption_generation"):
        np.testing.assert_array_equal(
            getattr(followed(10, 30, 4, 500), name)[2], getattr(alone, name)[0]
        )


def test_seeds_in_parts(monkeypatch):
    together = followed(10, 30, 3, 500)
    monkeypatch.setattr(absorption, "MOST_OUTCOMES", 32)  # two and one that is filled up
    for ours, theirs in zip(until_absorption(10, 30, range(3), 500), together, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_generations_do_not_depend_on_how_many_follow():
    long, short = followed(10, 30, 4, 500), until_absorption(10, 30, range(4), 20)
    common = short.generation.size - 1
    np.testing.assert_array_equal(short.entropy_ratio[:, :common], long.entropy_ratio[:, :common])
    times = np.where(long.absorption_generation <= 20, long.absorption_generation, np.inf)
    np.testing.assert_array_equal(short.absorption_generation, times)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_outcomes": 1}, "num_outcomes: expected at least 2, got 1"),
        ({"num_samples": 0}, "num_samples: expected at least 1"),
        ({"num_samples": 10**8}, "num_samples: expected at most 16777216"),
        ({"generations": 1.5}, "generations: expected a whole number"),
        ({"seeds": [3, 3]}, "seed: expected at least one value, each once"),
    ],
)
def test_refused(change, message):
    given = {"num_outcomes": 3, "num_samples": 5, "seeds": [0], "generations": 9}
    with pytest.raises(ValueError, match=message):
        until_absorption(**(given | change))
