"""Pools of affine-equivariant data, in coordinates of their own.

A Gaussian fitted to points seen through an affine map is the fitted Gaussian seen through the map.
So a pool may keep its data in coordinates of its own, the *frame*, and the map from them to the
*standard* coordinates, in which the real data are N(0, I). Where real data stay in the pool, the
frame is that of the first batch. Where they go, it moves: to the newest model, in whose coordinates
its own batch is standard normal, however far everything has collapsed; what else stays is seen
through the inverse of the step. So it does where real data stay and may count for nothing, if every
model has full rank, so that all data have a place in its frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws
from jaxcollapse.pools import Beside, Pool
from jaxcollapse.tasks.gaussian.affine import (
    Gaussian,
    compose,
    image,
    inverse_map,
    of_any_factor,
    standard,
    standard_like,
)
from jaxcollapse.workflows import Workflow

# The logarithm of the largest number that real data may be in a frame, whose square is finite. Of a
# weight that could be told from 0 none comes near.
LARGEST = 39.0


@jax.tree_util.register_static
class Rank(int):
    """A whole number that is known to whoever compiles: no array, but part of a tree."""


class Model(NamedTuple):
    """A fitted model.

    Attributes:
      in_frame: in the coordinates of the pool that it was fitted to.
      in_standard: in those in which the real data are N(0, I).
      rank: a bound on the rank of its covariance.
      origin: the map from the pool's coordinates to the standard ones.
    """

    in_frame: Gaussian
    in_standard: Gaussian
    rank: Any
    origin: Gaussian


class Batch(NamedTuple):
    """A batch as standard normal draws seen through the model that drew it.

    Attributes:
      model: the model.
      drawn: the standard normal points ``[N, D]``, or ``Drawn``, what a fit needs of them.
    """

    model: Model
    drawn: Any


class Frame(NamedTuple):
    """What a framed pool shows beside its data.

    Attributes:
      origin: the map from the frame to standard coordinates.
      rank: a bound on the rank of what is fitted, see ``Model``.
      spans: how many rows span all that can be seen, a ``Rank``; None where every row that is seen
        may bring a direction of its own.
      newest: whether nothing but the newest batch is seen, whose frame is its own.
    """

    origin: Gaussian
    rank: Any
    spans: Any
    newest: bool


class Framed(NamedTuple):
    """The state of a framed pool.

    Attributes:
      origin: the map from the frame to standard coordinates.
      content: what the inner pool keeps, in the frame.
    """

    origin: Gaussian
    content: Any


def framed_pool(
    inner: Pool,
    workflow: Workflow,
    first: Callable[[Batch], tuple[Gaussian, Any]],
    further: Callable[[Gaussian, Any], Any],
    inverted: Callable[[Gaussian, Any], Any],
    returned: Callable[[Gaussian, Any], Any],
    entering: Callable[[Gaussian, Any], Any],
    full: bool,
    rank: Any,
    spans: Any,
    shown: Callable[[Gaussian, Any], Any],
    settled: Callable[[Gaussian, Any], tuple[Gaussian, Any]] = lambda origin, kept: (origin, kept),
    spanned: bool = True,
) -> Pool:
    """A pool that keeps what another keeps, in a frame.

    Args:
      inner: keeps the contents, under the same workflow.
      workflow: the record.
      first: ``first(batch) -> (origin, content)`` of a batch that a pool begins with.
      further: ``further(model, drawn) -> content`` of a batch of a model, in its frame.
      inverted: ``inverted(model, content) -> content`` of all that the inner pool keeps, in the
        coordinates in which the model is standard normal.
      returned: ``returned(model, content) -> content``, its inverse.
      entering: ``inverted`` of the content of one batch.
      full: whether it is known that every model has full rank.
      rank: see ``Frame``.
      spans: likewise.
      shown: ``shown(origin, rows) -> rows`` in the coordinates of the real data.
      settled: ``settled(origin, content) -> (origin, content)`` of a batch that is alone and is
        seen in the frame of another, in the frame that ``first`` would give it.
      spanned: whether all that is kept lies in the span of the rows that a model sees, as it need
        not where these are few of many.
    """
    weighs = workflow.share is not None or workflow.weight is not None
    moves = workflow.keep is not None and (full if weighs else not workflow.real_apart and spanned)
    alone = workflow.slots(2) == 1  # nothing but the newest batch

    def start(batch):
        origin, content = first(batch)
        return Framed(origin, inner.start(content))

    def add(state, batch, generation):
        if alone:
            origin, content = first(batch)
            return Framed(origin, inner.add(state.content, content, generation))
        model = batch.model
        if not moves:
            content = further(model.in_frame, batch.drawn)
            return state._replace(content=inner.add(state.content, content, generation))
        held = state.content
        kept = inverted(model.in_frame, held.content)
        held = held._replace(content=_bounded(kept) if weighs else kept)
        content = further(standard_like(model.in_frame), batch.drawn)
        return Framed(model.in_standard, inner.add(held, content, generation))

    def view(key, state, inclusion=None):
        seen = inner.view(key, state.content, inclusion)
        return Beside(seen, Frame(state.origin, rank, spans, alone))

    def renew(state, batch):
        content = first(batch)[1]  # in standard coordinates, as fresh real data are made
        if moves:
            largest = jnp.maximum(state.origin.log_diagonal, -LARGEST)
            content = _bounded(entering(state.origin._replace(log_diagonal=largest), content))
        return state._replace(content=inner.renew(state.content, content))

    def rows(state, now):
        found = inner.rows(state.content, now)
        return found._replace(data=shown(state.origin, found.data))

    def take_over(state):
        held = inner.take_over(state.content)
        if alone:
            origin, content = settled(state.origin, held.content)
            return Framed(origin, held._replace(content=content))
        if workflow.real != "fresh":
            return state._replace(content=held)
        held = held._replace(content=returned(state.origin, held.content))
        return Framed(standard_like(state.origin), held)

    return Pool(start, add, view, renew, rows, take_over)


def _bounded(content: Any) -> Any:
    """What is kept, finite: real data that count for nothing go as far as a model collapses."""
    return jax.tree.map(lambda x: jnp.clip(x, -math.exp(LARGEST), math.exp(LARGEST)), content)


def fitted(frame: Frame, in_frame: Gaussian) -> Model:
    """The model that is ``in_frame`` in the coordinates of a frame."""
    return Model(in_frame, compose(frame.origin, in_frame), frame.rank, frame.origin)


def pooled(batches: Batch, owner: Any) -> Batch:
    """Points of several models, as drawn by the one Gaussian with the mean and covariance of all.

    Row i is row i of model ``owner[i]``. Where all models together leave a direction without
    variance there is no such Gaussian, and all is NaN.

    Args:
      batches: of k models that were fitted in one frame, stacked.
      owner: int ``[N]``.
    """
    models = batches.model
    k, dim = models.in_frame.mean.shape
    mean = jnp.mean(models.in_frame.mean, axis=0)
    factors = jax.vmap(lambda model: model.factor)(models.in_frame)
    apart = (models.in_frame.mean - mean[None, :]).T
    wide = jnp.concatenate([jnp.moveaxis(factors, 0, 1).reshape(dim, -1), apart], axis=1)
    in_frame = of_any_factor(mean, wide / np.sqrt(k).astype(wide.dtype))
    scale = in_frame.log_diagonal
    narrow = jnp.min(scale) < jnp.max(scale) + np.log(_NO_VARIANCE)
    in_frame = in_frame._replace(mean=jnp.where(narrow, np.nan, mean).astype(mean.dtype))
    origin = jax.tree.map(lambda x: x[0], models.origin)
    model = Model(in_frame, compose(origin, in_frame), models.rank, origin)
    place = np.arange(len(owner))
    points = jax.vmap(image)(models.in_frame, batches.drawn)[owner, place]
    return Batch(model, inverse_map(in_frame, points))


# A standard deviation, of the largest of all directions, that may be rounding.
_NO_VARIANCE = 1e-6


def standard_rank(num_samples: Any, dim: int) -> Any:
    """A bound on the rank of a fit where all rows lie in the span of the first batch."""
    if checks.is_traced(num_samples):
        n = jnp.asarray(num_samples, draws.float_dtype())
        return jnp.minimum(n - 1, dim)
    return Rank(min(num_samples - 1, dim))


def real_model(dim: int, rank: Any) -> Model:
    """The model that made the real data."""
    return Model(standard(dim), standard(dim), rank, standard(dim))
