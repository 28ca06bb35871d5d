"""How much real data should weigh beside those of the newest model: the golden ratio, found.

    python experiments/golden_ratio.py
    python experiments/golden_ratio.py --quick

Every generation sees n fresh real rows, which count as w together, and m of the model before it,
which count as 1 - w. The error of the mean has a least value at a weight that only k = n/m decides
(He, Xu and Cheng 2502.18049): ``w* = (sqrt(k^2 + 4k) - k) / 2``, 0.618 for k = 1.
"""

from __future__ import annotations

import common
import numpy as np

import jaxcollapse as jc
from jaxcollapse import checks, theory
from jaxcollapse.show import figures as plotting
from jaxcollapse.sweeps import chains
from jaxcollapse.sweeps.closed_forms import closed_form

METRIC = "squared_error_of_mean"
SHARES = {0.2: 1 / 4, 0.5: 1.0, 0.8: 4.0}  # and k, how many real rows there are for a synthetic one
GENERATIONS, NUM_SAMPLES, SEEDS, BEST_SEEDS = 20, 200, 1000, 400


def sweeps(quick, preset):
    """A Gaussian in one dimension for every share and weight, with many seeds."""
    weights = [0.2, 0.6, 0.9] if quick else np.linspace(0.05, 0.95, 19).round(2).tolist()
    workflows = [jc.fresh_real(share=share, weight=w) for share in SHARES for w in weights]
    plan = chains.plan(
        "gaussian",
        workflows,
        {"dim": [1], "num_samples": [100 if quick else NUM_SAMPLES]},
        seeds=20 if quick else SEEDS,
        generations=5 if quick else GENERATIONS,
        preset=preset,
        metrics=[METRIC],
    )
    return {"golden_ratio": plan}


def figures(datasets):
    """The last error in units of the first against the weight; dashes are its closed form."""
    (dataset,) = datasets.values()
    plt = checks.require("matplotlib.pyplot", "plot")
    with plt.rc_context(plotting.STYLE):
        figure, axis = plt.subplots(figsize=(4.4, 3.2), layout="constrained")
        colours = plt.get_cmap("viridis")(np.linspace(0, 0.88, len(SHARES)))
        for (share, k), colour in zip(SHARES.items(), colours, strict=True):
            weight, low, mean, high, known = curve(dataset, share)
            axis.plot(weight, mean, color=colour, label=f"n/m = {k:g}")
            axis.fill_between(weight, low, high, color=colour, alpha=0.25, linewidth=0)
            axis.plot(weight, known, color="black", linewidth=0.8, linestyle=(0, (4, 2)))
            axis.axvline(theory.golden_ratio_weight(k), color=colour, linestyle=":")
        axis.set_yscale("log")
        axis.set(
            xlabel="Weight of the real rows together",
            ylabel="Squared error of the mean,\nof that of the first model",
            title="dashed: closed form; dotted: the golden ratio's weight",
        )
        axis.legend(frameon=False)
    return {"golden_ratio": figure}


def curve(dataset, share):
    """Weights ``[P]``, and there the last error, its interval and its closed form, of the first."""
    part = dataset.isel(workflow=np.isclose(dataset["share"], share))
    (cell,) = part["num_samples"].values
    first = 1 / cell  # the first model sees N real rows
    ends = part.isel(generation=-1, dim=0, num_samples=0)
    found = [value.values / first for value in plotting.mean_with_interval(ends, METRIC)]
    lines = [part.isel(workflow=i, dim=0, num_samples=0) for i in range(part.sizes["workflow"])]
    known = [np.asarray(closed_form(line, METRIC))[-1] / first for line in lines]
    return part["weight"].values, *found, np.asarray(known)


def verdict(datasets):
    """The least error by gradient for each k, with its interval, beside the golden ratio."""
    (dataset,) = datasets.values()
    told, inside = [], []
    for share, k in SHARES.items():
        found = jc.best(
            "gaussian",
            jc.fresh_real(share=share),
            "weight",
            METRIC,
            dataset.sizes["generation"],
            {"dim": 1, "num_samples": int(dataset["num_samples"][0])},
            seeds=BEST_SEEDS,
            grid=11,
        )
        aim = float(theory.golden_ratio_weight(k))
        inside.append(bool(found.low <= aim <= found.high))
        told.append(
            f"n/m = {k:g}: {found.value:.4f} ({found.low:.4f} to {found.high:.4f}), "
            f"published {aim:.4f}"
        )
    return common.Verdict(
        "holds" if all(inside) else "does not hold",
        f"The weight of the least error at generation {dataset.sizes['generation']}, found by "
        f"gradient over {BEST_SEEDS} seeds: {'; '.join(told)}.",
    )


STUDY = common.Study(
    name="golden_ratio",
    title="The best weight of fresh real data",
    seen="The error of the mean has one least value in the weight of the real rows, lower and "
    "flatter the more real rows there are, where the golden ratio's formula says.",
    sweeps=sweeps,
    figures=figures,
    claim="With n fresh real rows and m of the newest model in every generation the error is least "
    "where the real ones weigh (sqrt(k^2 + 4k) - k)/2 together, k = n/m, and 0.618 for equal "
    "numbers (He, Xu and Cheng 2502.18049).",
    verdict=verdict,
)

if __name__ == "__main__":
    common.main(STUDY)
