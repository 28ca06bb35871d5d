"""The loss: what it is a sum of, and in chunks, where not all logits exist at once."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training_cases import (
    CONFIG,
    RECIPE,
    UNOPTIMISED,
    WIDTH,
    assert_close,
    begin,
    compiled_loss,
    documents,
    random_params,
    rows_of,
    tiny_gemma2,
)

from jaxcollapse.lm import architectures
from jaxcollapse.lm.decoder import decoder, loss, training
from jaxcollapse.lm.decoder.packing import Rows
from jaxcollapse.lm.decoder.training import Recipe


@pytest.fixture(scope="module")
def params():
    return random_params(CONFIG)


@pytest.fixture(scope="module")
def separate_losses(params):
    """Negative log-likelihoods of 20 documents, each in a row of its own, by NumPy."""
    some = documents(20)
    tokens = np.stack([np.pad(document, (0, WIDTH - len(document))) for document in some])
    logits = jax.jit(partial(decoder.apply, CONFIG))(params, tokens)
    found = []
    for document, row in zip(some, np.asarray(logits, np.float64), strict=True):
        log_chances = row - np.log(np.exp(row).sum(axis=1, keepdims=True))
        found.append([-log_chances[i, token] for i, token in enumerate(document[1:])])
    return some, found


def test_the_loss_is_a_sum_over_documents(params, separate_losses):
    some, losses = separate_losses
    nll, count = compiled_loss(CONFIG)(params, rows_of(some, len(some)))
    assert int(count) == sum(len(document) - 1 for document in some)
    assert float(nll) == pytest.approx(sum(map(sum, losses)), rel=1e-6)


@pytest.mark.parametrize("batch_size", [3, 20])
def test_evaluation_depends_on_neither_batches_nor_packing(params, separate_losses, batch_size):
    some, losses = separate_losses
    expected = sum(map(sum, losses)) / sum(map(len, losses))
    evaluate = jax.jit(partial(training.evaluate, CONFIG), static_argnums=2)
    alone = jax.tree.map(lambda *parts: np.concatenate(parts), *(rows_of([one], 1) for one in some))
    # As many rows, many of them empty, so that it is the same program.
    for rows in (alone, rows_of(some, len(some)), rows_of(some[::-1], len(some))):
        assert float(evaluate(params, rows, batch_size)) == pytest.approx(expected, rel=1e-6)


def test_evaluation_of_nothing_is_zero(params):
    nothing = Rows(*np.zeros((2, 20, WIDTH), np.int32))
    nll, count = compiled_loss(CONFIG)(params, nothing)
    assert (float(nll), float(count)) == (0, 0)


def test_tokens_in_the_loss_are_what_it_is_of(params, separate_losses):
    some, losses = separate_losses
    rows = rows_of(some, len(some))
    in_loss = np.random.default_rng(5).random(rows.tokens.shape) < 0.4
    expected = [0.0, 0]
    for number, of_document in enumerate(losses, start=1):
        kept = in_loss[rows.segments == number]
        assert kept.size == len(of_document) + 1
        expected[0] += sum(nll for nll, keep in zip(of_document, kept[1:], strict=True) if keep)
        expected[1] += int(kept[1:].sum())
    found = jax.jit(partial(training.loss_sum, CONFIG))(params, Rows(*rows[:2], in_loss))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    evaluate = jax.jit(partial(training.evaluate, CONFIG), static_argnums=2)
    mean = evaluate(params, Rows(*rows[:2], in_loss), 3)
    assert float(mean) == pytest.approx(expected[0] / expected[1], rel=1e-6)


# In chunks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [CONFIG, tiny_gemma2(final_softcap=2.0)], ids=["untied", "tied"])
def test_chunks_give_the_same_loss_and_gradient(config):
    params = random_params(config)
    rows = rows_of(documents(12), 8)

    def value_and_gradient(chunks):
        total = partial(training.loss_sum, config, rows=rows, chunks=chunks)
        return jax.value_and_grad(lambda params: total(params=params), has_aux=True)

    both = jax.jit(
        lambda params: (value_and_gradient(1)(params), value_and_gradient(6)(params)),
        compiler_options=UNOPTIMISED,
    )
    (whole, slope), (chunked, chunked_slope) = both(params)
    np.testing.assert_allclose(chunked, whole, rtol=1e-6)
    assert_close(chunked_slope, slope, atol=1e-5, rtol=1e-5)


def test_chunks_save_the_memory_of_the_logits():
    config = architectures.llama.config(16, 1, 2, 16, vocab_size=8192, context=128)
    tokens = jax.ShapeDtypeStruct((8, 128), np.int32)
    hidden = jax.ShapeDtypeStruct((8, 128, 16), np.float32)
    in_loss = jax.ShapeDtypeStruct((8, 128), bool)

    def temporaries(chunks):
        slope = jax.grad(partial(loss.cross_entropy, config, chunks=chunks), argnums=(0, 1))
        program = jax.jit(slope).lower(decoder.abstract_params(config), hidden, tokens, in_loss)
        return program.compile().memory_analysis().temp_size_in_bytes

    logits = 8 * 128 * 8192 * 4
    assert temporaries(1) >= logits
    assert temporaries(16) < logits / 4


def test_chunks_that_do_not_divide_the_tokens_are_refused(params):
    rows = rows_of(documents(12), 8)
    message = "^loss_chunks: expected a divisor of the 48 tokens of a batch, got 32; change it"
    recipe = Recipe(batch_size=8, accumulation=2, loss_chunks=32)
    state = begin(CONFIG, RECIPE, params)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(partial(training.train_step, CONFIG, recipe), state, rows, jnp.int32(1))
    with pytest.raises(ValueError, match=r"^loss_chunks: expected a divisor of the 36 tokens"):
        jax.eval_shape(partial(training.evaluate, CONFIG, batch_size=3, chunks=8), params, rows)
