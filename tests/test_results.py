"""Files: whole or not at all, and never over another by accident."""

import os

import numpy as np
import pytest
from cases import FirstRows, mean_family

import jaxcollapse as jc
from jaxcollapse import registry
from jaxcollapse.files import whole_file
from jaxcollapse.show import figures
from jaxcollapse.sweeps import results
from jaxcollapse.sweeps.closed_forms import closed_form
from jaxcollapse.sweeps.plan import number_of


@pytest.fixture(scope="module")
def dataset():
    axes = {"dim": [1], "num_samples": [5]}
    return jc.sweep("gaussian", ["replace", "accumulate-subsample"], axes, seeds=3, generations=4)


def test_what_is_saved_is_loaded(dataset, tmp_path):
    results.save(dataset, tmp_path / "a.nc")
    loaded = results.load(tmp_path / "a.nc")
    np.testing.assert_array_equal(loaded["trace_ratio"], dataset["trace_ratio"])
    assert loaded["workflow"].values.tolist() == ["replace", "accumulate-subsample"]
    assert loaded.attrs["configuration"] == dataset.attrs["configuration"]
    assert results.axes_of(loaded) == ["dim", "num_samples"]
    assert oct((tmp_path / "a.nc").stat().st_mode & 0o777) == oct(0o666 & ~current_umask())


def current_umask():
    umask = os.umask(0)
    os.umask(umask)
    return umask


def test_numbers_of_things():
    told = [number_of(count, "seed") for count in (0, 1, 2)]
    assert told == ["0 seeds", "1 seed", "2 seeds"]


def test_an_existing_file_stays(dataset, tmp_path):
    path = tmp_path / "a.nc"
    path.write_text("precious")
    with pytest.raises(ValueError, match="which exists; choose another name or pass --overwrite"):
        results.save(dataset, path)
    assert path.read_text() == "precious"
    results.save(dataset, path, overwrite=True)
    assert results.load(path).sizes["seed"] == 3


def test_a_file_that_fails_leaves_nothing(tmp_path):
    path = tmp_path / "a.nc"
    path.write_text("precious")

    def fail_half_way():
        with whole_file(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir()] == ["a.nc"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.nc", "a file that exists"),
        ("text.nc", "NetCDF-4 written by 'jaxcollapse run'"),
        ("other.nc", "one of format 'jaxcollapse sweep 1' or 'jaxcollapse mixing 1'"),
    ],
)
def test_not_a_result(dataset, tmp_path, name, message):
    (tmp_path / "text.nc").write_text("no")
    dataset.drop_attrs().to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match=message):
        results.load(tmp_path / name)


def test_theory_of_a_singular_covariance():
    axes = {"dim": [3], "num_samples": [4]}
    result = jc.sweep("gaussian", ["replace"], axes, 2, 3, cov=np.diag([1.0, 1.0, 0.0]))
    cell = result.isel(dim=0, num_samples=0, workflow=0)
    known = closed_form(cell, "log_det_ratio")
    # On the plane that the data fill, four points are enough.
    np.testing.assert_allclose(known[0], jc.theory.gaussian_replace_log_det_drift(4, 2))


def test_theory_of_a_cell(dataset):
    cell = dataset.isel(dim=0, num_samples=0)
    known = closed_form(cell.sel(workflow="replace"), "trace_ratio")
    np.testing.assert_allclose(known, 0.8 ** np.arange(1, 5))
    assert closed_form(cell.sel(workflow="replace"), "wasserstein2") is None


def cells(family, workflow, axes):
    """The results of the replace workflow, or another, at one point."""
    result = jc.sweep(family, workflow, axes, seeds=2, generations=3)
    return result.isel(workflow=0, **dict.fromkeys(axes, 0))


def known_mean(metric, workflow, generation, options, num_samples):
    if metric == "error" and workflow == jc.replace():
        return np.asarray(generation) / num_samples
    return None


def test_theory_of_a_family_of_ones_own_is_drawn():
    family = registry.register(mean_family("mean-of-points", closed_form=known_mean))
    cell = cells(family, "replace", {"num_samples": [4]})
    np.testing.assert_allclose(closed_form(cell, "error"), np.arange(1, 4) / 4)
    result = jc.sweep("mean-of-points", ["replace", "accumulate"], {"num_samples": [4]}, 3, 3)
    drawn = figures.grid(result, ["error"])
    dashed = [
        [line.get_linestyle() for line in axes.get_lines()].count("--") for axes in drawn.axes
    ]
    assert dashed[:2] == [1, 0]


def test_a_family_named_like_a_built_in_one_is_not_given_its_theory():
    """With the same axes, and a metric of the same name."""

    def task(dim, num_samples):
        evaluate = lambda truth, mean: {"trace_ratio": np.float32(5) + 0 * mean}  # noqa: E731
        return mean_family().make({"num_samples": num_samples}, {})._replace(evaluate=evaluate)

    family = mean_family("gaussian")._replace(task=task)
    cell = cells(family, "replace", {"dim": [1], "num_samples": [4]})
    assert closed_form(cell, "trace_ratio") is None
    np.testing.assert_allclose(closed_form(cell, "share_of_real_data"), [1, 0, 0])


def test_a_workflow_of_ones_own_has_the_theory_that_it_brings():
    class Few(FirstRows):
        def closed_form(self, task, metric, generation, options, **axes):
            return 7.0 * np.asarray(generation) if (task, metric) == ("gaussian", "kl") else None

    registry.register(Few, "few")
    axes = {"dim": [1], "num_samples": [6]}
    cell = cells("gaussian", Few(rows_shown=3), axes)
    np.testing.assert_array_equal(closed_form(cell, "kl"), [7, 14, 21])
    for metric in ("trace_ratio", "share_of_real_data"):
        assert closed_form(cell, metric) is None
