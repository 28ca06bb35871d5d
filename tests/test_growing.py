"""Results that grow: only what is missing is run."""

import re

import numpy as np
import pytest
from grids import made, mixed, planned, ran  # noqa: F401

from jaxcollapse.cli.main import main
from jaxcollapse.sweeps import growing, results
from jaxcollapse.sweeps.run import run_and_save

GROWN = {
    "a seed": (planned(), planned(seeds=5)),
    "a value": (planned(), planned(dim=[1, 2, 3])),
    "a value alone": (planned(), planned(dim=[3])),
    "a workflow": (planned(["replace"]), planned(["accumulate"])),
    "everything": (planned(["replace"], 2, dim=[1]), planned(seeds=range(1, 6), dim=[2, 3])),
    "nothing": (planned(), planned(["accumulate"], 2, dim=[2])),
    "counts": (mixed(), mixed((1, 4), 5)),
}


def members(plan):
    """Every cell with every seed, each as text."""
    if not hasattr(plan, "workflows"):
        pairs = [(r, s) for r in plan.real for s in plan.synthetic]
        return [(str(c), *pair, int(s)) for c in plan.cells for pair in pairs for s in plan.seeds]
    return [(str(cell), int(seed)) for cell in plan.cells for seed in plan.seeds]


@pytest.mark.parametrize(("old", "asked"), GROWN.values(), ids=GROWN)
def test_what_is_missing_is_the_rest_of_the_whole_grid_once(old, asked):
    grids = [old.grid, asked.grid]
    whole = {name: sorted({v for grid in grids for v in grid[name]}) for name in grids[0]}
    found = [cell for plan in growing.missing(asked, made(old), "a.nc") for cell in members(plan)]
    assert len(found) == len(set(found))
    assert set(found) == set(members(asked.on(whole))) - set(members(old))


OF_PARTS = [pytest.param(name, marks=pytest.mark.slow) for name in ("a value", "a workflow")]


@pytest.mark.parametrize("name", ["a seed", *OF_PARTS, "everything", "nothing"])
def test_a_grown_result_is_that_of_the_whole(name, tmp_path, ran, capsys):  # noqa: F811
    old, asked = GROWN[name]
    run_and_save(old, tmp_path / "a.nc")
    already = len(ran)
    found = run_and_save(asked, tmp_path / "a.nc", extend=True)
    grid = {dim: found[dim].values.tolist() for dim in old.grid}
    whole = asked.on(grid)
    missing = len(whole.cells) * whole.seeds.size - already
    assert len(ran) == already + missing
    told = f"a.nc has {already} of {already + missing} chains; {missing} are missing"
    assert told in capsys.readouterr().err
    expected = run_and_save(whole, tmp_path / "whole.nc")
    saved = results.load(tmp_path / "a.nc")
    for name in ("trace_ratio", "kl", "first_nonfinite_generation"):
        np.testing.assert_array_equal(saved[name], expected[name])
    assert saved.attrs["title"] == expected.attrs["title"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nc", "whole.nc"]


def test_what_was_interrupted_goes_on(tmp_path, ran, capsys):  # noqa: F811
    out, asked = tmp_path / "a.nc", planned(seeds=6, dim=[1, 2, 3])
    run_and_save(planned(), out)
    before = results.load(out)

    def interrupt(progress):
        if progress.done > progress.total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_and_save(asked, out, progress=interrupt, extend=True)
    assert results.load(out).identical(before)
    capsys.readouterr()
    run_and_save(asked, out, extend=True)
    assert "going on: " in capsys.readouterr().err
    assert dict(results.load(out).sizes) | {"seed": 6, "dim": 3} == dict(results.load(out).sizes)


def test_a_file_that_does_not_exist_begins(tmp_path, ran):  # noqa: F811
    assert run_and_save(planned(), tmp_path / "a.nc", extend=True).sizes["seed"] == 4


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            planned(generations=4),
            "generations of results to merge: expected the same in all, got 3",
        ),
        (planned(ddof=1), "give what else differs a file of its own"),
        (mixed(), "a.nc and"),
    ],
    ids=["generations", "options", "mixtures"],
)
def test_refused_before_anything_runs(asked, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        growing.missing(asked, made(planned()), "a.nc")


def test_a_file_of_another_version_is_merged_by_hand():
    older = made(planned())
    older.attrs["jaxlib_version"] = "0.0.1"
    with pytest.raises(
        ValueError, match=r"got 0\.0\.1 in a\.nc .* jaxcollapse merge --any-version"
    ):
        growing.missing(planned(seeds=5), older, "a.nc")


def test_a_file_is_extended_or_overwritten(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["run", "gaussian", "--extend", "--overwrite", "--out", str(tmp_path / "a.nc")])
    assert "--overwrite and --extend: expected one of them" in capsys.readouterr().err
