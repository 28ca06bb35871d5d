"""Sweeps: labels, seeds as names, programs counted, memory, interruption."""

import dataclasses
import functools
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import FirstRows, fragile_family, mean_family, mean_task
from conftest import standard_errors

import jaxcollapse as jc
from jaxcollapse.keys import keys_of
from jaxcollapse.sweeps import chains, programs, results
from jaxcollapse.sweeps.run import run
from jaxcollapse.tasks.gaussian import METRICS

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
        "speaks_for": "variance law",
        "real": 1.0,
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


def test_chunks_of_seven(dataset):
    plan = chains.plan("gaussian", ["replace"], {"dim": [3], "num_samples": [5]}, 100, 10)
    chunked = run(plan, chunk=7)
    whole = dataset.sel(workflow=["replace"], dim=[3], num_samples=[5])
    for name in METRICS:
        np.testing.assert_allclose(chunked[name], whole[name], rtol=1e-5, atol=1e-6)


def test_the_same_again_is_the_same_bit_for_bit(dataset):
    again = jc.sweep("gaussian", ["replace", "accumulate"], AXES, seeds=100, generations=10)
    for name in METRICS:
        np.testing.assert_array_equal(again[name], dataset[name])


def test_a_range_of_seeds(dataset):
    part = jc.sweep("gaussian", ["replace"], {"dim": [1], "num_samples": [5]}, range(5, 8), 10)
    assert part["seed"].values.tolist() == [5, 6, 7]
    same = dataset.sel(workflow=["replace"], dim=[1], num_samples=[5], seed=[5, 6, 7])
    np.testing.assert_allclose(part["trace_ratio"], same["trace_ratio"], rtol=1e-5)


def test_at_most_one_program_for_each_workflow_and_dimension(dataset, compilations):
    assert dataset.attrs["programs"] == 4
    result = jc.sweep("gaussian", ["replace"], AXES, seeds=6, generations=4)
    assert result.attrs["programs"] == 2
    assert len(compilations) <= 2


def test_points_need_a_program_for_each_sample_size(compilations):
    axes = {"dim": [2], "num_samples": [5, 20]}
    result = jc.sweep("gaussian", ["accumulate-subsample"], axes, seeds=6, generations=4)
    assert result.attrs["programs"] == 2
    assert len(compilations) <= 2


def test_memory_limit_makes_chunks():
    def chunk(limit):
        plan = chains.plan(
            "gaussian",
            ["accumulate-subsample"],
            {"dim": [10], "num_samples": [100]},
            seeds=100,
            memory_limit=limit,
        )
        most = plan.memory.limit / plan.seed_bytes(plan.cells[0])
        return programs.chunk_size(plan.seeds.size, most, devices=1)

    # One chain keeps 100 generations of 100 points in 10 dimensions: 0.4 MB.
    assert chunk(2**30) == 100
    assert 10 <= chunk(20 * 2**20) <= 40
    assert chunk(1) == 1


def test_a_call_on_points_has_few_seeds_on_a_cpu():
    axes = {"dim": [2], "num_samples": [5]}
    workflows = ["replace", "accumulate-subsample"]
    plan = chains.plan("gaussian", workflows, axes, seeds=1000, generations=3)
    assert [plan.most_seeds(cell) for cell in plan.cells] == [np.inf, 128]


def test_interrupted_sweep_resumes(tmp_path):
    plan = chains.plan("gaussian", ["replace"], AXES, seeds=4, generations=3)
    whole = run(plan)
    calls = []

    def interrupt(report):
        calls.append(report)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(plan, tmp_path / "cells", interrupt)
    resumed = run(plan, tmp_path / "cells")
    assert resumed.attrs["programs"] == 1  # that of dim=3 alone
    for name in METRICS:
        np.testing.assert_array_equal(resumed[name], whole[name])


def test_cells_of_another_sweep_are_not_taken_over(tmp_path):
    axes = AXES | {"dim": [1]}
    first = chains.plan("gaussian", ["replace"], axes, seeds=4, generations=3)
    other = chains.plan("gaussian", ["replace"], axes, seeds=4, generations=3, ddof=1)
    run(first, tmp_path / "cells")
    resumed = run(other, tmp_path / "cells")
    np.testing.assert_array_equal(resumed["trace_ratio"], run(other)["trace_ratio"])


def test_progress_ends_at_all(dataset):
    reports = []
    plan = chains.plan("gaussian", ["replace"], AXES, seeds=4, generations=3)
    run(plan, progress=reports.append)
    done = [report.done for report in reports]
    assert done == sorted(done)
    assert reports[-1].done == pytest.approx(reports[-1].total)


def test_a_chain_that_turns_non_finite_is_reported():
    result = jc.sweep(
        fragile_family(bad_seed=2), ["replace"], {"num_samples": [2]}, seeds=4, generations=5
    )
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
        ({"task": jc.gaussian.task(1, 5)}, "axes of task: expected none, got dim, num_samples"),
        ({"task": 5}, "task: expected a task's name, a TaskFamily or a Task, got a int"),
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
        chains.plan(**arguments)


# Workflows, tasks and measures of one's own ------------------------------------------------------


def test_sizes_of_a_subsample_are_workflows_of_one_sweep():
    workflows = ["accumulate-subsample:draw=2", jc.accumulate_subsample(3), "accumulate-subsample"]
    family, axes = mean_family(), {"num_samples": [4]}
    result = jc.sweep(family, workflows, axes, seeds=4, generations=3)
    names = ["accumulate-subsample:draw=2", "accumulate-subsample:draw=3", "accumulate-subsample"]
    assert result["workflow"].values.tolist() == names
    assert result["draw"].values.tolist() == [2, 3, 0]
    for name in names:
        alone = jc.sweep(family, name, axes, seeds=4, generations=3)
        np.testing.assert_array_equal(alone["error"][0], result["error"].sel(workflow=name))
    errors = result["error"].sel(seed=0, num_samples=4, generation=3).values
    assert len(set(errors.tolist())) == 3
    with pytest.raises(ValueError, match="each once, got 'accumulate-subsample:draw=3' twice"):
        chains.plan(family, [*workflows, "accumulate-subsample:draw=3"], axes)


def few(count):
    """A workflow of which only its function tells how many rows it shows."""

    @dataclasses.dataclass(frozen=True)
    class Few(jc.Workflow):
        keep: int | None = 1

        def choose(self, key, rows):
            return jnp.arange(rows.occupied.size) < count

    return Few()


def task_of(scale):
    """A family whose name and signature do not tell its scale."""
    evaluate = lambda truth, mean: {"error": scale * mean**2}  # noqa: E731
    family = mean_family("scaled")
    return family._replace(task=lambda num_samples: mean_task(num_samples, evaluate=evaluate))


OWN = {
    "fields of a workflow": [{"workflows": [FirstRows(rows_shown=n)]} for n in (2, 3)],
    "the function of a workflow": [{"workflows": [few(n)]} for n in (2, 3)],
    "the functions of a task": [{"task": task_of(scale)} for scale in (1.0, 3.0)],
    "a measure": [
        {"measures": {"far": lambda truth, mean, c=c: c * jnp.abs(mean)}} for c in (1.0, 3.0)
    ],
}


@pytest.mark.parametrize("what", OWN)
def test_cells_of_other_functions_are_not_taken_over(what, tmp_path):
    """Of one class and one name: what an edited function computes is computed anew."""
    found = []
    for change in OWN[what]:
        given = {"task": mean_family("scaled"), "workflows": "replace", **change}
        plan = chains.plan(**given, axes={"num_samples": [6]}, seeds=3, generations=3)
        fresh, resumed, again = (run(plan, folder) for folder in (None, *[tmp_path / "cells"] * 2))
        assert (resumed.attrs["programs"], again.attrs["programs"]) == (1, 0)
        for name in plan.metrics:
            np.testing.assert_array_equal(resumed[name], fresh[name])
            np.testing.assert_array_equal(again[name], fresh[name])
        found.append(fresh[plan.metrics[0] if what != "a measure" else "far"].values)
    assert (found[0] != found[1]).any()


CLOSING_OVER = """
import jax.numpy as jnp, numpy as np, jaxcollapse as jc
from cases import mean_task
for last in (1.0, 2.0):
    many = np.linspace(0, last, 100, dtype=np.float32)
    measures = {"far": lambda truth, mean: jnp.max(many + mean)}
    given = {"seeds": 1, "generations": 1, "folder": "cells"}
    print(float(jc.sweep(mean_task(4), "replace", measures=measures, **given)["far"][0, 0, 0]))
"""


def test_arrays_that_functions_close_over_tell_programs_apart(tmp_path):
    """Where JAX makes arguments of them, which a program's text does not tell."""
    tests = str(Path(__file__).parent)
    hoisted = {"JAX_USE_SIMPLIFIED_JAXPR_CONSTANTS": "1", "PYTHONPATH": tests}
    done = subprocess.run(
        [sys.executable, "-c", CLOSING_OVER],
        env={**os.environ, **hoisted},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    first, second = map(float, done.stdout.split())
    assert second - first == pytest.approx(1.0, rel=1e-5)


def test_a_family_of_a_name_and_a_function_is_all_that_a_sweep_needs(tmp_path):
    """Without presets, labels, or a pool to choose; its metrics are found by tracing."""
    axes = {"num_samples": [4, 8]}
    result = jc.sweep(mean_family(), ["replace", "accumulate"], axes, 2000, 3)
    assert result["error"].dims == ("workflow", "num_samples", "seed", "generation")
    assert result.attrs["preset"] == "corrected"
    for n in axes["num_samples"]:
        error = result["error"].sel(workflow="replace", num_samples=n, generation=3)
        assert standard_errors(error.values, 3 / n) < 5
    results.save(result, tmp_path / "a.nc")
    np.testing.assert_array_equal(results.load(tmp_path / "a.nc")["error"], result["error"])


def test_a_task_alone_is_swept_over_workflows():
    result = jc.sweep(mean_task(4), ["replace", "fresh-real"], seeds=3, generations=2)
    assert result["error"].dims == ("workflow", "seed", "generation")


def test_loops_in_a_task_of_ones_own_begin_as_they_like():
    """With constants, which under ``shard_map`` vary between no devices."""

    def evaluate(truth, mean):
        last = jax.lax.fori_loop(0, 3, lambda _, x: 0.5 * (x + mean), 0.0)
        return {"last": last}

    result = jc.sweep(mean_task(4, evaluate=evaluate), ["replace"], seeds=2, generations=2)
    assert np.isfinite(result["last"]).all()


@pytest.mark.parametrize(
    "task",
    [
        jc.gaussian.task(2, 6),
        jc.kde.task("moons", 0.3, 60),
        jc.kde.task("blobs", "scott", 60),
        jc.linear_regression.task(2, 6),
        jc.categorical.task(3, 6),
        mean_task(),
    ],
    ids=["gaussian", "kde-fixed", "kde-rule", "linear-regression", "categorical", "own"],
)
def test_a_chain_can_be_mapped_by_shard_map_as_it_is(task):
    """Whatever differs between devices is said to from the first, so that JAX's check passes."""
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()), ("seed",))
    seed = jax.sharding.PartitionSpec("seed")
    for workflow in ("replace", "accumulate", "accumulate-subsample", "window:keep=2", FirstRows()):
        many = jax.vmap(jc.make_chain(task, workflow, 3))
        sharded = functools.partial(jax.shard_map, mesh=mesh, in_specs=seed, out_specs=seed)(many)
        metrics = jax.eval_shape(sharded, jax.eval_shape(keys_of, np.arange(4, dtype=np.uint32)))
        assert metrics["share_of_real_data"].shape == (4, 3)
