"""One process at a time writes what has a name."""

import json
import os
import re
import subprocess
import sys
import threading
import time

import pytest
from test_durability import planned

import jaxcollapse as jc
from jaxcollapse import files, locks
from jaxcollapse.sweeps import results
from jaxcollapse.sweeps import run as runs
from jaxcollapse.sweeps.run import run_and_save


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.nc"


def lock_of(path):
    return path.with_name("a.nc.lock")


def in_thread(function, *given):
    """What a call raises in another thread, for which locks of this one are others'."""
    raised = []

    def call():
        try:
            function(*given)
        except ValueError as error:
            raised.append(str(error))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return raised[0] if raised else None


def take(path):
    with locks.writing(path):
        pass


def test_another_is_told_who_writes(path):
    with locks.writing(path):
        told = in_thread(take, path)
        assert re.fullmatch(
            rf"output: expected one that nobody else writes, got {path}, which process "
            rf"{os.getpid()} on \S+ writes since [\d-]+ [\d:+]+ \(last sign of life \d s ago\); "
            "wait for it or end it, or choose another name",
            told,
        )
        take(path)  # blocks of one thread may be nested
        assert lock_of(path).exists()
    assert not lock_of(path).exists()
    assert in_thread(take, path) is None


def test_a_lock_goes_with_an_error(path):
    with pytest.raises(KeyError), locks.writing(path):
        raise KeyError
    assert not lock_of(path).exists()


@pytest.fixture
def dead():
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def write_lock(path, age=0.0, **changes):
    """A lock as another process makes it, the last sign of life so many seconds ago."""
    facts = {"host": "there", "pid": os.getpid(), "since": "2026-01-01 00:00"}
    facts |= {"started": locks._started(os.getpid()), "place": locks._place(), "token": "other"}
    lock_of(path).write_text(json.dumps(facts | changes))
    then = time.time() - age
    os.utime(lock_of(path), (then, then))


def test_the_lock_of_a_killed_process_is_taken_over_at_once(path, dead):
    write_lock(path, pid=dead)
    take(path)
    # A process that has that number by now is not the one that made it.
    write_lock(path, started="1")
    take(path)


def test_the_lock_of_another_machine_is_taken_over_after_silence(path):
    write_lock(path, age=locks.SILENCE - 20, place="another machine")
    with pytest.raises(ValueError, match=rf"process {os.getpid()} on there .* life 1\d\d s ago"):
        take(path)
    write_lock(path, age=locks.SILENCE + 20, place="another machine")
    take(path)
    # Of a machine that failed while it wrote.
    lock_of(path).write_text('{"host": "th')
    os.utime(lock_of(path), (0, 0))
    take(path)


def test_whoever_was_silent_too_long_does_not_write(path, monkeypatch):
    """A machine that slept finds its lock taken over when it wants to save."""
    with locks.writing(path):
        write_lock(path, host="elsewhere")
        with pytest.raises(ValueError, match=r"which process .* on elsewhere writes since"):
            results.save(None, path)
    assert lock_of(path).exists()  # the other's


def test_signs_of_life(path, monkeypatch):
    monkeypatch.setattr(locks, "BEAT", 0.01)
    with locks.writing(path):
        os.utime(lock_of(path), (0, 0))
        until = time.time() + 10
        while lock_of(path).stat().st_mtime == 0 and time.time() < until:
            time.sleep(0.01)
        assert lock_of(path).stat().st_mtime > 0


def test_one_at_a_time_whoever_takes_over(path, dead):
    """Threads that find the lock of a process that was killed, and go on contending."""
    write_lock(path, pid=dead)
    writers, most, times = [], [], []

    def contend(number):
        while times.count(number) < 10:
            try:
                with locks.writing(path):
                    writers.append(number)
                    most.append(len(writers))
                    times.append(number)
                    time.sleep(0)
                    writers.remove(number)
            except ValueError:
                pass

    threads = [threading.Thread(target=contend, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
    assert len(times) == 40


def test_a_second_sweep_stops_before_it_compiles(path, monkeypatch):
    def compiled(*given):
        raise AssertionError("compiled")

    monkeypatch.setattr(runs.Lowering, "compiled", compiled)
    with locks.writing(path):
        assert "one that nobody else writes" in in_thread(run_and_save, planned(), path)
    # One that comes when the first has written its result.
    path.write_text("of the first")
    with pytest.raises(ValueError, match="which exists; choose another name"):
        run_and_save(planned(), path)


def test_of_two_saves_of_one_name_one_is_refused(path, monkeypatch):
    axes = {"num_outcomes": [3], "num_samples": [4]}
    dataset = jc.sweep("categorical", "replace", axes, 1, 1, progress=False)
    told = []
    write = type(dataset).to_netcdf

    def meanwhile(self, *given, **named):
        told.append(in_thread(results.save, dataset, path))
        return write(self, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(type(dataset), "to_netcdf", meanwhile)
        results.save(dataset, path)
    assert "one that nobody else writes" in told[0]
    assert "which exists" in in_thread(results.save, dataset, path)


def test_what_a_killed_process_had_not_finished_goes(path):
    left = path.with_name(f".a.nc.12345678{files.UNFINISHED}.nc")
    other = path.with_name(f".a.nc.b.12345678{files.UNFINISHED}.b")
    for name in (left, other):
        name.write_text("half")
    take(path)
    assert not left.exists()
    assert other.exists()  # of a.nc.b, which somebody may write now


WRITER = """
import sys, time
from pathlib import Path
from jaxcollapse import locks
with locks.writing(Path(sys.argv[1])):
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_a_process_that_is_killed(path):
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        with pytest.raises(ValueError, match=f"which process {process.pid} on"):
            take(path)
        process.kill()
        deadline = time.time() + 5  # not yet waited for by its parent, it is gone all the same
        while lock_of(path).exists() and time.time() < deadline:
            try:
                take(path)
            except ValueError:
                time.sleep(0.02)
        assert not lock_of(path).exists()
