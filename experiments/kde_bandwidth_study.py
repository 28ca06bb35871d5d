"""The bandwidth study of the paper's appendix, with every cell.

    python experiments/kde_bandwidth_study.py             # 540 cells of 1,000 generations
    python experiments/kde_bandwidth_study.py --quick

In the published study the accumulate column stops at bandwidth 0.01 and its cells of 1,000 points
are missing: evaluating an estimate of t N points anew in each of t generations costs t^2. With sums
that every generation adds to it costs t.
"""

from __future__ import annotations

import common
import numpy as np

from jaxcollapse import checks
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
        drawn[f"{name}_last"] = last_generation(dataset)
    return drawn


def last_generation(dataset):
    """NLL in the last generation against the bandwidth, means with 95% confidence."""
    plt = checks.require("matplotlib.pyplot", "plot")
    last = dataset.isel(dataset=0, generation=-1)
    bandwidths, sizes = last["bandwidth"].values, last["num_samples"].values
    places = np.arange(bandwidths.size)
    with plt.rc_context(plotting.STYLE):
        figure, axes = plt.subplots(
            1,
            last.sizes["workflow"],
            figsize=(plotting.PAGE_WIDTH, 2.75),
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        colours = plt.get_cmap("viridis")(np.linspace(0, 0.88, sizes.size))
        for workflow, axis in zip(last["workflow"].values, axes[0], strict=True):
            for size, colour in zip(sizes, colours, strict=True):
                line = last.sel(workflow=workflow, num_samples=size)
                low, mean, high = plotting.mean_with_interval(line, "nll")
                name = plotting.equation(dataset, "num_samples", size)
                axis.plot(places, mean, color=colour, marker="o", markersize=2.5, label=name)
                axis.fill_between(places, low, high, color=colour, alpha=0.25, linewidth=0)
            axis.set_title(f"{workflow}\n{last['dataset'].item()}")
            axis.set_xticks(places, [str(value) for value in bandwidths], rotation=60)
            axis.set_xlabel("Bandwidth h")
        plotting.scale_row(axes[0], "nll", dataset, over_generations=False)
        attrs = dataset["nll"].attrs
        axes[0, 0].set_ylabel(f"{plotting.wrap(attrs['long_name'])}\n[{attrs['units']}]")
        plotting.legend(figure, axes, "mean", dataset.sizes["seed"])
    return figure


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
