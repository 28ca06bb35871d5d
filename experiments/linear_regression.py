"""Linear regression, the appendix of "Collapse or Thrive?".

    python experiments/linear_regression.py             # the whole grid, 225 cells
    python experiments/linear_regression.py --quick

Writes one figure a noise variance. The published plots drop N <= D; here all cells are drawn, and
with ``--preset authors`` those alone that the paper shows.
"""

from __future__ import annotations

import common

from jaxcollapse.show import figures as plotting


def axes(quick):
    """The grid: five dimensions, three variances of the noise, five sample sizes."""
    return {
        "dim": [10] if quick else [1, 3, 10, 32, 100],
        "noise_variance": [0.1, 1.0] if quick else [0.1, 1.0, 10.0],
        "num_samples": [10, 100] if quick else common.NUM_SAMPLES,
    }


def figures(datasets):
    """Median test error against the generation: rows are dimensions."""
    (dataset,) = datasets.values()
    if dataset.attrs["preset"] == "authors":
        errors = dataset["mse"].where(dataset["num_samples"] > dataset["dim"])
        dataset = dataset.assign(mse=errors.assign_attrs(dataset["mse"].attrs))
    # Near N = D the mean over seeds is infinite: only the median can be read there.
    return {
        f"noise_variance_{value}": plotting.grid(
            dataset.sel(noise_variance=[value]), ["mse"], statistic="median"
        )
        for value in dataset["noise_variance"].values
    }


STUDY = common.Study(
    name="linear_regression",
    title="Linear regression",
    seen="Under replace the test error grows in proportion to the generation, under accumulate it "
    "ends at pi^2/6 times the first, and accumulate-subsample levels off above it, highest where "
    "fewer distinct rows than dimensions are drawn.",
    sweeps=lambda quick, preset: {
        "linear_regression": common.sweep(quick, preset, "linear-regression", axes(quick))
    },
    figures=figures,
)

if __name__ == "__main__":
    common.main(STUDY)
