"""One seed's history: the only loop in the project."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws
from jaxcollapse.pools import Pool, points_pool
from jaxcollapse.workflows import Workflow, as_workflow

Truth = Any
Params = Any
Metrics = dict[str, jax.Array]
SHARE_OF_REAL_DATA = "share_of_real_data"


class Task(NamedTuple):
    """A kind of model, the data it starts from and how it is judged. Pure functions.

    Attributes:
      init: ``init(noise) -> (truth, batch)``: what ``evaluate`` needs, and the real batch.
      pool: ``pool(truth, capacity) -> Pool``: how batches are kept.
      fit: ``fit(key, view) -> params``: the model of a view; the key is for fits that use chance.
      noise: ``noise(key) -> noise``: the randomness of one batch. It is drawn for all generations
        before the first, so a task that needs much of it returns the key itself.
      sample: ``sample(noise, params) -> batch``: a deterministic function of its arguments.
      evaluate: ``evaluate(truth, params) -> metrics``: a dict of scalars.
      statistics: the same task on sufficient statistics, of the same law and faster; None if its
        fit needs the points. Used under every workflow that does not draw points.
      describe: ``describe(batch) -> metrics`` of what a generation publishes, its diversity for
        instance; none by default.
    """

    init: Callable[[jax.Array], tuple[Truth, Any]]
    pool: Callable[[Truth, int], Pool]
    fit: Callable[[jax.Array, Any], Params]
    noise: Callable[[jax.Array], Any]
    sample: Callable[[Any, Params], Any]
    evaluate: Callable[[Truth, Params], Metrics]
    statistics: Task | None = None
    describe: Callable[[Any], Metrics] = lambda batch: {}


def points_task(
    init: Callable[[jax.Array], tuple[Truth, Any]],
    fit: Callable[[jax.Array, Any], Params],
    sample: Callable[[jax.Array, Params], Any],
    evaluate: Callable[[Truth, Params], Metrics],
) -> Task:
    """A task of one's own from four functions; it runs under every workflow.

    Args:
      init: ``init(key) -> (truth, batch)``; a batch is a pytree of arrays ``[N, ...]``, of the
        same shapes every generation.
      fit: ``fit(key, view) -> params`` from ``view.data`` ``[R, ...]``, of which only the rows
        with ``view.mask`` ``[R]`` True count.
      sample: ``sample(key, params) -> batch`` of synthetic data.
      evaluate: ``evaluate(truth, params) -> metrics``, a dict of scalars.
    """
    return Task(
        init=init,
        pool=lambda truth, capacity: points_pool(capacity),
        fit=fit,
        noise=lambda key: key,
        sample=sample,
        evaluate=evaluate,
    )


def seed_keys(seeds: Iterable[int]) -> jax.Array:
    """Keys ``[S]`` for seeds; seed 17 is ``jax.random.key(17)`` wherever it runs.

    Args:
      seeds: whole numbers from 0 to 2**32 - 1, for instance ``range(100)``.

    Raises:
      ValueError: a seed is not such a number.
    """
    return keys_of(whole_seeds(seeds))


def whole_seeds(seeds: Iterable[int]) -> np.ndarray:
    """Seeds as uint32 ``[S]``; raises ``ValueError`` as ``seed_keys`` does."""
    if not isinstance(seeds, Iterable):
        raise checks.refusal("seeds", "whole numbers", repr(seeds), "use range for that many")
    numbers = [checks.whole_number("seed", seed, 0, 2**32 - 1) for seed in seeds]
    return np.asarray(numbers, np.uint32)


def keys_of(seeds: jax.Array | np.ndarray) -> jax.Array:
    """``seed_keys`` for uint32 seeds ``[S]`` that may be traced."""
    return jax.vmap(jax.random.key)(seeds)


def generation_keys(key: jax.Array, num_generations: int) -> jax.Array:
    """Keys ``[G + 1, 3]`` of a chain: a generation's for its sample, its fit, its choice of data.

    Row 0 is the real data's, of which only the first is used.
    """
    numbers = jnp.arange(3 * (num_generations + 1), dtype=jnp.uint32).reshape(-1, 3)
    return draws.fold_in(key, numbers)


def make_chain(
    task: Task, workflow: Workflow | Callable[[], Workflow] | str, num_generations: int
) -> Callable[[jax.Array], Metrics]:
    """The history of one seed as a pure function, for ``jit``, ``vmap``, ``grad`` and ``scan``.

    Generation 1 is fitted to real data, generation 0. Generation g draws from keys folded from
    ``key`` with numbers of its own, so it does not depend on how many generations follow.

    Args:
      task: what is fitted and sampled.
      workflow: which data each fit sees: a ``Workflow``, its function, or its name.
      num_generations: G, at least 1.

    Returns:
      ``chain(key) -> metrics``, a dict of arrays ``[G]``: those of the task, and
      ``share_of_real_data``, of what each generation's model trained on.

    Raises:
      ValueError: G is not a whole number of at least 1; or, when the chain is traced, the workflow
        draws points and the task keeps only statistics, or draws more than a generation has, or a
        synthetic batch has other shapes or types than the real one.
    """
    num_generations = checks.whole_number("num_generations", num_generations)
    workflow = as_workflow(workflow)
    if task.statistics is not None and not workflow.needs_points:
        task = task.statistics

    def chain(key: jax.Array) -> Metrics:
        keys = generation_keys(key, num_generations)
        noise = jax.vmap(task.noise)(keys[:, 0])
        first_noise = jax.tree.map(lambda x: x[0], noise)
        inputs = jax.tree.map(lambda x: x[1:], (noise, keys[:, 1], keys[:, 2]))
        truth, real_batch = task.init(first_noise)
        pool = task.pool(truth, workflow.capacity(num_generations))

        def generation(state, inputs):
            noise, fit_key, select_key = inputs
            view = workflow.select(select_key, pool, state)
            params = task.fit(fit_key, view)
            metrics = task.evaluate(truth, params)
            if SHARE_OF_REAL_DATA in metrics:
                raise checks.refusal(
                    "metric of evaluate",
                    "a name of its own",
                    SHARE_OF_REAL_DATA,
                    "rename it: every chain has that one",
                )
            if hasattr(view, "share"):
                metrics = {SHARE_OF_REAL_DATA: view.share, **metrics}
            batch = task.sample(noise, params)
            _check_batch(batch, real_batch)
            return workflow.update(pool, state, batch), {**metrics, **task.describe(batch)}

        _, metrics = jax.lax.scan(generation, pool.start(real_batch, real=True), inputs)
        return metrics

    return chain


def _check_batch(synthetic: Any, real: Any) -> None:
    """Refuses a batch that a pool of real ones cannot take."""

    def described(batch):
        return jax.tree.map(lambda x: f"{jnp.result_type(x)}{list(jnp.shape(x))}", batch)

    if described(synthetic) != described(real):
        raise checks.refusal(
            "batch of sample",
            f"the shapes and types of init's, {described(real)}",
            described(synthetic),
            "make every generation's batch like the real one",
        )
