"""The categorical task: against NumPy, closed forms, absorption."""

import itertools

import jax
import numpy as np
import pytest
from cases import chains
from conftest import optimised_jit, standard_errors
from scipy import stats

import jaxcollapse as jc
from jaxcollapse import theory
from jaxcollapse.tasks.categorical import fitting
from jaxcollapse.workflows import as_workflow

SEEDS = 20_000


def test_fit_counts_what_counts():
    outcomes = np.asarray([0, 2, 2, 3, 0, 2], np.int32)
    np.testing.assert_array_equal(fitting.fit(outcomes, 5), [2, 0, 3, 1, 0])
    mask = np.asarray([1, 1, 0, 1, 0, 1], bool)
    np.testing.assert_array_equal(fitting.fit(outcomes, 5, mask), [1, 0, 2, 1, 0])


def test_sample_follows_the_counts():
    counts = np.asarray([5, 0, 1, 0, 14, 0], np.int32)
    drawn = fitting.sample(jax.random.key(0), counts, 50_000)
    seen = np.bincount(drawn, minlength=6)
    assert seen[counts == 0].sum() == 0
    expected = counts[counts > 0] / counts.sum() * 50_000
    assert stats.chisquare(seen[counts > 0], expected).pvalue > 1e-3


POOLS = [
    *itertools.product(("replace", "accumulate"), ("statistics", "points")),
    ("accumulate-subsample", "points"),
]


@pytest.mark.parametrize(
    ("workflow", "pool", "num_outcomes", "num_samples"),
    [
        pytest.param(*given, k, n, marks=[pytest.mark.slow] if k > 10 else [])
        for given in POOLS
        for k, n in ((10, 20), (200, 15))
    ],
)
def test_means(workflow, pool, num_outcomes, num_samples):
    task = jc.categorical.task(num_outcomes, num_samples, pool=pool)
    metrics = chains(task, workflow, 40, SEEDS, jit=optimised_jit)
    known = 0
    for name in fitting.METRICS:
        for t in (1, 2, 10, 40):
            arguments = (name, as_workflow(workflow), t, num_outcomes, num_samples)
            expected = theory.categorical_metric(*arguments)
            if expected is not None:
                known += 1
                assert standard_errors(metrics[name][:, t - 1], expected) < 5, (name, t)
    assert known == (16 if workflow == "replace" else 8)


def test_real_distribution_that_is_not_uniform():
    p = fitting.real_probabilities(6, 1.0)
    np.testing.assert_allclose(p, (1 / np.arange(1, 7)) / np.sum(1 / np.arange(1, 7)))
    task = jc.categorical.task(6, 12, exponent=1.0)
    found = chains(task, "replace", 20, SEEDS)
    for name in fitting.METRICS:
        for t in (1, 5, 20):
            expected = theory.categorical_metric(name, jc.replace(), t, p, 12)
            assert standard_errors(found[name][:, t - 1], expected) < 5, (name, t)


def test_outcomes_left_of_zipfs_law():
    """Exact of a thousand outcomes, and near what is taken for Poisson's there."""
    p, t = fitting.real_probabilities(1000, 1.0), np.asarray([1, 2, 5, 10, 20, 50])
    exact = theory.categorical_survivors(t, p, 1000)["outcomes_left"]
    near = theory.categorical_survivors_of_many(t, p, 1000)
    np.testing.assert_allclose(near, [333.7, 247.5, 150.5, 96.3, 58.7, 28.7], atol=0.05)
    np.testing.assert_allclose(near, exact, rtol=0.01)
    assert (near < exact)[1:].all()
    task = jc.categorical.task(1000, 1000, exponent=1.0)
    found = chains(task, "replace", 20, 400)["outcomes_left"]
    for place in range(5):
        assert standard_errors(found[:, t[place] - 1], exact[place]) < 5, t[place]
    assert theory.categorical_metric("outcomes_left", jc.replace(), 1, 10, 1001) is None


@pytest.mark.slow
def test_absorption():
    """Two outcomes, N = 20: the mean time from the exact chain, and the diffusion limit near it."""
    axes = {"num_outcomes": [2], "num_samples": [20]}
    result = jc.sweep("categorical", ["replace"], axes, seeds=4000, generations=600)
    times = result["absorption_generation"].values.ravel()
    entropy = result["entropy_ratio"].values.reshape(4000, 600)
    assert np.isfinite(times).all()
    for seed in range(50):
        first = int(times[seed])
        assert (entropy[seed, first - 1 :] == 0).all()
        assert (entropy[seed, : first - 1] > 0).all()
    # E T = sum over t of P(T > t), and T > t exactly where two outcomes are left.
    left = theory.categorical_survivors(np.arange(1, 600), 2, 20)["outcomes_left"]
    exact = 1 + np.sum(left - 1)
    assert standard_errors(times, exact) < 5
    assert float(theory.categorical_absorption_time(20, 2)) == pytest.approx(exact, rel=0.1)


def test_a_chain_that_ends_before_absorption():
    axes = {"num_outcomes": [2], "num_samples": [1000]}
    result = jc.sweep("categorical", ["replace", "accumulate"], axes, seeds=3, generations=4)
    assert (result["absorption_generation"] == np.inf).all()
    assert result["absorption_generation"].dims == (
        "workflow",
        "num_outcomes",
        "num_samples",
        "seed",
    )


def test_many_outcomes():
    task = jc.categorical.task(100_000, 1000)
    metrics = chains(task, "replace", 1, seeds=20, jit=optimised_jit)
    left = 100_000 * (1 - (1 - 1e-5) ** 1000)
    assert standard_errors(metrics["outcomes_left"][:, 0], left) < 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_outcomes": 1}, "num_outcomes: expected at least 2, got 1"),
        ({"num_samples": 0}, "num_samples: expected at least 1"),
        ({"exponent": -1.0}, "exponent: expected a finite number of at least 0"),
        ({"pool": "bag"}, "pool: expected one of auto"),
    ],
)
def test_refused(change, message):
    with pytest.raises(ValueError, match=message):
        jc.categorical.task(**({"num_outcomes": 3, "num_samples": 5} | change))


def test_more_outcomes_than_can_be_counted_are_refused():
    axes = {"num_outcomes": [3], "num_samples": [10**6]}
    with pytest.raises(ValueError, match="points of 10000 generations under accumulate: expected"):
        jc.sweep("categorical", ["replace", "accumulate"], axes, 2, 10_000)


def test_rare_outcomes_are_drawn():
    """Zipf's law over 1e5 outcomes, a million draws: the expected number of different ones."""
    task = jc.categorical.task(100_000, 1_000_000, exponent=2.0)
    left = chains(task, "replace", 1, seeds=60, jit=optimised_jit)["outcomes_left"][:, 0]
    p = fitting.real_probabilities(100_000, 2.0)
    assert standard_errors(left, np.sum(-np.expm1(1_000_000 * np.log1p(-p)))) < 5


def test_absorption_without_the_entropy():
    axes = {"num_outcomes": [2], "num_samples": [4]}
    both = jc.sweep("categorical", ["replace"], axes, seeds=20, generations=60)
    one = jc.sweep("categorical", ["replace"], axes, 20, 60, metrics=["outcomes_left"])
    name = "absorption_generation"
    np.testing.assert_array_equal(both[name], one[name])
