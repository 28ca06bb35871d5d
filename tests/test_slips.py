"""Slips that would give a wrong number without a word: refused, or done right."""

import dataclasses
import functools
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import mean_family, mean_task

import jaxcollapse as jc
from jaxcollapse.datasets import points
from jaxcollapse.sweeps import chains, closed_forms
from jaxcollapse.sweeps.run import run
from jaxcollapse.theory.workflows import Record

KEY = jax.random.key(3)
SIZE = Annotated[int, jc.Axis(least=1, batch=True)]


def chosen(choose, **fields):
    """A workflow whose ``choose`` is that function."""
    return type("Chosen", (jc.Workflow,), {"choose": choose})(**fields)


def everything(self, key, rows):
    return rows.occupied


def traced(workflow, task=None):
    """Traces a chain of two generations."""
    return jax.eval_shape(jc.make_chain(task or mean_task(), workflow, 2), KEY)


# What a program's text does not tell ------------------------------------------------------------


def called_back(function):
    def fit(key, view):
        shape = jax.ShapeDtypeStruct((), jnp.float32)
        return jax.pure_callback(function, shape, view.data, vmap_method="sequential")

    return jc.points_task(
        lambda key: (0.0, jax.random.normal(key, (6,))),
        fit,
        lambda key, mean: mean + jax.random.normal(key, (6,)),
        lambda truth, mean: {"mean": mean},
    )


def test_an_edited_function_of_a_callback_is_computed_anew(tmp_path):
    given = {"workflows": ["replace"], "seeds": 1, "generations": 2, "folder": tmp_path / "cells"}
    for value in (1.0, 42.0):
        task = called_back(lambda data, value=value: np.float32(value))
        assert (jc.sweep(task, **given)["mean"] == value).all()


def test_the_same_function_of_a_callback_is_compiled_once(compilations):
    one = called_back(lambda data: np.float32(1.0))
    jc.sweep(one, "replace", seeds=1, generations=2)
    del compilations[:]
    jc.sweep(one, "replace", seeds=1, generations=2)
    assert not compilations


def test_traced_values_of_an_edited_family_tell_cells_apart(tmp_path):
    found = []
    for scale in (1.0, 100.0):
        family = jc.TaskFamily(
            "scaled",
            lambda spread, num_samples: mean_task(num_samples, evaluate=lambda _, m: {"x": spread}),
            traced=lambda workflow, point, options, scale=scale: {
                "spread": point["spread"] * scale
            },
        )
        axes = {"spread": [1.0], "num_samples": [4]}
        result = jc.sweep(family, "replace", axes, 1, 2, folder=tmp_path / "cells")
        found.append(float(result["x"].max()))
    assert found == [1.0, 100.0]


def test_programs_of_ones_own_are_lowered_once(tmp_path):
    calls = []

    def evaluate(truth, mean):
        calls.append(1)
        return {"error": mean**2}

    family = mean_family()._replace(task=lambda num_samples: mean_task(num_samples, None, evaluate))
    plan = chains.plan(family, ["replace", "accumulate"], {"num_samples": [4]}, 2, 2)
    before = len(calls)
    run(plan, tmp_path / "cells")
    assert len(calls) - before == 2


# A workflow of one's own ------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Misspelt(jc.Workflow):
    def chose(self, key, rows):
        return rows.real


class Undecorated(jc.Workflow):
    half_life: float = 3.0
    choose = everything


def test_classes_that_are_not_what_their_author_means():
    with pytest.raises(ValueError, match="Misspelt: expected a method choose, got a method chose"):
        Misspelt()
    with pytest.raises(ValueError, match=r"half_life, .*; decorate the class with @dataclasses"):
        Undecorated()
    with pytest.raises(ValueError, match="expected no draw beside its choose, got draw=5"):
        chosen(everything, draw=5)


@pytest.mark.parametrize(
    ("choose", "message"),
    [
        (lambda self, key, rows: None, "an array .R., got a NoneType; return one"),
        (lambda self, key, rows: (rows.real, 1), "got a tuple; return one; take a third argument"),
        (lambda self, key, rows, state: (rows.real, state), r"method start\(\) .*, got none"),
    ],
)
def test_what_choose_must_not_return(choose, message):
    with pytest.raises(ValueError, match=message):
        traced(chosen(choose))


def test_a_state_stays_what_it_is():
    class Counting(jc.Workflow):
        def start(self):
            return jnp.int32(0)

        def choose(self, key, rows, state):
            return rows.occupied, state + 1.5

    with jax.numpy_dtype_promotion("standard"), pytest.raises(ValueError, match="the first, int32"):
        traced(Counting())


def test_what_is_rejected_may_be_no_number():
    def finite(self, key, rows):
        return jnp.isfinite(rows.data).all(axis=1)

    def one_is_lost(key, model):
        rows = jc.gaussian.sample(key, model, 8)
        return rows.at[0].set(jnp.nan)

    task = jc.modify(jc.gaussian.task(2, 8), sample=one_is_lost)
    for choose in (finite, lambda *given: finite(*given).astype(float)):
        metrics = jax.jit(jc.make_chain(task, chosen(choose), 3))(KEY)
        assert np.isfinite(metrics["trace_ratio"]).all()


def test_negative_weights_are_no_number():
    below = chosen(lambda self, key, rows: jnp.where(rows.real, -1.0, 1.0))
    error = jax.jit(jc.make_chain(mean_task(), below, 2))(KEY)["error"]
    assert np.isnan(error).all()


def test_equal_workflows_are_one():
    @dataclasses.dataclass(frozen=True)
    class Fade(jc.Workflow):
        half: float = 2.0
        choose = everything

    with pytest.raises(ValueError, match="each once"):
        jc.sweep(mean_task(), [Fade(half=1), Fade(half=1.0)])
    with pytest.raises(ValueError, match="fields that never change"):
        jc.sweep(mean_task(), [Fade(half=np.ones(2))])


def test_fields_of_any_kind_are_coordinates():
    @dataclasses.dataclass(frozen=True)
    class Several(jc.Workflow):
        weights: tuple = (1.0, 2.0)
        choose = everything

    result = jc.sweep(mean_task(), [Several(), "replace"], seeds=2, generations=2)
    assert result["weights"].values.tolist() == ["(1.0, 2.0)", ""]


def test_records_of_the_theory_are_found_by_themselves():
    ours = jc.theory.gaussian_variance(jc.window(2), 3, 10)
    assert jc.theory.gaussian_variance(Record(keep=2), 3, 10) == ours


# Batches ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [4, 9])
def test_real_batches_of_another_size(rows):
    task = jc.points_task(
        lambda key: (0.0, jax.random.normal(key, (6,))),
        lambda key, view: jnp.sum(view.weights * view.data) / jnp.sum(view.weights),
        lambda key, mean: mean + jax.random.normal(key, (6,)),
        lambda truth, mean: {"mean": mean},
        real=lambda key, truth: jnp.ones(rows),
    )
    with pytest.raises(
        ValueError, match=rf"batch of real: .*float32\[6\].*, got float32\[{rows}\]"
    ):
        traced("fresh-real", task)


def test_rows_of_a_gaussian_have_its_dimensions():
    task = jc.modify(
        jc.gaussian.task(2, 5), sample=lambda key, model: jax.random.normal(key, (5, 1))
    )
    with pytest.raises(ValueError, match=r"points of sample: expected \[N, 2\], got \[5, 1\]"):
        traced("replace", task)


@pytest.mark.parametrize("workflow", ["fresh-real:keep=all", "fixed-real:keep=all"])
@pytest.mark.parametrize("design", ["fixed", "fresh"])
def test_one_generation_is_the_first_of_several(workflow, design):
    task = jc.linear_regression.task(2, 6, design=design, pool="statistics")
    one, two = (jax.jit(jc.make_chain(task, workflow, count))(KEY) for count in (1, 2))
    for name, values in one.items():
        np.testing.assert_allclose(values[0], two[name][0], rtol=1e-5, err_msg=name)


# Going on under another workflow ----------------------------------------------------------------


def after(task, workflow, generations):
    chain = jc.make_chain(task, workflow, generations)
    return chain.run(chain.init(KEY), generations)[0]


def test_a_real_batch_that_is_gone_does_not_come_back():
    task = mean_task()
    state = after(task, "replace", 2)
    going_on = jc.make_chain(task, "fixed-real", 6)
    with pytest.raises(ValueError, match="expected one that holds it, got one that holds it no"):
        going_on.resume(state)
    error = jax.jit(lambda state: going_on.run(going_on.resume(state), 2)[1]["error"])(state)
    assert np.isnan(error).all()
    held = after(task, "accumulate", 2)
    assert np.isfinite(going_on.run(going_on.resume(held), 2)[1]["error"]).all()


@pytest.mark.parametrize("pool", ["points", "statistics"])
def test_fresh_real_data_come_back_as_they_are(pool):
    """After a collapse half of what is fitted is real, and so half of the variance."""
    task = jc.gaussian.task(1, 40, pool=pool)
    begin = jc.make_chain(task, "window:keep=2", 60)
    going_on = jc.make_chain(task, "fresh-real", 63)

    def last(key):
        state = begin.run(begin.init(key), 60)[0]
        return going_on.run(going_on.resume(state), 3)[1]["trace_ratio"]

    ratio = jax.jit(jax.vmap(last))(jc.seed_keys(range(200)))
    assert np.median(ratio, axis=0).min() > 0.5


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (lambda: after(jc.gaussian.task(2, 6), "replace", 1), "truth of other shapes"),
        (lambda: after(jc.gaussian.task(3, 6), "replace", 1), "same kind of data"),
        (lambda: KEY, "state of a chain: expected what chain.init"),
    ],
)
def test_states_of_other_chains(state, message):
    chain = jc.make_chain(jc.gaussian.task(3, 6), "accumulate-subsample", 5)
    with pytest.raises(ValueError, match=message):
        chain.resume(state())


# Metrics, parameters, results -------------------------------------------------------------------


def test_measures_draw_from_keys_of_their_own():
    measures = {name: lambda truth, model, rows, key: jax.random.normal(key) for name in "ab"}
    chain = jc.make_chain(mean_task(), "replace", 2, measures=measures)
    with jax.debug_key_reuse(True):
        metrics = jax.jit(chain)(KEY)
    assert len({*metrics["a"].tolist(), *metrics["b"].tolist()}) == 4


def test_a_metric_is_some_array():
    with pytest.raises(ValueError, match="metric mu of evaluate: expected an array, got None"):
        traced("replace", mean_task(evaluate=lambda truth, mean: {"mu": None}))
    with pytest.raises(ValueError, match=r"what evaluate returns: .*, got float32\[\]"):
        traced("replace", mean_task(evaluate=lambda truth, mean: mean))


@pytest.mark.parametrize("name", ["seed", "keep", "run_seconds", "num_samples", "a/b"])
def test_names_that_a_result_has(name):
    measures = {name: lambda truth, mean: mean}
    with pytest.raises(ValueError, match=f"name of a metric .*, got '{name}'"):
        jc.sweep(mean_family(), "replace", {"num_samples": [4]}, measures=measures)


@pytest.mark.parametrize("num_samples", [0, True, 2.5])
def test_a_family_checks_what_its_signature_declares(num_samples):
    def task(num_samples: SIZE) -> jc.Task:
        return mean_task(num_samples)

    with pytest.raises(ValueError, match="num_samples: expected"):
        jc.sweep(jc.TaskFamily("mean", task), "replace", {"num_samples": [num_samples]})


def test_data_have_one_name():
    data = np.random.default_rng(0).normal(size=(600, 2))
    axes = {"dataset": ["moons", "circles"], "bandwidth": [0.5], "num_samples": [5]}
    with pytest.raises(ValueError, match="dataset beside data: expected one name for it"):
        jc.sweep("kde", "replace", axes, data=data)


def test_a_law_of_ones_own_has_no_closed_form_of_another():
    cloud = points.law(2, lambda key, n: jax.random.normal(key, (n, 2)), name="moons")
    axes = {"dataset": ["moons"], "bandwidth": [0.5], "num_samples": [5]}
    result = jc.sweep("kde", "replace", axes, 2, 2, metrics=["pool_variance"], data=cloud)
    line = result.isel(workflow=0, dataset=0, bandwidth=0, num_samples=0)
    assert closed_forms.closed_form(line, "pool_variance") is None


def test_a_family_that_wraps_a_built_in_task_is_another():
    @functools.wraps(jc.gaussian.task)
    def task(*given, **others):
        return jc.modify(
            jc.gaussian.task(*given, **others),
            evaluate=lambda truth, model: {"trace_ratio": jnp.float32(5)},
        )

    metrics = {"trace_ratio": jc.gaussian.METRICS["trace_ratio"]}
    family = jc.TaskFamily("gaussian", task, metrics)
    result = jc.sweep(family, "replace", {"dim": [1], "num_samples": [5]}, 2, 2)
    line = result.isel(workflow=0, dim=0, num_samples=0)
    assert closed_forms.closed_form(line, "trace_ratio") is None


def test_names_of_what_is_registered():
    with pytest.raises(ValueError, match="name of a family: expected 'mean', got 'other'"):
        jc.register(mean_family("mean"), name="other")
    jc.register(lambda keep: chosen(everything, keep=keep), name="of-a-class")
    with pytest.raises(ValueError, match="one of plain records, got one that makes a Chosen"):
        jc.sweep(mean_task(), "of-a-class:keep=2")
    jc.workflows.WORKFLOWS.forget("of-a-class")
    cloud = points.law(2, lambda key, n: jax.random.normal(key, (n, 2)), 1.0, name="cloud")
    jc.register(cloud)
    axes = {"dataset": ["cloud"], "bandwidth": [0.5], "num_samples": [5]}
    assert jc.sweep("kde", "replace", axes, 2, 2)["nll"].notnull().all()
    points.DATASETS.forget("cloud")


def test_a_gaussian_from_mean_and_covariance():
    def fit(key, view):
        mean, cov = jnp.zeros(2), jnp.asarray([[2.0, 1.0], [1.0, 2.0]])
        return jc.gaussian.from_cov(mean, cov)

    task = jc.modify(jc.gaussian.task(2, 5), fit=fit)
    chain = jc.make_chain(task, "replace", 2, measures={"cov": lambda truth, model: model.cov})
    np.testing.assert_allclose(jax.jit(chain)(KEY)["cov"][1], [[2, 1], [1, 2]], rtol=1e-5)
    singular = jc.gaussian.from_cov(jnp.zeros(2), jnp.ones((2, 2)))
    np.testing.assert_allclose(singular.cov, np.ones((2, 2)), rtol=1e-5)


def test_functions_are_functions():
    with pytest.raises(ValueError, match="fit: expected a function, got 3"):
        jc.modify(mean_task(), fit=3)
    with pytest.raises(ValueError, match="task to modify: expected a Task, got 'gaussian'"):
        jc.modify("gaussian", fit=lambda key, view: view)
