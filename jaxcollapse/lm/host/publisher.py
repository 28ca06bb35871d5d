"""What a model publishes of what it samples."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcollapse import checks
from jaxcollapse.lm.decoder.decoder import Params
from jaxcollapse.lm.host.folders import SampleFolder
from jaxcollapse.lm.host.programs import Programs
from jaxcollapse.lm.host.trainer import StoppedError
from jaxcollapse.lm.setup import Setup
from jaxcollapse.lm.text import conversations
from jaxcollapse.lm.text.documents import Documents
from jaxcollapse.lm.text.tokenizers import Tokenizer

REJECTED_KEPT = 20  # texts, for a person to see what is wrong with them


class Published(NamedTuple):
    """Documents of a generation, as far as it is.

    Attributes:
      documents: that it publishes, at most N.
      drawn: samples that it took.
      rejected: texts of some that are not published.
      retokenised: documents that are published in other tokens than were sampled, as a text that
        is tokenised anew may be.
    """

    documents: Documents
    drawn: int
    rejected: tuple[str, ...]
    retokenised: int = 0

    @property
    def acceptance_rate(self) -> float:
        """Documents published for each sample drawn."""
        return self.documents.count / self.drawn

    @property
    def retokenised_share(self) -> float:
        """Documents of other tokens than were sampled, of those published."""
        return self.retokenised / self.documents.count


NOTHING = Published(Documents.from_lists([]), 0, ())


def add(
    published: Published, samples: Mapping[str, np.ndarray], setup: Setup, tokenizer: Tokenizer
) -> Published:
    """With more samples, up to the N-th that is published.

    Args:
      published: before.
      samples: ``tokens`` ``[K, C]`` and ``lengths`` ``[K]``.
      setup: all that decides a chain.
      tokenizer: of the samples.
    """
    rows = [row[:n] for row, n in zip(samples["tokens"], samples["lengths"], strict=True)]
    if setup.protocol.format == "text":
        documents, accepted = Documents.from_lists(rows), np.arange(len(rows))
    else:
        documents, accepted = _conversations(rows, setup, tokenizer)
    missing = setup.num_samples - published.documents.count
    accepted = accepted[:missing]
    # Nothing that comes after the last document wanted counts as drawn.
    drawn = int(accepted[-1]) + 1 if len(accepted) == missing else len(rows)
    refused = np.setdiff1d(np.arange(drawn), accepted)
    room = REJECTED_KEPT - len(published.rejected)
    texts = tuple(tokenizer.decode(rows[i].tolist()) for i in refused[:room])
    taken = documents.take(np.arange(len(accepted)))
    parts = [published.documents, taken] if published.documents.count else [taken]
    others = sum(
        not np.array_equal(rows[which], taken.document(place))
        for place, which in enumerate(accepted)
    )
    return Published(
        Documents.concatenate(parts),
        published.drawn + drawn,
        published.rejected + texts,
        published.retokenised + others,
    )


def _conversations(
    rows: list[np.ndarray], setup: Setup, tokenizer: Tokenizer
) -> tuple[Documents, np.ndarray]:
    """The well-formed ones, tokenised anew as real ones are, and which they are."""
    found = []
    for index, row in enumerate(rows):
        if row[-1] != tokenizer.eos:
            continue  # it did not end within the context
        if tokenizer.has_special(row[1:-1].tolist()):
            continue  # which its text would not show
        conversation = conversations.parsed(tokenizer.decode(row.tolist()), setup.protocol.strip)
        if conversation is not None:
            found.append((index, conversation))
    documents = conversations.tokenise([c for _, c in found], tokenizer)
    fitting = np.flatnonzero(documents.lengths <= setup.data.context)
    accepted = np.asarray([index for index, _ in found], np.int64)[fitting]
    return documents.take(fitting), accepted


def check_attempts(published: Published, setup: Setup, where: str) -> None:
    """Refuses to go on when too many samples have been drawn for too few documents.

    Raises:
      ValueError: as many samples as are allowed were drawn, and more would be needed.
    """
    wanted = setup.num_samples
    most = setup.protocol.max_attempts * wanted
    if published.documents.count < wanted and published.drawn >= most:
        example = " ".join(published.rejected[0].split())[:80] if published.rejected else ""
        raise checks.refusal(
            f"samples of {where}",
            f"{wanted} of the form 'user: ... assistant: ...' among {most}",
            f"{published.documents.count} among {published.drawn} (one of the others: '{example}')",
            "train on more documents, for more epochs or from a better base, or publish all "
            "samples, in the format text, each in another folder",
        )


@dataclasses.dataclass(frozen=True)
class Publisher:
    """Writes the documents of models, part by part.

    Attributes:
      programs: compiled steps.
      folder: where parts are kept.
      tokenizer: of the documents.
      stop: ends the writing when it is set.
    """

    programs: Programs
    folder: SampleFolder
    tokenizer: Tokenizer
    stop: threading.Event

    def publish(
        self,
        name: str,
        key: jax.Array,
        params: Params,
        tell: Callable[[float, int], None],
        where: str,
    ) -> Published:
        """N documents of a model.

        Args:
          name: which its samples are kept under.
          key: of the samples.
          params: of the model.
          tell: called after every call with tokens per second, and tokens since the last time.
          where: what to call the model in an error.

        Raises:
          ValueError: too few samples are fit to be published.
        """
        setup = self.programs.setup
        published, first = NOTHING, 0
        while published.documents.count < setup.num_samples:
            check_attempts(published, setup, where)
            part = self.folder.load(name, first)
            if part is None:
                part = self._write(key, params, first, tell)
                self.folder.save(name, first, part)
            else:
                tell(0.0, int(np.sum(part["lengths"] - 1)))
            published = add(published, part, setup, self.tokenizer)
            first += len(part["lengths"])
        return published

    def _write(
        self, key: jax.Array, params: Params, first: int, tell: Callable[[float, int], None]
    ) -> dict[str, np.ndarray]:
        """Samples from number ``first``, as many as a call of the sampler writes."""
        state = self.programs.start_sampling(np.int32(first))
        unfinished: Any = True
        before = 0
        while unfinished:
            if self.stop.is_set():
                raise StoppedError
            begun = time.perf_counter()
            state, unfinished, written = self.programs.advance(params, key, state)
            sampled, before = int(written) - before, int(written)
            tell(sampled / (time.perf_counter() - begun), sampled)
        return {"tokens": np.asarray(state.tokens), "lengths": np.asarray(state.lengths)}
