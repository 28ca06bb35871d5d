"""Files of llama2.c."""

import struct

import jax
import numpy as np
import pytest
from checkpoint_cases import SMALL, assert_same, greedy, random_params, refused

from jaxcollapse.lm import architectures, checkpoints
from jaxcollapse.lm.text import tokenizers


def write_llama2c(path, config, params):
    """A file of llama2.c's first version, as its ``export.py`` writes it."""
    blocks = jax.tree.map(np.asarray, params["layers"])
    heads, kv_heads, dim = config.heads, config.kv_heads, config.head_dim
    q, k, v = np.split(blocks["qkv"]["kernel"], [heads * dim, (heads + kv_heads) * dim], axis=-1)
    gate, up = np.split(blocks["gate_up"]["kernel"], 2, axis=-1)

    def pairs(kernel):
        """From features i and i + D/2 that turn together to neighbours that do."""
        layers, width, features = kernel.shape
        halves = kernel.reshape(layers, width, features // dim, 2, dim // 2)
        return halves.swapaxes(-1, -2).reshape(kernel.shape)

    arrays = [
        params["embed"]["tokens"],
        blocks["attention_norm"]["scale"],
        *(kernel.swapaxes(1, 2) for kernel in (pairs(q), pairs(k), v, blocks["out"]["kernel"])),
        blocks["mlp_norm"]["scale"],
        *(kernel.swapaxes(1, 2) for kernel in (gate, blocks["down"]["kernel"], up)),
        params["final_norm"]["scale"],
        np.zeros((2, config.context, dim // 2)),
    ]
    vocab = config.vocab_size if config.tied else -config.vocab_size
    if not config.tied:
        arrays.append(params["head"].T)
    sizes = (config.width, config.mlp_width, config.layers, heads, kv_heads, vocab, config.context)
    numbers = np.concatenate([np.asarray(array, np.float32).ravel() for array in arrays])
    path.write_bytes(struct.pack("<7i", *sizes) + numbers.tobytes())


@pytest.mark.parametrize("tied", [True, False])
def test_llama2c(tied, tmp_path):
    config = architectures.config("tiny-llama", **SMALL, kv_heads=2, tied=tied)
    params = random_params(config)
    write_llama2c(tmp_path / "model.bin", config, params)
    (tmp_path / "tok61.bin").touch()
    for path in (tmp_path, tmp_path / "model.bin"):
        loaded, others = checkpoints.load(path)
        assert loaded == config
        assert_same(params, others)
    assert checkpoints.load(tmp_path, "bfloat16", context=8)[0].context == 8


def test_files_of_llama2c_that_do_not_fit(tmp_path):
    config = architectures.config("tiny-llama", **SMALL, kv_heads=2)
    path = tmp_path / "model.bin"
    write_llama2c(path, config, random_params(config))
    whole = path.read_bytes()
    message = f"size of .*: expected {len(whole):,} bytes by its header, got "
    for content in (whole[:-4], whole[:28], whole + bytes(4)):
        path.write_bytes(content)
        refused(path, message + f"{len(content):,}")
    for content in (b"", whole[:27], bytes(28) + whole[28:]):
        path.write_bytes(content)
        refused(path, "header of a llama2.c file: expected seven int32")
    with pytest.raises(ValueError, match=r"model: expected a file of llama2\.c"):
        checkpoints.load_llama2c(tmp_path / "none.bin")


def test_a_real_model(shared_data):
    folder = shared_data / "stories260K"
    config, params = checkpoints.load(folder)
    assert (config.width, config.mlp_width, config.layers) == (64, 172, 5)
    assert (config.heads, config.kv_heads, config.vocab_size, config.context) == (8, 4, 512, 512)
    assert config.tied
    tokenizer = tokenizers.load_tokenizer(folder)
    text = tokenizer.decode(greedy(config, params, [tokenizer.bos], 200))
    assert text.startswith(
        "Once upon a time, there was a little girl named Lily. "
        "She loved to play outside in the park."
    )
