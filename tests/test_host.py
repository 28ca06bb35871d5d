"""Chains driven from the host: the compiled chain's law, resumed wherever they were killed."""

import dataclasses
import json
import shlex
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from conftest import random_text
from training_cases import UNOPTIMISED

import jaxcollapse as jc
from jaxcollapse.lm import host, language_model
from jaxcollapse.lm.decoder import packing
from jaxcollapse.lm.host import estimates
from jaxcollapse.lm.host.estimates import MOST_STEPS
from jaxcollapse.lm.host_rows import HostRows
from jaxcollapse.lm.text import texts, tokenizers
from jaxcollapse.sweeps import results
from jaxcollapse.sweeps import run as sweeps_run
from jaxcollapse.sweeps.chains import plan
from jaxcollapse.workflows import Workflow, as_workflow

# Every kind of record, and the folder of its chains.
WORKFLOWS = {
    "replace": "replace",
    "accumulate": "accumulate",
    "accumulate-subsample": "accumulate-subsample",
    "accumulate-subsample:draw=5": "accumulate-subsample-5",
    "window:keep=2": "window-keep-2",
    "fixed-real": "fixed-real",
    "fresh-real": "fresh-real",
}
QUICK = ("replace", "accumulate-subsample", "fresh-real")


@pytest.fixture(scope="module")
def corpus():
    """Words of two letters, each a token; 40 documents."""
    rng = np.random.default_rng(1)
    documents = ["".join(rng.choice(list("abc"), rng.integers(2, 9))) for _ in range(40)]
    tokenizer = tokenizers.byte_tokenizer()
    some = texts.tokenise(documents, tokenizer)
    train, test = some.take(range(30)), some.take(range(30, 40))
    return texts.Corpus("letters", train, test, tokenizer, "digest", None, None)


@pytest.fixture(scope="module")
def planned(corpus):
    data = language_model.text_data(corpus, 12)
    options = {"data": data, "batch_size": 2, "epochs": 2, "learning_rate": 1e-2, "slots": 4}
    options["self_perplexity"] = True
    axes = {"model": ["micro"], "num_samples": [12]}
    return plan("language-model", list(WORKFLOWS), axes, 2, 3, **options)


@pytest.fixture(scope="module")
def programs(planned):
    return host.programs_of(planned, steps_a_call=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("host")


@pytest.fixture(scope="module")
def uninterrupted(planned, corpus, folder, programs):
    return host.run(planned, corpus, folder, programs=programs, keep_weights="all")


@pytest.mark.parametrize(
    "workflow",
    [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in WORKFLOWS],
)
def test_is_the_compiled_chain(workflow, planned, uninterrupted):
    task = jc.language_model.task("micro", 12, **planned.options)
    chain = jax.vmap(jc.make_chain(task, workflow, 3))
    metrics = jax.jit(chain, compiler_options=UNOPTIMISED)(jc.seed_keys([0, 1]))
    assert set(metrics) == set(planned.metrics)
    for name, values in metrics.items():
        ours = uninterrupted[name].sel(workflow=workflow).squeeze().transpose("seed", ...)
        np.testing.assert_allclose(ours, values, rtol=2e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_share_of_real_data(workflow, uninterrupted):
    share = uninterrupted["share_of_real_data"].sel(workflow=workflow).values.reshape(2, 3)
    record = as_workflow(workflow)
    if record.draw is None:
        expected = jc.theory.share_of_real_data(record, np.arange(1, 4))
        np.testing.assert_allclose(share, np.tile(expected, (2, 1)), rtol=1e-6)
    assert (share[:, 0] == 1).all()


def test_folders_are_called_as_workflows_are(planned, folder, uninterrupted):
    for cell in planned.cells:
        path = host.chain_folder(folder, cell, 1)
        assert path == folder / "micro-12" / WORKFLOWS[cell.workflow.name] / "seed-1"
        assert (path / "generation-03").is_dir()


@dataclasses.dataclass(frozen=True)
class Fading(Workflow):
    """Rows count the less the older they are."""

    def choose(self, key, rows):
        return 0.5 ** (rows.now - rows.generation).astype(np.float32)


def test_a_workflow_that_weighs_rows_is_refused(planned, corpus, tmp_path):
    """By the host, which knows numbers alone; and by the fit, whose documents count or do not."""
    fading = plan("language-model", [Fading()], planned.axes, 1, 2, **planned.options)
    message = (
        "workflow of a chain that is driven from the host: expected one that a record says, got "
        r"fading, which chooses among rows; run it compiled \(--driver compiled\)"
    )
    with pytest.raises(ValueError, match=message):
        host.run(fading, corpus, tmp_path / "host")
    assert not (tmp_path / "host").exists()
    message = "view.mask: expected a workflow whose rows count or do not, got one that weighs them"
    with pytest.raises(ValueError, match=message):
        sweeps_run.run(fading)


class KilledError(Exception):
    pass


@pytest.mark.parametrize(
    "workflow",
    [
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("replace", "accumulate")),
        *("accumulate-subsample", "fresh-real"),
    ],
)
def test_killed_anywhere_it_resumes_to_the_same(
    workflow, planned, corpus, programs, uninterrupted, tmp_path
):
    """The process dies between two calls, at random places until it gets through."""
    one = dataclasses.replace(
        planned,
        workflows=[w for w in planned.workflows if w.name == workflow],
        seeds=planned.seeds[:1],
    )
    rng = np.random.default_rng(0)
    kills = 0
    phases = set()
    for attempt in range(40):
        left = int(rng.integers(1, 10)) if attempt < 39 else 10**9

        def report(progress):
            nonlocal left
            left -= 1
            if left == 0:
                phases.add(progress.phase)
                raise KilledError

        try:
            resumed = host.run(one, corpus, tmp_path, report, programs=programs, checkpoint_steps=1)
            break
        except KilledError:
            kills += 1
    assert kills >= 3
    assert len(phases) >= 2
    expected = uninterrupted.sel(workflow=[workflow], seed=[0])
    for name in planned.metrics:
        np.testing.assert_array_equal(resumed[name], expected[name], err_msg=name)


def test_more_generations_and_seeds_go_on_from_what_is_there(
    planned, corpus, folder, programs, uninterrupted
):
    phases = []
    more = dataclasses.replace(
        planned, generations=4, seeds=np.asarray([0], np.uint32), workflows=planned.workflows[:1]
    )
    # A generation of an earlier version, which measured less of what is published.
    path = host.chain_folder(folder, more.cells[0], 0) / "generation-02" / "metrics.json"
    metrics = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in metrics.items() if k != "zipf_exponent"}))
    path.with_name("SHA256SUMS").unlink()
    longer = host.run(more, corpus, folder, phases.append, programs=programs, keep_weights="all")
    done = [p.generation for p in phases if p.phase == "done"]
    assert done == [1, 2, 3]
    assert {p.generation for p in phases if p.phase == "training"} == {4}
    for name in ("nll", "zipf_exponent"):
        first = uninterrupted[name].sel(workflow="replace", seed=0).values.ravel()
        np.testing.assert_array_equal(longer[name].values.ravel()[:3], first)


def test_what_is_kept_of_a_generation(planned, corpus, folder, uninterrupted):
    cell = next(cell for cell in planned.cells if cell.workflow.name == "replace")
    path = host.chain_folder(folder, cell, 0) / "generation-02"
    lines = [json.loads(line) for line in (path / "samples.jsonl").read_text().splitlines()]
    assert [line["document"] for line in lines] == list(range(12))
    with np.load(path / "documents.npz") as arrays:
        documents = texts.Documents(arrays["tokens"], arrays["offsets"])
    assert documents.count == 12
    for index, line in enumerate(lines):
        tokens = documents.document(index).tolist()
        assert corpus.tokenizer.decode(tokens) == line["text"]
        assert tokens[0] == corpus.tokenizer.bos
        assert line["ended"] == (tokens[-1] == corpus.tokenizer.eos)
        assert line["ended"] or len(tokens) == 12
    metrics = json.loads((path / "metrics.json").read_text())
    assert metrics["nll"] == uninterrupted["nll"].sel(workflow="replace", seed=0, generation=2)
    # Trained on the 12 documents of generation 1, twice.
    with np.load(path.with_name("generation-01") / "documents.npz") as arrays:
        before = texts.Documents(arrays["tokens"], arrays["offsets"])
    assert metrics["trained_tokens"] == 2 * (len(before.tokens) - 12)
    assert {p.name for p in path.iterdir()} >= {"model.safetensors", "config.json"}
    assert not list(path.parent.glob("training*"))
    assert not list(path.parent.glob("*.partial"))


@pytest.mark.parametrize(("keep", "kept"), [("last", [2]), ("none", []), ("all", [1, 2])])
def test_weights_that_are_kept(keep, kept, planned, corpus, programs, tmp_path):
    one = dataclasses.replace(
        planned, generations=2, seeds=planned.seeds[:1], workflows=planned.workflows[:1]
    )
    host.run(one, corpus, tmp_path, programs=programs, keep_weights=keep)
    folder = host.chain_folder(tmp_path, one.cells[0], 0)
    found = [int(p.parent.name[-2:]) for p in sorted(folder.glob("*/model.safetensors"))]
    assert found == kept


def test_an_error_in_one_chain_stops_the_others_and_is_told(planned, corpus, programs, tmp_path):
    def report(progress):
        if progress.chain == "micro accumulate seed 0":
            raise ValueError("the disk is full")

    with pytest.raises(ValueError, match="the disk is full"):
        host.run(planned, corpus, tmp_path, report, programs=programs)


def test_steps_and_documents_of_a_call_do_not_matter(planned, corpus, programs, tmp_path):
    one = dataclasses.replace(
        planned, generations=1, seeds=planned.seeds[:1], workflows=planned.workflows[:1]
    )
    whole = host.run(one, corpus, tmp_path / "one", programs=programs)
    others = host.programs_of(planned, steps_a_call=4, documents_a_call=5)
    parts = host.run(one, corpus, tmp_path / "several", programs=others)
    for name in one.metrics:
        np.testing.assert_array_equal(parts[name], whole[name])


def test_refused(planned, corpus, tmp_path):
    with pytest.raises(ValueError, match="keep_weights: expected one of last, all, none"):
        host.run(planned, corpus, tmp_path, keep_weights="some")
    with pytest.raises(ValueError, match="checkpoint_steps: expected at least 1"):
        host.run(planned, corpus, tmp_path, checkpoint_steps=0)


def test_estimate_counts_what_there_is_to_do(planned, corpus, programs, uninterrupted, tmp_path):
    # Later documents are as long as the models make them, which only the run knows.
    one = dataclasses.replace(planned, generations=1)
    expected = host.estimate(one, programs)
    done = []
    host.run(one, corpus, tmp_path, done.append, programs=programs)
    assert expected.trained == pytest.approx(sum(p.trained for p in done), rel=0.4)
    assert 0 < expected.sampled < 2 * sum(p.sampled for p in done)
    parameters = 4 * sum(
        leaf.size
        for leaf in jax.tree.leaves(next(iter(programs.values())).start(jax.random.key(0))[1])
    )
    assert host.memory(programs) > parameters
    assert expected.seconds > 0


def test_what_was_done_before_is_not_in_the_estimate(planned, programs, monkeypatch):
    monkeypatch.setattr(estimates, "_measure", lambda program, together: _pace(program.setup))
    whole = host.estimate(planned, programs)
    first = host.estimate(planned, programs, lambda cell, seed, generation: generation > 1)
    rest = host.estimate(planned, programs, lambda cell, seed, generation: generation == 1)
    for name in ("trained", "sampled", "chain_seconds"):
        parts = [getattr(part, name) for part in (first, rest)]
        assert min(parts) > 0
        assert sum(parts) == pytest.approx(getattr(whole, name))
    nothing = host.estimate(planned, programs, lambda *chain: True)
    assert (nothing.trained, nothing.sampled, nothing.chain_seconds) == (0, 0, 0)


def _pace(setup):
    return estimates._Pace(setup, step_seconds=1.0, sample_rate=100.0)


def test_the_pace_of_chains_is_measured_side_by_side(planned, programs, monkeypatch):
    (program,) = programs.values()
    device, advance, places = jax.devices()[0], program.advance, []

    def noted(*arguments):
        places.append(jax.config.jax_default_device)
        return advance(*arguments)

    monkeypatch.setattr(jax, "local_device_count", lambda: 2)
    monkeypatch.setattr(jax, "local_devices", lambda: [device] * 3)
    monkeypatch.setattr(program, "advance", noted)
    expected = host.estimate(planned, programs)
    # On two devices, once to compile and then some times to measure.
    assert len(places) in range(4, 2 * (1 + MOST_STEPS) + 1, 2)
    assert set(places) == {device}
    assert expected.seconds == expected.chain_seconds / 2
    assert not expected.filtered


def test_host_rows_are_the_packed_rows():
    data = random_text()
    chosen = np.arange(30)
    tokens, lengths = language_model.gather(data, chosen)
    rows, used = packing.pack(tokens, lengths, data.context)
    documents = texts.Documents(np.asarray(data.tokens), np.asarray(data.offsets, np.int64))
    ours = HostRows(documents, data.context)
    assert ours.used == int(used)
    written = ours.all(data.context)
    np.testing.assert_array_equal(written.tokens, rows.tokens[: ours.used])
    same = packing.positions(written.segments), packing.positions(rows.segments[: ours.used])
    np.testing.assert_array_equal(*same)
    np.testing.assert_array_equal(written.segments > 0, rows.segments[: ours.used] > 0)
    assert ours.predicted == int(lengths.sum()) - 30


KILLED_RUN = shlex.split(
    "lm pretrain --num-samples 60 --generations 3 --seeds 1 --epochs 1 --checkpoint-steps 5 "
    "--workflow replace accumulate --texts 0 --out"
)


@pytest.mark.slow
def test_a_process_killed_at_three_random_times(tmp_path):
    """SIGKILL once some more files have appeared, whatever the process is doing then."""

    def start(out):
        command = [sys.executable, "-m", "jaxcollapse", *KILLED_RUN, str(out)]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def appeared(out):
        return {path for path in out.glob("*/*/seed-0/**/*") if path.is_file()}

    rng = np.random.default_rng(0)
    out = tmp_path / "killed"
    for _ in range(3):
        process, before, more = start(out), appeared(out), int(rng.integers(1, 12))
        while len(appeared(out) - before) < more:
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert start(out).wait(300) == 0
    assert start(tmp_path / "whole").wait(300) == 0
    expected = results.load(tmp_path / "whole" / "results.nc")
    resumed = results.load(out / "results.nc")
    for name in results.metrics_of(expected):
        np.testing.assert_array_equal(resumed[name], expected[name])
