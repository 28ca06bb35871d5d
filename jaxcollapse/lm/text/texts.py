"""Texts as tokens: read, split by document, tokenised once and kept in the user's cache."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np

from jaxcollapse import checks, inputs, machine
from jaxcollapse.lm import hub
from jaxcollapse.lm.text import corpora, reading, stories, tokenizers
from jaxcollapse.lm.text.conversations import FIELDS, Conversation, formatted, prompt_of
from jaxcollapse.lm.text.corpora import Corpus
from jaxcollapse.lm.text.documents import Documents, tokenise
from jaxcollapse.parameters import Option, declared

__all__ = [
    "SEPARATOR",
    "Corpus",
    "Documents",
    "load_corpus",
    "read",
    "read_hub",
    "read_json_lines",
    "read_text",
    "tokenise",
]

STORIES_VOCABULARY, VOCABULARY = 512, 8000  # tokens of bpe, unless one says otherwise
SEPARATOR = "<|endoftext|>"  # between the documents of a text file
CHOICES = [("text",), *FIELDS]  # of lines of JSON


# Lists of texts --------------------------------------------------------------------------------


def read_text(path: Path | str, separator: str = SEPARATOR) -> list[str]:
    """The documents of a UTF-8 file, without blanks around them and without empty ones.

    Raises:
      ValueError: there is no such file, it is no UTF-8, or no document is in it.
    """
    return _separated(reading.content(path), str(path), separator)


def read(path: Path | str, separator: str = SEPARATOR) -> list[str]:
    """The documents of a text file, or of JSON lines where its name ends in ``.jsonl``.

    Raises:
      ValueError: as of ``read_text`` and ``read_json_lines``, or the name is one of neither.
    """
    content = reading.content(path)
    if reading.is_json_lines(path, content, CHOICES):
        return _json_lines(content, str(path), None)
    return _separated(content, str(path), separator)


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
    if fields is not None and len(fields) not in (1, 2):
        raise checks.refusal(
            "fields", "one, or two of a prompt and a response", len(fields), "name as many"
        )
    return _json_lines(reading.content(path), str(path), fields)


def read_hub(name: str, split: str = "train", field: str = "text") -> list[str]:
    """The documents of a data set at the Hugging Face hub, as ``read_text`` leaves them.

    Raises:
      ValueError: it cannot be had, or has no such field or split, or no document.
      ImportError: the extra ``hub`` is not installed.
    """
    rows = reading.hub_rows(hub.dataset(name), name, split, [(field,)])
    return reading.not_empty((text for (text,) in rows), name)


def _separated(content: bytes, where: str, separator: str) -> list[str]:
    if not separator:
        raise checks.refusal("separator", "one character or more", "none", f"try '{SEPARATOR}'")
    texts = inputs.decoded(content, where).split(inputs.plain(separator))
    return reading.not_empty(texts, where)


def _json_lines(content: bytes, where: str, fields: tuple[str, ...] | None) -> list[str]:
    rows = reading.json_rows(content, where, [fields] if fields else CHOICES)
    texts = (row[0] if len(row) == 1 else formatted(Conversation(*row)) for row in rows)
    return reading.not_empty(texts, where)


# Corpora ---------------------------------------------------------------------------------------


@declared
def load_corpus(
    data: str | Path | None = None,
    tokenizer: str | tokenizers.Tokenizer = "bpe",
    vocab_size: int | None = None,
    test_fraction: Annotated[float, Option(above=0, below=1)] = 0.1,
    max_documents: Annotated[int | None, Option(least=2)] = None,
    separator: str = SEPARATOR,
    seed: Annotated[int, Option(hidden=True, least=0)] = 0,
    cache: Annotated[Path | None, Option(hidden=True)] = None,
) -> Corpus:
    """A corpus in tokens, from the cache if it has been made before.

    Documents are put in a random order and split, those of one prompt to one side; what occurs in
    the test set, or has a prompt that does, is removed from the training set.

    Args:
      data: The text is a file of JSON lines (.jsonl), a text file of another name, or the name of a
        data set at the Hugging Face hub; by default it is 21,000 stories of the embedded grammar,
        whose entropy is known, 1,000 of them to test on.
      tokenizer: The tokens are pairs of bytes, trained on the text (bpe); single bytes (bytes); or
        those of a tokenizer that exists, by its folder or its name at the hub.
      vocab_size: The number of tokens of bpe; by default 512 for the stories, 8000 for a text.
      test_fraction: The share of the documents that are held out for evaluation; of the stories,
        1,000 at most.
      max_documents: The number of documents that are read, chosen at random; of the stories, that
        are made.
      separator: The separator stands between the documents of a text file.
      seed: of the order, and of the stories.
      cache: a folder to keep corpora in; the user's cache by default.

    Raises:
      ValueError: a number is out of range, the data or the tokenizer cannot be read, or there are
        fewer than two different documents.
      ImportError: the extra ``lm``, or for the hub ``hub``, is not installed.
    """
    if vocab_size is None:
        vocab_size = STORIES_VOCABULARY if data is None else VOCABULARY
    if tokenizer == "bpe":
        checks.whole_number("vocab_size", vocab_size, tokenizers.SMALLEST_BPE)
    source = _source(data, separator)
    ready: tokenizers.Tokenizer | None
    if isinstance(tokenizer, tokenizers.Tokenizer):
        ready, tokenizer = tokenizer, tokenizer.name
    else:
        ready = None if tokenizer in ("bpe", "bytes") else tokenizers.load_tokenizer(tokenizer)
    parameters = [
        "texts",
        *source.key,
        ready.digest if ready else [tokenizer, machine.version("tokenizers")],
        vocab_size if tokenizer == "bpe" else None,
        float(test_fraction),
        max_documents,
        seed,
    ]

    def make() -> Corpus:
        return tokenised(source, tokenizer, ready, vocab_size, test_fraction, max_documents, seed)

    return corpora.cached(parameters, ready, cache, make)


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
        return _separated(self.content, self.name, self.separator)


def _source(data: str | Path | None, separator: str) -> _Source:
    if data is None:
        return _Source("stories", ["stories", stories.story_grammar().digest], None)
    path = Path(data)
    if path.is_file():
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if reading.is_json_lines(path, content, CHOICES):
            return _Source(path.name, ["json lines", path.name, digest], content)
        return _Source(path.name, ["text", path.name, digest, separator], content, separator)
    name = hub.dataset_name(data)
    texts = read_hub(name)
    digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()
    return _Source(name, ["hub", name, digest], texts)


def tokenised(
    source: _Source,
    tokenizer: str,
    ready: tokenizers.Tokenizer | None,
    vocab_size: int,
    test_fraction: float,
    max_documents: int | None,
    seed: int,
) -> Corpus:
    """Documents of a source as tokens, in a part to train on and one to test on."""
    log_probs: np.ndarray | None = None
    if source.content is None:
        texts, log_probs = stories.stories(max_documents or corpora.EMBEDDED, seed)
    else:
        texts = source.texts()
    prompts = [prompt_of(text) for text in texts]
    order = corpora.random_order(len(texts), seed)[:max_documents]
    order = corpora.side_by_side(prompts, order)
    num_test = corpora.held_out_size(test_fraction, len(order), embedded=source.content is None)
    held_out = order[:num_test]
    known = [prompt or text for prompt, text in zip(prompts, texts, strict=True)]
    rest = corpora.without(known, order[num_test:], held_out)
    corpora.check_split(
        rest,
        held_out,
        f"{len(texts)} in {source.name}",
        f"bring more, with '{SEPARATOR}' or a separator of your own between them",
    )
    train_texts, test_texts = ([texts[i] for i in part] for part in (rest, held_out))
    if ready is None and tokenizer == "bpe":
        ready = tokenizers.train_bpe(train_texts, vocab_size)
    ready = ready or tokenizers.byte_tokenizer()
    some = [*train_texts[: corpora.LOOKED_AT], *test_texts[: corpora.LOOKED_AT]]
    return corpora.corpus(
        source.name,
        tokenise(train_texts, ready),
        tokenise(test_texts, ready),
        ready,
        None if log_probs is None else (stories.story_grammar(), log_probs[held_out]),
        copies=len(order) - num_test - len(rest),
        shared=corpora.sharing(prompts, order),
        lost=0.0 if source.content is None else ready.lost(some),
    )
