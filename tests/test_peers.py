"""The batched programs that chains are timed against: their laws, and how they are asked."""

import functools
import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import chains, tied
from conftest import standard_errors
from scipy import stats

from jaxcollapse.registry import as_family

WORKER = Path(__file__).parents[1] / "benchmarks/peers/worker.py"
GENERATIONS = 8
SEEDS = 400
# PyTorch draws no hypergeometric numbers.
HAS_NOT = ("torch", "categorical", "accumulate-subsample", "statistics")


@pytest.fixture(params=["numpy", "torch"])
def library(request):
    if request.param == "torch":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    return request.param


@functools.cache
def ours(task, workflow, point):
    family = as_family(task).make(dict(point), {})
    return chains(family, workflow, GENERATIONS, SEEDS, first_seed=1000)


def cell(task, way=None, slow=False, **point):
    name = "-".join([task, *map(str, point.values()), *([way] if way else [])])
    return pytest.param(task, way, point, id=name, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize("workflow", ["replace", "accumulate", "accumulate-subsample"])
@pytest.mark.parametrize(
    ("task", "way", "point"),
    [
        cell("gaussian", dim=3, num_samples=10),
        cell("gaussian", way="points", dim=3, num_samples=10),
        cell("gaussian", dim=6, num_samples=5, slow=True),
        cell("gaussian", dim=1, num_samples=10, slow=True),
        cell("gaussian", dim=9, num_samples=10, slow=True),
        cell("kde", dataset="moons", bandwidth="scott", num_samples=10, slow=True),
        cell("kde", dataset="moons", bandwidth=0.1, num_samples=12),
        cell("kde", dataset="swiss-roll", bandwidth=0.5, num_samples=150, slow=True),
        cell("kde", dataset="blobs", bandwidth=1.0, num_samples=20, slow=True),
        cell("kde", dataset="circles", bandwidth=0.1, num_samples=20, slow=True),
        cell("linear-regression", dim=3, noise_variance=0.1, num_samples=8),
        cell("linear-regression", way="points", dim=3, noise_variance=0.1, num_samples=8),
        cell("linear-regression", dim=6, noise_variance=1.0, num_samples=5, slow=True),
        cell("linear-regression", dim=6, noise_variance=1.0, num_samples=6, slow=True),
        cell("linear-regression", dim=8, noise_variance=1.0, num_samples=40, slow=True),
        cell("categorical", way="statistics", num_outcomes=5, num_samples=20),
        cell("categorical", way="points", num_outcomes=5, num_samples=20, slow=True),
        cell("categorical", num_outcomes=300, num_samples=50),
    ],
)
def test_distributions_over_seeds(task, way, point, workflow, library):
    peers = importlib.import_module(f"{library}_peers")
    how = {"how": way} if way else {}
    if (library, task, workflow, way) == HAS_NOT:
        with pytest.raises(ValueError, match="accumulate-subsample by counts"):
            peers.PEERS[task](workflow, GENERATIONS, SEEDS, **point, **how)
        return
    theirs = peers.PEERS[task](workflow, GENERATIONS, SEEDS, **point, **how, seed=1)
    chain = ours(task, workflow, tuple(point.items()))
    for name, values in theirs.items():
        assert values.shape == (SEEDS, GENERATIONS)
        for t in (2, GENERATIONS):
            ranks = tied(chain[name][:, t - 1], values[:, t - 1])
            assert stats.ks_2samp(*ranks, method="asymp").pvalue > 1e-4, (name, t)


def test_parts_of_the_seeds_are_alike(library):
    """Many parts, on two threads, have the law of one, and no two parts the same draws."""
    peers = importlib.import_module(f"{library}_peers")
    values = peers.PEERS["gaussian"]("replace", 2, 4000, dim=31, num_samples=100, threads=2)
    last = values["trace_ratio"][:, -1]
    assert len(np.unique(last)) > 0.99 * len(last)  # few numbers of 32 bits meet by chance
    assert stats.ks_2samp(last[:1000], last[-1000:]).pvalue > 1e-4


def drawing(library):
    return importlib.import_module(f"{library}_programs.draws")


def test_every_set_of_rows_is_as_likely(library):
    draws = drawing(library)
    rng = draws.generator(np.random.SeedSequence(3))
    for rows in (5, 9):  # by keys, and by drawing again
        if library == "numpy":
            chosen = draws.distinct_rows(rng, 20_000, rows, 2)
        else:
            place = draws.torch.empty((20_000, rows), dtype=draws.torch.int64)
            chosen = draws.distinct_rows(rng, rows, 2, place).numpy()
        low, high = chosen.min(axis=1), chosen.max(axis=1)
        assert (low < high).all()
        counts = np.bincount(low * rows + high, minlength=rows * rows)
        counts = counts[counts > 0]
        assert len(counts) == rows * (rows - 1) // 2
        assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize(("dim", "rank"), [(5, 5), (5, 3), (40, 40), (40, 30)])
def test_triangles(dim, rank, library):
    """``T T'`` of many has the mean of a Wishart matrix, whose T is 0 above the diagonal."""
    draws = drawing(library)
    rng = draws.generator(np.random.SeedSequence(4))
    triangles = np.asarray(draws.bartlett(rng, (3, 2000), rank, dim, rank)).reshape(-1, dim, rank)
    assert (triangles[:, ~np.tril(np.ones((dim, rank), bool))] == 0).all()
    scatter = triangles @ triangles.swapaxes(1, 2)
    for i, j in [(0, 0), (1, 0), (2, 2), (dim - 1, 1), (dim - 1, dim - 1)]:
        assert standard_errors(scatter[:, i, j], rank if i == j else 0) < 5


def answers(library, *lines):
    """What a worker answers to lines on its standard input."""
    command = [sys.executable, str(WORKER), "--library", library, "--threads", "2"]
    done = subprocess.run(command, input="\n".join(lines), text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_worker(library, tmp_path):
    asked = {
        "task": "gaussian",
        "workflow": "replace",
        "generations": 5,
        "seeds": 7,
        "cell": {"dim": 2, "num_samples": 10},
        "save": str(tmp_path / "first.npz"),
        "seed": 0,
    }
    unsaved = {**asked, "save": None}
    regression = {"dim": 2, "noise_variance": 1.0, "num_samples": 10}
    estimate = {"dataset": "moons", "bandwidth": 1, "num_samples": 5}
    others = [
        {**asked, "save": str(tmp_path / "again.npz")},
        {**asked, "save": str(tmp_path / "other.npz"), "seed": 1},
        {**unsaved, "task": "linear-regression", "cell": regression},
        {**unsaved, "task": "kde", "cell": estimate},
        {**unsaved, "workflow": "window"},
        {**unsaved, "task": "nothing"},
        {**unsaved, "cell": {"dim": 2}},
        {**unsaved, "task": "kde", "cell": {**estimate, "how": "statistics"}},
        {"task": "gaussian"},
    ]
    given = answers(library, *map(json.dumps, [asked, *others]), "no JSON")
    assert len(given) == len(others) + 2  # each is answered, whatever became of the one before
    assert [reply["how"] for reply in given[:4]] == ["statistics, float32"] * 4, given
    assert given[4]["how"] == "points, float32"
    assert all(reply["seconds"] > 0 for reply in given[:5])
    assert "workflow: expected one of replace" in given[5]["error"]
    assert "task: expected one of gaussian" in given[6]["error"]
    assert "num_samples" in given[7]["error"]
    assert "how: kde under replace has only 'points'" in given[8]["error"]
    assert "workflow" in given[9]["error"]
    assert given[10]["error"].startswith("JSONDecodeError")
    first, again, other = (
        np.load(tmp_path / f"{name}.npz") for name in ("first", "again", "other")
    )
    for name in ("trace_ratio", "squared_error_of_mean", "squared_error_of_cov", "log_det_ratio"):
        assert first[name].shape == (7, 5)
        assert (first[name] == again[name]).all()
        assert (first[name] != other[name]).all()
    assert not list(tmp_path.glob(".*"))
