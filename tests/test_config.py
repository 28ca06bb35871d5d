"""Options of a command in a file."""

import dataclasses
import shlex
from pathlib import Path

import pytest

from jaxcollapse.cli import config
from jaxcollapse.cli import main as cli

RUN = ["run", "gaussian"]
IN_WORDS = shlex.split(
    "--workflow replace fixed-real:weight=0.9,0.5 --dim 1 3 --num-samples 10 --ddof 1e-3 "
    "--seeds 5:8 --temperature 0.5 1 --pool points --memory-limit 0.25 --out a.nc --overwrite"
)
FILES = {
    ".toml": """
command = "run gaussian"
workflow = ["replace", "fixed-real:weight=0.9,0.5"]
dim = [1, 3]
num-samples = 10
ddof = 1e-3
seeds = "5:8"
temperature = [0.5, 1]
pool = "points"
memory_limit = 0.25
out = "a.nc"
overwrite = true
""",
    ".yaml": """
# a comment
command: run gaussian
workflow: [replace, "fixed-real:weight=0.9,0.5"]
dim:
  - 1
  - 3
num-samples: 10
ddof: 1e-3
seeds: 5:8
temperature: [0.5, 1]
pool: points
memory_limit: 0.25
out: a.nc
overwrite: true
""",
    ".json": """{"command": "run gaussian", "workflow": ["replace", "fixed-real:weight=0.9,0.5"],
"dim": [1, 3], "num_samples": 10, "ddof": 1e-3, "seeds": "5:8", "temperature": [0.5, 1],
"pool": "points", "memory-limit": 0.25, "out": "a.nc", "overwrite": true}""",
}


def options(words):
    found = cli.parse(list(map(str, words)))
    names = [field.name for field in dataclasses.fields(found) if field.name not in config.HELP]
    return {name: getattr(found, name) for name in names}


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(list(map(str, arguments)))
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("kind", FILES)
def test_a_file_says_what_words_say(kind, tmp_path):
    path = tmp_path / f"a{kind}"
    path.write_text(FILES[kind])
    assert options([*RUN, "--config", path]) == options([*RUN, *IN_WORDS])
    # Flags come on top, whole.
    given = ["--dim", "2", "--seeds", "4", "--no-overwrite"]
    found = options([*RUN, *given, "--config", path])
    assert found == options([*RUN, *IN_WORDS[:-1], *given[:-1]])
    assert found["dim"] == (2,)
    assert not found["overwrite"]


@pytest.mark.parametrize("kind", [*FILES, ".yml"])
def test_what_is_saved_is_read_again(kind, tmp_path):
    first, second = tmp_path / f"a{kind}", tmp_path / f"b{kind}"
    asked = options([*RUN, *IN_WORDS, "--save-config", first])
    assert options([*RUN, "--config", first]) == asked
    assert options([*RUN, f"--config={first}", f"--save-config={second}"]) == asked
    assert first.read_text() == second.read_text()


@pytest.mark.parametrize(
    "words",
    [
        'plot "a b.nc" --out=a.png --metric kl --select dim=1,3 --hue workflow',
        "merge a.nc b.nc --out c.nc --any-version",
        "profile a.nc --law 1e-5 --growth power",
        "mix kde --real 16 32 --bandwidth 0.1 scott --out a.nc --dataset moons",
        "best gaussian --vary weight --loss kl --bounds 0.1 0.9 --dim 2 --num-samples 9",
        "bench gaussian kde --quick",
        "describe gaussian",
        "info a.nc",
        "run own_module:FAMILY --rate 2 --num-samples 4 --out a.nc",
        "lm generate --weights w --prompt 'a \"b\" \\ c: ~ é 😀' --max-tokens 3",
        "lm pretrain --out runs/a --model tiny-llama --keep-weights none --learning-rate 1e-3",
    ],
)
def test_every_command_is_saved_and_read_again(words, tmp_path):
    given = shlex.split(words)
    start = given[:2] if given[0] in ("run", "mix", "best", "lm") else given[:1]
    for kind in (".toml", ".yaml"):
        path = tmp_path / f"a{kind}"
        asked = options([*given, "--save-config", path])
        assert options([*start, "--config", path]) == asked


def test_a_file_of_what_stands_by_its_place(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('file = "a.nc"\ncsv = "a.csv"\n')
    assert cli.parse(["info", "--config", str(path)]).file == Path("a.nc")
    assert cli.parse(["info", "b.nc", "--config", str(path)]).file == Path("b.nc")
    path.write_text('files = ["a.nc", "b.nc"]\nout = "a.png"\n')
    assert cli.parse(["plot", "--config", str(path)]).files == (Path("a.nc"), Path("b.nc"))
    assert cli.parse(["plot", "c.nc", "--config", str(path)]).files == (Path("c.nc"),)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.toml",
            "num_sample = 3",
            "a.toml: expected an option of jaxcollapse run gaussian, such as num_samples, got "
            "'num_sample'; see jaxcollapse run gaussian --help",
        ),
        ("a.toml", "config = 'b.toml'", "got 'config'"),
        ("a.toml", "dim = 0", "dim: expected at least 1, got 0"),
        ("a.toml", "dim = 'one'", "--dim"),
        ("a.toml", "preset = 'mine'", "preset: expected one of corrected, authors, got 'mine'"),
        ("a.toml", "share = 0.1", "write it after the workflow's name, as fresh-real:share=0.1"),
        ("a.toml", "best-of = 0", "best_of: expected at least 1, got 0"),
        ("a.toml", "command = 'run kde'", "a.toml: expected 'run gaussian', got 'run kde'"),
        ("a.toml", "dim = 1\ndim = 2", "configuration: expected TOML of names and values, got"),
        ("a.toml", "[dim]\na = 1", "dim of a dict"),
        ("a.toml", "seeds = 2020-01-01", "seeds of a date"),
        ("a.toml", "dim = true", "a number, a name or a list of those, got true; write it in"),
        ("a.toml", "overwrite = 1", "a.toml: expected true or false, got '1'"),
        ("a.toml", "workflow = ['--debug']", "values that do not begin with --, got '--debug'"),
        ("a.yaml", "dim: 1\ndim: 2", "the key dim twice"),
        ("a.yaml", "dim: 1\nnum-samples: 2\nnum_samples: 3", "the key num_samples twice"),
        ("a.yaml", "dim:", "dim without a value; leave the key out"),
        ("a.yaml", "overwrite: yes", "expected true or false, got 'yes'; write one of those"),
        ("a.yaml", "a: [", "configuration: expected YAML of names and values, got"),
        ("a.yaml", "- a", "no names with values"),
        ("a.json", '{"dim": 1, "dim": 2}', "the key dim twice"),
        ("a.json", '{"dim": null}', "dim without a value"),
        ("a.json", "[1]", "no object"),
        ("a.json", '{"dim": {"a": 1}}', "dim of a tuple"),
        ("a.txt", "dim = 1", "a.txt: expected one of .yaml, .yml, .toml, .json, got '.txt'"),
    ],
)
def test_refused(name, text, message, tmp_path, capsys):
    (tmp_path / name).write_text(text)
    out = ["--out", tmp_path / "a.nc"]
    assert message in refused(capsys, *RUN, "--config", tmp_path / name, *out)
    assert not (tmp_path / "a.nc").exists()


def test_files_that_are_none(tmp_path, capsys):
    missing = tmp_path / "a.yaml"
    assert "configuration: expected a file that exists" in refused(
        capsys, *RUN, "--config", missing
    )
    assert "--config: expected a file, got none" in refused(capsys, *RUN, "--config")
    missing.write_text("out: a.nc")
    two = "--config", missing, "--config", missing
    assert "--config: expected one file, got 2 of them" in refused(capsys, *RUN, *two)
    message = refused(capsys, *RUN, "--out", "a.nc", "--save-config", missing)
    assert "pass --overwrite" in message
    assert "expected one of .yaml" in refused(capsys, *RUN, "--save-config", tmp_path / "a")


def test_a_command_tells_what_its_file_said(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("dim: [1, 3]\nseeds: 5:8\nout: a.nc")
    command = cli.parse([*RUN, "--config", str(path), "--pool", "points"]).command
    assert command == "jaxcollapse run gaussian --dim 1 3 --seeds=5:8 --out=a.nc --pool points"
