"""What the tests of checkpoints share: small decoders, random parameters, and what is refused."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcollapse.lm import architectures, checkpoints
from jaxcollapse.lm.decoder import decoder

SMALL = {"vocab_size": 61, "context": 32}
CONFIGS = {
    "gpt2": architectures.config("tiny-gpt2", **SMALL, mlp_width=40),
    "llama": architectures.config(
        "tiny-llama", **SMALL, kv_heads=2, rope_base=700.0, norm_eps=3e-6
    ),
    # Queries scaled by neither the head's width nor the model's over the heads.
    "gemma2": architectures.config("tiny-gemma2", **SMALL, window=5, query_scale=24**-0.5),
}


@functools.cache
def random_params(config):
    shapes = jax.eval_shape(partial(decoder.init, config), jax.random.key(0))
    numbers = np.random.default_rng(0)
    dtype = jnp.dtype(config.param_dtype)
    return jax.tree.map(
        lambda leaf: jnp.asarray(0.3 * numbers.normal(size=leaf.shape), dtype), shapes
    )


def assert_same(params, others):
    assert jax.tree.structure(params) == jax.tree.structure(others)
    for one, other in zip(jax.tree.leaves(params), jax.tree.leaves(others), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def refused(folder, message):
    with pytest.raises(ValueError, match=message) as error:
        checkpoints.load(folder)
    assert "\n" not in str(error.value)


def greedy(config, params, prompt, count):
    """The prompt's tokens and ``count`` more, each the likeliest."""
    prompt = np.asarray(prompt, np.int32)
    steps = len(prompt) + count - 1

    def step(carry, position):
        cache, token = carry
        logits, cache = decoder.decode(config, params, cache, token, position[None])
        likeliest = jnp.argmax(logits, axis=-1).astype(jnp.int32)
        following = jnp.minimum(position + 1, len(prompt) - 1)
        given = jnp.asarray(prompt)[following][None]
        token = jnp.where(position + 1 < len(prompt), given, likeliest)
        return (cache, token), token[0]

    cache = decoder.empty_cache(config, 1, steps)
    start = (cache, jnp.asarray(prompt[:1]))
    written = jax.jit(lambda: jax.lax.scan(step, start, jnp.arange(steps, dtype=np.int32))[1])()
    return [int(prompt[0]), *np.asarray(written).tolist()]
