"""``jaxcollapse lm``, as typed."""

import json
import re
import shlex

import jax
import numpy as np
import pytest
from test_cli import refused

from jaxcollapse.cli import main as cli
from jaxcollapse.lm import architectures, checkpoints
from jaxcollapse.lm.decoder import decoder
from jaxcollapse.lm.host.folders import ChainFolder
from jaxcollapse.lm.host.run_folder import setup_of
from jaxcollapse.lm.text import texts, tokenizers
from jaxcollapse.sweeps import results

OPTIONS = shlex.split(
    "--model micro --num-samples 40 --seeds 2 --epochs 1 --workflow replace accumulate "
    "--keep-weights all"
)
STORIES = "tinystories/tinystories_sample_5M.txt"


def lm(*arguments):
    cli.main(["lm", *map(str, arguments)])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("lm") / "run"
    lm("pretrain", "--out", out, *OPTIONS, "--generations", 2, "--texts", 0)
    return out


@pytest.fixture(scope="module")
def weights(run):
    return run / "micro-40" / "replace" / "seed-1" / "generation-02"


def test_pretrain(run):
    dataset = results.load(run / "results.nc")
    sizes = {"workflow": 2, "model": 1, "num_samples": 1, "seed": 2, "generation": 2}
    assert dict(dataset.sizes) == sizes
    assert set(results.metrics_of(dataset)) == {
        "nll",
        "excess_nll",
        "distinct_2",
        "distinct_3",
        "repetition",
        "distinct_words",
        "zipf_exponent",
        "mean_length",
        "share_of_real_data",
    }
    assert np.isfinite(dataset["excess_nll"]).all()
    (details,) = json.loads(dataset.attrs["details"])
    assert details["recipe"]["learning_rate"] == 1e-3
    told = {**details, "settings": json.loads(dataset.attrs["settings"])}
    assert told == json.loads((run / "micro-40" / "setup.json").read_text())
    reference = (dataset["nll"] - dataset["excess_nll"]).values
    np.testing.assert_allclose(reference, texts.load_corpus().test_nll, rtol=1e-5)
    assert (run / "figure.png").stat().st_size > 10_000


@pytest.mark.slow
def test_more_generations_of_the_same_run(run, capsys):
    before = results.load(run / "results.nc")["nll"].values
    message = refused(capsys, "lm", "pretrain", "--out", run, *OPTIONS, "--generations", 3)
    assert "pass --overwrite" in message
    more = ["--generations", 3, "--texts", 2, "--overwrite"]
    lm("pretrain", "--out", run, *OPTIONS, *more)
    shown = capsys.readouterr().out
    assert shown.count("generation 3") == 2
    assert len(re.findall(r"^  - ", shown, re.M)) == 2 * 3 * 2
    assert "t = 3" in shown
    after = results.load(run / "results.nc")["nll"].values
    np.testing.assert_array_equal(after[..., :2], before)


def test_another_configuration_in_the_same_folder_is_refused(run, capsys):
    given = ["--out", run, *OPTIONS, "--overwrite", "--learning-rate", "0.002"]
    message = refused(capsys, "lm", "pretrain", *given)
    assert "expected a new one, or one of chains with the same options" in message
    assert "others are: recipe learning_rate; choose another folder" in message


def test_weights_that_were_not_kept_are_named(tmp_path, capsys):
    first = ChainFolder(tmp_path, "none").generation(1)
    first.mkdir()
    (first / "metrics.json").write_text("{}")
    for command in (["generate"], ["evaluate", "--data", "a.txt"], ["finetune", "--out", "b"]):
        message = refused(capsys, "lm", *command, "--weights", first)
        assert "generation-01, of which metrics and documents are left; take another" in message


def test_generate(weights, capsys):
    command = ["generate", "--weights", weights, "--prompt", "Once upon", "--max-tokens", 20]
    texts = []
    for extra in ([], [], ["--seed", 1], ["--temperature", 0], ["--temperature", 0, "--seed", 1]):
        lm(*command, *extra)
        texts.append(capsys.readouterr().out)
    assert all(shown.startswith("Once upon") for shown in texts)
    assert texts[0] == texts[1] != texts[2]
    assert texts[3] == texts[4]
    lm("generate", "--weights", weights)  # to the end of its context, at most
    assert capsys.readouterr().out.strip()
    lm(*command, "--count", 3, "--top-p", 0.9, "--top-k", 50)
    assert capsys.readouterr().out.count("Once upon") == 3


def test_what_a_run_held_out(run, weights, capsys):
    dataset = results.load(run / "results.nc")
    nll = dataset["nll"].sel(workflow="replace", seed=1, generation=2).item()
    lm("evaluate", "--weights", weights, "--held-out", weights)
    found = capsys.readouterr().out.split()
    assert float(found[0]) == pytest.approx(nll, abs=6e-5)
    assert setup_of(run) == setup_of(run / "micro-40") == setup_of(weights)
    for options, message in (
        (["--max-documents", 90], "held-out part: expected that of the"),
        (["--longer", "cut"], "option of the data: expected one of data, tokenizer"),
        (["--context", 9], "context: expected none beside --held-out"),
    ):
        words = ["lm", "evaluate", "--weights", weights, "--held-out", run, *options]
        assert message in refused(capsys, *map(str, words))
    words = ["lm", "evaluate", "--weights", weights, "--data", "a.txt", "--test-fraction", 0.2]
    assert "test_fraction: expected --held-out beside it" in refused(capsys, *map(str, words))
    assert "data: expected a file, got none" in refused(capsys, *map(str, words[:4]))
    words = ["lm", "evaluate", "--weights", weights, "--held-out", run.parent]
    assert "folder of a run: expected one with a setup.json" in refused(capsys, *map(str, words))


def test_evaluate_is_what_the_chain_measured(run, weights, tmp_path, capsys):
    corpus = texts.load_corpus()
    decode = corpus.tokenizer.decode
    documents = [decode(corpus.test.document(i).tolist()) for i in range(corpus.test.count)]
    (tmp_path / "a.txt").write_text("<|endoftext|>\n".join(documents))
    lines = [json.dumps({"text": document}) for document in documents]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    place = {"workflow": "replace", "seed": 1, "generation": 2}
    last = results.load(run / "results.nc")["nll"].sel(place).item()
    for name in ("a.txt", "a.jsonl"):
        lm("evaluate", "--weights", weights, "--data", tmp_path / name, "--with-end")
        nll, perplexity, count = re.findall(r"[\d.]+", capsys.readouterr().out)
        assert float(nll) == pytest.approx(last, abs=2e-4)
        assert float(perplexity) == pytest.approx(np.exp(last), rel=1e-3)
        assert int(count) == len(corpus.test.tokens) - corpus.test.count
    few = ["--data", tmp_path / "a.txt", "--max-documents", 3]
    lm("evaluate", "--weights", weights, *few)
    shown = capsys.readouterr()
    assert int(shown.out.split()[-2]) == int((corpus.test.lengths[:3] - 2).sum())
    assert shown.err == ""
    lm("evaluate", "--weights", weights, *few, "--context", 9)
    shown = capsys.readouterr()
    assert int(shown.out.split()[-2]) == 3 * 8
    assert "documents cut: 3 of 3, with" in shown.err


@pytest.mark.slow
def test_compiled_driver(run, tmp_path):
    given = ["--out", tmp_path, *OPTIONS, "--generations", 2, "--workflow", "replace"]
    lm("pretrain", *given, "--driver", "compiled")
    compiled, host = (results.load(path / "results.nc") for path in (tmp_path, run))
    first = {"workflow": "replace", "generation": 1}
    ours, theirs = compiled["nll"].sel(first), host["nll"].sel(first)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)
    assert set(compiled.data_vars) == set(host.data_vars)
    assert (tmp_path / "figure.png").exists()


@pytest.mark.slow
def test_mixtures_of_stories(tmp_path, capsys):
    counts = "--model micro --real 8 --synthetic 0 8 --seeds 1 --steps 2"
    cli.main(["mix", "language-model", "--out", str(tmp_path / "mix.nc"), *counts.split()])
    assert "loss: Cross-entropy in excess of the text's own" in capsys.readouterr().out
    dataset = results.load(tmp_path / "mix.nc")
    assert dict(dataset.sizes) == {"model": 1, "real": 1, "synthetic": 2, "seed": 1}
    assert (dataset["excess_nll"] > 0).all()


def test_a_text_of_ones_own(tmp_path):
    documents = [f"The number {i} is {'odd' if i % 2 else 'even'}." for i in range(60)]
    (tmp_path / "a.txt").write_text("\n###\n".join(documents), encoding="utf-8")
    given = ["--data", tmp_path / "a.txt", "--separator", "###", "--tokenizer", "bytes"]
    given += ["--context", 16, "--generations", 1, "--seeds", 1, "--workflow", "replace"]
    lm("pretrain", "--out", tmp_path / "run", *given, "--model", "micro", "--steps", 3)
    dataset = results.load(tmp_path / "run" / "results.nc")
    # Documents longer than the context are cut, so that the length has a bound.
    assert dataset["mean_length"].max() <= 15
    assert "excess_nll" not in dataset
    assert dataset["num_samples"].item() == 54
    samples = tmp_path / "run" / "micro-54" / "replace" / "seed-0" / "generation-01"
    assert len((samples / "samples.jsonl").read_text().splitlines()) == 54


def test_stories260k(shared_data, capsys):
    folder = shared_data / "stories260K"
    lm("generate", "--weights", folder, "--max-tokens", 200, "--temperature", 0)
    assert capsys.readouterr().out.startswith(
        "Once upon a time, there was a little girl named Lily. She loved to play outside in the "
        "park."
    )
    # The first story of the sample is cut.
    given = ["--data", shared_data / STORIES, "--skip-documents", 1, "--max-documents", 100]
    lm("evaluate", "--weights", folder, *given)
    nll, _, count = re.findall(r"[\d.]+", capsys.readouterr().out)
    assert float(nll) == pytest.approx(1.315, abs=0.01)
    assert int(count) == 35_543


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "command: expected run gaussian"),
        ("pretrane", "command: expected run gaussian"),
        ("pretrain --out OUT --model gpt3", "model: expected one of gpt2-9m"),
        ("pretrain --out OUT --workflow all", "workflow: expected one of replace, accumulate"),
        ("pretrain --out OUT --data none.txt", "data: expected a file that exists"),
        ("pretrain --out OUT --data EMPTY", "data: expected one document or more"),
        ("pretrain --out OUT --data BINARY", "data: expected UTF-8, got another byte at offset 2"),
        ("pretrain --out OUT --num-samples 30000", "num_samples: expected at most the 20000"),
        ("pretrain --out OUT --num-samples 0", "num_samples: expected at least 1"),
        ("pretrain --out OUT --generations 0", "generations: expected at least 1"),
        (
            "pretrain --out OUT --workflow accumulate-subsample:draw=800",
            "subsample size: expected at most",
        ),
        ("pretrain --out OUT --batch-size 3 --accumulation 2", "accumulation: expected a divisor"),
        (
            "pretrain --out OUT --learning-rate -1",
            "learning_rate: expected a finite number above 0",
        ),
        ("pretrain --out OUT --temperature -1", "temperature: expected a finite number"),
        ("pretrain --out OUT --context 1", "context: expected at least 5"),
        ("pretrain --out OUT --context 0", "context: expected at least 5"),
        ("pretrain --out OUT --steps 5 --epochs 2", "steps: expected neither epochs"),
        ("pretrain --out OUT --texts -1", "texts: expected at least 0"),
        ("pretrain --out OUT --vocab-size 10", "vocab_size: expected at least 258"),
        ("pretrain --out OUT --checkpoint-steps 0", "checkpoint_steps: expected at least 1"),
        ("generate --weights none", "model: expected a folder with config.json, a .bin or a .gguf"),
        ("generate --weights MODEL --max-tokens 40", "prompt and max_tokens: expected at most 32"),
        ("generate --weights MODEL --max-tokens 0", "max_tokens: expected at least 1"),
        (
            "generate --weights MODEL --max-tokens 9 --top-p 0",
            "top_p: expected a finite number above 0",
        ),
        ("generate --weights MODEL --seed -1", "seed: expected at least 0"),
        ("generate --weights WRONG", "tokenizer: expected at most the checkpoint's 100 tokens"),
        ("generate --weights CUT", "model.safetensors"),
        ("evaluate --weights MODEL --data none.txt", "data: expected a file that exists"),
        ("evaluate --weights MODEL --data TEXT --skip-documents 9", "documents: expected at least"),
        ("evaluate --weights MODEL --data TEXT --context 99", "context: expected at most 32"),
        ("evaluate --weights MODEL --data TEXT --context 1", "context: expected at least 2"),
        ("evaluate --weights MODEL --data TEXT --batch-size 0", "batch_size: expected at least 1"),
    ],
)
def test_refused(arguments, message, files, tmp_path, capsys):
    names = {**files, "OUT": tmp_path / "new"}
    words = [str(names.get(word, word)) for word in shlex.split(arguments)]
    assert message in refused(capsys, "lm", *words)
    assert not (tmp_path / "new" / "results.nc").exists()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "empty.txt").write_text("\n")
    (folder / "binary.txt").write_bytes(b"ab\xff\xfe")
    (folder / "text.txt").write_text("one")
    for name, vocab_size in (("model", 258), ("wrong", 100), ("cut", 258)):
        config = architectures.config("tiny-llama", vocab_size=vocab_size, context=32, layers=1)
        checkpoints.save(folder / name, config, decoder.init(config, jax.random.key(0)))
        tokenizers.byte_tokenizer().save(folder / name)
    path = folder / "cut" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    names = {"EMPTY": "empty.txt", "BINARY": "binary.txt", "TEXT": "text.txt"}
    return {
        k: folder / v
        for k, v in {**names, "MODEL": "model", "WRONG": "wrong", "CUT": "cut"}.items()
    }
