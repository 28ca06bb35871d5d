"""The chain as a function for other people's JAX programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcollapse as jc


def mean_task(num_samples=8):
    """Points on a line, of which only the mean is fitted."""

    def init(key):
        return 0.0, jax.random.normal(key, (num_samples,))

    def fit(key, view):
        return jnp.sum(jnp.where(view.mask, view.data, 0.0)) / jnp.sum(view.mask, dtype=float)

    def sample(key, mean):
        return mean + jax.random.normal(key, (num_samples,))

    return jc.points_task(init, fit, sample, lambda truth, mean: {"error": (mean - truth) ** 2})


@pytest.mark.parametrize(
    ("workflow", "expected"),
    [
        ("replace", lambda t: t / 8),
        ("accumulate", lambda t: sum(1 / i**2 for i in range(1, t + 1)) / 8),
    ],
)
def test_a_task_of_ones_own(workflow, expected):
    # The mean is a random walk under replace; under accumulate steps shrink as 1/t.
    chain = jc.make_chain(mean_task(), workflow, 10)
    error = np.asarray(jax.jit(jax.vmap(chain))(jc.seed_keys(range(20_000)))["error"], np.float64)
    for t in (1, 2, 10):
        values = error[:, t - 1]
        assert abs(values.mean() - expected(t)) < 5 * values.std() / np.sqrt(values.size)


def test_a_subsample_of_all_is_the_pool():
    # With all points of generation 1 drawn, subsampling starts where the others do.
    first = [
        jax.jit(jc.make_chain(mean_task(), workflow, 1))(jax.random.key(4))["error"]
        for workflow in (jc.replace, jc.accumulate, jc.accumulate_subsample)
    ]
    np.testing.assert_allclose(first[1:], [first[0]] * 2, rtol=1e-6)


def test_smaller_subsample_has_the_error_of_its_size():
    chain = jc.make_chain(mean_task(), jc.accumulate_subsample(size=2), 1)
    error = np.asarray(jax.jit(jax.vmap(chain))(jc.seed_keys(range(20_000)))["error"], np.float64)
    assert abs(error.mean() - 1 / 2) < 5 * error.std() / np.sqrt(error.size)


def test_subsample_larger_than_the_first_pool():
    chain = jc.make_chain(mean_task(), jc.accumulate_subsample(size=9), 2)
    with pytest.raises(ValueError, match="subsample size: expected at most the 8 points"):
        chain(jax.random.key(0))


def test_workflows_by_name_function_and_value():
    results = [
        jax.jit(jc.make_chain(mean_task(), workflow, 3))(jax.random.key(5))["error"]
        for workflow in ("accumulate", jc.accumulate, jc.accumulate())
    ]
    np.testing.assert_array_equal(results[1:], [results[0]] * 2)


def test_a_workflow_of_ones_own():
    # Real data once more each generation: the chain starts over, so nothing ever drifts.
    forgetful = jc.Workflow(
        name="start over",
        capacity=lambda num_generations: 1,
        select=lambda key, pool, state: pool.all(state),
        update=lambda pool, state, batch: state,
    )
    error = jax.jit(jc.make_chain(mean_task(), forgetful, 5))(jax.random.key(6))["error"]
    np.testing.assert_allclose(error, error[0], rtol=1e-6)


def test_chain_inside_jit_vmap_and_scan():
    chain = jc.make_chain(jc.gaussian.task(2, 8), jc.accumulate, 3)
    plain = chain(jax.random.key(7))["trace_ratio"]
    jitted = jax.jit(chain)(jax.random.key(7))["trace_ratio"]
    mapped = jax.vmap(chain)(jc.seed_keys([7]))["trace_ratio"][0]
    _, scanned = jax.lax.scan(
        lambda carry, key: (carry, chain(key)["trace_ratio"]), 0, jc.seed_keys([7, 8])
    )
    for values in (jitted, mapped, scanned[0]):
        np.testing.assert_allclose(plain, values, rtol=1e-5)


@pytest.mark.parametrize("workflow", [jc.replace, jc.accumulate])
def test_map_over_traced_sample_size_and_ddof(workflow):
    def last_variance(num_samples, ddof, key):
        task = jc.gaussian.task(2, num_samples, ddof)
        return jc.make_chain(task, workflow, 4)(key)["trace_ratio"][-1]

    sizes, ddofs = np.asarray([5, 50], np.int32), np.asarray([0.0, 0.5, 1.0], np.float32)
    grid = jax.vmap(jax.vmap(last_variance, (None, 0, None)), (0, None, None))
    traced = jax.jit(grid)(sizes, ddofs, jax.random.key(9))
    for i, j in [(0, 0), (1, 2)]:
        direct = jax.jit(last_variance, static_argnums=(0, 1))
        expected = direct(int(sizes[i]), float(ddofs[j]), jax.random.key(9))
        np.testing.assert_allclose(traced[i, j], expected, rtol=1e-5)


@pytest.mark.parametrize("workflow", [jc.replace, jc.accumulate, jc.accumulate_subsample])
def test_gradient_in_the_real_covariance(workflow):
    keys = jc.seed_keys(range(16))
    direction = np.asarray([[1.0, 0.0], [0.0, 0.0]], np.float32)
    base = np.asarray([[1.0, 0.3], [0.3, 0.5]], np.float32)

    def mean_trace(scale):
        task = jc.gaussian.task(2, 8, cov=base + scale * direction)
        metrics = jax.vmap(jc.make_chain(task, workflow, 5))(keys)
        return jnp.mean(metrics["trace_ratio"][:, -1])

    slope = jax.jit(jax.grad(mean_trace))(jnp.float32(1.0))
    step = 0.05
    evaluate = jax.jit(mean_trace)
    difference = (evaluate(jnp.float32(1 + step)) - evaluate(jnp.float32(1 - step))) / (2 * step)
    assert abs(float(slope)) > 1e-3
    assert float(slope) == pytest.approx(float(difference), rel=0.02)


def test_gradient_in_a_scale_of_all_directions():
    # The whole chain scales with the real covariance: a ratio has slope 0, an error slope itself.
    def final(scale, metric):
        task = jc.gaussian.task(3, 10, cov=scale * np.eye(3, dtype=np.float32))
        return jc.make_chain(task, jc.replace, 5)(jax.random.key(0))[metric][-1]

    slope = jax.jit(jax.grad(final), static_argnums=1)
    at_one = jax.jit(final, static_argnums=1)(jnp.float32(1.0), "squared_error_of_mean")
    assert abs(float(slope(jnp.float32(2.0), "trace_ratio"))) < 1e-6
    assert float(slope(jnp.float32(2.0), "squared_error_of_mean")) == pytest.approx(
        float(at_one), 1e-3
    )


def test_gradient_in_the_sample_size():
    def log_det(num_samples):
        task = jc.gaussian.task(2, num_samples)
        return jc.make_chain(task, jc.replace, 3)(jax.random.key(1))["log_det_ratio"][-1]

    slope = jax.jit(jax.grad(log_det))(jnp.float32(20.0))
    evaluate = jax.jit(log_det)
    difference = (evaluate(jnp.float32(20.1)) - evaluate(jnp.float32(19.9))) / 0.2
    assert float(slope) == pytest.approx(float(difference), rel=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("replce", 3), "workflow: expected one of replace, accumulate, accumulate-subsample"),
        (("replace", 0), "num_generations: expected at least 1, got 0"),
        (("replace", 2.5), "num_generations: expected a whole number, got 2.5"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        jc.make_chain(mean_task(), *arguments)


def test_statistics_cannot_be_subsampled():
    chain = jc.make_chain(jc.gaussian.task(1, 5, pool="statistics"), jc.accumulate_subsample, 2)
    with pytest.raises(ValueError, match="pool to draw from: expected one that keeps points"):
        chain(jax.random.key(0))


@pytest.mark.parametrize("seeds", [[-1], [2**32], [1.5], ["a"]])
def test_seeds_are_whole_numbers(seeds):
    with pytest.raises(ValueError, match="seed: expected"):
        jc.seed_keys(seeds)


def own_task(sample=None, evaluate=None):
    """The mean of 8 numbers, as a user's task."""

    def draw(key, mean=0.0):
        return mean + jax.random.normal(key, (8,))

    def fit(key, view):
        return jnp.sum(jnp.where(view.mask, view.data, 0.0)) / jnp.sum(view.mask, dtype=float)

    return jc.points_task(
        lambda key: (0.0, draw(key)),
        fit,
        sample or draw,
        evaluate or (lambda truth, mean: {"mean": mean}),
    )


@pytest.mark.parametrize("workflow", ["replace", "accumulate", "accumulate-subsample"])
@pytest.mark.parametrize(
    ("functions", "message"),
    [
        (
            {"sample": lambda key, mean: mean + jax.random.normal(key, (5,))},
            r"shapes and types of init's, float32\[8\], got float32\[5\]; make every",
        ),
        (
            {"sample": lambda key, mean: jax.random.poisson(key, 4.0, (8,))},
            r"shapes and types of init's, float32\[8\], got int32\[8\]; make every",
        ),
        (
            {"evaluate": lambda truth, mean: {"share_of_real_data": mean}},
            "expected a name of its own, got share_of_real_data; rename it",
        ),
    ],
)
def test_tasks_of_ones_own_that_do_not_fit_are_refused(workflow, functions, message):
    task = own_task(**functions)
    chain = jc.make_chain(task, workflow, 3)
    with pytest.raises(ValueError, match=message):
        jax.jit(chain)(jax.random.key(0))
    assert jax.jit(jc.make_chain(own_task(), workflow, 3))(jax.random.key(0))["mean"].shape == (3,)


def test_a_number_of_seeds_is_no_list_of_them():
    with pytest.raises(ValueError, match="seeds: expected whole numbers, got 4; use range"):
        jc.seed_keys(4)
