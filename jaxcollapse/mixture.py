"""One seed's fit to a mixture of real and synthetic data, as a pure function of a key."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxcollapse import checks
from jaxcollapse.chain import SHARE_OF_REAL_DATA, Metrics, Task, Truth, generation_keys
from jaxcollapse.theory.mixtures import SOURCES


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
    available = _batch_rows(task)
    batches = -(-max_synthetic // available)

    def pool_of(truth):
        return task.pool(truth, 1 + batches)

    def publish(key: jax.Array, real: Any) -> Published:
        check_counts(real, 0, available, max_synthetic)
        # Rows of a chain's: its sample's key, its fit's, its choice of data's.
        keys = generation_keys(key, max(batches, 2))
        truth, batch = task.init(task.noise(keys[0, 0]))
        pool = pool_of(truth)
        state = pool.start(batch, real=True)
        fit_key, mix_key = keys[2, 1], keys[2, 2]
        if batches == 0:
            return Published(truth, state, mix_key, fit_key)
        alone = task.pool(truth, 1)
        chosen = (keys[1, 2], available) if source == "all" else (mix_key, real)
        view = alone.mix(chosen[0], alone.start(batch, real=True), chosen[1], 0)
        model = task.fit(keys[1, 1], view)

        def add(state, key):
            return pool.add(state, task.sample(task.noise(key), model)), None

        state, _ = jax.lax.scan(add, state, keys[1 : batches + 1, 0])
        return Published(truth, state, mix_key, fit_key)

    def fit(published: Published, real: Any, synthetic: Any) -> Metrics:
        check_counts(real, synthetic, available, max_synthetic)
        truth, state, mix_key, fit_key = published
        view = pool_of(truth).mix(mix_key, state, real, synthetic)
        metrics = task.evaluate(truth, task.fit(fit_key, view))
        return {SHARE_OF_REAL_DATA: view.share, **metrics}

    return Mixture(publish, fit)


def _batch_rows(task: Task) -> int:
    """How many points a batch has."""

    def mask(key):
        truth, batch = task.init(task.noise(key))
        pool = task.pool(truth, 1)
        return pool.mix(key, pool.start(batch, real=True), 1, 0).mask

    return jax.eval_shape(mask, jax.eval_shape(jax.random.key, 0)).shape[0]


def check_counts(real: Any, synthetic: Any, available: int, max_synthetic: int) -> None:
    """Raises ``ValueError`` for counts of real and synthetic points that are out of range."""
    for name, count, most in (
        ("real", real, available),
        ("synthetic", synthetic, max_synthetic),
    ):
        if checks.is_traced(count):
            continue
        if checks.whole_number(name, count, minimum=0) > most:
            raise checks.refusal(
                f"{name} points of a mixture",
                f"at most {most}",
                f"{count}, more than there are",
                "lower it or make more",
            )
