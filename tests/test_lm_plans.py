"""Plans of language models and their corpora, as commands, experiments and programs make them."""

import json

import jax
import numpy as np
import pytest

from jaxcollapse.lm import architectures, checkpoints, plans
from jaxcollapse.lm.decoder import decoder
from jaxcollapse.lm.text import tokenizers


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("<|endoftext|>".join(f"The number {i % 50}." for i in range(60)))
    return str(path)


def test_pretraining_on_a_text(text):
    told = []
    options = {"tokenizer": "bytes", "learning_rate": 0.1, "top_k": 3, "seeds": range(2, 5)}
    plan, corpus = plans.pretraining(
        ["replace", "window:keep=2"], "micro", data=text, tell=told.append, **options
    )
    data = plan.options["data"]
    assert data.context == 512
    assert plan.axes == {"model": ["micro"], "num_samples": [corpus.train.count]}
    assert plan.options == {"data": data, "learning_rate": 0.1, "top_k": 3}
    assert plan.seeds.tolist() == [2, 3, 4]
    assert plan.generations == 5
    assert [workflow.name for workflow in plan.workflows] == ["replace", "window:keep=2"]
    (line,) = told
    assert line == plans.left_out(corpus, 512)
    assert f"{corpus.copies} with the text or the prompt of one to test on" in line


def test_what_is_cut_is_told_before_the_run_and_in_the_result(text):
    told = []
    given = {"tokenizer": "bytes", "context": 8, "tell": told.append}
    plan, corpus = plans.pretraining(["replace"], "micro", data=text, **given)
    count = corpus.train.count + corpus.test.count
    assert f"documents cut: {count} of {count}, with 49.0% of all tokens" in told[-1]
    data = plan.configuration["options"]["data"]
    assert data["documents_cut"] == count
    assert 0.48 < data["share_of_tokens_cut"] < 0.5


def test_texts_that_a_tokenizer_does_not_give_back_are_told(text, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"<unk>": 0, "The": 1, "</s>": 2}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizers.Tokenizer("words", words, 2, 2).save(tmp_path / "words")
    told = []
    options = {"tokenizer": str(tmp_path / "words"), "tell": told.append}
    plan, corpus = plans.pretraining("replace", "micro", data=text, **options)
    assert corpus.lost == 1
    assert told[-1].startswith("texts that do not come back from their tokens as they were: 100.0%")
    assert plan.options["data"].describe()["texts_lost"] == 1
    # From the cache, too.
    assert plans.pretraining("replace", "micro", data=text, **options)[1].lost == 1


def test_pretraining_on_the_embedded_stories():
    plan, corpus = plans.pretraining("accumulate", ["micro", "tiny-gpt2"], generations=2)
    assert plan.axes == {"model": ["micro", "tiny-gpt2"], "num_samples": [700]}
    assert plan.options["data"].context == 128
    assert corpus.tokenizer.vocab_size == 512
    assert plan.seeds.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "gpt3"}, "model: expected one of"),
        ({"workflows": "all"}, "workflow: expected one of replace, accumulate"),
        ({"clips": 1}, "option of language-model: expected one of"),
        ({"clip": -1}, "clip: expected a finite number above 0"),
        ({"num_samples": 0}, "num_samples: expected at least 1"),
        ({"generations": 0}, "generations: expected at least 1"),
        ({"steps": 3, "epochs": 2}, "steps: expected neither epochs nor matched_compute"),
        ({"steps": 3, "matched_compute": True}, "steps: expected neither epochs nor matched_"),
    ],
)
def test_what_needs_no_text_is_refused_before_one_is_read(options, message):
    with pytest.raises(ValueError, match=message):
        plans.pretraining(**{"workflows": "replace", "data": "missing.txt", **options})


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    tokenizer = tokenizers.byte_tokenizer()
    config = architectures.config("tiny-gemma2", width=16, layers=1, vocab_size=258, context=160)
    checkpoints.save(folder / "gem", config, decoder.init(config, jax.random.key(0)))
    tokenizer.save(folder / "gem")
    rows = [{"prompt": f"{i}", "response": f"{i + 1}"} for i in range(40)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return {"weights": str(folder / "gem"), "data": str(folder / "rows.jsonl")}


def test_fine_tuning(files):
    plan, corpus = plans.fine_tuning("replace", **files, test_documents=10, lora_rank=2)
    assert plan.family.name == "fine-tuning"
    # As long as the base can take.
    assert plan.options["data"].context == 160
    assert plan.axes == {"model": ["gem"], "num_samples": [30]}
    assert corpus.test.count == 10
    assert plan.options["format"] == "conversation"
    assert plan.options["lora_rank"] == 2
    kinds = {leaf.dtype for leaf in jax.tree.leaves(plan.options["base"].params)}
    assert kinds == {np.dtype(np.float32)}


def test_parameters_are_read_as_the_preset_has_them(files):
    plan, _ = plans.fine_tuning("replace", **files, preset="authors", rows="packed")
    kinds = {leaf.dtype for leaf in jax.tree.leaves(plan.options["base"].params)}
    assert kinds == {jax.numpy.bfloat16.dtype}
    assert (plan.options["rows"], plan.options["strip"]) == ("packed", "characters")


def test_fine_tuning_on_the_embedded_instructions(files):
    told = []
    plan, corpus = plans.fine_tuning(
        "replace", weights=files["weights"], max_documents=2000, tell=told.append
    )
    assert plan.options["data"].context == 128
    assert plan.axes["num_samples"] == [min(700, corpus.train.count)]
    assert told == [line for line in [plans.left_out(corpus, 128)] if line]


def test_mixtures(files):
    plan, corpus = plans.fine_tuned_mixtures([4, 8], [0, 5], **files, num_samples=20, steps=3)
    assert (plan.real, plan.synthetic, plan.num_real) == ([4, 8], [0, 5], 20)
    assert plan.options["steps"] == 3
    assert corpus.train.count == 36
    with pytest.raises(ValueError, match="real: expected at most the 20 real points"):
        plans.fine_tuned_mixtures([4, 21], [0, 5], **files, num_samples=20)


def test_a_model_without_weights_is_refused_before_data_are_read():
    with pytest.raises(ValueError, match="weights of gpt2-9m: expected a checkpoint, got none"):
        plans.fine_tuning("replace", model="gpt2-9m", data="missing.jsonl")
