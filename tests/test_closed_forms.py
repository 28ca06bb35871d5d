"""The simulator against every Gaussian closed form, to five standard errors over 20,000 seeds."""

import numpy as np
import pytest
from conftest import run_gaussian, standard_errors

from jaxcollapse import theory
from jaxcollapse.workflows import as_workflow

SEEDS = 20_000
GENERATIONS = (1, 2, 10, 100)
# The points of 100 generations, refitted in each of them, take minutes: these take 30.
FEWER = (1, 2, 10, 30)
DDOF = (0, 1)
POOLS = {
    "replace": ("statistics", "points"),
    "accumulate": ("statistics", "points"),
    "accumulate-subsample": ("points",),
}
CELLS = [
    pytest.param(
        workflow,
        pool,
        dim,
        num_samples,
        id=f"{workflow}-{pool}-d{dim}-n{num_samples}",
        # Refitting to the points of 100 generations is what statistics spare us: minutes; of
        # subsamples the larger cells take longest.
        marks=[pytest.mark.slow]
        if ((workflow, pool) == ("accumulate", "points") and (dim, num_samples) != (1, 7))
        or (workflow == "accumulate-subsample" and dim * num_samples >= 20)
        or (dim, num_samples) in ((1, 2), (1, 20), (3, 7))
        else [],
    )
    for workflow, pools in POOLS.items()
    for pool in pools
    for dim in (1, 3)
    for num_samples in (2, 7, 20)
]


def histories(workflow, pool, dim, num_samples):
    """Metrics ``[2, S, G]``, ddof first."""
    last = max(generations_of(workflow, pool, dim, num_samples))
    return run_gaussian(workflow, pool, dim, num_samples, last, SEEDS)


def generations_of(workflow, pool, dim, num_samples):
    fewer = (workflow, pool, dim, num_samples) == ("accumulate", "points", 1, 7)
    return FEWER if fewer else GENERATIONS


def mean_can_be_seen(workflow, ddof, num_samples, t):
    """Whether 20,000 seeds show the mean of the variance under replace.

    There v_t is a product of independent chi-squares, whose relative variance is
    ``((n+1)/(n-1))^t - 1``: soon no seed of any sample comes near those that make the mean.
    """
    return workflow != "replace" or ((num_samples + 1) / (num_samples - 1)) ** t < SEEDS / 200


@pytest.mark.parametrize(("workflow", "pool", "dim", "num_samples"), CELLS)
def test_means(workflow, pool, dim, num_samples):
    metrics = histories(workflow, pool, dim, num_samples)
    record = as_workflow(workflow)
    for ddof in DDOF:
        for t in generations_of(workflow, pool, dim, num_samples):
            trace = metrics["trace_ratio"][ddof, :, t - 1]
            error = metrics["squared_error_of_mean"][ddof, :, t - 1]
            if mean_can_be_seen(workflow, ddof, num_samples, t):
                variance = theory.gaussian_variance(record, t, num_samples, ddof)
                assert standard_errors(trace, variance) < 5, ("variance", ddof, t)
            if ddof == 0 or mean_can_be_seen(workflow, ddof, num_samples, t):
                expected = dim * theory.gaussian_mean_error(record, t, num_samples, ddof)
                assert standard_errors(error, expected) < 5, ("mean", ddof, t)
            if ddof == 0:
                assert standard_errors(trace + error / dim, 1.0) < 5, ("invariant", t)


@pytest.mark.parametrize(
    ("workflow", "pool", "dim", "num_samples"), [c for c in CELLS if c.values[0] == "replace"]
)
def test_log_determinant_under_replace(workflow, pool, dim, num_samples):
    log_det = histories("replace", pool, dim, num_samples)["log_det_ratio"]
    for ddof in DDOF:
        drift = theory.gaussian_replace_log_det_drift(num_samples, dim, ddof)
        for t in GENERATIONS:
            if num_samples <= dim:
                assert (log_det[ddof, :, t - 1] == -np.inf).all()
            else:
                assert standard_errors(log_det[ddof, :, t - 1], t * drift) < 5


@pytest.mark.parametrize(("dim", "num_samples"), [(1, 7), (1, 20), (3, 20)])
def test_determinant_under_replace(dim, num_samples):
    log_det = histories("replace", "statistics", dim, num_samples)["log_det_ratio"]
    for t in (1, 2, 10):
        determinant = np.exp(log_det[0, :, t - 1].astype(np.float64))
        expected = theory.gaussian_replace_det_ratio(t, num_samples, dim)
        assert standard_errors(determinant, expected) < 5


def test_wasserstein_under_replace_in_one_dimension():
    both = histories("replace", "statistics", 1, 20)["wasserstein2"].astype(np.float64)
    for ddof, distance in zip(DDOF, both, strict=True):
        for t in GENERATIONS:
            if ddof == 1 and not mean_can_be_seen("replace", ddof, 20, t):
                continue
            expected = theory.gaussian_replace_wasserstein2_squared(t, 20, ddof)
            assert standard_errors(distance[:, t - 1] ** 2, expected) < 5


@pytest.mark.parametrize("num_samples", [2, 7, 20])
def test_tails_under_replace_in_one_dimension(num_samples):
    log_variance = histories("replace", "statistics", 1, num_samples)["log_det_ratio"]
    below_one = 0
    for ddof in DDOF:
        for t in GENERATIONS:
            std = np.exp(0.5 * log_variance[ddof, :, t - 1].astype(np.float64))
            for e in (0.05, 0.5, 1.0):
                bound = theory.gaussian_tail_bound(t, num_samples, e)
                below_one += bound < 1
                spread = (bound * (1 - bound) / SEEDS) ** 0.5
                assert np.mean(std > e) <= bound + 5 * spread
    assert below_one > 5
    # The mean of s_t, from the mean of (1 - s_t)^2 + (mu_t - mu_0)^2.
    t = np.asarray(GENERATIONS)
    twice = theory.gaussian_replace_wasserstein2_squared(t, num_samples, 1) - t / num_samples
    assert (1 - twice / 2 <= theory.gaussian_tail_bound(t, num_samples, 1.0)).all()
