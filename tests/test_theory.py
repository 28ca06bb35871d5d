"""Closed forms against each other and against independent recursions."""

import numpy as np
import pytest

from jaxcollapse import theory

N = np.asarray([2, 7, 20])


def test_one_generation_is_a_plain_fit():
    for variance in theory.GAUSSIAN_VARIANCE.values():
        np.testing.assert_allclose(variance(1, N, 0), 1 - 1 / N)
        np.testing.assert_allclose(variance(1, N, 1), 1)
    for ddof in (0, 1):
        for error in theory.GAUSSIAN_MEAN_ERROR.values():
            np.testing.assert_allclose(error(1, N, ddof), 1 / N)


@pytest.mark.parametrize("workflow", theory.GAUSSIAN_VARIANCE)
def test_variance_and_mean_error_sum_to_the_real_variance(workflow):
    t = np.asarray([1, 2, 3, 10, 100])[:, None]
    total = theory.GAUSSIAN_VARIANCE[workflow](t, N) + theory.GAUSSIAN_MEAN_ERROR[workflow](t, N)
    np.testing.assert_allclose(total, 1, rtol=1e-12)


@pytest.mark.parametrize("ddof", [0, 1])
def test_accumulate_approaches_its_limit(ddof):
    late = theory.gaussian_accumulate_variance(20_000, N, ddof)
    np.testing.assert_allclose(late, theory.gaussian_accumulate_variance_limit(N, ddof), rtol=1e-4)


def test_share_of_real_data():
    t = np.asarray([1, 2, 4])
    assert theory.share_of_real_data("replace", t).tolist() == [1, 0, 0]
    assert theory.share_of_real_data("accumulate", t).tolist() == [1, 0.5, 0.25]
    assert theory.share_of_real_data("half-real", t) is None


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
    assert theory.gaussian_metric("trace_ratio", "replace", 1, 1, 5, ddof=2) is None
    assert theory.gaussian_metric("wasserstein2", "replace", 1, 1, 5) is None
