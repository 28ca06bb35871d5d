"""What several tests share: chains of many seeds, tasks and workflows of one's own, plain loops."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

import jaxcollapse as jc
from jaxcollapse import draws
from jaxcollapse.families import TaskFamily
from jaxcollapse.metrics import Metric


def chains(task, workflow, generations, seeds=2000, first_seed=0, jit=jax.jit):
    """Metrics ``[S, G]`` of so many seeds; ``jit=optimised_jit`` is for chains that run long."""
    keys = jc.seed_keys(range(first_seed, first_seed + seeds))
    return jax.device_get(jit(jax.vmap(jc.make_chain(task, workflow, generations)))(keys))


# Tasks of one's own -----------------------------------------------------------------------------


def mean_task(num_samples=8, sample=None, evaluate=None):
    """Points on a line, of which only the mean is fitted; of many seeds it is known in closed form.

    The real points are standard normal, those of a model too, about its mean.
    """

    def draw(key, mean=0.0):
        return mean + jax.random.normal(key, (num_samples,))

    def fit(key, view):
        return jnp.sum(view.weights * view.data) / jnp.sum(view.weights)

    return jc.points_task(
        lambda key: (0.0, draw(key)),
        fit,
        sample or draw,
        evaluate or (lambda truth, mean: {"error": (mean - truth) ** 2}),
        real=lambda key, truth: draw(key),
    )


def mean_family(name="mean", **fields):
    """``mean_task`` with its number of points left open, as a user would write it first."""
    return TaskFamily(name, lambda num_samples: mean_task(num_samples), **fields)


def fragile_family(bad_seed):
    """A task in which one seed's model turns into NaN in generation 3."""
    bad_word = np.uint32(jax.random.key_data(draws.fold_in(jax.random.key(bad_seed), 0))[0])

    def task(num_samples):
        def init(key):
            return jax.random.key_data(key)[0] == bad_word, jnp.zeros((num_samples,))

        def evaluate(truth, generation):
            broken = truth & (generation >= 3)
            return {"value": jnp.where(broken, jnp.nan, generation)}

        return jc.points_task(
            init,
            lambda key, view: view.data[0] + 1,
            lambda key, generation: jnp.full((num_samples,), generation),
            evaluate,
        )

    return TaskFamily("fragile", task, metrics={"value": Metric("Value", "1")})


# Workflows of one's own -------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class FirstRows(jc.Workflow):
    """The first rows of the newest batch."""

    keep: int | None = 1
    rows_shown: int = 5

    def choose(self, key, rows):
        return jnp.arange(rows.occupied.size) < self.rows_shown


@dataclasses.dataclass(frozen=True)
class StartOver(jc.Workflow):
    """The real data once more each generation."""

    keep: int | None = 1
    real: str = "kept"

    def choose(self, key, rows):
        return rows.real


# Loops ------------------------------------------------------------------------------------------


def regression_by_loop(num_real, real, synthetic, source, seeds, dim=2):
    """Squared errors ``[S]`` of fits to mixtures, each with NumPy from its own draws."""
    rng = np.random.default_rng(5)
    errors = []
    for _ in range(seeds):
        weights = rng.standard_normal(dim)
        x = rng.standard_normal((num_real, dim))
        y = x @ weights + rng.standard_normal(num_real)
        used = num_real if source == "all" else real
        model = np.linalg.lstsq(x[:used], y[:used], rcond=None)[0]
        new = rng.standard_normal((synthetic, dim))
        labels = new @ model + rng.standard_normal(synthetic)
        inputs, targets = np.concatenate([x[:real], new]), np.concatenate([y[:real], labels])
        fitted = np.linalg.lstsq(inputs, targets, rcond=None)[0]
        errors.append(np.sum((fitted - weights) ** 2))
    return np.asarray(errors)


def tied(ours, theirs):
    """Ranks of two sets of values, in which those that differ by rounding alone are one."""
    both = np.concatenate([ours, theirs]).astype(np.float64)
    order = np.argsort(both)
    values = both[order]
    with np.errstate(invalid="ignore"):  # between infinities
        differ = values[1:] - values[:-1] > 1e-7 + 2e-6 * np.abs(values[:-1])
    ranks = np.empty(both.size, np.int64)
    ranks[order] = np.concatenate([[0], np.cumsum(differ)])
    return ranks[: len(ours)], ranks[len(ours) :]
