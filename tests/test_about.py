"""What the program says of itself: version, commit, environment."""

import contextlib
import dataclasses
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import jaxcollapse as jc
from jaxcollapse import machine
from jaxcollapse.cli import about, files, sweeps
from jaxcollapse.cli import main as cli
from jaxcollapse.registry import TASKS

ROOT = Path(__file__).resolve().parents[1]


def said(capsys, *arguments):
    with contextlib.suppress(SystemExit):
        cli.main(list(arguments))
    return capsys.readouterr().out


def test_version(capsys):
    commit = machine.commit()
    told = f"(commit {commit['commit']}, {commit['source_tree']})"
    assert said(capsys, "--version") == f"jaxcollapse {jc.__version__} {told}\n"
    assert jc.__version__ == machine.version("jaxcollapse")


def test_environment(capsys, monkeypatch):
    monkeypatch.setenv("JAX_SOMETHING", "1")
    monkeypatch.setenv("SOMETHING", "2")
    facts = json.loads(said(capsys, "env", "--json"))
    assert facts["settings"] == machine.settings()
    assert facts["environment"]["JAX_SOMETHING"] == "1"
    assert "SOMETHING" not in facts["environment"]
    assert facts["jax_version"] == machine.version("jax")
    if machine.version("jaxcollapse") != machine.NOT_INSTALLED:
        assert {"xarray_version", "flax_version", "datasets_version"} <= set(facts)
    lines = said(capsys, "env").splitlines()
    assert f"python_version: {facts['python_version']}" in lines
    assert "  JAX_SOMETHING: 1" in lines


def test_what_is_built_knows_its_commit(tmp_path):
    """Of a checkout, and of a source distribution, which has no history."""
    checkout, built = tmp_path / "checkout", tmp_path / "built"
    package = checkout / "jaxcollapse"
    package.mkdir(parents=True)
    shutil.copy(ROOT / "setup.py", checkout)
    shutil.copy(ROOT / "jaxcollapse/machine.py", package)

    def run(*command):
        done = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    write = "import setuptools, sys; setuptools.setup = lambda **_: None; import setup; "
    write += "setup.write_commit(sys.argv[1])"
    (built / "jaxcollapse").mkdir(parents=True)
    run(sys.executable, "-c", write, built)
    assert machine._built_from(built / "jaxcollapse") == {
        "commit": "unknown",
        "source_tree": "not a checkout",
    }
    run("git", "init", "-q")
    run("git", "add", ".")
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    run("git", *who, "commit", "-qm", "a")
    head = run("git", "rev-parse", "HEAD")
    for state in ("clean", "modified"):
        if state == "modified":
            (package / "machine.py").write_text("")
        run(sys.executable, "-c", write, built)
        found = machine._built_from(built / "jaxcollapse")
        assert found == {"commit": head, "source_tree": state}


# Completion -------------------------------------------------------------------------------------

SMALL = {
    "run gaussian": sweeps.Run,
    "run kde": sweeps.Run,
    "plot": files.Plot,
    "completion": about.Completion,
}


def completed(script, *words):
    """What bash offers for the last word."""
    line = f"COMP_WORDS=({' '.join(map(shlex.quote, words))}); COMP_CWORD={len(words) - 1}"
    call = '_tyro_jaxcollapse; echo "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{line}\n{call}"], capture_output=True, text=True
    )
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_commands_options_and_values(capsys):
    about.completion(about.Completion("bash"), SMALL.items())
    script = capsys.readouterr().out
    offered = {
        ("ru",): ["run"],
        ("run", "ga"): ["gaussian"],
        ("run", "gaussian", "--dry"): ["--dry-run"],
        ("run", "gaussian", "--save"): ["--save-config"],
        ("plot", "--stat"): ["--statistic"],
    }
    for words, expected in offered.items():
        assert completed(script, "jaxcollapse", *words) == expected
    assert {"mean", "median"} <= set(completed(script, "jaxcollapse", "plot", "--statistic", ""))


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells(shell, capsys):
    about.completion(about.Completion(shell), SMALL.items())
    script = capsys.readouterr().out
    assert "complete" in script
    for word in ("gaussian", "dry-run", "median"):
        assert word in script


def test_all_commands_are_completed(monkeypatch):
    known = ["gaussian", "kde"]
    monkeypatch.setattr(TASKS, "names", lambda: known)
    told = dict(cli._options())
    assert set(told) == set(cli.commands())
    assert "num_samples" in {field.name for field in dataclasses.fields(told["best kde"])}


# Built --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["", "[]", '{"commit": "a"}'])
def test_what_building_wrote_may_be_torn(content, tmp_path):
    (tmp_path / "built_from.json").write_text(content)
    assert machine._built_from(tmp_path)["commit"] == "unknown"
