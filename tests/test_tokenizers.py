"""Tokenizers: round trips, and real ones read as their owners read them."""

import json
import pickle
import shutil
import struct
import subprocess
import sys

import pytest

from jaxcollapse.lm.text import stories, tokenizers

TEXTS = [
    "",
    " two  spaces\n\nand lines\t",
    "naïve 😀 日本 \x00\x7f",
    "<s> no special </s> <|endoftext|> <0x41>",
    "Once upon a time, there was a dog.",
]


@pytest.fixture(scope="module")
def bpe():
    return tokenizers.train_bpe(stories.stories(2000, 0)[0], 400)


def made(kind, bpe):
    return tokenizers.byte_tokenizer() if kind == "bytes" else bpe


def test_bytes_are_their_own_tokens():
    tokenizer = tokenizers.byte_tokenizer()
    assert (tokenizer.vocab_size, tokenizer.bos, tokenizer.eos) == (258, 256, 257)
    for text in TEXTS:
        assert tokenizer.encode(text) == list(text.encode("utf-8"))
    every = list(range(256))
    assert tokenizer.decode(every) == bytes(every).decode("utf-8", errors="replace")


@pytest.mark.parametrize("kind", ["bytes", "bpe"])
def test_any_text_comes_back(kind, bpe):
    tokenizer = made(kind, bpe)
    many = tokenizer.encode_many(TEXTS)
    for text, ids in zip(TEXTS, many, strict=True):
        assert tokenizer.encode(text) == ids
        assert not {tokenizer.bos, tokenizer.eos} & set(ids)
        assert tokenizer.decode([tokenizer.bos, *ids, tokenizer.eos]) == text
        assert all(0 <= i < tokenizer.vocab_size for i in ids)


@pytest.mark.parametrize("kind", ["bytes", "bpe"])
def test_what_is_saved_is_read_back(kind, bpe, tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizer = made(kind, bpe)
    tokenizer.save(tmp_path / "new" / "folder")
    again = tokenizers.load_tokenizer(tmp_path / "new" / "folder")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "new" / "folder")
    for other in (again, pickle.loads(pickle.dumps(tokenizer))):
        assert (other.bos, other.eos) == (tokenizer.bos, tokenizer.eos)
        assert other.vocab_size == tokenizer.vocab_size
        assert other.digest == tokenizer.digest
        assert other.encode_many(TEXTS) == tokenizer.encode_many(TEXTS)
    assert (theirs.bos_token_id, theirs.eos_token_id) == (tokenizer.bos, tokenizer.eos)
    # The beginning of sequence that models are trained with.
    assert theirs.encode(TEXTS[4]) == [tokenizer.bos, *tokenizer.encode(TEXTS[4])]
    for text in (*TEXTS[:3], TEXTS[4]):  # special tokens in a text are special for transformers
        ids = theirs.encode(text, add_special_tokens=False)
        assert ids == tokenizer.encode(text)
        assert theirs.decode(ids, skip_special_tokens=True) == text


def test_training_is_deterministic_and_as_large_as_the_texts_allow(bpe):
    assert bpe.vocab_size == 400
    assert bpe.bos != bpe.eos
    again = tokenizers.train_bpe(iter(stories.stories(2000, 0)[0]), 400)
    assert again.digest == bpe.digest
    assert tokenizers.train_bpe(stories.stories(2000, 1)[0], 400).digest != bpe.digest
    small = tokenizers.train_bpe(["aa aa"], 400)
    assert 258 < small.vocab_size < 270
    assert small.decode(small.encode("zebra")) == "zebra"
    with pytest.raises(ValueError, match="vocab_size: expected at least 258, got 257"):
        tokenizers.train_bpe(["a"], 257)


def test_one_end_stands_for_both_and_none_is_refused(bpe, tmp_path):
    bpe.save(tmp_path)
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps({"eos_token": {"content": "</s>"}}))
    loaded = tokenizers.load_tokenizer(tmp_path)
    assert (loaded.bos, loaded.eos) == (bpe.eos, bpe.eos)
    config.unlink()
    with pytest.raises(ValueError, match="expected a token that begins or ends documents"):
        tokenizers.load_tokenizer(tmp_path)
    (tmp_path / "special_tokens_map.json").write_text('{"bos_token": "<s>"}')
    (tmp_path / "config.json").write_text('{"bos_token_id": 7, "eos_token_id": [1, 5]}')
    loaded = tokenizers.load_tokenizer(tmp_path / "tokenizer.json")
    assert (loaded.bos, loaded.eos) == (bpe.bos, 1)
    (tmp_path / "special_tokens_map.json").write_text("{")
    with pytest.raises(ValueError, match=r"expected a JSON object in special_tokens_map\.json"):
        tokenizers.load_tokenizer(tmp_path)


def test_what_is_no_tokenizer_is_refused(tmp_path):
    with pytest.raises(ValueError, match="a folder or file that exists"):
        tokenizers.load_tokenizer(tmp_path / "nothing")
    with pytest.raises(ValueError, match="a folder with tokenizer"):
        tokenizers.load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match="expected files of the tokenizers library"):
        tokenizers.load_tokenizer(tmp_path)
    cut = tmp_path / "tok9.bin"
    for content in (b"", struct.pack("<ifi", 7, 0.0, 50) + b"short"):
        cut.write_bytes(content)
        with pytest.raises(ValueError, match=r"expected a vocabulary of llama2\.c"):
            tokenizers.load_tokenizer(cut)


def test_a_hub_out_of_reach_is_one_line(monkeypatch):
    transformers = pytest.importorskip("transformers")

    def fail(name):
        raise OSError("We could not connect. \nMore\nlines")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", fail)
    with pytest.raises(ValueError, match="check the name and the network") as raised:
        tokenizers.load_tokenizer("someone/something")
    assert "'someone/something' (We could not connect)" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_library_is_imported_when_needed():
    code = (
        "import sys\nfrom jaxcollapse.lm.text import stories, texts, tokenizers\n"
        "assert 'tokenizers' not in sys.modules and 'transformers' not in sys.modules\n"
        "sys.modules['tokenizers'] = None\n"
        "try: tokenizers.byte_tokenizer()\nexcept ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'jaxcollapse[lm]'" in done.stdout, done.stderr


# Special tokens, and what is random ------------------------------------------------------------


def unigram(**options):
    """A Unigram model whose vocabulary has its special tokens and bytes as pieces."""
    library = pytest.importorskip("tokenizers")
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary = [(piece, 0.0) for piece in pieces]
    vocabulary += [(piece, -3.0) for piece in "▁ab<>/s0x41"]
    vocabulary += [("▁a", -2.5), ("▁a</s>", -1.0)]
    model = library.models.Unigram(vocabulary, unk_id=0, byte_fallback=True, **options)
    backend = library.Tokenizer(model)
    backend.pre_tokenizer = library.pre_tokenizers.Metaspace()
    decoders = library.decoders
    backend.decoder = decoders.Sequence(
        [decoders.Metaspace(), decoders.ByteFallback(), decoders.Fuse()]
    )
    backend.add_special_tokens(pieces[:3])
    return backend


def test_no_text_gives_a_special_token():
    """A Unigram's own pieces are found in any text, cut as they may be."""
    tokenizer = tokenizers.Tokenizer("unigram", unigram(), 1, 2)
    texts = ["a</s>b", "</s>", "</</s>s>", "<s>a <unk>", "a<0x41>b", "é</s>\n<0x0A>", "ab"]
    for text, ids in zip(texts, tokenizer.encode_many(texts), strict=True):
        assert tokenizer.encode(text) == ids
        assert not {0, 1, 2} & set(ids)
        assert tokenizer.decode([1, *ids, 2]) == text
    # As where no text spells one.
    assert tokenizer.encode("ab é") == unigram().encode("ab é", add_special_tokens=False).ids
    ids, counts = tokenizer.encode_parts(["a</s>b"], [5])
    assert (ids[0], counts) == (tokenizer.encode("a</s>b"), [len(ids[0]) - 1])
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.digest == tokenizer.digest
    assert again.encode_many(texts) == tokenizer.encode_many(texts)


def test_a_token_that_ends_documents_is_special_whatever_its_file_says():
    backend = unigram()
    backend.add_tokens(["<|end|>"])
    tokenizer = tokenizers.Tokenizer("text", backend, 1, backend.token_to_id("<|end|>"))
    assert tokenizer.eos not in tokenizer.encode("a<|end|>b")
    assert tokenizer.has_special([5, tokenizer.eos])
    assert not tokenizer.has_special(tokenizer.encode("a<|end|>b"))


def test_a_text_that_only_a_special_token_spells_is_refused():
    backend = unigram()
    tokenizer = tokenizers.Tokenizer("letter", backend, 1, backend.token_to_id("a"))
    assert tokenizer.encode("b")
    with pytest.raises(
        ValueError, match=r"text for letter: expected none that a .*, got 'a'; take"
    ):
        tokenizer.encode("<a>")


def test_one_text_has_one_encoding():
    """Dropout and sampling are for training a tokenizer's users, and off."""
    library = pytest.importorskip("tokenizers")
    model = library.models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")], dropout=0.5)
    tokenizer = tokenizers.Tokenizer("random", library.Tokenizer(model), 0, 1)
    assert tokenizer.encode_many(["ab" * 9] * 9) == [[2] * 9] * 9
    other = library.models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")])
    assert tokenizer.digest == tokenizers.Tokenizer("same", library.Tokenizer(other), 0, 1).digest


def test_texts_that_do_not_come_back():
    library = pytest.importorskip("tokenizers")
    model = library.models.WordLevel({"<unk>": 0, "a": 1, "<s>": 2}, unk_token="<unk>")
    backend = library.Tokenizer(model)
    backend.pre_tokenizer = library.pre_tokenizers.Whitespace()
    lossy = tokenizers.Tokenizer("words", backend, 2, 2)
    assert lossy.lost(["a", "a a", "a\na", "b"]) == 0.5
    assert tokenizers.byte_tokenizer().lost(TEXTS) == 0


@pytest.mark.parametrize("number", [50256, -1, 258, True, "0", 1.0, None])
def test_ends_that_are_no_tokens_are_refused(number):
    backend = unigram() if number == 258 else tokenizers.byte_tokenizer()._backend
    message = f"token that (begins|ends) documents: expected one of the .* of x, got {number}; name"
    if number == 258:
        number = 275
        message = message.replace("258", "275")
    for ends in ((number, 0), (0, number)):
        with pytest.raises(ValueError, match=message):
            tokenizers.Tokenizer("x", backend, *ends)


def test_a_number_beyond_the_vocabulary_in_a_configuration(bpe, tmp_path):
    bpe.save(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "config.json").write_text('\ufeff{"bos_token_id": 50256, "eos_token_id": 50256}')
    with pytest.raises(ValueError, match=r"begins documents: expected one of the 400 .* got 50256"):
        tokenizers.load_tokenizer(tmp_path)


def test_a_tokenizer_by_the_name_of_its_file(bpe, tmp_path):
    bpe.save(tmp_path)
    tokenizers.byte_tokenizer().save(tmp_path / "bytes")
    (tmp_path / "bytes/tokenizer.json").rename(tmp_path / "other.json")
    assert tokenizers.load_tokenizer(tmp_path / "tokenizer.json").vocab_size == 400
    other = tokenizers.load_tokenizer(tmp_path / "other.json")
    assert (other.name, other.vocab_size) == ("other", 258)


# Real ones -------------------------------------------------------------------------------------


def test_gpt2(shared_data):
    tokenizer = tokenizers.load_tokenizer(shared_data / "tokenizer_gpt2")
    assert tokenizer.encode("Hello world") == [15496, 995]
    assert (tokenizer.vocab_size, tokenizer.bos, tokenizer.eos) == (50257, 50256, 50256)
    for text in TEXTS:
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert 50256 not in tokenizer.encode("<|endoftext|>")
    assert stories.story_grammar().is_piecewise(tokenizer)


def test_gemma(shared_data):
    tokenizer = tokenizers.load_tokenizer(shared_data / "tokenizer_gemma")
    assert (tokenizer.vocab_size, tokenizer.bos, tokenizer.eos) == (256_000, 2, 1)
    ids = tokenizer.encode("Hello <bos> world")
    assert tokenizer.bos not in ids
    assert tokenizer.decode([2, *ids, 1]) == "Hello <bos> world"


def test_llama2c(shared_data, tmp_path):
    tokenizer = tokenizers.load_tokenizer(shared_data / "stories260K/tok512.bin")
    assert (tokenizer.vocab_size, tokenizer.bos, tokenizer.eos) == (512, 1, 2)
    ids = tokenizer.encode("Once upon a time")
    assert ids == [403, 407, 261, 378]
    assert tokenizer.decode([1, *ids]) == "Once upon a time"
    for text in TEXTS:
        assert tokenizer.decode([1, *tokenizer.encode(text), 2]) == text
    assert tokenizer.encode("ł\x00") == [410, *(3 + byte for byte in "ł\x00".encode())]
    assert not stories.story_grammar().is_piecewise(tokenizer)
    shutil.copy(shared_data / "stories260K/tok512.bin", tmp_path)
    tokenizer.save(tmp_path / "saved")
    for other in (tmp_path, tmp_path / "saved"):
        assert tokenizers.load_tokenizer(other).encode(TEXTS[4]) == tokenizer.encode(TEXTS[4])


def run_c(path):
    """What llama2.c's run.c does, line by line."""
    content, place, tokens, scores = path.read_bytes(), 4, [], []
    while place < len(content):
        score, length = struct.unpack_from("<fi", content, place)
        tokens.append(content[place + 8 : place + 8 + length])
        scores.append(score)
        place += 8 + length
    numbers = {token: number for number, token in enumerate(tokens)}

    def encode(text):
        ids = [numbers[b" "]] if text else []
        for character in text:
            piece = character.encode()
            ids += [numbers[piece]] if piece in numbers else [byte + 3 for byte in piece]
        while True:
            best, best_at = -1e10, -1
            for i in range(len(ids) - 1):
                joined = numbers.get(tokens[ids[i]] + tokens[ids[i + 1]])
                if joined is not None and scores[joined] > best:
                    best, best_at = scores[joined], i
            if best_at < 0:
                return ids
            joined = numbers[tokens[ids[best_at]] + tokens[ids[best_at + 1]]]
            ids[best_at : best_at + 2] = [joined]

    return encode


def test_llama2c_joins_as_run_c_does(shared_data):
    path = shared_data / "stories260K/tok512.bin"
    tokenizer, encode = tokenizers.load_tokenizer(path), run_c(path)
    for text in (*TEXTS, "aaaaaaa    ....!!!!! ssss", *stories.stories(40, 0)[0]):
        assert tokenizer.encode(text) == encode(text)


def test_llama2c_counts_the_tokens_of_the_known_answer(shared_data):
    tokenizer = tokenizers.load_tokenizer(shared_data / "stories260K/tok512.bin")
    text = (shared_data / "tinystories/tinystories_sample_5M.txt").read_text(encoding="utf-8")
    stories = [story.strip() for story in text.split("<|endoftext|>")[1:101]]
    # Predicted within a context of 512, whose first is bos.
    assert sum(min(len(ids), 511) for ids in tokenizer.encode_many(stories)) == 35_543
