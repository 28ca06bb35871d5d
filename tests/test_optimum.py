"""Where a loss is least: against laws that say it, and what cannot be varied."""

import json
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcollapse as jc
from jaxcollapse import optimum
from jaxcollapse.cli import main
from jaxcollapse.descent import Free


@jc.declared
def near(
    place: Annotated[float, jc.Axis(0.5, traced=True)],
    num_samples: Annotated[int, jc.Axis(4, batch=True)] = 4,
) -> jc.Task:
    """A loss of squared distance to a number that each seed draws.

    Args:
      place: Where the model is.
      num_samples: N, of which nothing depends.
    """

    def init(key):
        return 1.0 + 0.5 * jax.random.normal(key), jnp.zeros((num_samples, 1))

    return jc.points_task(
        init=init,
        fit=lambda key, view: jnp.asarray(place, jnp.float32),
        sample=lambda key, model: jnp.zeros((num_samples, 1)),
        evaluate=lambda truth, model: {"distance": 1 + (model - truth) ** 2},
    )


NEAR = jc.TaskFamily("near", near)


def drawn(seeds):
    chain = jc.make_chain(near(0.0), "replace", 1)
    distance = jax.vmap(chain)(jc.seed_keys(range(seeds)))["distance"][:, 0]
    other = jax.vmap(jc.make_chain(near(1.0), "replace", 1))(jc.seed_keys(range(seeds)))
    return np.asarray((distance - other["distance"][:, 0] + 1) / 2, np.float64)


@pytest.mark.parametrize("seeds", [40, 600])  # fewer than are run at once, and more
def test_optimum_and_interval_of_a_mean(seeds):
    found = jc.best(NEAR, "replace", "place", "distance", 1, seeds=seeds, bounds=(-2, 3))
    at = drawn(seeds)
    error = at.std(ddof=1) / np.sqrt(seeds)
    assert found.value == pytest.approx(at.mean(), abs=2e-3)
    assert found.high - found.low == pytest.approx(2 * 1.959964 * error, rel=2e-2)
    assert found.loss == pytest.approx(1 + at.var(), rel=1e-3)
    assert found.agrees
    assert not found.at_bound
    assert found.grid.size == 33


def test_an_optimum_at_a_bound_has_no_interval():
    found = jc.best(NEAR, "replace", "place", "distance", 1, seeds=40, bounds=(2.5, 3))
    assert found.at_bound
    assert found.value == pytest.approx(2.5, abs=0.01)
    assert np.isnan(found.low)
    assert (
        found.at_end == "the loss still falls towards the bound 2.5: give a lower one, if there is"
    )
    only = found._replace(name="share", value=np.float64(0.998), bounds=(0.0, 1.0))
    assert only.at_end == "only real data is best: share 1"
    assert found.agrees  # beyond the last value of the grid, beside which there is none


def test_a_loss_may_be_a_function():
    found = jc.best(
        NEAR, "replace", "place", lambda m: jnp.sum(m["distance"][1:]), 3, seeds=40, bounds=(-2, 3)
    )
    assert found.value == pytest.approx(drawn(40).mean(), abs=2e-3)
    with pytest.raises(ValueError, match="loss: expected a number"):
        jc.best(NEAR, "replace", "place", lambda m: m["distance"], 3, seeds=4, bounds=(-2, 3))


def test_a_gain_is_that_of_fresh_seeds():
    """Which the seeds that found the optimum overrate."""
    found = jc.best(NEAR, "replace", "place", "distance", 1, seeds=40, bounds=(-2, 3), grid=3)
    best = found.grid[np.argmin(found.grid_loss)]
    at = drawn(80)[40:]
    gains = (at - best) ** 2 - (at - float(found.value)) ** 2
    assert found.gain == pytest.approx(gains.mean(), abs=2e-3)
    assert found.gain_error == pytest.approx(gains.std() / np.sqrt(40), rel=2e-2)


@pytest.mark.parametrize("seeds", [[7], [2**32 - 1, 0], [5, 6, 9]])
def test_fresh_seeds_are_others(seeds):
    fresh = optimum._fresh(np.asarray(seeds, np.uint32))
    assert fresh.size == len(seeds) == np.unique(fresh).size
    assert not set(fresh.tolist()) & set(seeds)


@pytest.mark.parametrize(
    "ratio",
    [1.0, *(pytest.param(k, marks=pytest.mark.slow) for k in (0.25, 4.0))],
)
def test_the_best_weight_is_the_golden_ratio_s(ratio):
    """Of n fresh real rows for m synthetic ones, k = n/m; n is a share of N."""
    workflow = jc.fresh_real(share=None if ratio == 1 else ratio / (1 + ratio))
    point = {"dim": 1, "num_samples": 100}
    loss, seeds = "squared_error_of_mean", 600 if ratio == 1 else 300
    found = jc.best("gaussian", workflow, "weight", loss, 12, point, seeds, grid=15)
    assert found.low < jc.theory.golden_ratio_weight(ratio) < found.high
    assert found.high - found.low < 0.16
    assert found.agrees


@pytest.mark.slow
def test_a_schedule_of_shares_beats_every_constant_at_a_budget():
    """All real rows in the last generation, where they count; a constant forgets most of them."""
    found = jc.best(
        "gaussian",
        "fresh-real",
        "share",
        "squared_error_of_mean",
        6,
        {"dim": 1, "num_samples": 100},
        500,
        schedule=True,
        budget=0.3,
    )
    assert found.value.mean() == pytest.approx(0.3, abs=1e-3)
    assert found.gain > 5 * found.gain_error
    assert found.value[:2].max() < 0.1 < 0.8 < found.value[-1]
    assert np.isnan(found.low).all()


@pytest.mark.parametrize("budget", [0.2, 0.5, 0.95])
def test_a_budget_is_the_mean_of_a_schedule_whatever_the_logits_are(budget):
    free = Free(0.0, 1.0, 6, budget)
    logits = jnp.asarray([-3.0, 2.0, 0.1, 5.0, -0.4, 1.0])
    assert np.mean(free.value(logits)) == pytest.approx(budget, abs=1e-5)
    np.testing.assert_allclose(free.value(free.logits(budget)), budget, rtol=1e-5)
    # Moving along the slopes keeps the mean.
    slopes = jax.jacobian(free.value)(logits)
    np.testing.assert_allclose(slopes.mean(axis=0), 0, atol=1e-6)
    ahead = free.value(logits + 1e-2 * jnp.eye(6)[3])
    behind = free.value(logits - 1e-2 * jnp.eye(6)[3])
    np.testing.assert_allclose(slopes[:, 3], (ahead - behind) / 2e-2, atol=2e-3)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"vary": "nothing", "axes": {"place": 1.0}}, "what is varied: expected "),
        (
            {"vary": "models"},
            "share, weight of the workflow, or of the task what changes no shape, ",
        ),
        ({"bounds": None}, "bounds of place: expected two numbers, got none"),
        ({"bounds": (1, 0)}, "bounds: expected two finite numbers, the lower one first"),
        ({"axes": {"place": 1.0, "other": 2}}, "axes of near: expected"),
        ({"loss": "nothing"}, "loss: expected "),
        ({"schedule": True}, "schedule: expected share or weight, got place"),
        ({"budget": 0.5}, "budget: expected the mean of a schedule"),
        ({"preset": "mine"}, "preset: expected"),
    ],
)
def test_what_cannot_be_varied_is_refused(given, told):
    asked = {"vary": "place", "loss": "distance", "generation": 2, "seeds": 4, "bounds": (0, 1)}
    with pytest.raises(ValueError) as error:  # noqa: PT011
        jc.best(NEAR, "replace", **{**asked, **given})
    assert told in str(error.value)


def test_the_command(tmp_path, capsys):
    out = tmp_path / "best.json"
    words = "best test_optimum:NEAR --vary place --bounds -2 3 --loss distance"
    small = "--workflow accumulate --generation 2 --seeds 40 --grid 5"
    main.main([*words.split(), *small.split(), "--out", str(out)])
    told = capsys.readouterr().out
    assert "mean distance at generation 2" in told
    assert "place: " in told
    found = json.loads(out.read_text())
    assert len(found["grid"]) == 5
    assert found["loss"] <= min(found["grid_loss"]) + 1e-6
    with pytest.raises(SystemExit):
        main.main([*words.split(), *small.split(), "--out", str(out)])
    assert "exists" in capsys.readouterr().err
