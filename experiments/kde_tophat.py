"""The grid of Figure 2 with a top-hat kernel, which the paper names but does not show.

    python experiments/kde_tophat.py
    python experiments/kde_tophat.py --quick

A top-hat gives points out of its reach a density of 0, so the NLL is infinite as soon as one test
point is; what can be read is how many there are.
"""

from __future__ import annotations

import common
import figure2_kde

from jaxcollapse.show import figures as plotting


def figures(datasets):
    """Test points without density: rows are data sets, one figure a bandwidth."""
    (dataset,) = datasets.values()
    return {
        f"bandwidth_{value}": plotting.grid(dataset.sel(bandwidth=[value]), ["uncovered"])
        for value in dataset["bandwidth"].values
    }


STUDY = common.Study(
    name="kde_tophat",
    title="Kernel density estimates with a top-hat kernel",
    seen="Under replace more and more of the 500 test points are out of reach of every kernel; "
    "under accumulate fewer and fewer are; under accumulate-subsample their number levels off.",
    sweeps=lambda quick, preset: {
        "kde_tophat": common.sweep(quick, preset, "kde", figure2_kde.axes(quick), kernel="tophat")
    },
    figures=figures,
)

if __name__ == "__main__":
    common.main(STUDY)
