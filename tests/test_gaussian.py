"""The Gaussian task: its two pools against each other, and its pieces against NumPy and SciPy."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import chains
from conftest import standard_errors
from scipy import linalg, special, stats

import jaxcollapse as jc
from jaxcollapse import theory
from jaxcollapse.tasks.gaussian import fitting
from jaxcollapse.tasks.gaussian.affine import Gaussian, compose, from_factor, singular_values
from jaxcollapse.workflows import as_workflow


@functools.cache
def on_statistics(workflow, dim):
    """Chains of 2,000 seeds as a function of N, which one program serves."""

    def many(num_samples, keys):
        task = jc.gaussian.task(dim, num_samples, 1, pool="statistics")
        return jax.vmap(jc.make_chain(task, workflow, 30))(keys)

    return jax.jit(many)


@pytest.mark.parametrize("workflow", ["replace", "accumulate"])
@pytest.mark.parametrize(
    ("dim", "num_samples"),
    [
        (3, 10),
        pytest.param(1, 2, marks=pytest.mark.slow),
        pytest.param(3, 2, marks=pytest.mark.slow),
        pytest.param(3, 3, marks=pytest.mark.slow),
        pytest.param(5, 4, marks=pytest.mark.slow),
    ],
)
def test_points_and_statistics_draw_from_one_law(workflow, dim, num_samples):
    points = chains(jc.gaussian.task(dim, num_samples, 1, pool="points"), workflow, 30)
    keys = jc.seed_keys(range(10_000, 12_000))
    statistics = jax.device_get(on_statistics(workflow, dim)(np.int32(num_samples), keys))
    for name in points:
        for t in (1, 2, 10, 30):
            a, b = points[name][:, t - 1], statistics[name][:, t - 1]
            if name == "kl" and num_samples > dim:  # beyond float32 once a model has collapsed
                a, b = np.minimum(a, 1e38), np.minimum(b, 1e38)
            np.testing.assert_array_equal(np.isfinite(a).mean(), np.isfinite(b).mean())
            if np.isfinite(a).all():
                assert stats.ks_2samp(a, b).pvalue > 1e-4, (name, t)


@pytest.mark.parametrize("pool", ["points", "statistics"])
@pytest.mark.parametrize(("dim", "num_samples"), [(1, 2), (3, 7), (10, 100), (10, 5)])
def test_a_thousand_generations_of_replace(pool, dim, num_samples):
    task = jc.gaussian.task(dim, num_samples, pool=pool)
    history = chains(task, jc.replace, 1000, seeds=8)
    assert not any(np.isnan(values).any() for values in history.values())
    log_det = history["log_det_ratio"][:, -1]
    if num_samples <= dim:
        assert (log_det == -np.inf).all()
    else:
        # Far below what a float can hold, to within the spread of eight seeds.
        expected = 1000 * theory.gaussian_replace_log_det_drift(num_samples, dim)
        dof = num_samples - 1 - np.arange(dim)
        spread = np.sqrt(1000 * special.polygamma(1, dof / 2).sum())
        assert abs(log_det.mean() - expected) < 5 * spread / np.sqrt(8)
    # Once collapsed, the model is a point: W2^2 = |m|^2 + tr S0.
    collapsed = history["trace_ratio"][:, -1] < 1e-6
    reach = np.sqrt(history["squared_error_of_mean"][:, -1] + dim)
    np.testing.assert_allclose(history["wasserstein2"][collapsed, -1], reach[collapsed], rtol=1e-2)


def test_float64_when_enabled():
    with jax.enable_x64(True):
        history = chains(jc.gaussian.task(2, 5), jc.accumulate, 3, seeds=4)
        points = chains(jc.gaussian.task(2, 5), jc.accumulate_subsample, 3, seeds=4)
    assert {values.dtype for values in [*history.values(), *points.values()]} == {np.dtype("f8")}
    assert all(np.isfinite(v).all() for v in [*history.values(), *points.values()])


REAL = {
    "identity": None,
    "variance": 4.0,
    "variances": np.asarray([1.0, 2.0, 0.5]),
    "full": np.asarray([[2.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2, 0.3]]),
    "ill-conditioned": np.diag([1e6, 1.0, 1e-6]),
    "singular": np.outer([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) + np.diag([0.0, 0.0, 1.0]),
}


@pytest.mark.parametrize(
    ("workflow", "name"),
    [
        *(("replace", name) for name in REAL),
        *(("accumulate-subsample", name) for name in ("variance", "full", "singular")),
    ],
)
def test_any_real_covariance(workflow, name):
    cov = REAL[name]
    task = jc.gaussian.task(3, 12, mean=[1.0, -2.0, 0.0], cov=cov)
    history = chains(task, workflow, 5, seeds=4000)
    record = as_workflow(workflow)
    full = np.eye(3) if cov is None else np.asarray(cov) * np.eye(3) if np.ndim(cov) < 2 else cov
    for t in (1, 5):
        trace = history["trace_ratio"][:, t - 1].astype(np.float64)
        error = history["squared_error_of_mean"][:, t - 1].astype(np.float64) / np.trace(full)
        assert standard_errors(trace + error, 1) < 5
        assert standard_errors(trace, theory.gaussian_variance(record, t, 12)) < 5
    assert np.isfinite(history["log_det_ratio"]).all()


def test_evaluate_against_numpy():
    rng = np.random.default_rng(0)
    real = rng.standard_normal((4, 4))
    real_cov = real @ real.T + 0.1 * np.eye(4)
    real_factor = np.linalg.cholesky(real_cov)
    factor = np.tril(rng.standard_normal((4, 4)))
    np.fill_diagonal(factor, np.abs(np.diag(factor)))
    shift = rng.standard_normal(4)
    cov = real_factor @ factor @ factor.T @ real_factor.T
    model = from_factor(shift.astype(np.float32), factor.astype(np.float32))
    truth = fitting.Truth(np.zeros(4, np.float32), real_factor.astype(np.float32))
    ours = fitting.evaluate(truth, model, rank=4)
    error = float(np.sum((real_factor @ shift) ** 2))
    root = linalg.sqrtm(linalg.sqrtm(real_cov) @ cov @ linalg.sqrtm(real_cov)).real
    wasserstein = np.sqrt(error + np.trace(cov) + np.trace(real_cov) - 2 * np.trace(root))
    assert float(ours["squared_error_of_mean"]) == pytest.approx(error, rel=1e-4)
    assert float(ours["squared_error_of_cov"]) == pytest.approx(
        np.sum((cov - real_cov) ** 2), rel=1e-4
    )
    assert float(ours["trace_ratio"]) == pytest.approx(np.trace(cov) / np.trace(real_cov), rel=1e-4)
    log_det = np.linalg.slogdet(cov)[1] - np.linalg.slogdet(real_cov)[1]
    assert float(ours["log_det_ratio"]) == pytest.approx(log_det, rel=1e-4)
    assert float(ours["wasserstein2"]) == pytest.approx(wasserstein, rel=1e-4)
    inverse = np.linalg.inv(cov)
    away = real_factor @ shift
    kl = 0.5 * (np.trace(inverse @ real_cov) + away @ inverse @ away - 4 + log_det)
    assert float(ours["kl"]) == pytest.approx(kl, rel=1e-3)


@pytest.mark.parametrize("shape", [(50, 3), (5, 3), (3, 3), (2, 5), (1, 2)])
@pytest.mark.parametrize("ddof", [0, 1])
def test_fit_against_numpy(shape, ddof):
    points = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    if shape[0] == ddof:
        with pytest.raises(ValueError, match="points: expected more than ddof, 1, got 1"):
            jc.gaussian.fit(points, ddof)
        return
    model = jc.gaussian.fit(points, ddof)
    np.testing.assert_allclose(model.mean, points.mean(axis=0), rtol=1e-5, atol=1e-6)
    expected = np.cov(points.T, ddof=ddof).reshape(shape[1], shape[1])
    np.testing.assert_allclose(model.cov, expected, rtol=1e-4, atol=1e-6)
    assert (model.log_det == -np.inf) == (shape[0] <= shape[1])


def test_sample_has_the_mean_and_covariance_of_its_model():
    factor = np.asarray([[1.0, 0.0], [0.5, 0.2]], np.float32)
    model = from_factor(np.asarray([3.0, -1.0], np.float32), factor)
    points = np.asarray(jc.gaussian.sample(jax.random.key(0), model, 200_000), np.float64)
    assert points.shape == (200_000, 2)
    cov = factor @ factor.T
    error = 5 * np.sqrt(np.diag(cov) / len(points))
    assert (np.abs(points.mean(axis=0) - [3, -1]) < error).all()
    np.testing.assert_allclose(np.cov(points.T), cov, rtol=0.05)


def test_composition_is_the_composition_of_maps():
    rng = np.random.default_rng(2)

    def random_gaussian():
        factor = np.tril(rng.standard_normal((3, 3)))
        np.fill_diagonal(factor, np.abs(np.diag(factor)))
        return from_factor(rng.standard_normal(3).astype(np.float32), factor.astype(np.float32))

    a, b, c = random_gaussian(), random_gaussian(), random_gaussian()
    ab = compose(a, b)
    np.testing.assert_allclose(ab.mean, a.mean + a.factor @ b.mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ab.factor, a.factor @ b.factor, rtol=1e-4, atol=1e-5)
    left, right = compose(ab, c), compose(a, compose(b, c))
    for one, other in zip(left, right, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_composition_of_singular_maps():
    line = Gaussian(np.zeros(2, np.float32), np.eye(2, dtype=np.float32), np.float32([0, -np.inf]))
    both = compose(line, line)
    assert np.isfinite(both.factor).all()
    np.testing.assert_array_equal(both.log_diagonal, [0, -np.inf])


@pytest.mark.parametrize("rank", [1, 9, 20, 40, 100])
def test_singular_values_of_any_rank(rank):
    matrix = np.zeros((100, 100), np.float32)
    matrix[:, :rank] = np.random.default_rng(3).standard_normal((100, rank))
    expected = np.linalg.svd(matrix, compute_uv=False)
    for static in ((), (1,)):
        bound = rank if static else np.float32(rank)
        ours = jax.jit(singular_values, static_argnums=static)(matrix, bound)
        np.testing.assert_allclose(np.sort(ours), np.sort(expected), atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": 0, "num_samples": 5}, "dim: expected at least 1, got 0"),
        ({"dim": 1, "num_samples": -5}, "num_samples: expected at least 1, got -5"),
        ({"dim": 1, "num_samples": 2.5}, "num_samples: expected a whole number, got 2.5"),
        ({"dim": 1, "num_samples": 1, "ddof": 1}, "ddof: expected from 0 to below num_samples"),
        ({"dim": 1, "num_samples": 5, "pool": "bag"}, "pool: expected one of auto"),
        ({"dim": 2, "num_samples": 5, "cov": [[1, 2], [2, 1]]}, "positive semidefinite"),
        ({"dim": 2, "num_samples": 5, "cov": [[1, 2], [0, 1]]}, "finite and symmetric"),
        ({"dim": 2, "num_samples": 5, "cov": [1, 2, 3]}, r"got shape \(3,\)"),
        ({"dim": 2, "num_samples": 5, "cov": 0.0}, "positive semidefinite and not 0"),
        ({"dim": 2, "num_samples": 5, "cov": -1.0}, "positive semidefinite"),
        ({"dim": 2, "num_samples": 5, "cov": np.nan}, "finite and symmetric"),
        ({"dim": 2, "num_samples": 5, "mean": [1, 2, 3]}, r"mean: expected shape \(2,\)"),
        ({"dim": 1, "num_samples": 5, "mean": [np.nan]}, "mean: expected finite"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        jc.gaussian.task(**arguments)


@functools.cache
def barely_enough_statistics():
    return chains(jc.gaussian.task(30, 31, pool="statistics"), "accumulate", 3, 400, 10_000)


@pytest.mark.parametrize("generations", [1, 3])
def test_barely_enough_points_in_many_dimensions(generations):
    """The scatter of 31 points in 30 dimensions is too ill-conditioned for float32."""
    points = chains(jc.gaussian.task(30, 31, pool="points"), "accumulate", generations, seeds=400)
    statistics = barely_enough_statistics()
    for t in range(generations):
        a, b = points["log_det_ratio"][:, t], statistics["log_det_ratio"][:, t]
        assert np.isfinite(a).all()
        assert stats.ks_2samp(a, b).pvalue > 1e-4


def test_what_is_not_a_number_stays_so():
    factor = np.asarray([[1.0, 0.0], [0.0, np.nan]], np.float32)
    assert np.isnan(from_factor(np.zeros(2, np.float32), factor).log_det)


def test_one_point_without_bias_correction_is_a_point_mass():
    history = chains(jc.gaussian.task(2, 1), jc.replace, 3, seeds=5)
    assert (history["trace_ratio"] == 0).all()
    assert (history["log_det_ratio"] == -np.inf).all()
    assert np.isfinite(history["wasserstein2"]).all()


@pytest.mark.parametrize(("draw", "dim"), [(3, 3), (2, 3), (3, 5)])
def test_few_rows_drawn_of_a_window_span_no_frame(draw, dim):
    """Rows that a model has not seen lie beside it, and have no place in its coordinates."""
    workflow, size, seeds = jc.Workflow(keep=3, draw=draw), 8, 4000
    chain = jc.make_chain(jc.gaussian.task(dim, size), workflow, 5)
    metrics = jax.vmap(chain)(jc.seed_keys(range(seeds)))
    variance = np.asarray(metrics["trace_ratio"], np.float64)
    error = np.asarray(metrics["squared_error_of_mean"], np.float64) / dim
    t = np.arange(1, 6)
    for found, known in (
        (variance, jc.theory.gaussian_variance(workflow, t, size)),
        (error, jc.theory.gaussian_mean_error(workflow, t, size)),
    ):
        off = np.abs(found.mean(axis=0) - known) / (found.std(axis=0) / np.sqrt(seeds))
        assert off.max() < 5
    # Standard errors are those of a law without heavy tails.
    assert (variance + error).max() < 100


def test_rows_that_a_workflow_passes_over_span_no_frame():
    """A workflow of one's own that sees three rows of three batches, in five dimensions."""

    @dataclasses.dataclass(frozen=True)
    class AnyThree(jc.Workflow):
        keep: int = 3

        def choose(self, key, rows):
            place = jnp.where(rows.occupied, jax.random.uniform(key, rows.occupied.shape), 2.0)
            return place <= jnp.sort(place)[2]

    chain = jc.make_chain(jc.gaussian.task(5, 8), AnyThree(), 5)
    metrics = jax.vmap(chain)(jc.seed_keys(range(2000)))
    assert metrics["trace_ratio"].max() < 100
    assert metrics["squared_error_of_mean"].max() < 100
