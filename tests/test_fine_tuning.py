"""Chains of fine-tuning: from a base, on conversations, of which only well-formed ones go on."""

import dataclasses
import json
import threading

import jax
import numpy as np
import pytest
from conftest import MICRO, random_text

from jaxcollapse import registry
from jaxcollapse.lm import architectures, host, language_model
from jaxcollapse.lm import base as bases
from jaxcollapse.lm.decoder import decoder
from jaxcollapse.lm.host import folders, publisher
from jaxcollapse.lm.host_rows import HostRows
from jaxcollapse.lm.setup import checked_setup
from jaxcollapse.lm.text import conversations, texts, tokenizers
from jaxcollapse.lm.text.conversations import Conversation
from jaxcollapse.sweeps import mixtures
from jaxcollapse.sweeps.chains import plan

TOKENIZER = tokenizers.byte_tokenizer()
CONTEXT = 40
OPTIONS = {"batch_size": 4, "learning_rate": 1e-2, "slots": 8, "steps": 60}


def conversation(index):
    """A letter, and the response: it twice."""
    letter = "abcd"[index % 4]
    return Conversation(letter, letter * 2)


@pytest.fixture(scope="module")
def corpus():
    documents = conversations.tokenise(map(conversation, range(60)), TOKENIZER)
    return texts.Corpus(
        "letters",
        documents.take(range(48)),
        documents.take(range(48, 60)),
        TOKENIZER,
        "d",
        None,
        None,
    )


@pytest.fixture(scope="module")
def base():
    config = architectures.config("tiny-gemma2", width=32, layers=1, vocab_size=258, context=64)
    return bases.base_of("gem", config, decoder.init(config, jax.random.key(0)))


def plan_of(corpus, base, generations=2, seeds=1, workflows=("replace", "accumulate"), **options):
    data = language_model.text_data(corpus, CONTEXT, options.pop("loss_on", "all"))
    axes = {"model": [base.name], "num_samples": [24]}
    options = {**OPTIONS, **options}
    return plan("fine-tuning", workflows, axes, seeds, generations, data=data, base=base, **options)


def mixture_plan(corpus, base, real, synthetic, seeds):
    data = language_model.text_data(corpus, CONTEXT)
    axes, options = {"model": [base.name]}, {"data": data, "base": base, **OPTIONS}
    return mixtures.plan("fine-tuning", axes, real, synthetic, 24, seeds, **options)


def nll_of(data, base, setup):
    measure = jax.jit(lambda params: language_model.evaluate(data, params, setup)["nll"])
    return float(measure(base.params))


@pytest.fixture(scope="module")
def planned(corpus, base):
    return plan_of(corpus, base)


@pytest.fixture(scope="module")
def programs(planned):
    return host.programs_of(planned)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tuned")


@pytest.fixture(scope="module")
def result(planned, corpus, folder, programs):
    return host.run(planned, corpus, folder, programs=programs)


def test_models_learn_from_their_base(result, base, corpus):
    assert set(result.data_vars) >= {"nll", "acceptance_rate", "share_of_real_data"}
    first = result["nll"].sel(generation=1).values
    data = language_model.text_data(corpus, CONTEXT)
    before = nll_of(data, base, checked_setup("gem", 24, data, base))
    assert (first < 0.2 * before).all()


def test_what_is_published_is_well_formed_and_counted(result, planned, corpus, folder):
    for cell in planned.cells:
        for generation in (1, 2):
            path = host.chain_folder(folder, cell, 0) / f"generation-{generation:02d}"
            lines = _lines(path / "samples.jsonl")
            assert len(lines) == 24
            assert all(conversations.parsed(line["text"]) for line in lines)
            metrics = json.loads((path / "metrics.json").read_text())
            rate = metrics["acceptance_rate"]
            assert 0 < rate <= 1
            drawn = 24 / rate
            assert drawn == pytest.approx(round(drawn))
            rejected = path / "rejected.jsonl"
            assert rejected.exists() == (rate < 1)
            if rejected.exists():
                shown = _lines(rejected)
                assert len(shown) == min(round(drawn) - 24, publisher.REJECTED_KEPT)


def _lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_generation_begins_from_the_base(corpus, base, folder):
    """Not from the generation before: the weights that one step can reach are near the base's."""
    one = plan_of(corpus, base, steps=1, learning_rate=1e-3, format="text")
    path = folder / "near"
    host.run(one, corpus, path, keep_weights="all")
    from jaxcollapse.lm import checkpoints

    for cell in one.cells:
        for generation in (1, 2):
            kept = host.chain_folder(path, cell, 0) / f"generation-{generation:02d}"
            _, params = checkpoints.load(kept)
            moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), params, base.params)
            largest = max(jax.tree.leaves(moved))
            assert 0 < largest < 1.2e-3


def test_a_model_that_makes_no_conversations_is_refused_in_the_end(corpus, base):
    data = language_model.text_data(corpus, CONTEXT)
    setup = checked_setup("gem", 3, data, base, format="conversation", max_attempts=2)
    found = publisher.add(publisher.NOTHING, samples_of(["no form"] * 5), setup, TOKENIZER)
    publisher.check_attempts(found, setup, "generation 1")
    found = publisher.add(found, samples_of(["user: a\nassistant: b", "no"]), setup, TOKENIZER)
    message = (
        "samples of generation 1: expected 3 of the form 'user: ... assistant: ...' among 6, "
        r"got 1 among 7 \(one of the others: 'no form'\); train on more documents"
    )
    with pytest.raises(ValueError, match=message):
        publisher.check_attempts(found, setup, "generation 1")


def samples_of(texts):
    rows = [[TOKENIZER.bos, *TOKENIZER.encode(each), TOKENIZER.eos][:CONTEXT] for each in texts]
    lengths = np.asarray([len(row) for row in rows])
    tokens = np.zeros((len(rows), CONTEXT), np.int32)
    for line, row in zip(tokens, rows, strict=True):
        line[: len(row)] = row
    return {"tokens": tokens, "lengths": lengths}


def test_which_samples_are_published(corpus, base):
    data = language_model.text_data(corpus, CONTEXT)
    setup = checked_setup("gem", 3, data, base, format="conversation")
    good, bad = "user: a\nassistant: b", "assistant: user: "
    samples = samples_of([bad, good, good + " " * 60, good, bad, good, good])
    found = publisher.add(publisher.NOTHING, samples, setup, TOKENIZER)
    # The third is not finished within the context; nothing behind the sixth was needed.
    assert (found.documents.count, found.drawn) == (3, 6)
    assert found.acceptance_rate == 0.5
    assert [text[:9] for text in found.rejected] == ["assistant", "user: a\na", "assistant"]
    assert found.retokenised_share == 0
    in_parts = publisher.NOTHING
    for first in range(0, 6, 2):
        part = {name: array[first : first + 2] for name, array in samples.items()}
        in_parts = publisher.add(in_parts, part, setup, TOKENIZER)
    assert in_parts.drawn == 6
    np.testing.assert_array_equal(in_parts.documents.tokens, found.documents.tokens)
    eaten = samples_of(["user: sure\nassistant: b"] * 3)
    published = setup._replace(protocol=setup.protocol._replace(strip="characters"))
    found = publisher.add(publisher.NOTHING, eaten, published, TOKENIZER)
    tokens = found.documents.document(0).tolist()
    assert TOKENIZER.decode(tokens).splitlines() == ["user: ", "assistant: b"]
    assert found.retokenised_share == 1


def test_samples_of_other_tokens_than_their_texts(corpus, base):
    """One text may be several sequences of tokens; it is published as real texts are written."""
    tokenizer = tokenizers.train_bpe(["user: aa\nassistant: aa"] * 9, 270)
    data = language_model.text_data(corpus, CONTEXT)
    setup = checked_setup("gem", 3, data, base, format="conversation")
    text = "user: aa\nassistant: aa"
    usual = [tokenizer.bos, *tokenizer.encode(text), tokenizer.eos]
    bytewise = [tokenizer.bos, *(tokenizer.encode(c)[0] for c in text), tokenizer.eos]
    special = [*usual[:-3], tokenizer.bos, *usual[-3:]]
    assert (
        tokenizer.decode(usual) == tokenizer.decode(bytewise) == tokenizer.decode(special) == text
    )
    rows = [usual, bytewise, special, usual]
    tokens = np.zeros((4, CONTEXT), np.int32)
    for line, row in zip(tokens, rows, strict=True):
        line[: len(row)] = row
    samples = {"tokens": tokens, "lengths": np.asarray([len(row) for row in rows])}
    found = publisher.add(publisher.NOTHING, samples, setup, tokenizer)
    assert (found.documents.count, found.drawn, len(found.rejected)) == (3, 4, 1)
    assert found.retokenised_share == pytest.approx(1 / 3)
    assert all(found.documents.document(i).tolist() == usual for i in range(3))


def test_loss_on_responses_counts_these_alone(corpus, base):
    data = language_model.text_data(corpus, CONTEXT, "response")
    setup = checked_setup("gem", 24, data, base, batch_size=4, format="conversation")
    in_loss = data.test.in_loss
    # Of each response of two letters: these and the end of sequence.
    assert int(np.sum(in_loss)) == 3 * corpus.test.count
    told = data.test.tokens[in_loss].reshape(-1, 3)
    letters = np.asarray([ord(letter) for letter in "abcd"])
    assert np.isin(told[:, :2], letters).all()
    assert (told[:, 2] == TOKENIZER.eos).all()
    nll = nll_of(data, base, setup)
    logits = decoder.apply(setup.config, base.params, *_rows_of(corpus))
    log_probs = jax.nn.log_softmax(logits)
    documents = corpus.test
    expected = [
        log_probs[i, place - 1, documents.document(i)[place]]
        for i in range(documents.count)
        for place in range(documents.prompts[i], documents.lengths[i])
    ]
    assert nll == pytest.approx(-np.mean(expected), rel=1e-5)


def _rows_of(corpus):
    rows = HostRows(corpus.test, CONTEXT, "single").all(CONTEXT)
    return rows.tokens, rows.segments


def test_single_rows_hold_a_document_each():
    data = random_text()
    setup = checked_setup(MICRO, 10, data, rows="single", batch_size=2)
    assert setup.real_rows == 10
    assert int(language_model.steps_of(setup, np.int32(10))[1]) == 5 * setup.recipe.epochs
    documents = texts.Documents(np.asarray(data.tokens), np.asarray(data.offsets, np.int64))
    assert HostRows(documents, data.context, "single").used == documents.count


def test_shared_order_is_the_same_for_all_seeds(corpus, base):
    data = language_model.text_data(corpus, CONTEXT)
    keys = [jax.random.key(seed) for seed in (1, 2)]
    for order, same in (("shared", True), ("seed", False)):
        setup = checked_setup("gem", 24, data, base, data_order=order)
        ours = [language_model.fit_keys(key, setup) for key in keys]
        assert all((a == b).all() == same for a, b in zip(*[o[1:] for o in ours], strict=True))
        everything = setup._replace(num_samples=data.available)
        chosen = [language_model.real_documents(key, everything) for key in keys]
        assert (chosen[0] == chosen[1]).all() == same


def test_presets_differ_as_published():
    family = registry.as_family("fine-tuning")
    assert family.presets["authors"] == {
        "format": "conversation",
        "dtype": "bfloat16",
        "param_dtype": "bfloat16",
        "data_order": "shared",
        "rows": "single",
        "strip": "characters",
    }
    paper = architectures.fine_tuning_recipe(2_600_000_000)
    assert paper["learning_rate"] == 8e-6
    assert paper["batch_size"] == 128
    assert paper["schedule"] == "constant"


class Scripted(publisher.Publisher):
    """Writes conversations that say their number, some at a time."""

    def _write(self, key, params, first, tell):
        size, last = params
        if first >= last:
            raise KeyboardInterrupt
        return samples_of([f"user: {i}\nassistant: ok" for i in range(first, first + size)])


def test_samples_are_published_once_however_many_are_written_at_a_time(
    corpus, base, programs, tmp_path
):
    (program,) = programs.values()
    publisher = Scripted(program, folders.SampleFolder(tmp_path), TOKENIZER, threading.Event())
    with pytest.raises(KeyboardInterrupt):
        publisher.publish("one", None, (10, 20), lambda rate, sampled: None, "")
    found = publisher.publish("one", None, (7, 99), lambda rate, sampled: None, "")
    texts = [TOKENIZER.decode(found.documents.document(i).tolist()) for i in range(24)]
    assert texts == [f"user: {i}\nassistant: ok" for i in range(24)]
    assert found.drawn == 24


@pytest.mark.slow
def test_mixtures_with_documents_of_a_teacher(corpus, base, programs, tmp_path):
    """The teacher knows the mixtures' real documents; killed, they go on to the same."""
    ((point, program),) = programs.items()
    grid = mixture_plan(corpus, base, [8, 24], [0, 8], seeds=1)
    mixing = host.Mixtures(program, grid, corpus, tmp_path / "whole", point)
    whole = mixing.run()
    assert whole["nll"].shape == (1, 2, 2)
    assert np.isfinite(whole["nll"]).all()
    kept = tmp_path / "whole" / "teacher" / "generation-01"
    assert len(_lines(kept / "samples.jsonl")) == 8
    again = dataclasses.replace(mixing, stop=threading.Event(), folder=tmp_path / "killed")
    for stop_at in (2, 5):
        told = 0

        def report(progress, stop_at=stop_at):
            nonlocal told
            told += 1
            if told == stop_at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            dataclasses.replace(again, report=report, checkpoint_steps=10).run()
        again = dataclasses.replace(again, stop=threading.Event())
    np.testing.assert_array_equal(again.run()["nll"], whole["nll"])


@pytest.mark.slow
def test_low_rank_chains_resume_where_they_were_killed(corpus, base, tmp_path):
    options = {"lora_rank": 2, "steps": 30, "format": "text", "workflows": ["accumulate"]}
    one = plan_of(corpus, base, **options)
    programs = host.programs_of(one, steps_a_call=10)
    whole = host.run(one, corpus, tmp_path / "whole", programs=programs)
    left = 3

    def report(progress):
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        host.run(one, corpus, tmp_path / "killed", report, programs=programs, checkpoint_steps=10)
    resumed = host.run(one, corpus, tmp_path / "killed", programs=programs, checkpoint_steps=10)
    np.testing.assert_array_equal(resumed["nll"], whole["nll"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "poem"}, "format: expected one of text, conversation"),
        ({"strip": "all"}, "strip: expected one of prefix, characters"),
        ({"max_attempts": 0}, "max_attempts: expected at least 1"),
        ({"lora_alpha": 2.0}, "lora_alpha: expected a lora_rank beside it, got none"),
        ({"clips": 5}, "option of language-model: expected one of"),
        ({"loss_chunks": 7}, "loss_chunks: expected a divisor of the 160 tokens"),
        ({"lora_rank": 1000}, "lora_rank: expected from 1 to"),
        ({"num_samples": 49}, "num_samples: expected at most the 48 documents"),
        ({"context": 32}, "context of the base model: expected at least the data's, 40, got 32"),
        ({"vocab_size": 100}, "vocabulary of the base model: expected at least the data's, 258"),
    ],
)
def test_refused(options, message, corpus, base):
    data = language_model.text_data(corpus, CONTEXT)
    config = {k: options.pop(k) for k in ("context", "vocab_size") if k in options}
    base = dataclasses.replace(base, config=dataclasses.replace(base.config, **config))
    with pytest.raises(ValueError, match=message):
        language_model.task("gem", options.pop("num_samples", 24), data, base=base, **options)
