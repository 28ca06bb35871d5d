"""``jaxcollapse explore``: what a page holds, and what it does in a browser."""

import base64
import json
import re
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
from test_cli import refused
from test_figures import made_up

from jaxcollapse.cli import main as cli
from jaxcollapse.show import explorer, explorer_data, figures
from jaxcollapse.sweeps import results
from jaxcollapse.sweeps.closed_forms import closed_form

xarray = pytest.importorskip("xarray")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def result(workflows=("replace", "accumulate"), noise=0.0, generations=4, sizes=(10, 20), seeds=3):
    """A result that is made up, as a file would hold it."""
    made = made_up(workflows).isel(seed=np.arange(seeds) % 3, generation=np.zeros(generations, int))
    made = made.isel(num_samples=np.arange(len(sizes)) % 2)
    rng = np.random.default_rng(0)
    for name in made.data_vars:
        made[name] = made[name] + 1 + noise * rng.exponential(size=made[name].shape)
    told = made.attrs
    configuration = json.loads(told["configuration"])
    configuration["axes"]["num_samples"] = list(sizes)
    return made.assign_coords(
        seed=np.arange(seeds),
        generation=np.arange(1, generations + 1),
        num_samples=("num_samples", list(sizes), {"symbol": "N"}),
    ).assign_attrs(
        told,
        title="made up",
        preset="corrected",
        format=results.FORMAT,
        configuration=json.dumps(configuration),
    )


def mixture():
    coords = {"dim": [1], "real": [4, 8], "synthetic": [0, 16], "seed": [0, 1, 2]}
    values = np.arange(12.0).reshape(1, 2, 2, 3)
    told = {"long_name": "KL divergence from the real law", "units": "nats", "scale": "log"}
    attrs = {
        "title": "mixed",
        "task": "",
        "preset": "",
        "options": "{}",
        "configuration": '{"axes": {"dim": [1]}}',
        "format": results.MIXTURE_FORMAT,
    }
    return xarray.Dataset({"kl": (tuple(coords), values, told)}, coords, attrs)


def array(packed, *shape):
    return np.frombuffer(base64.b64decode(packed), "<f4").reshape(shape)


def data_of(page):
    found = re.search(r"<script id='data' type='application/json'>(.*?)</script>", page, re.S)
    return json.loads(found[1])


@pytest.fixture
def no_library(monkeypatch):
    """Pages without the library that draws."""
    fake = types.ModuleType("plotly.offline")
    fake.get_plotlyjs = lambda: "var Plotly"
    monkeypatch.setitem(sys.modules, "plotly", types.ModuleType("plotly"))
    monkeypatch.setitem(sys.modules, "plotly.offline", fake)


def test_a_page_holds_what_plot_draws():
    dataset = result(noise=1.0)
    dataset["squared_error_of_mean"][1, 0, 0, 2, 2:] = np.nan  # a chain that turned non-finite
    held = explorer_data.described(dataset, "a.nc", (), seeds=2)
    assert [dim["name"] for dim in held["dims"]] == ["workflow", "dim", "num_samples", "generation"]
    (metric,) = held["metrics"]
    assert (metric["label"], metric["units"]) == ("Squared error of the mean", "")
    shape = 2, 1, 2, 4
    statistics = dict(
        zip(explorer_data.STATISTICS, array(metric["statistics"], 8, *shape), strict=True)
    )
    theory = array(metric["theory"], *shape)
    for place in np.ndindex(*shape[:3]):
        cell = dataset.isel(dict(zip(("workflow", "dim", "num_samples"), place, strict=True)))
        for statistic, names in (
            ("mean", ("low", "mean", "high")),
            ("median", ("q25", "median", "q75")),
        ):
            drawn = figures.band(cell, metric["name"], statistic)
            held_here = [statistics[name][place] for name in names]
            np.testing.assert_allclose(held_here, drawn, rtol=1e-6)
        law = closed_form(cell, metric["name"])
        np.testing.assert_allclose(theory[place], law, rtol=1e-6)
    seeds = array(metric["seeds"], 2, *shape)
    values = dataset["squared_error_of_mean"].transpose("seed", ...).values
    np.testing.assert_allclose(seeds, values[:2], rtol=1e-6)
    assert held["notes"] == ["of 3 seeds, single ones are held of the first 2"]


def test_mixtures_have_counts_of_data():
    held = explorer_data.described(mixture(), "m.nc", (), seeds=0)
    assert [dim["words"] for dim in held["dims"]] == ["dim", "Real count", "Synthetic count"]
    assert held["against"] == "synthetic"
    (metric,) = held["metrics"]
    assert (metric["seeds"], metric["theory"]) == (None, None)
    median = array(metric["statistics"], 8, 1, 2, 2)[explorer_data.STATISTICS.index("median")]
    np.testing.assert_array_equal(median, [[[1, 4], [7, 10]]])


def test_workflows_that_differ_in_a_number_are_told_by_it():
    held = explorer_data.described(
        result([f"fresh-real:share=0.{i}" for i in range(1, 6)]), "", (), 0
    )
    assert held["against"] == "share"
    (share,) = held["fields"]
    assert share["values"] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert set(share["rest"]) == {"fresh-real"}


def test_what_does_not_fit_is_thinned_and_said_so():
    dataset = result(generations=400, seeds=3)
    points = 2 * 2 * 400
    held = explorer_data.described(dataset, "", (), 3, room=points * 10)
    assert held["seeds"] == [0]
    assert "of 3 seeds, single ones are held of the first 1 (there is no room" in held["notes"][0]
    held = explorer_data.described(dataset, "", (), 3, room=points * 9 // 4)
    generations = held["dims"][-1]["values"]
    assert (generations[0], generations[-1]) == (1, 400)
    assert 50 < len(generations) <= 100
    assert f"{len(generations)} of 400 generations are held" in held["notes"][0]
    with pytest.raises(ValueError, match="take some with --metric or --select"):
        explorer_data.described(dataset, "", (), 3, room=points)


def test_one_file_that_fetches_nothing(tmp_path, capsys, no_library):
    folder = tmp_path / "run"
    chain = folder / "tiny-8" / "replace" / "seed-0" / "generation-02"
    chain.mkdir(parents=True)
    (chain / "samples.jsonl").write_text('{"text": "a <b>tale</b>\\n </script>"}\n{"text": "b"}\n')
    dataset = result().isel(num_samples=[0])
    dataset = dataset.expand_dims(model=["tiny"], axis=1).transpose("workflow", "model", ...)
    configuration = json.loads(dataset.attrs["configuration"])
    configuration["axes"] = {"model": ["tiny"], "dim": [1], "num_samples": [8]}
    dataset = dataset.assign_attrs(configuration=json.dumps(configuration))
    dataset = dataset.assign_coords(num_samples=[8])
    results.save(dataset, folder / "results.nc")
    results.save(mixture(), tmp_path / "results.nc")
    out = tmp_path / "page.html"
    files = [folder / "results.nc", tmp_path / "results.nc"]
    cli.main(["explore", *map(str, files), "--texts", "1", "--out", str(out)])
    assert capsys.readouterr().out.strip() == str(out)
    page = out.read_text()
    assert [file["name"] for file in data_of(page)] == ["run/results.nc", "results.nc"]
    assert "a &lt;b&gt;tale&lt;/b&gt; &lt;/script&gt;" in page
    assert "<p>b</p>" not in page
    assert page.count("<script") == page.count("</script>") == 3
    assert not re.findall(r"(?:src|href|url)\s*[=(]\s*['\"]?(?:https?:)?//", page)
    assert "None: result to profile: expected chains" in page
    assert page.count("Does it collapse?") == 1


def test_refused(tmp_path, capsys, no_library):
    file, out = tmp_path / "a.nc", tmp_path / "a.html"
    results.save(result(), file)
    assert "an ending of .html" in refused(capsys, "explore", file, "--out", tmp_path / "a.png")
    assert "at least one, got none" in refused(capsys, "explore", "--out", out)
    assert "one of squared" in refused(capsys, "explore", file, "--metric", "kl", "--out", out)
    twice = refused(capsys, "explore", file, file, "--no-profile", "--out", out)
    assert "results files: expected at least one value, each once" in twice
    assert "seeds: expected at least 0" in refused(
        capsys, "explore", file, "--seeds", -1, "--out", out
    )


# In a browser -----------------------------------------------------------------------------------

# What a reader does; the page's answers stand in its title.
ACTIONS = """
<script>
const errors = [];
addEventListener("error", (event) => errors.push(event.message));
function choose(id, value) {
  const input = document.getElementById(id);
  if (input.type === "checkbox") input.click();
  else {
    input.value = value;
    input.dispatchEvent(new Event("change"));
  }
}
const press = (key) =>
  document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
const paths = () => [...document.querySelectorAll("#picture .scatterlayer .js-line")];
const drawn = () => paths().map((path) => path.getAttribute("d")).join();
const told = {};
function tell(name) {
  const caption = document.getElementById("caption").textContent;
  told[name] = {drawn: drawn(), lines: paths().length, caption};
  told[name].panels = document.querySelectorAll("#picture .cartesianlayer .subplot").length;
}
function act() {
  told.milliseconds = performance.now();
  tell("first");
  if (ACTS) choices();
  told.rows = document.querySelectorAll("#table tbody tr").length;
  told.width = document.documentElement.scrollWidth - innerWidth;
  told.errors = errors;
  document.title = JSON.stringify(told);
}
function choices() {
  choose("metric", document.getElementById("metric").options[1].value);
  tell("metric");
  choose("band", "median");
  tell("median");
  choose("workflow-0");
  tell("without");
  choose("workflow-0");
  press("s");
  tell("seeds");
  press("s");
  press("t");
  tell("theory");
  choose("x", "num_samples");
  tell("against");
}
addEventListener("load", act);
</script>
"""


def browsed(page, tmp_path, *flags, acts=True):
    """What a page told, at first or after all that a reader does, and what the console says."""
    acted, actions = tmp_path / "acted.html", ACTIONS.replace("ACTS", json.dumps(acts))
    acted.write_text(page.replace("<body>", f"<body>{actions}", 1), encoding="utf-8")
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--dump-dom",
            "--timeout=30000",
            f"--user-data-dir={tmp_path / 'profile'}",
            *flags,
            acted.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    title = re.search(r"<title>(\{.*?\})</title>", done.stdout, re.S)
    assert title, done.stderr[-2000:]
    return json.loads(title[1]), [line for line in done.stderr.splitlines() if "CONSOLE" in line]


in_a_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium to look at the page in"
)


@pytest.mark.slow
@in_a_browser
def test_a_choice_changes_the_picture(tmp_path):
    pytest.importorskip("plotly", reason="the extra 'explore' is not installed")
    sizes = (10, 32, 100, 316, 1000)
    dataset = result(("replace", "accumulate", "fixed-real"), 1.0, 100, sizes, 20)
    # As large as the paper's Figure 1.
    dims = [1, 3, 10, 31, 100]
    dataset = dataset.isel(dim=np.zeros(5, int)).assign_coords(dim=dims)
    (name,) = dataset.data_vars
    dataset = dataset.assign({f"{name}_{i}": dataset[name] * i for i in range(2, 8)})
    configuration = json.loads(dataset.attrs["configuration"])
    configuration["axes"] = {"dim": dims, "num_samples": list(sizes)}
    dataset = dataset.assign_attrs(configuration=json.dumps(configuration))
    page = explorer.page([explorer.Explored("a.nc", dataset, "left out")])
    told, console = browsed(page, tmp_path)
    assert not told["errors"]
    assert not console
    # Of a machine that others use too, the best of some tries.
    tries = iter(range(4))
    fastest = told["milliseconds"]
    while fastest >= 2000 and next(tries, None) is not None:
        again, _ = browsed(page, tmp_path, acts=False)
        fastest = min(fastest, again["milliseconds"])
    assert fastest < 2000
    # Three workflows: five sample sizes, a line, a band and a closed form each.
    assert told["first"]["panels"] == 3
    assert told["first"]["lines"] == 3 * 5 * 3
    assert told["metric"]["drawn"] != told["first"]["drawn"]
    assert told["median"]["drawn"] != told["metric"]["drawn"]
    assert "median of 20 seeds, quartiles" in told["median"]["caption"]
    assert told["without"]["panels"] == 2
    assert told["seeds"]["lines"] == told["median"]["lines"] + 3 * 5 * 10
    assert "closed form" in told["first"]["caption"]
    assert "closed form" not in told["theory"]["caption"]
    assert "generation = 100" in told["against"]["caption"]
    assert told["rows"] == 3 * 5
    narrow, console = browsed(page, tmp_path, "--window-size=500,900")
    assert narrow["width"] <= 0  # nothing reaches beyond a phone's edge
    assert not console


@pytest.mark.slow
@in_a_browser
def test_pictures_of_shares_of_mixtures_and_of_several_files(tmp_path):
    pytest.importorskip("plotly", reason="the extra 'explore' is not installed")
    shares = result([f"fresh-real:share=0.{i}" for i in range(1, 6)])
    doubled = mixture().isel(dim=[0, 0]).assign_coords(dim=[1, 2])
    doubled.attrs["configuration"] = '{"axes": {"dim": [1, 2]}}'
    for names, datasets, panels, lines, caption in (
        ("shares", [shares], 1, 2 * 3, "dim = 1, generation = 4"),
        ("mixed", [doubled], 2, 2 * 2 * 2, "mean of 3 seeds"),
        ("several", [result(), result()], 2, 2 * 2 * 3, "dim = 1, N = 10; dashes"),
    ):
        explored = [
            explorer.Explored(f"{names} {number}", dataset, "left out")
            for number, dataset in enumerate(datasets)
        ]
        told, console = browsed(explorer.page(explored), tmp_path, acts=False)
        assert not told["errors"] + console
        assert (told["first"]["panels"], told["first"]["lines"]) == (panels, lines), names
        assert caption in told["first"]["caption"]
