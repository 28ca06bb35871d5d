"""Every experiment, in its quick version."""

import importlib.util
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from jaxcollapse import plotting, results

EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXPERIMENTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("preset", ["corrected", "authors"])
def test_figure1(tmp_path, capsys, preset):
    figure1 = load("figure1_gaussian")
    figure1.main(["--out", str(tmp_path), "--quick", "--preset", preset])
    dataset = results.load(tmp_path / "gaussian.nc")
    assert dataset.attrs["preset"] == preset
    assert dataset["squared_error_of_cov"].sizes["workflow"] == 3
    shown = capsys.readouterr().out
    for name in ("squared_error_of_mean", "squared_error_of_cov", "densities"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
        assert f"{name}.png" in shown
    plt.close("all")


def test_full_grid_is_the_papers():
    figure1 = load("figure1_gaussian")
    assert figure1.FULL == {"dim": [1, 3, 10, 31, 100], "num_samples": [10, 32, 100, 316, 1000]}


def test_densities_of_the_authors_are_centred_and_use_the_variance():
    mean, std = np.full((1, 1, 1), 2.0), np.full((1, 1, 1), 0.5)
    peaks = {}
    for preset in ("corrected", "authors"):
        axis = plotting.densities(mean, std, [1], ["replace"], preset).axes[0]
        x, y = axis.lines[0].get_data()
        peaks[preset] = (x[np.argmax(y)], y.max())
    height = 1 / np.sqrt(2 * np.pi)
    assert peaks["corrected"] == pytest.approx((2.0, height / 0.5))
    assert peaks["authors"] == pytest.approx((0.0, height / 0.25))
    plt.close("all")
