"""The command line, as typed."""

import errno
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from jaxcollapse.cli import main as cli
from jaxcollapse.cli import sweeps
from jaxcollapse.registry import TASKS, as_family
from jaxcollapse.show import figures
from jaxcollapse.sweeps import results
from jaxcollapse.sweeps.run import run_share

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
    # Notes on what was read come before it.
    assert [line.startswith("jaxcollapse: ") for line in lines[-2:]] in ([True], [False, True])
    return lines[-1]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_long_value_is_told_whole(encoding):
    value = "x" * 300
    done = subprocess.run(
        [sys.executable, "-m", "jaxcollapse", "run", "gaussian", "--dim", value, "--out", "a.nc"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONIOENCODING": encoding},
    )
    assert done.stderr.startswith("jaxcollapse: run gaussian: Error parsing --dim: ")
    assert done.stderr.endswith(f"['{value}']; see jaxcollapse run gaussian --help\n")


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
    assert json.loads(dataset.attrs["options"]) == {"ddof": 0.0}
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


def test_plot_of_several_files_for_a_journal(file, capsys):
    out, beside = file.with_name("several.svg"), file.with_name("beside.nc")
    beside.write_bytes(file.read_bytes())
    choice = ["--metric", "kl", "--select", "dim=3", "--hue", "workflow"]
    cli.main(["plot", str(file), str(beside), *choice, "--caption", "--out", str(out)])
    path, caption = capsys.readouterr().out.splitlines()
    assert path == str(out)
    assert caption.startswith("KL divergence from the real law [nats]. Lines: mean over 4 seeds")
    assert beside.name in out.read_text()  # text stays text
    wide = file.with_name("wide.png")
    to = ["--out", wide, "--overwrite"]
    cli.main(["plot", str(file), *map(str, to), *choice, "--width", "column"])
    assert plt.imread(wide).shape[1] == 680  # 3.4 inches of 200 dots
    for width in ("1", "broad", "nan"):
        message = refused(capsys, "plot", file, *to, "--width", width)
        assert f"--width: expected column, page, or 2 to 40 inches, got '{width}'" in message
    several = refused(capsys, "plot", file, beside, *to, "--against", "num_samples")
    assert "results in one figure: expected chains over all generations" in several
    twice = refused(capsys, "plot", file, file, *to)
    assert "results files: expected at least one value, each once" in twice


def test_negative_values_are_on_an_axis_with_numbers(file):
    dataset = results.load(file)
    dataset["trace_ratio"].values[:] = -6.3 + 0.4 * np.random.default_rng(0).random(
        dataset["trace_ratio"].shape
    )
    assert dataset["trace_ratio"].attrs["scale"] == "log"
    for scale, expected in ((None, "linear"), ("symlog", "symlog")):
        axis = figures.grid(dataset, ["trace_ratio"], scale=scale).axes[0]
        assert axis.get_yscale() == expected
        low, high = axis.get_ylim()
        shown = [tick for tick in axis.get_yticks() if low <= tick <= high]
        assert len(shown) >= 2
    pytest.importorskip("matplotlib.pyplot").close("all")


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
            "task: expected one of gaussian, kde, linear-regression, categorical, language-model",
        ),
        (
            ["runn"],
            "best categorical, plot, info, merge, ",
        ),
        ([], "lm evaluate, got none"),
        ([*RUN, "--dim", "0"], "dim: expected at least 1, got 0"),
        ([*RUN, "--dim", "one"], "--dim"),
        ([*RUN, "--num-samples", "-3"], "num_samples: expected at least 1, got -3"),
        ([*RUN, "--num-samples", "1", "--ddof", "1"], "ddof: expected from 0 to below num_samples"),
        ([*RUN, "--workflow", "replase"], "workflow: expected one of replace, accumulate"),
        ([*RUN, "--pool", "bag"], "pool: expected one of auto, points, statistics, got 'bag'"),
        ([*RUN, "--preset", "mine"], "preset: expected one of corrected, authors, got 'mine'"),
        ([*RUN, "--seeds", "0"], "--seeds: expected a number of at least 1"),
        ([*RUN, "--num-samples", "99999999999"], "num_samples: expected at most 2147483647"),
        ([*RUN, "--seeds", "8:5"], "--seeds: expected a number of at least 1"),
        ([*RUN, "--generations", "0"], "generations: expected at least 1, got 0"),
        (
            [*RUN, "--workflow", "accumulate-subsample:draw=11"],
            "subsample size: expected at most num_samples, 10",
        ),
        ([*RUN, "--metric", "nll"], "metric: expected one of squared_error_of_mean"),
        (
            [*RUN, "--dimm", "3"],
            "jaxcollapse: run gaussian: Unrecognized options: --dimm, 3; Perhaps you meant: --dim ",
        ),
        ([*RUN, "--no-such-option"], "options: --no-such-option; see jaxcollapse run gaussian --"),
        (["run", "gaussian"], "--out"),
        ([*RUN, "--cov", "missing.npy"], "array file: expected a file that exists"),
        ([*RUN, "--share", "0.1"], "after the workflow's name, as fresh-real:share=0.1"),
        ([*RUN, "--best-of", "0"], "best_of: expected at least 1, got 0"),
        (
            [*RUN, "--best-of", "2", "--rewards", "dear"],
            "rewards: expected one of real, model, rising, falling, got 'dear'",
        ),
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

    def interrupt(progress):
        if list(out.with_name("a.nc.partial").iterdir()):
            raise KeyboardInterrupt

    def interrupted(plan, out, share, overwrite, progress, extend):
        return run_share(plan, out, share, overwrite, interrupt, extend)

    with monkeypatch.context() as patch:
        patch.setattr(sweeps, "run_share", interrupted)
        with pytest.raises(SystemExit) as stop:
            cli.main(command)
    assert stop.value.code == 130
    assert not out.exists()
    capsys.readouterr()
    cli.main(command)
    assert "going on: 1 of 2 cells were done" in capsys.readouterr().err
    assert results.load(out).sizes["dim"] == 2
    assert not out.with_name("a.nc.partial").exists()


SHORT = ["--seeds", "3", "--generations", "3"]


@pytest.mark.parametrize(
    ("command", "dims", "variables"),
    [
        pytest.param(
            "run kde --dataset moons --bandwidth 0.1 scott --num-samples 5",
            {"workflow": 3, "dataset": 1, "bandwidth": 2, "num_samples": 1},
            {"nll", "pool_variance", "second_moment", "uncovered"},
            marks=pytest.mark.slow,
        ),
        (
            "run linear-regression --dim 2 --num-samples 5 --noise-variance 0.1 1 "
            "--workflow replace",
            {"workflow": 1, "dim": 1, "noise_variance": 2, "num_samples": 1},
            {"mse", "excess_risk"},
        ),
        (
            "run categorical --num-outcomes 4 --num-samples 6",
            {"workflow": 3, "num_outcomes": 1, "num_samples": 1},
            {
                "entropy_ratio",
                "outcomes_left",
                "heterozygosity_ratio",
                "absorption_generation",
                "squared_error",
            },
        ),
    ],
)
def test_tasks(command, dims, variables, tmp_path, capsys):
    out = tmp_path / "a.nc"
    cli.main([*shlex.split(command), *SHORT, "--out", str(out)])
    dataset = results.load(out)
    assert dict(dataset.sizes) == {**dims, "seed": 3, "generation": 3}
    of_every_task = {"share_of_real_data", "first_nonfinite_generation", "run_seconds"}
    assert set(dataset.data_vars) == variables | of_every_task
    assert dataset["run_seconds"].dims == tuple(dims)
    assert (dataset["run_seconds"] > 0).all()
    for name in ("figure.png", "figure.pdf"):
        cli.main(["plot", str(out), "--out", str(tmp_path / name)])
    capsys.readouterr()
    cli.main(["info", str(out), "--csv", str(tmp_path / "a.csv")])
    assert "approximations" in capsys.readouterr().out


def test_bandwidths_of_numbers_are_numbers(tmp_path):
    command = shlex.split("run kde --dataset moons --bandwidth 0.1 1 --num-samples 5")
    cli.main([*command, "--workflow", "replace", *SHORT, "--out", str(tmp_path / "a.nc")])
    assert results.load(tmp_path / "a.nc")["bandwidth"].values.tolist() == [0.1, 1.0]


def test_real_data_from_a_file(tmp_path, capsys):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "points.npy", rng.normal(size=(900, 3)))
    np.savetxt(tmp_path / "table.csv", rng.normal(size=(900, 2)), delimiter=",")
    base = ["run", "kde", "--bandwidth", "0.5", "--workflow", "replace", *SHORT]
    for name in ("points.npy", "table.csv"):
        out = tmp_path / f"{name}.nc"
        given = ["--data", str(tmp_path / name), "--num-samples", "20", "--out", str(out)]
        cli.main([*base, *given])
        dataset = results.load(out)
        assert dataset["dataset"].values.tolist() == [name.partition(".")[0]]
        assert np.isfinite(dataset["nll"]).all()
    capsys.readouterr()
    given = ["--data", tmp_path / "points.npy", "--num-samples", "401", "--out", tmp_path / "b.nc"]
    assert "data: expected at least 901 rows" in refused(capsys, *base, *given)
    assert "--data: expected no --dataset" in refused(capsys, *base, *given, "--dataset", "moons")
    cli.main(["plot", str(out), "--out", str(tmp_path / "a.png"), "--metric", "second_moment"])
    cli.main(["info", str(out)])


@pytest.mark.parametrize("text", ["x,y\n1,2\n", "", "1;2\n"])
def test_tables_that_are_none(text, tmp_path, capsys):
    (tmp_path / "a.csv").write_text(text)
    given = ["run", "kde", "--data", tmp_path / "a.csv", "--out", tmp_path / "a.nc"]
    message = refused(capsys, *given)
    assert "array file: expected .npy, .npz of one array, or .csv of numbers alone" in message
    np.save(tmp_path / "b.npy", np.asarray(["a", "b"]))
    given = ["run", "kde", "--data", tmp_path / "b.npy", "--out", tmp_path / "a.nc"]
    assert "array file: expected .npy, .npz of one" in refused(capsys, *given)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run kde --bandwidth 0", "bandwidth: expected a positive number, scott, silverman"),
        ("run kde --dataset spiral", "dataset: expected one of blobs, circles, moons, swiss-roll"),
        ("run kde --kernel cosine", "kernel: expected one of gaussian, tophat"),
        ("run kde --data missing.npy", "array file: expected a file that exists"),
        ("run linear-regression --noise-variance -1", "noise_variance: expected a finite number"),
        ("run linear-regression --design other", "design: expected one of fixed, fresh"),
        ("run categorical --num-outcomes 1", "num_outcomes: expected at least 2, got 1"),
        ("run categorical --exponent -1", "exponent: expected a finite number of at least 0"),
    ],
)
def test_tasks_refuse(arguments, message, tmp_path, capsys):
    out = ["--out", tmp_path / "new.nc"]
    assert message in refused(capsys, *shlex.split(arguments), *out)
    assert not list(tmp_path.iterdir())


def test_a_task_and_a_workflow_of_ones_own_from_a_module(tmp_path, capsys):
    """Through everything: run, saved and loaded again, drawn, told, described."""
    command = ["run", "--task", "own_module:FAMILY", "--rate", "2", "--num-samples", "4", "8"]
    command += ["--workflow", "replace", "own_module:Half", "--shift", "1", *SHORT]
    out = tmp_path / "a.nc"
    cli.main([*command, "--out", str(out)])
    dataset = results.load(out)
    shape = {"workflow": 2, "rate": 1, "num_samples": 2, "seed": 3, "generation": 3}
    assert dict(dataset["ratio"].sizes) == shape
    assert results.options_of(dataset) == {"shift": 1.0}
    assert np.isfinite(dataset["ratio"]).all()
    cli.main(["plot", str(out), "--out", str(tmp_path / "a.png")])
    cli.main(["info", str(out)])
    assert "exponential" in capsys.readouterr().out
    message = refused(capsys, *command, "--seeds", "none", "--out", tmp_path / "b.nc")
    assert "--seeds: expected a number" in message
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", "--task", "own_module:FAMILY", "--help"])
    assert stop.value.code == 0
    assert "The rate of the real law" in capsys.readouterr().out


def test_what_there_is(capsys, monkeypatch):
    cli.main(["list"])
    shown = capsys.readouterr().out
    for name in ("gaussian", "linear-regression", "accumulate-subsample", "fresh-real", "moons"):
        assert name in shown
    cli.main(["describe", "gaussian"])
    shown = capsys.readouterr().out
    for name in ("num_samples", "ddof", "wasserstein2", "where they are named, of points: mmd"):
        assert name in shown
    cli.main(["describe", "mmd"])
    assert "metric mmd of points" in capsys.readouterr().out
    assert "expected" in refused(capsys, "describe", "gausian")
    known = ["gaussian", "kde", "linear-regression", "categorical"]
    monkeypatch.setattr(TASKS, "names", lambda: known)  # a decoder's text takes seconds to make
    cli.main(["describe", "keep-best"])
    shown = capsys.readouterr().out
    for told in ("C = ceil(N / q)", "error_rates, by default (0.0, 0.0)", "Feng et al. 2406.07515"):
        assert told in shown
    assert "serves gaussian, kde, linear-regression, categorical\n" in shown
    cli.main(["describe", "models"])
    shown = capsys.readouterr().out
    assert (
        "of gaussian has squared_error_of_mean, trace_ratio, squared_error_of_cov; it has" in shown
    )
    # What a task cannot have is not offered, and a refusal names the tasks that can.
    message = refused(capsys, "run", "kde", "--mass", "0.5", "--out", "a.nc")
    assert "publisher mass: expected one that it serves, gaussian, categorical, got" in message


# Messages ---------------------------------------------------------------------------------------


def test_help_breaks_no_sentence(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "400")
    for words, told in {
        "run gaussian": "a range FIRST:END without END (5:8 is 5 6 7). ",
        "bench": "'lm' stands for language models. By default all that are built in. ",
    }.items():
        with pytest.raises(SystemExit):
            cli.main([*words.split(), "--help"])
        assert told in capsys.readouterr().out


def failing(monkeypatch, capsys, error):
    def fail(args):
        raise error

    monkeypatch.setattr(cli.catalogue, "list_things", fail)
    with pytest.raises(SystemExit) as stop:
        cli.main(["list"])
    assert stop.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_an_error_of_the_system_says_where_and_what_to_do(monkeypatch, capsys):
    full = OSError(errno.ENOSPC, "No space left on device")
    assert failing(monkeypatch, capsys, full) == (
        "jaxcollapse: standard output: No space left on device; make room"
    )
    read = PermissionError(errno.EACCES, "Permission denied", "a.csv")
    assert failing(monkeypatch, capsys, read) == (
        "jaxcollapse: a.csv: Permission denied; see that you may read it"
    )
    assert failing(monkeypatch, capsys, OSError("no way there")) == "jaxcollapse: no way there"
    with pytest.raises(SystemExit):
        cli.main(["info", "x" * 300])
    assert capsys.readouterr().err == (
        f"jaxcollapse: {'x' * 300}: File name too long; give a shorter one\n"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_standard_output_that_is_full_ends_in_one_line():
    command = [sys.executable, "-m", "jaxcollapse", "list", "workflows"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (
        1,
        "jaxcollapse: standard output: No space left on device; make room\n",
    )


def test_a_rule_for_data_of_another_scale_is_told(tmp_path):
    points = np.random.default_rng(0).normal(size=(700, 2))
    cases = (20, "scott", True), (20, "scott-scaled", False), (1, "scott", False)
    for scale, bandwidth, told in cases:
        options = {"data": scale * points}
        point = {"dataset": "a", "bandwidth": bandwidth, "num_samples": 100}
        said = as_family("kde").advice(point, options)
        assert bool(said) == told
    options["data"] = 20 * points
    said = as_family("kde").advice({**point, "bandwidth": "silverman"}, options)
    assert (
        "bandwidth silverman is for data of standard deviation 1, and that of the data is" in said
    )
    assert as_family("kde").advice({**point, "dataset": "blobs", "bandwidth": "scott"}, {}) == ""


OWN = """
import dataclasses

import jaxcollapse as jc


@dataclasses.dataclass(frozen=True)
class Everything(jc.Workflow):
    "All rows."

    def choose(self, key, rows):
        return rows.generation < rows.now
"""


def test_a_workflow_of_a_module_in_the_current_folder(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.chdir(tmp_path)
    Path("mine_alone.py").write_text(OWN)
    run = "run gaussian --dim 1 --num-samples 10 --generations 2 --out a.nc --dry-run --workflow"
    cli.main([*run.split(), "mine_alone:Everything"])
    assert "1 cell" in capsys.readouterr().out
    text = refused(capsys, *run.split(), "__main__:Everything")
    assert "put it into a module of its own" in text


def test_a_task_that_is_driven_from_the_host_names_its_command(capsys):
    assert "see jaxcollapse lm finetune --help" in refused(capsys, "run", "fine-tuning")
