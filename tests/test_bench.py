"""Benchmarks: what is counted, bounded, timed, compared and written."""

import json
import math
import types
from collections import Counter

import jax
import jax.numpy as jnp
import matplotlib.figure
import numpy as np
import own_module
import pytest
from test_cli import refused

import jaxcollapse as jc
from jaxcollapse.bench import ceilings, cells, chains, counts, figure, peers, record, report, run
from jaxcollapse.bench import language as language_bench
from jaxcollapse.bench.ceilings import Ceiling
from jaxcollapse.cli import main as cli
from jaxcollapse.families import TaskFamily
from jaxcollapse.show import tables
from jaxcollapse.workflows import as_workflows

SMALL = {"seeds": 3, "generations": 4}


def small(*tasks, workflows=("replace",), **given):
    return cells.chosen(tasks, as_workflows(list(workflows)), **given)


# What is counted --------------------------------------------------------------------------------


def counted(function, *arguments):
    return counts.counted(jax.make_jaxpr(function)(*arguments))


def test_a_loop_counts_as_often_as_it_goes_round():
    """Which XLA's own reckoning does not."""
    a = jnp.ones((8, 4))

    def loop(x):
        return jax.lax.scan(lambda x, _: (a @ (a.T @ x), None), x, length=5)[0]

    found = counted(loop, jnp.ones(8))
    assert found["product float32 default"] == 5 * 2 * (2 * 8 * 4)
    assert found["step"] == 5
    cost = jax.jit(loop).lower(jnp.ones(8)).compile().cost_analysis()
    cost = cost[0] if isinstance(cost, list) else cost
    assert cost["flops"] < 2 * 2 * (2 * 8 * 4)


def test_mapped_products_decompositions_exponentials_and_normals():
    def one(a, key):
        product = jnp.matmul(a, a, precision="highest")
        drawn = jax.random.normal(key, (7,))
        return jnp.linalg.cholesky(product + jnp.eye(6)), jnp.exp(a), drawn

    found = counted(jax.vmap(one), jnp.ones((3, 6, 6)), jc.seed_keys(range(3)))
    assert found["product float32 highest"] == 3 * 2 * 6**3
    assert found["cholesky 6"] == 3
    assert found["exponential"] == 3 * 36
    assert found["normal"] == 3 * 7


def test_a_chain_counts_its_generations_and_its_seeds():
    def of(seeds, generations):
        chain = jc.make_chain(jc.kde.task("moons", 0.1, 20, num_test=50), "replace", generations)
        return counted(jax.vmap(chain), jc.seed_keys(range(seeds)))

    few, more, most = of(2, 5), of(4, 5), of(6, 5)
    # Beside what all seeds share.
    each = more["exponential"] - few["exponential"]
    assert most["exponential"] - more["exponential"] == each >= 2 * 5 * 20 * 50
    # Kernels of all points at all test points, in each generation.
    longer = of(2, 15)["exponential"] - few["exponential"]
    assert longer >= 10 * 2 * 20 * 50


def test_the_dearer_branch_counts():
    a = jnp.ones((5, 5))
    found = counted(lambda x: jax.lax.cond(x > 0, lambda: a @ a, lambda: a), 1.0)
    assert found["product float32 default"] == 2 * 5**3


# Limits -----------------------------------------------------------------------------------------

LIMITS = [
    Ceiling("product float32 highest", 1e9, "FLOP/s", 0.0),
    Ceiling("memory", 1e6, "B/s", 0.0),
    Ceiling("qr 10", 10.0, ceilings.EACH, 0.0),
    Ceiling("qr 100", 1000.0, ceilings.EACH, 0.0),
]


def test_the_bound_is_the_limit_that_takes_longest():
    found = ceilings.bound(
        Counter({"product float32 highest": 5e8, "qr 10": 10_000, "normal": 5}), LIMITS, 2.0, 1
    )
    assert found.kind == "product float32 highest"
    assert found.share == pytest.approx(0.25)
    assert found.share_of_all == pytest.approx(0.25 + 0.05)
    shared = ceilings.bound(Counter({"product float32 highest": 5e8}), LIMITS, 2.0, 2)
    assert shared.share == pytest.approx(0.125)


def test_a_limit_that_was_passed_binds_nothing():
    """What moves 4 MB in a second at 1 MB/s had them in a cache."""
    found = ceilings.bound(Counter({"memory": 4e6, "product float32 highest": 1e8}), LIMITS, 1.0, 1)
    assert found.kind == "product float32 highest"


def test_what_is_not_known_is_said():
    assert ceilings.bound(Counter({"product float64": 1e9}), LIMITS, 1.0, 1).kind == "unknown"
    assert ceilings.bound(Counter(), LIMITS, 1.0, 1).kind == "unknown"


def test_decompositions_between_and_beyond_those_measured():
    # 10 us at 10, 1000 us at 100: as D^2 between them, as D^3 beyond.
    for size, each in ((10, 10e-6), (100, 1000e-6), (30, 90e-6), (200, 8000e-6)):
        found = ceilings.bound(Counter({f"qr {size}": 100}), LIMITS, 100 * each * 2, 1)
        assert found.kind == "qr"
        assert found.share == pytest.approx(0.5, rel=1e-6)


def test_of_smaller_decompositions_than_those_measured_nothing_is_known():
    assert ceilings.bound(Counter({"qr 1": 1000}), LIMITS, 1.0, 1).kind == "unknown"


def test_limits_of_this_device(monkeypatch):
    monkeypatch.setattr(ceilings, "DIMENSIONS", (3, 5))
    monkeypatch.setattr(ceilings, "LONG_ENOUGH", 0.0)
    found = [measure() for kind, measure in ceilings.measured(quick=True) if " x " not in kind]
    kinds = [limit.kind for limit in found]
    expected = {"product bfloat16", "product float32 highest", "memory", "normal", "exponential"}
    assert expected | {"step", "cholesky 5", "qr 5", "singular values 5"} <= set(kinds)
    assert all(0 < limit.value < math.inf for limit in found)
    assert ceilings.said(Ceiling("memory", 2.5e10, "B/s", 0.0)) == "25 GB/s"


# Cells ------------------------------------------------------------------------------------------


def test_the_usual_cells_are_of_every_task_under_every_workflow():
    chosen = small(*cells.TASKS, workflows=("replace", "accumulate", "accumulate-subsample"))
    assert len(chosen) == 36
    assert len({str(cell) for cell in chosen}) == 36
    assert len(small(*cells.TASKS, quick=True)) == 4


def test_all_cells_of_the_paper():
    three = ("replace", "accumulate", "accumulate-subsample")
    assert len(small(*cells.PAPER, workflows=three, paper=True)) == 480


def test_cells_of_ones_own():
    (cell,) = small("own_module:FAMILY", given=["rate=2,num_samples=5"])
    assert cell.point == {"rate": 2, "num_samples": 5}
    with pytest.raises(ValueError, match="rate of exponential: expected a value"):
        small("own_module:FAMILY")
    with pytest.raises(ValueError, match="--cell: expected one of dim, num_samples, got 'dims'"):
        small("gaussian", given=["dims=3"])
    with pytest.raises(ValueError, match="--cell: expected all of dim, num_samples, got dim=3"):
        small("gaussian", given=["dim=3"])
    with pytest.raises(ValueError, match="--cell: expected one task beside it, got 2"):
        small("gaussian", "kde", given=["dim=3,num_samples=4"])
    with pytest.raises(ValueError, match="dim: expected at least 1, got 0"):
        small("gaussian", given=["dim=0,num_samples=4"])


def rows_of(chosen, limits=(), **sizes):
    return list(chains.measured(chosen, **{**SMALL, **sizes}, ceilings=limits))


def test_a_cell_is_timed_stage_by_stage():
    (row,) = rows_of(small("categorical", given=["num_outcomes=3,num_samples=5"]), LIMITS)
    stages = [row[f"{stage}_seconds"] for stage in ("trace", "lower", "compile", "first", "run")]
    assert all(0 < seconds < 100 for seconds in stages)
    assert row["generations_per_second"] == pytest.approx(3 * 4 / row["run_seconds"])
    assert row["temp_bytes"] >= 0
    assert row["output_bytes"] >= 3 * 4 * 4
    assert row["operations"]["step"] >= 3
    json.dumps(row, allow_nan=False)


def test_memory_binds_only_what_is_too_large_for_a_cache():
    counts = Counter({"memory": 10, "normal": 1})
    assert "memory" not in chains._binding(counts, {"temp_bytes": 2**20, "output_bytes": 2**10})
    assert "memory" in chains._binding(counts, {"temp_bytes": 2**25, "output_bytes": 2**10})
    assert "memory" in chains._binding(counts, {})


def test_cells_that_share_a_program_compile_it_once():
    points = [(1, 0.1), (2, 0.1), (1, 10.0)]
    order = chains.in_order(
        small(
            "linear-regression",
            given=[f"dim={dim},noise_variance={v},num_samples=5" for dim, v in points],
        ),
        4,
    )
    assert [cell.point["dim"] for cell in order] == [1, 1, 2]
    alone, shared = rows_of(order[:2], at_once=2)
    assert (alone["shares_program"], shared["shares_program"]) == (False, True)
    assert "compile_seconds" not in shared
    assert shared["run_seconds"] > 0


def test_what_fails_hinders_no_other(monkeypatch):
    def broken(rate: float, num_samples: int) -> jc.Task:
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory\nand pages of text")

    good = small("categorical", given=["num_outcomes=3,num_samples=5"])
    (bad,) = small("own_module:FAMILY", given=["rate=2,num_samples=5"])
    bad = bad._replace(family=TaskFamily("broken", broken))
    rows = rows_of([bad, *good])
    assert rows[0]["error"] == "RuntimeError: RESOURCE_EXHAUSTED: out of memory"
    assert rows[1]["run_seconds"] > 0
    monkeypatch.setattr(chains, "SHARE_OF_MEMORY", 0.0)
    assert "reckoned to take" in rows_of(good)[0]["error"]


def test_seeds_grow_until_that_gains_nothing(monkeypatch):
    """Seconds are made up here: a call takes one, and more from 1,000 seeds on."""
    (cell,) = small("gaussian", given=["dim=1,num_samples=5"])
    program = types.SimpleNamespace(memory_analysis=lambda: None)

    def compiled(chain, seeds):
        made = types.SimpleNamespace(program=program)
        return made, lambda traced: lambda: seeds

    monkeypatch.setattr(chains, "compiled", compiled)
    monkeypatch.setattr(chains, "LONGEST_GROWN", math.inf)
    monkeypatch.setattr(chains, "steady", lambda run, **kwargs: [max(1.0, run() / 1000)])
    rows = list(chains.grown(cell, 3, (10, 100, 1000, 10_000, 100_000)))
    assert [row["seeds"] for row in rows] == [10, 100, 1000, 10_000]
    assert [row["generations_per_second"] for row in rows] == [30, 300, 3000, 3000]
    monkeypatch.setattr(chains, "LONGEST_GROWN", 9.0)
    assert len(list(chains.grown(cell, 3, (10, 100)))) == 1


# Other libraries --------------------------------------------------------------------------------

STUB = """
import json, sys, time
import numpy as np

for line in sys.stdin:
    asked = json.loads(line)
    if {fails!r} and asked["workflow"] == {fails!r}:
        print(json.dumps({{"error": "ValueError: not done"}}), flush=True)
        continue
    if {dies} or asked["cell"]["how"] != {how!r}:
        sys.exit(1)
    # Known exactly: under replace N(0, chi-squares), of which the first generation is one.
    rng = np.random.default_rng(1)
    n, seeds = asked["cell"]["num_samples"], asked["seeds"]
    ratio = rng.chisquare(n - 1, (seeds, asked["generations"])).cumprod(axis=1)
    ratio /= n ** np.arange(1.0, asked["generations"] + 1)
    if asked["save"]:
        np.savez(asked["save"], trace_ratio=ratio * {factor})
    time.sleep(0.01)
    print(json.dumps({{"seconds": {seconds}}}), flush=True)
"""


def stub(tmp_path, fails="", dies=False, factor=1.0, seconds=0.5, how=""):
    path = tmp_path / f"worker_{fails}{dies}{factor}.py"
    path.write_text(STUB.format(fails=fails, dies=dies, factor=factor, seconds=seconds, how=how))
    return peers.Worker("numpy", path, patience=60.0)


def against(worker, **sizes):
    try:
        chosen = small("gaussian", given=["dim=1,num_samples=8"])
        return list(peers.compared(chosen, [worker], **{**SMALL, "seeds": 60, **sizes}))
    finally:
        worker.close()


def test_ratios_against_a_library_of_the_same_law(tmp_path):
    (row,) = against(stub(tmp_path))
    peer = row["peers"]["numpy"]
    assert row["metrics"] == ["trace_ratio"]
    assert peer["runs"] == peers.ROUNDS
    assert peer["ratio"] == pytest.approx(0.5 / row["run_seconds"])
    found = peers.summary([row])
    assert found["cells"] == 1
    assert not found["unequal"]
    assert found["least"] == peer["ratio"]
    assert found["geometric_mean"] == pytest.approx(peer["ratio"])


def test_a_library_is_told_what_to_draw(tmp_path):
    (row,) = against(stub(tmp_path, how="points"), how="points", rounds=1)
    assert "ratio" in row["peers"]["numpy"]
    assert run.plan(["gaussian"], against=["numpy"], peers_draw="points").peers_draw == "points"
    with pytest.raises(ValueError, match="--peers-draw: expected"):
        run.plan(["gaussian"], against=["numpy"], peers_draw="sums")


def test_no_ratio_of_unequal_work(tmp_path):
    (row,) = against(stub(tmp_path, factor=3.0))
    assert "ratio" not in row["peers"]["numpy"]
    assert row["peers"]["numpy"]["differs"].startswith("trace_ratio (p ")
    found = peers.summary([row])
    assert found["cells"] == 0
    assert "numpy, gaussian replace dim=1 num_samples=8" in found["unequal"][0]


def test_a_library_that_fails_or_ends_is_told(tmp_path):
    (row,) = against(stub(tmp_path, fails="replace"))
    assert row["peers"]["numpy"]["error"] == "RuntimeError: ValueError: not done"
    (row,) = against(stub(tmp_path, dies=True))
    assert "the process of numpy failed" in row["peers"]["numpy"]["error"]


def test_libraries_that_compute_other_metrics_are_told(tmp_path):
    path = tmp_path / "nothing.py"
    path.write_text(
        STUB.format(fails="", dies=False, factor=1.0, seconds=0.5, how="").replace(
            "trace_ratio=ratio * 1.0", "log_det_ratio=ratio"
        )
    )
    workers = [stub(tmp_path), peers.Worker("torch", path, patience=60.0)]
    chosen = small("gaussian", given=["dim=1,num_samples=8"])
    (row,) = peers.compared(chosen, workers, **SMALL)
    for worker in workers:
        worker.close()
    assert row["error"].startswith("ValueError: libraries compute other metrics")


def test_a_library_that_does_not_answer_is_ended(tmp_path):
    path = tmp_path / "silent.py"
    path.write_text("import time; time.sleep(600)")
    worker = peers.Worker("numpy", path, patience=0.2)
    with pytest.raises(RuntimeError, match="no answer in 0 s"):
        worker.ask({})
    assert worker._process is None


def test_laws_that_differ_by_rounding_alone_are_the_same():
    ours = {"a": np.tile([[1.0], [0.0], [-np.inf]], (40, 1))}
    theirs = {"a": np.tile([[1.0 - 1e-7], [1e-12], [-np.inf]], (40, 1))}
    assert peers.different(ours, theirs, ["a"]) == ""
    assert peers.different(ours, {"a": theirs["a"] * np.nan}, ["a"]) == "a (p nan)"


def test_summary_is_against_the_best_of_each_cell():
    rows = [
        {"task": "t", "workflow": "w", "cell": {"n": n}, "peers": {"numpy": a, "torch": b}}
        for n, a, b in [
            (1, {"ratio": 2.0}, {"ratio": 8.0}),
            (2, {"differs": "x (p 0)", "ratio": 1.0}, {"ratio": 8.0}),
            (3, {"error": "none"}, {}),
        ]
    ]
    del rows[1]["peers"]["numpy"]["ratio"]
    found = peers.summary(rows)
    assert found["cells"] == 2
    assert found["geometric_mean"] == pytest.approx(4.0)
    assert (found["least"], found["least_cell"]) == (2.0, "t w n=1")


def test_without_a_checkout_there_is_nothing_to_compare_with(monkeypatch, tmp_path):
    monkeypatch.setattr(peers, "__file__", str(tmp_path / "jaxcollapse" / "bench" / "peers.py"))
    with pytest.raises(ValueError, match="--against: expected a source checkout"):
        run.plan(["gaussian"], against=["numpy"])


# Language models --------------------------------------------------------------------------------


def test_language_models_are_trained_and_sampled(monkeypatch):
    sizes = language_bench.Sizes("micro", "float32", 2, 12, 2, 3)
    monkeypatch.setattr(language_bench, "ON_CPU", (sizes,))
    peak = [Ceiling("product float32 default", 1e12, "FLOP/s", 0.0)]
    training, sampling = (measure(peak) for _, measure in language_bench.planned(quick=True))
    assert training["what"] == "training"
    assert sampling["what"] == "sampling"
    assert training["tokens_per_second"] == pytest.approx(2 * 2 * 12 / training["run_seconds"])
    assert sampling["tokens_per_second"] == pytest.approx(3 * 11 / sampling["run_seconds"])
    config = language_bench.architectures.config("micro")
    flops = language_bench.flops_per_token(config, 12) * training["tokens_per_second"]
    assert training["share_of_peak"] == pytest.approx(flops / 1e12)


# The command ------------------------------------------------------------------------------------

COMMAND = ["bench", "categorical", "--cell", "num_outcomes=3,num_samples=5", "--seeds", "2"]
COMMAND += ["--generations", "3", "--workflow", "replace", "accumulate"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ceilings, "measured", lambda quick: [("step", ceilings._steps)])
        patch.setattr(run, "MORE_SEEDS", (1, 2))
        cli.main([*COMMAND, "--out", str(folder)])
    return folder / "bench.json", folder / "bench.png"


def test_the_file_and_the_figure(files):
    facts = record.read(files[0])
    assert facts["finished"] is True
    assert facts["left_out"] == []
    assert {row["workflow"] for row in facts["cells"]} == {"replace", "accumulate"}
    assert [row["kind"] for row in facts["ceilings"]] == ["step"]
    assert next(row["seeds"] for row in facts["seeds"]) == 1
    for name in ("device", "jax_version", "commit", "precision", "settings"):
        assert facts[name]
    assert files[1].stat().st_size > 10_000


def test_tables_and_figures_of_a_file(files, capsys):
    facts = record.read(files[0])
    peer = {"numpy": {"run_seconds": 0.5, "ratio": 2.0}, "torch": {"error": "none"}}
    rows = [{**row, "peers": peer} for row in facts["cells"]]
    facts |= {"against": rows, "against_summary": peers.summary(rows), "left_out": ["the rest"]}
    report.show(facts)
    shown = capsys.readouterr().out
    for text in ("generations/s", "K=3 N=5", "failed", "left out", "2.00 times"):
        assert text in shown
    assert isinstance(figure.figure(facts), matplotlib.figure.Figure)
    with pytest.raises(ValueError, match="a cell that ran"):
        figure.figure({**facts, "cells": []})


def test_two_files_beside_one_another(files, tmp_path, capsys):
    facts = record.read(files[0])
    for row in facts["cells"]:
        row["generations_per_second"] *= 2.0
    facts["ceilings"] = []
    (tmp_path / "b.json").write_text(json.dumps(facts))
    cli.main(["bench", "--compare", str(files[0]), str(tmp_path / "b.json")])
    shown = capsys.readouterr().out
    assert shown.count("2.00") >= 3
    assert "in one of them alone: 1: step" in shown
    found = {title: ratios for title, ratios, _ in report.compared(record.read(files[0]), facts)}
    assert [b / a for _, a, b in found["Chain-generations a second"]] == [2.0, 2.0]


def test_what_there_is_no_time_for_is_named(tmp_path):
    benchmark = run.plan(["gaussian"], seconds=1e-9, **SMALL)
    said = []
    facts = run.run(benchmark, tmp_path / "a.json", said.append)
    assert len(said) == 1
    assert not facts["cells"]
    assert "gaussian replace dim=10 num_samples=100" in facts["left_out"]
    assert record.read(tmp_path / "a.json")["left_out"] == facts["left_out"]


def test_a_part_that_fails_hides_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(ceilings, "measured", lambda quick: 1 / 0)
    monkeypatch.setattr(run, "MORE_SEEDS", (1,))
    benchmark = run.plan(
        ["categorical"], ["replace"], given=["num_outcomes=3,num_samples=5"], **SMALL
    )
    facts = run.run(benchmark, tmp_path / "a.json", lambda line: None)
    assert facts["ceilings"] == [{"error": "ZeroDivisionError: division by zero"}]
    assert facts["cells"][0]["run_seconds"] > 0
    report.show(facts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gausian"], "task: expected one of gaussian, kde"),
        (["language-model"], "expected one of points, got language-model; write lm"),
        (["gaussian", "--workflow", "replase"], "workflow: expected one of replace"),
        (["gaussian", "--seeds", "0"], "seeds: expected at least 1, got 0"),
        (["gaussian", "--seconds", "0"], "--seconds: expected a number above 0"),
        (["categorical", "--paper"], "tasks of --paper: expected gaussian, kde, linear"),
        (["--compare", "a.json"], "--compare: expected two files, got 1"),
        (["--compare", "a.json", "b.json"], "benchmark's file: expected a file that exists"),
        (["--against", "scipy"], "--against"),
    ],
)
def test_refused(arguments, message, tmp_path, capsys):
    assert message in refused(capsys, "bench", *arguments, "--out", tmp_path / "new.json")
    assert not list(tmp_path.iterdir())


def test_existing_files_stay(files, capsys):
    assert "pass --overwrite" in refused(capsys, *COMMAND, "--out", files[0])


def test_a_file_of_another_kind(tmp_path, capsys):
    (tmp_path / "a.json").write_text("{}")
    given = [tmp_path / "a.json", tmp_path / "a.json"]
    assert "expected 'jaxcollapse bench 1'" in refused(capsys, "bench", "--compare", *given)


def test_a_result_tells_its_rate(capsys):
    dataset = jc.sweep(own_module.FAMILY, ["replace"], {"rate": [1.0], "num_samples": [5]}, 4, 6)
    dataset["run_seconds"][:] = 0.5
    assert tables.generations_per_second(dataset) == 4 * 6 / 0.5
    tables.show(dataset, "a.nc")
    assert "chain-generations a second: 48" in capsys.readouterr().out
    dataset["run_seconds"][:] = np.nan
    assert tables.generations_per_second(dataset) is None
