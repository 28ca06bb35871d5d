"""Figure 2 of "Collapse or Thrive?": kernel density estimates refitted to their own samples.

    python experiments/figure2_kde.py             # the whole grid, 180 cells
    python experiments/figure2_kde.py --quick

Writes one figure a bandwidth, and one with the three bandwidths in one mean, as the paper draws it.
"""

from __future__ import annotations

import common

from jaxcollapse.show import figures as plotting

BANDWIDTHS = [0.1, 0.5, 1.0]


def axes(quick):
    """The grid: four data sets, three bandwidths, five sample sizes."""
    return {
        "dataset": ["moons"] if quick else common.DATASETS,
        "bandwidth": [0.1, 0.5] if quick else BANDWIDTHS,
        "num_samples": [10, 32] if quick else common.NUM_SAMPLES,
    }


def figures(datasets):
    """NLL against the generation: rows are data sets, colours numbers of points."""
    (dataset,) = datasets.values()
    drawn = {
        f"bandwidth_{value}": plotting.grid(dataset.sel(bandwidth=[value]), ["nll"])
        for value in dataset["bandwidth"].values
    }
    return drawn | {"pooled": pooled(dataset)}


def pooled(dataset):
    """The mean over bandwidths too, as in the paper."""
    together = dataset[["nll"]].mean("bandwidth", keep_attrs=True)
    rows = [
        plotting.Row(together.sel(dataset=name), "nll", f"{name}, bandwidths pooled")
        for name in dataset["dataset"].values
    ]
    return plotting.panels(rows, "num_samples")


STUDY = common.Study(
    name="figure2_kde",
    title="Figure 2: kernel density estimates",
    seen="Under replace the NLL of real test points grows without end; under accumulate it falls "
    "where points are few for the bandwidth and else creeps up with the logarithm of t, as the "
    "variance s0^2 + h^2 H_t does; accumulate-subsample levels off between the two.",
    sweeps=lambda quick, preset: {"kde": common.sweep(quick, preset, "kde", axes(quick))},
    figures=figures,
)

if __name__ == "__main__":
    common.main(STUDY)
