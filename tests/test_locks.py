"""One process at a time writes what has a name."""

import errno
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from grids import planned as small_grid
from grids import ran  # noqa: F401
from test_durability import planned

import jaxcollapse as jc
from jaxcollapse import files, locks
from jaxcollapse.cli import main as cli
from jaxcollapse.sweeps import leftovers, results
from jaxcollapse.sweeps import run as runs
from jaxcollapse.sweeps.run import run_and_save


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.nc"


def lock_of(path):
    return path.with_name(f"{path.name}.lock")


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


# What a killed process leaves beside a whole result -------------------------------------------


def killed_once_whole(plan, path, monkeypatch, dead, **how):
    """A run that ends as soon as its result has its name; its lock is of a process that is gone."""
    name = Path.replace

    def named(self, target):
        name(self, target)
        if Path(target) == path:
            raise SystemExit

    monkeypatch.setattr(Path, "replace", named)
    with pytest.raises(SystemExit):
        run_and_save(plan, path, **how)
    monkeypatch.setattr(Path, "replace", name)
    write_lock(path, pid=dead)
    write_lock(path.with_name("a.nc.process-1"), pid=dead)


def names(path):
    return sorted(some.name for some in path.parent.iterdir())


@pytest.mark.parametrize("command", ["run", "info", "again"])
def test_the_next_command_removes_what_was_left(command, path, ran, monkeypatch, dead):  # noqa: F811
    plan = small_grid()
    killed_once_whole(plan, path, monkeypatch, dead)
    assert names(path) == ["a.nc", "a.nc.lock", "a.nc.partial", "a.nc.process-1.lock"]
    if command == "info":
        cli.main(["info", str(path)])
    elif command == "run":
        with pytest.raises(SystemExit):
            cli.main(["run", "gaussian", "--out", str(path)])
    else:
        with pytest.raises(ValueError, match="which exists"):
            run_and_save(plan, path)
    assert names(path) == ["a.nc"]


def test_cells_that_the_result_lacks_stay(path, ran, monkeypatch, dead):  # noqa: F811
    larger = small_grid(seeds=6)

    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_and_save(larger, path, progress=interrupt)
    (cell,) = names(path.parent / "a.nc.partial" / "cell")
    killed_once_whole(small_grid(), path, monkeypatch, dead)
    leftovers.tidy(path)
    assert names(path) == ["a.nc", "a.nc.partial"]
    assert names(path.parent / "a.nc.partial" / "cell") == [cell]


@pytest.mark.parametrize("change", ["another result", "a torn note", "somebody shares it"])
def test_what_may_be_needed_stays(change, path, ran, monkeypatch, dead):  # noqa: F811
    killed_once_whole(small_grid(), path, monkeypatch, dead)
    folder = path.with_name("a.nc.partial")
    if change == "another result":  # the one before, as of a run that was to overwrite it
        os.utime(path, (1, 1))
    elif change == "a torn note":
        (folder / leftovers.NOTE).write_text("{")
    else:
        write_lock(path.with_name("a.nc.process-1"))
    before = [name for name in names(folder / "cell") if name != leftovers.NOTE]
    leftovers.tidy(path)
    assert [name for name in names(folder / "cell") if name != leftovers.NOTE] == before


def test_a_file_that_grows_is_tidied_first(path, ran, monkeypatch, dead):  # noqa: F811
    killed_once_whole(small_grid(), path, monkeypatch, dead)
    run_and_save(small_grid(seeds=6), path, extend=True)
    assert names(path) == ["a.nc"]


def test_a_result_that_cannot_be_tidied_is_read(path, ran, monkeypatch, dead, capsys):  # noqa: F811
    killed_once_whole(small_grid(), path, monkeypatch, dead)

    def read_only(*given):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(locks.os, "open", read_only)
    leftovers.tidy(path)
    monkeypatch.undo()
    assert names(path) == ["a.nc", "a.nc.lock", "a.nc.partial", "a.nc.process-1.lock"]
