"""The laws of the chains against the plain loops of the benchmarks: KS at several generations."""

import loops
import numpy as np
import pytest
from cases import chains, tied
from scipy import stats

from jaxcollapse.registry import as_family

GENERATIONS = (1, 2, 5, 10)
WORKFLOWS = ("replace", "accumulate", "accumulate-subsample")


def cell(task, fast, **point):
    marks = [] if fast else [pytest.mark.slow]
    name = "-".join([task, *map(str, point.values())])
    return pytest.param(task, point, marks=marks, id=name)


CELLS = [
    *(
        # All of them take minutes of scikit-learn's time.
        cell(
            "kde",
            (dataset, bandwidth, n) == ("moons", "scott", 10),
            dataset=dataset,
            bandwidth=bandwidth,
            num_samples=n,
        )
        for dataset in ("blobs", "circles", "moons", "swiss-roll")
        for bandwidth in (0.1, "scott")
        for n in (10, 100)
    ),
    *(
        cell("linear-regression", (d, n) == (10, 10), dim=d, noise_variance=s, num_samples=n)
        for d, n, s in [(3, 10, 0.1), (10, 10, 1.0), (10, 8, 1.0), (4, 100, 10.0)]
    ),
    *(cell("categorical", True, num_outcomes=k, num_samples=n) for k, n in [(10, 20), (300, 50)]),
]


@pytest.mark.parametrize("workflow", WORKFLOWS)
@pytest.mark.parametrize(("task", "point"), CELLS)
def test_distributions_over_seeds(task, point, workflow):
    seeds = 150
    exact = {"one_leaf": True} if task == "kde" else {}
    histories = [
        loops.LOOPS[task](workflow, max(GENERATIONS), 1000 + s, **point, **exact)
        for s in range(seeds)
    ]
    ours = chains(as_family(task).make(point, {}), workflow, max(GENERATIONS), 1000)
    for name in histories[0]:
        theirs = np.stack([history[name] for history in histories])
        for t in GENERATIONS:
            p = stats.ks_2samp(*tied(ours[name][:, t - 1], theirs[:, t - 1])).pvalue
            assert p > 1e-4, (name, t)
