"""Every task under every workflow, through the checks that third parties run too."""

import jax
import numpy as np
import pytest
from conftest import MICRO, random_text

import jaxcollapse as jc
from jaxcollapse import testing
from jaxcollapse.registry import TASKS

# A few values of the axes of every task; where a task has a second point, only some workflows run.
POINTS = {
    "gaussian": [{"dim": 3, "num_samples": 8}, {"dim": 5, "num_samples": 4}],
    "kde": [
        {"dataset": "moons", "bandwidth": 0.3, "num_samples": 6},
        {"dataset": "swiss-roll", "bandwidth": "scott", "num_samples": 12},
    ],
    "linear-regression": [
        {"dim": 2, "noise_variance": 0.5, "num_samples": 7},
        {"dim": 5, "noise_variance": 1.0, "num_samples": 4},
    ],
    "categorical": [{"num_outcomes": 5, "num_samples": 12}],
    "language-model": [{"model": "micro", "num_samples": 4}],
    "fine-tuning": [{"model": "micro", "num_samples": 4}],
}
TEXT = {"data": random_text(), "learning_rate": 1e-2, "batch_size": 2, "slots": 2}
OPTIONS = {"language-model": TEXT, "fine-tuning": {**TEXT, "rows": "single"}}
FEW = ("accumulate", "accumulate-subsample")
COUNTED = ("fresh-real:weight=0.3", "window:keep=3:share=0.4:sizes=6,8,7")


def all_cases():
    """Of language models the new workflows, and second points, in the longer run."""
    for name, points in POINTS.items():
        of_language = name in OPTIONS
        for index, point in enumerate(points):
            workflows = FEW if index or name == "fine-tuning" else testing.WORKFLOWS
            seeds = 20 if of_language else 400
            if name == "gaussian" and not index:
                workflows = (*workflows, *COUNTED)
            for found in testing.cases(name, point, workflows, OPTIONS.get(name), seeds=seeds):
                long = index or (of_language and found.workflow.name not in FEW)
                yield pytest.param(found, marks=[pytest.mark.slow] if long else [])


CASES = list(all_cases())


# All checks of a case run one after another: it keeps what it has run.
@pytest.fixture(params=CASES, ids=str, scope="module")
def case(request):
    return request.param


def test_every_task_is_here():
    assert set(POINTS) == set(TASKS.built_in)
    assert MICRO.width == 8


@pytest.mark.parametrize("check", testing.CHECKS, ids=lambda check: check.__name__)
def test_conformance(case, check):
    check(case)


def test_the_first_generation_is_the_same_under_every_workflow():
    for task in (jc.gaussian.task(2, 6, pool="points"), jc.kde.task("moons", 0.3, 6, num_test=9)):
        first = [
            jax.device_get(jc.make_chain(task, workflow, 1)(jax.random.key(2)))
            for workflow in testing.WORKFLOWS
        ]
        for other in first[1:]:
            for name, values in first[0].items():
                np.testing.assert_allclose(values, other[name], rtol=1e-4, atol=1e-5)


def test_what_does_not_conform_is_told():
    """A fit that forgets which rows count, a seed that is shared, a metric that is an integer."""

    def task(fault):
        def fit(key, view):
            rows = view.weights if fault != "forgets" else view.weights * 0 + 1
            return (rows * view.data).sum() / rows.sum()

        def sample(key, mean):
            key = jax.random.key(0) if fault == "shares" else key
            return mean + jax.random.normal(key, (6,))

        def evaluate(truth, mean):
            return {"error": (mean > 0).astype(np.int32) if fault == "integer" else mean**2}

        init = lambda key: (0.0, jax.random.normal(key, (6,)))  # noqa: E731
        return jc.points_task(init, fit, sample, evaluate)

    testing.check_family(task("none"), workflows=["accumulate"])
    with pytest.raises(AssertionError, match="task-accumulate: error"):
        testing.check_family(task("forgets"), workflows=["accumulate"])
    with pytest.raises(AssertionError, match="error is int32"):
        testing.check_family(task("integer"), workflows=["replace"])
    with pytest.raises(ValueError, match=r"a name of its own|fresh real data"):
        testing.check_family(task("none"), workflows=["fresh-real"])
