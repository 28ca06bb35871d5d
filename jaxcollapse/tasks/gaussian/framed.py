"""Pools of affine-equivariant data, in the coordinates of their first batch.

A Gaussian fitted to points seen through an affine map is the fitted Gaussian seen through the map.
So a pool may keep its data in coordinates of its own, and the map from them. What is started anew
is standard normal again however far it has collapsed, and no precision is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxcollapse.pools import Pool
from jaxcollapse.tasks.gaussian.affine import Gaussian, compose, standard


class Model(NamedTuple):
    """A fitted model.

    Attributes:
      local: the model in the coordinates of the pool that it was fitted to.
      absolute: the model in the coordinates in which the real data are N(0, I).
    """

    local: Gaussian
    absolute: Gaussian


class Batch(NamedTuple):
    """A batch as standard normal draws seen through the model that drew it.

    Attributes:
      model: the model.
      drawn: the standard normal points ``[N, D]``, or the Gaussian that fits them with ``ddof=0``.
    """

    model: Model
    drawn: Any


class Framed(NamedTuple):
    """The state and the view of a pool that has coordinates of its own.

    Attributes:
      frame: the map from those coordinates to the ones in which the real data are N(0, I).
      content: what the pool keeps, in its own coordinates.
    """

    frame: Gaussian
    content: Any

    @property
    def share(self) -> jax.Array:
        """The share of real data, of a view."""
        return self.content.share

    @property
    def mask(self) -> jax.Array:
        """The rows that count, of a view of rows."""
        return self.content.mask


def framed_pool(inner: Pool, first: Callable, further: Callable) -> Pool:
    """A pool in the coordinates of its first batch.

    What is started anew (``replace``, every generation) is standard normal again however far it
    has collapsed, and what is added was drawn by a model that was fitted in these coordinates.

    Args:
      inner: keeps the contents.
      first: ``first(batch) -> (frame, content)`` of a batch that starts a pool.
      further: ``further(local, drawn) -> content`` of a batch of the model ``local``.
    """

    def start(batch, real=False):
        frame, content = first(batch)
        return Framed(frame, inner.start(content, real))

    def add(state, batch):
        content = further(batch.model.local, batch.drawn)
        return state._replace(content=inner.add(state.content, content))

    def all_of(state):
        return state._replace(content=inner.all(state.content))

    def draw(key, state, size):
        return state._replace(content=inner.draw(key, state.content, size))

    def mix(key, state, real, synthetic):
        return state._replace(content=inner.mix(key, state.content, real, synthetic))

    return Pool(start, add, all_of, draw, mix)


def fitted(frame: Gaussian, local: Gaussian) -> Model:
    """The model that is ``local`` in the coordinates that ``frame`` maps from."""
    return Model(local, compose(frame, local))


def real_model(dim: int) -> Model:
    """The model that made the real data, in their coordinates."""
    return Model(standard(dim), standard(dim))
