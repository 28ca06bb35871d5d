"""Whatever is typed, read or passed is taken, or refused in one line: at random, of fixed seeds."""

import fuzzing
import numpy as np
import pytest

from jaxcollapse.sweeps import chains, results

FEW = 60  # of each kind; thousands behind the mark slow


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """A results file whose numbers are made up."""
    plan = chains.plan(
        "gaussian", ["replace", "accumulate"], {"dim": [1, 2], "num_samples": [8]}, 3, 4
    )
    rng = np.random.default_rng(0)
    made = {name: rng.random((3, 4), np.float32) for name in plan.metrics}
    cells = [{**made, results.RUN_SECONDS: np.float32(1.0)} for _ in plan.cells]
    path = tmp_path_factory.mktemp("made") / "a.nc"
    results.save(results.dataset(plan, cells, 1.0, 1.0, 1), path)
    return path


def check_commands(numbers, result, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = fuzzing.base_files(tmp_path, result)
    files = [str(tmp_path / f"a{ending}") for ending in whole]
    codes = [fuzzing.command_case(n, files, tmp_path, capsys) for n in numbers]
    assert {0, 2} <= set(codes)  # some are taken


def check_files(numbers, result, tmp_path):
    whole = fuzzing.base_files(tmp_path, result)
    for ending, read in fuzzing.READERS.items():
        read(tmp_path / f"a{ending}")
    for number in numbers:
        fuzzing.file_case(number, whole, tmp_path)


def test_commands(result, tmp_path, capsys, monkeypatch):
    check_commands(range(FEW), result, tmp_path, capsys, monkeypatch)


def test_files(result, tmp_path):
    check_files(range(3 * FEW), result, tmp_path)


def test_arguments():
    for number in range(2 * FEW):
        fuzzing.argument_case(number)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_many_commands(part, result, tmp_path, capsys, monkeypatch):
    numbers = range(FEW + 500 * part, FEW + 500 * (part + 1))
    check_commands(numbers, result, tmp_path, capsys, monkeypatch)


@pytest.mark.slow
def test_many_files(result, tmp_path):
    check_files(range(3 * FEW, 3 * FEW + 3000), result, tmp_path)


@pytest.mark.slow
def test_many_arguments():
    for number in range(2 * FEW, 2 * FEW + 3000):
        fuzzing.argument_case(number)


# Results that lack something -------------------------------------------------------------------


def _without(name):
    def change(dataset):
        dataset.attrs.pop(name)
        return dataset

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("options"), "no attribute 'options'"),
        (lambda d: d.assign_attrs(configuration="{"), "no attribute 'configuration'"),
        (lambda d: d.assign_attrs(configuration="{}"), "no axes in its configuration"),
        (lambda d: d.drop_vars("seed"), "no coordinate 'seed'"),
        (lambda d: d.isel(dim=0, drop=True), "no coordinate 'dim'"),
        (lambda d: d.isel(generation=slice(0)), "no coordinate 'generation'"),
        (lambda d: d.astype(str), "no numbers in"),
        (lambda d: d.assign(x=d["trace_ratio"].drop_attrs()), "no labels of 'x'"),
    ],
)
def test_a_result_that_is_not_whole(result, tmp_path, change, message):
    change(results.load(result)).to_netcdf(tmp_path / "b.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match=f"expected a whole result, got .*b.nc with {message}"):
        results.load(tmp_path / "b.nc")
