"""Families of decoders by name, and one from elsewhere: a file that registers itself."""

import dataclasses
import importlib.util
import itertools
import json
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from checkpoint_cases import assert_same

from jaxcollapse import plugins
from jaxcollapse.cli import main as cli
from jaxcollapse.lm import architectures, checkpoints
from jaxcollapse.lm.checkpoints import hub_config, hub_names
from jaxcollapse.lm.decoder import decoder

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "qwen2_architecture.py"
TOKENS = np.random.default_rng(0).integers(0, 61, (2, 24)).astype(np.int32)


@pytest.fixture
def registry(monkeypatch):
    """A registry that forgets, after a test, what was registered."""
    known = {architecture.name: architecture for architecture in architectures.known()}
    fresh = plugins.Named("architecture", architectures.ARCHITECTURES.group, known)
    monkeypatch.setattr(architectures, "ARCHITECTURES", fresh)
    monkeypatch.setattr(architectures, "ADDED", dict(architectures.ADDED))


@pytest.fixture
def qwen2(registry):
    spec = importlib.util.spec_from_file_location("qwen2_architecture", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ARCHITECTURE


def logits_of(config, params):
    return np.asarray(jax.jit(partial(decoder.apply, config))(params, TOKENS))


def torch_logits(model):
    torch = pytest.importorskip("torch", reason="PyTorch, the reference, is not installed")
    with torch.no_grad():
        return model(torch.tensor(TOKENS, dtype=torch.long)).logits.numpy()


def torch_qwen2(tied):
    """A tiny model with random weights, biases and norms too."""
    torch = pytest.importorskip("torch", reason="PyTorch, the reference, is not installed")
    transformers = pytest.importorskip("transformers", reason="the extra lm is not installed")
    config = transformers.Qwen2Config(
        vocab_size=61,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
        tie_word_embeddings=tied,
        bos_token_id=1,
        eos_token_id=2,
        attn_implementation="eager",
    )
    model = transformers.Qwen2ForCausalLM(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            norm = name.endswith("norm.weight")
            spread = 0.3 if weight.ndim == 1 else 1.5 / weight.shape[1] ** 0.5
            weight.copy_(spread * noise + (1.0 if norm else 0.0))
    return model


# One from elsewhere -------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False])
def test_an_architecture_in_one_file_computes_what_transformers_does(tied, qwen2, tmp_path):
    model = torch_qwen2(tied)
    model.save_pretrained(tmp_path / "theirs")
    expected = torch_logits(model)
    config, params = checkpoints.load(tmp_path / "theirs")
    assert (config.family, config.bias, config.tied) == ("qwen2", "qkv", tied)
    assert (config.norm_eps, config.rope_base, config.mlp) == (1e-6, 500.0, "swiglu")
    assert {path for path in hub_names.leaves_of(params) if path.endswith("bias")} == {
        "layers/qkv/bias"
    }
    logits = logits_of(config, params)
    assert logits.std() > 0.3
    np.testing.assert_allclose(logits, expected, atol=5e-5, rtol=0)
    # The biases of queries, of keys and of values all matter.
    bias = params["layers"]["qkv"]["bias"]
    parts = np.cumsum([0, 32, 16, 16])
    for first, last in itertools.pairwise(parts):
        less = bias.at[:, first:last].set(0.0)
        layers = {**params["layers"], "qkv": {**params["layers"]["qkv"], "bias": less}}
        assert np.abs(logits_of(config, {**params, "layers": layers}) - expected).max() > 1e-2

    checkpoints.save(tmp_path / "ours", config, params, bos=1, eos=2)
    again, others = checkpoints.load(tmp_path / "ours")
    assert again == config
    assert_same(params, others)
    transformers = pytest.importorskip("transformers", reason="the extra lm is not installed")
    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "ours", attn_implementation="eager", dtype="float32", output_loading_info=True
    )
    assert type(theirs) is type(model)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    np.testing.assert_array_equal(torch_logits(theirs), expected)


def test_its_configurations_have_names(qwen2):
    assert list(architectures.configs())[-3:] == ["qwen2-0.5b", "tiny-qwen2", "micro"]
    assert decoder.num_parameters(architectures.config("qwen2-0.5b")) == 494_032_768
    assert architectures.published("qwen2-0.5b") == "Qwen/Qwen2-0.5B"
    assert architectures.published("tiny-qwen2") is None
    args = cli.parse(["lm", "pretrain", "--out", "run", "--model", "tiny-qwen2"])
    assert args.model == ("tiny-qwen2",)
    for config in qwen2.configs.values():
        content = json.loads(json.dumps(hub_config.from_config(config, None, None)))
        assert hub_config.to_config(content) == config


def test_a_package_brings_one(registry, tmp_path, monkeypatch):
    """An installed package's entry point is enough, and is loaded when it is asked for."""
    (tmp_path / EXAMPLE.name).write_text(EXAMPLE.read_text())
    installed = tmp_path / "some_package-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: some-package\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(
        "[jaxcollapse.architectures]\nqwen2 = qwen2_architecture:ARCHITECTURE\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, EXAMPLE.stem, raising=False)
    assert "qwen2" in architectures.ARCHITECTURES
    assert architectures.config("tiny-qwen2").bias == "qkv"
    args = cli.parse(["lm", "pretrain", "--out", "run", "--model", "tiny-qwen2"])
    assert args.model == ("tiny-qwen2",)


def test_what_its_format_cannot_say(qwen2, tmp_path):
    config = architectures.config("tiny-qwen2")
    content = hub_config.from_config(config, None, None)
    with pytest.raises(ValueError, match=r"use_sliding_window in config.json: expected false"):
        hub_config.to_config({**content, "use_sliding_window": True})
    for bias in (False, True):
        with pytest.raises(ValueError, match="bias of a qwen2 checkpoint: expected 'qkv'"):
            hub_config.from_config(dataclasses.replace(config, bias=bias), None, None)


def test_without_its_file_it_is_unknown(registry):
    with pytest.raises(ValueError, match=r"model_type in config.json: expected one of gpt2, llama"):
        hub_config.to_config({"model_type": "qwen2"})
    with pytest.raises(ValueError, match="architecture: expected one of gpt2, llama, gemma2, got"):
        architectures.find("qwen2")
    with pytest.raises(ValueError, match="model: expected one of gpt2-9m"):
        architectures.config("tiny-qwen2")


# Registering --------------------------------------------------------------------------------


def test_what_is_registered_again_is_replaced(qwen2):
    architectures.register(qwen2._replace(configs={"other": qwen2.configs["tiny-qwen2"]}))
    assert "other" in architectures.configs()
    assert "tiny-qwen2" not in architectures.configs()


def test_names_that_are_taken(qwen2):
    with pytest.raises(ValueError, match="expected one that is not built in, got 'llama'"):
        architectures.register(architectures.find("llama"))
    tiny = architectures.config("tiny-qwen2")
    for name in ("tiny-llama", "micro"):
        with pytest.raises(ValueError, match=f"configurations of qwen2: .* got {name}; choose"):
            architectures.register(qwen2._replace(configs={name: tiny}))
    with pytest.raises(ValueError, match=r"family of mine: expected one of qwen2, got 'llama'"):
        architectures.register(qwen2._replace(configs={"mine": architectures.config("micro")}))
    with pytest.raises(ValueError, match="name of a configuration: expected names that no"):
        architectures.add_config("tiny-qwen2", tiny)


def test_a_configuration_of_ones_own(registry):
    architectures.add_config("wide", architectures.config("tiny-llama", width=128))
    assert architectures.config("wide", layers=1).width == 128


# Those that are built in --------------------------------------------------------------------


@pytest.mark.parametrize("name", architectures.ARCHITECTURES.built_in)
def test_every_tensor_has_a_name(name):
    architecture = architectures.find(name)
    assert architecture.name == name
    assert set(architecture.published) <= set(architecture.configs)
    for config in architecture.configs.values():
        assert config.family == name
        names = [piece.name for _, piece in hub_names.pieces(config)]
        assert len(set(names)) == len(names)
        assert set(architecture.tensors) == set(hub_names.shapes_of(config)) - {"head"}
