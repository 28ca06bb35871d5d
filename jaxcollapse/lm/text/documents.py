"""Documents of different lengths, as tokens."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcollapse import checks
from jaxcollapse.lm.text import tokenizers


class Beyond(NamedTuple):
    """What of documents is beyond a context, and not used.

    Attributes:
      documents: how many are longer.
      of: of so many.
      tokens: how many of theirs are beyond it.
      of_tokens: of so many, of all of them.
    """

    documents: int = 0
    of: int = 0
    tokens: int = 0
    of_tokens: int = 0

    @property
    def share(self) -> float:
        """The share of all tokens that is beyond it."""
        return self.tokens / max(self.of_tokens, 1)

    def __str__(self) -> str:
        """As a sentence; "" where nothing is beyond it."""
        if not self.documents:
            return ""
        digits = 1 if 0.01 < self.share < 0.99 else 3
        return (
            f"documents cut: {self.documents} of {self.of}, with {self.share:.{digits}%} of all "
            "tokens, which are not used; a larger context takes more of them"
        )


class Documents(NamedTuple):
    """Documents of different lengths, one after another.

    Attributes:
      tokens: ``[T]`` int32; each document is ``bos``, its text and ``eos``.
      offsets: ``[N + 1]`` int64; document i is ``tokens[offsets[i]:offsets[i + 1]]``.
      prompts: ``[N]`` int32, how many tokens of each document come before its response, ``bos``
        included; the length of a document that was cut before it. None where documents are not
        prompts and responses.
    """

    tokens: np.ndarray
    offsets: np.ndarray
    prompts: np.ndarray | None = None

    @classmethod
    def from_lists(cls, lists: Iterable[Sequence[int]]) -> Documents:
        """Documents of the given tokens, ``bos`` and ``eos`` among them."""
        lists = list(lists)
        offsets = _offsets([len(ids) for ids in lists])
        flat = itertools.chain.from_iterable(lists)
        return cls(np.fromiter(flat, np.int32, int(offsets[-1])), offsets)

    @classmethod
    def concatenate(cls, parts: Iterable[Documents]) -> Documents:
        """The documents of all parts, in order; their prompts if all that have documents tell."""
        parts = list(parts)
        lengths = [np.zeros(0, np.int64), *(part.lengths for part in parts)]
        tokens = [np.zeros(0, np.int32), *(part.tokens for part in parts)]
        told = [part.prompts for part in parts if part.prompts is not None]
        all_told = told and all(part.prompts is not None for part in parts if part.count)
        return cls(
            np.concatenate(tokens),
            _offsets(np.concatenate(lengths)),
            np.concatenate(told) if all_told else None,
        )

    @property
    def count(self) -> int:  # type: ignore[override]  # of documents, not as tuples count
        """N."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each document, ``[N]`` int64, ``bos`` and ``eos`` among them."""
        return np.diff(self.offsets)

    def document(self, index: int) -> np.ndarray:
        """The tokens of one document; as of a list, -1 is the last."""
        index = range(self.count)[index]
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    def take(self, indices: Any) -> Documents:
        """The documents of some numbers, in their order; a number may come twice."""
        indices = np.asarray(indices, np.int64)
        prompts = None if self.prompts is None else self.prompts[indices]
        return self._beginnings(self.offsets[:-1][indices], self.lengths[indices], prompts)

    def cut(self, context: int) -> Documents:
        """The first ``context`` tokens of each document; a longer one loses its ``eos``."""
        lengths = np.minimum(self.lengths, checks.whole_number("context", context))
        prompts = (
            None if self.prompts is None else np.minimum(self.prompts, lengths).astype(np.int32)
        )
        return self._beginnings(self.offsets[:-1], lengths, prompts)

    def _beginnings(
        self, starts: np.ndarray, lengths: np.ndarray, prompts: np.ndarray | None
    ) -> Documents:
        offsets = _offsets(lengths)
        # Where each token comes from: its place in the result, moved as its document was.
        source = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return Documents(self.tokens[source], offsets, prompts)

    def beyond(self, context: int) -> Beyond:
        """What ``cut`` leaves out."""
        rest = np.maximum(self.lengths - context, 0)
        return Beyond(int((rest > 0).sum()), self.count, int(rest.sum()), len(self.tokens))

    def padded(self, context: int) -> tuple[np.ndarray, np.ndarray]:
        """Documents as rows ``[N, context]`` int32, and the tokens that count in each ``[N]``.

        A longer document is cut, and so loses its ``eos``; a shorter one is filled up with 0.
        """
        context = checks.whole_number("context", context)
        lengths = np.minimum(self.lengths, context).astype(np.int32)
        places = np.arange(context)
        inside = places < lengths[:, None]
        rows = np.zeros((self.count, context), np.int32)
        rows[inside] = self.tokens[(self.offsets[:-1, None] + places)[inside]]
        return rows, lengths


def _offsets(lengths: Any) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.asarray(lengths, np.int64))]).astype(np.int64)


def tokenise(texts: Iterable[str], tokenizer: tokenizers.Tokenizer) -> Documents:
    """Texts as documents: each with ``bos`` before it and ``eos`` after."""
    bos, eos = tokenizer.bos, tokenizer.eos
    return Documents.from_lists([bos, *ids, eos] for ids in tokenizer.encode_many(texts))
