"""Documents, corpora and their cache."""

import json
import sys
import time
import types

import numpy as np
import pytest
from conftest import standard_errors

from jaxcollapse import machine
from jaxcollapse.lm.text import corpora, texts, tokenizers
from jaxcollapse.lm.text import stories as grammar

LISTS = [[1, 5, 6, 2], [1, 2], [1, 7, 8, 9, 2]]


@pytest.fixture
def documents():
    return texts.Documents.from_lists(LISTS)


def as_lists(documents):
    return [documents.document(i).tolist() for i in range(documents.count)]


# Documents -------------------------------------------------------------------------------------


def test_documents_are_ragged(documents):
    assert documents.tokens.dtype == np.int32
    assert documents.offsets.dtype == np.int64
    assert documents.count == 3
    assert documents.lengths.tolist() == [4, 2, 5]
    assert as_lists(documents) == LISTS
    assert documents.document(-1).tolist() == LISTS[-1]
    with pytest.raises(IndexError):
        documents.document(3)


def test_padded_cuts_and_fills(documents):
    rows, lengths = documents.padded(4)
    assert rows.dtype == lengths.dtype == np.int32
    assert rows.tolist() == [[1, 5, 6, 2], [1, 2, 0, 0], [1, 7, 8, 9]]
    assert lengths.tolist() == [4, 2, 4]
    assert documents.padded(7)[0].shape == (3, 7)
    with pytest.raises(ValueError, match="context"):
        documents.padded(0)


def test_take_and_concatenate(documents):
    assert as_lists(documents.take([2, 0, 2])) == [LISTS[2], LISTS[0], LISTS[2]]
    assert as_lists(documents.take(np.asarray([-1]))) == [LISTS[2]]
    assert documents.take([]).count == 0
    both = texts.Documents.concatenate([documents, documents.take([1])])
    assert as_lists(both) == [*LISTS, LISTS[1]]
    assert both.tokens.dtype == np.int32
    assert both.offsets.dtype == np.int64
    for empty in (texts.Documents.concatenate([]), texts.Documents.from_lists([])):
        assert empty.count == 0
        assert empty.padded(3)[0].shape == (0, 3)


def test_prompts_go_with_their_documents(documents):
    told = documents._replace(prompts=np.asarray([3, 1, 2], np.int32))
    taken = told.take([2, 0, 2])
    assert taken.prompts.tolist() == [2, 3, 2]
    both = texts.Documents.concatenate([texts.Documents.from_lists([]), taken, told])
    assert both.prompts.tolist() == [2, 3, 2, 3, 1, 2]
    cut = told.cut(2)
    assert as_lists(cut) == [[1, 5], [1, 2], [1, 7]]
    assert cut.prompts.tolist() == [2, 1, 2]
    assert taken.prompts.dtype == both.prompts.dtype == cut.prompts.dtype == np.int32
    assert as_lists(documents.cut(9)) == LISTS
    for untold in (documents.take([0]), documents.cut(2), texts.Documents.from_lists([])):
        assert untold.prompts is None
    assert texts.Documents.concatenate([told, documents]).prompts is None
    with pytest.raises(ValueError, match="context"):
        documents.cut(0)


def test_tokenise_puts_ends_around_texts():
    tokenizer = tokenizers.byte_tokenizer()
    assert as_lists(texts.tokenise(["ab", ""], tokenizer)) == [[256, 97, 98, 257], [256, 257]]


# Files -----------------------------------------------------------------------------------------


def test_read_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("\ufeff one é\n<|endoftext|>\n\n<|endoftext|>two\nlines", encoding="utf-8")
    assert texts.read_text(path) == ["one é", "two\nlines"]
    assert texts.read_text(path, separator="\n") == [
        "one é",
        "<|endoftext|>",
        "<|endoftext|>two",
        "lines",
    ]
    with pytest.raises(ValueError, match="separator"):
        texts.read_text(path, separator="")
    path.write_bytes(b"caf\xe9 and more")
    with pytest.raises(ValueError, match="expected UTF-8, got another byte at offset 3 of"):
        texts.read_text(path)
    path.write_text(" \n<|endoftext|>\n")
    with pytest.raises(ValueError, match="expected one document or more, got none"):
        texts.read_text(path)
    with pytest.raises(ValueError, match="expected a file that exists"):
        texts.read_text(tmp_path / "b.txt")


def test_read_json_lines(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [
        {"text": " one\u2028"},
        {"prompt": "hi", "response": "hello", "chosen": "no"},
        {"prompt": "hi", "chosen": "good day", "rejected": "go"},
        {"text": ""},
    ]
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n\n")
    assert texts.read_json_lines(path) == [
        "one",
        "user: hi\nassistant: hello",
        "user: hi\nassistant: good day",
    ]
    with pytest.raises(ValueError, match=r"line 2 of .*expected the field 'text', got 'prompt'"):
        texts.read_json_lines(path, ("text",))
    path.write_text('{"a": "x", "b": "y"}\n{"a": "z", "b": ""}')
    assert texts.read_json_lines(path, ("b", "a")) == [
        "user: y\nassistant: x",
        "user: \nassistant: z",
    ]
    assert texts.read_json_lines(path, ("a",)) == ["x", "z"]
    with pytest.raises(ValueError, match="fields: expected one, or two"):
        texts.read_json_lines(path, ("a", "b", "c"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "expected a JSON object, got what is none"),
        ('["text"]', "expected a JSON object, got list"),
        ('{"text": 3}', "expected a text in 'text', got int"),
        ('{"prompt": "a"}', "expected the field 'text', or 'prompt' and 'response', or .*got 'pro"),
        ('{"text": "\\ud800"}', "expected Unicode in 'text', got half of a surrogate pair"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "fine"}\n' + line)
    with pytest.raises(ValueError, match=r"line 2 of .*a\.jsonl: " + message):
        texts.read_json_lines(path)


def test_the_hub(monkeypatch, tmp_path):
    class Columns(dict):
        column_names = ("text", "title")

    rows = Columns(text=[" one ", "", "two", "three"], title=["", "", "", ""])
    asked = []

    def load_dataset(name):
        asked.append(name)
        if name != "owner/name":
            raise ConnectionError("no way there. More\nwords")
        return {"train": rows, "test": Columns(text=["four"], title=["a"])}

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    assert texts.read_hub("owner/name") == ["one", "two", "three"]
    assert texts.read_hub("owner/name", split="test") == ["four"]
    assert asked == ["owner/name"] * 2
    corpus = texts.load_corpus("owner/name", tokenizer="bytes", cache=tmp_path)
    assert (corpus.name, corpus.train.count, corpus.test.count) == ("owner/name", 2, 1)
    with pytest.raises(ValueError, match=r"got 'other' \(no way there\); check the name") as raised:
        texts.load_corpus("other", cache=tmp_path)
    assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match="the field 'body' in 'owner/name', got 'text', 'title'"):
        texts.read_hub("owner/name", field="body")
    with pytest.raises(ValueError, match="a split 'dev' in 'owner/name', got 'train', 'test'"):
        texts.read_hub("owner/name", split="dev")
    rows["text"][2] = 3
    with pytest.raises(ValueError, match="expected texts in 'text' of 'owner/name', got int"):
        texts.read_hub("owner/name")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r"jaxcollapse\[hub\]"):
        texts.read_hub("owner/name")


# Corpora ---------------------------------------------------------------------------------------


def decoded(corpus, documents):
    return [corpus.tokenizer.decode(ids) for ids in as_lists(documents)]


@pytest.fixture(scope="module")
def stories(tmp_path_factory):
    return texts.load_corpus(max_documents=3000, cache=tmp_path_factory.mktemp("cache"))


def test_the_embedded_corpus(stories):
    assert stories.name == "stories"
    assert (stories.train.count, stories.test.count) == (2700, 300)
    assert stories.tokenizer.vocab_size == 512
    whole = texts.Documents.concatenate([stories.train, stories.test])
    found = decoded(stories, whole)
    assert sorted(found) == sorted(grammar.stories(3000, 0)[0])
    ends = whole.tokens[whole.offsets[:-1]], whole.tokens[whole.offsets[1:] - 1]
    assert set(ends[0].tolist()) == {stories.tokenizer.bos}
    assert set(ends[1].tolist()) == {stories.tokenizer.eos}


def test_the_true_law_of_the_embedded_corpus(stories):
    law = grammar.story_grammar()
    log_probs = np.asarray([law.log_prob(story) for story in decoded(stories, stories.test)])
    predicted = stories.test.lengths - 1
    assert stories.test_nll == pytest.approx(-log_probs.sum() / predicted.sum())
    tokens = law.expected_tokens(stories.tokenizer) + 1
    assert stories.entropy_rate == pytest.approx(law.entropy() / tokens)
    assert standard_errors(-log_probs - stories.entropy_rate * predicted, 0.0) < 5


def test_how_many_stories(monkeypatch, tmp_path):
    assert (corpora.EMBEDDED, corpora.EMBEDDED_TEST) == (21_000, 1_000)
    monkeypatch.setattr(corpora, "EMBEDDED", 45)
    monkeypatch.setattr(corpora, "EMBEDDED_TEST", 5)
    corpus = texts.load_corpus(tokenizer="bytes", test_fraction=0.5, cache=tmp_path)
    assert (corpus.train.count, corpus.test.count) == (40, 5)
    corpus = texts.load_corpus(tokenizer="bytes", max_documents=100, cache=tmp_path)
    assert (corpus.train.count, corpus.test.count) == (95, 5)


@pytest.fixture
def numbered(tmp_path):
    path = tmp_path / "numbered.txt"
    path.write_text("<|endoftext|>".join(f"number {i // 2}" for i in range(100)))
    return path


def test_no_document_is_on_both_sides(numbered, tmp_path):
    corpus = texts.load_corpus(numbered, tokenizer="bytes", test_fraction=0.2, cache=tmp_path)
    train, test = (decoded(corpus, part) for part in (corpus.train, corpus.test))
    assert len(test) == 20
    assert not set(train) & set(test)
    assert set(train) | set(test) == {f"number {i}" for i in range(50)}
    assert corpus.copies == 80 - len(train) > 0
    assert corpus.test_nll is None
    assert corpus.entropy_rate is None
    other = texts.load_corpus(
        numbered, tokenizer="bytes", test_fraction=0.2, cache=tmp_path, seed=1
    )
    assert decoded(other, other.test) != test
    few = texts.load_corpus(numbered, tokenizer="bytes", max_documents=10, cache=tmp_path)
    assert few.train.count + few.test.count <= 10
    assert few.test.count == 1


def test_bpe_is_trained_on_the_training_documents_alone(numbered, tmp_path):
    corpus = texts.load_corpus(numbered, vocab_size=300, cache=tmp_path)
    trained = tokenizers.train_bpe(decoded(corpus, corpus.train), 300)
    assert corpus.tokenizer.digest == trained.digest


def test_a_tokenizer_of_ones_own(numbered, stories, tmp_path):
    stories.tokenizer.save(tmp_path / "tokenizer")
    for _ in range(2):  # made, and from the cache
        corpus = texts.load_corpus(numbered, tokenizer=str(tmp_path / "tokenizer"), cache=tmp_path)
        assert corpus.tokenizer.digest == stories.tokenizer.digest


def test_the_cache(numbered, tmp_path, monkeypatch):
    def load(**options):
        return texts.load_corpus(numbered, cache=tmp_path / "new", **options)

    first = load(vocab_size=300)
    files = list((tmp_path / "new").iterdir())
    assert len(files) == 1
    with monkeypatch.context() as patch:
        patch.setattr(texts, "tokenised", None)
        again = load(vocab_size=300)
    assert again.digest == first.digest
    assert again.tokenizer.digest == first.tokenizer.digest
    assert (again.name, again.test_nll) == (first.name, first.test_nll)
    assert as_lists(again.train) == as_lists(first.train)
    assert as_lists(again.test) == as_lists(first.test)
    digests = {first.digest}
    for options in ({"vocab_size": 301}, {"seed": 1}, {"tokenizer": "bytes"}, {"separator": "9"}):
        digests.add(load(**{"vocab_size": 300, **options}).digest)
    assert len(digests) == 5
    assert len(list((tmp_path / "new").iterdir())) == 5
    numbered.write_text(numbered.read_text() + " and more")
    assert load(vocab_size=300).digest not in digests
    # A damaged file is made again: cut off, of one other byte, or something else.
    whole = files[0].read_bytes()
    numbered.write_text(numbered.read_text().removesuffix(" and more"))
    middle = len(whole) // 3
    other = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for damaged in (whole[:-100], other, b"", b"nothing"):
        files[0].write_bytes(damaged)
        assert load(vocab_size=300).digest == first.digest
        assert corpora.read(files[0], None) is not None


def test_a_cache_that_cannot_be_written_is_none(numbered, tmp_path):
    (tmp_path / "file").write_text("")
    corpus = texts.load_corpus(numbered, tokenizer="bytes", cache=tmp_path / "file")
    assert corpus.test.count == 10


def test_the_cache_is_the_users(numbered, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert machine.cache_folder("corpora") == tmp_path / "xdg/jaxcollapse/corpora"
    texts.load_corpus(numbered, tokenizer="bytes")
    assert len(list((tmp_path / "xdg/jaxcollapse/corpora").iterdir())) == 1
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert machine.cache_folder("xla") == tmp_path / ".cache/jaxcollapse/xla"


def test_what_is_refused(numbered, tmp_path):
    def refused(message, data=numbered, **options):
        with pytest.raises(ValueError, match=message):
            texts.load_corpus(data, cache=tmp_path, **options)

    refused("vocab_size: expected at least 258", vocab_size=257)
    for fraction in (0, 1, -0.5, float("nan")):
        refused(
            "test_fraction: expected a finite number above 0 and below 1", test_fraction=fraction
        )
    refused("max_documents: expected at least 2", max_documents=1)
    refused("a file that exists, or a data set's name", data="missing.txt")
    refused("a file that exists, or a data set's name", data=tmp_path / "missing")
    refused("a file that exists, or a data set's name", data=str(tmp_path))
    refused("two different documents or more.*got 1", separator="!")
    (tmp_path / "same.txt").write_text("a<|endoftext|>a<|endoftext|>a")
    refused("two different documents or more", data=tmp_path / "same.txt", tokenizer="bytes")


# Real data -------------------------------------------------------------------------------------


def test_five_megabytes_are_seconds_at_first_and_less_from_the_cache(shared_data, tmp_path):
    path = shared_data / "tinystories/tinystories_sample_5M.txt"
    start = time.perf_counter()
    corpus = texts.load_corpus(path, vocab_size=512, cache=tmp_path)
    made = time.perf_counter()
    again = texts.load_corpus(path, vocab_size=512, cache=tmp_path)
    read = time.perf_counter()
    assert made - start < 15  # 2.3 s on two cores
    assert read - made < 1  # 0.02 s
    assert corpus.digest == again.digest
    assert 6000 < corpus.train.count + corpus.test.count <= 6458
    assert corpus.test_nll is None
    assert corpus.tokenizer.decode(corpus.train.document(0)) in path.read_text(encoding="utf-8")


def test_preferences(shared_data, tmp_path):
    path = shared_data / "helpsteer2/helpsteer_pref.jsonl"
    assert len(texts.read_json_lines(path)) == 849
    corpus = texts.load_corpus(path, tokenizer="bytes", cache=tmp_path)
    story = corpus.tokenizer.decode(corpus.test.document(0))
    assert story.startswith("user: ")
    assert "\nassistant: " in story
