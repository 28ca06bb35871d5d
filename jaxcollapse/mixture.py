"""One seed's fit to a mixture of real and synthetic data, as a pure function of a key."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks
from jaxcollapse.keys import generation_keys, typed_key
from jaxcollapse.metrics import EVALUATE, SHARE_OF_REAL_DATA, Metrics, joined
from jaxcollapse.pools import Mixed
from jaxcollapse.task import Task, Truth
from jaxcollapse.theory.mixtures import SOURCES
from jaxcollapse.workflows import accumulate


class Published(NamedTuple):
    """What there is to mix.

    Attributes:
      truth: what a fit is held against.
      state: of the task's pool: the A real points, and the synthetic ones.
      mix_key: decides which of the real points a mixture holds.
      fit_key: of the fit to the mixture.
    """

    truth: Truth
    state: Any
    mix_key: jax.Array
    fit_key: jax.Array


@dataclasses.dataclass(frozen=True)
class Mixture:
    """``mixture(key, real, synthetic) -> metrics``, and its two parts.

    Attributes:
      publish: ``publish(key, real) -> Published``. With the source ``all`` it does not depend on
        ``real``, and serves all mixtures of a seed.
      fit: ``fit(published, real, synthetic) -> metrics``.
    """

    publish: Callable[[jax.Array, Any], Published]
    fit: Callable[[Published, Any, Any], Metrics]

    def __call__(self, key: jax.Array, real: Any, synthetic: Any) -> Metrics:
        """The metrics of one seed's fit to a mixture."""
        return self.fit(self.publish(key, real), real, synthetic)


def make_mixture(task: Task, max_synthetic: int, source: str = "all") -> Mixture:
    """One seed's fit to R real and M synthetic points, for ``jit``, ``vmap`` and ``scan``.

    R and M may be traced: they change a mask, no shape, so one program serves every pair of them.
    A model is fitted to real points and makes the synthetic ones; a second model is fitted to the
    mixture and evaluated. With ``M = A``, ``R = A`` gives generation 2 of ``accumulate`` for the
    same key and ``R = 0`` that of ``replace``.

    >>> mixture = make_mixture(gaussian.task(dim=10, num_samples=512), max_synthetic=1024)
    >>> jax.vmap(mixture, (0, None, None))(seed_keys(range(100)), 64, 256)["kl"]

    Args:
      task: a task on points, made with as many of them as there are real ones, A.
      max_synthetic: the largest M.
      source: ``all``: synthetic points are of a model of all A real points, as published;
        ``subset``: of a model of the same R points that the mixture holds, so that they bring no
        information from others.

    Returns:
      ``mixture(key, real, synthetic)``, a dict of scalars: the task's metrics and
      ``share_of_real_data``, R / (R + M). Counts that are not traced are checked.

    Raises:
      ValueError: ``max_synthetic`` is not a whole number of at least 0, the source has another
        name; or, once it is called, the task keeps only statistics, or a count is out of range.
    """
    max_synthetic = checks.whole_number("max_synthetic", max_synthetic, minimum=0)
    checks.one_of("source", source, SOURCES)
    if task.use == "statistics":
        raise checks.refusal(
            "pool of a mixture",
            "one that keeps points",
            "statistics",
            "use pool='auto' or 'points'",
        )
    takes = checks.arguments(task.fit, "fit", ("key", "view", "generation"), 2)
    checks.arguments(task.evaluate, "evaluate", ("truth", "model"), 2)
    available = _batch_rows(task)
    batches = -(-max_synthetic // available)

    def pool_of(truth, batches=batches):
        return task.pool(truth, accumulate(), 1 + batches)

    def seen(pool, key, state, real, synthetic, batches):
        """A view of ``real`` rows drawn from the first batch, and the first of the others."""
        place = jax.random.permutation(key, jnp.arange(available, dtype=jnp.int32))
        later = jnp.arange(batches * available, dtype=jnp.int32)
        mask = jnp.concatenate([place < real, later < synthetic])
        count = jnp.asarray(real, np.int32) + jnp.asarray(synthetic, np.int32)
        return pool.view(key, state, Mixed(mask, count))

    def fitted(key, view, generation):
        return task.fit(*(key, view, np.int32(generation))[:takes])

    def publish(key: jax.Array, real: Any) -> Published:
        check_counts(real, 0, available, max_synthetic)
        key = typed_key(key)
        # Rows of a chain's: its sample's key, its fit's, its choice of data's.
        keys = generation_keys(key, max(batches, 2))
        truth, batch = task.init(task.noise(keys[0, 0]))
        pool = pool_of(truth)
        state = pool.start(batch)
        fit_key, mix_key = keys[2, 1], keys[2, 2]
        if batches == 0:
            return Published(truth, state, mix_key, fit_key)
        alone = pool_of(truth, 0)
        chosen = (keys[1, 2], available) if source == "all" else (mix_key, real)
        view = seen(alone, chosen[0], alone.start(batch), chosen[1], 0, 0)
        model = fitted(keys[1, 1], view, 1)

        def add(state, key):
            return pool.add(state, task.sample(task.noise(key), model), np.int32(1)), None

        state, _ = jax.lax.scan(add, state, keys[1 : batches + 1, 0])
        return Published(truth, state, mix_key, fit_key)

    def fit(published: Published, real: Any, synthetic: Any) -> Metrics:
        check_counts(real, synthetic, available, max_synthetic)
        truth, state, mix_key, fit_key = published
        view = seen(pool_of(truth), mix_key, state, real, synthetic, batches)
        metrics = joined({}, EVALUATE, task.evaluate(truth, fitted(fit_key, view, 2)))
        return {SHARE_OF_REAL_DATA: view.share, **metrics}

    return Mixture(publish, fit)


def _batch_rows(task: Task) -> int:
    """How many points a batch has."""

    def occupied(key):
        truth, batch = task.init(task.noise(key))
        pool = task.pool(truth, accumulate(), 1)
        return pool.rows(pool.start(batch), 1).occupied

    return jax.eval_shape(occupied, jax.eval_shape(jax.random.key, 0)).shape[0]


def check_counts(real: Any, synthetic: Any, available: int, max_synthetic: int) -> None:
    """Raises ``ValueError`` for counts of real and synthetic points that are out of range."""
    for name, count, most in (
        ("real", real, available),
        ("synthetic", synthetic, max_synthetic),
    ):
        if checks.is_traced(count):
            if jnp.issubdtype(count.dtype, jnp.floating):
                raise checks.refusal(
                    f"{name} points of a mixture",
                    "a whole number",
                    f"a traced {count.dtype}, in which a count has a slope of 0",
                    "pass an integer; differentiate in what the task leaves continuous",
                )
            continue
        if checks.whole_number(name, count, minimum=0) > most:
            raise checks.refusal(
                f"{name} points of a mixture",
                f"at most {most}",
                f"{count}, more than there are",
                "lower it or make more",
            )
