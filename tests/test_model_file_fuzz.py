"""Model files that are damaged at random are read, or refused in one line, in little time."""

import dataclasses
import importlib.util
import json
import shutil
import struct

import jax
import numpy as np
import pytest
from checkpoint_cases import CONFIGS, random_params
from mutations import answered, mutated_bytes, mutated_json
from test_gguf import write_gguf
from test_llama2c import write_llama2c

from jaxcollapse.lm import architectures, checkpoints
from jaxcollapse.lm.host.run_folder import setup_of
from jaxcollapse.lm.text import tokenizers

TINY = {"vocab_size": 11, "context": 8, "width": 4, "head_dim": 2, "heads": 2}


def small(family):
    kv = {} if family == "gpt2" else {"kv_heads": 1}
    if family == "gpt2":
        kv = {"kv_heads": 2}
    return architectures.config(f"tiny-{family}", **TINY, **kv, layers=1, mlp_width=6)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """A folder of each kind."""
    folder = tmp_path_factory.mktemp("originals")
    for family in CONFIGS:
        config = small(family)
        checkpoints.save(folder / family, config, random_params(config), bos=1, eos=2)
    config = small("llama")
    checkpoints.save(
        folder / "shards", config, random_params(config), bos=1, eos=2, shard_bytes=200
    )
    (folder / "c").mkdir()
    write_llama2c(
        folder / "c" / "model.bin", config, jax.tree.map(np.asarray, random_params(config))
    )
    tokenizers.train_bpe(["aa ab abc"] * 3, 262).save(folder / "bpe")
    (folder / "tok").mkdir()
    pieces = [b"<unk>", b"\n<s>\n", b"</s>", *(b"<0x%02X>" % byte for byte in range(256))]
    pieces += [b" ", b"a", b" a"]
    (folder / "tok" / "tok9.bin").write_bytes(
        struct.pack("<i", 7)
        + b"".join(struct.pack("<fi", -i, len(p)) + p for i, p in enumerate(pieces))
    )
    if importlib.util.find_spec("gguf"):
        (folder / "gguf").mkdir()
        wide = dataclasses.replace(config, vocab_size=61, mlp_width=32, width=32, head_dim=16)
        write_gguf(folder / "gguf" / "a.gguf", wide, random_params(wide), ends=(1, 2))
    (folder / "run").mkdir()
    data = {"name": "a", "digest": "b", "context": 8, "loss_on": "all"}
    (folder / "run" / "setup.json").write_text(json.dumps({"data": data, "base": {}}))
    return folder


CASES = [
    ("gpt2", "config.json", checkpoints.load),
    ("llama", "config.json", checkpoints.load),
    ("gemma2", "config.json", checkpoints.load),
    ("llama", "model.safetensors", checkpoints.load),
    ("shards", "model.safetensors.index.json", checkpoints.load),
    ("c", "model.bin", checkpoints.load),
    ("bpe", "tokenizer.json", tokenizers.load_tokenizer),
    ("bpe", "tokenizer_config.json", tokenizers.load_tokenizer),
    ("tok", "tok9.bin", tokenizers.load_tokenizer),
    ("gguf", "a.gguf", lambda folder: checkpoints.load(folder / "a.gguf")),
    ("gguf", "a.gguf", lambda folder: tokenizers.load_tokenizer(folder / "a.gguf")),
    ("run", "setup.json", setup_of),
]


def fuzzed(originals, tmp_path, kind, name, reader, count):
    if kind == "gguf":
        pytest.importorskip("gguf", reason="gguf, which reads .gguf files, is not installed")
    rng = np.random.default_rng([len(kind), len(name), ord(kind[0])])
    folder = tmp_path / kind
    shutil.copytree(originals / kind, folder)
    content = (folder / name).read_bytes()
    said = set()
    for _ in range(count):
        change = mutated_json if name.endswith(".json") and rng.random() < 0.8 else mutated_bytes
        (folder / name).write_bytes(change(rng, content))
        said.add(answered(reader, folder).partition(",")[0])
    assert len(said) > 1 or count < 100, said
    (folder / name).write_bytes(content)
    assert answered(reader, folder) == "read"


@pytest.mark.parametrize(("kind", "name", "reader"), CASES)
def test_some_damaged_files(originals, tmp_path, kind, name, reader):
    fuzzed(originals, tmp_path, kind, name, reader, 8)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name", "reader"), CASES)
def test_many_damaged_files(originals, tmp_path, kind, name, reader):
    fuzzed(originals, tmp_path, kind, name, reader, 1000)
