"""Categorical distributions sampled and refitted until one outcome is left.

    python experiments/categorical.py             # 25 cells
    python experiments/categorical.py --quick

From uniform over K outcomes, N draws a generation, under replace: the mean time until one outcome
is left is about ``2 N (K - 1) log(K / (K - 1))`` generations, so the number of generations is
chosen by N; the two largest N are cut off before the end.
"""

from __future__ import annotations

import common
import numpy as np

from jaxcollapse import checks, theory
from jaxcollapse.show import figures as plotting

GENERATIONS = {10: 200, 100: 1000, 1000: 10_000, 10_000: 1000, 100_000: 200}
OUTCOMES = [10, 100, 1000, 10_000, 100_000]
METRICS = ["entropy_ratio", "outcomes_left"]


def sweeps(quick, preset):
    """A sweep for each N, with generations of its own."""
    generations = {10: 60, 100: 40} if quick else GENERATIONS
    outcomes = [10, 100] if quick else OUTCOMES
    return {
        f"num_samples_{n}": common.sweep(
            quick,
            preset,
            "categorical",
            {"num_outcomes": outcomes, "num_samples": [n]},
            g,
            metrics=METRICS,
            workflows=["replace"],
            quick_generations=60,
        )
        for n, g in generations.items()
    }


def figures(datasets):
    """Entropy and outcomes left against the generation, and the time to absorption."""
    import xarray

    kept = [dataset[METRICS] for dataset in datasets.values()]
    attrs = next(iter(datasets.values())).attrs
    together = xarray.concat(kept, dim="num_samples", join="outer").assign_attrs(attrs)
    return {
        "entropy_ratio": plotting.grid(together, ["entropy_ratio"]),
        "outcomes_left": plotting.grid(together, ["outcomes_left"]),
        "absorption": absorption(datasets),
    }


def absorption(datasets):
    """The time until one outcome is left: a dot a seed, the diffusion limit as a line."""
    plt = checks.require("matplotlib.pyplot", "plot")
    outcomes = next(iter(datasets.values()))["num_outcomes"].values
    with plt.rc_context(plotting.STYLE):
        figure, axis = plt.subplots(figsize=(3.4, 3.0), layout="constrained")
        colours = plt.get_cmap("viridis")(np.linspace(0, 0.88, len(outcomes)))
        for place, (k, colour) in enumerate(zip(outcomes, colours, strict=True)):
            reached = []
            for dataset in datasets.values():
                n = dataset["num_samples"].item()
                times = dataset["absorption_generation"].sel(num_outcomes=k).values.ravel()
                if np.isfinite(times).all():
                    reached.append(n)
                    # Side by side: a seed's history after its first draws is the same for all K.
                    beside = n * 1.15 ** (place - (len(outcomes) - 1) / 2)
                    spread = np.linspace(0.95, 1.05, times.size)
                    axis.plot(beside * spread, times, ".", color=colour, markersize=1.5, alpha=0.5)
            if reached:
                limit = theory.categorical_absorption_time(reached, k)
                axis.plot(reached, limit, "--", color=colour, marker="_", label=f"K = {k}")
        axis.set(xscale="log", yscale="log", xlabel="N", ylabel="Generations to one outcome")
        axis.legend(frameon=False, title="dots: seeds, dashes: diffusion limit", title_fontsize=6)
    return figure


STUDY = common.Study(
    name="categorical",
    title="Categorical distributions",
    seen="Outcomes are lost one after another, about 2N/t are left after t generations whatever K "
    "was, and one alone after some 2N generations.",
    sweeps=sweeps,
    figures=figures,
)

if __name__ == "__main__":
    common.main(STUDY)
