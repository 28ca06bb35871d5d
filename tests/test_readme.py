"""The README's Python runs, and its commands are ones that exist."""

import re
import shlex
from pathlib import Path

import pytest

from jaxcollapse.cli import main as cli
from jaxcollapse.registry import TASKS
from jaxcollapse.workflows import WORKFLOWS

README = (Path(__file__).resolve().parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"```sh\n(.*?)```", README, re.S)
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("jaxcollapse")
]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder to write to; what a snippet registers is forgotten."""
    monkeypatch.chdir(tmp_path)
    yield
    TASKS.forget("exponential")
    WORKFLOWS.forget("fading")


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_snippet(number, elsewhere):
    exec(compile(BLOCKS[number], f"README block {number}", "exec"), {"__name__": "readme"})


def test_commands_parse():
    words = {" ".join(command[1:3]) if command[1] == "lm" else command[1] for command in COMMANDS}
    of_lm = {f"lm {name}" for name in ("pretrain", "generate", "evaluate", "finetune", "mix")}
    assert {"run", "mix", "plot", "info", "bench", *of_lm} <= words
    for command in COMMANDS:
        cli.parse(command[1:])


def test_make_targets_exist():
    makefile = (Path(__file__).resolve().parent.parent / "Makefile").read_text()
    for target in re.findall(r"^make (\S+)", README, re.M):
        assert re.search(rf"^{target}:", makefile, re.M)
