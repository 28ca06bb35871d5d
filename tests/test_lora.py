"""Low-rank adapters: what they change, what they leave alone, and their gradient."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training_cases import (
    BATCHES,
    CONFIG,
    RECIPE,
    STEPS,
    UNOPTIMISED,
    VOCAB,
    WIDTH,
    assert_close,
    begin,
    compiled_step,
    leaves,
    random_params,
    rows_of,
    tiny_gemma2,
)

from jaxcollapse.lm import architectures
from jaxcollapse.lm.decoder import decoder, lora, training
from jaxcollapse.lm.decoder.training import Recipe

RANK, ALPHA = 2, 6.0
LORA = dataclasses.replace(RECIPE, lora_rank=RANK, lora_alpha=ALPHA)
GPT2 = architectures.gpt2.config(8, 2, 2, vocab_size=VOCAB, context=WIDTH)  # with biases
GEMMA2 = tiny_gemma2()
ROWS = rows_of(BATCHES[0], RECIPE.batch_size)


def random_adapters(config, spread=0.3, targets=None):
    fresh = lora.init(config, jax.random.key(1), RANK, targets)
    rng = np.random.default_rng(2)
    return jax.tree.map(lambda x: jnp.asarray(spread * rng.normal(size=x.shape), x.dtype), fresh)


def logits(config):
    apply = partial(decoder.apply, config)
    return jax.jit(
        lambda params, adapters: apply(params, ROWS.tokens, adapters=adapters),
        compiler_options=UNOPTIMISED,
    )


def by_hand(params, adapters):
    """W + (alpha / R) A B, a layer at a time."""
    layers = {name: dict(part) for name, part in params["layers"].items()}
    for name, adapter in adapters["layers"].items():
        changes = [a @ b * np.float32(ALPHA / RANK) for a, b in zip(*adapter.values(), strict=True)]
        layers[name]["kernel"] = layers[name]["kernel"] + jnp.stack(changes)
    return {**params, "layers": layers}


@pytest.mark.parametrize("config", [GPT2, GEMMA2], ids=["gpt2", "gemma2"])
def test_fresh_adapters_change_nothing_and_merged_ones_what_they_do(config):
    params, apply = random_params(config), logits(config)
    recipe = dataclasses.replace(LORA, lora_rank=RANK)
    fresh = begin(config, recipe, params, jax.random.key(1))
    alone = apply(params, None)
    first = lora.scaled(fresh.params, ALPHA / RANK)
    np.testing.assert_array_equal(apply(params, first), alone)
    # a is as large as said, b is 0.
    spreads = {name: leaf.std() for name, leaf in leaves(fresh.params).items()}
    assert 0.25 < spreads["layers/qkv/a"] < 0.5
    assert spreads["layers/qkv/b"] == 0

    state = fresh._replace(params=random_adapters(config))
    found = apply(params, lora.scaled(state.params, ALPHA / RANK))
    merged = training.finished(config, recipe, state, params)
    np.testing.assert_allclose(apply(merged, None), found, atol=2e-5)
    assert_close(merged, by_hand(params, state.params), atol=1e-6)
    assert np.abs(found - alone).max() > 0.1


def test_their_gradient_is_that_of_low_rank_changes_of_the_kernels():
    params, adapters = random_params(GEMMA2), random_adapters(GEMMA2)

    @partial(jax.jit, compiler_options=UNOPTIMISED)
    def slopes(adapters):
        def loss(adapters):
            scaled = lora.scaled(adapters, ALPHA / RANK)
            return training.loss_sum(GEMMA2, params, ROWS, adapters=scaled)[0]

        def hand_made(adapters):
            return training.loss_sum(GEMMA2, by_hand(params, adapters), ROWS)[0]

        return jax.grad(loss)(adapters), jax.grad(hand_made)(adapters)

    found, expected = slopes(adapters)
    assert_close(found, expected, atol=2e-4, rtol=1e-4)
    assert min(np.abs(leaf).max() for leaf in leaves(expected).values()) > 0.1


def test_steps_change_adapters_alone_and_lower_the_loss():
    params = random_params(GEMMA2)
    recipe = dataclasses.replace(LORA, lora_targets=("qkv", "down"), schedule="constant")
    state = begin(GEMMA2, recipe, params, jax.random.key(1))
    step, losses = compiled_step(GEMMA2, recipe), []
    for _ in range(6):
        state = step(state, ROWS, np.int32(STEPS), params)
        losses.append(float(state.loss))
    assert losses[-1] < losses[0] - 0.05
    names = {f"layers/{name}/{side}" for name in recipe.lora_targets for side in "ab"}
    assert leaves(state.params).keys() == names
    sizes = [np.size(leaf) for leaf in jax.tree.leaves(state.params)]
    assert sum(map(np.size, jax.tree.leaves(state.moments))) == 2 * sum(sizes) + 1
    found = leaves(training.finished(GEMMA2, recipe, state, params))
    for name, leaf in leaves(params).items():
        changed = name in ("layers/qkv/kernel", "layers/down/kernel")
        assert (np.abs(found[name] - leaf).max() > 1e-3) == changed
        assert changed or (found[name] == leaf).all()


def test_both_sides_decay():
    """A step with nothing to learn; a has a gradient of 0 in a first one anyway."""
    adapters = random_adapters(CONFIG)
    state = begin(CONFIG, LORA, random_params(CONFIG), jax.random.key(1))
    nothing = jax.tree.map(np.zeros_like, ROWS)
    step = compiled_step(CONFIG, dataclasses.replace(LORA, warmup=0.0))
    found = step(state._replace(params=adapters), nothing, np.int32(STEPS), random_params(CONFIG))
    shrunk = jax.tree.map(lambda x: x * np.float32(1 - 1e-2 * RECIPE.weight_decay), adapters)
    assert_close(found.params, shrunk, atol=1e-7)


def test_a_change_too_small_for_bfloat16_weights_is_not_lost():
    """Below half a unit in the last place of W, but not of its float32 product."""
    config = dataclasses.replace(GEMMA2, dtype="bfloat16", param_dtype="bfloat16")
    params, adapters = random_params(config), random_adapters(config, spread=1e-3)
    merged = lora.merged(params, adapters)
    same = jax.tree.map(lambda a, b: (np.asarray(a) == b).mean(), merged, params)
    assert np.mean(jax.tree.leaves(same)) > 0.99
    assert {leaf.dtype.name for leaf in jax.tree.leaves(adapters)} == {"float32"}
    apply = logits(config)
    assert (apply(params, adapters) != apply(params, None)).mean() > 0.1


# Refusals -----------------------------------------------------------------------------------


def test_adapters_that_do_not_fit_are_refused():
    params, key = random_params(CONFIG), jax.random.key(0)

    def start(**options):
        return training.start(CONFIG, Recipe(**options), params, key)

    with pytest.raises(ValueError, match=r"^lora_rank: expected from 1 to 8, the smallest side"):
        start(lora_rank=9)
    with pytest.raises(ValueError, match=r"^lora_targets: expected one of .*gate_up.*, got 'up'"):
        start(lora_rank=2, lora_targets=("up",))
    with pytest.raises(ValueError, match=r"^key: expected one for the adapters, got None"):
        training.start(CONFIG, LORA, params)


def test_frozen_parameters_come_with_adapters_and_only_then():
    params = random_params(CONFIG)
    state = begin(CONFIG, RECIPE, params)
    with pytest.raises(ValueError, match=r"^frozen parameters: expected none with lora_rank=None"):
        training.finished(CONFIG, RECIPE, state, params)
    with pytest.raises(ValueError, match=r"^frozen parameters: expected those of a decoder with"):
        training.finished(CONFIG, LORA, state)
