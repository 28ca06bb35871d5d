"""A ring of batches: the newest takes the place of the oldest one that need not stay."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks
from jaxcollapse.workflows import Workflow

Batch = Any


class Ring(NamedTuple):
    """Batches, each in a slot; where real data have a place of their own, it is the first slot.

    Attributes:
      content: a pytree of arrays ``[slots * N, ...]``, or ``[slots, ...]`` of one entry a batch.
      made_by: int32 ``[slots]``, whose model made the batch of each slot; 0 for a real one, -1 for
        none.
      added: int32, how many batches were ever put into the slots that take turns; 1 in a ring of
        one slot.
    """

    content: Any
    made_by: jax.Array
    added: jax.Array


class Slots(NamedTuple):
    """The places of a ring.

    Attributes:
      total: all slots.
      apart: how many of them, the first, do not take turns: 0 or 1.
    """

    total: int
    apart: int

    def start(self, batch: Batch, as_rows: bool) -> Ring:
        """A ring that holds the real batch.

        Args:
          batch: a pytree of arrays ``[N, ...]``; or of any, where it is one entry of its slot.
          as_rows: whether a slot has N rows, and not one entry.
        """
        if as_rows:
            _check_rows(batch)

        def alone(x):
            rows = x if as_rows else x[None]
            unused = (self.total - 1) * rows.shape[0]
            return jnp.pad(rows, [(0, unused)] + [(0, 0)] * (rows.ndim - 1)) if unused else rows

        content = jax.tree.map(lambda x: alone(jnp.asarray(x)), batch)
        made_by = jnp.full(self.total, -1, jnp.int32).at[0].set(0)
        return Ring(content, made_by, jnp.int32(1 if self.total == 1 else 1 - self.apart))

    def add(self, ring: Ring, batch: Batch, generation: Any, as_rows: bool) -> Ring:
        """The ring with the batch of a generation, in place of the oldest that need not stay."""
        if as_rows:
            _check_batch(batch, ring.content, self.total)
        turn = self.total - self.apart
        place = self.apart + (ring.added % turn if turn > 1 else 0)

        def write(kept, new):
            new = new if as_rows else new[None]
            if kept.shape == new.shape:
                return new
            row = place * new.shape[0]
            return jax.lax.dynamic_update_slice_in_dim(kept, new, row, axis=0)

        content = jax.tree.map(write, ring.content, batch)
        made_by = ring.made_by.at[place].set(jnp.asarray(generation, jnp.int32))
        # A ring of one is always full, which the compiler may know.
        return Ring(content, made_by, jnp.int32(1) if self.total == 1 else ring.added + 1)

    def renew(self, ring: Ring, batch: Batch, as_rows: bool) -> Ring:
        """The ring with another real batch in the slot that is apart."""
        if as_rows:
            _check_batch(batch, ring.content, self.total, "real")

        def write(kept, new):
            new = new if as_rows else new[None]
            return jax.lax.dynamic_update_slice_in_dim(kept, new, 0, axis=0)

        return ring._replace(content=jax.tree.map(write, ring.content, batch))

    def occupied(self, ring: Ring) -> jax.Array:
        """How many slots, the first ones, hold a batch: int32."""
        if self.total == 1:
            return ring.added
        return jnp.minimum(ring.added + self.apart, self.total)

    def take_over(self, ring: Ring, as_rows: bool, needs_real: bool = False) -> Ring:
        """A ring of these slots with the newest batches of another, in the order of their age.

        Args:
          ring: the other one.
          as_rows: whether a slot has N rows, and not one entry.
          needs_real: whether the real batch has to be there. Where it is traced whether it is,
            floating rows in its place are NaN if it is not.
        """
        if not isinstance(ring, Ring):
            return not_taken_over(ring)
        if needs_real and not checks.is_traced(ring.made_by) and not (ring.made_by == 0).any():
            raise checks.refusal(
                "state to go on from under a workflow that keeps the real batch",
                "one that holds it",
                "one that holds it no more",
                "begin under a workflow that keeps it, as accumulate does",
            )
        count = ring.made_by.shape[0]

        def by_batch(x):
            return x.reshape(count, -1, *x.shape[1:]) if as_rows else x

        real = ring.made_by == 0
        apart = bool(self.apart)
        taking_turns = (ring.made_by >= 0) & ~real if apart else ring.made_by >= 0
        last = jnp.int32(2**31 - 1)
        order = jnp.argsort(jnp.where(taking_turns, ring.made_by, last), stable=True)
        turn = self.total - self.apart
        number = jnp.sum(taking_turns, dtype=np.int32)
        added = jnp.minimum(number, turn)
        place = jnp.arange(turn, dtype=np.int32)
        used = place < added
        source = order[jnp.clip(number - added + place, 0, count - 1)]
        made_by = jnp.where(used, ring.made_by[source], -1)
        if apart:
            source = jnp.concatenate([jnp.argmax(real)[None], source])
            made_by = jnp.concatenate([jnp.zeros(1, np.int32), made_by])

        def taken(x):
            batches = by_batch(x)[source]
            if needs_real and jnp.issubdtype(x.dtype, jnp.floating):
                first = jnp.where(jnp.any(real), batches[0], np.asarray(np.nan, x.dtype))
                batches = batches.at[0].set(first)
            return batches.reshape(-1, *x.shape[1:]) if as_rows else batches

        return Ring(jax.tree.map(taken, ring.content), made_by, added)


def slots_of(workflow: Workflow, num_generations: int) -> Slots:
    """The slots that a workflow needs for so many generations."""
    return Slots(workflow.slots(num_generations), int(workflow.real_apart))


def not_taken_over(state: Any) -> Any:
    """Refuses the state of a pool of another kind."""
    raise checks.refusal(
        "state to go on from under another workflow",
        "that of a chain that keeps points, as this one does",
        "one of statistics",
        "make both chains of a task with pool='points'",
    )


def _described(tree: Any, slots: int = 1) -> str:
    def one(x):
        shape = jnp.shape(x)
        return f"{jnp.result_type(x)}{[shape[0] // slots, *shape[1:]] if shape else []}"

    return str(jax.tree.map(one, tree))


def _check_rows(batch: Batch) -> None:
    """Refuses a batch whose leaves have no rows, or other numbers of them."""
    lengths = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(batch)}
    if () in lengths or len(lengths) != 1:
        raise checks.refusal(
            "batch of init",
            "arrays [N, ...], the same N in all of them",
            _described(batch),
            "give every array a row for each point",
        )


def _check_batch(batch: Batch, content: Any, slots: int, function: str = "sample") -> None:
    """Refuses a batch of a function that a pool of other real ones cannot take."""
    ours, theirs = _described(content, slots), _described(batch)
    if ours != theirs:
        raise checks.refusal(
            f"batch of {function}",
            f"the shapes and types of init's, {ours}",
            theirs,
            "make every generation's batch like the real one",
        )
