"""What a workflow alone decides: its record, and how much of what a model sees is real."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["share_of_real_data"]


class Record(NamedTuple):
    """The fields that decide a workflow's law, by which closed forms are found.

    Attributes:
      keep: how many of the newest batches stay; None keeps all.
      real: ``once``, ``kept`` or ``fresh``: whether the real batch goes as the others go, stays
        beside them, or is another one in each generation.
      draw: how many rows are drawn, without replacement, of all that; None takes everything, 0 as
        many as a batch has.
    """

    keep: int | None = None
    real: str = "once"
    draw: int | None = None

    @property
    def newest_alone(self) -> bool:
        """Whether a model sees rows of the newest batch only, all of them or some."""
        return self.keep == 1 and self.real == "once"

    def batches(self, t: Any) -> Any:
        """How many batches the model of generation t finds; the first model finds one."""
        apart = int(self.real != "once")
        others = t - apart
        return apart + (others if self.keep is None else np.minimum(others, self.keep))


REPLACE = Record(keep=1)
ACCUMULATE = Record()
ACCUMULATE_SUBSAMPLE = Record(draw=0)


def record_of(workflow: Any) -> Record | None:
    """The record of a workflow; of several that say the same, one.

    Args:
      workflow: it is anything with the fields of a record.

    Returns:
      None where the fields are missing, and for a subclass, which may be a law of its own.
    """
    plain = isinstance(workflow, Record) or type(workflow).__base__ is object
    if not plain or getattr(workflow, "chooses", False):
        return None
    try:
        record = Record(workflow.keep, workflow.real, workflow.draw)
    except AttributeError:
        return None
    if record.keep is None and record.real == "kept":
        return record._replace(real="once")  # nothing ever goes
    if record.newest_alone and record.draw == 0:
        return REPLACE  # all N rows of the one batch
    return record


def share_of_real_data(workflow: Any, t: ArrayLike) -> np.ndarray | None:
    """The expected share of real data in what the model of generation t trains on.

    Batches are of one size, and rows are drawn blindly, so it is that of batches: ``1/t`` until the
    real batch has left the window and 0 from then on; ``1 / (1 + min(t - 1, keep))`` where it is
    kept or fresh.

    Args:
      workflow: its record.
      t: generations, any shape.

    Returns:
      None where ``record_of`` knows none.
    """
    record = record_of(workflow)
    if record is None:
        return None
    t = np.asarray(t, np.float64)
    gone = record.real == "once" and record.keep is not None and t > record.keep
    return np.where(gone, 0.0, 1 / record.batches(t))
