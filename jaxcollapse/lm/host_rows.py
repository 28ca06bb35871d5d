"""Rows of documents that stay on the host, written out batch by batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxcollapse.lm.decoder import packing
from jaxcollapse.lm.decoder.packing import Rows
from jaxcollapse.lm.text.documents import Documents


class HostRows:
    """Documents in rows, as ``decoder.packing`` has them on a device.

    Attributes:
      used: how many rows there are.
      predicted: tokens in them that are predicted: all but the first of each document.
    """

    def __init__(self, documents: Documents, width: int, rows: str = "packed"):
        """Documents that follow one another.

        Args:
          documents: N of them, in the order in which they fill the rows.
          width: T, tokens of a row; no document has more.
          rows: ``packed``, as many whole documents as fit; ``single``, one.
        """
        self._documents = documents
        if rows == "packed":
            row = packing.place_many(documents.lengths, width)
        else:
            row = np.arange(documents.count)
        # The document that begins each row, and behind the last one, N.
        begins = np.flatnonzero(np.diff(row, prepend=-1))
        self._begins = np.append(begins, documents.count)
        self.used = len(begins)
        self.predicted = predicted(documents)

    def write(
        self,
        rows: np.ndarray,
        tokens: Any,
        segments: Any,
        in_loss: Any = None,
    ) -> None:
        """Writes rows of some numbers ``[R]`` into the first lines of zeros.

        Args:
          rows: which.
          tokens: int32 ``[B, T]``.
          segments: likewise, see ``packing.Rows``.
          in_loss: bool, likewise: True for the tokens of responses.
        """
        offsets, prompts = self._documents.offsets, self._documents.prompts
        for line, row in enumerate(rows):
            bounds = offsets[self._begins[row] : self._begins[row + 1] + 1]
            lengths = np.diff(bounds)
            width = bounds[-1] - bounds[0]
            tokens[line, :width] = self._documents.tokens[bounds[0] : bounds[-1]]
            segments[line, :width] = np.repeat(np.arange(1, len(bounds)), lengths)
            if in_loss is not None:
                assert prompts is not None
                before = prompts[self._begins[row] : self._begins[row + 1]]
                place = np.arange(width) - np.repeat(bounds[:-1] - bounds[0], lengths)
                in_loss[line, :width] = place >= np.repeat(before, lengths)

    def all(self, width: int, responses_only: bool = False) -> Rows:
        """Every row, ``[R, T]``."""
        rows = empty_rows((self.used, width), responses_only)
        self.write(np.arange(self.used), *rows)
        return rows


def empty_rows(shape: tuple[int, ...], responses_only: bool) -> Rows:
    """Rows of zeros on the host, with places for what is in the loss if only responses are."""
    in_loss = np.zeros(shape, bool) if responses_only else None
    return Rows(np.zeros(shape, np.int32), np.zeros(shape, np.int32), in_loss)  # type: ignore


def predicted(documents: Documents) -> int:
    """How many tokens of documents are predicted."""
    return len(documents.tokens) - documents.count
