"""The classical panels of Figure 4 of "Collapse or Thrive?": three workflows side by side.

python experiments/figure4_classical.py
python experiments/figure4_classical.py --quick
"""

from __future__ import annotations

import common

from jaxcollapse.show import figures as plotting

SHOWN = {
    "gaussian": ("squared_error_of_cov", "Gaussian, D = 10"),
    "kde": ("nll", "KDE, moons, h = 0.1"),
    "linear_regression": ("mse", "regression, D = 10"),
}


def sweeps(quick, preset):
    """One cell of each task for each number of points."""
    sizes = {"num_samples": [32, 100] if quick else common.NUM_SAMPLES[1:]}
    grids: dict[str, dict[str, list]] = {
        "gaussian": {"dim": [10], **sizes},
        "kde": {"dataset": ["moons"], "bandwidth": [0.1], **sizes},
        "linear_regression": {"dim": [10], "noise_variance": [1.0], **sizes},
    }
    return {
        name: common.sweep(quick, preset, name.replace("_", "-"), grid, metrics=[SHOWN[name][0]])
        for name, grid in grids.items()
    }


def figures(datasets):
    """A row a task."""
    rows = []
    for name, dataset in datasets.items():
        metric, title = SHOWN[name]
        rest = {axis: 0 for axis in dataset["run_seconds"].dims[1:] if axis != "num_samples"}
        rows.append(plotting.Row(dataset.isel(rest), metric, title))
    return {"workflows": plotting.panels(rows, "num_samples")}


STUDY = common.Study(
    name="figure4_classical",
    title="Figure 4: three workflows side by side",
    seen="On all three tasks replace diverges or collapses, accumulate plateaus near the first "
    "fit, and accumulate-subsample plateaus above it.",
    sweeps=sweeps,
    figures=figures,
)

if __name__ == "__main__":
    common.main(STUDY)
