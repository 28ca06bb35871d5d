"""Bandwidths of kernel density estimates in units of the spread of their points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import chains
from conftest import optimised_jit, standard_errors
from scipy import stats

import jaxcollapse as jc
from jaxcollapse import theory
from jaxcollapse.pools import View
from jaxcollapse.tasks.kde import family, fitting
from jaxcollapse.tasks.kde.bandwidths import Bandwidth, Scaled, bandwidth_rule

RULE = "scott-scaled"
POINT = {"dataset": "moons", "bandwidth": RULE, "num_samples": 10}


def test_it_is_that_of_scipy_in_one_dimension():
    points = np.random.default_rng(0).normal(3, 2, (40, 1)).astype(np.float32)
    view = View(jnp.asarray(points), jnp.ones(40, bool), jnp.ones(40, bool))
    h = fitting.fit(view, bandwidth_rule(RULE, 1), 1).bandwidth
    theirs = stats.gaussian_kde(points[:, 0]).covariance[0, 0] ** 0.5
    assert float(h) == pytest.approx(theirs * (39 / 40) ** 0.5, rel=1e-6)


def test_one_bandwidth_serves_all_coordinates():
    points = np.random.default_rng(0).normal(0, [1, 3], (40, 2)).astype(np.float32)
    some = np.arange(40) < 30
    view = View(jnp.asarray(points), jnp.asarray(some), jnp.ones(40, bool))
    h = fitting.fit(view, bandwidth_rule(RULE, 2), 1).bandwidth
    std = points[:30].var(axis=0).mean() ** 0.5
    assert float(h) == pytest.approx(30 ** (-1 / 6) * std, rel=1e-5)


@optimised_jit
def of_many(temperature):
    task = jc.publishers.tempered(jc.kde.task("moons", RULE, 10, num_test=1), temperature)
    return jax.vmap(jc.make_chain(task, "replace", 12))(jc.seed_keys(range(20_000)))


@pytest.mark.parametrize("temperature", [1.0, 0.4])
def test_it_grows_exponentially_under_replace(temperature):
    found, t = jax.device_get(of_many(np.float32(temperature))), np.arange(1, 13)
    point = {**POINT, "temperature": temperature}
    for name in ("pool_variance", "second_moment"):
        known = family.FAMILY.mean_of(name, jc.replace(), t, {}, point)
        for last in (1, 2, 5, 12):
            assert standard_errors(found[name][:, last - 1], known[last - 1]) < 5, (name, last)
        if name == "pool_variance":
            growth = (1 + temperature * 10 ** (-1 / 3)) * 0.9
            np.testing.assert_allclose(known[1:] / known[:-1], growth)


def test_other_workflows_have_no_closed_form():
    for workflow in (jc.accumulate(), jc.window(3), jc.fresh_real()):
        known = family.FAMILY.mean_of("pool_variance", workflow, np.arange(1, 3), {}, POINT)
        assert known is None


def test_sums_are_the_direct_evaluation():
    sums, direct = (
        chains(jc.kde.task("moons", RULE, 10, num_test=50, pool=pool), "accumulate", 12, 20)
        for pool in ("auto", "points")
    )
    for name in ("nll", "pool_variance", "second_moment"):
        np.testing.assert_allclose(sums[name], direct[name], rtol=2e-5, atol=1e-4, err_msg=name)


def test_scales_with_the_data():
    """Ten times the data are ten times the estimate, as under no other rule."""
    data = np.random.default_rng(1).normal(0, 1, (60, 2))

    def second_moment(scale):
        task = jc.kde.task("own", RULE, 20, num_test=20, data=scale * data)
        return chains(task, "replace", 5, 5)["second_moment"]

    np.testing.assert_allclose(second_moment(10.0), 100 * second_moment(1.0), rtol=1e-4)


def test_a_sweep_traces_it_as_a_rule_of_its_own():
    traced = [
        family.FAMILY.traced_at(jc.accumulate(), {**POINT, "bandwidth": rule}, {})["bandwidth"]
        for rule in (RULE, "scott")
    ]
    assert list(map(type, traced)) == [Scaled, Bandwidth]
    assert tuple(traced[0]) == tuple(traced[1])
    assert jax.tree.structure(traced[0]) != jax.tree.structure(traced[1])


def test_one_point_has_no_spread():
    with pytest.raises(ValueError, match="standard deviation: expected at least 2, got 1"):
        jc.kde.task("moons", RULE, 1)
    slope = jax.grad(lambda x: fitting.spread_of(x, jnp.ones(3, bool), x[0]).std)(jnp.ones((3, 2)))
    assert np.isfinite(slope).all()


def test_theory_of_a_fixed_share():
    t = np.arange(1, 5)
    known = theory.kde_scaled_pool_variance(2.0, 0.25, 10, t)
    np.testing.assert_allclose(known, 2.0 * (1.25 * 0.9) ** (t - 1))
