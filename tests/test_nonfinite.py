"""Where a chain first computes NaN is found, operation by operation."""

import jax
import jax.numpy as jnp

import jaxcollapse as jc
from jaxcollapse.sweeps import chains, nonfinite
from jaxcollapse.sweeps.run import run


def own_task(function):
    """One whose fit is the mean of what it sees, times ``function(generation)``."""
    return jc.points_task(
        init=lambda key: (0.0, jax.random.normal(key, (4,))),
        fit=lambda key, view, generation: jnp.mean(view.data) * function(generation),
        sample=lambda key, mean: mean + jax.random.normal(key, (4,)),
        evaluate=lambda truth, mean: {"mean": mean},
    )


def place_of(function):
    plan = chains.plan(own_task(function), ["replace"], seeds=[5, 6], generations=4)
    (place,) = nonfinite.places(plan, run(plan))
    assert (place.seed, place.generation) == (5, 3)
    assert str(place).startswith("replace: seed 5, generation 3: ")
    return place


def test_the_line_that_first_gives_nan():
    place = place_of(lambda generation: jnp.log(2.5 - generation.astype(jnp.float32)))
    assert f"{__file__}:" in place.line
    assert "in <lambda>: place = place_of(lambda generation: " in place.line
    assert "nan" in place.message


def test_metrics_that_are_infinite():
    place = place_of(lambda generation: 1.0 / (3.0 - generation.astype(jnp.float32)))
    assert place.line == ""
    assert place.message == "infinite: mean"


def test_finite_chains_have_no_such_place():
    plan = chains.plan(own_task(lambda generation: 1.0), ["replace"], seeds=2, generations=2)
    assert list(nonfinite.places(plan, run(plan))) == []
