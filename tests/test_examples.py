"""The packages of examples/, installed: sweep, resume, save, load, plot and command line."""

import json
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from conftest import standard_errors

import jaxcollapse as jc
from jaxcollapse import testing
from jaxcollapse.cli import main as cli
from jaxcollapse.registry import TASKS
from jaxcollapse.show import figures
from jaxcollapse.sweeps import chains
from jaxcollapse.sweeps.closed_forms import closed_form
from jaxcollapse.sweeps.run import run
from jaxcollapse.workflows import WORKFLOWS, parse

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PACKAGES = ("exponential_task", "fading_workflow")


def install(package, site):
    """What pip leaves of such a package: its module, its name and its entry points."""
    project = tomllib.loads((EXAMPLES / package / "pyproject.toml").read_text())
    about = project["project"]
    for module in project["tool"]["setuptools"]["py-modules"]:
        shutil.copy(EXAMPLES / package / f"{module}.py", site)
    info = site / f"{package}-{about['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n"
    )
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {where}\n" for name, where in entries.items())
        for group, entries in about["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder of installed packages, seen for as long as these tests run."""
    folder = tmp_path_factory.mktemp("site")
    for package in PACKAGES:
        install(package, folder)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    for names in (TASKS, WORKFLOWS):
        for name in ("exponential", "fading"):
            names.forget(name)


def test_they_conform(site):
    fading = parse("fading:half_life=1")
    testing.check_family(
        "exponential", {"rate": 2.0, "num_samples": 20}, [*testing.WORKFLOWS, fading]
    )
    testing.check_family("gaussian", {"dim": 2, "num_samples": 8}, [fading])


def test_a_sweep_is_resumed_saved_and_loaded(site, tmp_path):
    plan = chains.plan(
        "exponential",
        ["replace", "fading:half_life=1", "fading:half_life=4"],
        {"rate": [0.5, 2.0], "num_samples": [10]},
        seeds=400,
        generations=6,
    )

    class StoppedError(Exception):
        pass

    def interrupt(progress):
        if progress.done >= progress.total / 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        run(plan, tmp_path / "cells", interrupt)
    kept = list((tmp_path / "cells").iterdir())
    assert 0 < len(kept) < len(plan.cells)
    done = []
    dataset = run(plan, tmp_path / "cells", done.append)
    assert dataset.attrs["programs"] == 2  # the first workflow's was done
    np.testing.assert_array_equal(dataset["half_life"], [np.inf, 1.0, 4.0])
    jc.save(dataset, tmp_path / "exponential.nc")
    loaded = jc.load(tmp_path / "exponential.nc")
    for name in ("mean_ratio", "kl", "share_of_real_data"):
        np.testing.assert_array_equal(loaded[name], run(plan)[name])
    # The rate is traced: one program serves both.
    for workflow in loaded["workflow"].values:
        line = loaded.sel(workflow=workflow, rate=2.0, num_samples=10)
        for t in range(6):  # the mean is a martingale
            assert standard_errors(line["mean_ratio"].values[:, t], 1.0) < 5
        known = closed_form(
            line, "mean_ratio"
        )  # a task does not answer for a workflow that chooses
        assert known is None if workflow != "replace" else np.all(known == 1)
        share = closed_form(line, "share_of_real_data")
        np.testing.assert_allclose(line["share_of_real_data"][0], share, rtol=1e-5)
    assert loaded["mean_ratio"].attrs["long_name"] == "Mean, fitted / real"


def test_closed_forms_of_a_workflow_are_drawn_for_built_in_tasks(site):
    axes = {"dim": [1], "num_samples": [6]}
    dataset = jc.sweep("gaussian", ["accumulate", "fading:half_life=2"], axes, 400, 6)
    line = dataset.sel(workflow="fading:half_life=2.0", dim=1, num_samples=6)
    for metric in ("trace_ratio", "squared_error_of_mean"):
        known = closed_form(line, metric)
        for t in range(6):
            assert standard_errors(line[metric].values[:, t], known[t]) < 5
    figure = figures.grid(dataset, ["trace_ratio"])
    dashed = [line for axis in figure.axes for line in axis.lines if line.get_linestyle() == "--"]
    assert len(dashed) == 2


def test_the_command_line_knows_them(site, tmp_path, capsys):
    """In a process of its own, as after an installation."""

    def command(words):
        done = subprocess.run(
            [sys.executable, "-m", "jaxcollapse", *shlex.split(words)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={"PYTHONPATH": f"{site}:{EXAMPLES.parent}", "PATH": "", "HOME": str(tmp_path)},
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    told = command(
        "run exponential --rate 1 --num-samples 10 --workflow accumulate fading:half_life=2 "
        "--seeds 20 --generations 4 --out one.nc"
    )
    assert "one.nc: exponential: 20 seeds, 4 generations, 2 programs" in told
    dataset = jc.load(tmp_path / "one.nc")
    assert json.loads(dataset.attrs["configuration"])["records"][1]["half_life"] == 2.0
    for words, expected in (
        (["list", "tasks"], "exponential              Exponential laws: the rate fitted"),
        (["list", "workflows"], "fading                   Each model trains on all data, of which"),
        (["describe", "exponential"], "rate: 0.5 1.0 2.0"),
        (["describe", "fading"], "half_life: 3.0"),
        (["info", str(tmp_path / "one.nc")], "Mean, fitted / real"),
        (["plot", str(tmp_path / "one.nc"), "--out", str(tmp_path / "one.png")], "one.png"),
    ):
        cli.main(words)
        told = capsys.readouterr().out
        assert expected in told
    words = "--rate 1 --real 4 8 --synthetic 0 8 --seeds 20 --out"
    cli.main(["mix", "exponential", *words.split(), str(tmp_path / "mix.nc")])
    assert jc.load(tmp_path / "mix.nc").attrs["loss"] == "kl"


def test_a_task_of_a_module_runs_as_it_stands(site, tmp_path, capsys):
    words = "--rate 1 --num-samples 10 --workflow replace --seeds 4 --generations 3 --out"
    for name in (["--task", "exponential_task:FAMILY"], ["exponential_task:FAMILY"]):
        out = tmp_path / f"{len(name)}.nc"
        cli.main(["run", *name, *words.split(), str(out)])
        assert jc.load(out).attrs["task"] == "exponential"
    with pytest.raises(SystemExit):
        cli.main(["run", "exponential_task:NOTHING", "--out", "x.nc"])
    assert "no NOTHING in exponential_task; check both" in capsys.readouterr().err
