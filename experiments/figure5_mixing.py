"""Figure 5 of "Collapse or Thrive?": does the number or the share of real data matter?

    python experiments/figure5_mixing.py             # 1,000 seeds a cell; language models: 4
    python experiments/figure5_mixing.py --quick

A model is fitted to every mixture of a grid of real and synthetic counts, the synthetic data being
made by a model of all the real data (``_all``), as published, or of the real data that the mixture
holds (``_subset``). The published grid is of Gemma 2 2B fine-tuned once a cell; on the classical
tasks thousands of seeds a cell answer the question, and a small language model pretrained on the
embedded stories is beside them. Tables of F-tests and of best synthetic counts are written next to
each results file (``.txt``, ``.csv``).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import common

from jaxcollapse.show import mixture_figures, mixture_files
from jaxcollapse.sweeps.mixtures import plan
from jaxcollapse.sweeps.run import run_and_save

REAL = [16, 32, 64, 128, 256, 512, 1024]
SYNTHETIC = [0, 16, 64, 256, 1024, 4096]
TASKS: dict[str, tuple[str, dict[str, list], list[str]]] = {
    "gaussian": ("gaussian", {"dim": [1, 10]}, ["kl", "squared_error_of_mean"]),
    "linear_regression": (
        "linear-regression",
        {"dim": [1, 10], "noise_variance": [1.0]},
        ["mse"],
    ),
}


def sweeps(quick, preset):
    """Every task with both sources of synthetic data."""
    plans: dict[str, Any] = {}
    for name, (task, axes, metrics) in TASKS.items():
        for source in ("all",) if quick and name != "gaussian" else ("all", "subset"):
            grid = ([16, 64], [0, 16, 64]) if quick else (REAL, SYNTHETIC)
            plans[f"{name}_{source}"] = plan(
                task,
                {axis: values[:1] for axis, values in axes.items()} if quick else axes,
                *grid,
                seeds=20 if quick else 1000,
                source=source,
                preset=preset,
                metrics=metrics,
            )
    plans["stories_all"] = partial(stories, quick, preset)
    return plans


def stories(quick, preset):
    """A language model of the embedded stories, made when it is asked for: it needs more extras."""
    grid = ([10, 20], [0, 20]) if quick else ([44, 175, 700], [0, 175, 700, 1400])
    options: dict[str, Any] = {"epochs": 1} if quick else {}
    return plan(
        "language-model",
        {"model": ["tiny-llama"]},
        *grid,
        seeds=2 if quick else 4,
        preset=preset,
        **options,
    )


def run(plan, out, overwrite):
    """A grid of mixtures, with its tables beside the results."""
    dataset = run_and_save(plan, out, overwrite, progress=True)
    mixture_files.write_tables(dataset, out)
    return dataset


STUDY = common.Study(
    name="figure5_mixing",
    title="Figure 5: the number and the share of real data",
    seen="Synthetic data of a model of all the real data help where a mixture holds less than "
    "about half of these, the more the better, and harm where it holds all; of a model of the "
    "mixture's own real data they never help, and the real count alone decides.",
    sweeps=sweeps,
    figures=lambda datasets: {name: mixture_figures.figure(d) for name, d in datasets.items()},
    run=run,
)

if __name__ == "__main__":
    common.main(STUDY)
