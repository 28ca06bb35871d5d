"""Files: whole or not at all, and never over another by accident."""

import os

import numpy as np
import pytest

import jaxcollapse as jc
from jaxcollapse.sweeps import results


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
    told = [results.number_of(count, "seed") for count in (0, 1, 2)]
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
        with results.whole_file(path) as temporary:
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
        ("other.nc", "one of format 'jaxcollapse sweep 1'"),
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
    theory = results.theory(cell, "log_det_ratio")
    # On the plane that the data fill, four points are enough.
    np.testing.assert_allclose(theory[0], jc.theory.gaussian_replace_log_det_drift(4, 2))


def test_theory_of_a_cell(dataset):
    cell = dataset.isel(dim=0, num_samples=0)
    theory = results.theory(cell.sel(workflow="replace"), "trace_ratio")
    np.testing.assert_allclose(theory, 0.8 ** np.arange(1, 5))
    assert results.theory(cell.sel(workflow="replace"), "wasserstein2") is None
