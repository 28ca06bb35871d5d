"""Parts of a batch, whose rows count alike: what a share needs to know of statistics.

Where a share wants w of the rows of a batch, its row i counts as ``clip(w - i, 0, 1)``, see
``rows``. So the statistics of a batch that no other number of rows is asked of are those of a few
parts, each drawn by itself for as many rows as it has: the rows before the edge, which all count
as 1, and the two about it, of one row each. The second has a slope where w is a whole number. Real
rows that stay are seen by all models, in one order, and have edges for each number that is wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws, schedules
from jaxcollapse.rows import batch_rows, shared_out
from jaxcollapse.workflows import Workflow

OF_A_BATCH = 3  # parts: before the edge, and the two rows about it
_OF_PARTS = 2**20  # folded into the key of a batch, and from there on for each of its rows


def served(workflow: Workflow, num_rows: Any = None, entries: int = 1) -> bool:
    """Whether statistics of parts of batches say all that models see under a workflow.

    Not where rows are drawn anew of batches that stay, nor where real rows stay and of as many of
    them as there are generations another number is wanted, or so many others that their parts take
    more than four times the work of the rows.

    Args:
      workflow: the record.
      num_rows: N; None, or traced, for as many as are needed.
      entries: how many numbers statistics have for each that a row has.
    """
    if draws_rows(workflow):
        return False
    if workflow.share is None or workflow.real == "fresh":
        return True
    if any(isinstance(s, schedules.Decay) for s in (workflow.share, workflow.sizes)):
        return False
    several = _last(workflow) > 2 and num_rows is not None and not checks.is_traced(num_rows)
    return not several or 3 * _last(workflow) * entries <= 4 * num_rows


def draws_rows(workflow: Workflow) -> bool:
    """Whether models see rows drawn of batches that stay, which sums of a batch cannot tell."""
    several = workflow.share is not None and not (workflow.keep == 1 and workflow.real_apart)
    return workflow.chooses or workflow.draw is not None or several


class Noise(NamedTuple):
    """How the noise of batches is drawn.

    Attributes:
      published: ``published(keys, batches)`` ``[n]``, of what models of some generations publish.
      fresh: ``fresh(keys, now)`` ``[n]``, of fresh real data that models of some generations see.
      first: ``first(key)``, of the first real batch; None where it is as that of the others.
    """

    published: Callable[[Any, Any], Any]
    fresh: Callable[[Any, Any], Any]
    first: Callable[[Any], Any] | None = None


def noise_of(noise: Callable[..., Any], workflow: Workflow, num_rows: Any) -> Noise:
    """How a task's noise is drawn, of as many rows as are seen where it can be drawn of fewer.

    Args:
      noise: of the task, see ``Task.noise``.
      workflow: the record.
      num_rows: N, see ``Task.num_rows``.
    """
    every = jax.vmap(noise)
    if num_rows is None or (workflow.share is None and workflow.sizes is None):
        return Noise(lambda keys, _: every(keys), lambda keys, _: every(keys))
    return Noise(
        lambda keys, batches: every(keys, of_published(workflow, batches, num_rows)),
        lambda keys, now: every(keys, of_fresh(workflow, now, num_rows)),
        lambda key: noise(key, of_first(workflow, num_rows)),
    )


def of_published(workflow: Workflow, batch: Any, num_rows: Any) -> Any:
    """The rows of the parts of what models publish: int32 ``[n, 3]``, without a share ``[n]``.

    Args:
      workflow: its record, with a share or sizes.
      batch: int32 ``[n]``, whose models.
      num_rows: N, for which a batch has room.
    """
    most = batch_rows(workflow, batch, num_rows)
    if workflow.share is None:
        return most
    return _rows_about(wanted(workflow, batch + 1, num_rows)[1], most)


def of_fresh(workflow: Workflow, now: Any, num_rows: Any) -> Any:
    """The same of the fresh real rows that models of some generations ``now`` see."""
    most = batch_rows(workflow, jnp.zeros_like(now), num_rows)
    if workflow.share is None:
        return most
    return _rows_about(wanted(workflow, now, num_rows)[0], most)


def of_first(workflow: Workflow, num_rows: Any) -> Any:
    """The same of the first real batch: int32 ``[P]``, without a share a number."""
    if workflow.share is None or workflow.real == "fresh":
        return of_fresh(workflow, jnp.int32(1), num_rows)
    most = batch_rows(workflow, jnp.int32(0), num_rows)
    return _rows(_starts_of_kept(workflow, num_rows), most, most)


def keys_of(key: Any, rows: Any) -> Any:
    """A key ``[P]`` for each part of so many rows, named by the first of them.

    So a row at the edge is the same whatever comes before, and others of it are others: slopes of
    single rows, which a mean over seeds and shares is to smooth, are not one row's at all shares.
    """
    first = jnp.cumsum(rows) - rows
    return draws.fold_in(key, first + np.int32(_OF_PARTS))


def counts(workflow: Workflow, now: Any, num_rows: Any) -> tuple[Any, Any]:
    """Of how many rows each row counts of the parts of real data ``[P]`` and of a batch ``[3]``.

    Args:
      workflow: its record, with a share.
      now: int32, which generation's model sees them.
      num_rows: N.
    """
    real, synthetic = wanted(workflow, now, num_rows)
    fresh = workflow.real == "fresh"
    starts = _starts(real) if fresh else _starts_of_kept(workflow, num_rows)

    def of(count, starts):
        return jnp.clip(count - starts.astype(count.dtype), 0.0, 1.0)

    return of(real, starts), of(synthetic, _starts(synthetic))


def wanted(workflow: Workflow, now: Any, num_rows: Any) -> tuple[Any, Any]:
    """Of how many rows those of the real batch and those of the newest one are to count."""
    held = batch_rows(workflow, jnp.zeros_like(now), num_rows).astype(draws.float_dtype())
    return shared_out(workflow, now, num_rows, held, jnp.asarray(True), now > 1)


def _starts(count: Any) -> Any:
    """The first rows of the parts of a batch of which so many are wanted: ``[..., 3]``."""
    before = jnp.maximum(jnp.ceil(count).astype(np.int32) - 1, 0)
    return jnp.stack([jnp.zeros_like(before), before, before + 1], axis=-1)


def _starts_of_kept(workflow: Workflow, num_rows: Any) -> Any:
    """Those of real rows that stay, for all numbers of them that are ever wanted."""
    real, _ = wanted(workflow, jnp.arange(2, _last(workflow) + 1, dtype=np.int32), num_rows)
    edges = _starts(real)[:, 1:]
    return jnp.sort(jnp.concatenate([jnp.zeros(1, np.int32), edges.ravel(), edges[:, 1] + 1]))


def _last(workflow: Workflow) -> int:
    """The last generation, from 2 on, of which another number of real rows may be wanted."""
    return max(2, schedules.length(workflow.share), schedules.length(workflow.sizes))


def _rows_about(count: Any, most: Any) -> Any:
    """How many rows the parts have about the edge at so many of ``most`` rows: ``[..., 3]``."""
    starts = _starts(count)
    return _rows(starts, starts[..., -1] + 1, most)


def _rows(starts: Any, end: Any, most: Any) -> Any:
    """How many rows parts have that begin at some rows ``[..., P]`` of ``most``, up to an end."""
    ends = jnp.concatenate([starts[..., 1:], end[..., None]], axis=-1)
    return jnp.maximum(jnp.minimum(ends, most[..., None]) - starts, 0)
