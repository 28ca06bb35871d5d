"""Results against others: order statistics over seeds, and the figures of the paper."""

import numpy as np
import pytest
import xarray
from test_cli import refused

import jaxcollapse as jc
from jaxcollapse.cli import main as cli
from jaxcollapse.sweeps import references

CELLS = 400


def made(seeds, seed, shift=0.0, change=None, axis="size"):
    """Normal numbers of one workflow, many cells and two generations, as a foreign program's."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((1, CELLS, seeds, 2)) + shift
    if change is not None:
        change(values)
    dims = ("workflow", axis, "seed", "generation")
    coordinates = {"workflow": ["replace"], axis: np.arange(CELLS), "generation": [1, 5]}
    return xarray.Dataset({"loss": (dims, values)}, coordinates)


def test_of_one_law_chances_are_those_they_are_called():
    mine, other = made(61, 0), references.summary(made(100, 1))
    (row,) = jc.compare(mine, other)
    assert (row.tests, row.left_out, row.differ) == (CELLS * 2 * 5, 0, 0)
    # The least of 4,000 chances, of which every five belong together.
    assert 1e-6 < row.least_chance < 1e-2


@pytest.mark.parametrize("seeds", [20, 100])
def test_chances_below_a_twentieth_are_a_twentieth(seeds, monkeypatch):
    monkeypatch.setattr(references, "FIVE_ERRORS", 0.05)
    (row,) = jc.compare(made(seeds, 2), made(100, 3))
    # Chances are of whole seeds, so that fewer than 1 in 20 are below; five standard errors more.
    assert 0.1 * 0.05 < row.differ / row.tests < 0.05 + 5 * (0.05 * 0.95 / (CELLS * 2)) ** 0.5


def test_another_law_is_found_where_it_is():
    def wider(values):
        values[0, 7, :, 1] *= 4

    (row,) = jc.compare(made(100, 4, change=wider), made(100, 5))
    assert 0 < row.differ <= 4
    assert row.where.startswith("size 7, generation 5, quantile 0.")
    (row,) = jc.compare(made(100, 6, shift=1.0), made(100, 7))
    assert row.differ > row.tests / 4
    assert abs(row.median - row.expected) < 3


def test_ties_infinities_and_nan():
    def odd(values):
        values[0, 0] = 0.0
        values[0, 1] = -np.inf
        values[0, 2, 3] = np.nan
        values[0, 3, ::2] = np.inf

    (row,) = jc.compare(made(60, 8, change=odd), made(100, 9, change=odd))
    assert (row.differ, row.left_out) == (0, 2 * 5)


def test_axes_meet_by_what_is_written():
    mine = made(50, 10).assign_coords(size=[f"{n}" for n in range(CELLS)])
    (row,) = jc.compare(mine.isel(size=slice(3, 5)), made(100, 11))
    assert row.tests == 2 * 2 * 5


def test_what_cannot_be_compared_is_refused():
    mine = made(5, 12)
    with pytest.raises(ValueError, match="a dimension 'seed'"):
        jc.compare(references.summary(mine), mine)
    with pytest.raises(ValueError, match="metrics: expected one of other"):
        jc.compare(mine, mine.rename(loss="other"))
    with pytest.raises(ValueError, match="'generation' of a result"):
        jc.compare(mine, mine.assign_coords(generation=[2, 3]))
    with pytest.raises(ValueError, match="dimensions of a result"):
        jc.compare(mine, made(5, 13, axis="width"))
    with pytest.raises(ValueError, match="reference result"):
        jc.reference("figure99")


def test_a_result_against_a_figure(tmp_path, capsys):
    names = references.names()
    assert "figure1" in names
    known = jc.reference("figure1")
    assert known.attrs["seeds"] == 100
    assert dict(known.sizes)["workflow"] == 3
    run = f"run gaussian --workflow replace --dim 1 --num-samples 10 32 --seeds 200:800 \
        --generations 20 --metric trace_ratio --out {tmp_path / 'mine.nc'}"
    cli.main(run.split())
    capsys.readouterr()
    cli.main(["compare", str(tmp_path / "mine.nc"), "figure1"])
    shown = capsys.readouterr().out
    assert "600 seeds against 100: 0 of 60 quantiles beyond five standard errors" in shown
    assert "seeds are also" not in shown
    text = refused(capsys, "compare", tmp_path / "mine.nc", "figure99")
    assert "figure1" in text
    # Another law: the unbiased covariance of few points.
    other = tmp_path / "other.nc"
    cli.main([*run.replace("mine.nc", "other.nc").split(), "--ddof", "1"])
    with pytest.raises(SystemExit) as stop:
        cli.main(["compare", str(other), "figure1"])
    assert stop.value.code == 1
    assert "ddof is 1 here and 0 there" in capsys.readouterr().out


def test_what_is_not_compared_is_told(tmp_path, capsys):
    axes = {"dim": [1], "num_samples": [10]}
    both = jc.sweep("gaussian", ["replace", "window:keep=2"], axes, seeds=3, generations=2)
    jc.save(both, tmp_path / "mine.nc")
    cli.main(["compare", str(tmp_path / "mine.nc"), "figure1"])
    shown = capsys.readouterr().out
    assert "not compared, figure1 has none: window:keep=2" in shown
    assert "some seeds are also those of figure1: the same chains" in shown
