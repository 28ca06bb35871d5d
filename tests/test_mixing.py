"""Fits to mixtures of real and synthetic data: pools, one seed's fit, the grid, closed forms."""

import jax
import numpy as np
import pytest
from cases import mean_family, mean_task, regression_by_loop
from conftest import standard_errors
from scipy import stats

import jaxcollapse as jc
from jaxcollapse import theory
from jaxcollapse.pools import Mixed, points_pool
from jaxcollapse.sweeps import mixtures, results
from jaxcollapse.sweeps.closed_forms import closed_form_of_mixtures
from jaxcollapse.sweeps.run import run
from jaxcollapse.task import with_fields
from jaxcollapse.tasks.gaussian.fitting import fit_points

TASKS = {
    "gaussian": lambda: jc.gaussian.task(3, 12),
    "kde": lambda: jc.kde.task("moons", "scott", 12),
    "regression-fresh": lambda: jc.linear_regression.task(3, 12, design="fresh"),
    "regression-fixed": lambda: jc.linear_regression.task(3, 12),
    "categorical": lambda: jc.categorical.task(5, 12),
}


def test_what_a_mixture_sees():
    """Metrics of a task that shows its rows: how many of each kind, and which."""
    task = mean_task(4)._replace(
        fit=lambda key, view: (view.inclusion, view.real, view.num_rows),
        sample=lambda key, model: jax.random.normal(key, (4,)),
        evaluate=lambda truth, model: dict(zip(("mask", "real", "num_rows"), model, strict=True)),
    )
    mixture = jax.vmap(jc.make_mixture(task, 8), (None, 0, 0))
    mixtures = jax.jit(jax.vmap(mixture, (0, None, None)))
    real = np.arange(5, dtype=np.int32)
    found = mixtures(jc.seed_keys(range(40)), real, np.full(5, 5, np.int32))
    mask = np.asarray(found["mask"])  # [40, 5, 12]
    np.testing.assert_array_equal(found["real"], np.tile(np.arange(12) < 4, (40, 5, 1)))
    np.testing.assert_array_equal(mask[..., :4].sum(-1), np.tile(real, (40, 1)))
    np.testing.assert_array_equal(mask[..., 4:], np.tile(np.arange(8) < 5, (40, 5, 1)))
    np.testing.assert_array_equal(found["num_rows"], np.tile(real + 5, (40, 1)))
    np.testing.assert_allclose(found["share_of_real_data"], np.tile(real / (real + 5), (40, 1)))
    # Those of a smaller count are among those of a larger one.
    assert (mask[:, :-1] <= mask[:, 1:]).all()
    # A subset of two holds each row half the time.
    assert stats.chisquare(mask[:, 2, :4].sum(axis=0)).pvalue > 1e-3


def test_a_view_of_a_mixture_is_its_mask():
    pool = points_pool(jc.accumulate(), 3)
    state = pool.start(np.arange(4, dtype=np.int32))
    for generation in (1, 2):
        batch = 10 * generation + np.arange(4, dtype=np.int32)
        state = pool.add(state, batch, np.int32(generation))
    mask = np.asarray([1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 0, 0], bool)
    view = pool.view(None, state, Mixed(mask, np.int32(6)))
    np.testing.assert_array_equal(np.asarray(view.data)[view.mask], [0, 2, 10, 11, 12, 20])
    np.testing.assert_array_equal(view.real, np.arange(12) < 4)
    assert float(view.share) == pytest.approx(2 / 6)
    assert view.num_rows == 6


SLOW = ("kde", "regression-fresh")  # what they share with the others is most of what is checked


@pytest.mark.parametrize(
    "task", [pytest.param(t, marks=[pytest.mark.slow] * (t in SLOW)) for t in TASKS]
)
def test_mixtures_that_chains_know(task):
    """Of all data and as much synthetic: accumulate. Of synthetic data alone: replace."""
    task, key = TASKS[task](), jax.random.key(3)
    mixture = jax.jit(jc.make_mixture(task, 20))
    points = with_fields(task, use="points")
    chains = {w: jax.jit(jc.make_chain(points, w, 2))(key) for w in ("accumulate", "replace")}
    for real, synthetic, workflow, generation in (
        (12, 12, "accumulate", 2),
        (12, 0, "accumulate", 1),
        (0, 12, "replace", 2),
    ):
        metrics = mixture(key, real, synthetic)
        assert set(metrics) == set(chains[workflow])
        for name, value in metrics.items():
            expected = chains[workflow][name][generation - 1]
            np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("source", ["all", "subset"])
def test_mean_of_a_gaussian_mixture(source):
    real, synthetic = [3, 10, 24, 40], [0, 5, 80]
    dataset = jc.mix(
        "gaussian",
        {"dim": [2]},
        real,
        synthetic,
        seeds=6000,
        source=source,
        cov=[2.0, 0.5],
        metrics=["squared_error_of_mean", *(["kl"] if source == "all" else [])],
    )
    dataset = dataset.isel(dim=0)
    known = closed_form_of_mixtures(dataset, "squared_error_of_mean")
    for i in range(4):
        for j in range(3):
            error = dataset["squared_error_of_mean"].values[i, j]
            assert standard_errors(error, known[i, j]) < 5, (real[i], synthetic[j])
    # Of real data alone; of few points its law has too heavy a tail.
    for i in (2, 3) if source == "all" else ():
        known = closed_form_of_mixtures(dataset, "kl")[i, 0]
        assert standard_errors(dataset["kl"].values[i, 0], known) < 5


@pytest.mark.parametrize("exponent", [0.0, 1.0])
def test_frequencies_of_a_mixture(exponent):
    real, synthetic = [2, 9, 30], [0, 6, 70]
    dataset = jc.mix(
        "categorical",
        {"num_outcomes": [6]},
        real,
        synthetic,
        seeds=5000,
        metrics=["squared_error"],
        exponent=exponent,
    )
    known = closed_form_of_mixtures(dataset.isel(num_outcomes=0), "squared_error")
    for i in range(3):
        for j in range(3):
            values = dataset["squared_error"].values[0, i, j]
            assert standard_errors(values, known[i, j]) < 5, (real[i], synthetic[j])


@pytest.mark.parametrize("source", ["all", "subset"])
def test_regression_against_a_loop(source):
    axes = {"dim": [2], "noise_variance": [1.0]}
    dataset = jc.mix(
        "linear-regression",
        axes,
        [3, 16],
        [0, 4, 30],
        seeds=2000,
        source=source,
        metrics=["excess_risk"],
    )
    for real, synthetic in ((3, 4), (16, 4), (3, 30)):
        ours = dataset["excess_risk"].sel(real=real, synthetic=synthetic).values.ravel()
        theirs = regression_by_loop(16, real, synthetic, source, 2000)
        assert stats.ks_2samp(ours, theirs).pvalue > 1e-4, (real, synthetic)


def test_a_task_of_ones_own():
    mixture = jc.make_mixture(mean_task(20), 30)
    keys = jc.seed_keys(range(10_000))
    error = jax.jit(jax.vmap(mixture, (0, None, None)))(keys, 5, 30)["error"]
    # Of a model whose variance is known: as an unbiased one.
    assert standard_errors(error, theory.mixture_mean_error(5, 30, 20, ddof=1)) < 5


def test_a_family_of_a_name_and_a_function_is_all_that_a_grid_needs():
    result = jc.mix(mean_family(), {}, [5, 20], [0, 30], seeds=2000)
    assert result.attrs["loss"] == "error"
    for real, synthetic in ((5, 30), (20, 0)):
        error = result["error"].sel(real=real, synthetic=synthetic)
        expected = theory.mixture_mean_error(real, synthetic, 20, ddof=1)
        assert standard_errors(error.values, expected) < 5
    assert closed_form_of_mixtures(result, "error") is None


def test_few_rows_are_fitted_as_they_are_alone():
    """Where rows are few another decomposition is taken: it must not matter."""
    points = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    fit = jax.jit(lambda m, n: fit_points(points, m, 0, fewest=40, num_rows=n))
    for count in (5, 8, 30):
        mask = np.zeros(40, bool)
        mask[np.random.default_rng(1).permutation(40)[:count]] = True
        fitted = jax.device_get(fit(mask, np.int32(count)))
        alone = points[mask]
        np.testing.assert_allclose(fitted.mean, alone.mean(axis=0), atol=1e-5)
        cov = fitted.factor @ fitted.factor.T
        np.testing.assert_allclose(cov, np.cov(alone.T, ddof=0), atol=1e-4)


def test_the_source_matters_only_for_synthetic_data():
    axes, metric = {"num_outcomes": [40]}, "squared_error"
    a, b = (
        jc.mix("categorical", axes, [6, 30], [0, 10], seeds=3, source=source, metrics=[metric])[
            metric
        ].values[0]
        for source in ("all", "subset")
    )
    np.testing.assert_allclose(a[:, 0], b[:, 0], rtol=1e-5)
    assert (np.abs(a[0, 1] - b[0, 1]) > 1e-4).all()
    # A model of all is a model of the subset where the subset is all.
    np.testing.assert_allclose(a[1], b[1], rtol=1e-4)


def test_a_grid_is_its_mixtures(tmp_path):
    plan = mixtures.plan(
        "categorical",
        {"num_outcomes": [3, 4]},
        [30, 4],
        [8, 0],
        num_real=32,
        seeds=range(5, 8),
        metrics=["squared_error", "entropy_ratio"],
    )
    dataset = run(plan, chunk=2)
    assert dict(dataset.sizes) == {"num_outcomes": 2, "real": 2, "synthetic": 2, "seed": 3}
    assert dataset["real"].values.tolist() == [30, 4]
    mixture = jax.jit(jc.make_mixture(jc.categorical.task(4, 32), 8))
    alone = mixture(jax.random.key(7), 30, 8)
    for name in ("squared_error", "entropy_ratio"):
        value = dataset[name].sel(num_outcomes=4, real=30, synthetic=8, seed=7)
        np.testing.assert_allclose(value, alone[name], rtol=1e-4)
    share = dataset["share_of_real_data"].sel(real=30, synthetic=8)
    assert float(share) == pytest.approx(float(alone["share_of_real_data"]))
    assert dataset.attrs["loss"] == "squared_error"
    results.save(dataset, tmp_path / "a.nc")
    assert results.load(tmp_path / "a.nc").attrs["num_real"] == 32


def test_an_interrupted_grid_goes_on(tmp_path):
    plan = mixtures.plan(
        "categorical", {"num_outcomes": [3, 4]}, [2, 5], [0, 3], seeds=4, metrics=["squared_error"]
    )
    whole = run(plan)

    def interrupt(progress):
        if progress.cell == "num_outcomes=3":  # which is told once it is kept
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(plan, tmp_path / "cells", interrupt)
    resumed = run(plan, tmp_path / "cells")
    assert resumed.attrs["programs"] == 1
    np.testing.assert_array_equal(resumed["squared_error"], whole["squared_error"])


def test_synthetic_data_come_through_publishers():
    """Which narrow what is published, and leave real data as they are."""
    grid = {**GRID, "real": [4], "synthetic": [0, 64], "num_real": 64}
    tempered, best = (
        mixtures.plan(**grid | {"axes": {"dim": [1], **axes}}, seeds=4, metrics=["trace_ratio"])
        for axes in ({"temperature": [1.0, 0.25]}, {"keep_best": [0.25]})
    )
    assert len({tempered.program(cell) for cell in tempered.cells}) == 1
    found = run(tempered)["trace_ratio"].squeeze(["dim", "real"], drop=True)
    plain, cold = (found.sel(temperature=t, drop=True) for t in (1.0, 0.25))
    for narrow in (cold, run(best)["trace_ratio"].squeeze(["dim", "real", "keep_best"], drop=True)):
        alone = [some.sel(synthetic=0) for some in (narrow, plain)]
        np.testing.assert_allclose(*alone, rtol=1e-5)
        assert (narrow < 0.8 * plain).sel(synthetic=64).all()


GRID = {"task": "gaussian", "axes": {"dim": [3]}, "real": [8, 16], "synthetic": [0, 4]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_real": 12}, "real: expected at most the 12 real points.*16, more data than exist"),
        ({"real": [2.5]}, "real: expected a whole number"),
        ({"real": [-1]}, "real: expected at least 0, got -1"),
        ({"synthetic": [0, 10**12]}, "synthetic: expected at most 2147483647, got 10"),
        ({"synthetic": [0, -3]}, "synthetic: expected at least 0, got -3"),
        ({"real": []}, "real: expected at least one value"),
        ({"synthetic": [4, 4]}, "synthetic: expected at least one value, each once, got 4 twice"),
        ({"real": [3, 8]}, "points of a mixture for dim=3: expected at least 4"),
        ({"real": [0, 8], "synthetic": [4], "source": "subset"}, "real for dim=3 with the source"),
        ({"real": [2], "synthetic": [40]}, "real points that there are for dim=3: expected at lea"),
        (
            {"task": "categorical", "axes": {"num_outcomes": [3]}, "real": [0, 8]},
            "points of a mixture for num_outcomes=3: expected at least 1.* 0 real and 0 synthetic",
        ),
        ({"source": "some"}, "source: expected one of all, subset"),
        ({"loss": "nll"}, "metric: expected one of squared_error_of_mean"),
        ({"metrics": ["nll"]}, "metric: expected one of squared_error_of_mean"),
        ({"axes": {"dim": [3], "num_samples": [5]}}, "axes of gaussian: expected dim, got"),
        ({"pool": "statistics"}, "pool of mixtures: expected one of auto, points"),
        ({"ddoff": 1}, "option of gaussian: expected one of ddof"),
        ({"seeds": 0}, "seeds: expected at least 1"),
        (
            {"axes": {"dim": [3], "models": [2]}},
            "publishers of a mixture: expected those of one mo",
        ),
        ({"axes": {"dim": [3], "temperature": [0]}}, "temperature: expected a finite number above"),
        ({"score": "model"}, "option score, without the axis keep_best: expected some values"),
    ],
)
def test_refused(change, message):
    with pytest.raises(ValueError, match=message):
        mixtures.plan(**(GRID | change))


def test_counts_that_there_are_not():
    mixture = jc.make_mixture(jc.gaussian.task(1, 5), 10)
    with pytest.raises(ValueError, match="real points of a mixture: expected at most 5, got 6"):
        mixture(jax.random.key(0), 6, 0)
    with pytest.raises(ValueError, match="synthetic points of a mixture: expected at most 10"):
        jax.eval_shape(lambda key: mixture(key, 5, 11), jax.random.key(0))
    with pytest.raises(ValueError, match="pool of a mixture: expected one that keeps points"):
        jc.make_mixture(jc.gaussian.task(1, 5, pool="statistics"), 10)
