"""Several models that publish into one pool."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import mean_task
from conftest import optimised_jit, standard_errors
from scipy import stats

import jaxcollapse as jc
from jaxcollapse import publishers, theory
from jaxcollapse.registry import as_family
from jaxcollapse.sweeps import chains
from jaxcollapse.tasks.gaussian import fitting
from jaxcollapse.tasks.gaussian.affine import from_factor
from jaxcollapse.tasks.kde.fitting import KDE

QUICK = {"xla_backend_optimization_level": 0}


def run(task, workflow, generations, seeds=20, measures=None, jit=optimised_jit):
    chain = jc.make_chain(task, workflow, generations, measures)
    return jax.device_get(jit(jax.vmap(chain))(jc.seed_keys(range(seeds))))


def family(name="gaussian"):
    return publishers.offered(as_family(name), ["models", "temperature"])


@pytest.mark.parametrize(
    ("models", "num_samples", "temperature", "ddof"),
    [
        (4, 20, 1.0, 0),
        *(
            pytest.param(*cell, marks=pytest.mark.slow)
            for cell in [
                (2, 6, 0.7, 1),
                (10, 20, 1.0, 0),
                (5, 20, 1.2, 0),
            ]
        ),
    ],
)
def test_dealt_models_have_the_variance_and_error_that_are_known(
    models, num_samples, temperature, ddof
):
    point = {"dim": 1, "num_samples": num_samples, "models": models, "temperature": temperature}
    options = {"ddof": ddof, "metrics_of": ("pooled",)}
    found = run(family().make(point, options), "replace", 8, 20_000)
    known = ("trace_ratio", "squared_error_of_mean")
    for metric in (*known, *(f"{name}_pooled" for name in known)):
        given = metric, jc.replace(), np.arange(1, 9), {"ddof": ddof}, point
        expected = family().mean_of(*given)
        for t in range(8):
            assert standard_errors(found[metric][:, t], expected[t]) < 5, (metric, t)
    assert (found["trace_ratio_between_models"] > 0).all()


def test_the_law_of_dealt_models_is_that_of_the_pools_variance():
    """The factor of the literature, and one model, which is the task."""
    for n, k in ((20, 4), (12, 3)):
        each = n // k
        factor = 1 - (each - 1) / (each * (n - 1))
        ratio = theory.ensemble_variance([1, 2, 3], n, k)
        np.testing.assert_allclose(ratio[1:] / ratio[:-1], factor)
        variance = theory.ensemble_variance(np.arange(1, 9), n, k)
        error = theory.ensemble_mean_error(np.arange(1, 9), n, k)
        np.testing.assert_allclose(variance + error, 1)
    t = np.arange(1, 9)
    for ddof in (0, 1):
        given = t, 20, 0.7, ddof
        np.testing.assert_allclose(
            theory.ensemble_variance(t, 20, 1, ddof, 0.7), theory.tempered_gaussian_variance(*given)
        )
        np.testing.assert_allclose(
            theory.ensemble_mean_error(t, 20, 1, ddof, 0.7),
            theory.tempered_gaussian_mean_error(*given),
        )


def several(*models):
    """Of some models, stacked."""
    return jax.tree.map(lambda *x: jnp.stack(x), *models)


def test_a_mixture_of_gaussians_has_its_moments():
    """Of 3 models in coordinates of a covariance that is no multiple of the identity."""
    rng = np.random.default_rng(0)
    means, roots = rng.normal(size=(3, 2)), np.tril(rng.normal(size=(3, 2, 2)))
    roots[:, [0, 1], [0, 1]] = np.abs(roots[:, [0, 1], [0, 1]])
    factor = np.asarray([[2.0, 0.0], [1.0, 0.5]])
    truth = fitting.Truth(np.zeros(2, np.float32), jnp.asarray(factor, np.float32))
    pairs = zip(means.astype(np.float32), roots.astype(np.float32), strict=True)
    models = several(*(from_factor(m, r) for m, r in pairs))
    found = fitting.evaluate_pooled(truth, models)
    mean = factor @ means.mean(axis=0)
    each = [
        factor @ (r @ r.T + np.outer(m, m)) @ factor.T for m, r in zip(means, roots, strict=True)
    ]
    cov, real = np.mean(each, axis=0) - np.outer(mean, mean), factor @ factor.T
    expected = {
        "squared_error_of_mean": mean @ mean,
        "squared_error_of_cov": np.sum((cov - real) ** 2),
        "trace_ratio": np.trace(cov) / np.trace(real),
    }
    assert set(expected) == set(found)
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(value, rel=1e-5), name
    isotropic = fitting.Truth(np.zeros(2, np.float32), np.float32(2.0))
    whole = fitting.Truth(np.zeros(2, np.float32), 2.0 * np.eye(2, dtype=np.float32))
    for name, value in fitting.evaluate_pooled(isotropic, models).items():
        assert float(value) == pytest.approx(
            float(fitting.evaluate_pooled(whole, models)[name]), rel=1e-5
        )


def test_pooled_laws_are_averages_of_probabilities_densities_and_predictions():
    counts = jnp.asarray([[3, 1, 0], [0, 0, 8]])
    truth, _ = (task := jc.categorical.task(3, 8)).init(jax.random.key(0))
    found = task.pooled(truth, counts)
    assert float(found["squared_error"]) == pytest.approx(
        np.sum((np.asarray([3, 1, 4]) / 8 - 1 / 3) ** 2)
    )
    assert found["outcomes_left"] == 3
    task = jc.kde.task("moons", 0.3, 6, num_test=4)
    truth, points = task.init(jax.random.key(1))
    counted = jnp.arange(6) < 4
    models = [KDE(points + shift, counted, jnp.float32(0.3)) for shift in (0.0, 0.1)]
    whole = KDE(
        jnp.concatenate([model.points for model in models]), jnp.tile(counted, 2), jnp.float32(0.3)
    )
    found = jax.jit(task.pooled, compiler_options=QUICK)(truth, several(*models))
    for name, value in jax.jit(task.evaluate, compiler_options=QUICK)(truth, whole).items():
        assert float(found[name]) == pytest.approx(float(value), rel=1e-5), name


def test_metrics_of_each_and_of_the_pooled_law_are_asked_for():
    """Names in a plan are those that chains have; a dimension of the models' numbers."""
    names = {}
    for name in ("gaussian", "kde", "linear-regression", "categorical"):
        axes = {a: as_family(name).parameters[a].how.grid[:1] for a in as_family(name).axes}
        for models in (1, 2):
            plan = chains.plan(
                *(name, "replace", {**axes, "models": [models]}, 2, 2),
                metrics_of=("each", "pooled"),
            )
            (cell,) = plan.cells
            found = jax.eval_shape(plan.function(cell), jax.random.key(0), plan.traced(cell))
            assert set(plan.metrics) == set(found), name
            names[name] = [m for m in found if m.endswith("_pooled")]
            each = [m for m in found if m.endswith("_each_model")]
            assert {found[m].shape for m in each} == {(2, models)}
            assert {plan.label(m).dims for m in each} == {("model",)}
    assert sorted(map(len, names.values())) == [2, 3, 4, 4]
    axes = {"dim": [1], "num_samples": [8], "models": [1, 2]}
    with pytest.raises(ValueError, match="models beside metrics of each: expected one number"):
        chains.plan("gaussian", "replace", axes, metrics_of=("each",))
    with pytest.raises(ValueError, match="metrics_of: expected one of each, pooled, got 'all'"):
        chains.plan("gaussian", "replace", axes, metrics_of=("all",))
    with pytest.raises(ValueError, match="metrics of a pooled law: expected a task that tells"):
        jc.ensemble(mean_task(9), 2, metrics_of="pooled")


WORKFLOWS = [
    "fresh-real",
    "replace",
    "accumulate-subsample",
    "accumulate",
    "window:keep=3",
    "fixed-real:keep=2",
    "accumulate-subsample:draw=5",
    "fresh-real:share=0.5",
    "fixed-real:weight=0.3",
    "accumulate:sizes=6,8",
]


@pytest.mark.slow
@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_variance_and_error_of_the_mean_sum_to_the_real_variance(workflow):
    """As of every publisher that does not look at the data; 8 points for 3 models."""
    found = run(jc.ensemble(jc.gaussian.task(1, 8, pool="points"), 3), workflow, 4, 20_000)
    total = found["trace_ratio"] + found["squared_error_of_mean"]
    for t in range(4):
        assert standard_errors(total[:, t], 1.0) < 5, t


def test_one_model_is_the_task_and_differs_from_none():
    bare = jc.gaussian.task(2, 6)
    ours, theirs = (
        run(task, "accumulate", 3, 5, jit=jax.jit)
        for task in (
            jc.ensemble(bare, 1),
            bare,
        )
    )
    assert set(ours) - set(theirs) == {f"{m}_between_models" for m in jc.gaussian.METRICS}
    for name, values in theirs.items():
        np.testing.assert_array_equal(ours[name], values)
    assert all((ours[f"{m}_between_models"] == 0).all() for m in jc.gaussian.METRICS)


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(jc.kde.task("moons", 0.3, 9, num_test=3), marks=pytest.mark.slow),
        pytest.param(jc.categorical.task(5, 9), marks=pytest.mark.slow),
        jc.linear_regression.task(2, 9),
        pytest.param(jc.linear_regression.task(2, 9, design="fresh"), marks=pytest.mark.slow),
        pytest.param(jc.gaussian.task(2, 13), marks=pytest.mark.slow),
        mean_task(9),
    ],
    ids=["kde", "categorical", "fixed", "fresh", "gaussian", "own"],
)
def test_every_task_can_be_of_several_models(task):
    """Parts are parts: the first models together have seen each real row once."""
    found = run(jc.ensemble(task, 4), "accumulate", 3, 8, jit=jax.jit)
    for name, values in found.items():
        assert np.isfinite(values).all(), name
    between = [name for name in found if name.endswith("_between_models")]
    assert any((found[name] > 0).all() for name in between)
    np.testing.assert_allclose(found["share_of_real_data"], np.tile([1, 1 / 2, 1 / 3], (8, 1)))


def test_what_is_dealt_is_everything_once():
    measures = {"means": lambda truth, means: means}
    found = run(jc.ensemble(mean_task(9), 3), "replace", 2, 50, measures, jax.jit)
    assert found["means"].shape == (50, 2, 3)
    # Three parts of three rows: the mean of their means is that of the batch.
    alone = run(mean_task(9), "replace", 1, 50, measures, jax.jit)
    np.testing.assert_allclose(found["means"][:, 0].mean(axis=1), alone["means"][:, 0], atol=1e-6)


# Who learns from whom ---------------------------------------------------------------------------


@pytest.mark.slow
def test_models_that_learn_from_themselves_alone_are_chains_of_their_own():
    """Of N/k points each, whose law is known."""
    task = jc.ensemble(jc.gaussian.task(1, 12, pool="points"), 3, np.eye(3))
    found = run(task, "replace", 5, 20_000)
    t = np.arange(1, 6)
    for metric, law in (
        ("trace_ratio", theory.gaussian_replace_variance(t, 4)),
        ("squared_error_of_mean", theory.gaussian_replace_mean_error(t, 4)),
    ):
        for g in range(5):
            assert standard_errors(found[metric][:, g], law[g]) < 5


@pytest.mark.slow
def test_models_that_learn_from_all_alike_are_one():
    equal = np.full((3, 3), 1 / 3)
    task = jc.ensemble(jc.gaussian.task(1, 9, pool="points"), 3, equal)
    ours = run(task, "accumulate", 4, 2000)
    assert (ours["trace_ratio_between_models"] < 1e-5).all()
    plain = run(jc.gaussian.task(1, 9, pool="points"), "accumulate", 4, 2000)
    for t in (0, 3):
        pair = ours["trace_ratio"][:, t], plain["trace_ratio"][:, t]
        assert stats.ks_2samp(*pair, method="asymp").pvalue > 1e-5


def test_a_matrix_weighs_what_each_publishes():
    """The means that models of means fit are those of the groups of rows, mixed as it says."""
    matrix = np.asarray([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5], [0.0, 0.0, 1.0]])
    measures = {
        "means": lambda truth, means: means,
        "groups": lambda truth, means, rows: jnp.stack([rows[i::3].mean() for i in range(3)]),
    }
    # 8 rows: of the third model two.
    found = run(jc.ensemble(mean_task(8), 3, matrix), "replace", 3, 20, measures, jax.jit)
    for t in (1, 2):
        expected = found["groups"][:, t - 1] @ matrix.T
        np.testing.assert_allclose(found["means"][:, t], expected, rtol=1e-5, atol=1e-6)


def test_a_matrix_weighs_what_counts():
    """Of batches of three rows, of which two are the first model's and one the second's."""
    matrix = np.asarray([[0.5, 0.5], [0.0, 1.0]])
    measures = {
        "means": lambda truth, means: means,
        "groups": lambda truth, means, rows: jnp.stack([rows[0:3:2].mean(), rows[1]]),
    }
    task = jc.ensemble(mean_task(8), 2, matrix)
    found = run(task, "replace:sizes=8,3", 3, 20, measures, jax.jit)
    for t in (1, 2):
        expected = found["groups"][:, t - 1] @ matrix.T
        np.testing.assert_allclose(found["means"][:, t], expected, rtol=1e-5, atol=1e-6)


# Collapse and coordinates -----------------------------------------------------------------------


@pytest.mark.slow
def test_deep_collapse_keeps_its_digits():
    """Two models that learn from themselves alone: hundreds of generations of 3 points each."""
    task = jc.ensemble(jc.gaussian.task(1, 6, pool="points"), 2)
    found = run(task, "replace", 400, 20)["log_det_ratio"]
    assert np.isfinite(found).all()
    assert np.median(found[:, -1]) < -20
    drift = np.diff(found.mean(axis=0))
    assert abs(drift[200:].mean() - drift[20:200].mean()) < 0.1


@pytest.mark.slow
def test_what_is_seen_of_several_models_are_real_coordinates():
    task = jc.ensemble(jc.gaussian.task(2, 12, mean=np.asarray([100.0, 0.0]), cov=4.0), 3)
    measures = {
        "models": lambda truth, models: models.mean,
        "rows": lambda truth, models, rows: jnp.stack([rows[i::3].mean(axis=0) for i in range(3)]),
    }
    found = run(task, "accumulate", 3, 200, measures, jax.jit)
    assert found["models"].shape == (200, 3, 3, 2)
    assert (np.abs(found["models"][..., 0] - 100) < 12).all()
    apart = found["rows"] - found["models"]  # of 4 rows of a model each
    assert np.abs(apart.mean(axis=(0, 1, 2))).max() < 0.2
    assert apart.std() < 1.6


# Sweeps and refusals ----------------------------------------------------------------------------


def test_models_are_an_axis():
    axes = {"dim": [1], "models": [1, 3], "num_samples": [6]}
    found = jc.sweep("gaussian", ["replace"], axes, seeds=4, generations=2, progress=False)
    assert found["models"].attrs["symbol"] == "k"
    assert found["kl_between_models"].attrs["units"] == "nats"
    assert (found["trace_ratio_between_models"].sel(models=1) == 0).all()
    assert (found["trace_ratio_between_models"].sel(models=3) > 0).all()
    with pytest.raises(ValueError, match="models: expected at most the 6 points of a generation"):
        chains.plan("gaussian", "replace", {**axes, "models": [7]})
    with pytest.raises(ValueError, match="pool of what is published by several models"):
        chains.plan("gaussian", "replace", axes, pool="statistics")


TASK = jc.gaussian.task(1, 8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: jc.ensemble(TASK, 0), "models: expected at least 1, got 0"),
        (
            lambda: jc.ensemble(TASK, 2, np.eye(3)),
            r"expected \[2, 2\], got shape \[3, 3\]",
        ),
        (
            lambda: jc.ensemble(TASK, 2, [[2, -1], [0, 1]]),
            "expected weights of at least 0",
        ),
        (
            lambda: jc.ensemble(TASK, 2, [[1, 0], [0.5, 0.4]]),
            "that sum to 1, got 0.9 in row 1",
        ),
        (lambda: jc.ensemble(TASK, 2, "all"), r"learns_from: expected \[2, 2\]"),
        (
            lambda: jc.verified(jc.ensemble(TASK, 2, np.eye(2)), 0.5),
            "expected one whose rows may change places, got one whose models learn from one",
        ),
        (
            lambda: jc.ensemble(jc.ensemble(TASK, 2, np.eye(2)), 2),
            "expected one whose rows may change places, got one whose models learn from one",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("task", "workflow", "message"),
    [
        (jc.ensemble(TASK, 9), "replace", "models: expected at most the 8 points"),
        (jc.ensemble(TASK, 2, np.eye(2)), "accumulate-subsample", "shows all rows of its batches"),
        (
            jc.modify(jc.ensemble(TASK, 2), fit=lambda key, view: jc.gaussian.fit(view.data)),
            "replace",
            "modify the task before it is many",
        ),
    ],
)
def test_chains_of_what_cannot_be_are_refused(task, workflow, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(jc.make_chain(task, workflow, 2), jax.random.key(0))
