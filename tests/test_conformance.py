"""Every task under every workflow, through the same checks."""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import MICRO, random_text, standard_errors

import jaxcollapse as jc
from jaxcollapse.registry import as_family
from jaxcollapse.workflows import WORKFLOWS

POINTS = {
    "gaussian": [{"dim": 1, "num_samples": 4}, {"dim": 3, "num_samples": 8}],
    "kde": [
        {"dataset": "moons", "bandwidth": 0.3, "num_samples": 6},
        {"dataset": "swiss-roll", "bandwidth": "scott", "num_samples": 12},
    ],
    "linear-regression": [
        {"dim": 2, "noise_variance": 0.5, "num_samples": 7},
        {"dim": 5, "noise_variance": 1.0, "num_samples": 4},
    ],
    "categorical": [{"num_outcomes": 5, "num_samples": 12}],
    "language-model": [{"model": MICRO, "num_samples": 4}],
}
OPTIONS = {"language-model": {"data": random_text(), "learning_rate": 1e-2, "batch_size": 2}}
CASES = [
    (family, point, workflow, pool)
    for family, workflow, pool in itertools.product(
        map(as_family, POINTS), WORKFLOWS.values(), ("auto", "points")
    )
    for index, point in enumerate(POINTS[family.name])
    # A language model keeps points in any case.
    if not (family.name == "language-model" and pool == "auto")
    # A workflow that draws points runs on them under "auto" as well.
    if (index == 0 if pool == "points" else not workflow().needs_points or index > 0)
]
FAST_TO_COMPILE = {"xla_backend_optimization_level": 0}
IDS = [
    "-".join([f.name, *(f"{k}{v}" for k, v in point.items() if k != "model"), w().name, pool])
    for f, point, w, pool in CASES
]


# All tests of a case run one after another, so that its programs need not be kept for long.
@pytest.fixture(params=CASES, ids=IDS, scope="module")
def case(request):
    yield request.param
    compiled.cache_clear()


def chain_of(case, generations):
    family, point, workflow, pool = case
    options = OPTIONS.get(family.name, {})
    return jc.make_chain(family.make(**point, **options, pool=pool), workflow, generations)


def jit(case, function):
    """Compiled; of a language model without what takes most of the time to compile."""
    slow = case[0].name == "language-model"
    return jax.jit(function, compiler_options=FAST_TO_COMPILE if slow else None)


@functools.cache
def compiled(name, generations):
    """A case's chain, compiled once for all tests of it."""
    case = CASES[IDS.index(name)]
    return jit(case, chain_of(case, generations))


def chain(case, generations):
    return compiled(IDS[CASES.index(case)], generations)


def test_metrics_are_those_declared_one_a_generation(case):
    metrics = chain(case, 4)(jax.random.key(0))
    assert set(metrics) == set(case[0].known(OPTIONS.get(case[0].name, {})))
    for value in metrics.values():
        chex.assert_shape(value, (4,))
        chex.assert_type(value, jnp.float32)
        assert np.isfinite(value).all()


def test_a_generation_does_not_depend_on_how_many_follow(case):
    short = chain(case, 4)(jax.random.key(1))
    long = chain(case, 9)(jax.random.key(1))
    for name, values in short.items():
        np.testing.assert_allclose(values, long[name][:4], rtol=1e-5, atol=1e-6)


def test_a_seed_is_the_same_alone_and_among_others(case):
    many = jit(case, jax.vmap(chain_of(case, 4)))(jc.seed_keys(range(20)))
    alone = chain(case, 4)(jax.random.key(17))
    for name, values in alone.items():
        np.testing.assert_allclose(values, many[name][17], rtol=2e-5, atol=1e-6)


def test_the_first_generation_is_the_same_under_every_workflow(case):
    family, point, _, pool = case
    if pool != "points":
        pytest.skip("one pool for all workflows is the points pool")
    first = jit(case, chain_of((family, point, jc.replace, pool), 1))(jax.random.key(2))
    ours = chain(case, 4)(jax.random.key(2))
    for name, values in first.items():
        np.testing.assert_allclose(values[0], ours[name][0], rtol=1e-5, atol=1e-6)


def test_share_of_real_data(case):
    _, _, workflow, _ = case
    seeds = 40 if case[0].name == "language-model" else 400
    share = jit(case, jax.vmap(chain_of(case, 6)))(jc.seed_keys(range(seeds)))["share_of_real_data"]
    expected = jc.theory.share_of_real_data(workflow().name, np.arange(1, 7))
    if not workflow().needs_points:
        np.testing.assert_allclose(share, np.tile(expected, (seeds, 1)), rtol=1e-6)
        return
    np.testing.assert_array_equal(share[:, 0], 1.0)
    for t in range(1, 6):
        assert standard_errors(share[:, t], expected[t]) < 5


def test_no_key_is_used_twice(case):
    with jax.debug_key_reuse(True):
        metrics = jit(case, chain_of(case, 4))(jax.random.key(3))
    for name, values in chain(case, 4)(jax.random.key(3)).items():
        assert metrics[name].shape == values.shape


def test_families_are_complete(case):
    family, point, workflow, _ = case
    assert set(point) == set(family.axes)
    assert {"corrected", "authors"} <= set(family.presets)
    assert family.work(**point) > 0
    options = {"pool": "auto", **OPTIONS.get(family.name, {})}
    family.check(workflow(), point, options)
    traced = family.traced(workflow(), point, options)
    assert set(traced) <= {*family.axes, *options}
    numbers = int | float | np.ndarray | np.generic
    assert all(isinstance(leaf, numbers) for leaf in jax.tree.leaves(traced))
    for metric in family.metrics.values():
        assert metric.long_name
        assert metric.units
