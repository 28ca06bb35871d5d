"""What a run would be, told before it: --dry-run."""

import dataclasses
import re
import shlex

import numpy as np
import pytest
from grids import made, mixed, planned

from jaxcollapse.cli import main as cli
from jaxcollapse.sweeps import chains, leftovers, mixtures, preview, results
from jaxcollapse.sweeps.cells import CellStore
from jaxcollapse.sweeps.hosts import Share


@pytest.mark.parametrize("plan", [planned(generations=7), mixed()], ids=["chains", "mixtures"])
def test_the_size_of_a_file(plan, tmp_path):
    told = preview.file_bytes(plan)
    dataset = made(plan)
    assert told == sum(array.nbytes for array in dataset.data_vars.values())
    results.save(dataset, tmp_path / "a.nc")
    assert 0 < (tmp_path / "a.nc").stat().st_size < told + preview.BESIDE


def test_what_is_told_of_chains(tmp_path):
    lines = preview.preview(planned(seeds=4, generations=3), tmp_path / "a.nc")
    assert lines[0] == "gaussian: 4 seeds, 3 generations"
    assert lines[1] == "4 cells in 4 programs: 16 chains, 48 fits"
    assert lines[2].startswith("memory: about ")
    assert " for 4 seeds a call of " in lines[2]
    assert lines[3].startswith(f"{tmp_path / 'a.nc'} takes at most about 10")
    assert len(lines) == 4
    assert not list(tmp_path.iterdir())


def test_memory_is_that_of_as_many_seeds_as_it_has_place_for():
    plan = planned(["replace"], seeds=100, dim=[3])
    (cell,) = plan.cells
    memory = plan.memory._replace(limit=7.5 * plan.seed_bytes(cell))
    told = preview._memory(dataclasses.replace(plan, memory=memory), Share())
    seeds = int(re.search(r"for (\d+) seeds a call of replace dim=3 num_samples=5", told)[1])
    assert 2 <= seeds <= 7
    assert f"about {preview.in_words(seeds * plan.seed_bytes(cell))} on" in told


def test_finished_cells_are_counted_and_left(tmp_path):
    plan, out = planned(), tmp_path / "a.nc"
    folder = leftovers.partial_of(out)
    store = CellStore(folder, plan)
    store.save(plan.cells[1], {"kl": np.ones(3)})
    (path,) = folder.iterdir()
    path.write_bytes(b"torn")  # a look is no reason to remove it
    assert "1 of 4 cells are finished, in a.nc.partial" in preview.preview(plan, out)
    assert list(folder.iterdir()) == [path]


def test_results_that_grow(tmp_path):
    out = tmp_path / "a.nc"
    results.save(made(planned(seeds=2)), out)
    lines = preview.preview(planned(seeds=3), out, extend=True)
    assert lines[1] == f"{out} has 8 of 12 chains; 4 are missing"
    assert lines[2] == "4 cells in 4 programs: 4 chains, 12 fits"
    assert " which is there, grows to at most about " in lines[-1]
    lines = preview.preview(planned(seeds=2), out, extend=True)
    assert lines[1] == f"{out} has 8 of 8 chains; 0 are missing"
    assert len(lines) == 3


@pytest.mark.parametrize(("size", "told"), [(0, "0 bytes"), (1536, "1.5 KiB"), (2**50, "1,024.0")])
def test_sizes_in_words(size, told):
    assert preview.in_words(size).startswith(told)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("run categorical --num-outcomes 3 --num-samples 5 --seeds 2", "600 fits"),
        ("run gaussian --dim 1 --num-samples 5 --processes 2 --process 1", "30,000 fits"),
        ("mix categorical --num-outcomes 3 --real 4 --synthetic 0 4 --seeds 3", " 6 fits"),
    ],
)
def test_dry_runs_write_nothing(words, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for module in (chains, mixtures):
        monkeypatch.setattr(module, "run", None)
    cli.main([*shlex.split(words), "--out", "a.nc", "--log", "a.jsonl", "--dry-run"])
    assert told in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_dry_run_is_of_one_process(tmp_path, capsys):
    out = ["--out", str(tmp_path / "a.nc")]
    with pytest.raises(SystemExit):
        cli.main(["run", "gaussian", *out, "--dry-run", "--distributed"])
    assert "--dry-run: expected no other process" in capsys.readouterr().err
