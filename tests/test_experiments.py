"""Every experiment, in its quick version."""

import html
import importlib
import json
from pathlib import Path

import common
import figure1_gaussian
import matplotlib.pyplot as plt
import numpy as np
import pytest
import verdicts

from jaxcollapse.sweeps import results

EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments"
SHARED = ("common", "language_models", "reference_results", "verdicts")
NAMES = sorted(path.stem for path in EXPERIMENTS.glob("*.py") if path.stem not in SHARED)
PAPER = {
    "num_samples": [10, 32, 100, 316, 1000],
    "dataset": ["blobs", "circles", "moons", "swiss-roll"],
}
# Axes, cells and generations of each, from the paper's tables.
FULL = {
    "figure1_gaussian": ({"dim": [1, 3, 10, 31, 100]}, 75, 100),
    "figure2_kde": ({"bandwidth": [0.1, 0.5, 1.0]}, 180, 100),
    "kde_tophat": ({"bandwidth": [0.1, 0.5, 1.0]}, 180, 100),
    "kde_bandwidth_study": (
        {"bandwidth": [0.01, 0.0316, 0.1, 0.316, 1, 3.16, 10, 31.6, 100]},
        540,
        1000,
    ),
    "kde_selector_study": ({"bandwidth": ["scott", "silverman"]}, 120, 1000),
    "linear_regression": (
        {"dim": [1, 3, 10, 32, 100], "noise_variance": [0.1, 1.0, 10.0]},
        225,
        100,
    ),
    "share_of_real_data": ({}, 15, 100),
}


def study(name):
    return importlib.import_module(name).STUDY


# Their verdicts ask for cells that a quick run does not have.
OF_THE_WHOLE_GRID = ("real_data_kept", "models_into_one_pool")


# Their parts are those of other experiments, or of the command line, which are tested in any case.
SLOW = (
    *("kde_tophat", "figure4_classical", "figure3_finetuning", "figure4_pretraining"),
    *("figure5_mixing", "categorical", "real_data_kept", "strong_collapse", "mad_loops"),
    *("models_into_one_pool", "verifiers", "rewards", "kde_bandwidth_study", "linear_regression"),
    "figure2_kde",
)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in NAMES]
)
def test_quick(name, tmp_path, capsys):
    common.main(study(name), ["--out", str(tmp_path / name), "--quick", "--report"])
    shown = capsys.readouterr().out
    facts = json.loads((tmp_path / name / "study.json").read_text())
    assert facts["figures"]
    for figure in facts["figures"]:
        assert (tmp_path / name / figure).stat().st_size > 10_000
        assert figure in shown
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64") == len(facts["figures"])
    assert html.escape(study(name).title) in page
    plt.close("all")
    # Given again, it takes the results that are there.
    common.main(study(name), ["--out", str(tmp_path / name), "--quick"])
    assert " 0 run now" in capsys.readouterr().out
    plt.close("all")


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in NAMES if study(n).verdict is not None])
def test_verdicts_can_be_told_of_any_result(name, tmp_path):
    """Of a quick one here, which judges nothing by itself."""
    common.main(study(name), ["--out", str(tmp_path), "--quick"])
    plt.close("all")
    assert "verdict" not in json.loads((tmp_path / "study.json").read_text())
    if name in OF_THE_WHOLE_GRID:
        return
    verdict = study(name).verdict({p.stem: results.load(p) for p in tmp_path.glob("*.nc")})
    assert verdict.holds in common.VERDICTS
    assert verdict.numbers.endswith(".")
    assert "nan" not in verdict.numbers


@pytest.mark.slow
@pytest.mark.parametrize("name", ["figure1_gaussian", "linear_regression"])
def test_preset_of_the_authors(name, tmp_path):
    authors(study(name), tmp_path)


def authors(study, folder):
    common.main(study, ["--out", str(folder), "--quick", "--preset", "authors"])
    assert json.loads((folder / "study.json").read_text())["preset"] == "authors"
    for path in folder.glob("*.nc"):
        assert results.load(path).attrs["preset"] == "authors"
    plt.close("all")


@pytest.mark.parametrize("name", FULL)
@pytest.mark.parametrize("preset", ["corrected", "authors"])
def test_full_grids_are_the_papers(name, preset):
    axes, cells, generations = FULL[name]
    plans = list(study(name).sweeps(False, preset).values())
    assert sum(len(plan.cells) for plan in plans) == cells
    for axis, values in {**PAPER, **axes}.items():
        if axis in plans[0].axes:
            found = [value for plan in plans for value in plan.axes[axis]]
            assert list(dict.fromkeys(found)) == values
    for plan in plans:
        assert plan.generations == generations
        assert plan.seeds.tolist() == list(range(100))
        assert [w.name for w in plan.workflows] == list(common.WORKFLOWS)


def test_real_data_are_kept_in_every_way():
    kept = study("real_data_kept")
    for preset in ("corrected", "authors"):
        for plan in kept.sweeps(False, preset).values():
            assert {workflow.real for workflow in plan.workflows} == {"once", "kept", "fresh"}
            assert plan.axes["num_samples"] == PAPER["num_samples"]


def test_categorical_grid_is_the_papers():
    plans = study("categorical").sweeps(False, "corrected").values()
    outcomes = [10, 100, 1000, 10_000, 100_000]
    assert [plan.axes["num_samples"] for plan in plans] == [[n] for n in outcomes]
    assert all(plan.axes["num_outcomes"] == outcomes for plan in plans)


def test_verdicts_are_of_whole_runs_with_a_claim(tmp_path, capsys):
    facts = {"title": "A", "seen": "B.", "command": "python a.py", "quick": False}
    judged = {"claim": "It falls.", "verdict": "holds", "numbers": "From 2 to 1."}
    page = tmp_path / "VERDICTS.md"

    def write(name, said):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "study.json").write_text(json.dumps(said))
        verdicts.main(["--results", str(tmp_path), "--out", str(page)])

    with pytest.raises(SystemExit):
        write("a", facts)
    assert "results of experiments with a claim" in capsys.readouterr().err
    write("b", {**facts, **judged})
    assert "## A: holds\n\n*Claim.* It falls.\n\n*Found.* From 2 to 1." in page.read_text()
    with pytest.raises(SystemExit):
        write("c", {**facts, **judged, "quick": True})
    assert "run it without --quick" in capsys.readouterr().err


def test_results_of_another_sweep_are_not_taken(tmp_path, capsys):
    share = study("share_of_real_data")
    authors(share, tmp_path)
    before = (tmp_path / "share.nc").read_bytes()
    with pytest.raises(SystemExit):
        common.main(share, ["--out", str(tmp_path), "--quick"])
    assert "which is another" in capsys.readouterr().err
    assert (tmp_path / "share.nc").read_bytes() == before


@pytest.mark.parametrize("wrong", [["--nope"], ["--preset", "mine"], ["--only", "nothing"]])
def test_bad_input_is_told_in_one_line(wrong, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        common.main(study("share_of_real_data"), ["--out", str(tmp_path), "--quick", *wrong])
    assert stop.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("share_of_real_data: ")
    assert told.count("\n") == 1
    assert wrong[-1] in told


def test_every_experiment_is_in_the_readme():
    readme = (EXPERIMENTS / "README.md").read_text()
    for name in NAMES:
        assert f"{name}.py" in readme


def test_densities_of_the_authors_are_centred_and_use_the_variance():
    mean, std = np.full((1, 1, 1), 2.0), np.full((1, 1, 1), 0.5)
    peaks = {}
    for preset in ("corrected", "authors"):
        axis = figure1_gaussian.densities(mean, std, [1], ["replace"], preset).axes[0]
        x, y = axis.lines[0].get_data()
        peaks[preset] = (x[np.argmax(y)], y.max())
    height = 1 / np.sqrt(2 * np.pi)
    assert peaks["corrected"] == pytest.approx((2.0, height / 0.5))
    assert peaks["authors"] == pytest.approx((0.0, height / 0.25))
    plt.close("all")
