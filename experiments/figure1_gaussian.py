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
from jaxcollapse import checks
from jaxcollapse.show import figures as plotting

METRICS = ("squared_error_of_mean", "squared_error_of_cov", "trace_ratio", "log_det_ratio")
DENSITY_GENERATIONS = (1, 3, 10, 32, 100)


def axes(quick):
    """The grid: five dimensions, five sample sizes."""
    return {
        "dim": [3] if quick else [1, 3, 10, 31, 100],
        "num_samples": [10, 100] if quick else common.NUM_SAMPLES,
    }


def fitted(workflow: str, num_samples: int, seeds: int, generations: int) -> dict[str, np.ndarray]:
    """Fitted ``mean`` and ``std`` ``[S, G]`` of one-dimensional chains."""
    moments = {
        "mean": lambda truth, model: model.mean[0],
        "std": lambda truth, model: model.factor[0, 0],
    }
    chain = jc.make_chain(jc.gaussian.task(1, num_samples), workflow, generations, moments)
    metrics = jax.device_get(jax.jit(jax.vmap(chain))(jc.seed_keys(range(seeds))))
    return {name: metrics[name] for name in moments}


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
    drawn["densities"] = densities(mean, std, generations, common.WORKFLOWS, preset)
    drawn["densities"].suptitle("D = 1, N = 32, three seeds", fontsize=8)
    return drawn


def densities(mean, std, generations, titles, preset="corrected"):
    """Densities of fitted one-dimensional Gaussians, a column a workflow, coloured by generation.

    Args:
      mean: ``[W, S, G]``, fitted means.
      std: ``[W, S, G]``, fitted standard deviations.
      generations: ``[G]``, the generation of each.
      titles: ``[W]``.
      preset: ``authors`` draws them as published: centred at 0, with the variance as scale.
    """
    plt = checks.require("matplotlib.pyplot", "plot")
    matplotlib = checks.require("matplotlib", "plot")
    if preset == "authors":
        mean, std = np.zeros_like(mean), std**2
    x = np.linspace(-4, 4, 801)
    with plt.rc_context(plotting.STYLE):
        figure, axes = plt.subplots(
            1,
            len(titles),
            figsize=(max(plotting.PAGE_WIDTH * len(titles) / 3, 3.4), 2.4),
            sharex=True,
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        norm = matplotlib.colors.LogNorm(min(generations), max(generations))
        colours = plt.cm.ScalarMappable(norm, "viridis_r")
        for column, axis in enumerate(axes[0]):
            for index, generation in enumerate(generations):
                for seed in range(mean.shape[1]):
                    m, s = mean[column, seed, index], std[column, seed, index]
                    density = np.exp(-0.5 * ((x - m) / s) ** 2) / (s * np.sqrt(2 * np.pi))
                    axis.plot(
                        x, density, color=colours.to_rgba(generation), linewidth=0.7, alpha=0.8
                    )
            real = np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)
            axis.plot(x, real, color="black", linewidth=1.4, linestyle="--", label="real")
            axis.set_title(titles[column])
            axis.set_xlabel("x")
            axis.set_ylim(0, 1.5)
        axes[0, 0].set_ylabel("Density of the fitted models")
        axes[0, 0].legend(frameon=False, loc="upper left")
        bar = figure.colorbar(colours, ax=axes, label="Generation", ticks=list(generations))
        bar.ax.set_yticklabels([str(generation) for generation in generations])
        bar.ax.minorticks_off()
    return figure


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
