"""Prompts and responses: their format, where responses begin, and corpora of them."""

import json
import sys
import types

import numpy as np
import pytest
from conftest import standard_errors

from jaxcollapse.lm.arrays import text_data
from jaxcollapse.lm.plans import left_out
from jaxcollapse.lm.text import conversations, corpora, instructions, tokenizers
from jaxcollapse.lm.text.conversations import Conversation, formatted, load, parsed, tokenise
from jaxcollapse.lm.text.texts import load_corpus

BYTES = tokenizers.byte_tokenizer()
# Characters of one to four bytes, on both sides of where the response begins.
TEXTS = [
    Conversation("Is it hot?", "It is."),
    Conversation("naïve 😀", "日本 é 😀"),
    Conversation("two\nlines\n", "one,\n\nand two"),
    Conversation("日本", "naïve"),
    Conversation("nothing", ""),
]


# The format ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "prefix", "characters"),
    [
        ("user: hi\nassistant: yes", ("hi", "yes"), ("hi", "yes")),
        (
            "user: user: sure, why?\nassistant:  no \n",
            ("user: sure, why?", " no \n"),
            (", why?", "no"),
        ),
        ("user:  a \n\nassistant: b", (" a \n", "b"), ("a", "b")),
        ("user: a assistant: b", ("a ", "b"), ("a", "b")),
        ("user: a\nassistant: ", None, ("a", "")),
        ("user: a\nassistant: \n", None, ("a", "")),
        ("user: \nassistant: b", None, ("", "b")),
        ("user: a\nassistant:b", None, None),
        ("user: a", None, None),
        (" user: a\nassistant: b", None, None),
        ("user:a\nassistant: b", None, None),
        ("assistant: b", None, None),
        ("user: a\nassistant: b\nassistant: c", None, None),
        ("", None, None),
    ],
)
def test_what_is_malformed_and_what_is_taken_off(text, prefix, characters):
    assert parsed(text) == parsed(text, "prefix") == prefix
    assert parsed(text, "characters") == characters


def test_a_well_formed_text_comes_back():
    for each in TEXTS[:-1]:
        assert parsed(formatted(each)) == each
        assert formatted(parsed(formatted(each))) == formatted(each)
    with pytest.raises(ValueError, match="strip: expected one of prefix, characters, got 'blanks'"):
        parsed("", "blanks")


# Where responses begin -------------------------------------------------------------------------


def check_prompts(tokenizer):
    """Tokens before a response decode to what is before it, and the next one to more than that."""
    documents = tokenise(TEXTS, tokenizer)
    assert documents.prompts.dtype == np.int32
    assert documents.prompts.shape == (len(TEXTS),)
    for number, each in enumerate(TEXTS):
        tokens, first = documents.document(number), int(documents.prompts[number])
        text, before = formatted(each), formatted(each._replace(response=""))
        assert (tokens[0], tokens[-1]) == (tokenizer.bos, tokenizer.eos)
        assert tokenizer.decode(tokens) == text
        assert tokens[1:-1].tolist() == tokenizer.encode(text)
        assert before.startswith(tokenizer.decode(tokens[:first]))
        if each.response:
            assert not before.startswith(tokenizer.decode(tokens[: first + 1]))
        else:
            assert first == len(tokens) - 1


def test_where_responses_begin():
    check_prompts(BYTES)
    expected = [1 + len(formatted(each._replace(response="")).encode()) for each in TEXTS]
    assert tokenise(TEXTS, BYTES).prompts.tolist() == expected
    check_prompts(instructions.tokenizer())
    assert tokenise([], BYTES).prompts.shape == (0,)


@pytest.mark.parametrize("name", ["tokenizer_gemma", "tokenizer_gpt2", "stories260K"])
def test_where_responses_begin_with_real_tokenizers(shared_data, name):
    check_prompts(tokenizers.load_tokenizer(shared_data / name))


# Corpora ---------------------------------------------------------------------------------------


def decoded(documents):
    return [BYTES.decode(documents.document(i)) for i in range(documents.count)]


def written(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.fixture
def numbered(tmp_path):
    """A hundred rows of 50 different texts of 25 tokens, two longer and two empty ones."""
    rows = [{"prompt": f" {i // 2:02d}", "response": "yes\n"} for i in range(100)]
    rows += [{"prompt": "why", "chosen": "long " * 5}, {"prompt": "why", "chosen": "longer " * 5}]
    rows += [{"prompt": "why", "response": " "}, {"prompt": "", "response": "why"}]
    return written(tmp_path / "numbered.jsonl", rows)


@pytest.fixture
def numbers(numbered, tmp_path):
    def load_numbers(context=25, **options):
        return load(numbered, BYTES, context, cache=tmp_path / "cache", **options)

    return load_numbers


def test_longer_documents_are_dropped_or_cut(numbers):
    corpus = numbers(test_documents=20)
    assert (corpus.name, corpus.test.count, corpus.dropped) == ("numbered.jsonl", 20, 2)
    train, test = decoded(corpus.train), decoded(corpus.test)
    assert set(train) | set(test) == {f"user: {i:02d}\nassistant: yes" for i in range(50)}
    assert not set(train) & set(test)
    assert len(train) == 100 - sum(2 for _ in set(test)) == 80
    assert (corpus.copies, corpus.shared) == (0, 100)
    assert set(corpus.train.prompts.tolist()) == set(corpus.test.prompts.tolist()) == {1 + 20}
    assert corpus.test_nll is None
    assert numbers(60, test_documents=20).dropped == 0
    cut = numbers(longer="cut", test_documents=20)
    assert cut.dropped == 0
    whole = corpora.Documents.concatenate([cut.train, cut.test])
    assert set(whole.lengths.tolist()) == {25}
    assert "user: why\nassistant: lon" in decoded(whole)
    data = text_data(corpus, 25)
    assert not data.has_reference
    assert data.available == corpus.train.count
    assert "cut" not in " ".join(data.describe())
    # "long long long long long" and the longer one lose what is behind their 25th token.
    told = text_data(cut, 25).describe()
    assert told["documents_cut"] == 2
    lost = len("g long long long long</s>") - 3 + len("ger longer longer longer longer</s>") - 3
    assert cut.cut == (2, 102, lost, 102 * 25 + lost)
    assert told["share_of_tokens_cut"] == pytest.approx(lost / (102 * 25 + lost), abs=1e-6)


@pytest.mark.parametrize("fields", [("prompt", "response"), ("prompt", "chosen")])
def test_no_prompt_is_on_both_sides(tmp_path, fields):
    """Two responses a prompt, as preferences have them, as conversations and as text."""
    rows = [dict(zip(fields, (f"q{i // 2}", f"a{i}"), strict=True)) for i in range(40)]
    path = written(tmp_path / "pairs.jsonl", rows)
    tuned = load(path, BYTES, 40, test_fraction=0.2, cache=tmp_path)
    trained = load_corpus(path, "bytes", test_fraction=0.2, cache=tmp_path)
    joined = "<|endoftext|>".join(decoded(tuned.train) + decoded(tuned.test))
    (tmp_path / "pairs.txt").write_text(joined)
    as_text = load_corpus(tmp_path / "pairs.txt", "bytes", test_fraction=0.2, cache=tmp_path)
    for corpus in (tuned, trained, as_text):
        assert (corpus.train.count, corpus.test.count, corpus.copies) == (32, 8, 0)
        assert corpus.shared == 40
        train, test = ({parsed(t).prompt for t in decoded(p)} for p in (corpus.train, corpus.test))
        assert (len(train), len(test)) == (16, 4)
        assert not train & test
    # Of the one prompt at the border the rest is left out.
    odd = load(path, BYTES, 40, test_documents=3, cache=tmp_path)
    assert (odd.train.count, odd.test.count, odd.copies) == (36, 3, 1)
    assert (
        "split by prompt, which 40 documents share with others; documents left out: 1 with the"
        in (left_out(odd, 40))
    )


def test_the_order_of_what_has_no_prompt_in_common_stays():
    order = corpora.random_order(9, 0)
    np.testing.assert_array_equal(corpora.side_by_side([None] * 9, order), order)
    np.testing.assert_array_equal(corpora.side_by_side(list("abcdefghi"), order), order)
    paired = corpora.side_by_side(["a", None, "a", "b", None, "b", None, "a", "c"], order)
    assert sorted(paired) == list(range(9))
    assert list(paired).index(0) + list(paired).index(2) + list(paired).index(7) == (
        3 * sorted(list(paired).index(i) for i in (0, 2, 7))[1]
    )


def test_sizes_are_those_asked_for(numbers):
    assert numbers().test.count == 10
    assert numbers(test_fraction=0.3).test.count == 30
    few = numbers(max_documents=30, test_documents=7)
    assert few.test.count == 7
    assert few.train.count <= 23
    with pytest.raises(
        ValueError, match=r"two different documents .* 100 in numbered.jsonl; .* fewer"
    ):
        numbers(test_documents=99)  # the last one's equal is among them
    message = "max_documents: expected at most 100, as many as there are in numbered.jsonl"
    with pytest.raises(ValueError, match=message):
        numbers(max_documents=101)
    assert numbers(60, max_documents=102, seed=2).test.count == 10
    with pytest.raises(ValueError, match="test_documents: expected at most 99"):
        numbers(test_documents=100)
    with pytest.raises(ValueError, match="test_documents: expected at most 29"):
        numbers(max_documents=30, test_documents=30)


def test_a_seed_decides_and_the_cache_remembers(numbers, monkeypatch):
    first = numbers()
    with monkeypatch.context() as patch:
        patch.setattr(conversations, "tokenised", None)
        again = numbers()
    assert (again.digest, again.dropped, again.copies) == (first.digest, 2, first.copies)
    assert again.tokenizer is BYTES
    for one, other in ((again.train, first.train), (again.test, first.test)):
        for array, before in zip(one, other, strict=True):
            np.testing.assert_array_equal(array, before)
            assert array.dtype == before.dtype
    others = [{"seed": 1}, {"context": 60}, {"longer": "cut"}, {"test_documents": 9}]
    assert len({first.digest, *(numbers(**options).digest for options in others)}) == 5


def test_what_is_refused(numbers, tmp_path):
    def load_rows(rows):
        return load(written(tmp_path / "a.jsonl", rows), BYTES, 60, cache=tmp_path)

    def refused(message, rows=None, **options):
        with pytest.raises(ValueError, match=message) as raised:
            numbers(**options) if rows is None else load_rows(rows)
        assert "\n" not in str(raised.value)

    refused("context: expected at least 2", context=1)
    refused(
        "context: expected at least 25, .* numbered.jsonl .the longest has 57.*, got 24", context=24
    )
    refused("longer: expected one of drop, cut", longer="keep")
    refused("test_documents: expected at least 1", test_documents=0)
    refused("test_fraction: expected a finite number", test_fraction=1.0)
    refused("max_documents: expected at least 2", max_documents=1)
    row = {"prompt": "a", "response": "b"}
    fields = "expected the field 'prompt' and 'response', or 'prompt' and 'chosen', got 'text'"
    refused(r"line 2 of .*a\.jsonl: " + fields, [row, {"text": "a"}])
    refused("line 1 of .* a text in 'response', got int", [{"prompt": "a", "response": 1}])
    refused("one prompt with a response or more, got none in .*a.jsonl", [])
    refused("one prompt with a response or more, got none", [{"prompt": "a", "response": ""}])
    refused("two different documents or more", [row, row])
    for missing in ("missing.jsonl", str(tmp_path), tmp_path / "missing"):
        with pytest.raises(ValueError, match="a file that exists, or a data set's name at the hub"):
            load(missing, BYTES, 60)


class Columns(dict):
    @property
    def column_names(self):
        return list(self)


def test_the_hub(monkeypatch, tmp_path):
    def split(first, count, **others):
        numbers = range(first, first + count)
        texts = {"prompt": [f"{i}" for i in numbers], "response": [f"no {i}" for i in numbers]}
        return Columns(texts, **others)

    sets = {
        "nvidia/HelpSteer2": {"train": split(0, 30), "validation": split(25, 10)},
        "a/b": {"train": split(0, 30, chosen=["yes"] * 30), "test": split(40, 5)},
        "a/alone": {"train": split(0, 30)},
        "a/untrained": {"test": split(0, 30)},
        "a/text": {"train": Columns(text=["a"])},
    }

    def load_dataset(name):
        if name not in sets:
            raise ConnectionError("no way there. More\nwords")
        return sets[name]

    def got(name, **options):
        return load(name, BYTES, 60, cache=tmp_path, **options)

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    corpus = got("helpsteer2")
    assert (corpus.name, corpus.train.count, corpus.test.count) == ("nvidia/HelpSteer2", 25, 10)
    tests = {f"user: {i}\nassistant: no {i}" for i in range(25, 35)}
    assert set(decoded(corpus.test)) == tests
    corpus = got("helpsteer2", test_documents=4, max_documents=12)
    assert set(decoded(corpus.test)) < tests
    assert (corpus.train.count <= 12, corpus.test.count) == (True, 4)
    with pytest.raises(ValueError, match="test_documents: expected at most 10"):
        got("helpsteer2", test_documents=11)
    with pytest.raises(ValueError, match="max_documents: expected at most 30"):
        got("helpsteer2", max_documents=31)
    assert (got("a/b").train.count, got("a/b").test.count) == (30, 5)
    assert (got("a/alone").train.count, got("a/alone").test.count) == (27, 3)
    with pytest.raises(ValueError, match="a split 'train' in 'a/untrained', got 'test'"):
        got("a/untrained")
    with pytest.raises(ValueError, match=r"the field 'prompt' and 'response', or .*got 'text'"):
        got("a/text")
    with pytest.raises(ValueError, match=r"got 'a/c' \(no way there\); check the name") as raised:
        got("a/c")
    assert "\n" not in str(raised.value)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r"jaxcollapse\[hub\]"):
        got("helpsteer2")


# The embedded instructions ---------------------------------------------------------------------


def test_the_embedded_instructions_and_their_law(tmp_path):
    tokenizer = instructions.tokenizer()
    law = instructions.instruction_grammar()

    def got(**options):
        return load(None, tokenizer, cache=tmp_path, max_documents=3000, **options)

    corpus = got(context=64)
    assert (corpus.name, corpus.train.count, corpus.test.count) == ("instructions", 2700, 300)
    assert got(context=64, test_documents=40).test.count == 40
    texts = [tokenizer.decode(corpus.test.document(i)) for i in range(300)]
    log_probs = np.asarray([law.log_prob(text) for text in texts])
    predicted = corpus.test.lengths - 1
    assert corpus.test_nll == pytest.approx(-log_probs.sum() / predicted.sum())
    assert standard_errors(-log_probs - corpus.entropy_rate * predicted, 0.0) < 5
    data = text_data(corpus, 64)
    assert data.has_reference
    assert data.reference == np.float32(corpus.test_nll)
    # Documents to train on follow the law, those that are tested on too among them.
    trained = [tokenizer.decode(corpus.train.document(i)) for i in range(2700)]
    assert set(trained) & set(texts)
    assert standard_errors([-law.log_prob(text) for text in trained], law.entropy()) < 5
    for options in ({"context": 40}, {"context": 40, "longer": "cut"}):
        other = got(**options)
        assert other.train.lengths.max() == 40
        assert other.dropped == (
            0 if "longer" in options else 3000 - other.train.count - other.test.count
        )
        assert other.test_nll is None
        assert other.entropy_rate is None
        assert not text_data(other, 40).has_reference


# Real data -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "held_out"), [("tokenizer_gemma", 100), ("tokenizer_gpt2", 100), ("stories260K", 50)]
)
def test_preferences(shared_data, tmp_path, name, held_out):
    tokenizer = tokenizers.load_tokenizer(shared_data / name)
    path = shared_data / "helpsteer2/helpsteer_pref.jsonl"
    corpus = load(path, tokenizer, 512, test_documents=held_out, cache=tmp_path)
    assert corpus.test.count == held_out
    assert corpus.train.count + held_out + corpus.dropped == 849
    rows = {
        parsed(formatted(Conversation(row["prompt"].strip(), row["chosen"].strip())))
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())
    }
    for documents in (corpus.train, corpus.test):
        assert documents.lengths.max() <= 512
        assert (documents.prompts > 4).all()
        assert (documents.prompts < documents.lengths - 1).all()
        for number in range(0, documents.count, 10):
            assert parsed(tokenizer.decode(documents.document(number))) in rows
