"""Files that are read: what they are is in them, and what cannot be right is refused."""

import gzip
import json
import re

import numpy as np
import pytest

from jaxcollapse import inputs
from jaxcollapse.lm.text import reading, texts, tokenizers

ROWS = np.arange(6.0).reshape(3, 2)
CSV = "0,1\n2,3\n4,5\n"


# Arrays ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", CSV),
        ("a.CSV", CSV),
        ("a", CSV),
        ("marked.csv", "\ufeff" + CSV),
        ("windows.csv", CSV.replace("\n", "\r\n")),
        ("joined.csv", "0,1\n\ufeff2,3\n4,5"),
        ("noted.csv", "# a note\n" + CSV),
        ("a.csv.gz", gzip.compress(CSV.encode(), mtime=0)),
    ],
)
def test_numbers_of_csv(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    np.testing.assert_array_equal(inputs.numbers(path), ROWS)


def test_what_numpy_saved_is_known_by_its_first_bytes(tmp_path):
    np.save(tmp_path / "a.npy", ROWS.astype(np.int16))
    np.savez(tmp_path / "a.npz", rows=ROWS)
    (tmp_path / "a.npy").rename(tmp_path / "b.NPY")
    (tmp_path / "a.npz").rename(tmp_path / "c.npy")
    (tmp_path / "d.csv").write_bytes((tmp_path / "b.NPY").read_bytes())
    for name in ("b.NPY", "c.npy", "d.csv"):
        found = inputs.numbers(tmp_path / name)
        np.testing.assert_array_equal(found, ROWS)
        assert found.dtype == np.float64


def test_the_shape_of_a_line_is_not_guessed(tmp_path):
    line, column = tmp_path / "line.csv", tmp_path / "column.csv"
    line.write_text(",".join(map(str, range(600))))
    column.write_text("\n".join(map(str, range(600))))
    assert inputs.numbers(line).shape == (1, 600)
    assert inputs.numbers(column).shape == (600, 1)
    for path in (line, column):
        np.testing.assert_array_equal(inputs.numbers(path, vector=True), np.arange(600.0))
    line.write_text(CSV)
    assert inputs.numbers(line, vector=True).shape == (3, 2)


class Harmful:
    def __reduce__(self):
        return exec, ("raise SystemExit('run')",)


def bad_arrays(folder):
    np.save(folder / "whole.npy", ROWS)
    whole = (folder / "whole.npy").read_bytes()
    np.savez(folder / "whole.npz", ROWS)
    packed = (folder / "whole.npz").read_bytes()
    yield "cut.npy", whole[:-1]
    yield "no_shape.npy", whole[:20]
    yield "magic.npy", b"\x00" + whole[1:]
    yield "empty.npy", b""
    yield "text.npy", CSV.encode()
    yield "vast.npy", whole.replace(b"(3, 2), ", b"(9999999999, 999), ").replace(b" " * 15, b"", 1)
    yield "brackets.npy", whole[:10] + b"(" * 118 + whole[128:]
    yield "cut.npz", packed[: len(packed) // 2]
    yield "torn.npz", packed[:60] + b"\x01\x02" + packed[62:]
    yield "empty.csv", b""
    yield "blank.csv", b"\n \n"
    yield "header.csv", b"x,y\n" + CSV.encode()
    yield "ragged.csv", b"1,2\n3\n"
    yield "semicolons.csv", b"1,5;2,5\n"
    yield "latin.csv", b"1,2\n\xe9,3\n"
    yield "utf16.csv", CSV.encode("utf-16")
    yield "packed.csv.gz", gzip.compress(CSV.encode(), mtime=0)[:-9]
    for name, array in {
        "pickled": np.asarray([Harmful()], object),
        "names": np.asarray(["a", "1"]),
        "complex": ROWS + 1j,
        "dates": np.asarray(["2020-01-01"], "datetime64[D]"),
        "fields": np.zeros(3, [("x", float), ("y", float)]),
    }.items():
        np.save(folder / "made.npy", array, allow_pickle=True)
        yield f"{name}.npy", (folder / "made.npy").read_bytes()
        np.savez(folder / "made.npz", array)
        yield f"{name}.npz", (folder / "made.npz").read_bytes()
    np.savez(folder / "made.npz", a=ROWS, b=ROWS)
    yield "two.npz", (folder / "made.npz").read_bytes()


def test_arrays_that_are_none(tmp_path):
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    (tmp_path / "folder.csv").mkdir()
    for name in ("missing.npy", "loop.csv", "folder.csv"):
        with pytest.raises(ValueError, match=r"array file: expected a file that exists, got"):
            inputs.numbers(tmp_path / name)
    count = 0
    for name, content in bad_arrays(tmp_path):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=r"^array file: expected (\.npy, \.npz|UTF-8)") as told:
            inputs.numbers(tmp_path / name)
        assert str(tmp_path / name) in str(told.value), name
        assert "\n" not in str(told.value)
        count += 1
    assert count > 25


# Texts -----------------------------------------------------------------------------------------

DOCUMENTS = [f"number {i} of many" for i in range(20)]


def as_json_lines(documents=DOCUMENTS):
    return "\n".join(json.dumps({"text": document}) for document in documents)


@pytest.mark.parametrize("name", ["v.jsonl", "v.JSONL", "v.JsonL", "v.ndjson"])
def test_json_lines_by_any_spelling_of_their_ending(tmp_path, name):
    path = tmp_path / name
    path.write_text(as_json_lines())
    assert texts.read(path) == DOCUMENTS
    corpus = texts.load_corpus(path, tokenizer="bytes", cache=tmp_path / "cache")
    assert corpus.train.count + corpus.test.count == 20
    assert corpus.tokenizer.decode(corpus.test.document(0)) in DOCUMENTS


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "v.txt",
            as_json_lines(),
            "expected text, got JSON lines with 'text' in v.txt; let its na",
        ),
        ("v", "\ufeff\n" + as_json_lines(), "JSON lines with 'text' in v; let its name end in .js"),
        ("v.json", "[]", "expected a text file, or JSON lines (.jsonl), got v.json; write it"),
        ("v.CSV", "text\none", "expected a text file, or JSON lines (.jsonl), got v.CSV; write it"),
    ],
)
def test_what_is_no_text_is_not_scored_as_text(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    for read in (texts.read, texts.load_corpus):
        with pytest.raises(ValueError, match=re.escape(message)):
            read(tmp_path / name)


@pytest.mark.parametrize("content", ["{not JSON}", '{"other": 1}\n{"other": 2}', '["text"]', "{"])
def test_text_with_brackets_is_text(tmp_path, content):
    (tmp_path / "a.txt").write_text(content)
    assert texts.read(tmp_path / "a.txt") == [content]


def test_nested_brackets_are_a_bad_line(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n' + "[" * 100_000)
    with pytest.raises(ValueError, match=r"line 2 of .* expected a JSON object, got what is"):
        texts.read(tmp_path / "a.jsonl")
    (tmp_path / "a.txt").write_text('{"text":' * 100_000)
    assert len(texts.read(tmp_path / "a.txt")) == 1


def test_line_ends_and_marks_are_no_part_of_a_text(tmp_path):
    """Wherever a text was written, and whatever was joined: the same documents."""
    plain = "one\ntwo\n\nthree\n\none\ntwo"
    expected = ["one\ntwo", "three", "one\ntwo"]
    for number, written in enumerate(
        [
            plain,
            plain.replace("\n", "\r\n"),
            plain.replace("\n", "\r"),
            "\ufeff" + plain.replace("three", "\ufeffthree").replace("\n\none", "\n\n\ufeffone"),
        ]
    ):
        path = tmp_path / f"{number}.txt"
        path.write_bytes(written.encode())
        for separator in ("\n\n", "\r\n\r\n"):
            assert texts.read(path, separator) == expected
        rows = [{"text": text.encode("utf-8").decode("utf-8")} for text in written.split("three")]
        (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
        assert texts.read(tmp_path / "a.jsonl") == ["one\ntwo", "one\ntwo"]
    # Of the hub and within JSON too.
    assert reading.not_empty(["a\r\nb", "\ufeffc", "\ufeff"], "x") == ["a\nb", "c"]


def test_a_copy_with_a_mark_is_a_copy(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("<|endoftext|>".join(["one", "\ufefftwo", "two", "\ufeffone"]))
    corpus = texts.load_corpus(path, tokenizer="bytes", cache=tmp_path / "cache", test_fraction=0.3)
    assert (corpus.test.count, corpus.copies, corpus.train.count) == (1, 1, 2)


def test_how_much_is_cut():
    tokenizer = tokenizers.byte_tokenizer()
    documents = texts.tokenise(["a" * 298, "b" * 448, "c"], tokenizer)
    beyond = documents.beyond(128)
    assert beyond == (2, 3, 172 + 322, 753)
    assert "documents cut: 2 of 3, with 65.6% of all tokens, which are not used" in str(beyond)
    assert str(documents.beyond(450)) == ""
    assert len(documents.cut(128).tokens) == 753 - beyond.tokens
