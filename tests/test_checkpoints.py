"""Weights to files and back, read by us and by transformers; and what is refused."""

import dataclasses
import functools
import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checkpoint_cases import CONFIGS, assert_same, random_params, refused
from safetensors.numpy import load_file, save_file

from jaxcollapse.lm import architectures, checkpoints
from jaxcollapse.lm.checkpoints import hub_config
from jaxcollapse.lm.decoder import decoder

FAMILIES = ("gpt2", "llama", "gemma2")
TOKENS = np.random.default_rng(0).integers(0, 61, (2, 12)).astype(np.int32)


def torch_logits(folder, tokens):
    torch = pytest.importorskip("torch", reason="PyTorch, the reference, is not installed")
    transformers = pytest.importorskip("transformers", reason="the extra lm is not installed")
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", dtype="float32", output_loading_info=True
    )
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        return model(torch.tensor(tokens, dtype=torch.long)).logits.numpy(), model


@functools.cache
def compiled(config):
    return jax.jit(partial(decoder.apply, config))


def our_logits(config, params, tokens):
    return np.asarray(compiled(config)(params, tokens))


def as_type(params, *dtypes):
    """Parameters cast to one type after another, without compiling anything."""

    def cast(leaf):
        array = np.asarray(leaf)
        for dtype in dtypes:
            array = array.astype(dtype)
        return jnp.asarray(array)

    return jax.tree.map(cast, params)


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def saved(family, tmp_path):
    """A folder with a model, its decoder and its parameters."""
    config = CONFIGS[family]
    params = random_params(config)
    checkpoints.save(tmp_path / "model", config, params, bos=3, eos=4)
    return tmp_path / "model", config, params


# There and back -----------------------------------------------------------------------------


def test_what_is_saved_is_loaded(saved):
    folder, config, params = saved
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    loaded, others = checkpoints.load(folder)
    assert loaded == config
    assert_same(params, others)


def test_transformers_computes_the_same(saved):
    folder, config, params = saved
    logits, model = torch_logits(folder, TOKENS)
    assert (model.config.bos_token_id, model.config.eos_token_id) == (3, 4)
    ours = our_logits(config, params, TOKENS)
    assert ours.std() > 0.3
    np.testing.assert_allclose(ours, logits, atol=1e-4)


@pytest.mark.parametrize("name", architectures.configs())
def test_every_named_decoder_can_be_said(name):
    config = architectures.configs()[name]
    content = json.loads(json.dumps(hub_config.from_config(config, None, None)))
    assert hub_config.to_config(content) == config


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("gpt2", {"tied": False}),
        ("llama", {"tied": True, "mlp": "geglu"}),
        ("gemma2", {"window": None, "attention_softcap": None, "final_softcap": None}),
    ],
)
def test_other_forms(family, changes, tmp_path):
    config = dataclasses.replace(CONFIGS[family], **changes)
    params = random_params(config)
    checkpoints.save(tmp_path, config, params)
    loaded, others = checkpoints.load(tmp_path)
    assert loaded == config
    assert_same(params, others)
    logits, _ = torch_logits(tmp_path, TOKENS)
    np.testing.assert_allclose(our_logits(config, params, TOKENS), logits, atol=1e-4)


def test_shards(family, tmp_path):
    config = CONFIGS[family]
    params = random_params(config)
    checkpoints.save(tmp_path, config, params, shard_bytes=60_000)
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 2
    assert shards[0].name == f"model-00001-of-{len(shards):05}.safetensors"
    assert not (tmp_path / "model.safetensors").exists()
    assert_same(params, checkpoints.load(tmp_path)[1])
    if family == "llama":  # files are shared among shards alike in all families
        logits, _ = torch_logits(tmp_path, TOKENS)
        np.testing.assert_allclose(our_logits(config, params, TOKENS), logits, atol=1e-4)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 4 * decoder.num_parameters(config)

    # A model that replaces another leaves none of its weights behind.
    checkpoints.save(tmp_path, config, params, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    checkpoints.save(tmp_path, config, params, shard_bytes=60_000, overwrite=True)
    assert not (tmp_path / "model.safetensors").exists()
    assert_same(params, checkpoints.load(tmp_path)[1])

    shards[1].unlink()
    message = f"{shards[1].name}, which model.safetensors.index.json names, got none"
    with pytest.raises(ValueError, match=message):
        checkpoints.load(tmp_path)


def test_bfloat16(family, tmp_path):
    config = dataclasses.replace(CONFIGS[family], dtype="bfloat16", param_dtype="bfloat16")
    params = random_params(config)
    checkpoints.save(tmp_path, config, params)
    loaded, others = checkpoints.load(tmp_path, dtype="bfloat16")
    assert loaded == config
    assert_same(params, others)
    full, others = checkpoints.load(tmp_path)
    assert (full.dtype, full.param_dtype) == ("float32", "float32")
    assert_same(as_type(params, jnp.float32), others)
    logits, model = torch_logits(tmp_path, TOKENS)
    assert model.config.to_dict()["vocab_size"] == 61
    np.testing.assert_allclose(our_logits(full, others, TOKENS), logits, atol=1e-4)


def test_float16_and_names_without_a_prefix(saved):
    folder, config, params = saved
    path = folder / "model.safetensors"
    prefix = architectures.find(config.family).prefix
    halves = {k.removeprefix(prefix): v.astype(np.float16) for k, v in load_file(path).items()}
    save_file(halves, path)
    assert_same(as_type(params, jnp.float16, jnp.float32), checkpoints.load(folder)[1])


def test_buffers_and_a_second_copy_of_the_embedding_are_no_weights(saved):
    folder, config, params = saved
    path = folder / "model.safetensors"
    tensors = load_file(path)
    extra = {
        "transformer.h.0.attn.bias": np.zeros((1, 1, 32, 32), np.uint8),
        "transformer.h.1.attn.masked_bias": np.zeros((), np.float32),
        "model.layers.0.self_attn.rotary_emb.inv_freq": np.zeros(8, np.float32),
    }
    if config.tied:
        extra["lm_head.weight"] = np.asarray(params["embed"]["tokens"])
    save_file({**tensors, **extra}, path)
    assert_same(params, checkpoints.load(folder)[1])
    if config.tied:
        extra["lm_head.weight"] = extra["lm_head.weight"] + np.float32(1)
        save_file({**tensors, **extra}, path)
        with pytest.raises(ValueError, match=r"tensor lm_head.weight: expected the embedding's"):
            checkpoints.load(folder)


def test_a_shorter_context(saved):
    folder, config, params = saved
    shorter, others = checkpoints.load(folder, context=16)
    assert shorter == dataclasses.replace(config, context=16)
    shapes = jax.eval_shape(partial(decoder.init, shorter), jax.random.key(0))
    assert jax.tree.map(jnp.shape, others) == jax.tree.map(jnp.shape, shapes)
    for path in (("embed", "tokens"), ("embed", "positions"), ("final_norm", "scale")):
        if path[1] in params[path[0]]:
            one, other = params[path[0]][path[1]], others[path[0]][path[1]]
            np.testing.assert_array_equal(one[: len(other)], other)
    with pytest.raises(ValueError, match="context: expected at most the model's own, 32, got 33"):
        checkpoints.load(folder, context=33)


# What is left out of config.json ------------------------------------------------------------


def test_older_fields_and_those_left_out(tmp_path):
    """As the hub's own files of the three families are written."""
    of = hub_config.to_config
    gpt2 = {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257}
    sizes = {"vocab_size": 50257, "context": 1024}
    assert of({**gpt2, "n_positions": 1024, "n_ctx": 1024}) == architectures.gpt2.config(
        768, 12, 12, **sizes
    )
    llama = {
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
        "vocab_size": 512,
        "rms_norm_eps": 1e-5,
        "rope_scaling": None,
    }
    tiny = architectures.config("tiny-llama")
    assert of(llama) == tiny
    assert of({**llama, "rope_theta": 5e5}) == dataclasses.replace(tiny, rope_base=5e5)
    newer = {"rope_type": "default", "rope_theta": 5e5}
    assert of({**llama, "rope_parameters": newer}) == dataclasses.replace(tiny, rope_base=5e5)
    gemma = {
        **llama,
        "model_type": "gemma2",
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "max_position_embeddings": 8192,
        "vocab_size": 256_000,
        "rms_norm_eps": 1e-6,
        "hidden_act": "gelu_pytorch_tanh",
        "sliding_window": 4096,
    }
    assert of(gemma) == architectures.config("gemma2-2b")


# Refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("gpt2", {"model_type": "mistral"}, "model_type in config.json: expected one of gpt2, lla"),
        ("gpt2", {"model_type": None}, "model_type in config.json: expected one of gpt2, lla"),
        ("gpt2", {"scale_attn_weights": False}, "scale_attn_weights in config.json: expected true"),
        (
            "gpt2",
            {"scale_attn_by_inverse_layer_idx": True},
            "scale_attn_by_inverse_layer_idx in config.json: expected false, got true; this is not",
        ),
        ("gpt2", {"activation_function": "gelu"}, 'activation_function in .*, got "gelu"'),
        ("gpt2", {"n_embd": None}, "config.json: expected a field 'n_embd', got none"),
        ("gpt2", {"n_head": 5}, "n_head: expected a divisor of the width 64, got 5"),
        (
            "gemma2",
            {"num_attention_heads": "4"},
            'num_attention_heads in .* a whole number, got "4"',
        ),
        ("gpt2", {"n_layer": "two"}, 'n_layer in config.json: expected a whole number, got "two"'),
        ("llama", {"attention_bias": True}, "attention_bias in config.json: expected false"),
        ("llama", {"mlp_bias": True}, "mlp_bias in config.json: expected false"),
        ("llama", {"hidden_act": "relu"}, 'hidden_act in .*, got "relu"'),
        (
            "llama",
            {"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2.0}},
            'rope_scaling in config.json: expected the default .* "linear"',
        ),
        (
            "llama",
            {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}},
            'rope_parameters in config.json: expected the default .* "llama3"',
        ),
        (
            "llama",
            {"partial_rotary_factor": 0.5},
            "partial_rotary_factor in .* expected 1, got 0.5",
        ),
        ("llama", {"rms_norm_eps": "1e-6"}, 'rms_norm_eps in .* at least 0, got "1e-6"; mend'),
        ("llama", {"rms_norm_eps": float("nan")}, "rms_norm_eps in .* at least 0, got NaN"),
        (
            "llama",
            {"rms_norm_eps": 10**400},
            "rms_norm_eps in .* at least 0, got 1000.*0\\.\\.\\.;",
        ),
        ("llama", {"rope_parameters": [1]}, r"rope_parameters in .* a JSON object, got \[1\]"),
        ("llama", {"rope_theta": 0}, "rope_theta in .*: expected a number above 0, got 0"),
        (
            "llama",
            {"rope_theta": 500},
            "rope_theta in .*: expected 700, as in .*, got 500",
        ),
        (
            "llama",
            {"rope_scaling": {"rope_theta": 5}},
            "rope_parameters in .* expected what rope_scaling says too",
        ),
        ("llama", {"rope_parameters": {"factor": 4.0}}, "rope_parameters in .* the default rotary"),
        ("llama", {"tie_word_embeddings": "false"}, 'tie_word_embeddings .* false, got "false"'),
        ("llama", {"mlp_bias": "false"}, 'mlp_bias in config.json: expected false, got "false"'),
        (
            "llama",
            {"vocab_size": 2.5},
            "vocab_size in .*: expected a whole number, got 2.5",
        ),
        ("llama", {"num_attention_heads": 3, "head_dim": None}, "a divisor of the width 64, got 3"),
        # Not read, and not known to change nothing.
        (
            "llama",
            {"sliding_window": 5},
            "sliding_window in .*: expected only fields whose",
        ),
        ("llama", {"embedding_multiplier": 12.0}, "embedding_multiplier in .*, got 12.0; choose"),
        (
            "llama",
            {"quantization_config": {"bits": 4}},
            'quantization_config .* got {"bits": 4}',
        ),
        (
            "gpt2",
            {"num_hidden_layers": 3},
            "num_hidden_layers in .*: expected only fields",
        ),
        ("gpt2", {"pruned_heads": {"0": [1]}}, "pruned_heads in config.json: expected only fields"),
        ("gemma2", {"query_pre_attn_scalar": 0}, "query_pre_attn_scalar in .* above 0, got 0"),
        ("gemma2", {"attn_logit_softcapping": 0}, "attn_logit_softcapping in .* above 0, got 0"),
        ("gemma2", {"final_logit_softcapping": False}, "final_logit_softcapping in .*, got false"),
        ("gemma2", {"num_hidden_layers": 2**31 - 1}, "layer_types in config.json: expected slid"),
        ("gemma2", {"sliding_window": 0}, "sliding_window in config.json: expected at least 1"),
        ("gemma2", {"use_bidirectional_attention": True}, "use_bidirectional_attention in"),
        ("gemma2", {"layer_types": ["full_attention", "sliding_attention"]}, "layer_types in"),
        ("gemma2", {"hidden_activation": "gelu"}, 'hidden_activation in .*, got "gelu"'),
    ],
)
def test_features_that_are_not_there(family, changes, message, tmp_path):
    content = {**hub_config.from_config(CONFIGS[family], None, None), **changes}
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message) as error:
        checkpoints.load(tmp_path)
    assert "\n" not in str(error.value)


def test_fields_that_change_nothing():
    """As transformers and others write them."""
    content = hub_config.from_config(CONFIGS["llama"], 1, 2)
    notes = {
        "attention_dropout": 0.1,
        "initializer_range": 0.02,
        "is_llama_config": True,
        "pretraining_tp": 1,
        "rope_interleaved": False,
        "sliding_window": None,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "_name_or_path": "someone/something",
    }
    assert hub_config.to_config({**content, **notes}) == CONFIGS["llama"]


def test_a_mark_before_a_configuration(tmp_path):
    content = json.dumps(hub_config.from_config(CONFIGS["llama"], 1, 2))
    (tmp_path / "config.json").write_text("\ufeff" + content, encoding="utf-8")
    assert hub_config.to_config(hub_config.read_json(tmp_path, "config.json")) == CONFIGS["llama"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm_eps": "1e-6"}, "norm_eps: expected a number at least 0, got '1e-6'"),
        ({"norm_eps": float("nan")}, "norm_eps: expected a number at least 0, got nan"),
        ({"attention_softcap": 0}, "attention_softcap: expected a number above 0, got 0"),
        ({"rope_base": float("inf")}, "rope_base: expected a number that float32 holds, got inf"),
        ({"query_scale": -1.0}, "query_scale: expected a number above 0, got -1.0"),
        ({"window": 0}, "window: expected at least 1, got 0"),
        ({"head_dim": 10**9}, "head_dim: expected at most 65536, got 1000000000"),
        ({"tied": "false"}, "tied: expected one of False, True, got 'false'"),
    ],
)
def test_numbers_that_no_decoder_has(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIGS["gemma2"], **changes)


@pytest.fixture
def llama(tmp_path):
    config = CONFIGS["llama"]
    params = random_params(config)
    checkpoints.save(tmp_path / "model", config, params)
    return tmp_path / "model", config, params


def test_files_that_are_missing(llama):
    folder, _, _ = llama
    refused(folder / "none", "model: expected a folder with config.json, a .bin or a .gguf, got")
    refused(folder / "config.json", "model: expected a folder with config.json, a .bin or a .gguf")
    (folder / "model.safetensors").unlink()
    refused(folder, "weights: expected model.safetensors or its shards with an index, got none in")
    (folder / "pytorch_model.bin").touch()
    (folder / "config.json").unlink()
    refused(folder, "model: expected a folder with config.json, got .*; check the folder")


def test_files_that_are_damaged(llama):
    folder, _, _ = llama
    weights, config = folder / "model.safetensors", folder / "config.json"
    whole = weights.read_bytes()
    for content in (whole[:-7], whole[:100], b"", b"not a model" * 100):
        weights.write_bytes(content)
        refused(folder, "weights: expected a whole safetensors file, got .*; download it again")
    weights.unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text("{}")
    refused(folder, "model.safetensors.index.json: expected a weight_map, got null")
    index.write_text('{"weight_map":')
    refused(folder, "model.safetensors.index.json: expected a JSON object")
    for text in ("{", "[1]"):
        config.write_text(text)
        refused(folder, "config.json: expected a JSON object, got .*; download or write it again")


def test_a_folder_of_two_models(llama, tmp_path):
    folder, config, params = llama
    other = jax.tree.map(lambda leaf: leaf + 1, params)
    checkpoints.save(tmp_path / "other", config, other, shard_bytes=60_000)
    for path in (tmp_path / "other").glob("model*"):
        path.rename(folder / path.name)
    refused(folder, r"weights: expected model.safetensors, or shards with .*, got both in .*; move")
    (folder / "model.safetensors").unlink()
    assert_same(other, checkpoints.load(folder)[1])


def test_indices_that_do_not_fit(llama, tmp_path):
    folder, config, params = llama
    checkpoints.save(folder, config, params, shard_bytes=60_000, overwrite=True)
    index = folder / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    whole = content["weight_map"]
    name = "model.norm.weight"
    for wrong in (f"../{whole[name]}", f"/etc/{whole[name]}", "weights.pkl", 7):
        index.write_text(json.dumps({"weight_map": {**whole, name: wrong}}))
        refused(folder, r"weight_map in .*: expected names of .safetensors files in its folder")
    another = max(whole.values())
    index.write_text(json.dumps({"weight_map": {**whole, name: another}}))
    refused(folder, f"tensors of .*: expected those that .* names, got others, such as '{name}'")


def test_one_tensor_under_two_names(llama):
    folder, _, _ = llama
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file({**tensors, "norm.weight": tensors["model.norm.weight"] + 1}, path)
    refused(folder, "tensor norm.weight: expected one of that name, got another in the same model")


def test_a_size_that_no_memory_holds(llama):
    """What a configuration asks for is compared with the file before room is made for it."""
    folder, _, _ = llama
    content = json.loads((folder / "config.json").read_text())
    for field in (
        "num_hidden_layers",
        "vocab_size",
        "intermediate_size",
        "max_position_embeddings",
    ):
        (folder / "config.json").write_text(json.dumps({**content, field: 2**31 - 1}))
        if field == "max_position_embeddings":
            assert checkpoints.load(folder)[0].context == 2**31 - 1
        else:
            refused(folder, "expected (a tensor|shape|at most 65536)")


def test_tensors_that_do_not_fit(llama):
    folder, _, _ = llama
    path = folder / "model.safetensors"
    tensors = load_file(path)

    def store(changes):
        kept = {**tensors, **changes}
        save_file({name: array for name, array in kept.items() if array is not None}, path)

    name = "model.layers.1.self_attn.k_proj.weight"
    store({name: None})
    refused(folder, "weights: expected a tensor layers.1.self_attn.k_proj.weight, got none of")
    store({name: tensors[name][:16].copy()})
    refused(
        folder, r"tensor layers.1.self_attn.k_proj.weight: expected shape \[32, 64\] .* \[16, 64\]"
    )
    store({name: tensors[name].astype(np.int32)})
    refused(folder, f"{name}: expected numbers of type F32, F16, BF16, got I32; this is not")
    broken = tensors[name].copy()
    broken[3, 5] = np.nan
    store({name: broken})
    refused(
        folder, f"tensor {name.removeprefix('model.')}: expected finite numbers, got NaN or inf"
    )
    store({"lm_head.weight": None})
    refused(folder, r"weights: expected a tensor lm_head.weight, got none of that name")
    store({"model.layers.0.self_attn.q_proj.bias": np.zeros(64, np.float32)})
    refused(
        folder, r"expected only tensors of a llama decoder, got 1 more: layers.0.self_attn.q_pr"
    )
    store({})
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, "vocab_size": 60}))
    refused(
        folder,
        r"tensor embed_tokens.weight: expected shape \[60, 64\] by .*, got \[61, 64\]; use the",
    )


def test_a_model_is_not_replaced_by_accident(llama, monkeypatch):
    folder, config, params = llama
    before = (folder / "model.safetensors").read_bytes()
    other = jax.tree.map(lambda leaf: jnp.asarray(np.zeros(leaf.shape, leaf.dtype)), params)
    with pytest.raises(ValueError, match=r"folder: expected one without a model, got .* overwr"):
        checkpoints.save(folder, config, other)
    with pytest.raises(ValueError, match=r"folder: expected a folder, got .*, a file; choose"):
        checkpoints.save(folder / "config.json", config, other)

    def fail(arrays, path, metadata):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("safetensors.numpy.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        checkpoints.save(folder, config, other, overwrite=True)
    assert (folder / "model.safetensors").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    monkeypatch.undo()
    checkpoints.save(folder, config, other, overwrite=True)
    assert_same(other, checkpoints.load(folder)[1])


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("gpt2", {"family": "rwkv"}, "family: expected one of gpt2, llama, gemma2, got 'rwkv'"),
        ("gpt2", {"head_dim": 8}, "head_dim of a gpt2 checkpoint: expected 16, .* got 8"),
        ("llama", {"query_scale": 1.0}, "query_scale of a llama checkpoint"),
        ("llama", {"window": 8}, "window of a llama checkpoint: expected None, .* got 8"),
        ("llama", {"bias": True}, "bias of a llama checkpoint: expected False"),
        ("gemma2", {"query_scale": 0.3}, "query_scale of a gemma2 checkpoint"),
        ("gemma2", {"post_norms": False}, "post_norms of a gemma2 checkpoint: expected True"),
    ],
)
def test_what_a_format_cannot_say(family, changes, message, tmp_path):
    config = dataclasses.replace(CONFIGS[family], **changes)
    with pytest.raises(ValueError, match=message):
        checkpoints.save(tmp_path / "model", config, {})
    assert not (tmp_path / "model").exists()


def test_parameters_of_another_decoder(tmp_path):
    config = CONFIGS["llama"]
    params = random_params(config)
    with pytest.raises(ValueError, match=r"parameter head: expected none, got shape \[64, 61\]"):
        checkpoints.save(tmp_path, dataclasses.replace(config, tied=True), params)
    with pytest.raises(
        ValueError, match=r"embed/tokens: expected shape \[60, 64\], got shape \[61"
    ):
        checkpoints.save(tmp_path, dataclasses.replace(config, vocab_size=60), params)
    assert not list(tmp_path.iterdir())
