"""``jaxcollapse mix``, as typed."""

import shlex

import pytest
from test_cli import refused

from jaxcollapse.cli import main as cli
from jaxcollapse.sweeps import results

MIX = shlex.split("mix gaussian --dim 1 --real 4 16 --synthetic 0 8 --seeds 20")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    out = tmp_path_factory.mktemp("mix") / "mix.nc"
    cli.main([*MIX, "--out", str(out)])
    return out


def test_results_figure_and_tables(file, capsys):
    dataset = results.load(file)
    assert dict(dataset.sizes) == {"dim": 1, "real": 2, "synthetic": 2, "seed": 20}
    assert {path.name for path in file.parent.iterdir()} >= {"mix.nc", "mix.png", "mix.txt"}
    assert "best synthetic count" in file.with_suffix(".txt").read_text()
    assert len(file.with_suffix(".csv").read_text().splitlines()) == 1 + 4
    cli.main(["info", str(file)])
    shown = capsys.readouterr().out
    for text in ("jax_version", "best synthetic count", "all 16 real points"):
        assert text in shown
    out = file.with_name("again.png")
    cli.main(["plot", str(file), "--out", str(out), "--metric", "trace_ratio"])
    assert out.stat().st_size > 10_000
    for option in (["--hue", "real"], ["--statistic", "median"]):
        message = refused(capsys, "plot", file, "--out", file.with_name("new.png"), *option)
        assert "options of a figure of mixtures: expected --metric and --select alone" in message


@pytest.mark.parametrize(
    "task",
    [
        pytest.param("kde --dataset moons --bandwidth scott", marks=pytest.mark.slow),
        "linear-regression --dim 2 --source subset",
        "categorical --num-outcomes 4 --metric entropy_ratio",
    ],
)
def test_tasks(task, tmp_path, capsys):
    command = f"mix {task} --real 4 12 --synthetic 0 8 --seeds 3 --out {tmp_path / 'a.nc'}"
    cli.main(shlex.split(command))
    dataset = results.load(tmp_path / "a.nc")
    assert dataset[dataset.attrs["loss"]].sizes["seed"] == 3
    assert "significantly better than none" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mix", "gausian"], "task: expected one of gaussian, kde, linear-regression, categorical"),
        ([*MIX, "--num-real", "8"], "real: expected at most the 8 real points that there are"),
        ([*MIX, "--metric", "nll"], "metric: expected one of squared_error_of_mean"),
        ([*MIX, "--source", "half"], "source: expected one of all, subset"),
        ([*MIX, "--synthetic", "-1"], "synthetic: expected at least 0, got -1"),
    ],
)
def test_refused(arguments, message, tmp_path, capsys):
    assert message in refused(capsys, *arguments, "--out", tmp_path / "new.nc")
    assert not list(tmp_path.iterdir())


def test_where_to_write(file, tmp_path, capsys):
    assert "pass --overwrite" in refused(capsys, *MIX, "--out", file)
    assert "an ending of .nc" in refused(capsys, *MIX, "--out", tmp_path / "a.png")
    (tmp_path / "a.csv").touch()
    assert "a.csv, which exists" in refused(capsys, *MIX, "--out", tmp_path / "a.nc")
