"""Figure 1 of "Collapse or Thrive?": Gaussians refitted to their own samples.

    python experiments/figure1_gaussian.py             # the whole grid, 75 cells
    python experiments/figure1_gaussian.py --quick

Draws the squared errors of the fitted mean and covariance against the generation, and the fitted
densities for D = 1; ``--preset authors`` draws those as published, with the variance for the scale
and every curve centred at 0. The Wasserstein distance, which the figure does not show and which
takes a singular value decomposition for every fit, is left out.
"""

from __future__ import annotations

import common
import jax
import numpy as np

import jaxcollapse as jc
from jaxcollapse.show import figures as plotting

METRICS = ("squared_error_of_mean", "squared_error_of_cov", "trace_ratio", "log_det_ratio")
DENSITY_GENERATIONS = (1, 3, 10, 32, 100)


def axes(quick):
    """The grid: five dimensions, five sample sizes."""
    return {
        "dim": [1, 3] if quick else [1, 3, 10, 31, 100],
        "num_samples": [10, 100] if quick else common.NUM_SAMPLES,
    }


def fitted(workflow: str, num_samples: int, seeds: int, generations: int) -> dict[str, np.ndarray]:
    """Fitted ``mean`` and ``std`` ``[S, G]`` of one-dimensional chains."""

    def moments(truth, model):
        return {"mean": model.absolute.mean[0], "std": model.absolute.factor[0, 0]}

    pool = "points" if workflow == "accumulate-subsample" else "statistics"
    task = jc.gaussian.task(1, num_samples, pool=pool)._replace(evaluate=moments)
    chains = jax.jit(jax.vmap(jc.make_chain(task, workflow, generations)))
    return jax.device_get(chains(jc.seed_keys(range(seeds))))


def figures(datasets):
    """Both squared errors, and the densities of three seeds."""
    (dataset,) = datasets.values()
    errors = ("squared_error_of_mean", "squared_error_of_cov")
    drawn = {metric: plotting.grid(dataset, [metric]) for metric in errors}
    last = int(dataset["generation"][-1])
    generations = [g for g in DENSITY_GENERATIONS if g <= last]
    chains = [fitted(workflow, 32, 3, last) for workflow in common.WORKFLOWS]
    index = np.asarray(generations) - 1
    mean, std = (np.stack([chain[name][:, index] for chain in chains]) for name in ("mean", "std"))
    preset = dataset.attrs["preset"]
    drawn["densities"] = plotting.densities(mean, std, generations, common.WORKFLOWS, preset)
    drawn["densities"].suptitle("D = 1, N = 32, three seeds", fontsize=8)
    return drawn


STUDY = common.Study(
    name="figure1_gaussian",
    title="Figure 1: Gaussians",
    seen="Under replace the error of the mean grows until the covariance has collapsed and then "
    "stays at the real variance; under accumulate both errors stay near those of the first fit; "
    "accumulate-subsample settles between the two.",
    sweeps=lambda quick, preset: {
        "gaussian": common.sweep(quick, preset, "gaussian", axes(quick), metrics=METRICS)
    },
    figures=figures,
)

if __name__ == "__main__":
    common.main(STUDY)
