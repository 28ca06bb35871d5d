"""Several processes that share one sweep."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from cases import mean_family
from grids import planned, ran  # noqa: F401

import jaxcollapse as jc
from jaxcollapse.sweeps import chains, hosts, results
from jaxcollapse.sweeps.hosts import Share
from jaxcollapse.sweeps.lowering import Lowering
from jaxcollapse.sweeps.run import run_and_save, run_share


@pytest.mark.parametrize(
    ("seeds", "work", "processes"),
    [(100, [1.0], 4), (100, [1.0] * 75, 4), (3, [1.0], 8), (7, [1.0, 9.0, 2.0], 3), (2, [5.0], 1)],
)
def test_every_unit_is_dealt_once_and_evenly(seeds, work, processes):
    parts = hosts.slices(np.arange(seeds), work, processes)
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(seeds))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    units = [some / len(parts) for some in work for _ in parts]
    shares = hosts.dealt(units, processes)
    assert [place for share in shares for place in share] == list(range(len(units)))
    most = max(sum(units[place] for place in share) for share in shares)
    assert most <= sum(units) / processes + max(units)


def test_seeds_are_split_only_where_cells_are_too_few():
    assert len(hosts.slices(np.arange(100), [1.0] * 75, 4)) == 1
    assert len(hosts.slices(np.arange(100), [1.0] * 2, 4)) == 2


@pytest.mark.parametrize("processes", [2, 8])
def test_shares_make_the_whole(processes, tmp_path, ran):  # noqa: F811
    plan = planned(seeds=5, dim=[1, 2, 3])
    expected = run_and_save(plan, tmp_path / "alone.nc")
    ran.clear()
    for process in reversed(range(processes)):
        before = len(ran)
        found = run_share(plan, tmp_path / "a.nc", Share(process, processes))
        assert (found is None) == (process > 0)
        assert len(ran) - before <= 1.6 * 30 / processes + 1
    assert len(ran) == 30
    for name in ("trace_ratio", "kl"):
        np.testing.assert_array_equal(found[name], expected[name])
    assert found.attrs["device"] == f"{processes} processes of {expected.attrs['device']}"
    assert found.attrs["run_seconds"] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nc", "alone.nc"]


def test_the_first_process_names_those_that_it_waits_for(tmp_path, ran):  # noqa: F811
    plan, out = planned(seeds=4), tmp_path / "a.nc"
    with pytest.raises(ValueError, match=r"4 are missing, of process 1, 2; start these again"):
        run_share(planned(seeds=3, dim=[1, 2, 3]), out, Share(0, 3, patience=0.0))
    with pytest.raises(ValueError, match="of process 1; start these again"):
        run_share(plan, out, Share(0, 2, patience=0.0))
    ran.clear()
    run_share(plan, out, Share(1, 2))
    own = len(ran)
    assert run_share(plan, out, Share(0, 2)).sizes["seed"] == 4
    assert len(ran) == own == 8


def test_shares_of_what_is_missing_of_a_file(tmp_path, ran):  # noqa: F811
    out, plan = tmp_path / "a.nc", planned(seeds=6, dim=[1, 2, 3])
    run_and_save(planned(), out)
    ran.clear()
    for process in (1, 0):
        found = run_share(plan, out, Share(process, 2), extend=True)
    assert len(ran) == 36 - 16
    np.testing.assert_array_equal(found["kl"], run_and_save(plan, tmp_path / "whole.nc")["kl"])


def test_functions_of_ones_own_are_known_in_every_process():
    """However many seeds fit into a call there."""

    def digest(limit, **axes):
        own = mean_family(**axes)
        plan = chains.plan(own, "replace", {"num_samples": [4]}, 64, 3, memory_limit=limit)
        return Lowering(plan, share=0.5).digest(plan.cells[0])

    assert digest(2e4) == digest(2e9)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"processes": 2}, "expected how many there are and the number of this one"),
        ({"process": 1}, "give --processes N and --process I"),
        ({"coordinator": "a:1"}, "got --coordinator a:1, --processes None, --process None"),
        ({"processes": 2, "process": 2}, "--process: expected at most 1, got 2"),
        ({"processes": 0, "process": 0}, "--processes: expected at least 1"),
    ],
)
def test_processes_are_refused(given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        hosts.join(**given)


def test_a_process_alone():
    assert hosts.join() == Share(0, 1)
    assert hosts.join(processes=3, process=2, patience=9.0) == Share(2, 3, 9.0)


GAUSSIANS = (
    "run gaussian --workflow replace accumulate accumulate-subsample --dim 1 2 3 "
    "--num-samples 10 20 --seeds 40 --generations 20"
)
OTHERS = {
    "kde": "run kde --dataset moons --bandwidth 0.1 0.5 --num-samples 20 --seeds 12 "
    "--generations 5 --workflow replace accumulate",
    "regression": "run linear-regression --dim 3 --num-samples 16 32 --seeds 12 --generations 10",
}


def started(command, out, *options):
    words = [*command.split(), "--patience", "3", "--out", str(out), *options]
    command = [sys.executable, "-m", "jaxcollapse", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def all_end(running):
    told = [process.communicate(timeout=240) for process in running]
    assert [process.returncode for process in running] == [0] * len(running), told


def cells_in(folder):
    return len(list(folder.glob("*.npz"))) if folder.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize("coordinator", [True, False], ids=["of jax.distributed", "of a folder"])
def test_a_process_that_was_killed_is_started_again(coordinator, tmp_path):
    out, count = tmp_path / "a.nc", 2 if coordinator else 4
    port = 20_000 + os.getpid() % 10_000
    found = ["--distributed", "--coordinator", f"localhost:{port}"] if coordinator else []

    def options(process):
        return [*found, "--processes", str(count), "--process", str(process)]

    running = [started(GAUSSIANS, out, *options(process)) for process in range(count)]
    while not cells_in(out.with_name("a.nc.partial")):
        assert running[1].poll() is None, running[1].communicate()
        time.sleep(0.01)
    running[1].send_signal(signal.SIGKILL)
    running[1].communicate()
    running[1] = started(GAUSSIANS, out, *options(1))
    all_end(running)
    assert not out.with_name("a.nc.partial").exists()
    alone = tmp_path / "alone.nc"
    all_end([started(GAUSSIANS, alone)])
    one, several = jc.load(alone), jc.load(out)
    assert json.loads(several.attrs["configuration"]) == json.loads(one.attrs["configuration"])
    for name in results.metrics_of(one):
        np.testing.assert_allclose(several[name], one[name], rtol=2e-4, atol=1e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
@pytest.mark.parametrize("task", OTHERS)
def test_other_tasks_are_those_of_one_process(task, processes, tmp_path):
    alone, out = tmp_path / "alone.nc", tmp_path / "a.nc"
    all_end([started(OTHERS[task], alone)])
    shares = (["--processes", str(processes), "--process", str(n)] for n in range(processes))
    all_end([started(OTHERS[task], out, *share) for share in shares])
    one, several = jc.load(alone), jc.load(out)
    assert several.attrs["device"].startswith(f"{processes} processes of ")
    assert one.sizes == several.sizes
    for name in results.metrics_of(one):
        np.testing.assert_allclose(several[name], one[name], rtol=2e-4, atol=1e-5, err_msg=name)
