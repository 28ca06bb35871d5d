"""The compiled steps of a language model's chain, one call a few steps."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse.models import decoder, packing, training
from jaxcollapse.sweep import Plan
from jaxcollapse.tasks import language_model
from jaxcollapse.tasks.language_model import Setup

STEPS_A_CALL = 10
DOCUMENTS_A_CALL = 4096


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
        config, recipe = made.config, made.recipe
        calls = -(-made.num_samples // documents_a_call)
        self.documents_a_call = -(-made.num_samples // calls)
        sampler = made._replace(num_samples=self.documents_a_call).sampler

        def fresh(key):
            return training.start(config, recipe, decoder.init(config, key))

        def train(state, tokens, segments, count, total):
            def step(index, state):
                batch = packing.Rows(tokens[index], segments[index])
                return training.train_step(config, recipe, state, batch, total)

            return jax.lax.fori_loop(0, count, step, state)

        def advance(params, key, state):
            state = sampler.advance(params, key, state)
            written = jnp.sum(state.position) + jnp.sum(state.lengths)
            return state, sampler.unfinished(state), written

        def lay_out(key, lengths, mask):
            order = packing.shuffled(key, mask.shape[0], mask)
            row, _ = packing.place(jnp.where(mask, lengths, 0)[order], made.data.context)
            return order, row

        self.fresh = jax.jit(fresh)
        self.train = jax.jit(train, donate_argnums=0)
        self.evaluate = jax.jit(lambda data, params: language_model.evaluate(data, params, made))
        self.start_sampling = jax.jit(sampler.start)
        self.advance = jax.jit(advance, donate_argnums=2)
        self.describe = jax.jit(language_model.describe)
        self.lay_out = jax.jit(lay_out)
        self.row_order = jax.jit(language_model.row_order, static_argnums=2)
        self.real_documents = jax.jit(
            lambda key: language_model.real_documents(key, made.data, made.num_samples)
        )

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
