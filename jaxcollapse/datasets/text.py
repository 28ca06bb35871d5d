"""Texts as tokens: read, split by document, tokenised once and kept in the user's cache."""

from __future__ import annotations

import contextlib
import hashlib
import json
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcollapse import checks, machine, results
from jaxcollapse.datasets import grammar, tokenizers
from jaxcollapse.datasets.documents import Documents, tokenise

SEPARATOR = "<|endoftext|>"  # between the documents of a text file
TRAIN_STORIES, TEST_STORIES = 20_000, 1_000  # of the embedded grammar
FORMAT = "jaxcollapse corpus 1"


class Corpus(NamedTuple):
    """Real documents to train and to test on.

    Attributes:
      name: what to call it.
      train: documents to train on.
      test: others, none of which is among ``train``.
      tokenizer: what their tokens mean.
      digest: of all tokens and the tokenizer, sha256 in hexadecimal digits.
      test_nll: negative log-likelihood of ``test`` under the law that made it, nats per predicted
        token, which all are but ``bos``; None where that law is not known.
      entropy_rate: its expectation: the entropy of a document over the expected number of its
        predicted tokens, nats per token; None where it is not known.
    """

    name: str
    train: Documents
    test: Documents
    tokenizer: tokenizers.Tokenizer
    digest: str
    test_nll: float | None
    entropy_rate: float | None


# Lists of texts --------------------------------------------------------------------------------


def read_text(path: Path | str, separator: str = SEPARATOR) -> list[str]:
    """The documents of a UTF-8 file, without blanks around them and without empty ones.

    Raises:
      ValueError: there is no such file, it is no UTF-8, or no document is in it.
    """
    return _split(_content(path), str(path), separator)


def read_json_lines(path: Path | str, fields: tuple[str, ...] | None = None) -> list[str]:
    r"""The documents of a file with a JSON object in each line; empty ones are left out.

    Args:
      path: the file, UTF-8.
      fields: ``("text",)`` or another field that is the document; or two, of a prompt and a
        response, for ``"user: {prompt}\nassistant: {response}"``. None: in each line ``text``, or
        ``prompt`` and ``response``, or ``prompt`` and ``chosen``.

    Raises:
      ValueError: there is no such file, it is no UTF-8, a line is not as expected, or no document
        is in it.
    """
    return _json_lines(_content(path), str(path), fields)


def read_hub(name: str, split: str = "train", field: str = "text") -> list[str]:
    """The documents of a data set at the Hugging Face hub, as ``read_text`` leaves them.

    Raises:
      ValueError: it cannot be had, or has no such field or split, or no document.
      ImportError: the extra ``hub`` is not installed.
    """
    library = checks.require("datasets", "hub")
    try:
        texts = list(library.load_dataset(name, split=split)[field])
    except Exception as error:  # the library and those below it raise many kinds
        raise checks.refuse(
            "data",
            f"a file that exists, or a data set at the hub with split '{split}' and field "
            f"'{field}' that can be reached",
            f"'{name}' ({tokenizers.first_sentence(error)})",
            "check the name and the network, or give a file of texts",
        ) from None
    wrong = next((text for text in texts if not isinstance(text, str)), None)
    if wrong is not None:
        raise checks.refuse(
            "data", f"texts in field '{field}' of '{name}'", type(wrong).__name__, "choose another"
        )
    return _not_empty(texts, name)


def _content(path: Path | str) -> bytes:
    path = Path(path)
    if not path.is_file():
        raise checks.refuse("data", "a file that exists", str(path), "check the path")
    return path.read_bytes()


def _decoded(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise checks.refuse(
            "data",
            "UTF-8",
            f"another byte at offset {error.start} of {where}",
            "convert the file to UTF-8",
        ) from None


def _split(content: bytes, where: str, separator: str) -> list[str]:
    if not separator:
        raise checks.refuse("separator", "one character or more", "none", f"try '{SEPARATOR}'")
    return _not_empty(_decoded(content, where).split(separator), where)


def _not_empty(texts: Iterable[str], where: str) -> list[str]:
    stripped = (text.strip() for text in texts)
    kept = [text for text in stripped if text]
    if not kept:
        raise checks.refuse(
            "data", "one document or more", f"none in {where}", "give a file with text in it"
        )
    return kept


def _json_lines(content: bytes, where: str, fields: tuple[str, ...] | None) -> list[str]:
    if fields is not None and len(fields) not in (1, 2):
        raise checks.refuse(
            "fields", "one, or two of a prompt and a response", len(fields), "name as many"
        )
    choices = [fields] if fields else [("text",), ("prompt", "response"), ("prompt", "chosen")]
    wanted = ", or ".join(" and ".join(f"'{name}'" for name in names) for names in choices)
    texts = []
    for number, line in enumerate(_decoded(content, where).split("\n"), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise _bad_line(where, number, "a JSON object", f"what is none ({error})") from None
        if not isinstance(entry, dict):
            raise _bad_line(where, number, "a JSON object", type(entry).__name__)
        names = next((names for names in choices if all(name in entry for name in names)), None)
        if names is None:
            present = ", ".join(f"'{name}'" for name in entry) or "none"
            raise _bad_line(where, number, f"the field {wanted}", present)
        parts = [entry[name] for name in names]
        for name, part in zip(names, parts, strict=True):
            if not isinstance(part, str):
                raise _bad_line(where, number, f"a text in '{name}'", type(part).__name__)
            if any("\ud800" <= character <= "\udfff" for character in part):
                raise _bad_line(where, number, f"Unicode in '{name}'", "half of a surrogate pair")
        text = parts[0] if len(parts) == 1 else f"user: {parts[0]}\nassistant: {parts[1]}"
        texts.append(text)
    return _not_empty(texts, where)


def _bad_line(where: str, number: int, expected: str, got: str) -> ValueError:
    return checks.refuse(f"line {number} of {where}", expected, got, "mend or remove the line")


# Corpora ---------------------------------------------------------------------------------------


def load_corpus(
    data: str | Path | None = None,
    tokenizer: str = "bpe",
    vocab_size: int = 512,
    test_fraction: float = 0.1,
    max_documents: int | None = None,
    separator: str = SEPARATOR,
    seed: int = 0,
    cache: Path | None = None,
) -> Corpus:
    """A corpus in tokens, from the cache if it has been made before.

    Documents are put in a random order and split; what occurs in the test set is removed from the
    training set.

    Args:
      data: None: 21,000 stories of the embedded grammar, 1,000 of them to test on; a file of JSON
        lines if its name ends in ``.jsonl``, of text otherwise; or the name of a data set at the
        Hugging Face hub.
      tokenizer: ``bpe``, trained on the training documents; ``bytes``; or the folder or name of
        one that exists.
      vocab_size: the tokens of ``bpe``.
      test_fraction: the share of the documents to test on; of stories, 1,000 at most.
      max_documents: take this many, chosen at random; of stories, make this many.
      separator: what stands between the documents of a text file.
      seed: of the order, and of the stories.
      cache: a folder to keep corpora in; the user's cache by default.

    Raises:
      ValueError: a number is out of range, the data or the tokenizer cannot be read, or there are
        fewer than two different documents.
      ImportError: the extra ``lm``, or for the hub ``hub``, is not installed.
    """
    if tokenizer == "bpe":
        checks.whole_number("vocab_size", vocab_size, tokenizers.SMALLEST_BPE)
    if not 0.0 < test_fraction < 1.0:
        raise checks.refuse(
            "test_fraction", "a number between 0 and 1", test_fraction, "0.1 is usual"
        )
    if max_documents is not None:
        checks.whole_number("max_documents", max_documents, 2)
    checks.whole_number("seed", seed, 0)
    source = _source(data, separator)
    ready = None if tokenizer in ("bpe", "bytes") else tokenizers.load_tokenizer(tokenizer)
    parameters = [
        FORMAT,
        *source.key,
        ready.digest if ready else [tokenizer, _version()],
        vocab_size if tokenizer == "bpe" else None,
        float(test_fraction),
        max_documents,
        seed,
    ]
    key = hashlib.sha256(json.dumps(parameters).encode()).hexdigest()
    path = (machine.cache_folder("corpora") if cache is None else Path(cache)) / f"{key}.npz"
    corpus = _read(path, ready)
    if corpus is None:
        corpus = _make(source, tokenizer, ready, vocab_size, test_fraction, max_documents, seed)
        with contextlib.suppress(OSError):  # a cache that cannot be written is none
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, corpus, trained=ready is None)
    return corpus


class _Source(NamedTuple):
    """Where texts come from; they are decoded only if the cache does not have them as tokens.

    Attributes:
      name: what to call them.
      key: what decides them, as JSON can hold it.
      content: the bytes of a file, or the texts, or None for stories.
      separator: of a text file; None of one of JSON lines.
    """

    name: str
    key: list[Any]
    content: bytes | list[str] | None
    separator: str | None = None

    def texts(self) -> list[str]:
        assert self.content is not None
        if isinstance(self.content, list):
            return self.content
        if self.separator is None:
            return _json_lines(self.content, self.name, None)
        return _split(self.content, self.name, self.separator)


def _source(data: str | Path | None, separator: str) -> _Source:
    if data is None:
        return _Source("stories", ["stories", grammar.digest()], None)
    path = Path(data)
    if path.is_file():
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if path.suffix == ".jsonl":
            return _Source(path.name, ["json lines", path.name, digest], content)
        return _Source(path.name, ["text", path.name, digest, separator], content, separator)
    name = str(data)
    looks_like_a_file = path.suffix in (".txt", ".jsonl") or path.exists()
    if isinstance(data, Path) or looks_like_a_file or not tokenizers.HUB_NAME.fullmatch(name):
        raise checks.refuse(
            "data", "a file that exists, or a data set's name at the hub", name, "check the path"
        )
    texts = read_hub(name)
    digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()
    return _Source(name, ["hub", name, digest], texts)


def _make(
    source: _Source,
    tokenizer: str,
    ready: tokenizers.Tokenizer | None,
    vocab_size: int,
    test_fraction: float,
    max_documents: int | None,
    seed: int,
) -> Corpus:
    log_probs: np.ndarray | None = None
    if source.content is None:
        texts, log_probs = grammar.stories(max_documents or TRAIN_STORIES + TEST_STORIES, seed)
    else:
        texts = source.texts()
    order = np.random.default_rng([seed, 1]).permutation(len(texts))[:max_documents]
    num_test = min(max(round(test_fraction * len(order)), 1), len(order) - 1)
    if source.content is None:
        num_test = min(num_test, TEST_STORIES)
    held_out = order[:num_test]
    test_texts = [texts[i] for i in held_out]
    among_test = set(test_texts)
    train_texts = [texts[i] for i in order[num_test:] if texts[i] not in among_test]
    if not train_texts or not test_texts:
        raise checks.refuse(
            "data",
            "two different documents or more, some to train and some to test on",
            f"{len(texts)} in {source.name}",
            f"bring more, with '{SEPARATOR}' or a separator of your own between them",
        )
    if ready is None and tokenizer == "bpe":
        ready = tokenizers.train_bpe(train_texts, vocab_size)
    ready = ready or tokenizers.byte_tokenizer()
    train, test = tokenise(train_texts, ready), tokenise(test_texts, ready)
    test_nll = entropy_rate = None
    if log_probs is not None:
        predicted = int(test.lengths.sum()) - test.count
        test_nll = -float(log_probs[held_out].sum()) / predicted
        if grammar.is_piecewise(ready):
            entropy_rate = grammar.entropy() / (grammar.expected_tokens(ready) + 1)
    digest = _digest(train, test, ready)
    return Corpus(source.name, train, test, ready, digest, test_nll, entropy_rate)


def _digest(train: Documents, test: Documents, tokenizer: tokenizers.Tokenizer) -> str:
    digest = hashlib.sha256(tokenizer.digest.encode())
    for documents in (train, test):
        for array, kind in ((documents.offsets, "<i8"), (documents.tokens, "<i4")):
            digest.update(array.size.to_bytes(8, "little"))
            digest.update(np.ascontiguousarray(array, kind).tobytes())
    return digest.hexdigest()


def _version() -> str:
    try:
        return metadata.version("tokenizers")
    except metadata.PackageNotFoundError:
        return "not installed"


# The cache -------------------------------------------------------------------------------------


def _write(path: Path, corpus: Corpus, trained: bool) -> None:
    """Writes a corpus; of a tokenizer that lies elsewhere only its digest, within the corpus's."""
    facts = {
        "name": corpus.name,
        "digest": corpus.digest,
        "test_nll": corpus.test_nll,
        "entropy_rate": corpus.entropy_rate,
        "tokenizer": [
            corpus.tokenizer.name,
            corpus.tokenizer.to_json(),
            corpus.tokenizer.bos,
            corpus.tokenizer.eos,
        ]
        if trained
        else None,
    }
    with results.whole_file(path) as temporary:
        np.savez(
            temporary,
            train_tokens=corpus.train.tokens,
            train_offsets=corpus.train.offsets,
            test_tokens=corpus.test.tokens,
            test_offsets=corpus.test.offsets,
            facts=np.frombuffer(json.dumps(facts).encode(), np.uint8),
        )


def _read(path: Path, ready: tokenizers.Tokenizer | None) -> Corpus | None:
    """A corpus from the cache, or None if it is not there or is damaged."""
    if not path.is_file():
        return None
    try:
        # Opened here: numpy leaves a file open that turns out to be no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            train = Documents(arrays["train_tokens"], arrays["train_offsets"])
            test = Documents(arrays["test_tokens"], arrays["test_offsets"])
            facts = json.loads(arrays["facts"].tobytes())
        tokenizer = ready or tokenizers.from_json(*facts["tokenizer"])
        corpus = Corpus(
            facts["name"],
            train,
            test,
            tokenizer,
            facts["digest"],
            facts["test_nll"],
            facts["entropy_rate"],
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None
    return corpus if corpus.digest == _digest(train, test, tokenizer) else None
