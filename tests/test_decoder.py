"""The decoder against the PyTorch models of transformers, and against itself in other forms."""

import dataclasses
import functools
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcollapse.lm import architectures, checkpoints
from jaxcollapse.lm.decoder import decoder

FAMILIES = ("gpt2", "llama", "gemma2")
TOLERANCE = 5e-5  # of logits whose spread is about 3
VOCAB, LENGTH, RING = 97, 24, 24
WINDOW = 5


class Reference(NamedTuple):
    """A model as we load it, tokens ``[2, T]`` and PyTorch's logits ``[2, T, V]`` of them."""

    config: decoder.Config
    params: Any
    tokens: np.ndarray
    logits: np.ndarray


def torch_model(family):
    """A tiny model with random weights, in which everything that can matter does."""
    transformers = pytest.importorskip("transformers", reason="the extra lm is not installed")
    sizes = {
        "vocab_size": VOCAB,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
        "bos_token_id": 1,
        "eos_token_id": 2,
        "attn_implementation": "eager",
    }
    if family == "gpt2":
        config = transformers.GPT2Config(
            vocab_size=VOCAB,
            n_embd=32,
            n_inner=48,
            n_layer=3,
            n_head=4,
            n_positions=64,
            bos_token_id=1,
            eos_token_id=2,
            attn_implementation="eager",
        )
    elif family == "llama":
        config = transformers.LlamaConfig(**sizes)
    else:
        config = transformers.Gemma2Config(
            **sizes,
            head_dim=16,
            query_pre_attn_scalar=24,
            sliding_window=WINDOW,
            attn_logit_softcapping=2.0,
            final_logit_softcapping=5.0,
        )
    torch = pytest.importorskip("torch", reason="PyTorch, the reference, is not installed")
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.ndim == 1:
                start = 0.0 if name.endswith("bias") or family == "gemma2" else 1.0
                weight.copy_(start + 0.3 * noise)
            elif "embed" in name or "wte" in name or "wpe" in name:
                weight.copy_(0.5 * noise)
            else:
                inputs = weight.shape[0 if family == "gpt2" else 1]
                weight.copy_(1.5 * noise / inputs**0.5)
    return model


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    torch = pytest.importorskip("torch", reason="PyTorch, the reference, is not installed")
    tokens = np.random.default_rng(0).integers(0, VOCAB, (2, LENGTH)).astype(np.int32)
    found = {}
    for family in FAMILIES:
        folder = tmp_path_factory.mktemp(family)
        model = torch_model(family)
        model.save_pretrained(folder)
        with torch.no_grad():
            logits = model(torch.tensor(tokens, dtype=torch.long)).logits.numpy()
        found[family] = Reference(*checkpoints.load(folder), tokens, logits)
    return found


@pytest.fixture(params=FAMILIES)
def reference(request, references):
    return references[request.param]


# For what is to be wrong anyway: XLA takes half the time for such a program.
UNOPTIMISED = (("xla_backend_optimization_level", 0),)


@functools.cache
def compiled(config, options=()):
    return jax.jit(partial(decoder.apply, config), compiler_options=dict(options))


@functools.cache
def compiled_step(config):
    return jax.jit(partial(decoder.decode, config))


def forward(config, params, tokens, *others):
    return np.asarray(compiled(config)(params, tokens, *others))


def cached(config, params, tokens, positions, ring):
    """Logits ``[B, S, V]`` of decoding ``[B, S]`` tokens one by one."""
    cache = decoder.empty_cache(config, tokens.shape[0], ring)
    found = []
    for now in zip(tokens.T, positions.T, strict=True):
        logits, cache = compiled_step(config)(params, cache, *now)
        found.append(np.asarray(logits))
    return np.stack(found, axis=1)


def difference(logits, expected):
    return float(np.abs(logits - expected).max())


def assert_parity(logits, expected):
    assert logits.shape == expected.shape
    assert difference(logits, expected) <= TOLERANCE


# Against PyTorch ----------------------------------------------------------------------------


def test_the_references_are_not_trivial(reference):
    assert 0.5 < reference.logits.std() < 20
    # Logits depend on what came before, not on the token alone.
    last = forward(reference.config, reference.params, reference.tokens[:, -1:])
    assert difference(last[:, 0], reference.logits[:, -1]) > 0.5


def test_forward(reference):
    config, params, tokens, expected = reference
    assert_parity(forward(config, params, tokens), expected)


@pytest.mark.parametrize("ring", [LENGTH, LENGTH + 5])
def test_decoding_with_a_cache(reference, ring):
    config, params, tokens, expected = reference
    positions = np.tile(np.arange(LENGTH, dtype=np.int32), (2, 1))
    assert_parity(cached(config, params, tokens, positions, ring), expected)


@pytest.mark.parametrize("ring", [LENGTH, LENGTH + 5])
def test_a_second_document_in_a_ring_that_has_wrapped(reference, ring):
    """One slot begins its second document while the other is in its first."""
    config, params, tokens, expected = reference
    both = tokens[::-1]
    short = np.arange(10, dtype=np.int32)
    whole = np.arange(LENGTH, dtype=np.int32)
    documents = np.stack([np.r_[tokens[0, :10], both[0]], np.r_[tokens[1], both[1, :10]]])
    positions = np.stack([np.r_[short, whole], np.r_[whole, short]])
    answer = np.stack(
        [
            np.concatenate([expected[0, :10], expected[1]]),
            np.concatenate([expected[1], expected[0, :10]]),
        ]
    )
    assert_parity(cached(config, params, documents, positions, ring), answer)


# What parity would notice -------------------------------------------------------------------


def changed(params, path, change):
    """The parameters with ``change`` applied to one of them, or to all below a name."""
    name, _, rest = path.partition("/")
    below = params[name]
    new = changed(below, rest, change) if rest else jax.tree.map(change, below)
    return {**params, name: new}


MUTATIONS = {
    "attention soft-cap": ("gemma2", {"attention_softcap": None}),
    "attention soft-cap of another size": ("gemma2", {"attention_softcap": 2.1}),
    "final soft-cap": ("gemma2", {"final_softcap": None}),
    "final soft-cap of another size": ("gemma2", {"final_softcap": 5.1}),
    "no window": ("gemma2", {"window": None}),
    "window one longer": ("gemma2", {"window": WINDOW + 1}),
    "window one shorter": ("gemma2", {"window": WINDOW - 1}),
    "query scale": ("gemma2", {"query_scale": None}),
    "norm without the 1": ("gemma2", {"norm": "rms"}),
    "norm with a 1": ("llama", {"norm": "rms+1"}),
    "post-norms": ("gemma2", {"post_norms": False}),
    "post-norm of attention": ("gemma2", "layers/attention_post_norm/scale"),
    "post-norm of the feed-forward layer": ("gemma2", "layers/mlp_post_norm/scale"),
    "base of rotary positions in Llama": ("llama", {"rope_base": 10_000.0}),
    "base of rotary positions in Gemma 2": ("gemma2", {"rope_base": 10_000.0}),
    "scale of embeddings": ("gemma2", {"scale_embeddings": False}),
    "gate of Gemma 2": ("gemma2", {"mlp": "swiglu"}),
    "gate of Llama": ("llama", {"mlp": "geglu"}),
    "learned positions": ("gpt2", "embed/positions"),
    "biases of the norms": ("gpt2", "layers/mlp_norm/bias"),
    "biases of attention": ("gpt2", "layers/qkv/bias"),
    "biases of the feed-forward layer": ("gpt2", "layers/up/bias"),
}


def mutated(reference, change):
    """Configuration and parameters with some fields changed, or with a parameter zeroed."""
    if isinstance(change, str):
        return reference.config, changed(reference.params, change, jnp.zeros_like)
    return dataclasses.replace(reference.config, **change), reference.params


@pytest.mark.parametrize("name", MUTATIONS)
def test_parity_notices(references, name):
    family, change = MUTATIONS[name]
    reference = references[family]
    config, params = mutated(reference, change)
    logits = np.asarray(compiled(config, UNOPTIMISED)(params, reference.tokens))
    with pytest.raises(AssertionError):
        assert_parity(logits, reference.logits)


@pytest.mark.parametrize("window", [None, WINDOW - 1, WINDOW + 1])
def test_parity_of_decoding_notices_a_window(references, window):
    config, params, tokens, expected = references["gemma2"]
    config = dataclasses.replace(config, window=window)
    positions = np.tile(np.arange(LENGTH, dtype=np.int32), (2, 1))
    with pytest.raises(AssertionError):
        assert_parity(cached(config, params, tokens, positions, RING), expected)


class NoMean(nn.Module):
    """LayerNorm that does not remove the mean."""

    config: decoder.Config

    @nn.compact
    def __call__(self, x):
        axes = tuple(range(x.ndim - 1))
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
        scale, bias = jnp.expand_dims(scale, axes), jnp.expand_dims(bias, axes)
        mean_square = jnp.mean(x * x, axis=-1, keepdims=True)
        return x * jax.lax.rsqrt(mean_square + self.config.norm_eps) * scale + bias


def test_parity_notices_the_mean_of_layer_norm(references, monkeypatch):
    config, params, tokens, expected = references["gpt2"]
    monkeypatch.setattr(decoder, "Norm", NoMean)
    logits = jax.jit(partial(decoder.apply, config))(params, tokens)
    with pytest.raises(AssertionError):
        assert_parity(np.asarray(logits), expected)


# Against itself -----------------------------------------------------------------------------


def random_params(config, seed=0):
    """Parameters in which norms and biases are random too, made without compiling anything."""
    shapes = jax.eval_shape(partial(decoder.init, config), jax.random.key(0))
    numbers = np.random.default_rng(seed)

    def draw(path, leaf):
        start = 1.0 if path[-1].key == "scale" and config.norm != "rms+1" else 0.0
        return jnp.asarray(start + 0.1 * numbers.normal(size=leaf.shape), leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


TINY = [f"tiny-{family}" for family in FAMILIES]


def some_tokens(config, batch, length, seed=0):
    draw = np.random.default_rng(seed).integers(0, config.vocab_size, (batch, length))
    return draw.astype(np.int32)


@pytest.mark.parametrize("name", TINY)
def test_documents_side_by_side_are_as_alone(name):
    config = architectures.config(name, context=32, vocab_size=64)
    params = random_params(config)
    alone = some_tokens(config, 3, 9)
    tokens = alone.reshape(1, 27)
    segments = np.repeat(np.arange(1, 4, dtype=np.int32), 9)[None]
    positions = np.tile(np.arange(9, dtype=np.int32), 3)[None]
    packed = forward(config, params, tokens, segments, positions)
    expected = forward(config, params, alone).reshape(packed.shape)
    assert difference(packed, expected) <= TOLERANCE
    together = forward(config, params, tokens, np.ones_like(segments), positions)
    assert difference(together[:, 9:], expected[:, 9:]) > 0.1
    # Rotary positions are relative; learned ones have to begin again.
    onward = forward(config, params, tokens, segments, np.arange(27, dtype=np.int32)[None])
    moved = difference(onward, expected)
    assert moved > 0.1 if config.rope_base is None else moved <= TOLERANCE


@pytest.mark.parametrize("name", TINY)
def test_bfloat16_is_near(name):
    config = architectures.config(name, context=32, vocab_size=64)
    params = random_params(config)
    tokens = some_tokens(config, 2, 32)
    exact = forward(config, params, tokens)
    rough = dataclasses.replace(config, dtype="bfloat16", param_dtype="bfloat16")
    halves = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf).astype(jnp.bfloat16)), params)
    shapes = jax.eval_shape(partial(decoder.init, rough), jax.random.key(0))
    assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(shapes))
    answers = [forward(rough, halves, tokens)]
    if name == "tiny-gemma2":
        positions = np.tile(np.arange(32, dtype=np.int32), (2, 1))
        answers.append(cached(rough, halves, tokens, positions, 32))
        answers.append(forward(dataclasses.replace(config, dtype="bfloat16"), params, tokens))
    for logits in answers:
        assert logits.dtype == np.float32
        # Eight bits: relative to the spread of the logits.
        assert 0 < np.sqrt(np.mean((logits - exact) ** 2)) < 0.03 * exact.std()


def test_remat_changes_no_gradient():
    config = architectures.config("tiny-llama", context=16, vocab_size=64, layers=3)
    params = random_params(config)
    tokens = some_tokens(config, 2, 16)

    def gradient(config):
        def loss(params):
            return jnp.mean(decoder.apply(config, params, tokens) ** 2)

        return jax.jit(jax.grad(loss))(params)

    kept = gradient(config)
    again = gradient(dataclasses.replace(config, remat=True))
    largest = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(kept))
    assert largest > 0.01
    for one, other in zip(jax.tree.leaves(kept), jax.tree.leaves(again), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * largest)


def test_each_head_of_a_group_has_the_groups_keys():
    """Four heads over two keys and values are those of which each is there twice."""
    config = architectures.config("tiny-llama", layers=1, kv_heads=2, context=16, vocab_size=64)
    params = random_params(config)
    tokens = some_tokens(config, 2, 16)
    many = dataclasses.replace(config, kv_heads=4)
    dim = config.head_dim

    def spread(kernel, order):
        q, k, v = np.split(np.asarray(kernel), [4 * dim, 6 * dim], axis=-1)
        k, v = (x.reshape(*x.shape[:-1], 2, dim)[..., order, :] for x in (k, v))
        flat = [x.reshape(*x.shape[:-2], 4 * dim) for x in (k, v)]
        return jnp.asarray(np.concatenate([q, *flat], axis=-1))

    grouped = forward(config, params, tokens)
    right = changed(params, "layers/qkv/kernel", partial(spread, order=[0, 0, 1, 1]))
    wrong = changed(params, "layers/qkv/kernel", partial(spread, order=[0, 1, 0, 1]))
    assert difference(forward(many, right, tokens), grouped) <= TOLERANCE
    assert difference(forward(many, wrong, tokens), grouped) > 100 * TOLERANCE


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("gpt2-9m", 8_890_880),
        ("llama2-12m", 12_488_960),
        ("llama2-42m", 41_755_136),
        ("llama2-126m", 125_553_408),
    ],
)
def test_number_of_parameters(name, count):
    assert decoder.num_parameters(architectures.config(name)) == count


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kv_heads": 3}, "kv_heads: expected a divisor of the 4 heads, got 3"),
        ({"head_dim": 15}, "head_dim: expected an even number, got 15"),
        ({"norm": "batch"}, "norm: expected one of layer, rms, rms"),
        ({"bias": "out"}, "bias: expected one of False, True, qkv, got 'out'"),
        ({"layers": 0}, "layers: expected at least 1, got 0"),
    ],
)
def test_refusals(changes, message):
    with pytest.raises(ValueError, match=message):
        architectures.config("tiny-llama", **changes)
    with pytest.raises(ValueError, match="model: expected one of gpt2-9m"):
        architectures.config("gpt5")
