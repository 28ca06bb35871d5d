"""What the site says of the package is so; its pages and links are checked by 'make docs'."""

import ast
import importlib.util
import json
import re
from pathlib import Path

import pytest

import jaxcollapse as jc
from jaxcollapse.held_out import POINT_METRICS
from jaxcollapse.publishers import PUBLISHERS
from jaxcollapse.registry import TASKS, families
from jaxcollapse.workflows import WORKFLOWS

ROOT = Path(__file__).resolve().parent.parent
PAPERS = json.loads((ROOT / "docs" / "papers.json").read_text())


def test_papers_name_what_there_is():
    metrics = {name for family in families() for name in family.labels}
    there = {
        "tasks": set(TASKS.names()),
        "workflows": set(WORKFLOWS.names()),
        "publishers": set(PUBLISHERS),
        "metrics": metrics | set(POINT_METRICS),
    }
    for paper in PAPERS:
        for kind, names in there.items():
            assert set(paper[kind]) <= names, paper["key"]
        experiment = paper["experiment"]
        assert experiment is None or (ROOT / "experiments" / f"{experiment}.py").exists()
    for record in ("key", "arxiv"):
        assert len({paper[record] for paper in PAPERS}) == len(PAPERS)


def test_verdicts_are_on_papers_of_the_list():
    cited = re.findall(r"\b\d{4}\.\d{5}\b", (ROOT / "experiments" / "VERDICTS.md").read_text())
    assert cited
    assert set(cited) <= {paper["arxiv"] for paper in PAPERS}


@pytest.fixture(scope="module")
def said():
    """All text that the package can say, a line for each string in it."""
    found = []
    for path in (ROOT / "jaxcollapse").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = (p.value if isinstance(p, ast.Constant) else "…" for p in node.values)
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_errors_of_the_questions_are_said(said):
    page = (ROOT / "docs" / "reference" / "faq.md").read_text()
    told = [re.findall(r"`([^`]+)`", heading) for heading in re.findall(r"^### (.*)", page, re.M)]
    errors = [words for words in told if words and words != ["inf", "NaN"]]
    assert len(errors) > 25
    pieces = {
        piece
        for words in errors
        for word in words
        for piece in re.split(r": expected |^expected |, got$", word)
    }
    assert not {piece for piece in pieces if piece not in said}


def test_every_name_of_the_package_has_a_page():
    path = ROOT / "docs" / "made" / "python_names.py"
    spec = importlib.util.spec_from_file_location("python_names", path)
    python_names = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(python_names)
    named = [name for _, names, _ in python_names.PAGES.values() for name in names]
    assert sorted(named) == sorted(jc.__all__)
