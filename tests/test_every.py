"""Metrics of some generations: which are kept, and what reads them."""

import numpy as np
import pytest
from cases import mean_family

import jaxcollapse as jc
from jaxcollapse.registry import TASKS, as_family
from jaxcollapse.show import tables
from jaxcollapse.sweeps import chains, profiles, results


def planned(generations, every):
    axes = {"num_outcomes": [3], "num_samples": [5]}
    return chains.plan("categorical", ["replace"], axes, 4, generations, every=every)


def made(plan):
    """A result whose every number is that of its generation."""
    shape = (plan.seeds.size, plan.kept_generations.size)
    cell = {name: np.broadcast_to(plan.kept_generations, shape) / 1.0 for name in plan.metrics}
    return results.dataset(plan, [{**cell, results.RUN_SECONDS: np.float32(2)}], 0.0, 2.0, 1)


def test_the_first_and_the_last_are_kept():
    kept = {
        (7, 1): [1, 2, 3, 4, 5, 6, 7],
        (7, 3): [1, 3, 6, 7],
        (9, 3): [1, 3, 6, 9],
        (4, 9): [1, 4],
        (1, 5): [1],
    }
    for given, numbers in kept.items():
        assert planned(*given).kept_generations.tolist() == numbers


def test_chains_are_the_same():
    given = ["replace"], {"num_samples": [4]}, 3, 7
    every, some = (jc.sweep(mean_family(), *given, every=every) for every in (1, 3))
    assert some["generation"].values.tolist() == [1, 3, 6, 7]
    np.testing.assert_array_equal(some["error"], every["error"].sel(generation=[1, 3, 6, 7]))


def test_numbers_of_generations_are_not_those_of_places():
    plan = planned(100, 10)
    cell = {name: np.ones((4, 11), np.float32) for name in plan.metrics}
    cell["entropy_ratio"][1, 3:] = 0
    cell["entropy_ratio"][2, 2:] = np.nan
    found = plan.variables({**cell, results.RUN_SECONDS: np.float32(1)})
    assert found["absorption_generation"].values.tolist() == [np.inf, 30, np.inf, np.inf]
    first = found["first_nonfinite_generation"]
    assert first.values.tolist() == [0, 0, 20, 0]
    assert first.attrs["long_name"].endswith("of the generations that are kept")


def test_summaries_that_know_no_numbers_are_left_out():
    def last(metrics):
        return {"last": jc.families.Summary(metrics["entropy_ratio"][..., -1], "the last")}

    family = as_family("categorical")._replace(summaries=last)
    axes = {"num_outcomes": [3], "num_samples": [5]}
    for every, has in ((1, True), (2, False)):
        plan = chains.plan(family, ["replace"], axes, 4, 6, every=every)
        assert ("last" in made(plan)) is has


def test_what_reads_a_result_goes_by_its_numbers(capsys):
    dataset = made(planned(200, 20))
    assert tables.generations_per_second(dataset) == 4 * 200 / 2
    tables.show(dataset, "some.nc")
    assert "generation (11): 1 20 40" in capsys.readouterr().out
    assert profiles.profile(dataset).generations == 200


@pytest.mark.parametrize("name", [n for n in TASKS.built_in if n != "language-model"])
def test_closed_forms_are_of_the_generations_that_are_asked_for(name):
    family = as_family(name)
    point = {axis: family.parameters[axis].how.grid[0] for axis in family.axes}
    options = dict(family.presets["corrected"])
    some = np.array([1, 3, 6, 7])
    for workflow in map(jc.workflows.parse, ("replace", "accumulate", "fixed-real")):
        for metric in family.metrics:
            given = (options, point)
            known = family.mean_of(metric, workflow, np.arange(1, 8), *given)
            if known is not None:
                found = family.mean_of(metric, workflow, some, *given)
                np.testing.assert_allclose(found, np.asarray(known)[some - 1], rtol=1e-6)
