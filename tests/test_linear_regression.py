"""The regression task: against NumPy, its pools against each other, closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import FirstRows, chains
from conftest import optimised_jit, standard_errors
from scipy import stats

import jaxcollapse as jc
from jaxcollapse import theory
from jaxcollapse.pools import Beside, View
from jaxcollapse.tasks.linear_regression import fitting, least_squares
from jaxcollapse.tasks.linear_regression.least_squares import pseudo_inverse, repeated_rows
from jaxcollapse.workflows import as_workflow

WORKFLOWS = ("replace", "accumulate", "accumulate-subsample")


def examples(rows, dim, kind):
    """Fixed inputs and targets; some rows twice, or a column that others make up."""
    rng = np.random.default_rng(rows + 10 * dim)
    inputs = rng.normal(size=(rows, dim))
    if kind == "repeated rows":
        inputs[rows // 2 :] = inputs[: rows - rows // 2]
    if kind == "dependent columns":
        inputs[:, -1] = inputs[:, 0] - 2 * inputs[:, 1]
    return inputs.astype(np.float32), rng.normal(size=rows).astype(np.float32)


@pytest.mark.parametrize("kind", ["full rank", "repeated rows", "dependent columns"])
@pytest.mark.parametrize(("rows", "dim"), [(20, 5), (5, 20), (7, 7), (100, 32), (30, 40)])
def test_weights_are_those_of_numpy(rows, dim, kind):
    inputs, targets = examples(rows, dim, kind)
    ours = fitting.fit(inputs, targets)
    cut_off = max(rows, dim) * np.finfo(np.float32).eps
    inverse = np.linalg.pinv(inputs.astype(np.float64), rcond=cut_off)
    theirs = inverse @ targets
    assert np.linalg.norm(ours - theirs) < 1e-4 * np.linalg.norm(theirs)
    error = np.linalg.norm(pseudo_inverse(jnp.asarray(inputs)) - inverse)
    assert error < 1e-4 * np.linalg.norm(inverse)


@pytest.mark.parametrize(("rows", "dim"), [(12, 2), (12, 5), (12, 12), (12, 20), (80, 10)])
def test_repeated_rows_are_rows_that_repeat(rows, dim):
    """80 rows in 10 dimensions go through the normal equations, the others do not."""
    inputs, _ = examples(rows, dim, "full rank")
    rng = np.random.default_rng(0)
    drawn = rng.integers(rows, size=rows)
    targets = rng.normal(size=rows)
    theirs = np.linalg.pinv(inputs[drawn].astype(np.float64), rcond=1e-6) @ targets
    count = np.bincount(drawn, minlength=rows).astype(np.float32)
    total = np.bincount(drawn, targets, minlength=rows).astype(np.float32)
    ours = repeated_rows(inputs, count, total, np.int32(rows))
    assert np.linalg.norm(ours - theirs) < 1e-4 * np.linalg.norm(theirs)


@functools.cache
def histories(design, workflow, pool, dim, num_samples):
    """Metrics of many seeds, others for each pool; of a fixed design of more."""
    task = jc.linear_regression.task(dim, num_samples, 2.0, design=design, pool=pool)
    generations, seeds = (30, 5000) if design == "fixed" else (10, 2000)
    return chains(task, workflow, generations, seeds, first_seed=10_000 * (pool == "points"))


@pytest.mark.parametrize("design", ["fixed", "fresh"])
@pytest.mark.parametrize("workflow", ["replace", "accumulate"])
@pytest.mark.parametrize(
    ("dim", "num_samples"),
    [
        (3, 20),
        *(pytest.param(*given, marks=pytest.mark.slow) for given in ((1, 6), (10, 4), (5, 5))),
    ],
)
def test_points_and_statistics_draw_from_one_law(workflow, design, dim, num_samples):
    points, statistics = (
        histories(design, workflow, pool, dim, num_samples) for pool in ("points", "statistics")
    )
    for name in ("mse", "excess_risk"):
        for t in (1, 2, 5, 10):
            a, b = (values[name][:2000, t - 1] for values in (points, statistics))
            assert stats.ks_2samp(a, b).pvalue > 1e-4, (name, t)


@pytest.mark.parametrize("pool", ["statistics", "points"])
@pytest.mark.parametrize("workflow", ["replace", "accumulate"])
@pytest.mark.parametrize(("dim", "num_samples"), [(1, 6), (3, 20), (10, 4)])
def test_mean_error(workflow, pool, dim, num_samples):
    metrics = histories("fixed", workflow, pool, dim, num_samples)
    for t in (1, 2, 10, 30):
        expected = theory.regression_error(as_workflow(workflow), t, dim, num_samples, 2.0)
        for name in ("mse", "excess_risk"):
            assert standard_errors(metrics[name][:, t - 1], expected) < 5, (name, t)


@pytest.mark.parametrize(("dim", "num_samples"), [(3, 20), (10, 4)])
def test_mean_error_of_fresh_designs(dim, num_samples):
    metrics = histories("fresh", "replace", "statistics", dim, num_samples)
    for t in (1, 2, 5, 10):
        expected = theory.regression_error(jc.replace(), t, dim, num_samples, 2.0, False)
        for name in ("mse", "excess_risk"):
            assert standard_errors(metrics[name][:, t - 1], expected) < 5, (name, t)
    # Without noise half of what there is goes in each generation.
    known = theory.regression_error(jc.replace(), np.arange(1, 5), 20, 10, 0.0, False)
    np.testing.assert_allclose(known, [10, 15, 17.5, 18.75])


def test_subsample_has_the_leading_order():
    task = jc.linear_regression.task(2, 400, 1.0)
    metrics = chains(task, "accumulate-subsample", 30, 2000, jit=optimised_jit)
    for t in (2, 10, 30):
        expected = theory.regression_error(jc.accumulate_subsample(), t, 2, 400, 1.0)
        # Of next order is D/N, to which repeated rows add.
        assert metrics["excess_risk"][:, t - 1].mean() == pytest.approx(expected, rel=0.05)
    limit = theory.regression_error(jc.accumulate_subsample(), 10**5, 2, 400, 1.0)
    assert limit == pytest.approx((np.pi**2 / 2 - 2) * 2 / 400, rel=1e-3)


def test_where_the_mean_is_infinite_theory_is_silent():
    for num_samples in (9, 10, 11):
        assert theory.regression_error(jc.replace(), 3, 10, num_samples, 1.0) is None


def test_deficient_subsamples_are_rank_deficient_least_squares():
    """One subsample of the task against NumPy on the same rows."""
    num_samples, dim = 12, 10
    rng = np.random.default_rng(1)
    design = rng.normal(size=(num_samples, dim)).astype(np.float32)
    rows = rng.integers(num_samples, size=num_samples).astype(np.int32)
    targets = rng.normal(size=num_samples).astype(np.float32)
    task = jc.linear_regression.task(dim, num_samples, 1.0, pool="points")
    mask = np.ones(num_samples, bool)
    view = Beside(View(fitting.Batch(rows, targets), jnp.asarray(mask), ~mask), design)
    weights = task.fit(jax.random.key(0), view).weights
    assert len(set(rows.tolist())) < dim
    theirs = np.linalg.pinv(design[rows].astype(np.float64), rcond=1e-6) @ targets
    assert np.linalg.norm(weights - theirs) < 1e-4 * np.linalg.norm(theirs)


@pytest.mark.parametrize("dim", [7, 8, 10])
def test_a_workflow_that_shows_few_rows(dim):
    """Five of a hundred rows: the normal equations would be singular."""
    task = jc.linear_regression.task(dim, 100, 1.0, pool="points")
    assert np.isfinite(chains(task, FirstRows(), 4, 20)["excess_risk"]).all()


def test_more_rows_than_an_int32_counts():
    task = jc.linear_regression.task(2, 10**9, 1.0, design="fresh", pool="statistics")
    assert (chains(task, "accumulate", 5, 3)["excess_risk"] < 1e-6).all()


@pytest.mark.parametrize(
    ("design", "workflows"),
    # Under accumulate a fixed design adds up numbers, a fresh one is decomposed.
    [("fixed", ("replace", "accumulate-subsample")), ("fresh", WORKFLOWS)],
)
def test_float64_when_enabled(design, workflows):
    with jax.enable_x64(True):
        for workflow in workflows:
            task = jc.linear_regression.task(9, 40, 1.0, design=design)
            values = chains(task, workflow, 3, 4)["excess_risk"]
            assert values.dtype == np.float64
            assert np.isfinite(values).all()


def test_noise_variance_compiles_no_program(compilations):
    axes = {"dim": [2], "noise_variance": [0.1, 1, 10.0], "num_samples": [4, 9]}
    result = jc.sweep("linear-regression", WORKFLOWS, axes, 3, 3, num_test=9)
    # One each for replace and accumulate, whatever N; one for each N that is drawn from.
    assert result.attrs["programs"] == 4
    assert len(compilations) <= 4
    assert result["mse"].dims[1:4] == ("dim", "noise_variance", "num_samples")


@pytest.mark.slow
def test_errors_scale_with_the_noise():
    """For N > D the error is s^2 times that of s = 1, seed by seed."""
    for workflow in WORKFLOWS:
        one = chains(jc.linear_regression.task(3, 30, 1.0), workflow, 5, 4)["excess_risk"]
        four = chains(jc.linear_regression.task(3, 30, 4.0), workflow, 5, 4)["excess_risk"]
        np.testing.assert_allclose(four, 4 * one, rtol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise_variance": -1.0}, "noise_variance: expected a finite number of at least 0"),
        ({"dim": 0}, "dim: expected at least 1"),
        ({"design": "random"}, "design: expected one of fixed, fresh"),
        ({"num_test": 0}, "num_test: expected at least 1"),
    ],
)
def test_refused(change, message):
    with pytest.raises(ValueError, match=message):
        jc.linear_regression.task(**({"dim": 2, "num_samples": 5} | change))
    with pytest.raises(ValueError, match="inputs and targets: expected"):
        jc.linear_regression.fit(np.zeros((3, 2)), np.zeros(2))


def test_num_samples_may_be_traced_on_statistics():
    def error(num_samples):
        task = jc.linear_regression.task(2, num_samples, 1.0, pool="statistics")
        return jc.make_chain(task, "replace", 3)(jax.random.key(0))["excess_risk"]

    both = jax.jit(jax.vmap(error))(jnp.asarray([5, 50]))
    np.testing.assert_allclose(both[0], jax.jit(error, static_argnums=0)(5), rtol=1e-5)
    with pytest.raises(ValueError, match="num_samples: expected a number known before tracing"):
        jax.eval_shape(
            lambda n: jc.make_chain(
                jc.linear_regression.task(2, n, 1.0, pool="points"), "replace", 2
            )(jax.random.key(0)),
            5,
        )


@pytest.mark.parametrize("dim", [8, 32])
def test_normal_equations_of_the_fewest_rows_they_take(dim):
    """Of a design as long, drawn with replacement, against float64: as right as a decomposition."""
    number = least_squares.rows_for_normal_equations(dim)
    rng = np.random.default_rng(dim)
    inputs = rng.standard_normal((50, number, dim))
    count = np.stack([np.bincount(rng.integers(number, size=number), minlength=number)] * 50)
    total = rng.standard_normal(count.shape) * count
    root = np.sqrt(count)
    scaled = np.divide(total, root, out=np.zeros_like(total), where=count > 0)
    want = np.stack(
        [np.linalg.pinv(r[:, None] * x) @ y for r, x, y in zip(root, inputs, scaled, strict=True)]
    )
    given = [x.astype(np.float32) for x in (inputs, count, total)]

    def worst(way):
        error = np.asarray(jax.vmap(way)(*given)) - want
        return np.max(np.linalg.norm(error, axis=1) / np.linalg.norm(want, axis=1))

    assert worst(least_squares._by_normal_equations) < 3e-6
    assert worst(least_squares._by_normal_equations) < 2 * worst(least_squares._by_decomposition)
