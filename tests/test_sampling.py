"""Sampling: the law of a token, and documents that do not depend on who wrote them beside whom."""

import dataclasses
import functools
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import MICRO, random_text
from scipy import stats

import jaxcollapse as jc
from jaxcollapse.lm import language_model
from jaxcollapse.lm.decoder import decoder, sampling
from jaxcollapse.lm.decoder.sampling import Settings
from jaxcollapse.task import with_fields

LENGTH = MICRO.context
VOCAB = MICRO.vocab_size
NEVER = VOCAB  # an end of sequence that no model writes
KEY = jax.random.key(5)


# One token ----------------------------------------------------------------------------------


@functools.cache
def chooser(settings):
    def run(logits, key, rows):
        keys = jax.random.split(key, rows)
        return sampling.choose(keys, jnp.broadcast_to(logits, (rows, logits.shape[1])), settings)

    return jax.jit(run, static_argnums=2)


def draws(logits, settings=sampling.DEFAULTS, rows=50_000):
    """Tokens of many rows with the same logits ``[V]``."""
    tokens = chooser(settings)(np.asarray(logits, np.float32)[None], KEY, rows)
    assert tokens.dtype == np.int32
    return np.asarray(tokens)


def some_logits(vocab, spread=3.0):
    return np.random.default_rng(vocab).normal(0, spread, vocab).astype(np.float32)


def softmax(logits):
    weights = np.exp(logits.astype(np.float64) - logits.max())
    return weights / weights.sum()


def assert_law(tokens, chances):
    assert tokens.min() >= 0
    assert tokens.max() < len(chances)
    counts = np.bincount(tokens, minlength=len(chances))
    assert (counts[chances == 0] == 0).all()
    expected = chances * len(tokens)
    # What is rare is counted together, with the least likely of the others.
    order = np.argsort(expected)
    rare = max(1, np.searchsorted(expected[order], 5.0)) + 1
    groups = [order[:rare], *order[rare:, None]]
    observed = [counts[group].sum() for group in groups]
    expected = [expected[group].sum() for group in groups]
    assert len(groups) > 3
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def kept_by_top_p(chances, top_p):
    """The smallest set that holds ``top_p``, by a loop over tokens from the likeliest."""
    kept, held = [], 0.0
    for token in np.argsort(-chances):
        if held >= top_p:
            break
        kept.append(int(token))
        held += chances[token]
    return sorted(kept)


# One block of the vocabulary, exactly one, and three.
@pytest.mark.parametrize("vocab", [7, 128, 300])
def test_tokens_follow_the_softmax(vocab):
    logits = some_logits(vocab)
    assert_law(draws(logits), softmax(logits))


def test_blocks_of_unlike_weight_follow_the_softmax():
    # The second of three blocks holds next to nothing, the last has 44 tokens.
    logits = some_logits(300, 1.0)
    logits[128:256] -= 12
    logits[270] += 5
    assert_law(draws(logits), softmax(logits))


@pytest.mark.parametrize("temperature", [0.4, 2.5])
def test_temperature_divides_the_logits(temperature):
    logits = some_logits(40, 1.0)
    chances = softmax(logits / np.float32(temperature))
    tokens = draws(logits, Settings(temperature))
    assert_law(tokens, chances)
    assert np.bincount(tokens).argmax() == logits.argmax()


def test_a_traced_temperature_gives_the_same_tokens():
    logits = np.random.default_rng(0).normal(0, 2, (500, 30)).astype(np.float32)
    keys = jax.random.split(KEY, 500)
    traced = jax.jit(lambda t: sampling.choose(keys, logits, Settings(t)))
    for temperature in (0.0, 0.7):
        static = jax.jit(partial(sampling.choose, settings=Settings(temperature)))(keys, logits)
        found = np.asarray(traced(np.float32(temperature)))
        np.testing.assert_array_equal(found, static)
        greedy = (found == logits.argmax(axis=1)).mean()
        assert greedy == 1 if temperature == 0 else greedy < 0.9


def test_temperature_0_takes_the_first_of_the_likeliest():
    assert set(draws([0, 3, 1, 3], Settings(0.0), 100)) == {1}
    # Whatever else is said.
    assert set(draws([0, 3, 1, 3], Settings(0, 2, 0.5), 100)) == {1}


@pytest.mark.parametrize("top_k", [1, 17, 60])
def test_top_k_keeps_k_tokens(top_k):
    logits = some_logits(60, 0.3)
    assert len(set(logits)) == 60
    tokens = draws(logits, Settings(top_k=top_k), 5000)
    assert sorted(set(tokens)) == sorted(np.argsort(-logits)[:top_k])


def test_top_k_keeps_the_law_of_those_it_keeps():
    logits = some_logits(300)
    kept = np.argsort(-logits)[:30]
    chances = np.zeros(300)
    chances[kept] = softmax(logits[kept])
    assert_law(draws(logits, Settings(top_k=30), 20_000), chances)


@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.9])
def test_top_p_keeps_the_smallest_set_that_holds_it(top_p):
    # Each of 40 distributions a thousand times: no token's chance is below 0.01.
    laws, times = 40, 1000
    logits = np.random.default_rng(1).normal(0, 0.6, (laws, 12)).astype(np.float32)
    assert min(softmax(row).min() for row in logits) > 0.009
    keys = jax.random.split(KEY, laws * times)
    choose = jax.jit(partial(sampling.choose, settings=Settings(top_p=top_p)))
    tokens = np.asarray(choose(keys, np.repeat(logits, times, axis=0))).reshape(laws, times)
    found = [sorted(set(row.tolist())) for row in tokens]
    assert found == [kept_by_top_p(softmax(row), top_p) for row in logits]
    sizes = [len(kept) for kept in found]
    assert 1 in sizes if top_p == 0.1 else min(sizes) < max(sizes) < 12


def test_top_p_follows_temperature_and_top_k():
    logits = some_logits(300, 2.0)
    first = np.argsort(-logits)[:50]
    chances = np.zeros(300)
    chances[first] = softmax(logits[first] / np.float32(1.5))
    kept = kept_by_top_p(chances, 0.8)
    assert 5 < len(kept) < 45
    law = np.zeros(300)
    law[kept] = chances[kept] / chances[kept].sum()
    assert_law(draws(logits, Settings(1.5, 50, 0.8), 20_000), law)


def test_no_uniform_chooses_what_has_no_weight():
    # Zeros at both ends, and uniforms at the ends of their range.
    rng = np.random.default_rng(0)
    weights = (rng.exponential(size=(2000, 128)) ** 6).astype(np.float32)
    first, last = rng.integers(0, 60, (2000, 1)), rng.integers(64, 128, (2000, 1))
    column = np.arange(128)[None]
    weights = np.where((column < first) | (column > last), 0, weights)
    chosen = jax.jit(sampling._first_above)
    for u in (0.0, 2.0**-23, 1 - 2.0**-23):
        tokens = np.asarray(chosen(weights, np.full(2000, u, np.float32)))
        assert (weights[np.arange(2000), tokens] > 0).all()
        if u == 0:
            np.testing.assert_array_equal(tokens, first[:, 0])


# Documents ----------------------------------------------------------------------------------


# XLA takes half the time for such a program.
UNOPTIMISED = {"xla_backend_optimization_level": 0}
COUNT = 10
PROMPTS = {"one": [0], "several": [0, 5, 1, 7]}  # with an end of sequence inside
ENDS = [1, 9]


@pytest.fixture(scope="module")
def params():
    """Weights with which a token depends on all before it."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(partial(decoder.init, MICRO), jax.random.key(0))
    return jax.tree.map(lambda x: jnp.asarray(0.6 * rng.normal(size=x.shape), x.dtype), shapes)


def sampler(
    prompt=(0,), count=COUNT, slots=64, length=LENGTH, settings=sampling.DEFAULTS, ends=ENDS
):
    return sampling.sampler(MICRO, count, length, prompt, ends, slots, settings)


@functools.cache
def program(prompt, count=COUNT, slots=64):
    """``program(params, key, first) -> (tokens, lengths)`` of documents from ``first``."""
    write = sampler(PROMPTS[prompt], count, slots)

    def run(params, key, first):
        end = jax.lax.while_loop(
            write.unfinished, lambda state: write.advance(params, key, state), write.start(first)
        )
        return end.tokens, end.lengths

    return jax.jit(run, compiler_options=UNOPTIMISED)


def written(params, prompt="one", count=COUNT, slots=64, first=0):
    return jax.device_get(program(prompt, count, slots)(params, KEY, np.int32(first)))


@pytest.fixture(scope="module")
def loop(params):
    """What a plain loop writes: the whole document through the decoder for each token."""
    forward, choose = jax.jit(partial(decoder.apply, MICRO)), jax.jit(sampling.choose)
    fold = jax.jit(jax.vmap(jax.random.fold_in, (0, None)))

    def write(prompt):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(KEY, np.arange(COUNT))
        tokens = np.zeros((COUNT, LENGTH), np.int32)
        tokens[:, : len(prompt)] = prompt
        for position in range(len(prompt) - 1, LENGTH - 1):
            logits = forward(params, tokens)[:, position]
            tokens[:, position + 1] = choose(fold(keys, position), logits)
        lengths = np.full(COUNT, LENGTH)
        for number, row in enumerate(tokens):
            ends = [i for i in range(len(prompt), LENGTH) if row[i] in ENDS]
            lengths[number] = ends[0] + 1 if ends else LENGTH
            row[lengths[number] :] = 0
        return tokens, lengths

    return {name: write(prompt) for name, prompt in PROMPTS.items()}


@pytest.mark.parametrize(("prompt", "slots"), [("one", 1), ("one", 3), ("one", 64), ("several", 3)])
def test_documents_are_those_of_a_plain_loop(params, loop, prompt, slots):
    tokens, lengths = written(params, prompt, slots=slots)
    np.testing.assert_array_equal(lengths, loop[prompt][1])
    np.testing.assert_array_equal(tokens, loop[prompt][0])
    assert tokens.dtype == lengths.dtype == np.int32


def test_documents_alone_are_those_among_others(params, loop):
    for first in (0, 5):
        tokens, lengths = written(params, count=5, slots=2, first=first)
        np.testing.assert_array_equal(tokens, loop["one"][0][first : first + 5])
        np.testing.assert_array_equal(lengths, loop["one"][1][first : first + 5])


@pytest.mark.parametrize("prompt", PROMPTS)
def test_documents_begin_and_end_as_they_should(params, prompt):
    tokens, lengths = written(params, prompt, slots=3)
    given = PROMPTS[prompt]
    for row, length in zip(tokens.tolist(), lengths, strict=True):
        assert row[: len(given)] == given
        assert len(given) < length <= LENGTH
        own = row[len(given) : length]
        assert own[-1] in ENDS or length == LENGTH
        assert not set(own[:-1]) & set(ENDS)
        assert set(row[length:]) <= {0}
    # Of both kinds, or this says little.
    assert lengths.min() < LENGTH == lengths.max()


def test_each_end_of_sequence_ends_documents(params):
    tokens, lengths = written(params, slots=3)
    last = tokens[np.arange(COUNT), lengths - 1]
    assert {int(token) for token in last[lengths < LENGTH]} == set(ENDS)


def test_a_limit_below_the_context(params, loop):
    # Shorter documents are the beginnings of longer ones.
    limit = 7
    write = jax.jit(sampler(length=limit, slots=4).documents, compiler_options=UNOPTIMISED)
    tokens, lengths = write(params, KEY)
    np.testing.assert_array_equal(lengths, np.minimum(loop["one"][1], limit))
    np.testing.assert_array_equal(tokens, loop["one"][0][:, :limit])


# Streams ------------------------------------------------------------------------------------


DOCUMENTS, SEEDS, GENERATIONS = 200, 2, 2


@pytest.fixture(scope="module")
def streams():
    """Tokens ``[S, G, N, T - 1]`` of a chain whose models know nothing: each is uniform."""
    data = dataclasses.replace(random_text(documents=DOCUMENTS), eos=NEVER)
    shapes = jax.eval_shape(partial(decoder.init, MICRO), jax.random.key(0))
    task = with_fields(
        language_model.task(MICRO, data=data),
        fit=lambda key, view: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes),
        evaluate=lambda truth, params: {},
        describe=lambda documents: documents._asdict(),
    )
    chain = jc.make_chain(task, "replace", GENERATIONS)
    metrics = jax.device_get(
        jax.jit(jax.vmap(chain), compiler_options=UNOPTIMISED)(jc.seed_keys(range(SEEDS)))
    )
    assert (metrics["lengths"] == LENGTH).all()
    return metrics["tokens"][..., 1:]


def agreements(ones, others):
    """In how many places each of the streams ``[M, T]`` agrees with each of the others."""
    one, other = (np.eye(VOCAB, dtype=np.float32)[x].reshape(len(x), -1) for x in (ones, others))
    return one @ other.T


def test_tokens_of_a_model_that_knows_nothing_are_uniform(streams):
    assert stats.chisquare(np.bincount(streams.ravel(), minlength=VOCAB)).pvalue > 1e-3


def test_no_two_documents_seeds_or_generations_share_a_stream(streams):
    flat = streams.reshape(-1, LENGTH - 1)
    assert len(np.unique(flat, axis=0)) == len(flat) == DOCUMENTS * SEEDS * GENERATIONS
    agree = agreements(flat, flat)[np.triu_indices(len(flat), 1)]
    # Two streams of eleven tokens agree in nine places with a chance of 1e-9.
    assert agree.max() <= 8
    # Pairs of independent uniform tokens agree independently of other pairs, so that
    chance, number = 1 / VOCAB, agree.size * (LENGTH - 1)
    error = (chance * (1 - chance) / number) ** 0.5
    assert abs(agree.sum() / number - chance) < 5 * error


def test_streams_do_not_agree_a_place_apart(streams):
    flat = streams.reshape(-1, LENGTH - 1)
    assert agreements(flat[:, 1:], flat[:, :-1]).max() <= 8


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_like_places_of_two_streams_agree_by_chance(streams, axis):
    # Same document and generation of two seeds, of two generations, two neighbours in a batch.
    one, other = np.take(streams, 0, axis), np.take(streams, 1, axis)
    if axis == 2:
        one, other = streams[:, :, 1:], streams[:, :, :-1]
    agree, chance = one == other, 1 / VOCAB
    error = (chance * (1 - chance) / agree.size) ** 0.5
    assert abs(agree.mean() - chance) < 5 * error


# Refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(-0.5), "temperature: expected a finite number of at least 0, got -0.5; change"),
        (Settings(float("nan")), "temperature: expected a finite number of at least 0, got nan"),
        (Settings(float("inf")), "temperature: expected a finite number of at least 0, got inf"),
        (Settings(top_k=0), "top_k: expected at least 1, got 0"),
        (Settings(top_k=2.5), "top_k: expected a whole number, got 2.5"),
        (Settings(top_k=17), "top_k: expected at most the vocabulary, 16, got 17; lower it"),
        (Settings(top_p=0.0), "top_p: expected a finite number above 0, got 0.0; change it"),
        (Settings(top_p=1.1), "top_p: expected above 0 and at most 1, got 1.1; try 0.9"),
        (Settings(top_p=float("nan")), "top_p: expected a finite number above 0, got nan"),
    ],
)
def test_settings_that_choose_nothing_are_refused(settings, message):
    with pytest.raises(ValueError, match="^" + message):
        sampling.check_settings(settings, VOCAB)
    with pytest.raises(ValueError, match="^" + message):
        sampler(settings=settings)


def test_settings_at_the_ends_of_their_range_are_not_refused():
    for each in itertools.product((0, 0.0, 3.0), (None, 1, VOCAB), (None, 1e-6, 1.0)):
        assert sampling.check_settings(Settings(*each), VOCAB) == each


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": []}, "prompt: expected from 1 to 11 tokens, got 0; shorten"),
        ({"prompt": [0] * 12}, "prompt: expected from 1 to 11 tokens, got 12; shorten"),
        ({"prompt": [0] * 5, "length": 5}, "prompt: expected from 1 to 4 tokens, got 5; shorten"),
        ({"length": 13}, "length of a document: expected from 1 to the context, 12, got 13"),
        ({"length": 0}, "length of a document: expected from 1 to the context, 12, got 0"),
        ({"count": 0}, "num_documents: expected at least 1, got 0"),
        ({"slots": 0}, "slots: expected at least 1, got 0"),
    ],
)
def test_samplers_that_write_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match="^" + message):
        sampler(**options)


# For a person -------------------------------------------------------------------------------


def test_generate_gives_the_prompt_and_its_continuation(params, loop):
    tokens, lengths = loop["several"]
    prompt = PROMPTS["several"]
    found = sampling.generate(
        MICRO, params, KEY, prompt, ENDS, LENGTH - len(prompt), num_documents=COUNT
    )
    assert len(found) == COUNT
    for document, row, length in zip(found, tokens, lengths, strict=True):
        np.testing.assert_array_equal(document, row[:length])


def test_generate_gives_no_more_than_it_is_asked_for(params):
    found = sampling.generate(MICRO, params, KEY, [0, 3], [NEVER], 3, Settings(0.0))
    assert [document.tolist()[:2] for document in found] == [[0, 3]]
    assert len(found[0]) == 5


def test_generate_refuses_what_does_not_fit(params):
    message = r"^prompt and max_tokens: expected at most 12 tokens together, .* got 4 \+ 9; shorten"
    with pytest.raises(ValueError, match=message):
        sampling.generate(MICRO, params, KEY, PROMPTS["several"], ENDS, 9)
    with pytest.raises(ValueError, match=r"^max_tokens: expected at least 1, got 0"):
        sampling.generate(MICRO, params, KEY, [0], ENDS, 0)


def test_rows_of_the_embedding_without_a_token_are_never_chosen(monkeypatch):
    """Embeddings are often larger than their tokenizer, for rounder sizes."""

    def decode(config, params, cache, token, position):
        return params + jnp.zeros((len(token), 1), np.float32), cache

    monkeypatch.setattr(decoder, "decode", decode)
    rising = jnp.arange(MICRO.vocab_size, dtype=np.float32)[None]
    last = MICRO.vocab_size - 1
    for known in (None, 3):
        found = sampling.generate(
            MICRO, rising, KEY, [0], [last if known is None else 2], 4, Settings(0.0), known=known
        )
        assert found[0].tolist() == [0, last if known is None else 2]
    with pytest.raises(ValueError, match="top_k: expected at most the vocabulary, 3, got 4"):
        sampling.sampler(MICRO, 1, 5, [0], [2], settings=Settings(1.0, 4), known=3)
