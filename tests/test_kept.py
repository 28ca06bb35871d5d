"""Compiled programs that are kept between processes."""

import os
import subprocess
import sys
from collections import OrderedDict

import jax
import numpy as np
import pytest
from cases import mean_family
from jax.experimental.compilation_cache import compilation_cache

import jaxcollapse as jc
from jaxcollapse.sweeps import chains, kept, mixtures, programs
from jaxcollapse.sweeps.run import run_and_save


def planned(workflows="replace", generations=3, **axes):
    given = {"dim": [2], "num_samples": [5], **axes}
    return chains.plan("gaussian", workflows, given, 4, generations, metrics=["trace_ratio"])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Of the kept programs, of a user's cache that is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    monkeypatch.setattr(programs, "_compiled", OrderedDict())
    yield tmp_path / "jaxcollapse" / "programs"
    jax.config.update("jax_compilation_cache_dir", before)
    compilation_cache.reset_cache()


@pytest.fixture
def nothing_lowered(monkeypatch):
    """From when it is called on, tracing is an error."""

    def forbid():
        def lowered(*given):
            raise AssertionError("traced")

        monkeypatch.setattr(programs, "lowered_over_seeds", lowered)

    return forbid


@pytest.mark.parametrize(
    "plan",
    [
        planned(["replace", "accumulate-subsample"], num_samples=[5, 6]),
        mixtures.plan("categorical", {"num_outcomes": [4]}, [2, 4], [0, 3], seeds=4),
    ],
    ids=["chains", "mixtures"],
)
def test_given_again_nothing_is_traced(plan, folder, tmp_path, nothing_lowered):
    first = run_and_save(plan, tmp_path / "first.nc")
    assert len(list(folder.glob("*.program"))) == first.attrs["programs"]
    nothing_lowered()
    second = run_and_save(plan, tmp_path / "second.nc")
    assert second.attrs["programs"] == first.attrs["programs"]
    for name in plan.metrics:
        np.testing.assert_array_equal(first[name], second[name])


def test_other_values_of_a_traced_axis_take_the_same_program(folder, tmp_path, nothing_lowered):
    run_and_save(planned(), tmp_path / "first.nc")
    nothing_lowered()
    other = run_and_save(planned(num_samples=[9]), tmp_path / "second.nc")
    alone = jc.make_chain(jc.gaussian.task(2, 9), "replace", 3)(jc.seed_keys([3])[0])
    np.testing.assert_allclose(
        other["trace_ratio"].sel(seed=3).values.ravel(), alone["trace_ratio"], rtol=1e-5
    )


@pytest.mark.parametrize(
    "other",
    [
        planned(generations=4),
        planned("accumulate"),
        planned(dim=[3]),
        chains.plan("gaussian", "replace", {"dim": [2], "num_samples": [5]}, 5, 3),
        chains.plan("gaussian", "replace", {"dim": [2], "num_samples": [5]}, 4, 3, ddof=1),
    ],
    ids=["generations", "workflow", "dim", "seeds and metrics", "option"],
)
def test_another_plan_is_another_program(other, folder):
    def path(plan):
        return kept.Programs(folder, plan)._path(plan.cells[0], True)

    assert path(other) != path(planned())
    assert path(planned()) == path(planned())


def test_another_source_is_another_program(folder, monkeypatch):
    store = kept.Programs(folder, planned())
    before = store._path(planned().cells[0], True)
    monkeypatch.setattr(kept, "_source", lambda: "edited")
    assert store._path(planned().cells[0], True) != before


@pytest.mark.parametrize(
    "damage",
    ["one bit", *(pytest.param(name, marks=pytest.mark.slow) for name in ("cut off", "empty"))],
)
def test_a_damaged_file_is_compiled_again(damage, folder, tmp_path, nothing_lowered):
    first = run_and_save(planned(), tmp_path / "first.nc")
    (path,) = folder.glob("*.program")
    written = path.read_bytes()
    middle = len(written) // 2
    flipped = bytes([written[middle] ^ 1])
    path.write_bytes(
        {
            "cut off": written[:middle],
            "one bit": written[:middle] + flipped + written[middle + 1 :],
            "empty": b"",
        }[damage]
    )
    second = run_and_save(planned(), tmp_path / "second.nc")
    np.testing.assert_array_equal(first["trace_ratio"], second["trace_ratio"])
    assert path.read_bytes() != b""
    (path,) = folder.glob("*.program")
    nothing_lowered()
    run_and_save(planned(), tmp_path / "third.nc")


def test_programs_with_functions_of_ones_own_are_not_kept(folder, tmp_path):
    own = chains.plan(mean_family(), "replace", {"num_samples": [4]}, 4, 3)
    run_and_save(own, tmp_path / "own.nc")
    measured = chains.plan(
        "gaussian",
        "replace",
        {"dim": [2], "num_samples": [5]},
        4,
        3,
        measures={"own": lambda truth, model: model.mean.sum()},
    )
    run_and_save(measured, tmp_path / "measured.nc")
    assert not list(folder.glob("*.program"))


@pytest.mark.slow
def test_programs_of_another_cache_are_not_kept(folder, tmp_path, monkeypatch):
    """What JAX's cache returns cannot be written again."""
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "of_jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    compilation_cache.reset_cache()
    try:
        kinds = []
        for name in ("first.nc", "second.nc"):
            run_and_save(planned(), tmp_path / name)
            kinds.append([path.unlink() for path in folder.glob("*.program")])
            programs._compiled.clear()
            jax.clear_caches()
        assert [len(kind) for kind in kinds] == [1, 0]
    finally:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def test_a_folder_that_cannot_be_made_keeps_nothing(tmp_path, monkeypatch):
    (tmp_path / "jaxcollapse").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert run_and_save(planned(), tmp_path / "result.nc").sizes["seed"] == 4


def test_only_the_programs_used_last_stay(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "MOST_FILES", 1)
    run_and_save(planned(["replace", "accumulate"]), tmp_path / "first.nc")
    assert len(list(folder.glob("*.program"))) == 1


def test_another_process_runs_a_kept_program_of_decompositions(folder, tmp_path):
    """Also where nothing has had JAX look up LAPACK."""
    command = [sys.executable, "-m", "jaxcollapse", "run", "gaussian", "--dim", "3"]
    command += ["--num-samples", "8", "--seeds", "4", "--generations", "3", "--out"]
    results = []
    for name in ("first.nc", "second.nc"):
        told = [*command, str(tmp_path / name)]
        subprocess.run(told, check=True, capture_output=True, env=os.environ)
        results.append(jc.load(tmp_path / name))
    assert len(list(folder.glob("*.program"))) == results[0].attrs["programs"]
    np.testing.assert_array_equal(results[0]["wasserstein2"], results[1]["wasserstein2"])
    assert results[1].attrs["compile_seconds"] < 0.7 * results[0].attrs["compile_seconds"]
