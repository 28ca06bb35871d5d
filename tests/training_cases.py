"""What the tests of training share: a decoder of few parameters, documents, rows, programs."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse.lm import architectures
from jaxcollapse.lm.decoder import decoder, training
from jaxcollapse.lm.decoder.packing import Rows
from jaxcollapse.lm.decoder.training import Recipe

VOCAB, WIDTH = 16, 12
CONFIG = architectures.llama.config(8, 1, 2, 12, kv_heads=1, vocab_size=VOCAB, context=WIDTH)
STEPS = 4
# Two steps of warm-up, the top twice, then half of the cosine. The gradients are clipped.
RECIPE = Recipe(learning_rate=1e-2, warmup=0.4, batch_size=8, clip=0.2, eps=1e-4)
RATES = (0.5e-2, 1e-2, 1e-2, 0.55e-2)
# XLA takes half the time for such a program.
UNOPTIMISED = {"xla_backend_optimization_level": 0}


def tiny_gemma2(**others):
    """Everything that Gemma 2 has, with a window that its rows are longer than."""
    options = {"head_dim": 4, "mlp_width": 12, "vocab_size": VOCAB, "context": WIDTH, "window": 4}
    return architectures.gemma2.config(8, 2, 2, 1, **{**options, **others})


def random_params(config, spread=0.5):
    rng = np.random.default_rng(0)
    shapes = decoder.abstract_params(config)
    return jax.tree.map(lambda x: jnp.asarray(spread * rng.normal(size=x.shape), x.dtype), shapes)


def documents(count, seed=0, first=0):
    """Lists of 1 to 12 tokens; of those of one, nothing is predicted."""
    rng = np.random.default_rng(seed)
    return [rng.integers(first, VOCAB, n).astype(np.int32) for n in rng.integers(1, 13, count)]


def rows_of(some, count):
    """Documents one behind the other in ``count`` rows."""
    tokens, segments = np.zeros((2, count, WIDTH), np.int32)
    row = filled = 0
    for number, document in enumerate(some, start=1):
        if filled + len(document) > WIDTH:
            row, filled = row + 1, 0
        place = slice(filled, filled + len(document))
        tokens[row, place], segments[row, place] = document, number
        filled += len(document)
    return Rows(tokens, segments)


BATCHES = [documents(6, seed) for seed in range(1, STEPS + 1)]


@functools.cache
def compiled_step(config, recipe):
    return jax.jit(partial(training.train_step, config, recipe), compiler_options=UNOPTIMISED)


def begin(config, recipe, params, key=None):
    start = jax.jit(partial(training.start, config, recipe), compiler_options=UNOPTIMISED)
    return start(params, key)


@functools.cache
def compiled_loss(config):
    return jax.jit(partial(training.loss_sum, config))


def leaves(params):
    """Arrays by path."""
    flat, _ = jax.tree_util.tree_flatten_with_path(params)
    return {"/".join(key.key for key in path): np.asarray(leaf) for path, leaf in flat}


def assert_close(params, others, atol, rtol=0.0):
    params, others = leaves(params), leaves(others)
    assert params.keys() == others.keys()
    for name, leaf in params.items():
        np.testing.assert_allclose(leaf, others[name], atol=atol, rtol=rtol, err_msg=name)
