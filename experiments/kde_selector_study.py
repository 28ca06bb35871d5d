"""The study of bandwidth selectors of the paper's appendix, Scott's and Silverman's, every cell.

    python experiments/kde_selector_study.py             # 120 cells of 1,000 generations
    python experiments/kde_selector_study.py --quick

Under accumulate the bandwidth shrinks as data accumulate, so that no sum of kernels can be kept for
good; jaxcollapse interpolates between sums at two bandwidths (see jaxcollapse/kernels.py).
"""

from __future__ import annotations

import common

from jaxcollapse.show import figures as plotting


def sweeps(quick, preset):
    """A sweep for each data set, so that each has its file."""
    names = ["moons"] if quick else common.DATASETS
    axes: dict[str, list] = {
        "bandwidth": ["scott", "silverman"],
        "num_samples": [10, 32] if quick else common.NUM_SAMPLES,
    }
    return {
        name: common.sweep(quick, preset, "kde", {"dataset": [name], **axes}, 1000, metrics=["nll"])
        for name in names
    }


def figures(datasets):
    """NLL against the generation, a figure a data set."""
    return {name: plotting.grid(dataset, ["nll"]) for name, dataset in datasets.items()}


STUDY = common.Study(
    name="kde_selector_study",
    title="Kernel density estimates: Scott's and Silverman's bandwidths",
    seen="Both selectors diverge under replace and stay bounded under accumulate, where the "
    "bandwidth falls with the points that accumulate (Theorem 7).",
    sweeps=sweeps,
    figures=figures,
)

if __name__ == "__main__":
    common.main(STUDY)
