"""What is kept of a run: known by what it is, whole and sound, whatever happened to the machine."""

import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxcollapse as jc
from jaxcollapse import files, keys, machine
from jaxcollapse.sweeps import chains, mixtures
from jaxcollapse.sweeps.cells import CellStore


def planned(workflows="replace", seeds=4, generations=3, dim=(2,), **options):
    axes = {"dim": dim, "num_samples": [5]}
    return chains.plan("gaussian", workflows, axes, seeds, generations, **options)


def kept(folder, plan):
    store = CellStore(folder, plan)
    return [store.has(cell) for cell in plan.cells]


@pytest.fixture
def folder(tmp_path):
    """With the one cell of ``planned()``."""
    plan = planned()
    CellStore(tmp_path, plan).save(plan.cells[0], {"kl": np.arange(4.0)})
    return tmp_path


# What a cell is -----------------------------------------------------------------------------


def test_a_sweep_of_more_finds_the_cells_that_it_shares(folder):
    assert kept(folder, planned(["accumulate", "replace"], dim=[1, 2])) == [False] * 3 + [True]


@pytest.mark.parametrize(
    "other",
    [{"seeds": 5}, {"generations": 4}, {"ddof": 1}, {"metrics": ["trace_ratio"]}, {"dim": [3]}],
)
def test_another_cell_is_not_taken_for_it(folder, other):
    assert kept(folder, planned(**other)) == [False]


def test_mixtures_are_told_apart_by_their_counts(tmp_path):
    def plan(*synthetic):
        return mixtures.plan("gaussian", {"dim": [1]}, [4], synthetic, seeds=2)

    CellStore(tmp_path, plan(0, 4)).save(plan(0, 4).cells[0], {})
    assert kept(tmp_path, plan(0, 4)) == [True]
    assert kept(tmp_path, plan(4, 0)) == [False]


# What decides the numbers -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jax_threefry_partitionable", False),
        ("jax_default_prng_impl", "rbg"),
        ("jax_default_matmul_precision", "highest"),
    ],
)
def test_how_jax_is_set_tells_cells_apart(folder, name, value):
    before = getattr(jax.config, name)
    told = machine.settings()
    try:
        jax.config.update(name, value)
        assert kept(folder, planned()) == [False]
        assert machine.settings() == {**told, name: value}
    finally:
        jax.config.update(name, before)
    assert kept(folder, planned()) == [True]


def test_flags_of_xla_tell_cells_apart_unless_they_change_no_number(folder, monkeypatch):
    flags = os.environ.get("XLA_FLAGS", "")
    monkeypatch.setenv("XLA_FLAGS", f"{flags} --xla_force_host_platform_device_count=4")
    assert kept(folder, planned()) == [True]
    monkeypatch.setenv("XLA_FLAGS", f"{flags} --xla_cpu_enable_fast_math=true")
    assert kept(folder, planned()) == [False]


def test_a_result_says_how_jax_was_set():
    dataset = jc.sweep("categorical", "replace", {"num_outcomes": [3], "num_samples": [4]}, 1, 1)
    assert json.loads(dataset.attrs["settings"]) == machine.settings()


def test_seeds_are_names_under_any_generator():
    whole = jax.random.key_data(jc.seed_keys([3, 5]))
    with jax.default_prng_impl("rbg"):
        np.testing.assert_array_equal(jax.random.key_data(jc.seed_keys([5]))[0], whole[1])
        np.testing.assert_array_equal(jax.random.key_data(keys.seed_key(3)), whole[0])
        message = "key of a chain: expected one of Threefry, .* got one of rbg; use jaxcollapse.s"
        for run in (
            jc.make_chain(jc.gaussian.task(1, 4), "replace", 1),
            lambda key: jc.make_mixture(jc.gaussian.task(1, 4, pool="points"), 4)(key, 2, 2),
        ):
            with pytest.raises(ValueError, match=message):
                run(jax.random.key(3))
    assert jax.random.key_impl(jc.seed_keys([3])[0]) == "threefry2x32"


# Files --------------------------------------------------------------------------------------


def changed(path, how):
    """A file torn, changed by a bit, emptied, or with something behind it."""
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    cases = {"torn": content[:middle], "changed": flipped, "empty": b"", "longer": content + b"x"}
    path.write_bytes(cases[how])


@pytest.mark.parametrize("how", ["torn", "changed", "empty", "longer"])
def test_a_cell_that_is_not_as_it_was_written_is_named_and_removed(folder, how, capsys):
    plan = planned()
    store = CellStore(folder, plan)
    np.testing.assert_array_equal(store.load(plan.cells[0])["kl"], np.arange(4.0))
    (path,) = folder.iterdir()
    changed(path, how)
    assert store.load(plan.cells[0]) is None
    told = capsys.readouterr().err
    assert told == f"{path}: not as it was written, torn or changed; it is made again\n"
    assert not path.exists()


def test_sums_are_those_of_sha256sum(tmp_path, capsys):
    (tmp_path / "below").mkdir()
    for name in ("a.txt", "below/b.txt", "c.big"):
        (tmp_path / name).write_text(name)
    files.write_sums(tmp_path)
    assert files.has_sound_files(tmp_path)
    (tmp_path / "c.big").unlink()
    assert files.has_sound_files(tmp_path, may_lack=("*.big",))
    assert files.damaged(tmp_path) == tmp_path / "c.big"
    lines = (tmp_path / files.SUMS).read_text().splitlines()
    assert lines[0] == f"{hashlib.sha256(b'a.txt').hexdigest()}  a.txt"
    assert [line.split()[1] for line in lines] == ["a.txt", "below/b.txt", "c.big"]
    (tmp_path / "below/b.txt").write_text("other")
    assert not files.has_sound_files(tmp_path, ("*.big",))
    assert str(tmp_path / "below/b.txt") in capsys.readouterr().err
    (tmp_path / files.SUMS).write_text("")
    assert not files.has_sound_files(tmp_path)


def test_what_is_written_is_flushed_before_and_after_it_is_named(tmp_path, monkeypatch):
    path, seen = tmp_path / "a", []
    monkeypatch.setattr(
        os, "fsync", lambda handle: seen.append((os.path.isdir(handle), path.exists()))
    )
    with files.whole_file(path) as temporary:
        temporary.write_text("all")
    assert seen == [(False, False), (True, True)]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device; make room"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), "make room in your quota"),
        (OSError("Can't write (errno = 28, error message = 'No space left on device')"), "room"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "make room"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), "Read-only file system; make it writable"),
    ],
)
def test_an_error_of_writing_says_where_and_what_to_do(error, told, tmp_path):
    path = tmp_path / "a.nc"
    with pytest.raises(files.UnwrittenError, match=told) as failed, files.whole_file(path):
        raise error
    assert failed.value.filename == str(path)
    assert "then give the command again: what is finished is kept" in failed.value.strerror
    assert not list(tmp_path.iterdir())


def test_a_folder_that_vanished_is_named(tmp_path):
    whole = files.whole_file(tmp_path / "gone" / "a.nc")
    with pytest.raises(files.UnwrittenError, match="bring the folder back") as failed, whole:
        pass
    assert failed.value.filename == str(tmp_path / "gone" / "a.nc")


def test_other_errors_stay_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), files.whole_file(tmp_path / "a.nc"):
        Path("/no/such/corpus.txt").read_text()


FULL = """
import resource, signal, sys
from jaxcollapse.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
main.main(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_full_disk_is_told_in_one_line_and_gone_on_from(tmp_path):
    out = tmp_path / "a.nc"
    run = ["run", "gaussian", "--dim", "2", "--num-samples", "5", "--seeds", "20", "--out", out]
    alone = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "0"}  # JAX's own would tell of it, too
    command = [sys.executable, "-c", FULL, *run]
    full = subprocess.run(command, capture_output=True, text=True, env=alone)
    assert full.returncode == 1
    (told,) = [line for line in full.stderr.splitlines() if line.startswith("jaxcollapse: ")]
    assert told.startswith(f"jaxcollapse: {out}.partial")
    assert "File too large; raise the limit" in told
    assert "Traceback" not in full.stderr
    assert not out.exists()
    subprocess.run([sys.executable, "-m", "jaxcollapse", *run], check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.nc"]
