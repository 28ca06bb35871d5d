"""Results files: written a cell at a time, deflated, read when asked for."""

import tracemalloc

import h5py
import numpy as np
import pytest
import xarray

from jaxcollapse.cli.main import main
from jaxcollapse.sweeps import chains, mixtures, netcdf, results

TOOK = {"compile_seconds": 1.0, "run_seconds": 2.0, "programs": 1}


def chain_plan(seeds=300, generations=300, dim=(1, 2), metrics=("kl", "trace_ratio"), **more):
    axes = {"dim": list(dim), "num_samples": [10]}
    workflows = ["replace", "window:keep=3"]
    return chains.plan("gaussian", workflows, axes, seeds, generations, metrics=metrics, **more)


def mixture_plan():
    return mixtures.plan("gaussian", {"dim": [1, 2]}, [8, 16], [0, 8, 16], seeds=3000)


def cells_of(plan, shape, some=lambda rng, shape: rng.normal(size=shape)):
    """Cells of a plan with numbers of no meaning."""
    rng = np.random.default_rng(0)
    for seconds, _ in enumerate(plan.cells):
        metrics = {name: some(rng, shape).astype(np.float32) for name in plan.metrics}
        yield {**metrics, results.RUN_SECONDS: np.float32(seconds)}


GRIDS = {
    "chains": (chain_plan, (300, 300)),
    "few chains": (lambda: chain_plan(3, 4), (3, 4)),
    "mixtures": (mixture_plan, (3000, 2, 3)),
}


@pytest.mark.parametrize("grid", GRIDS)
def test_cells_in_turn_make_the_file_that_all_together_do(grid, tmp_path):
    plan, shape = GRIDS[grid][0](), GRIDS[grid][1]
    expected = results.dataset(plan, cells_of(plan, shape), **TOOK)
    results.save_cells(tmp_path / "cells.nc", plan, cells_of(plan, shape), **TOOK)
    results.save(expected, tmp_path / "whole.nc")
    for name in ("cells.nc", "whole.nc"):
        found = results.load(tmp_path / name)
        found.attrs |= {k: expected.attrs[k] for k in ("created", "peak_memory_bytes")}
        xarray.testing.assert_identical(found, expected)
        assert list(found.data_vars) == list(expected.data_vars)
        with xarray.open_dataset(tmp_path / name, engine="h5netcdf", decode_cf=False) as raw:
            assert raw["run_seconds"].dims == plan.along
            assert "_FillValue" in raw[plan.metrics[0]].attrs


def test_large_variables_are_deflated_as_every_reader_knows_it(tmp_path):
    plan = chain_plan()
    zeros = cells_of(plan, (300, 300), lambda rng, shape: np.zeros(shape))
    results.save_cells(tmp_path / "a.nc", plan, zeros, **TOOK)
    assert (tmp_path / "a.nc").stat().st_size < 2**17  # of 3 MB
    with h5py.File(tmp_path / "a.nc") as file:
        deflated = file[plan.metrics[0]]
        assert (deflated.compression, deflated.shuffle, deflated.fletcher32) == ("gzip", True, 0)
        assert deflated.chunks == (1, 1, 1, 256, 256)
        assert (file["run_seconds"].compression, file["run_seconds"].fletcher32) == (None, True)


def test_a_chunk_is_of_the_last_dimensions():
    assert netcdf.chunks_of((10_000, 1000)) == (256, 256)
    assert netcdf.chunks_of((10_000, 20)) == (256, 20)
    assert netcdf.chunks_of((5, 6, 1000)) == (5, 6, 256)
    assert netcdf.chunks_of((10_000, 1000, 3, 3)) == (28, 256, 3, 3)


def test_memory_is_that_of_a_cell(tmp_path, capsys):
    plan = chain_plan(2000, 500, range(1, 11), ["kl"])  # 20 cells
    cell = {"kl": np.ones((2000, 500), np.float32), results.RUN_SECONDS: np.float32(1)}
    tracemalloc.start()
    try:
        cells = ({**cell, "kl": cell["kl"] + 1} for _ in plan.cells)
        results.save_cells(tmp_path / "a.nc", plan, cells, **TOOK)
        main(["info", str(tmp_path / "a.nc")])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 * cell["kl"].nbytes
    assert "generation 500" in capsys.readouterr().out


def test_a_byte_that_a_disk_changed_is_refused(tmp_path, capsys):
    plan = chain_plan()
    results.save_cells(tmp_path / "a.nc", plan, cells_of(plan, (300, 300)), **TOOK)
    content = bytearray((tmp_path / "a.nc").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "a.nc").write_bytes(content)
    with pytest.raises(ValueError, match="run again"):
        results.load(tmp_path / "a.nc")


def test_the_table_of_all_numbers_is_that_of_xarray(tmp_path, capsys):
    plan = chain_plan(3, 4)
    results.save_cells(tmp_path / "a.nc", plan, cells_of(plan, (3, 4)), **TOOK)
    main(["info", str(tmp_path / "a.nc"), "--csv", str(tmp_path / "a.csv")])
    results.load(tmp_path / "a.nc").to_dataframe().to_csv(tmp_path / "expected.csv")
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "expected.csv").read_text()


def test_cells_of_different_types_are_refused(tmp_path):
    plan = chain_plan(3, 4)
    cells = list(cells_of(plan, (3, 4)))
    cells[1]["kl"] = np.ones((3, 4), np.int32)
    with pytest.raises(ValueError, match="numbers of one type in all cells, float32"):
        results.save_cells(tmp_path / "a.nc", plan, cells, **TOOK)
    assert not list(tmp_path.iterdir())
