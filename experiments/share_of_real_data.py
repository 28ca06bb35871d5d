"""The share of real data in what each generation trains on, from the paper's appendix.

python experiments/share_of_real_data.py
python experiments/share_of_real_data.py --quick
"""

from __future__ import annotations

import common

from jaxcollapse.show import figures as plotting


def sweeps(quick, preset):
    """Any task shows it: a one-dimensional Gaussian is the cheapest."""
    axes = {"dim": [1], "num_samples": [10, 100] if quick else common.NUM_SAMPLES}
    metrics = ["share_of_real_data"]
    return {"share": common.sweep(quick, preset, "gaussian", axes, metrics=metrics)}


def figures(datasets):
    """The share against the generation; dashes are its expectation, 1/t."""
    return {"share_of_real_data": plotting.grid(datasets["share"], ["share_of_real_data"])}


STUDY = common.Study(
    name="share_of_real_data",
    title="The share of real data",
    seen="Under replace it is 0 after the first generation; under accumulate it is 1/t, and under "
    "accumulate-subsample 1/t on average, which vanishes although the error does not grow.",
    sweeps=sweeps,
    figures=figures,
)

if __name__ == "__main__":
    common.main(STUDY)
