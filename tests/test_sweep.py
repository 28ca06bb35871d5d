"""Sweeps: labels, seeds as names, programs counted, memory, interruption."""

import sys

import jax
import numpy as np
import pytest

import jaxcollapse as jc
from jaxcollapse.families import TaskFamily
from jaxcollapse.metrics import Metric
from jaxcollapse.tasks.gaussian import family

sweep = sys.modules["jaxcollapse.sweeps.chains"]
AXES = {"dim": [1, 3], "num_samples": [5, 20]}


@pytest.fixture(scope="module")
def dataset():
    return jc.sweep("gaussian", ["replace", "accumulate"], AXES, seeds=100, generations=10)


def test_dimensions_and_coordinates(dataset):
    assert dataset["trace_ratio"].dims == ("workflow", "dim", "num_samples", "seed", "generation")
    assert dataset["workflow"].values.tolist() == ["replace", "accumulate"]
    assert dataset["dim"].values.tolist() == [1, 3]
    assert dataset["num_samples"].values.tolist() == [5, 20]
    assert dataset["seed"].values.tolist() == list(range(100))
    assert dataset["generation"].values.tolist() == list(range(1, 11))
    assert dataset["trace_ratio"].attrs == {
        "long_name": "Trace of the covariance, fitted / real",
        "units": "1",
        "scale": "log",
    }
    frame = dataset.to_dataframe()
    assert frame.index.names == ["workflow", "dim", "num_samples", "seed", "generation"]


def test_provenance(dataset):
    attrs = dataset.attrs
    assert attrs["preset"] == "corrected"
    assert attrs["jax_version"] == jax.__version__
    assert attrs["programs"] == 4
    assert attrs["compile_seconds"] > 0
    assert attrs["run_seconds"] > 0
    for name in ("device", "commit", "source_tree", "created", "numpy_version", "configuration"):
        assert attrs[name]


@pytest.mark.parametrize(("dim", "num_samples"), [(1, 5), (3, 20)])
def test_seed_17_alone_is_seed_17_of_the_sweep(dataset, dim, num_samples):
    for workflow in ("replace", "accumulate"):
        chain = jc.make_chain(jc.gaussian.task(dim, num_samples), workflow, 10)
        alone = jax.jit(chain)(jax.random.key(17))
        cell = dataset.sel(workflow=workflow, dim=dim, num_samples=num_samples, seed=17)
        for name, values in alone.items():
            np.testing.assert_allclose(values, cell[name], rtol=1e-5, atol=1e-6)


def test_chunks_of_seven(dataset, monkeypatch):
    monkeypatch.setattr(sweep, "_chunk", lambda *_: 7)
    chunked = jc.sweep("gaussian", ["replace"], {"dim": [3], "num_samples": [5]}, 100, 10)
    whole = dataset.sel(workflow=["replace"], dim=[3], num_samples=[5])
    for name in family.METRICS:
        np.testing.assert_allclose(chunked[name], whole[name], rtol=1e-5, atol=1e-6)


def test_the_same_again_is_the_same_bit_for_bit(dataset):
    again = jc.sweep("gaussian", ["replace", "accumulate"], AXES, seeds=100, generations=10)
    for name in family.METRICS:
        np.testing.assert_array_equal(again[name], dataset[name])


def test_a_range_of_seeds(dataset):
    part = jc.sweep("gaussian", ["replace"], {"dim": [1], "num_samples": [5]}, range(5, 8), 10)
    assert part["seed"].values.tolist() == [5, 6, 7]
    same = dataset.sel(workflow=["replace"], dim=[1], num_samples=[5], seed=[5, 6, 7])
    np.testing.assert_allclose(part["trace_ratio"], same["trace_ratio"], rtol=1e-5)


def test_at_most_one_program_for_each_workflow_and_dimension(compilations):
    result = jc.sweep("gaussian", ["replace", "accumulate"], AXES, seeds=6, generations=4)
    assert result.attrs["programs"] == 4
    assert len(compilations) <= 4


def test_points_need_a_program_for_each_sample_size(compilations):
    result = jc.sweep("gaussian", ["accumulate-subsample"], AXES, seeds=6, generations=4)
    assert result.attrs["programs"] == 4
    assert len(compilations) <= 4


def test_memory_limit_makes_chunks():
    def chunk(limit):
        plan = sweep.plan(
            "gaussian",
            ["accumulate-subsample"],
            {"dim": [10], "num_samples": [100]},
            seeds=100,
            memory_limit=limit,
        )
        return sweep._chunk(plan, plan.cells[0], devices=1)

    # One chain keeps 100 generations of 100 points in 10 dimensions: 0.4 MB.
    assert chunk(2**30) == 100
    assert 10 <= chunk(20 * 2**20) <= 40
    assert chunk(1) == 1


def test_interrupted_sweep_resumes(tmp_path, monkeypatch):
    plan = sweep.plan("gaussian", ["replace"], AXES, seeds=4, generations=3)
    whole = sweep.run(plan)
    calls = []

    def interrupt(report):
        calls.append(report)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep.run(plan, tmp_path / "cells", interrupt)
    compiled = []
    compile_program = sweep._compile
    monkeypatch.setattr(
        sweep, "_compile", lambda *args: compiled.append(args) or compile_program(*args)
    )
    resumed = sweep.run(plan, tmp_path / "cells")
    assert len(compiled) == 1  # the program of dim=3 alone
    for name in family.METRICS:
        np.testing.assert_array_equal(resumed[name], whole[name])


def test_cells_of_another_sweep_are_not_taken_over(tmp_path):
    first = sweep.plan("gaussian", ["replace"], AXES, seeds=4, generations=3)
    other = sweep.plan("gaussian", ["replace"], AXES, seeds=4, generations=3, ddof=1)
    sweep.run(first, tmp_path / "cells")
    resumed = sweep.run(other, tmp_path / "cells")
    np.testing.assert_array_equal(resumed["trace_ratio"], sweep.run(other)["trace_ratio"])


def test_progress_ends_at_all(dataset):
    reports = []
    plan = sweep.plan("gaussian", ["replace"], AXES, seeds=4, generations=3)
    sweep.run(plan, progress=reports.append)
    done = [report.done for report in reports]
    assert done == sorted(done)
    assert reports[-1].done == pytest.approx(reports[-1].total)


def fragile_family(bad_seed):
    """A task of one's own, in which one seed's model turns into NaN in generation 3."""

    def make(num_samples, pool="auto"):
        def init(key):
            is_bad = jax.random.key_data(key)[0] == bad_seed
            return is_bad, jax.numpy.zeros((num_samples,))

        def evaluate(truth, generation):
            broken = truth & (generation >= 3)
            return {"value": jax.numpy.where(broken, jax.numpy.nan, generation)}

        return jc.points_task(
            init,
            lambda key, view: view.data[0] + 1,
            lambda key, generation: jax.numpy.full((num_samples,), generation),
            evaluate,
        )

    return TaskFamily(
        name="fragile",
        make=make,
        axes=("num_samples",),
        metrics={"value": Metric("Value", "1")},
        traced=lambda workflow, point, options: {},
        work=lambda num_samples: 1.0,
        theory=lambda *args, **kwargs: None,
        presets={"corrected": {}, "authors": {}},
    )


def test_a_chain_that_turns_non_finite_is_reported():
    from jaxcollapse import draws

    words = jax.random.key_data(draws.fold_in(jax.random.key(2), 0))
    family = fragile_family(np.uint32(words[0]))
    result = jc.sweep(family, ["replace"], {"num_samples": [2]}, seeds=4, generations=5)
    first = result["first_nonfinite_generation"].values.ravel()
    assert first.tolist() == [0, 0, 3, 0]
    np.testing.assert_array_equal(result["value"].sel(seed=1).values.ravel(), [1, 2, 3, 4, 5])


def test_singular_is_not_non_finite():
    result = jc.sweep("gaussian", ["replace"], {"dim": [3], "num_samples": [2]}, 3, 3)
    assert (result["log_det_ratio"] == -np.inf).all()
    assert (result["first_nonfinite_generation"] == 0).all()


def test_float64_in_a_context_of_the_caller():
    with jax.enable_x64(True):
        result = jc.sweep("gaussian", ["replace"], {"dim": [1], "num_samples": [5]}, 3, 3)
    assert result["trace_ratio"].dtype == np.float64


def test_values_of_numpy():
    axes = {"dim": np.asarray([1]), "num_samples": np.logspace(1, 2, 2).astype(int)}
    result = jc.sweep("gaussian", ["replace"], axes, seeds=np.int64(2), generations=2)
    assert result["num_samples"].values.tolist() == [10, 100]


def test_chosen_metrics_only():
    result = jc.sweep(
        "gaussian", ["replace"], {"dim": [1], "num_samples": [5]}, 3, 3, metrics=["trace_ratio"]
    )
    assert set(result.data_vars) == {
        "trace_ratio",
        "first_nonfinite_generation",
        "run_seconds",
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"task": "gausian"},
            "task: expected one of gaussian, kde, linear-regression, categorical, language-model",
        ),
        ({"workflows": ["replaced"]}, "workflow: expected one of replace"),
        ({"workflows": []}, "workflow: expected at least one value"),
        ({"workflows": ["replace", "replace"]}, "workflow: expected at least one value, each once"),
        ({"axes": {"dim": [1]}}, "axes of gaussian: expected dim, num_samples, got dim"),
        ({"axes": {"dim": [1, 1], "num_samples": [5]}}, "dim: expected .* got 1 twice"),
        ({"axes": {"dim": [1], "num_samples": [5, 0]}}, "num_samples: expected at least 1, got 0"),
        ({"seeds": 0}, "seeds: expected at least 1, got 0"),
        ({"seeds": []}, "seed: expected at least one value, each once, got none"),
        ({"seeds": 2.5}, "seeds: expected a whole number, got 2.5"),
        ({"memory_limit": float("inf")}, "memory limit: expected more than 0, finite"),
        (
            {"workflows": [jc.accumulate_subsample(2)], "ddof": 3},
            "ddof: expected from 0 to below num_samples, which is 2",
        ),
        ({"axes": {"dim": [1], "num_samples": [[5]]}}, "num_samples: expected numbers or names"),
        ({"axes": {"dim": 1, "num_samples": [5]}}, "values of dim: expected a list, got 1"),
        ({"ddoff": 1}, "option of gaussian: expected one of ddof, mean, cov, pool, got 'ddoff'"),
        ({"task": jc.gaussian.task(1, 5)}, "task: expected a task's name or a TaskFamily, got a T"),
        ({"generations": -1}, "generations: expected at least 1"),
        ({"preset": "published"}, "preset: expected one of corrected, authors"),
        ({"metrics": ["nll"]}, "metric: expected one of squared_error_of_mean"),
        ({"memory_limit": -1.0}, "memory limit: expected more than 0, finite"),
        ({"ddof": 5}, "ddof: expected from 0 to below num_samples, which is 5"),
        ({"workflows": [jc.accumulate_subsample(6)]}, "subsample size: expected at most"),
        (
            {"workflows": ["accumulate-subsample"], "pool": "statistics"},
            "pool for accumulate-subsample: expected auto or points",
        ),
    ],
)
def test_refused_before_anything_runs(change, message):
    arguments = {"task": "gaussian", "workflows": ["replace"], "axes": AXES, "seeds": 2} | change
    with pytest.raises(ValueError, match=message):
        sweep.plan(**arguments)
