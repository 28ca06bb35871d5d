"""The command line, as typed."""

import json
import shlex
import sys

import numpy as np
import pytest

from jaxcollapse import cli, results

RUN = shlex.split(
    "run gaussian --workflow replace accumulate accumulate-subsample --dim 1 3 "
    "--num-samples 10 32 --ddof 0 --seeds 4 --generations 6"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def file(folder):
    cli.main([*RUN, "--out", str(folder / "gaussian.nc")])
    return folder / "gaussian.nc"


def refused(capsys, *arguments):
    """The one line that a refusal prints."""
    with pytest.raises(SystemExit) as stop:
        cli.main(list(map(str, arguments)))
    assert stop.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_run(file):
    dataset = results.load(file)
    assert dict(dataset.sizes) == {
        "workflow": 3,
        "dim": 2,
        "num_samples": 2,
        "seed": 4,
        "generation": 6,
    }
    assert set(dataset["workflow"].values) == {"replace", "accumulate", "accumulate-subsample"}
    assert json.loads(dataset.attrs["options"]) == {"pool": "auto", "ddof": 0.0}
    assert not np.isnan(dataset["wasserstein2"]).any()
    assert not list(file.parent.glob("*.partial"))


def test_plot(file, capsys):
    for name in ("figure.png", "figure.pdf"):
        out = file.with_name(name)
        cli.main(["plot", str(file), "--out", str(out)])
        assert out.stat().st_size > 10_000
        assert str(out) in capsys.readouterr().out
    select = ["--select", "dim=3", "workflow=replace", "--metric", "log_det_ratio"]
    out = file.with_name("part.png")
    cli.main(["plot", str(file), "--out", str(out), *select, "--statistic", "median"])
    assert out.exists()
    message = "dim: expected one of 1, 3, got '4'"
    assert message in refused(capsys, "plot", file, "--out", f"{out}.png", "--select", "dim=4")


def test_info(file, capsys):
    cli.main(["info", str(file), "--csv", str(file.with_suffix(".csv"))])
    shown = capsys.readouterr().out
    for text in ("4 seeds, 6 generations", "accumulate-subsample", "theory", "jax_version"):
        assert text in shown
    # Theorem 1 at t = 6, N = 10.
    assert f"{np.prod(1 - 1 / (10 * np.arange(1, 7) ** 2)):.4g}" in shown
    rows = file.with_suffix(".csv").read_text().splitlines()
    assert len(rows) == 1 + 3 * 2 * 2 * 4 * 6


def test_files_of_mean_and_covariance(folder, capsys):
    np.save(folder / "cov.npy", np.asarray([[2.0, 0.5], [0.5, 1.0]]))
    np.savetxt(folder / "mean.csv", [1.0, 2.0], delimiter=",")
    base = ["run", "gaussian", "--workflow", "replace", "--num-samples", "5", "--seeds", "5:8"]
    given = ["--mean", folder / "mean.csv", "--cov", folder / "cov.npy", "--generations", "2"]
    out = folder / "cov.nc"
    cli.main([*base, "--dim", "2", *map(str, given), "--out", str(out)])
    dataset = results.load(out)
    assert dataset["seed"].values.tolist() == [5, 6, 7]
    assert results.options_of(dataset)["cov"] == [[2.0, 0.5], [0.5, 1.0]]
    capsys.readouterr()
    message = refused(capsys, *base, "--dim", "3", *given, "--out", folder / "new.nc")
    assert "expected shape (3,), got (2,)" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["run", "gausian"],
            "task: expected one of gaussian, kde, linear-regression, categorical, got",
        ),
        (["runn"], "run categorical, plot, info, got 'runn'"),
        ([], "run categorical, plot, info, got none"),
        ([*RUN, "--dim", "0"], "dim: expected at least 1, got 0"),
        ([*RUN, "--dim", "one"], "--dim"),
        ([*RUN, "--num-samples", "-3"], "num_samples: expected at least 1, got -3"),
        ([*RUN, "--num-samples", "1", "--ddof", "1"], "ddof: expected from 0 to below num_samples"),
        ([*RUN, "--workflow", "replase"], "workflow: expected one of replace, accumulate"),
        ([*RUN, "--pool", "bag"], "pool: expected one of auto, points, statistics, got 'bag'"),
        ([*RUN, "--preset", "mine"], "preset: expected one of corrected, authors, got 'mine'"),
        ([*RUN, "--seeds", "0"], "--seeds: expected a number of at least 1"),
        ([*RUN, "--seeds", "8:5"], "--seeds: expected a number of at least 1"),
        ([*RUN, "--generations", "0"], "generations: expected at least 1, got 0"),
        ([*RUN, "--subsample-size", "11"], "subsample size: expected at most num_samples, 10"),
        ([*RUN, "--metric", "nll"], "metric: expected one of squared_error_of_mean"),
        ([*RUN, "--no-such-option"], "--no-such-option"),
        (["run", "gaussian"], "--out"),
        ([*RUN, "--cov", "missing.npy"], "array file: expected a file that exists"),
    ],
)
def test_refused(arguments, message, tmp_path, capsys):
    out = [] if message == "--out" else ["--out", tmp_path / "new.nc"]
    assert message in refused(capsys, *arguments, *(out if arguments[:1] == ["run"] else []))
    assert not list(tmp_path.iterdir())


def test_where_to_write(file, tmp_path, capsys):
    missing = tmp_path / "none" / "a.nc"
    assert "expected one that exists" in refused(capsys, *RUN, "--out", missing)
    assert "pass --overwrite" in refused(capsys, *RUN, "--out", file)
    assert "an ending of .nc" in refused(capsys, *RUN, "--out", tmp_path / "a.csv")
    message = refused(capsys, "plot", file, "--out", tmp_path / "a.nc")
    assert "an ending of .png or .pdf or .svg" in message


def test_covariance_that_is_none(tmp_path, capsys):
    np.save(tmp_path / "cov.npy", np.asarray([[1.0, 2.0], [2.0, 1.0]]))
    arguments = ["run", "gaussian", "--dim", "2", "--cov", tmp_path / "cov.npy"]
    assert "positive semidefinite" in refused(capsys, *arguments, "--out", tmp_path / "a.nc")


def test_help(capsys):
    for arguments in (["--help"], ["run", "--help"], ["run", "gaussian", "--help"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        assert stop.value.code == 0
        assert "gaussian" in capsys.readouterr().out


def test_interrupted_run_resumes(tmp_path, capsys, monkeypatch):
    out = tmp_path / "a.nc"
    command = ["run", "gaussian", "--workflow", "replace", "--dim", "1", "2", "--num-samples", "5"]
    command += ["--seeds", "2", "--generations", "2", "--out", str(out)]
    sweep = sys.modules["jaxcollapse.sweep"]
    original = sweep._call

    def interrupt(program, seeds, traced):
        if list(out.with_name("a.nc.partial").iterdir()):
            raise KeyboardInterrupt
        return original(program, seeds, traced)

    with monkeypatch.context() as patch:
        patch.setattr(sweep, "_call", interrupt)
        with pytest.raises(SystemExit) as stop:
            cli.main(command)
    assert stop.value.code == 130
    assert not out.exists()
    cli.main(command)
    assert results.load(out).sizes["dim"] == 2
    assert not out.with_name("a.nc.partial").exists()
