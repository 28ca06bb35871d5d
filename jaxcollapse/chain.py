"""One seed's history: a task under a workflow, generation after generation, in one scan.

The scan is made of two halves that can be had apart, ``chain.init`` and ``chain.step``. A language
model too large for one program is driven from the host by ``lm.host``, in the same steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws, parts
from jaxcollapse.keys import evaluation_keys, generation_keys, order_keys, real_keys, typed_key
from jaxcollapse.metrics import (
    EVALUATE,
    SHARE_OF_REAL_DATA,
    Measures,
    Metrics,
    functions_of,
    joined,
)
from jaxcollapse.pools import Pool
from jaxcollapse.rows import Shown
from jaxcollapse.task import FITTED, JUDGED, Params, Task, Truth, in_real_coordinates
from jaxcollapse.workflow_checks import with_state
from jaxcollapse.workflows import Workflow, as_workflow


class State(NamedTuple):
    """A chain between two generations.

    Attributes:
      key: of the whole chain.
      generation: int32, the last that is finished; 0 before the first.
      truth: what models are judged by.
      pool: the data made so far, as the task keeps it.
      model: the last one, as the task keeps it; of zeros before the first.
      workflow: the state of a workflow that keeps one.
    """

    key: jax.Array
    generation: jax.Array
    truth: Truth
    pool: Any
    model: Params
    workflow: Any


class _Inputs(NamedTuple):
    """What a generation draws from, and its number."""

    noise: Any
    fit: jax.Array
    choice: jax.Array
    number: jax.Array
    real: Any
    evaluation: Any
    order: Any


class Chain:
    """A history as a pure function of a key, and its halves; see ``make_chain``.

    Attributes:
      task: on the kind of data that serves the workflow.
      workflow: which data each model trains on.
      num_generations: G, for how many generations there is room.
    """

    def __init__(
        self,
        task: Task,
        workflow: Workflow | Callable[[], Workflow] | str,
        num_generations: int,
        measures: Measures = None,
    ):
        """See ``make_chain``."""
        self.num_generations = checks.whole_number("num_generations", num_generations)
        self.workflow = as_workflow(workflow)
        if not isinstance(task, Task):
            remedy = "make one, as jaxcollapse.gaussian.task"
            raise checks.refusal("task of a chain", "a Task", repr(task), remedy)
        given = functions_of(measures)
        used = [checks.arguments(f, name, JUDGED, 2) for name, f in given.items()]
        used.append(checks.arguments(task.evaluate, EVALUATE, JUDGED, 2))
        self.task = task = task.under(self.workflow, rows=max(used) > 2)
        self._noise = parts.noise_of(task.noise, self.workflow, task.num_rows)
        self._measures = {
            name: in_real_coordinates(task.coordinates, f, name) for name, f in given.items()
        }
        self._has_evaluation_keys = max(used) > 3
        self._fit_takes = checks.arguments(task.fit, "fit", FITTED, 2)
        self._choose_takes = (
            checks.arguments(self.workflow.choose, "choose", ("key", "rows", "state"), 2)
            if self.workflow.chooses
            else 0
        )
        if self._choose_takes == 3 and type(self.workflow).start is Workflow.start:
            what = f"workflow {self.workflow.name}, whose choose takes a state"
            raise checks.refusal(what, "a method start() of the first one", "none", "give it one")

    def __call__(self, key: jax.Array) -> Metrics:
        """The metrics of G generations, a dict of arrays ``[G, ...]``."""
        key = typed_key(key)
        inputs = self._inputs(key, 0, self.num_generations)
        first, rest = (jax.tree.map(lambda x, i=i: x[i], inputs) for i in (0, slice(1, None)))
        # What the last generation publishes is seen by none, and has no room in the pool.
        truth, pool, begun = self._begin(key, first.noise, self.num_generations)
        carry: tuple[Any, ...] = begun
        if self._fit_takes > 3:
            carry = (*begun, self._no_model(pool, begun, first))
        return self._scan(key, truth, pool, carry, rest)[1]

    def init(self, key: jax.Array) -> State:
        """The state before generation 1: the truth, and a pool that holds the real batch."""
        key = typed_key(key)
        first = jax.tree.map(lambda x: x[0], self._inputs(key, 0, 0))
        truth, pool, carry = self._begin(key, first.noise, self.num_generations + 1)
        model = self._no_model(pool, carry, first)
        state = State(key, jnp.int32(0), truth, carry[0], model, carry[1])
        return draws.varying_as(state, key)

    def step(self, state: State) -> tuple[State, Metrics]:
        """One generation: the next state, and the metrics of its model.

        Raises:
          ValueError: the state is one of G generations, or more. Where it is traced, floating
            metrics are NaN instead.
        """
        state, metrics = self.run(state, 1)
        return state, jax.tree.map(lambda x: x[0], metrics)

    def run(self, state: State, num_generations: int) -> tuple[State, Metrics]:
        """So many generations in one scan: the last state, and metrics ``[num_generations, ...]``.

        Raises:
          ValueError: as for ``step``.
        """
        count = checks.whole_number("num_generations", num_generations)
        room = self._room(_checked(state), count)
        inputs = self._inputs(state.key, state.generation + 1, count - 1)
        carry = (state.pool, state.workflow, state.model)
        pool = self._pool(state.truth, self.num_generations + 1)
        carry, metrics = self._scan(state.key, state.truth, pool, carry, inputs)
        if room is not None:
            metrics = jax.tree.map(lambda x: _marked(x, room), metrics)
        pool, own, model = carry
        number = state.generation + np.int32(count)
        return State(state.key, number, state.truth, pool, model, own), metrics

    def model(self, state: State) -> Any:
        """The last model of a state in the coordinates of the real data; zeros before the first."""
        coordinates = self.task.coordinates
        return state.model if coordinates is None else coordinates.model(state.model)

    def resume(self, state: State) -> State:
        """The state of another chain of the same task, to go on from under this chain's workflow.

        The pool keeps what this chain's workflow shows of it: the newest batches, and the real one
        if it is still there. A model whose shapes follow from the pool is of zeros until the next.

        Raises:
          ValueError: the chains keep different kinds of data, or the real batch is needed and is
            there no more.
        """
        key = jax.eval_shape(jax.random.key, 0)
        truth = jax.eval_shape(lambda key: self.task.init(self.task.noise(key))[0], key)
        if checks.described_tree(truth) != checks.described_tree(_checked(state).truth):
            raise checks.refusal(
                "state to go on from",
                "one of the same task, with the same parameters",
                "one with a truth of other shapes",
                "make both chains of one task",
            )
        pool = self._pool(state.truth, self.num_generations + 1)
        ours = jax.eval_shape(lambda key: self.init(key).pool, key)
        if checks.described_tree(ours, 1) != checks.described_tree(state.pool, 1):
            raise checks.refusal(
                "state to go on from under another workflow",
                "that of a chain whose pool keeps the same kind of data",
                "one of points for one of statistics, or of other points",
                "make both chains of a task with pool='points'",
            )
        held, own = pool.take_over(state.pool), self.workflow.start()
        first = jax.tree.map(lambda x: x[0], self._inputs(state.key, state.generation + 1, 0))
        model = self._no_model(pool, (held, own), first)
        if jax.tree.map(jnp.shape, model) == jax.tree.map(jnp.shape, state.model):
            model = state.model
        elif self._fit_takes > 3:
            raise checks.refusal(
                "model of a state to go on from",
                "one of the same shapes under both workflows, as the fit asks for it",
                "others",
                "go on under the workflow of before",
            )
        state = state._replace(pool=held, workflow=own, model=model)
        return draws.varying_as(state, state.key)

    # The parts of which these are made ----------------------------------------------------------

    def _inputs(self, key: jax.Array, first: Any, more: int) -> _Inputs:
        """Of generation ``first`` and so many more."""
        keys = generation_keys(key, more, first)
        numbers = jnp.asarray(first, jnp.int32) + jnp.arange(more + 1, dtype=jnp.int32)
        fresh = self.workflow.real == "fresh"
        some = self.workflow.share is not None or self.workflow.sizes is not None
        return _Inputs(
            noise=self._noise.published(keys[:, 0], numbers),
            fit=keys[:, 1],
            choice=keys[:, 2],
            number=numbers,
            real=self._noise.fresh(real_keys(key, numbers), numbers) if fresh else (),
            evaluation=evaluation_keys(key, numbers) if self._has_evaluation_keys else (),
            order=order_keys(key, numbers, fresh) if some else None,
        )

    def _pool(self, truth: Truth, num_generations: int) -> Pool:
        return self.task.pool(truth, self.workflow, num_generations)

    def _begin(
        self, key: jax.Array, noise: Any, num_generations: int
    ) -> tuple[Truth, Pool, tuple[Any, Any]]:
        """The truth, a pool, and its state with the real batch beside the workflow's own state."""
        if self._noise.first is not None:
            noise = self._noise.first(generation_keys(key, 0)[0, 0])
        begun = self.task.init(noise)
        if not (isinstance(begun, tuple) and len(begun) == 2):
            raise checks.refusal(
                "init of a task",
                "(truth, batch)",
                checks.described(begun),
                "return both; the truth may be anything that evaluate needs",
            )
        truth, batch = begun
        pool = self._pool(truth, num_generations)
        return truth, pool, (pool.start(batch), self.workflow.start())

    def _no_model(self, pool: Pool, carry: Any, inputs: _Inputs) -> Params:
        """A model of zeros."""

        def first(held, own, inputs):
            view, _ = self._view(pool, held, own, inputs)
            return self._fitted(inputs, view, None)

        shapes = jax.eval_shape(first, *carry[:2], inputs)
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    def _scan(
        self, key: Any, truth: Truth, pool: Pool, carry: Any, inputs: _Inputs
    ) -> tuple[Any, Metrics]:
        # Under shard_map whatever a loop carries differs between devices, from the first.
        def generation(carry, inputs):
            carry, metrics = self._generation(truth, pool, carry, inputs)
            return draws.varying_as(carry, key), metrics

        return jax.lax.scan(generation, draws.varying_as(carry, key), inputs)

    def _view(self, pool: Pool, held: Any, own: Any, inputs: _Inputs) -> tuple[Any, Any]:
        """What the model sees, and the next state of the workflow."""
        if not self.workflow.chooses:
            shown = (Shown(inputs.number, inputs.order),) if self.workflow.counts else ()
            return pool.view(inputs.choice, held, *shown), own
        rows = pool.rows(held, inputs.number)
        choose: Callable[..., Any] = self.workflow.choose
        if self._choose_takes == 2:
            weights = choose(inputs.choice, rows)
        else:
            weights, own = with_state(choose(inputs.choice, rows, own), own)
        if not isinstance(weights, jax.Array | np.ndarray):
            raise checks.refusal(
                f"choose of {self.workflow.name}",
                "a mask or weights, an array [R]",
                checks.described(weights),
                "return one; take a third argument to return a state beside it",
            )
        return pool.view(inputs.choice, held, weights), own

    def _fitted(self, inputs: _Inputs, view: Any, before: Params | None) -> Params:
        given = (inputs.fit, view, inputs.number, before)
        return self.task.fit(*given[: self._fit_takes])

    def _generation(
        self, truth: Truth, pool: Pool, carry: Any, inputs: _Inputs
    ) -> tuple[Any, Metrics]:
        task = self.task
        held, own, *before = carry
        if self.workflow.real == "fresh":
            held = jax.lax.cond(
                inputs.number > 1,
                lambda held, noise: pool.renew(held, task.real(noise, truth)),
                lambda held, noise: held,
                held,
                inputs.real,
            )
        view, own = self._view(pool, held, own, inputs)
        if self._fit_takes > 3:
            params = jax.lax.cond(
                inputs.number == 1,
                lambda: self._fitted(inputs, view, None),
                lambda: self._fitted(inputs, view, before[0]),
            )
        else:
            params = self._fitted(inputs, view, None)
        batch = task.sample(inputs.noise, params)
        metrics = self._judged(truth, params, batch, inputs.evaluation)
        held = pool.add(held, batch, inputs.number)
        carry = (held, own, params) if before else (held, own)
        return carry, {SHARE_OF_REAL_DATA: view.share, **metrics, **task.describe(batch)}

    def _judged(self, truth: Truth, params: Params, batch: Any, key: Any) -> Metrics:
        given = (truth, params, batch, key)
        found: Metrics = {}
        functions = {EVALUATE: self.task.evaluate, **self._measures}
        for place, (name, function) in enumerate(functions.items()):
            count = checks.arguments(function, name, JUDGED, 2)
            if count > 3:  # each has a key of its own
                given = (*given[:3], draws.fold_in(key, place))
            found = joined(found, name, function(*given[:count]))
        return found

    def _room(self, state: State, count: int) -> Any:
        """Which of the next generations there is room for, bool ``[count]``; None for all."""
        if checks.is_traced(state.generation):
            numbers = state.generation + np.arange(1, count + 1, dtype=np.int32)
            return numbers <= self.num_generations
        last = int(state.generation) + count
        if last > self.num_generations:
            raise checks.refusal(
                "generations of a chain",
                f"at most {self.num_generations}, for which its pool has room",
                last,
                "make a chain of more, and go on from its resume(state)",
            )
        return None


def make_chain(
    task: Task,
    workflow: Workflow | Callable[[], Workflow] | str,
    num_generations: int,
    measures: Measures = None,
) -> Chain:
    """The history of one seed as a pure function, for ``jit``, ``vmap``, ``grad`` and ``scan``.

    Generation 1 is fitted to real data, generation 0. Generation g draws from keys folded from
    ``key`` with numbers of its own, so it does not depend on how many generations follow.

    >>> chain = make_chain(gaussian.task(dim=3, num_samples=20), "accumulate", 50)
    >>> metrics = jax.jit(chain)(jax.random.key(0))
    >>> state = chain.init(jax.random.key(0))
    >>> state, first = chain.step(state)

    Args:
      task: what is fitted and sampled.
      workflow: which data each fit sees: a ``Workflow``, its function or class, or its spelling.
      num_generations: G, at least 1.
      measures: metrics of one's own, beside the task's: functions by name, or one function that
        returns a dict. They are called with as many of ``(truth, model, published, key)`` as they
        require, all in the coordinates of the real data, and return arrays or trees of them.

    Returns:
      A ``Chain``: ``chain(key) -> metrics``, a dict of arrays ``[G, ...]``: those of the task,
      those that are measured, and ``share_of_real_data``, of what each generation's model trained
      on. Its halves are ``chain.init(key) -> state`` and ``chain.step(state) -> (state, metrics)``.

    Raises:
      ValueError: G is not a whole number of at least 1, or a function requires arguments that
        there are not; or, when the chain is traced, the workflow draws more points than a
        generation has, or a function of the task returns what it must not.
    """
    return Chain(task, workflow, num_generations, measures)


def _checked(state: Any) -> State:
    if not isinstance(state, State):
        raise checks.refusal(
            "state of a chain",
            "what chain.init(key) or the first of what chain.step(state) returns",
            f"a {type(state).__name__}",
            "begin with chain.init(key)",
        )
    return state


def _marked(values: jax.Array, room: jax.Array) -> jax.Array:
    """Floating values ``[n, ...]``, NaN in generations for which there is no room."""
    if not jnp.issubdtype(values.dtype, jnp.floating):
        return values
    room = room.reshape(-1, *[1] * (values.ndim - 1))
    return jnp.where(room, values, np.asarray(np.nan, values.dtype))
