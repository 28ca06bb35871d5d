"""Text as arrays that a compiled program is given."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from jaxcollapse import checks
from jaxcollapse.lm.decoder import packing
from jaxcollapse.lm.decoder.packing import Rows
from jaxcollapse.lm.host_rows import HostRows
from jaxcollapse.lm.text import texts
from jaxcollapse.lm.text.documents import Beyond, Documents

SHORTEST_CONTEXT = 5  # holds a run of 4 tokens, which repetition looks at


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["tokens", "offsets", "test", "reference"],
    meta_fields=[
        "train_rows",
        "name",
        "digest",
        "context",
        "loss_on",
        "vocab_size",
        "bos",
        "eos",
        "has_reference",
        "beyond",
        "lost",
    ],
)
@dataclasses.dataclass(frozen=True)
class TextData:
    """Real text as arrays that a program can be given.

    Attributes:
      tokens: int32, all documents to train on, one after another.
      offsets: int32 ``[A + 1]``, where each begins.
      test: held-out documents, packed in rows ``[R, C]``.
      train_rows: how many rows all documents to train on make.
      reference: nats per token of the test documents under the law that made them.
      name: of the corpus.
      digest: of its content.
      context: C; longer documents are cut there.
      loss_on: ``all`` tokens, or those of each ``response``.
      vocab_size: V.
      bos: begins a document.
      eos: ends it.
      has_reference: whether the law is known.
      beyond: what of the documents, those to test on too, is beyond the context.
      lost: the share of texts that do not come back from their tokens.
    """

    tokens: Any
    offsets: Any
    test: Rows
    reference: Any
    train_rows: int
    name: str
    digest: str
    context: int
    loss_on: str
    vocab_size: int
    bos: int
    eos: int
    has_reference: bool
    beyond: Beyond
    lost: float = 0.0

    @property
    def available(self) -> int:
        """A, documents to train on."""
        return self.offsets.shape[0] - 1

    def describe(self) -> dict[str, Any]:
        """What it is, for a result's configuration."""
        names = ("name", "digest", "context", "loss_on")
        told = {name: getattr(self, name) for name in names}
        cut = self.beyond
        if cut.documents:
            told |= {"documents_cut": cut.documents, "share_of_tokens_cut": round(cut.share, 6)}
        if self.lost:
            told["texts_lost"] = round(self.lost, 6)
        return told


def text_data(corpus: texts.Corpus, context: int, loss_on: str = "all") -> TextData:
    """A corpus for models of ``context`` C; documents longer than that are cut.

    The law of cut documents is not known, nor that of a part of them, so a corpus has a reference
    only if its held-out documents all fit, and the loss is on all of their tokens.

    Args:
      corpus: from ``texts.load_corpus`` or ``conversations.load``.
      context: C.
      loss_on: ``all`` tokens, or those of ``response``s, of a corpus of conversations.

    Raises:
      ValueError: the context is too short, the text too long, or it has no responses.
    """
    context = checks.whole_number("context", context, minimum=SHORTEST_CONTEXT)
    checks.one_of("loss_on", loss_on, ("all", "response"))
    if len(corpus.train.tokens) >= 2**31:
        raise checks.refusal(
            "text to train on",
            "fewer than 2**31 tokens",
            f"{len(corpus.train.tokens):,}",
            "read fewer documents",
        )
    on_responses = loss_on == "response"
    test = corpus.test.cut(context)
    if on_responses and test.prompts is None:
        raise checks.refusal(
            "loss_on", "'all' of texts that are no conversations", "'response'", "leave it out"
        )
    fit = bool((corpus.test.lengths <= context).all())
    known = corpus.test_nll is not None and fit and not on_responses
    return TextData(
        tokens=corpus.train.tokens.astype(np.int32),
        offsets=corpus.train.offsets.astype(np.int32),
        test=HostRows(test, context).all(context, on_responses),
        reference=np.float32(corpus.test_nll if known else 0.0),
        train_rows=packing.rows_of(np.minimum(corpus.train.lengths, context), context),
        name=corpus.name,
        digest=corpus.digest,
        context=context,
        loss_on=loss_on,
        vocab_size=corpus.tokenizer.vocab_size,
        bos=corpus.tokenizer.bos,
        eos=corpus.tokenizer.eos,
        has_reference=known,
        beyond=corpus.cut
        if corpus.cut.documents
        else Documents.concatenate([corpus.train, corpus.test]).beyond(context),
        lost=corpus.lost,
    )


@functools.lru_cache(maxsize=4)
def embedded(context: int = 128, vocab_size: int = 512) -> TextData:
    """The stories of the embedded grammar, byte-pair encoded; their entropy is known."""
    return text_data(texts.load_corpus(vocab_size=vocab_size), context)
