"""The compiled steps of a language model's chain, one call a few steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse.models import decoder, packing, training
from jaxcollapse.pools import Points, points_pool
from jaxcollapse.sweep import Plan
from jaxcollapse.tasks import language_model
from jaxcollapse.tasks.language_model import Setup
from jaxcollapse.workflows import Workflow

STEPS_A_CALL = 10
DOCUMENTS_A_CALL = 4096


class PoolSteps(NamedTuple):
    """A pool that holds the numbers of documents, int32, which themselves stay on the host.

    Attributes:
      start: ``start() -> state``, with the real documents, 0 to N - 1.
      select: ``select(key, state) -> view`` that the next model trains on.
      update: ``update(state, generation) -> state``, with the documents that it published.
    """

    start: Callable[[], Any]
    select: Callable[[jax.Array, Any], Points]
    update: Callable[[Any, Any], Any]


class Programs:
    """The steps of one setup, shared by all its chains; compiled when they are first called."""

    def __init__(
        self,
        made: Setup,
        steps_a_call: int = STEPS_A_CALL,
        documents_a_call: int = DOCUMENTS_A_CALL,
    ):
        """All that is left open is data, parameters and keys.

        Args:
          made: of the language model.
          steps_a_call: K, steps of training between two looks at the loss.
          documents_a_call: the most that one sampler writes before they are kept.
        """
        self.made, self.steps_a_call = made, steps_a_call
        self._pools: dict[tuple[str, int | None, int], PoolSteps] = {}
        config, recipe = made.config, made.recipe
        calls = -(-made.num_samples // documents_a_call)
        self.documents_a_call = -(-made.num_samples // calls)
        documents = self.documents_a_call
        sampler = made._replace(num_samples=documents).sampler

        def fresh(key):
            return training.start(config, recipe, decoder.init(config, key))

        def train(state, tokens, segments, count, total):
            def step(index, state):
                batch = packing.Rows(tokens[index], segments[index])
                return training.train_step(config, recipe, state, batch, total)

            return jax.lax.fori_loop(0, count, step, state)

        def advance(params, key, state):
            state = sampler.advance(params, key, state)
            # The beginning of a document is not sampled.
            finished = jnp.sum(jnp.maximum(state.lengths - 1, 0))
            written = finished + jnp.sum(jnp.where(state.document < documents, state.position, 0))
            return state, sampler.unfinished(state), written

        self.fresh = jax.jit(fresh)
        self.train = jax.jit(train, donate_argnums=0)
        self.evaluate = jax.jit(lambda data, params: language_model.evaluate(data, params, made))
        self.start_sampling = jax.jit(sampler.start)
        self.advance = jax.jit(advance, donate_argnums=2)
        self.describe = jax.jit(language_model.describe)
        self.document_order = jax.jit(lambda key, mask: packing.shuffled(key, mask.shape[0], mask))
        self.row_order = jax.jit(language_model.row_order, static_argnums=2)
        self.real_documents = jax.jit(
            lambda key: language_model.real_documents(key, made.data, made.num_samples)
        )

    def pool(self, workflow: Workflow, generations: int) -> PoolSteps:
        """The steps of a pool of document numbers under a workflow."""
        name = (workflow.name, workflow.subsample_size, generations)
        if name not in self._pools:
            pool = points_pool(workflow.capacity(generations))
            numbers = np.arange(self.made.num_samples, dtype=np.int32)

            def update(state, generation):
                return workflow.update(pool, state, numbers + generation * len(numbers))

            self._pools[name] = PoolSteps(
                start=lambda: pool.start(jnp.asarray(numbers), real=True),
                select=jax.jit(lambda key, state: workflow.select(key, pool, state)),
                update=jax.jit(update),
            )
        return self._pools[name]

    def batches(self) -> tuple[np.ndarray, np.ndarray]:
        """Empty tokens and segments ``[K, B, T]`` for one call of ``train``."""
        shape = (self.steps_a_call, self.made.recipe.batch_size, self.made.data.context)
        return np.zeros(shape, np.int32), np.zeros(shape, np.int32)


def programs_of(plan: Plan, **sizes: int) -> dict[tuple, Programs]:
    """The programs of each point of a plan's grid; ``sizes`` are those of ``Programs``."""
    points = dict.fromkeys(tuple(cell.point.items()) for cell in plan.cells)
    return {
        point: Programs(language_model.setup(**dict(point), **plan.options), **sizes)
        for point in points
    }
