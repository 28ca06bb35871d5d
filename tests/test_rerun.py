"""Results made again from what their files tell."""

import dataclasses
import json
import shlex

import numpy as np
import own_module
import pytest
from grids import made, mixed, planned

import jaxcollapse as jc
from jaxcollapse.cli import main as cli
from jaxcollapse.cli import rerun as commands
from jaxcollapse.sweeps import chains, rerun, results


def json_of(plan):
    return json.loads(json.dumps(plan.configuration))


def published():
    axes = {"dim": [2], "num_samples": [5], "temperature": [0.9, 1.0], "best_of": [2]}
    return chains.plan("gaussian", ["replace"], axes, 2, 3, rewards=("real", "model"))


PLANS = {
    "chains": lambda: planned(["replace", "fresh-real:share=0.5*t^-1"], seeds=[3, 2]),
    "mixtures": lambda: mixed([4]),
    "an array, statistics and some generations": lambda: chains.plan(
        "gaussian",
        ["accumulate"],
        {"dim": [2], "num_samples": [5, 6]},
        3,
        9,
        every=2,
        metrics=["kl"],
        pool="statistics",
        cov=np.asarray([[2.0, 0.1], [0.1, 1.0]]),
        mean=np.asarray([0.1, 1 / 3]),
    ),
    "names among numbers": lambda: chains.plan(
        "kde", ["replace"], {"dataset": ["moons"], "bandwidth": [0.1, "scott"], "num_samples": [9]}
    ),
    "metrics of points": lambda: chains.plan(
        "gaussian", ["replace"], {"dim": [2], "num_samples": [5]}, 2, 3, metrics=["kl", "mmd"]
    ),
    "publishers": published,
    "a workflow of one's own": lambda: planned(["replace", own_module.Half()]),
}


@pytest.mark.parametrize("name", PLANS)
def test_a_result_tells_its_plan(name):
    plan = PLANS[name]()
    found = rerun.plan_of(results_of(plan))
    assert json_of(found) == json_of(plan)
    assert found.program(found.cells[0]) == plan.program(plan.cells[0])


def results_of(plan):
    """A bare result, which has no numbers."""
    return results._bare(plan, 1.0, 1.0, 1, None)


def test_what_a_result_does_not_tell_is_refused():
    cloud = np.random.default_rng(0).normal(size=(900, 2))
    axes = {"dataset": ["cloud"], "bandwidth": [0.5], "num_samples": [5]}
    dataset = results_of(chains.plan("kde", ["replace"], axes, 2, 3, data=cloud))
    with pytest.raises(ValueError, match="data of a result that is made again: expected numbers"):
        rerun.plan_of(dataset)
    assert rerun.plan_of(dataset, options={"data": cloud}).options["data"] is cloud
    with pytest.raises(ValueError, match="options of a result that is made again: expected"):
        rerun.plan_of(dataset, options={"data": 2 * cloud})
    measured = chains.plan(
        "categorical",
        ["replace"],
        {"num_outcomes": [3], "num_samples": [5]},
        2,
        3,
        measures=lambda truth, model: {"first": model[0]},
    )
    with pytest.raises(ValueError, match="metric first of a result that is made again: expected"):
        rerun.plan_of(results_of(measured))


def test_how_far_numbers_are_apart():
    one = made(planned())
    (name, *_) = results.metrics_of(one)
    assert not any(found.differ for found in rerun.apart(one, one))
    other = one.copy(deep=True)
    values = other[name].values
    size = np.abs(values).max()
    values[0, 0, 0, 0, 0] += 0.5 * size
    values[1, 0, 0, 0, 0] += 0.25 * size
    values[0, 1, 0, 0, 1] = np.nan
    largest = np.nanmax(np.abs(values))
    found = {each.variable: each for each in rerun.apart(one, other)}[name]
    assert (found.differ, found.numbers, found.finite_in_one) == (3, values.size, 1)
    np.testing.assert_allclose(found.largest, 0.5 * size / max(size, largest), rtol=1e-6)
    assert "3 of" in str(found)
    assert ", 1 finite in one alone" in str(found)
    assert results.RUN_SECONDS not in {each.variable for each in rerun.apart(one, other)}
    with pytest.raises(ValueError, match=f"variable {name} of both results: expected"):
        rerun.apart(one, other.drop_vars(name))


def test_signs_of_zero_are_bits():
    one = made(planned())
    (name, *_) = results.metrics_of(one)
    one[name].values[:] = 0.0
    other = one.copy(deep=True)
    other[name].values[:] = -0.0
    found = {each.variable: each for each in rerun.apart(one, other)}[name]
    assert (found.differ, found.largest) == (found.numbers, 0.0)


# The command ------------------------------------------------------------------------------------


def test_a_command_is_told_without_paths_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--dim", "2", f"--cov={tmp_path}/a b/cov.npy", "--mean", "/elsewhere/mean.csv"]
    given = ["run", "gaussian", "--out", str(tmp_path / "a.nc"), *options]
    told = "jaxcollapse run gaussian --out a.nc --dim 2 '--cov=a b/cov.npy' --mean mean.csv"
    assert cli.parse(given).command == told
    assert shlex.split(told)[-3] == "--cov=a b/cov.npy"


def test_commands_of_results_that_are_merged_are_told_all():
    parts = [made(planned(seeds=seeds)) for seeds in (range(2), range(2, 4), range(4, 6))]
    for part, command in zip(parts, ("jaxcollapse a; b", "jaxcollapse c", None), strict=True):
        part.attrs |= {} if command is None else {"command": command}
    assert jc.merge(parts).attrs["command"] == "jaxcollapse a; b\njaxcollapse c"


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A result of made-up numbers, which are made again as they were."""
    command = "run categorical --workflow replace --num-outcomes 3 --num-samples 5"
    command += " --seeds 2 --generations 3 --out a.nc"
    monkeypatch.chdir(tmp_path)

    def run_again(plan, out, overwrite):
        results.save(made(plan), out, overwrite)
        return results.lazily(out)

    monkeypatch.setattr(commands, "run_and_save", run_again)
    plan = chains.plan("categorical", ["replace"], {"num_outcomes": [3], "num_samples": [5]}, 2, 3)
    plan = dataclasses.replace(plan, command=f"jaxcollapse {command}")
    results.save(made(plan), tmp_path / "a.nc")
    return tmp_path / "a.nc"


def test_a_result_that_is_the_same(file, capsys):
    cli.main(["rerun", str(file), "--out", "again.nc"])
    said = capsys.readouterr().out
    assert "a.nc: made again, all " in said
    assert said.endswith(" are bit-equal\n")
    assert results.load("again.nc").attrs["command"] == results.load(file).attrs["command"]
    with pytest.raises(SystemExit) as stop:
        cli.main(["rerun", str(file), "--out", "again.nc"])
    assert stop.value.code == 2
    cli.main(["rerun", str(file), "--out", "again.nc", "--overwrite"])


def test_a_result_that_is_another(file, capsys):
    dataset = results.load(file)
    (name, *_) = results.metrics_of(dataset)
    dataset[name].values[..., 0] += 1
    dataset.attrs |= {
        "jax_version": "0.0.1",
        "settings": json.dumps(json.loads(dataset.attrs["settings"]) | {"XLA_FLAGS": "--none"}),
    }
    results.save(dataset, file, overwrite=True)
    with pytest.raises(SystemExit) as stop:
        cli.main(["rerun", str(file)])
    assert stop.value.code == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(" differ")
    assert lines[1].startswith(f"  {name}: 2 of 6 numbers differ, by at most ")
    assert any(line.startswith("  other jax_version: 0.0.1 then, ") for line in lines)
    assert any(line.startswith("  other XLA_FLAGS: --none then, ") for line in lines)


ALL = {
    "gaussian": "run gaussian --dim 1 3 --num-samples 10 32",
    "some generations": "run gaussian --pool statistics --dim 2 --num-samples 10 --every 2 "
    "--workflow replace fixed-real:weight=0.9,0.5 fresh-real:share=0.5*t^-1",
    "publishers": "run gaussian --dim 2 --num-samples 10 --temperature 0.9 1 --best-of 2 "
    "--rewards real model --workflow replace",
    "kde": "run kde --dataset moons --bandwidth 0.1 scott --num-samples 10",
    "data": "run kde --data points.npy --bandwidth 0.5 --num-samples 20",
    "regression": "run linear-regression --dim 5 --num-samples 10",
    "categorical": "run categorical --num-outcomes 10 --num-samples 20 --metric outcomes_left",
    "own": "run own_module:FAMILY --rate 2 --num-samples 8 --workflow replace own_module:Half",
    "mixtures": "mix gaussian --dim 3 --real 16 32 --synthetic 0 16",
    "language models": "lm pretrain --workflow replace --num-samples 60 --steps 20",
    "compiled language models": "lm pretrain --workflow replace --num-samples 60 --steps 20 "
    "--driver compiled",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_results_of_all_kinds_are_bit_equal(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("points.npy", np.random.default_rng(0).normal(size=(900, 3)))
    words = shlex.split(ALL[name])
    of_chains = [] if words[0] == "mix" else ["--generations", "3"]
    out = "run" if words[0] == "lm" else "a.nc"
    cli.main([*words, *of_chains, "--seeds", "2", "--out", out])
    capsys.readouterr()
    cli.main(["rerun", "run/results.nc" if words[0] == "lm" else out])
    assert capsys.readouterr().out.endswith(" are bit-equal\n")
