"""Prompts and responses: their one format, read, checked, and as tokens for fine-tuning."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np

from jaxcollapse import checks, inputs
from jaxcollapse.lm import hub
from jaxcollapse.lm.text import corpora, instructions, reading, tokenizers
from jaxcollapse.lm.text.corpora import Corpus
from jaxcollapse.lm.text.documents import Documents
from jaxcollapse.parameters import Option, declared

USER, ASSISTANT = "user: ", "assistant: "
FIELDS = [("prompt", "response"), ("prompt", "chosen")]  # of rows; the first that are there
ALIASES = {"helpsteer2": "nvidia/HelpSteer2"}
TEST_SPLITS = ("validation", "test")


class Conversation(NamedTuple):
    """One prompt and the response to it."""

    prompt: str
    response: str


def formatted(conversation: Conversation) -> str:
    r"""The text of a conversation, ``"user: {prompt}\nassistant: {response}"``."""
    return f"{USER}{conversation.prompt}\n{ASSISTANT}{conversation.response}"


def parsed(text: str, strip: str = "prefix") -> Conversation | None:
    """The conversation that a text tells, or None if it is malformed.

    A text must start with ``"user: "`` and contain ``"assistant: "`` exactly once. The line break
    before the latter may be missing.

    Args:
      text: what a model has written.
      strip: how the prompt is taken out.
        ``prefix``: what is behind ``"user: "``, without one line break at its end; all other
        blanks stay, so ``formatted`` gives a well-formed text back. A prompt or a response of
        nothing but blanks is malformed.
        ``characters``: as the published experiments did. All of the characters ``user: `` are
        taken off its beginning, however many, so that ``"user: sure, why?"`` leaves
        ``", why?"``; then blanks are taken off both ends of prompt and response. Either may be
        empty.

    Raises:
      ValueError: ``strip`` is neither.
    """
    checks.one_of("strip", strip, ("prefix", "characters"))
    if not text.startswith(USER) or text.count(ASSISTANT) != 1:
        return None
    before, response = text.split(ASSISTANT)
    if strip == "characters":
        return Conversation(before.lstrip(USER).strip(), response.strip())
    prompt = before.removeprefix(USER).removesuffix("\n")
    return Conversation(prompt, response) if prompt.strip() and response.strip() else None


def prompt_of(text: str) -> str | None:
    """The prompt of the text of a conversation, or None of any other text."""
    before, found, _ = text.partition(f"\n{ASSISTANT}")
    return before.removeprefix(USER).strip() if found and text.startswith(USER) else None


def tokenise(conversations: Iterable[Conversation], tokenizer: tokenizers.Tokenizer) -> Documents:
    """Conversations as documents: ``bos``, the text and ``eos``, and where each response begins.

    A token that spans the blank before a response and its first word belongs to the response.
    """
    conversations = list(conversations)
    texts = [formatted(each) for each in conversations]
    places = [
        len(text) - len(each.response) for text, each in zip(texts, conversations, strict=True)
    ]
    encoded, counts = tokenizer.encode_parts(texts, places)
    documents = Documents.from_lists([tokenizer.bos, *ids, tokenizer.eos] for ids in encoded)
    return documents._replace(prompts=np.asarray(counts, np.int32) + np.int32(1))


# Corpora ---------------------------------------------------------------------------------------


@declared
def load(
    data: Annotated[str | Path | None, Option()],
    tokenizer: Annotated[tokenizers.Tokenizer, Option(hidden=True)],
    context: Annotated[int, Option(least=2)],
    longer: Literal["drop", "cut"] = "drop",
    test_documents: Annotated[int | None, Option(least=1)] = None,
    test_fraction: Annotated[float, Option(above=0, below=1)] = 0.1,
    max_documents: Annotated[int | None, Option(least=2)] = None,
    seed: Annotated[int, Option(hidden=True, least=0)] = 0,
    cache: Annotated[Path | None, Option(hidden=True)] = None,
) -> Corpus:
    """Prompts and responses as a corpus, from the cache if it has been made before.

    Blanks around prompts and responses are taken off; a row in which one is empty is left out.
    What is too long is left out next, then rows are put in a random order, those of one prompt side
    by side, and some are held out to test on; what has a prompt of theirs is removed from the
    others. Documents of the embedded law are independent draws, of which some are equal; they are
    not removed, so that those to train on follow the law too.

    Args:
      data: The conversations are a file of JSON lines (.jsonl) with prompt and response, or prompt
        and chosen, or the name of a data set at the Hugging Face hub with these fields (helpsteer2
        is nvidia/HelpSteer2), of which the split validation, or else test, is held out. By default
        they are 21,000 instructions of the embedded law, whose entropy is known, 1,000 of them to
        test on.
      tokenizer: of the model to be trained.
      context: the most tokens of a document, ``bos`` and ``eos`` included.
      longer: Real conversations that are longer than the context are left out, to train and to test
        alike, as published (drop), or cut there (cut).
      test_documents: The number of conversations that are held out for evaluation, in place of a
        share or of the whole of a test split.
      test_fraction: The share of the conversations that are held out for evaluation; of the
        embedded law, 1,000 at most.
      max_documents: The number of conversations that are read, chosen at random, those to test on
        included unless they have a split of their own; of the embedded law, that are drawn.
      seed: of the order, and of the embedded law.
      cache: a folder to keep corpora in; the user's cache by default.

    Raises:
      ValueError: a number is out of range or asks for more than there is, the data cannot be read,
        all of it is too long, or there are fewer than two different documents.
      ImportError: the extra ``lm``, or for the hub ``hub``, is not installed.
    """
    source = _source(data)
    parameters = [
        "conversations",
        *source.key,
        tokenizer.digest,
        context,
        longer,
        test_documents,
        float(test_fraction),
        max_documents,
        seed,
    ]

    def make() -> Corpus:
        return tokenised(
            source, tokenizer, context, longer, test_documents, test_fraction, max_documents, seed
        )

    return corpora.cached(parameters, tokenizer, cache, make)


def read(path: Path | str, tokenizer: tokenizers.Tokenizer) -> Documents:
    """All conversations of a file of JSON lines, as tokens, in their order.

    Raises:
      ValueError: there is no such file, or it has a row without prompt and response.
    """
    rows = reading.json_rows(reading.content(path), str(path), FIELDS)
    return tokenise(_complete(rows, str(path)), tokenizer)


class _Source(NamedTuple):
    """Where conversations come from.

    Attributes:
      name: what to call them.
      key: what decides them, as JSON can hold it.
      rows: the conversations; None for those of the embedded law, drawn if the cache has none.
      test_rows: those of a split to test on; None if there is none.
    """

    name: str
    key: list[Any]
    rows: list[Conversation] | None
    test_rows: list[Conversation] | None = None


def _source(data: str | Path | None) -> _Source:
    if data is None:
        digest = instructions.instruction_grammar().digest
        return _Source("instructions", ["instructions", digest], None)
    path = Path(data)
    if path.is_file():
        rows = _complete(reading.json_rows(path.read_bytes(), str(path), FIELDS), str(path))
        return _Source(path.name, ["rows", path.name, _digest(rows)], rows)
    name = ALIASES.get(str(data)) or hub.dataset_name(data)
    splits = hub.dataset(name)
    rows = _complete(reading.hub_rows(splits, name, "train", FIELDS), name)
    test_rows = None
    split = next((split for split in TEST_SPLITS if split in splits), None)
    if split:
        test_rows = _complete(
            reading.hub_rows(splits, name, split, FIELDS), f"split '{split}' of {name}"
        )
    return _Source(name, ["hub", name, _digest([rows, test_rows])], rows, test_rows)


def _complete(rows: Iterable[reading.Row], where: str) -> list[Conversation]:
    stripped = (Conversation(*(inputs.plain(text).strip() for text in row)) for row in rows)
    kept = [row for row in stripped if row.prompt and row.response]
    if not kept:
        raise checks.refusal(
            "data",
            "one prompt with a response or more",
            f"none in {where}",
            "give a file with some in it",
        )
    return kept


def _digest(rows: Any) -> str:
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def tokenised(
    source: _Source,
    tokenizer: tokenizers.Tokenizer,
    context: int,
    longer: str,
    test_documents: int | None,
    test_fraction: float,
    max_documents: int | None,
    seed: int,
) -> Corpus:
    """Conversations of a source as tokens, in a part to train on and one to test on."""
    log_probs: np.ndarray | None = None
    if source.rows is None:
        texts, log_probs = instructions.instructions(max_documents or corpora.EMBEDDED, seed)
        rows = [Conversation(*text.removeprefix(USER).split(f"\n{ASSISTANT}")) for text in texts]
        max_documents = None
    else:
        rows = [*source.rows, *(source.test_rows or [])]
    prompts = [row.prompt for row in rows]
    documents = tokenise(rows, tokenizer)
    fits = documents.lengths <= context
    usable = fits if longer == "drop" else np.ones_like(fits)
    if not usable.any():
        raise checks.refusal(
            "context",
            f"at least {documents.lengths.min()}, the tokens of the shortest document of "
            f"{source.name} (the longest has {documents.lengths.max()})",
            context,
            "raise it, or cut documents with longer='cut'",
        )
    # Numbers of documents: those to test on, then the others, each in random order.
    if source.test_rows is None:
        order = _some(usable, seed, max_documents, "max_documents", source.name)
        if source.rows is not None:
            order = corpora.side_by_side(prompts, order)
        num_test = (
            corpora.held_out_size(test_fraction, len(order), embedded=source.rows is None)
            if test_documents is None
            else test_documents
        )
        if num_test >= len(order):
            raise _too_many("test_documents", len(order) - 1, source.name, num_test)
        test, train = order[:num_test], order[num_test:]
    else:
        own = np.arange(len(rows)) >= len(rows) - len(source.test_rows)
        test = _some(usable & own, seed, test_documents, "test_documents", source.name)
        train = _some(usable & ~own, seed, max_documents, "max_documents", source.name)
    with_copies = len(train)
    shared = 0
    if source.rows is not None:
        shared = corpora.sharing(prompts, np.concatenate([train, test]))
        train = corpora.without(prompts, train, test)
    corpora.check_split(
        train,
        test,
        f"{int(usable.sum())} in {source.name}",
        "bring more, raise the context or test on fewer",
    )
    cut = documents.take([*train, *test]).beyond(context)
    if longer == "cut":
        documents = documents.cut(context)
    law = None
    if log_probs is not None and fits.all():
        law = (instructions.instruction_grammar(), log_probs[test])
    some = [*train[: corpora.LOOKED_AT], *test[: corpora.LOOKED_AT]]
    read_back = [] if source.rows is None else [formatted(rows[i]) for i in some]
    return corpora.corpus(
        source.name,
        documents.take(train),
        documents.take(test),
        tokenizer,
        law,
        dropped=int((~usable).sum()),
        copies=with_copies - len(train),
        shared=shared,
        cut=cut,
        lost=tokenizer.lost(read_back),
    )


def _some(usable: np.ndarray, seed: int, count: int | None, option: str, name: str) -> np.ndarray:
    """The numbers of ``count`` documents that are usable ``[N]``, in random order."""
    numbers = np.flatnonzero(usable)
    if count is not None and count > len(numbers):
        raise _too_many(option, len(numbers), name, count)
    return numbers[corpora.random_order(len(numbers), seed)][:count]


def _too_many(option: str, available: int, name: str, count: int) -> ValueError:
    return checks.refusal(
        option,
        f"at most {available}, as many as there are in {name} that fit the context",
        count,
        "ask for fewer, raise the context or cut documents with longer='cut'",
    )
