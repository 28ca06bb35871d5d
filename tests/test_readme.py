"""The Python of README and of the site runs, and their commands are ones that exist."""

import re
import shlex
from pathlib import Path

import pytest

from jaxcollapse.cli import main as cli
from jaxcollapse.registry import TASKS
from jaxcollapse.workflows import WORKFLOWS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
SNIPPETS = {
    name: found
    for name, text in PAGES.items()
    if (found := re.findall(r"```python\n(.*?)```", text, re.S))
}
# What these say, or compile, other pages do; 'make docs' runs them too.
DEAR = (
    "docs/how-to/language-models.md",
    "docs/how-to/own-data.md",
    "docs/concepts/pools.md",
    "docs/concepts/seeds.md",
    "docs/start/sweeps.md",
)
COMMANDS = [
    (name, shlex.split(line, comments=True))
    for name, text in PAGES.items()
    for block in re.findall(r"```sh\n(.*?)```", text, re.S)
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


@pytest.mark.parametrize(
    "page", [pytest.param(p, marks=pytest.mark.slow) if p in DEAR else p for p in SNIPPETS]
)
def test_snippets(page, elsewhere):
    for number, snippet in enumerate(SNIPPETS[page]):
        exec(compile(snippet, f"{page}, snippet {number}", "exec"), {"__name__": "snippet"})


def test_dear_pages_exist():
    assert set(DEAR) <= set(SNIPPETS)


def test_commands_parse():
    words = {" ".join(c[1:3]) if c[1] == "lm" else c[1] for _, c in COMMANDS}
    of_lm = {f"lm {name}" for name in ("pretrain", "generate", "evaluate", "finetune", "mix")}
    assert {"run", "mix", "plot", "info", "bench", *of_lm} <= words
    for _, command in COMMANDS:
        cli.parse(command[1:])


@pytest.mark.slow
def test_first_commands(elsewhere):
    """Those of the first page do what it says."""
    commands = [command for name, command in COMMANDS if name == "docs/start/sweeps.md"]
    assert len(commands) == 7
    for command in commands:
        cli.main(command[1:])
    made = {path.suffix for path in Path.cwd().iterdir()}
    assert made == {".nc", ".png", ".html"}


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\S+)", README, re.M):
        assert re.search(rf"^{target}:", makefile, re.M)


def test_readme_is_short_and_its_links_lead_somewhere():
    assert len(README.splitlines()) <= 150
    for link in re.findall(r"\]\(([^)#]+)", README):
        assert link.startswith("https://") or (ROOT / link).exists(), link
