"""``jaxcollapse lm finetune`` and ``lm mix``, as typed, from a checkpoint in the hub's format."""

import json
import shlex
import subprocess
import sys

import jax
import numpy as np
import pytest
from test_cli import refused
from test_lm_cli import lm

from jaxcollapse.lm import architectures, checkpoints, plans
from jaxcollapse.lm.decoder import decoder
from jaxcollapse.lm.text import conversations, tokenizers
from jaxcollapse.sweeps import results

TOKENIZER = tokenizers.byte_tokenizer()
OPTIONS = shlex.split(
    "--context 32 --test-documents 10 --num-samples 24 --seeds 1 --batch-size 4 "
    "--learning-rate 0.01 --slots 8"
)


def checkpoint(folder, tokenizer, **changes):
    """A random Gemma 2 as it is at the hub, its weights in several files."""
    changes = {"vocab_size": tokenizer.vocab_size, "context": 256, "layers": 1, **changes}
    config = architectures.config("tiny-gemma2", width=32, **changes)
    params = decoder.init(config, jax.random.key(0))
    ends = (tokenizer.bos, tokenizer.eos)
    checkpoints.save(folder, config, params, *ends, shard_bytes=20_000)
    tokenizer.save(folder)
    assert len(list(folder.glob("model-*-of-*.safetensors"))) > 1
    return folder


def write_rows(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    letters = [{"prompt": "abcd"[i % 4] * (1 + i // 4 % 3), "response": f"{i}"} for i in range(60)]
    return {
        "WEIGHTS": checkpoint(folder / "gem", TOKENIZER),
        "LLAMA": _llama(folder / "llama"),
        "ROWS": write_rows(folder / "rows.jsonl", letters),
        "TEXTS": write_rows(folder / "texts.jsonl", [{"text": "a"}, {"text": "b"}]),
    }


def _llama(folder):
    config = architectures.config("tiny-llama", vocab_size=258, layers=1)
    checkpoints.save(folder, config, decoder.init(config, jax.random.key(0)))
    TOKENIZER.save(folder)
    return folder


@pytest.fixture(scope="module")
def run(files, tmp_path_factory):
    out = tmp_path_factory.mktemp("finetune") / "run"
    given = ["--weights", files["WEIGHTS"], "--data", files["ROWS"], "--out", out, *OPTIONS]
    lm("finetune", *given, "--steps", 80, "--generations", 2, "--max-attempts", 200, "--texts", 0)
    return out


def test_what_a_run_held_out(run, files, capsys):
    dataset = results.load(run / "results.nc").sel(workflow="replace", generation=2)
    (folder,) = run.glob("*/replace/seed-0/generation-02")
    given = ["--weights", folder, "--held-out", run, "--data", files["ROWS"]]
    lm("evaluate", *given, "--test-documents", 10)
    found = float(capsys.readouterr().out.split()[0])
    assert found == pytest.approx(dataset["nll"].item(), abs=6e-5)


def test_all_workflows_from_a_checkpoint_of_the_hub(run):
    dataset = results.load(run / "results.nc")
    assert dataset.attrs["task"] == "fine-tuning"
    assert dict(dataset.sizes) == {
        "workflow": 3,
        "model": 1,
        "num_samples": 1,
        "seed": 1,
        "generation": 2,
    }
    assert np.isfinite(dataset["nll"]).all()
    assert ((dataset["acceptance_rate"] > 0) & (dataset["acceptance_rate"] <= 1)).all()
    (details,) = json.loads(dataset.attrs["details"])
    assert details["base"]["name"] == "gem"
    assert details["protocol"]["format"] == "conversation"
    for workflow in ("replace", "accumulate", "accumulate-subsample"):
        last = run / "gem-24" / workflow / "seed-0" / "generation-02"
        lines = (last / "samples.jsonl").read_text().splitlines()
        assert len(lines) == 24
        assert all(conversations.parsed(json.loads(line)["text"]) for line in lines)
    assert (run / "figure.png").stat().st_size > 10_000


def test_a_saved_generation_is_transformers_model(run):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    import transformers

    folder = run / "gem-24" / "accumulate" / "seed-0" / "generation-02"
    config, params = checkpoints.load(folder)
    tokens = np.random.default_rng(0).integers(0, 258, (2, 30)).astype(np.int32)
    ours = jax.jit(decoder.apply, static_argnums=0)(config, params, tokens)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32
    )
    with torch.no_grad():
        expected = theirs(torch.tensor(tokens.astype(np.int64))).logits.numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-4, rtol=0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert tokenizer.encode("user: a", add_special_tokens=False) == TOKENIZER.encode("user: a")


def test_a_model_is_called_as_its_weights_are(files, tmp_path):
    path = tmp_path / "model.Q4_1.gguf"
    path.touch()
    assert plans.locate(None, str(path)) == (path, "model.Q4_1")
    folder = files["WEIGHTS"]
    assert plans.locate(None, str(folder)) == (folder, "gem")
    assert plans.locate("gemma2-2b", str(folder)) == (folder, "gemma2-2b")


@pytest.mark.slow
def test_mixtures(files, tmp_path, capsys):
    out = tmp_path / "mix"
    rows = ["--real", 8, 24, "--synthetic", 0, 16, "--synthetic-data", files["ROWS"]]
    given = ["--weights", files["WEIGHTS"], "--data", files["ROWS"], "--out", out, *OPTIONS]
    rows += ["--steps", 20, "--seeds", 2, "--loss-on", "response"]
    lm("mix", *given, *rows)
    told = capsys.readouterr().out
    assert "best synthetic" in told
    assert "rows.jsonl (sha256 " in told
    dataset = results.load(out / "mixing.nc")
    sizes = {"model": 1, "real": 2, "synthetic": 2, "seed": 2}
    assert dict(dataset.sizes) == sizes
    assert np.isfinite(dataset["nll"]).all()
    np.testing.assert_allclose(dataset["share_of_real_data"], [[1, 1 / 3], [1, 0.6]])
    finished = list(out.glob("gem-24/synthetic-rows-*/seed-*/real-*.json"))
    assert len(finished) == 8
    # What is finished is not done again.
    before = {path: path.stat().st_mtime_ns for path in finished}
    lm("mix", *given, *rows, "--overwrite")
    assert {path: path.stat().st_mtime_ns for path in finished} == before
    np.testing.assert_array_equal(results.load(out / "mixing.nc")["nll"], dataset["nll"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--weights WEIGHTS --data ROWS --num-samples 51", "num_samples: expected at most the 50"),
        ("--weights WEIGHTS --data ROWS --max-documents 100", "expected at most"),
        ("--weights WEIGHTS --data ROWS --test-documents 60", "test_documents: expected at most"),
        ("--weights WEIGHTS --data TEXTS", "expected the field 'prompt' and 'response', or"),
        ("--weights WEIGHTS --data ROWS --context 4", "context: expected at least"),
        ("--weights WEIGHTS --data ROWS --context 512", "context of the base model: expected at"),
        ("--weights WEIGHTS --model gemma2-2b --data ROWS", "weights: expected those of gemma2-2b"),
        ("--weights LLAMA --model tiny-gemma2 --data ROWS", "weights: expected those of tiny-gem"),
        ("--weights none/there --data ROWS", "a model at the hub that can be reached"),
        ("--weights none --data ROWS", "weights: expected a folder or file that exists, or"),
        ("--model gpt2-9m --data ROWS", "weights of gpt2-9m: expected a checkpoint, got none"),
        ("--model gemma3", "model: expected one of"),
        ("--weights WEIGHTS --data ROWS --mesh 0x2", "mesh: expected DATAxMODEL, got '0x2'"),
        (
            "--weights WEIGHTS --data ROWS --loss-on response --format text",
            "loss_on: expected 'all' where any sample is published",
        ),
        ("--weights WEIGHTS --data ROWS --mesh 400x200", "mesh: expected at most 512 devices"),
        ("--weights WEIGHTS --data ROWS --mesh 3", "mesh: expected DATAxMODEL, got '3'"),
        ("--weights WEIGHTS --data ROWS --mesh 4x4", "mesh: expected at most 1 devices, got 4 x 4"),
        ("--weights WEIGHTS --data ROWS --lora-rank 99", "lora_rank: expected from 1 to 32"),
        (
            "--weights WEIGHTS --data ROWS --lora-rank 2 --lora-targets all",
            "lora_targets: expected one of",
        ),
        ("--weights WEIGHTS --data ROWS --steps 1 --epochs 2", "steps: expected neither"),
    ],
)
def test_refused(arguments, message, files, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    words = [str(files.get(word, word)) for word in shlex.split(arguments)]
    given = _without(OPTIONS, words)
    told = refused(capsys, "lm", "finetune", "--out", tmp_path / "new", *given, *words)
    assert message in told
    assert not (tmp_path / "new").exists()


def _without(options, words):
    """Options that are not given again."""
    pairs = zip(options[::2], options[1::2], strict=True)
    return [part for pair in pairs if pair[0] not in words for part in pair]


@pytest.mark.slow
def test_a_mesh_gives_the_same_chain(files, tmp_path):
    """Two simulated devices that share a model, against one."""
    common = ["--weights", files["WEIGHTS"], "--data", files["ROWS"], *OPTIONS, "--steps", "10"]
    common += ["--format", "text", "--workflow", "replace", "--generations", "1", "--texts", "0"]
    nll = []
    for extra in ([], ["--mesh", "2x1"], ["--mesh", "1x2"]):
        out = tmp_path / f"run{len(nll)}"
        command = [sys.executable, "-m", "jaxcollapse", "lm", "finetune", "--out", out]
        subprocess.run([*map(str, [*command, *common, *extra])], check=True, capture_output=True)
        nll.append(results.load(out / "results.nc")["nll"].item())
    np.testing.assert_allclose(nll[1:], nll[0], rtol=1e-4)


@pytest.mark.slow
def test_helpsteer2_from_end_to_end(shared_data, tmp_path, capsys):
    """Real conversations: loaded, learned, sampled, filtered, and learned from again."""
    data = shared_data / "helpsteer2" / "helpsteer_pref.jsonl"
    rows = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    texts = [f"user: {row['prompt']}\nassistant: {row['chosen']}" for row in rows]
    weights = checkpoint(tmp_path / "gem", tokenizers.train_bpe(texts, 1000), context=512)
    out = tmp_path / "run"
    given = "--context 320 --test-documents 30 --num-samples 40 --seeds 1 --generations 2"
    more = "--steps 400 --batch-size 4 --learning-rate 0.005 --max-attempts 500 --texts 1"
    files = ["--weights", weights, "--data", data, "--out", out]
    lm("finetune", *files, *given.split(), *more.split())
    dataset = results.load(out / "results.nc")
    assert dict(dataset.sizes)["workflow"] == 3
    assert (dataset["acceptance_rate"] > 0).all()
    assert np.isfinite(dataset["nll"]).all()
