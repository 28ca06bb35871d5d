"""What a workflow alone decides: its record, and how much of what a model sees is real."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxcollapse import schedules

__all__ = ["rows_seen", "share_of_real_data"]

NUMBERS = ("share", "weight", "sizes")


class Record(NamedTuple):
    """The fields that decide a workflow's law, by which closed forms are found.

    Attributes:
      keep: how many of the newest batches stay; None keeps all.
      real: ``once``, ``kept`` or ``fresh``: whether the real batch goes as the others go, stays
        beside them, or is another one in each generation.
      draw: how many rows are drawn, without replacement, of all that; None takes everything, 0 as
        many as a batch has.
      share: how much of the N rows that a model sees is real: a number, a tuple of the values of
        generation 1, 2, ..., or a ``schedules.Decay``; None takes all rows that there are.
      weight: what the real rows count together, of 1, likewise; None counts all alike.
      sizes: how many rows batches 0, 1, ... have, a tuple or a ``schedules.Decay``; None for N.
    """

    keep: int | None = None
    real: str = "once"
    draw: int | None = None
    share: Any = None
    weight: Any = None
    sizes: Any = None

    @property
    def counts(self) -> bool:
        """Whether it has a share, a weight or sizes."""
        return any(getattr(self, name) is not None for name in NUMBERS)

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


def record_of(workflow: Any, numbers: bool = False) -> Record | None:
    """The record of a workflow; of several that say the same, one.

    Args:
      workflow: it is anything with the fields of a record.
      numbers: whether the formula that asks knows of a share, a weight and sizes.

    Returns:
      None where fields are missing, are more than a record has or are traced, for a subclass, which
      may be a law of its own, and for numbers that are not known of.
    """
    plain = isinstance(workflow, Record) or type(workflow).__base__ is object
    if not plain or getattr(workflow, "chooses", False):
        return None
    if dataclasses.is_dataclass(workflow):
        names = {field.name for field in dataclasses.fields(workflow)}
        if not names <= set(Record._fields):
            return None
    try:
        record = Record(workflow.keep, workflow.real, workflow.draw)
    except AttributeError:
        return None
    told: dict[str, Any] = {name: getattr(workflow, name, None) for name in NUMBERS}
    if schedules.is_traced(told):
        return None
    record = record._replace(**told)
    if record.counts and not numbers:
        return None
    if record.keep is None and record.real == "kept":
        return record._replace(real="once")  # nothing ever goes
    if record.newest_alone and record.draw == 0:
        return REPLACE  # all N rows of the one batch
    return record


class Seen(NamedTuple):
    """What a model sees under a record that draws no rows.

    Attributes:
      real: of how many rows the real ones count, weights apart.
      synthetic: likewise.
      weight: what the real ones count together, of 1.
      batches: the numbers of the synthetic batches that there are.
    """

    real: float
    synthetic: float
    weight: float
    batches: range


def rows_of_batch(record: Record, batch: ArrayLike, num_rows: float) -> np.ndarray:
    """How many rows batches of some numbers have, 0 being the real one; float64."""
    batch = np.asarray(batch, np.int64)
    if record.sizes is None:
        return np.full(batch.shape, float(num_rows))
    return schedules.values_of_counts(record.sizes, batch)


def seen(record: Record, t: int, num_rows: float) -> Seen:
    """What the model of generation t sees, with room for N rows in a batch.

    Under a share a it sees T rows, a T of them real: as many as the newest batch has, or
    ``T = n / a`` where n real rows run short.
    """
    found = int(record.batches(t))
    others = found - 1 if record.real != "once" else min(found, t - 1)
    batches = range(t - others, t)
    real = float(rows_of_batch(record, 0, num_rows)) if found > others else 0.0
    synthetic = float(rows_of_batch(record, np.asarray(batches), num_rows).sum())
    if record.share is not None and synthetic:
        newest = float(rows_of_batch(record, t - 1, num_rows))
        share = float(schedules.values(record.share, t)) if real else 0.0
        total = real / share if share * newest > real else newest
        real, synthetic = share * total, (1 - share) * total
    weight = real / (real + synthetic)
    if record.weight is not None and real and synthetic:
        weight = float(schedules.values(record.weight, t))
    return Seen(real, synthetic, weight, batches)


def rows_seen(workflow: Any, t: ArrayLike, num_samples: int) -> np.ndarray | None:
    """Of how many rows those count together that the model of generation t sees.

    Args:
      workflow: its record.
      t: generations, any shape.
      num_samples: N.

    Returns:
      None where ``record_of`` knows none.
    """
    record = record_of(workflow, numbers=True)
    if record is None:
        return None
    t = np.asarray(t, np.int64)
    if record.draw is not None:
        return np.full(t.shape, float(record.draw or num_samples))
    views = {int(g): seen(record, int(g), num_samples) for g in np.unique(t)}
    rows = [views[int(g)].real + views[int(g)].synthetic for g in t.flat]
    return np.asarray(rows, np.float64).reshape(t.shape)


def share_of_real_data(
    workflow: Any, t: ArrayLike, num_samples: int | None = None
) -> np.ndarray | None:
    """The expected share of real data in what the model of generation t trains on.

    Where batches are of one size, and rows are drawn blindly, it is that of batches: ``1/t`` until
    the real batch has left the window and 0 from then on; ``1 / (1 + min(t - 1, keep))`` where it
    is kept or fresh. A weight or a share is this share itself, where there are both kinds.

    Args:
      workflow: its record.
      t: generations, any shape.
      num_samples: N, which matters where batches are of several sizes: there it is no more than the
        largest if it is not given.

    Returns:
      None where ``record_of`` knows none.
    """
    record = record_of(workflow, numbers=True)
    if record is None:
        return None
    t = np.asarray(t, np.float64)
    if record.counts:
        rows = num_samples or (1 if record.sizes is None else schedules.most(record.sizes))
        shares = [seen(record, int(g), rows).weight for g in t.flat]
        return np.asarray(shares, np.float64).reshape(t.shape)
    gone = record.real == "once" and record.keep is not None and t > record.keep
    return np.where(gone, 0.0, 1 / record.batches(t))
