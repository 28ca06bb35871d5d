"""Corpora: documents to train and to test on, as tokens, kept in the user's cache."""

from __future__ import annotations

import contextlib
import hashlib
import json
import zipfile
from collections import Counter
from collections.abc import Callable, Hashable, Sequence, Sized
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcollapse import checks, machine
from jaxcollapse.files import whole_file
from jaxcollapse.lm.text import tokenizers
from jaxcollapse.lm.text.context_free import Grammar
from jaxcollapse.lm.text.documents import Beyond, Documents

FORMAT = "jaxcollapse corpus 5"
LOOKED_AT = 1000  # texts of each part, for whether they come back from their tokens
EMBEDDED, EMBEDDED_TEST = 21_000, 1_000  # documents of an embedded law, and those to test on


class Corpus(NamedTuple):
    """Real documents to train and to test on.

    Attributes:
      name: what to call it.
      train: documents to train on.
      test: others. None of those that were read is among ``train``.
      tokenizer: what their tokens mean.
      digest: of all tokens, prompts and the tokenizer, sha256 in hexadecimal digits.
      test_nll: negative log-likelihood of ``test`` under the law that made it, nats per predicted
        token, which all are but ``bos``; None where that law is not known.
      entropy_rate: its expectation: the entropy of a document over the expected number of its
        predicted tokens, nats per token; None where it is not known.
      dropped: how many documents were left out because they are too long.
      copies: how many were left out because they, or their prompts, are among ``test`` too.
      shared: how many documents have a prompt that others have too, so that they are on one side.
      cut: what was cut off documents when they were read.
      lost: the share of texts that do not come back from their tokens, of the first 1,000 of each
        part; 0 of embedded laws.
    """

    name: str
    train: Documents
    test: Documents
    tokenizer: tokenizers.Tokenizer
    digest: str
    test_nll: float | None
    entropy_rate: float | None
    dropped: int = 0
    copies: int = 0
    shared: int = 0
    cut: Beyond = Beyond()
    lost: float = 0.0


def corpus(
    name: str,
    train: Documents,
    test: Documents,
    tokenizer: tokenizers.Tokenizer,
    law: tuple[Grammar, np.ndarray] | None = None,
    dropped: int = 0,
    copies: int = 0,
    shared: int = 0,
    cut: Beyond = Beyond(),  # noqa: B008  # which does not change
    lost: float = 0.0,
) -> Corpus:
    """A corpus and what its law says of it.

    Args:
      name: what to call it.
      train: documents to train on.
      test: others.
      tokenizer: what their tokens mean.
      law: the grammar whose texts they are, whole, and the logarithms of the probabilities of
        those of ``test``, nats ``[M]``; None if it is not known.
      dropped: how many documents were left out because they are too long.
      copies: how many were left out because they, or their prompts, are among ``test`` too.
      shared: how many documents have a prompt that others have too.
      cut: what was cut off documents when they were read.
      lost: the share of texts that do not come back from their tokens.
    """
    test_nll = entropy_rate = None
    if law is not None:
        rules, log_probs = law
        test_nll = -float(log_probs.sum()) / (int(test.lengths.sum()) - test.count)
        if rules.is_piecewise(tokenizer):
            entropy_rate = rules.entropy() / (rules.expected_tokens(tokenizer) + 1)
    digest = _digest(train, test, tokenizer)
    counts = dropped, copies, shared, cut, lost
    return Corpus(name, train, test, tokenizer, digest, test_nll, entropy_rate, *counts)


def _digest(train: Documents, test: Documents, tokenizer: tokenizers.Tokenizer) -> str:
    digest = hashlib.sha256(tokenizer.digest.encode())
    for documents in (train, test):
        arrays = [(documents.offsets, "<i8"), (documents.tokens, "<i4")]
        if documents.prompts is not None:
            arrays.append((documents.prompts, "<i4"))
        for array, kind in arrays:
            digest.update(array.size.to_bytes(8, "little"))
            digest.update(np.ascontiguousarray(array, kind).tobytes())
    return digest.hexdigest()


# Splitting -------------------------------------------------------------------------------------


def random_order(count: int, seed: int) -> np.ndarray:
    """The numbers below ``count`` in the random order of a seed, ``[count]``."""
    return np.random.default_rng([seed, 1]).permutation(count)


def held_out_size(test_fraction: float, count: int, embedded: bool) -> int:
    """How many of ``count`` documents to test on; of those of an embedded law 1,000 at most."""
    size = min(max(round(test_fraction * count), 1), count - 1)
    return min(size, EMBEDDED_TEST) if embedded else size


def side_by_side(prompts: Sequence[str | None], order: np.ndarray) -> np.ndarray:
    """An order in which documents of one prompt follow the first of them; other places stay.

    Held out are the first of an order; so of no prompt are some responses on one side and some on
    the other, but for one prompt at the border, whose rest ``without`` leaves out.

    Args:
      prompts: of every document; None of one that has none.
      order: numbers of documents, in random order.
    """
    first: dict[str, int] = {}
    for place, number in enumerate(order):
        if (prompt := prompts[number]) is not None:
            first.setdefault(prompt, place)
    places = [first.get(prompts[number] or "", place) for place, number in enumerate(order)]
    return order[np.argsort(places, kind="stable")]


def sharing(prompts: Sequence[str | None], order: np.ndarray) -> int:
    """How many documents of some numbers have a prompt that others of them have too."""
    counts = Counter(prompts[number] for number in order if prompts[number] is not None)
    return sum(count for count in counts.values() if count > 1)


def without(documents: Sequence[Hashable], train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Of the documents of the numbers ``train``, those that are equal to none of ``test``.

    Args:
      documents: what of each must not be on both sides: its prompt, or itself.
      train: numbers of documents.
      test: others.
    """
    among_test = {documents[i] for i in test}
    kept = [i for i in train if documents[i] not in among_test]
    return np.asarray(kept, np.int64)


def check_split(train: Sized, test: Sized, name: str, remedy: str) -> None:
    """Refuses a corpus without documents to train or to test on.

    Raises:
      ValueError: there are none.
    """
    if not len(train) or not len(test):
        raise checks.refusal(
            "data",
            "two different documents or more, of prompts or texts of their own, some to train and "
            "some to test on",
            name,
            remedy,
        )


# The cache -------------------------------------------------------------------------------------


def cached(
    parameters: list[Any],
    tokenizer: tokenizers.Tokenizer | None,
    cache: Path | None,
    make: Callable[[], Corpus],
) -> Corpus:
    """A corpus from the cache, or made and put there.

    Args:
      parameters: all that decides the corpus, as JSON can hold it.
      tokenizer: its tokenizer if that lies elsewhere; None if it is made with the corpus.
      cache: a folder to keep corpora in; None for the user's.
      make: makes the corpus.
    """
    key = hashlib.sha256(json.dumps([FORMAT, *parameters]).encode()).hexdigest()
    path = (machine.cache_folder("corpora") if cache is None else Path(cache)) / f"{key}.npz"
    found = read(path, tokenizer)
    if found is None:
        found = make()
        with contextlib.suppress(OSError):  # a cache that cannot be written is none
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, found, trained=tokenizer is None)
    return found


def write(path: Path, corpus: Corpus, trained: bool) -> None:
    """Writes a corpus; of a tokenizer that lies elsewhere only its digest, within the corpus's."""
    tokenizer = corpus.tokenizer
    facts = {
        "name": corpus.name,
        "digest": corpus.digest,
        "test_nll": corpus.test_nll,
        "entropy_rate": corpus.entropy_rate,
        "dropped": corpus.dropped,
        "copies": corpus.copies,
        "shared": corpus.shared,
        "cut": corpus.cut,
        "lost": corpus.lost,
        "tokenizer": [tokenizer.name, tokenizer.to_json(), tokenizer.bos, tokenizer.eos]
        if trained
        else None,
    }
    arrays = {
        f"{part}_{field}": array
        for part, documents in (("train", corpus.train), ("test", corpus.test))
        for field, array in documents._asdict().items()
        if array is not None
    }
    arrays["facts"] = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    with whole_file(path) as temporary:
        np.savez(temporary, **arrays)


def read(path: Path, tokenizer: tokenizers.Tokenizer | None) -> Corpus | None:
    """A corpus from the cache, or None if it is not there or is damaged."""
    if not path.is_file():
        return None
    try:
        # Opened here: numpy leaves a file open that turns out to be no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            train, test = (
                Documents(
                    arrays[f"{part}_tokens"],
                    arrays[f"{part}_offsets"],
                    arrays.get(f"{part}_prompts"),
                )
                for part in ("train", "test")
            )
            facts = json.loads(arrays["facts"].tobytes())
        corpus = Corpus(
            facts["name"],
            train,
            test,
            tokenizer or tokenizers.from_json(*facts["tokenizer"]),
            facts["digest"],
            facts["test_nll"],
            facts["entropy_rate"],
            facts["dropped"],
            facts["copies"],
            facts["shared"],
            Beyond(*facts["cut"]),
            facts["lost"],
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None
    return corpus if corpus.digest == _digest(train, test, corpus.tokenizer) else None
