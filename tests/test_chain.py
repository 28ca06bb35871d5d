"""The chain as a function for other people's JAX programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import StartOver, chains, mean_task
from conftest import standard_errors

import jaxcollapse as jc
from jaxcollapse.task import modify

WORKFLOWS = ("replace", "accumulate", "accumulate-subsample")


@pytest.mark.parametrize(
    ("workflow", "expected"),
    [
        ("replace", lambda t: t / 8),
        ("accumulate", lambda t: sum(1 / i**2 for i in range(1, t + 1)) / 8),
    ],
)
def test_a_task_of_ones_own(workflow, expected):
    # The mean is a random walk under replace; under accumulate steps shrink as 1/t.
    error = chains(mean_task(), workflow, 10, 20_000)["error"]
    for t in (1, 2, 10):
        assert standard_errors(error[:, t - 1], expected(t)) < 5


def test_a_subsample_of_all_is_the_pool():
    # With all points of generation 1 drawn, subsampling starts where the others do.
    first = [
        jax.jit(jc.make_chain(mean_task(), workflow, 1))(jax.random.key(4))["error"]
        for workflow in (jc.replace, jc.accumulate, jc.accumulate_subsample)
    ]
    np.testing.assert_allclose(first[1:], [first[0]] * 2, rtol=1e-6)


def test_smaller_subsample_has_the_error_of_its_size():
    error = chains(mean_task(), jc.accumulate_subsample(size=2), 1, 20_000)["error"]
    assert standard_errors(error, 1 / 2) < 5


def test_subsample_larger_than_the_first_pool():
    chain = jc.make_chain(mean_task(), jc.accumulate_subsample(size=9), 2)
    with pytest.raises(ValueError, match="subsample size: expected at most the 8 points"):
        chain(jax.random.key(0))


def test_workflows_by_name_function_and_value():
    ways = ("accumulate", jc.accumulate, jc.accumulate(), jc.Workflow, jc.Workflow())
    assert {jc.make_chain(mean_task(), way, 3).workflow for way in ways} == {jc.accumulate()}


def test_a_workflow_of_ones_own():
    # Real data once more each generation: the chain starts over, so nothing ever drifts.
    error = jax.jit(jc.make_chain(mean_task(), StartOver, 5))(jax.random.key(6))["error"]
    np.testing.assert_allclose(error, error[0], rtol=1e-6)


def test_chain_inside_jit_vmap_and_scan():
    chain = jc.make_chain(jc.gaussian.task(2, 8), jc.accumulate, 3)
    plain = chain(jax.random.key(7))["trace_ratio"]
    jitted = jax.jit(chain)(jax.random.key(7))["trace_ratio"]
    mapped = jax.jit(jax.vmap(chain))(jc.seed_keys([7]))["trace_ratio"][0]

    @jax.jit
    def scanned(keys):
        _, values = jax.lax.scan(lambda carry, key: (carry, chain(key)["trace_ratio"]), 0, keys)
        return values[0]

    for values in (jitted, mapped, scanned(jc.seed_keys([7, 8]))):
        np.testing.assert_allclose(plain, values, rtol=1e-5)


@pytest.mark.parametrize("workflow", [jc.replace, jc.accumulate])
def test_map_over_traced_sample_size_and_ddof(workflow):
    def last_variance(num_samples, ddof, key):
        task = jc.gaussian.task(2, num_samples, ddof)
        return jc.make_chain(task, workflow, 4)(key)["trace_ratio"][-1]

    sizes, ddofs = np.asarray([5, 50], np.int32), np.asarray([0.0, 0.5, 1.0], np.float32)
    grid = jax.vmap(jax.vmap(last_variance, (None, 0, None)), (0, None, None))
    traced = jax.jit(grid)(sizes, ddofs, jax.random.key(9))
    direct = jax.jit(last_variance, static_argnums=(0, 1))
    for i, j in [(0, 0), (1, 2)]:
        expected = direct(int(sizes[i]), float(ddofs[j]), jax.random.key(9))
        np.testing.assert_allclose(traced[i, j], expected, rtol=1e-5)


def slope_and_difference(function, at, step):
    """A function's slope by reverse mode, and its difference over a step to either side."""
    points = np.asarray([at, at + step, at - step], np.float32)
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(function)))(points)
    return float(slopes[0]), float(values[1] - values[2]) / (2 * step)


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_gradient_in_the_real_covariance(workflow):
    keys = jc.seed_keys(range(16))
    direction = np.asarray([[1.0, 0.0], [0.0, 0.0]], np.float32)
    base = np.asarray([[1.0, 0.3], [0.3, 0.5]], np.float32)

    def mean_trace(scale):
        task = jc.gaussian.task(2, 8, cov=base + scale * direction)
        metrics = jax.vmap(jc.make_chain(task, workflow, 5))(keys)
        return jnp.mean(metrics["trace_ratio"][:, -1])

    slope, difference = slope_and_difference(mean_trace, 1.0, 0.05)
    assert abs(slope) > 1e-3
    assert slope == pytest.approx(difference, rel=0.02)


def test_gradient_in_a_scale_of_all_directions():
    # The whole chain scales with the real covariance: a ratio has slope 0, an error slope itself.
    def final(scale):
        task = jc.gaussian.task(3, 10, cov=scale * np.eye(3, dtype=np.float32))
        metrics = jc.make_chain(task, jc.replace, 5)(jax.random.key(0))
        return metrics["trace_ratio"][-1], metrics["squared_error_of_mean"][-1]

    def with_slope(scale):
        return final(scale), jax.jacrev(final)(scale)

    (_, error), (slope_of_ratio, slope_of_error) = jax.jit(jax.vmap(with_slope))(
        np.asarray([1.0, 2.0], np.float32)
    )
    assert abs(float(slope_of_ratio[1])) < 1e-6
    assert float(slope_of_error[1]) == pytest.approx(float(error[0]), 1e-3)


def test_gradient_in_the_sample_size():
    def log_det(num_samples):
        task = jc.gaussian.task(2, num_samples)
        return jc.make_chain(task, jc.replace, 3)(jax.random.key(1))["log_det_ratio"][-1]

    slope, difference = slope_and_difference(log_det, 20.0, 0.1)
    assert slope == pytest.approx(difference, rel=0.02)


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
    with pytest.raises(ValueError, match="pool for accumulate-subsample: expected auto or points"):
        jc.make_chain(jc.gaussian.task(1, 5, pool="statistics"), jc.accumulate_subsample, 2)


@pytest.mark.parametrize("seeds", [[-1], [2**32], [1.5], ["a"]])
def test_seeds_are_whole_numbers(seeds):
    with pytest.raises(ValueError, match="seed: expected"):
        jc.seed_keys(seeds)


@pytest.mark.parametrize("workflow", WORKFLOWS)
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
    chain = jc.make_chain(mean_task(**functions), workflow, 3)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(chain, jax.random.key(0))
    fits = jax.eval_shape(jc.make_chain(mean_task(), workflow, 3), jax.random.key(0))
    assert fits["error"].shape == (3,)


def test_a_number_of_seeds_is_no_list_of_them():
    with pytest.raises(ValueError, match="seeds: expected whole numbers, got 4; use range"):
        jc.seed_keys(4)


# Functions of one's own in a task that is built in ----------------------------------------------


def scale_of(truth, model):
    return {"scale": jnp.trace(model.cov) / 2}


@pytest.mark.parametrize("workflow", WORKFLOWS)
@pytest.mark.parametrize("change", [lambda task: task._replace(evaluate=scale_of), None])
def test_an_evaluation_of_ones_own_reaches_whatever_pool_a_workflow_has(workflow, change):
    """In the coordinates of the data: the real covariance is twice the identity."""
    task = jc.gaussian.task(2, 8, cov=2.0)
    changed = change(task) if change else modify(task, evaluate=scale_of)
    chain = jc.make_chain(changed, workflow, 3)
    given = jc.make_chain(task, workflow, 3)

    @jax.jit
    def both(key):
        return chain(key), given(key)

    ours, theirs = both(jax.random.key(2))
    assert set(ours) == {"scale", "share_of_real_data"}
    np.testing.assert_allclose(ours["scale"], 2 * theirs["trace_ratio"], rtol=1e-5)


def test_what_else_a_task_is_made_of_is_not_replaced():
    for name in ("init", "pool", "noise", "statistics"):
        with pytest.raises(ValueError, match="what to replace of a task: expected one of fit, sam"):
            jc.gaussian.task(2, 8)._replace(**{name: None})
    with pytest.raises(ValueError, match="the fit of: expected one that may keep points"):
        modify(jc.gaussian.task(2, 8, pool="statistics"), fit=lambda key, view: view)


def test_a_gaussian_goes_on_under_replace_from_its_newest_batch():
    """From a window, whose batches are not in frames of their own: as on points, in law."""
    keys = jc.seed_keys(range(4000))

    def after(pool):
        task = jc.gaussian.task(2, 10, pool=pool)
        window = jc.make_chain(task, "window:keep=2", 4)
        replace = jc.make_chain(task, "replace", 5)

        def one(key):
            state, _ = window.run(window.init(key), 2)
            _, metrics = replace.step(replace.resume(state))
            return metrics["trace_ratio"], metrics["squared_error_of_mean"]

        return np.asarray(jax.jit(jax.vmap(one))(keys), np.float64)

    for ours, theirs in zip(after("statistics"), after("points"), strict=True):
        spread = np.sqrt((ours.var() + theirs.var()) / ours.size)
        assert abs(ours.mean() - theirs.mean()) < 5 * spread
