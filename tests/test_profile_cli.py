"""``jaxcollapse profile``, as typed: tables, a page, JSON."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray
from test_cli import refused
from test_profile import CURVES, result, series

import jaxcollapse as jc
from jaxcollapse.analysis.profile import profile as analysis
from jaxcollapse.cli import main as cli
from jaxcollapse.show import profile_page, profile_tables
from jaxcollapse.sweeps import results

VOID = {"meta", "br", "path", "use", "rect", "line", "circle"}


class Tags(HTMLParser):
    """Whether every tag that is opened is closed, in order."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.add(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("profile") / "gaussian.nc"
    axes = {"dim": [1], "num_samples": [8, 16, 32]}
    jc.save(jc.sweep("gaussian", ["replace", "accumulate"], axes, 50, 80), path)
    return path


def test_tables_a_page_and_json(file, capsys):
    page, told = file.with_name("profile.html"), file.with_name("profile.json")
    cli.main(["profile", str(file), "--out", str(page), "--json", str(told)])
    shown = capsys.readouterr().out
    for text in (
        "The variance goes to 0",
        "kl: exponential above 10 times",
        "accumulate: the generation",
    ):
        assert text in shown
    assert len(json.loads(told.read_text())["findings"]) == 2 * (3 * 7 + 1)
    text = page.read_text()
    tags = Tags()
    tags.feed(text)
    assert not tags.open
    assert "svg" in tags.seen
    assert "script" not in tags.seen
    # Nothing is fetched: what looks like an address names a format.
    assert not re.findall(r"(?:src|url)\s*[=(]\s*['\"]?(?:https?:)?//", text)
    assert "prefers-color-scheme:dark" in text
    assert "currentColor" in text
    assert "#010203" not in text
    for title in ("The scaling law in N changes", "Modes or tails are lost"):
        assert title in text


def test_a_map_for_each_value_of_a_third_axis():
    made = result(np.stack([series(CURVES["linear"], 8, seeds=3)] * 2), num_samples=[10, 20])
    grid = xarray.concat([made, made], xarray.DataArray([1, 3], dims="dim"))
    grid = xarray.concat([grid, grid], xarray.DataArray(["a", "b"], dims="kind"))
    page = profile_page.page(analysis.profile(grid), grid)
    assert page.count("<caption>a</caption>") == page.count("<caption>b</caption>") == 4
    assert "dim \\ num samples" in page


def test_workflows_that_differ_in_their_ends_are_told_apart(capsys):
    one = result(series(lambda t: 1 + 0 * t, 20))
    names = [f"fresh-real:share=0.{tenths}" for tenths in (1, 3, 5, 7, 9)]
    several = xarray.concat([one.assign_coords(workflow=[name]) for name in names], "workflow")
    profile_tables.show(analysis.profile(several))
    overview = capsys.readouterr().out.partition("beyond-use")[0]
    assert "…" not in overview
    assert all(f"0.{tenths}" in overview for tenths in (1, 3, 5, 7, 9))


def test_part_of_a_result(file, capsys):
    choice = ["--select", "dim=1", "num_samples=8", "workflow=replace", "--variance", "0.5"]
    cli.main(["profile", str(file), *choice, "--metric", "trace_ratio"])
    shown = capsys.readouterr().out
    assert "trace_ratio: below 0.5 of the real law's" in shown
    assert "accumulate" not in shown


def test_refused(file, capsys, tmp_path):
    out = tmp_path / "a.html"
    out.write_text("precious")
    assert "pass --overwrite" in refused(capsys, "profile", file, "--out", out)
    assert out.read_text() == "precious"
    assert "an ending of .html" in refused(capsys, "profile", file, "--out", tmp_path / "a.pdf")
    assert "an ending of .json" in refused(capsys, "profile", file, "--json", tmp_path / "a.txt")
    assert "threshold law" in refused(capsys, "profile", file, "--law", 0.5)
    missing = refused(capsys, "profile", tmp_path / "none.nc")
    assert "results file: expected a file that exists" in missing
    mixed = tmp_path / "mixed.nc"
    coords = {"real": [1, 2], "synthetic": [0, 1], "seed": [0, 1, 2]}
    attrs = {
        "title": "",
        "task": "",
        "preset": "",
        "options": "{}",
        "configuration": '{"axes": {}}',
    }
    labels = {"long_name": "", "units": ""}
    kl = (tuple(coords), np.ones((2, 2, 3)), labels)
    attrs |= {"format": results.MIXTURE_FORMAT}
    jc.save(xarray.Dataset({"kl": kl}, coords, attrs), mixed)
    assert "result to profile: expected chains" in refused(capsys, "profile", mixed)
