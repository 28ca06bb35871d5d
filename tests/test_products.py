"""Products of floats in classical chains are in full precision on every device.

Read off the traced programs, so that a CPU tells what a GPU or a TPU would do.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcollapse as jc
from jaxcollapse import testing
from jaxcollapse.held_out import POINT_METRICS
from jaxcollapse.products import product

FULL = (jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGHEST)
CORRELATED = np.array([[2.0, 0.5], [0.5, 1.0]], np.float32)
# Both sides of the sizes at which a fit takes another way, D = 2 N, N = 4 D, D = 8.
TASKS = {
    "gaussian": lambda pool: jc.gaussian.task(3, 20, pool=pool),
    "gaussian, N < D": lambda pool: jc.gaussian.task(5, 4, pool=pool),
    "gaussian, one D": lambda pool: jc.gaussian.task(1, 4, pool=pool),
    "gaussian, correlated": lambda pool: jc.gaussian.task(2, 20, cov=CORRELATED, pool=pool),
    "kde": lambda pool: jc.kde.task("moons", 0.3, 8, num_test=20, pool=pool),
    "kde, scott": lambda pool: jc.kde.task("swiss-roll", "scott", 8, num_test=20, pool=pool),
    "kde, tophat": lambda pool: jc.kde.task("blobs", 1.0, 8, kernel="tophat", num_test=20),
    "regression": lambda pool: jc.linear_regression.task(2, 8, 0.5, num_test=20, pool=pool),
    "regression, N < D": lambda pool: jc.linear_regression.task(9, 4, 0.5, num_test=20, pool=pool),
    "regression, many rows": lambda pool: jc.linear_regression.task(
        8, 40, 0.5, num_test=20, pool=pool
    ),
    "regression, fresh design": lambda pool: jc.linear_regression.task(
        8, 40, 0.5, design="fresh", num_test=20, pool=pool
    ),
    "categorical": lambda pool: jc.categorical.task(5, 8, pool=pool),
}


class Weighted(jc.Workflow):
    """``accumulate``, said by weights."""

    def choose(self, key, rows):
        return rows.occupied.astype(float)


WORKFLOWS = (*testing.WORKFLOWS, Weighted())


def products_of(jaxpr):
    """All equations of products in a traced program, those of its loops and branches too."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated", "ragged_dot_general"):
            yield equation
        for inner in jax.tree.leaves(tuple(equation.params.values()), is_leaf=is_program):
            if is_program(inner):
                yield from products_of(getattr(inner, "jaxpr", inner))


def is_program(value):
    return hasattr(value, "eqns") or hasattr(value, "jaxpr")


def rounded(function, *given):
    """Products of floats that a device may round, as text."""
    found = products_of(jax.make_jaxpr(function)(*given).jaxpr)
    return [
        str(equation)
        for equation in found
        if jnp.issubdtype(equation.invars[0].aval.dtype, jnp.floating)
        and equation.params["precision"] != FULL
    ]


def test_a_product_that_asks_for_nothing_is_found():
    x = jnp.ones((2, 2))
    looped = jax.jit(lambda x: jax.lax.fori_loop(0, 3, lambda i, x: x @ x, x))
    assert len(rounded(looped, x)) == 1
    assert rounded(product, x, x) == []


@pytest.mark.parametrize("pool", ["auto", "points"])
@pytest.mark.parametrize("name", TASKS)
def test_chains_ask_for_full_precision(name, pool):
    task = TASKS[name](pool)
    for workflow in WORKFLOWS:
        assert rounded(jc.make_chain(task, workflow, 3), jax.random.key(0)) == [], workflow


def test_metrics_of_points_ask_for_full_precision():
    task = jc.measured(jc.kde.task("blobs", 0.3, 8, num_test=20), list(POINT_METRICS))
    assert rounded(jc.make_chain(task, "replace", 3), jax.random.key(0)) == []


def test_slopes_ask_for_full_precision():
    def error(noise_variance):
        task = jc.linear_regression.task(8, 40, noise_variance, num_test=20)
        return jc.make_chain(task, "accumulate", 3)(jax.random.key(0))["mse"].sum()

    def kl(cov):
        task = jc.gaussian.task(2, 20, cov=cov)
        return jc.make_chain(task, "replace", 3)(jax.random.key(0))["kl"].sum()

    assert rounded(jax.grad(error), 1.0) == []
    assert rounded(jax.grad(kl), jnp.asarray(CORRELATED)) == []


@pytest.mark.parametrize("source", ["all", "subset"])
@pytest.mark.parametrize("name", TASKS)
def test_mixtures_ask_for_full_precision(name, source):
    mixture = jc.make_mixture(TASKS[name]("points"), 16, source)
    assert rounded(mixture, jax.random.key(0), 3, 5) == []


def test_kernels_ask_for_full_precision():
    key, points = jax.random.key(0), jnp.ones((8, 2)) * jnp.arange(8.0)[:, None]
    targets, weights = jnp.arange(8.0), jnp.ones(8)
    model = jc.gaussian.fit(points)
    for function, given in [
        (jc.gaussian.fit, (points,)),
        (lambda points, weights: jc.gaussian.fit(points, weights=weights), (points, weights)),
        (lambda key, model: jc.gaussian.sample(key, model, 4), (key, model)),
        (lambda model: model.cov, (model,)),
        (jc.linear_regression.fit, (points, targets)),
        (jc.linear_regression.fit, (points, targets, weights)),
    ]:
        assert rounded(function, *given) == []
