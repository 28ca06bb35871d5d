"""What real data do that stay, or that keep coming: six workflows side by side.

    python experiments/real_data_kept.py
    python experiments/real_data_kept.py --quick

A window of two or five batches loses the real one when it is full; fixed-real keeps it beside the
newest batch for ever; fresh-real has another one beside it in each generation. Dashes are the means
in closed form, which are known for all six.
"""

from __future__ import annotations

import common

from jaxcollapse.show import figures as plotting

WORKFLOWS = ("replace", "window:keep=2", "window:keep=5", "accumulate", "fixed-real", "fresh-real")
SHOWN = {
    "gaussian": ["squared_error_of_mean", "trace_ratio"],
    "categorical": ["squared_error", "outcomes_left"],
}


def sweeps(quick, preset):
    """Each task at one size, for each number of points."""
    sizes = {"num_samples": [10, 100] if quick else common.NUM_SAMPLES}
    grids: dict[str, dict[str, list]] = {
        "gaussian": {"dim": [3], **sizes},
        "categorical": {"num_outcomes": [100], **sizes},
    }
    return {
        name: common.sweep(quick, preset, name, grid, metrics=SHOWN[name], workflows=WORKFLOWS)
        for name, grid in grids.items()
    }


STUDY = common.Study(
    name="real_data_kept",
    title="Real data that stay or keep coming",
    seen="A window of k batches only delays collapse, by a factor of (k + 1)^2 / 4; the real batch "
    "kept beside the newest one stops it, with 4/3 of the first model's error where accumulate "
    "has pi^2/6, and fresh real data bring it down to 2/3.",
    sweeps=sweeps,
    figures=lambda datasets: {
        name: plotting.grid(dataset, SHOWN[name]) for name, dataset in datasets.items()
    },
)

if __name__ == "__main__":
    common.main(STUDY)
