"""The bandwidth study of the paper's appendix, with every cell.

    python experiments/kde_bandwidth_study.py             # 540 cells of 1,000 generations
    python experiments/kde_bandwidth_study.py --quick

In the published study the accumulate column stops at bandwidth 0.01 and its cells of 1,000 points
are missing: evaluating an estimate of t N points anew in each of t generations costs t^2. With sums
that every generation adds to it costs t.
"""

from __future__ import annotations

import common

from jaxcollapse.show import figures as plotting

BANDWIDTHS = [0.01, 0.0316, 0.1, 0.316, 1.0, 3.16, 10.0, 31.6, 100.0]
GENERATIONS = 1000


def sweeps(quick, preset):
    """A sweep for each data set, so that each has its file."""
    names = ["moons"] if quick else common.DATASETS
    axes: dict[str, list] = {
        "bandwidth": [0.1, 1.0] if quick else BANDWIDTHS,
        "num_samples": [10, 32] if quick else common.NUM_SAMPLES,
    }
    return {
        name: common.sweep(
            quick, preset, "kde", {"dataset": [name], **axes}, GENERATIONS, metrics=["nll"]
        )
        for name in names
    }


def figures(datasets):
    """For each data set NLL against the generation, and its last against the bandwidth."""
    drawn = {}
    for name, dataset in datasets.items():
        drawn[name] = plotting.grid(dataset, ["nll"], hue="bandwidth")
        drawn[f"{name}_last"] = plotting.last_generation(dataset, "nll", "bandwidth", "num_samples")
    return drawn


STUDY = common.Study(
    name="kde_bandwidth_study",
    title="Kernel density estimates: bandwidths",
    seen="Under replace every bandwidth diverges, small ones at once and large ones when all "
    "points have come to descend from a few; under accumulate small bandwidths improve for ever "
    "and large ones drift with the logarithm of t; accumulate-subsample levels off, far above "
    "accumulate where points are few for the bandwidth.",
    sweeps=sweeps,
    figures=figures,
)

if __name__ == "__main__":
    common.main(STUDY)
