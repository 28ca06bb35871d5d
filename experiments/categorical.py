"""Categorical distributions sampled and refitted until one outcome is left.

    python experiments/categorical.py             # 25 cells
    python experiments/categorical.py --quick

From uniform over K outcomes, N draws a generation, under replace: the mean time until one outcome
is left is about ``2 N (K - 1) log(K / (K - 1))`` generations, so the number of generations is
chosen by N. N = 10 and 100 are chains like any others, with metrics of every generation. From 1000
on they are followed to their end by ``jaxcollapse.categorical.until_absorption``, with metrics of
some generations, evenly by their logarithm; its law is the same, its random numbers are not.
"""

from __future__ import annotations

import dataclasses
import json
import time

import common
import numpy as np

from jaxcollapse import checks, locks, machine, theory
from jaxcollapse.show import figures as plotting
from jaxcollapse.sweeps import leftovers, results
from jaxcollapse.sweeps.cells import CellStore
from jaxcollapse.sweeps.progress import Progress, reported
from jaxcollapse.sweeps.run import run_and_save
from jaxcollapse.tasks.categorical import until_absorption

GENERATIONS = {10: 200, 100: 1000, 1000: 20_000, 10_000: 200_000, 100_000: 2_000_000}
QUICK = {10: 60, 100: 40, 1000: 20_000}
OUTCOMES = [10, 100, 1000, 10_000, 100_000]
METRICS = ["entropy_ratio", "outcomes_left"]
LARGE = 1000  # draws, from which on chains are followed to their end


def sweeps(quick, preset):
    """A sweep for each N, with generations of its own."""
    outcomes = [10, 100] if quick else OUTCOMES
    return {
        f"num_samples_{n}": common.sweep(
            quick,
            preset,
            "categorical",
            {"num_outcomes": outcomes, "num_samples": [n]},
            generations,
            metrics=METRICS,
            workflows=["replace"],
            quick_generations=generations,
        )
        for n, generations in (QUICK if quick else GENERATIONS).items()
    }


def run(plan, path, overwrite):
    """The result of a plan: of chains like any others, or of some that go on to their end."""
    if plan.axes["num_samples"][0] < LARGE:
        return run_and_save(plan, path, overwrite)
    with locks.writing(path):
        return run_to_absorption(plan, path, overwrite)


def run_to_absorption(plan, path, overwrite):
    """The result of a plan whose chains are followed until one outcome is left."""
    machine.enable_compilation_cache()
    store = CellStore(leftovers.partial_of(path), plan)
    values = []
    with reported(None) as report, machine.CompileClock() as clock:
        for index, cell in enumerate(plan.cells):
            report(Progress(str(cell), index, len(plan.cells)))
            if not store.has(cell):
                begun = time.perf_counter() - clock.seconds
                found = until_absorption(
                    **cell.point, seeds=plan.seeds, generations=plan.generations
                )
                ran = np.asarray(time.perf_counter() - clock.seconds - begun, np.float32)
                store.save(cell, {**found._asdict(), results.RUN_SECONDS: ran})
            values.append(store.load(cell))
    dataset = labelled(plan, values, clock)

    def whole(temporary):
        leftovers.note(path, temporary, store.names)

    results.save(dataset, path, overwrite, whole)
    leftovers.remove(path)
    return dataset


def labelled(plan, values, clock):
    """The result of a plan from what was recorded of its chains, at some generations."""
    generation = values[0]["generation"]
    some = dataclasses.replace(plan, generations=generation.size)
    seconds = float(sum(cell[results.RUN_SECONDS] for cell in values))
    dataset = results.dataset(some, values, clock.seconds, seconds, clock.programs)
    times = dataset["absorption_generation"]
    times.values = np.stack([cell["absorption_generation"] for cell in values]).reshape(times.shape)
    times.attrs["long_name"] = "First generation with one outcome left; inf where there is none"
    facts = {"configuration": json.dumps(plan.configuration), "title": plan.title}
    return dataset.assign_coords(generation=generation).assign_attrs(facts)


def figures(datasets):
    """Entropy and outcomes left against the generation, and the time to absorption."""
    made = {}
    for metric in METRICS:
        rows = [
            plotting.Row(dataset.isel(num_samples=0), metric, f"N = {dataset.num_samples.item()}")
            for dataset in datasets.values()
        ]
        made[metric] = plotting.panels(rows, "num_outcomes")
    return {**made, "absorption": absorption(datasets)}


def absorption(datasets):
    """The time until one outcome is left: a dot a seed, and its law in the diffusion limit."""
    plt = checks.require("matplotlib.pyplot", "plot")
    outcomes = next(iter(datasets.values()))["num_outcomes"].values
    with plt.rc_context(plotting.STYLE):
        figure, axis = plt.subplots(figsize=(4.6, 3.6), layout="constrained")
        colours = plt.get_cmap("viridis")(np.linspace(0, 0.88, len(outcomes)))
        for place, (k, colour) in enumerate(zip(outcomes, colours, strict=True)):
            low, median, high = (
                theory.categorical_absorption_quantile(q, 1, k) for q in (0.05, 0.5, 0.95)
            )
            label: str | None = f"K = {k}"
            for dataset in datasets.values():
                n = dataset["num_samples"].item()
                times = dataset["absorption_generation"].sel(num_outcomes=k).values.ravel()
                # Side by side: from the first draws on all K are much alike.
                beside = n * 1.4 ** (place - (len(outcomes) - 1) / 2)
                reached = times[np.isfinite(times)]
                spread = np.linspace(0.93, 1.03, reached.size)
                axis.plot(beside * spread, reached, ".", color=colour, markersize=1.5, alpha=0.6)
                bar = [[n * (median - low)], [n * (high - median)]]
                law = {"marker": "_", "color": colour, "markersize": 5, "elinewidth": 0.9}
                axis.errorbar(beside * 1.1, n * median, bar, label=label, **law)
                label = None
        axis.set(xscale="log", yscale="log", xlabel="N", ylabel="Generations to one outcome")
        title = "dots: seeds\nbars: median, 5% and 95%\nin the diffusion limit"
        axis.legend(frameon=False, title=title, title_fontsize=6, loc="upper left")
    return figure


STUDY = common.Study(
    name="categorical",
    title="Categorical distributions",
    seen="Outcomes are lost one after another, about 2N/t are left after t generations whatever K "
    "was, and one alone after some 2N generations, of which the last two outcomes take half.",
    sweeps=sweeps,
    figures=figures,
    run=run,
)

if __name__ == "__main__":
    common.main(STUDY)
