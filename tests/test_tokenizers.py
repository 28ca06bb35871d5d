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
    with pytest.raises(ValueError, match=r"expected JSON in special_tokens_map\.json"):
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
