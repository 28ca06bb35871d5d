"""Packed rows of documents that stay on the host, written out batch by batch."""

from __future__ import annotations

import numpy as np

from jaxcollapse.datasets.text import Documents


class HostRows:
    """Documents in rows, as ``models.packing.pack`` has them on a device.

    Attributes:
      used: how many rows there are.
      predicted: tokens in them that are predicted: all but the first of each document.
    """

    def __init__(self, documents: Documents, row: np.ndarray):
        """Documents that follow one another.

        Args:
          documents: N of them, in the order in which they were packed.
          row: int32 ``[N]``, the row of each, from 0 without gaps.
        """
        self._documents = documents
        # The document that begins each row, and behind the last one, N.
        begins = np.flatnonzero(np.diff(row, prepend=-1))
        self._begins = np.append(begins, documents.count)
        self.used = len(begins)
        self.predicted = predicted(documents)

    def write(self, rows: np.ndarray, tokens: np.ndarray, segments: np.ndarray) -> None:
        """Writes rows of some numbers ``[R]`` into the first lines of int32 ``[B, T]`` zeros."""
        for line, row in enumerate(rows):
            offsets = self._documents.offsets[self._begins[row] : self._begins[row + 1] + 1]
            width = offsets[-1] - offsets[0]
            tokens[line, :width] = self._documents.tokens[offsets[0] : offsets[-1]]
            numbers = np.arange(1, len(offsets), dtype=np.int32)
            segments[line, :width] = np.repeat(numbers, np.diff(offsets))


def predicted(documents: Documents) -> int:
    """How many tokens of documents are predicted."""
    return len(documents.tokens) - documents.count
