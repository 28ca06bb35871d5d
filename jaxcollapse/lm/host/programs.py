"""The compiled steps of a language model's chain, one call a few steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxcollapse import checks
from jaxcollapse.lm import language_model
from jaxcollapse.lm.decoder import packing, sharding, training
from jaxcollapse.lm.decoder.decoder import Params
from jaxcollapse.lm.decoder.packing import Rows
from jaxcollapse.lm.host_rows import empty_rows
from jaxcollapse.lm.setup import Setup, checked_setup
from jaxcollapse.pools import View, points_pool
from jaxcollapse.sweeps.plan import Plan
from jaxcollapse.workflows import Workflow

STEPS_A_CALL = 10
DOCUMENTS_A_CALL = 4096
REJECTING_CALLS = 8  # calls that N samples are written in, where more may be needed


class PoolSteps(NamedTuple):
    """A pool that holds the numbers of documents, int32, which themselves stay on the host.

    Documents n N to n N + N - 1 are those of generation n, from 0, the real ones; below 0 are fresh
    real ones: from -n N on, those of generation n.

    Attributes:
      start: ``start() -> state``, with the real documents, 0 to N - 1.
      view: ``view(key, state, generation) -> view`` that the model of a generation trains on.
      add: ``add(state, generation) -> state``, with the documents that it published.
    """

    start: Callable[[], Any]
    view: Callable[[jax.Array, Any, Any], View]
    add: Callable[[Any, Any], Any]


class Programs:
    """The steps of one setup, shared by all its chains; compiled when they are first called."""

    def __init__(
        self,
        setup: Setup,
        mesh: Mesh | None = None,
        steps_a_call: int = STEPS_A_CALL,
        documents_a_call: int = DOCUMENTS_A_CALL,
    ):
        """All that is left open is data, parameters and keys.

        Args:
          setup: of the language model.
          mesh: the devices over which a model is sharded; None for one that holds it whole.
          steps_a_call: K, steps of training between two looks at the loss.
          documents_a_call: the most that one sampler writes before they are kept.

        Raises:
          ValueError: the mesh does not divide the model.
        """
        self.setup, self.mesh, self.steps_a_call = setup, mesh, steps_a_call
        self._pools: dict[tuple[Workflow, int], PoolSteps] = {}
        config, recipe = setup.config, setup.recipe
        if mesh is not None:
            sharding.check_mesh(config, recipe, mesh)
        self.documents_a_call = documents = _documents_a_call(setup, documents_a_call)
        sampler = setup._replace(num_samples=documents).sampler

        def fresh(key, params):
            if params is None:
                return language_model.start(key, setup)
            return language_model.start(key, setup.with_base_params(params))

        def train(state, frozen, batches, count, total):
            def step(index, state):
                batch = jax.tree.map(lambda rows: rows[index], batches)
                return training.train_step(config, recipe, state, batch, total, frozen, mesh)

            return jax.lax.fori_loop(0, count, step, state)

        def advance(params, key, state):
            state = sampler.advance(params, key, state)
            # The beginning of a document is not sampled.
            finished = jnp.sum(jnp.maximum(state.lengths - 1, 0))
            written = finished + jnp.sum(jnp.where(state.document < documents, state.position, 0))
            return state, sampler.unfinished(state), written

        self._base = None if setup.base is None else setup.base.params
        self._shapes = jax.eval_shape(fresh, jax.eval_shape(jax.random.key, 0), self._base)
        place = self._placement(self._shapes)
        self._fresh = jax.jit(fresh, out_shardings=place)
        self._train = jax.jit(train, donate_argnums=0, out_shardings=place and place[1])
        self.finished = jax.jit(
            lambda state, frozen: training.finished(config, recipe, state, frozen)
        )
        self.evaluate = jax.jit(
            lambda data, params: language_model.evaluate(data, params, setup, mesh)
        )
        self.start_sampling = jax.jit(sampler.start)
        self.advance = jax.jit(advance, donate_argnums=2)
        self.describe = jax.jit(language_model.describe)
        self.self_perplexity = jax.jit(
            lambda documents, params: language_model.self_perplexity(documents, params, setup, mesh)
        )
        self.document_order = jax.jit(lambda key, mask: packing.shuffled(key, mask.shape[0], mask))
        self.row_order = jax.jit(language_model.row_order, static_argnums=2)
        self.real_documents = jax.jit(lambda key: language_model.real_documents(key, setup))

    def _placement(self, tree: Any) -> Any:
        """Where the arrays of a tree are kept; None leaves it to where they are setup."""
        if self.mesh is None:
            return None
        return sharding.shardings(self.mesh, tree)

    def _placed(self, tree: Any) -> Any:
        """The shapes of a tree, and where its arrays are kept."""
        if self.mesh is None:
            return tree
        return jax.tree.map(
            lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
            tree,
            self._placement(tree),
        )

    @property
    def state_like(self) -> training.State:
        """Shapes, types and places of the arrays of a state in training."""
        return self._placed(self._shapes[1])

    def start(self, key: jax.Array) -> tuple[Params | None, training.State]:
        """What is frozen in training, None if nothing is, and the state before the first step."""
        base = self._base
        if base is not None and self.mesh is not None:
            # Part by part: as a whole it may fit on none of the devices.
            base = jax.device_put(base, self._placement(base))
        return self._fresh(key, base)

    def train(
        self, state: training.State, frozen: Params | None, batches: Rows, count: int, total: int
    ) -> training.State:
        """The state some steps later.

        Args:
          state: before; its memory is used again.
          frozen: from ``start``.
          batches: ``[K, B, T]``, of which the first ``count`` are used.
          count: steps, at most K.
          total: steps of the whole training.
        """
        if self.mesh is not None:
            batches = jax.device_put(batches, self._placement(batches))
        return self._train(state, frozen, batches, np.int32(count), np.int32(total))

    def training_memory(self) -> float | None:
        """Bytes on a device, as the compiler reckons them; None where it does not."""
        frozen, state, batches = self._placed((*self._shapes, self.batches()))
        lowered = self._train.lower(state, frozen, batches, np.int32(1), np.int32(1))
        needed = lowered.compile().memory_analysis()
        if needed is None:
            return None
        return float(needed.argument_size_in_bytes + needed.temp_size_in_bytes)

    def pool(self, workflow: Workflow, generations: int) -> PoolSteps:
        """The steps of a pool of document numbers under a workflow."""
        name = (workflow, generations)
        if name not in self._pools:
            self._pools[name] = _pool_steps(workflow, generations, self.setup.num_samples)
        return self._pools[name]

    def batches(self) -> Rows:
        """Empty batches ``[K, B, T]`` for one call of ``train``, on the host."""
        shape = (self.steps_a_call, self.setup.recipe.batch_size, self.setup.data.context)
        return empty_rows(shape, self.setup.data.loss_on == "response")


def check_workflow(workflow: Workflow) -> None:
    """Refuses a workflow that would have to see documents, of which a pool here knows the numbers.

    Raises:
      ValueError: the workflow chooses among rows, or tells how much they count.
    """
    if workflow.counts:
        raise checks.refusal(
            "workflow of a chain that is driven from the host",
            "one whose rows all count alike",
            workflow.name,
            f"leave out {', '.join(workflow.numbers)}",
        )
    if workflow.chooses:
        raise checks.refusal(
            "workflow of a chain that is driven from the host",
            "one that a record says",
            f"{workflow.name}, which chooses among rows",
            "run it compiled (--driver compiled)",
        )


def _pool_steps(workflow: Workflow, generations: int, size: int) -> PoolSteps:
    check_workflow(workflow)
    pool = points_pool(workflow, generations)
    numbers = np.arange(size, dtype=np.int32)

    def view(key, state, generation):
        if workflow.real == "fresh":
            fresh = numbers - jnp.where(generation > 1, generation * size, 0)
            state = pool.renew(state, fresh)
        return pool.view(key, state)

    return PoolSteps(
        start=lambda: pool.start(jnp.asarray(numbers)),
        view=jax.jit(view),
        add=jax.jit(
            lambda state, generation: pool.add(state, numbers + generation * size, generation)
        ),
    )


def _documents_a_call(setup: Setup, most: int) -> int:
    """Documents that one call of the sampler writes: equal parts of N, or of what is rejected."""
    calls = -(-setup.num_samples // most)
    if setup.filters:
        calls = max(calls, min(REJECTING_CALLS, setup.num_samples // setup.slots))
    return -(-setup.num_samples // max(calls, 1))


def programs_of(plan: Plan, mesh: Mesh | None = None, **sizes: int) -> dict[tuple, Programs]:
    """The programs of each point of a plan's grid; ``sizes`` are those of ``Programs``."""
    points = dict.fromkeys(tuple(plan.point(cell).items()) for cell in plan.cells)
    return {
        point: Programs(checked_setup(**dict(point), **plan.options), mesh, **sizes)
        for point in points
    }
