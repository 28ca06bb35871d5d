"""Closed forms against each other, against other recursions, and against plain simulations."""

import dataclasses
import functools
import math
import time
import types

import numpy as np
import pytest
from conftest import standard_errors
from scipy import stats

from jaxcollapse import theory
from jaxcollapse.theory import counted, moments
from jaxcollapse.theory.workflows import record_of
from jaxcollapse.workflows import (
    Workflow,
    accumulate,
    accumulate_subsample,
    fixed_real,
    fresh_real,
    replace,
    window,
)

N = np.asarray([2, 7, 20])
T = np.asarray([1, 2, 3, 10, 100])[:, None]
PUBLISHED = {  # variance and mean error
    replace(): (theory.gaussian_replace_variance, theory.gaussian_replace_mean_error),
    accumulate(): (theory.gaussian_accumulate_variance, theory.gaussian_accumulate_mean_error),
    accumulate_subsample(): (
        theory.gaussian_accumulate_subsample_variance,
        theory.gaussian_accumulate_subsample_mean_error,
    ),
}
OTHERS = [
    window(2),
    window(5),
    fixed_real(),
    fresh_real(),
    Workflow(keep=2, real="kept"),
    Workflow(keep=None, real="fresh"),
    Workflow(keep=1, draw=4),
    Workflow(keep=3, draw=0),
    Workflow(keep=2, real="fresh", draw=4),
    accumulate_subsample(5),
]
ALL = [*PUBLISHED, *OTHERS]


@dataclasses.dataclass(frozen=True)
class Newest(Workflow):
    """One that chooses, whose law no record says."""

    def choose(self, key, rows):
        return rows.generation == rows.now


# By the record ----------------------------------------------------------------------------------


def test_one_generation_is_a_plain_fit():
    n = np.asarray([5, 7, 20])
    for workflow in ALL:
        fitted = workflow.draw or n
        np.testing.assert_allclose(theory.gaussian_variance(workflow, 1, n, 0), 1 - 1 / fitted)
        np.testing.assert_allclose(theory.gaussian_variance(workflow, 1, n, 1), 1)
        for ddof in (0, 1):
            error = theory.gaussian_mean_error(workflow, 1, n, ddof)
            np.testing.assert_allclose(error, 1 / fitted)


@pytest.mark.parametrize("workflow", ALL, ids=str)
def test_variance_and_mean_error_sum_to_the_real_variance(workflow):
    n = np.asarray([5, 7, 20])
    total = theory.gaussian_variance(workflow, T, n) + theory.gaussian_mean_error(workflow, T, n)
    np.testing.assert_allclose(total, 1, rtol=1e-12)


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("workflow", PUBLISHED, ids=str)
def test_published_workflows_have_their_own_formulas(workflow, ddof):
    variance, error = PUBLISHED[workflow]
    np.testing.assert_array_equal(
        theory.gaussian_variance(workflow, T, N, ddof), variance(T, N, ddof)
    )
    np.testing.assert_array_equal(
        theory.gaussian_mean_error(workflow, T, N, ddof), error(T, N, ddof)
    )
    t = np.asarray([1, 2, 3, 10, 100, 1000])[:, None]
    found = counted.moments(record_of(workflow), t, N, ddof)
    np.testing.assert_allclose(found.variance, variance(t, N, ddof), rtol=1e-11)
    np.testing.assert_allclose(found.mean_error / N, error(t, N, ddof), rtol=1e-11)


@pytest.mark.parametrize("ddof", [0, 1])
def test_records_that_say_the_same(ddof):
    for one, other in (
        (window(100), accumulate()),  # of a hundred generations
        (Workflow(keep=None, real="kept"), accumulate()),
        (Workflow(keep=99, real="kept"), accumulate()),
        (Workflow(keep=99, real="fresh"), Workflow(real="fresh")),
        (Workflow(keep=98, draw=0), Workflow(keep=98, draw=20)),
    ):
        for moment in (theory.gaussian_variance, theory.gaussian_mean_error):
            np.testing.assert_allclose(moment(one, T, 20, ddof), moment(other, T, 20, ddof))
    # Of the newest batch a draw leaves a smaller one.
    drawn, few = Workflow(keep=1, draw=7), replace()
    for metric in ("trace_ratio", "squared_error_of_mean", "log_det_ratio", "kl"):
        t = T if metric != "kl" else 1
        found = theory.gaussian_metric(metric, drawn, t, 2, 20, ddof)
        np.testing.assert_allclose(found, theory.gaussian_metric(metric, few, t, 2, 7, ddof))
    for metric in ("heterozygosity_ratio", "squared_error", "outcomes_left", "entropy_ratio"):
        found = theory.categorical_metric(metric, drawn, T, 3, 20)
        np.testing.assert_allclose(found, theory.categorical_metric(metric, few, T, 3, 7))


def test_variances_that_die_out_keep_their_digits():
    """Under a window they end as ``q^t``, far below what 1 is known to."""
    log = np.log(theory.gaussian_variance(window(2), np.asarray([2000, 2500, 3000]), 5))
    assert log[0] < -100
    assert log[2] - log[1] == pytest.approx(log[1] - log[0], rel=1e-9)


def test_what_is_no_record_has_no_closed_form():
    added = np.ones(3)
    unlike = types.SimpleNamespace(keep=1, real="once", draw=None, chooses=True)
    for workflow in (Newest(), Newest(keep=1), unlike, "replace", None):
        assert theory.gaussian_variance(workflow, 1, 5) is None
        assert theory.gaussian_mean_error(workflow, 1, 5) is None
        assert theory.gaussian_metric("trace_ratio", workflow, 1, 1, 5) is None
        assert theory.gaussian_metric("squared_error_of_mean", workflow, 1, 1, 5) is None
        assert theory.categorical_metric("heterozygosity_ratio", workflow, 1, 3, 5) is None
        assert theory.categorical_metric("squared_error", workflow, 1, 3, 5) is None
        assert theory.categorical_metric("outcomes_left", workflow, 1, 3, 5) is None
        assert theory.kde_metric("second_moment", workflow, 1.0, 0.1, added, 5) is None
        assert theory.kde_metric("pool_variance", workflow, 1.0, 0.1, added, 5) is None
        assert theory.regression_error(workflow, 1, 2, 9, 1.0) is None
        assert theory.share_of_real_data(workflow, 1) is None
    like = types.SimpleNamespace(keep=2, real="once", draw=None)
    np.testing.assert_array_equal(
        theory.gaussian_variance(like, T, 5), theory.gaussian_variance(window(2), T, 5)
    )
    assert np.isnan(theory.gaussian_variance(window(2), 0, 5))
    assert np.isnan(theory.gaussian_variance(accumulate_subsample(6), 3, 5))


def test_a_thousand_generations_take_no_time():
    moments.recursion.cache_clear()
    started = time.perf_counter()
    for workflow in (accumulate(), Workflow(real="fresh"), window(5), fixed_real()):
        moments.recursion(record_of(workflow), 1000, 20.0)
    assert time.perf_counter() - started < 2


def test_share_of_real_data():
    t = np.asarray([1, 2, 3, 6])
    for workflow, expected in {
        replace(): [1, 0, 0, 0],
        accumulate(): [1, 1 / 2, 1 / 3, 1 / 6],
        accumulate_subsample(3): [1, 1 / 2, 1 / 3, 1 / 6],
        window(2): [1, 1 / 2, 0, 0],
        window(5): [1, 1 / 2, 1 / 3, 0],
        Workflow(keep=3, draw=0): [1, 1 / 2, 1 / 3, 0],
        fixed_real(): [1, 1 / 2, 1 / 2, 1 / 2],
        fresh_real(): [1, 1 / 2, 1 / 2, 1 / 2],
        Workflow(keep=2, real="kept"): [1, 1 / 2, 1 / 3, 1 / 3],
        Workflow(keep=None, real="fresh"): [1, 1 / 2, 1 / 3, 1 / 6],
    }.items():
        np.testing.assert_array_equal(theory.share_of_real_data(workflow, t), expected)


# Means and variances ----------------------------------------------------------------------------


@pytest.mark.parametrize("num_samples", [2, 6, 20])
def test_real_data_beside_the_newest_batch(num_samples):
    """``M' = w^2/n + (1-w)^2 (M + (1-M)/m)`` if fresh, ``(1-(1-w)^2)/n + ...`` if fixed."""
    n, w = num_samples, 1 / 2
    for workflow, real, limit in (
        (fresh_real(), w**2, theory.gaussian_fresh_real_mean_error),
        (fixed_real(), 1 - (1 - w) ** 2, theory.gaussian_fixed_real_mean_error),
    ):
        error = 1 / n
        for t in range(1, 60):
            assert theory.gaussian_mean_error(workflow, t, n) == pytest.approx(error, rel=1e-12)
            error = real / n + (1 - w) ** 2 * (error + (1 - error) / n)
        late = theory.gaussian_mean_error(workflow, 200, n)
        assert late == pytest.approx(limit(n, n), rel=1e-12)


def simulated(workflow, num_samples, generations, first, publish, fresh):
    """Yields what each generation finds, rows ``[S, R]``: lists of batches, and nothing cleverer.

    Args:
      first: the real batch, ``[S, N]``.
      publish: ``publish(rows, t)``, the batch ``[S, N]`` that the model of t makes.
      fresh: makes another real batch.
    """
    rng = np.random.default_rng(99)
    real, made = first, []
    for t in range(1, generations + 1):
        if workflow.real == "once":
            batches = [first, *made]
            batches = batches if workflow.keep is None else batches[-workflow.keep :]
        else:
            if workflow.real == "fresh" and t > 1:
                real = fresh()
            newest = made if workflow.keep is None else made[-workflow.keep :]
            batches = [real, *newest]
        rows = np.concatenate(batches, axis=1)
        if workflow.draw is not None:
            size = workflow.draw or num_samples
            order = np.argsort(rng.random(rows.shape), axis=1)[:, :size]
            rows = np.take_along_axis(rows, order, axis=1)
        yield t, rows
        made.append(publish(rows, t))


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("num_samples", [6, 20])
@pytest.mark.parametrize("workflow", OTHERS, ids=str)
def test_moments_against_a_simulation(workflow, num_samples, ddof):
    rng = np.random.default_rng([num_samples, ddof])
    seeds = 20_000

    def publish(rows, t):
        spread = rows.std(axis=1, ddof=ddof, keepdims=True)
        noise = rng.standard_normal((seeds, num_samples))
        return rows.mean(axis=1, keepdims=True) + spread * noise

    def real():
        return rng.standard_normal((seeds, num_samples))

    for t, rows in simulated(workflow, num_samples, 12, real(), publish, real):
        if t in (1, 2, 5, 12):
            variance = theory.gaussian_variance(workflow, t, num_samples, ddof)
            error = theory.gaussian_mean_error(workflow, t, num_samples, ddof)
            assert standard_errors(rows.var(axis=1, ddof=ddof), variance) < 5, ("variance", t)
            assert standard_errors(rows.mean(axis=1) ** 2, error) < 5, ("mean", t)


@pytest.mark.parametrize("workflow", [window(2), fresh_real(), Workflow(keep=2, draw=5)], ids=str)
def test_categorical_moments_against_a_simulation(workflow):
    rng = np.random.default_rng(3)
    seeds, n, p = 20_000, 8, np.asarray([0.6, 0.3, 0.1])
    values = np.arange(3)

    def publish(rows, t):
        return np.take_along_axis(rows, rng.integers(rows.shape[1], size=(seeds, n)), axis=1)

    def real():
        return rng.choice(values, (seeds, n), p=p)

    left = 1 - np.sum(p**2)
    for t, rows in simulated(workflow, n, 6, real(), publish, real):
        share = np.mean(rows[..., None] == values, axis=1)
        expected = left * theory.categorical_metric("heterozygosity_ratio", workflow, t, 3, n)
        assert standard_errors(1 - np.sum(share**2, axis=1), expected) < 5
        error = theory.categorical_metric("squared_error", workflow, t, p, n)
        assert standard_errors(np.sum((share - p) ** 2, axis=1), error) < 5


# Kernel density estimates -----------------------------------------------------------------------


# The time until one outcome is left ---------------------------------------------------------


@pytest.mark.parametrize("n", [25, 200])
def test_absorption_law_of_two_outcomes_against_the_exact_chain(n):
    t = np.arange(1, 6 * n)
    exact = 2 - theory.categorical_survivors(t, 2, n)["outcomes_left"]
    assert np.abs(theory.categorical_absorption_cdf(t, n, 2) - exact).max() < 2 / n


@pytest.mark.parametrize("num_outcomes", [2, 3, 10, 100_000, np.inf])
def test_absorption_law_and_mean(num_outcomes):
    t = np.arange(0, 60, 0.02)
    cdf = theory.categorical_absorption_cdf(t, 1, num_outcomes)
    assert cdf[0] == 0
    assert (np.diff(cdf) > -1e-11).all()
    mean = 2.0 if num_outcomes == np.inf else theory.categorical_absorption_time(1, num_outcomes)
    # Flat at both ends, the sum is as good as the integral.
    assert np.sum(1 - cdf) * 0.02 - 0.01 == pytest.approx(mean, rel=1e-8)
    for q in (1e-6, 0.05, 0.5, 0.95):
        time = theory.categorical_absorption_quantile(q, 7, num_outcomes)
        assert theory.categorical_absorption_cdf(time, 7, num_outcomes) == pytest.approx(q)


@pytest.mark.parametrize("num_outcomes", [2, 10, 100_000])
def test_absorption_law_is_that_of_a_sum_of_exponentials(num_outcomes):
    """Lines of descent meet at rates ``j (j - 1) / 2``, until as many are left as are alike."""
    rng = np.random.default_rng(0)
    j = np.arange(2, 1000)
    alike = rng.geometric(1 - 1 / num_outcomes, (5000, 1))
    waits = rng.exponential(size=(5000, j.size)) / (j * (j - 1) / 2)
    times = np.sum(waits * (j > alike), axis=1) + 2 / j[-1]  # the mean of all that are left out
    law = functools.partial(theory.categorical_absorption_cdf, n=1, num_outcomes=num_outcomes)
    assert stats.kstest(times, law).pvalue > 1e-3


@pytest.mark.parametrize("workflow", OTHERS, ids=str)
def test_kde_moments_against_a_simulation(workflow):
    """Gaussian data of variance 4, and bandwidths that change."""
    rng = np.random.default_rng(7)
    seeds, n, generations = 20_000, 6, 8
    h = 0.5 + 0.1 * np.arange(generations)

    def publish(rows, t):
        chosen = np.take_along_axis(rows, rng.integers(rows.shape[1], size=(seeds, n)), axis=1)
        return chosen + h[t - 1] * rng.standard_normal((seeds, n))

    def real():
        return 1 + 2 * rng.standard_normal((seeds, n))

    first = real()
    given = (workflow, 4 * (1 - 1 / n), 4 / n, h**2, n)
    moment = theory.kde_metric("second_moment", *given)
    variance = theory.kde_metric("pool_variance", *given)
    centre = first.mean(axis=1, keepdims=True)
    for t, rows in simulated(workflow, n, generations, first, publish, real):
        second = np.mean((rows - centre) ** 2, axis=1) + h[t - 1] ** 2
        assert standard_errors(second, moment[t - 1]) < 5
        assert standard_errors(rows.var(axis=1), variance[t - 1]) < 5


def test_kde_of_published_workflows():
    k, later = np.linspace(0.1, 0.5, 30), np.arange(2, 32)
    schedule = 2 + k + np.concatenate([[0], np.cumsum(k / later)[:-1]])
    for workflow, moment in {
        replace(): 2 + np.cumsum(k),
        accumulate(): schedule,
        accumulate_subsample(): schedule,
    }.items():
        for unknown in (math.nan, 0.3):
            found = theory.kde_metric("second_moment", workflow, 2.0, unknown, k, 7)
            np.testing.assert_array_equal(found, moment)
    # The recursions in general meet the formulas of these.
    for keep in (30, 31):
        found = theory.kde_metric("second_moment", window(keep), 2.0, math.nan, k, 7)
        np.testing.assert_allclose(found, schedule, rtol=1e-13)
    found = theory.kde_metric("pool_variance", Workflow(keep=1, draw=7), 2.0, math.nan, k, 7)
    np.testing.assert_array_equal(
        theory.kde_metric("pool_variance", replace(), 2.0, math.nan, k, 7),
        theory.kde_replace_pool_variance(2.0, k, 7),
    )
    np.testing.assert_allclose(found, theory.kde_replace_pool_variance(2.0, k, 7), rtol=1e-13)


def test_kde_with_fresh_real_data():
    """``v_0 + h^2 (1 - (1-a)^t) / a`` with a share a of real points, as N grows."""
    moment = theory.kde_second_moment(fresh_real(), 2.0, 0.0, np.full(20, 0.25))
    a, t = 0.5, np.arange(1, 21)
    np.testing.assert_allclose(moment, 2 + 0.25 * (1 - (1 - a) ** t) / a)
    for metric in ("second_moment", "pool_variance"):
        assert theory.kde_metric(metric, fresh_real(), 2.0, math.nan, np.ones(3), 5) is None
        assert theory.kde_metric(metric, fixed_real(), 2.0, math.nan, np.ones(3), 5) is not None


# Linear regression ------------------------------------------------------------------------------


@pytest.mark.parametrize(("dim", "num_samples"), [(2, 12), (8, 3)])
@pytest.mark.parametrize("workflow", [replace(), accumulate(), *OTHERS[:6]], ids=str)
def test_regression_against_a_simulation(workflow, dim, num_samples):
    """Minimum norm fits to designs that are really stacked."""
    rng = np.random.default_rng([dim, num_samples])
    seeds, noise = 20_000, 0.5
    X = rng.standard_normal((seeds, num_samples, dim))
    truth = rng.standard_normal((seeds, dim, 1))
    inverse = {}

    def targets(w):
        return X @ w + math.sqrt(noise) * rng.standard_normal((seeds, num_samples, 1))

    def fit(rows):
        stacked = rows.shape[1] // num_samples
        if stacked not in inverse:
            inverse[stacked] = np.linalg.pinv(np.tile(X, (1, stacked, 1)), rcond=1e-9)
        return inverse[stacked] @ rows[..., None]

    def publish(rows, t):
        return targets(fit(rows))[..., 0]

    def real():
        return targets(truth)[..., 0]

    for t, rows in simulated(workflow, num_samples, 4, real(), publish, real):
        error = np.sum((fit(rows) - truth) ** 2, axis=(1, 2))
        expected = theory.regression_error(workflow, t, dim, num_samples, noise)
        assert standard_errors(error, expected) < 5


def test_regression_with_fresh_designs():
    rng = np.random.default_rng(5)
    seeds, noise = 20_000, 0.5
    for dim, num_samples in ((2, 12), (8, 3)):
        truth = rng.standard_normal((seeds, dim, 1))
        w = truth
        for t in (1, 2, 3, 4):
            X = rng.standard_normal((seeds, num_samples, dim))
            y = X @ w + math.sqrt(noise) * rng.standard_normal((seeds, num_samples, 1))
            w = np.linalg.pinv(X) @ y
            error = np.sum((w - truth) ** 2, axis=(1, 2))
            expected = theory.regression_error(replace(), t, dim, num_samples, noise, False)
            assert standard_errors(error, expected) < 5
    t = np.arange(1, 5)
    without_noise = theory.regression_error(replace(), t, 20, 10, 0.0, fixed_design=False)
    np.testing.assert_allclose(without_noise, [10, 15, 17.5, 18.75])
    assert theory.regression_error(accumulate(), t, 2, 12, 1.0, fixed_design=False) is None


def test_regression_of_published_workflows():
    t = np.arange(1, 9)
    harmonic = np.cumsum(1 / t**2)
    np.testing.assert_allclose(theory.regression_error(replace(), t, 2, 12, 1.0), t * 2 / 9)
    for keep in (None, 8, 20):
        found = theory.regression_error(Workflow(keep=keep), t, 2, 12, 1.0)
        np.testing.assert_allclose(found, harmonic * 2 / 9)
    assert theory.regression_error(accumulate_subsample(), t, 2, 399, 1.0) is None
    assert theory.regression_error(accumulate_subsample(7), t, 2, 400, 1.0) is None
    # Its leading order is what the recursion tends to as N grows.
    found = theory.regression_error(accumulate_subsample(), t, 2, 400, 1.0)
    limit = moments.recursion(record_of(accumulate_subsample()), 8, math.inf).mean_error[1:]
    np.testing.assert_allclose(found, limit * 2 / 400)


# Formulas of one workflow -----------------------------------------------------------------------


@pytest.mark.parametrize("ddof", [0, 1])
def test_accumulate_approaches_its_limit(ddof):
    late = theory.gaussian_accumulate_variance(20_000, N, ddof)
    np.testing.assert_allclose(late, theory.gaussian_accumulate_variance_limit(N, ddof), rtol=1e-4)


def test_accumulate_subsample_diverges_only_without_bias():
    variance = theory.gaussian_accumulate_subsample_variance
    t = np.asarray([1000, 2000])
    assert variance(t, 5, 0)[1] == pytest.approx(variance(t, 5, 0)[0], rel=1e-3)
    growth = np.log(variance(t, 5, 1)[1] / variance(t, 5, 1)[0]) / np.log(2)
    assert growth == pytest.approx(1 / 5, rel=1e-2)


def test_wasserstein_of_one_step_by_integration():
    # E W2^2 = E (m^2 + (s - 1)^2) with s = sqrt(chi2_{n-1} / n).
    rng = np.random.default_rng(0)
    n = 5
    s = np.sqrt(rng.chisquare(n - 1, 400_000) / n)
    values = rng.standard_normal(s.size) ** 2 / n + (s - 1) ** 2
    expected = theory.gaussian_replace_wasserstein2_squared(1, n, 0)
    assert abs(values.mean() - expected) < 5 * values.std() / np.sqrt(values.size)


def test_log_det_drift_is_a_sum_of_drifts():
    one = theory.gaussian_replace_log_variance_drift(20)
    assert theory.gaussian_replace_log_det_drift(20, 1) == pytest.approx(one)
    assert theory.gaussian_replace_log_det_drift(20, 3) < 3 * one
    assert theory.gaussian_replace_log_det_drift(3, 3) == -np.inf


def test_det_ratio_in_one_dimension_is_the_variance():
    np.testing.assert_allclose(
        theory.gaussian_replace_det_ratio(7, N, 1), theory.gaussian_replace_variance(7, N)
    )
    assert theory.gaussian_replace_det_ratio(1, 3, 3) == 0


def _stationary_mean_error(num_real, num_synthetic, fresh):
    """The moments' recursion iterated, from the definition of the workflow (ddof 0)."""
    n = num_real + num_synthetic
    share = num_synthetic / n
    # Of one coordinate: the fitted mean is (1-l) xbar_r + l (m + sqrt(v) z / sqrt(n_s)). With
    # fixed real data xbar_r is the same each time, and m moves together with it.
    mean_square, cross, v = 0.0, 0.0, 1.0
    for _ in range(5000):
        kept = 0.0 if fresh else cross
        mean_square_next = (
            (1 - share) ** 2 / num_real
            + share**2 * (mean_square + v / num_synthetic)
            + 2 * share * (1 - share) * kept
        )
        cross = (1 - share) / num_real + share * cross
        # Total second moment about the real mean is 1 for real points, and m^2 + v for synthetic.
        second = (1 - share) * 1.0 + share * (mean_square + v)
        mean_square = mean_square_next
        v = second - mean_square
    return mean_square


@pytest.mark.parametrize(("real", "synthetic"), [(5, 20), (50, 50), (10, 1)])
def test_real_data_in_every_generation(real, synthetic):
    fresh = theory.gaussian_fresh_real_mean_error(real, synthetic)
    assert fresh == pytest.approx(_stationary_mean_error(real, synthetic, fresh=True))
    fixed = theory.gaussian_fixed_real_mean_error(real, synthetic)
    assert fixed == pytest.approx(_stationary_mean_error(real, synthetic, fresh=False))


def test_without_synthetic_data_the_error_is_that_of_real_data():
    assert theory.gaussian_fresh_real_mean_error(8, 0) == pytest.approx(1 / 8)
    assert theory.gaussian_fixed_real_mean_error(8, 0) == pytest.approx(1 / 8)


@pytest.mark.parametrize(
    ("real", "helps_from"), [(300, 1), (500, 1), (600, 301), (750, 1501), (900, 7201), (1000, None)]
)
def test_which_synthetic_counts_help_beside_part_of_the_real_data(real, helps_from):
    """Below an error of 1/R: M > R (2R - A) / (A - R), with the worst M at R (2R/A - 1)."""
    available, amounts = 1000, np.arange(1, 100_000)
    error = theory.mixture_mean_error(real, amounts, available, ddof=1)
    helps = error < 1 / real - 1e-12
    if helps_from is None:
        assert not helps.any()
    else:
        np.testing.assert_array_equal(helps, amounts >= helps_from)
        assert error[-1] == pytest.approx(1 / available, rel=0.02)
    assert (theory.mixture_mean_error(real, amounts, available, "subset") > 1 / real).all()
    if real > available / 2:
        assert amounts[np.argmax(error)] == pytest.approx(real * (2 * real / available - 1))


def test_only_two_estimators_have_formulas():
    with pytest.raises(ValueError, match="ddof: expected one of 0, 1, got 2"):
        theory.gaussian_replace_variance(1, 5, 2)
    assert theory.gaussian_metric("trace_ratio", replace(), 1, 1, 5, ddof=2) is None
    assert theory.gaussian_metric("wasserstein2", replace(), 1, 1, 5) is None
