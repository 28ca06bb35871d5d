"""Figure 1 of "Collapse or Thrive?": Gaussians refitted to their own samples.

    python experiments/figure1_gaussian.py --out results/figure1            # the whole grid
    python experiments/figure1_gaussian.py --out results/quick --quick      # a small one

The paper's grid: D in 1, 3, 10, 31, 100 by N in 10, 32, 100, 316, 1000 by three workflows, 100
seeds, 100 generations. Writes ``gaussian.nc``, the squared errors of the fitted mean and
covariance against the generation, and the fitted densities for D = 1.

To be seen: under ``replace`` the error of the mean grows until the covariance has collapsed and
then stays at the real variance; under ``accumulate`` both errors stay near those of the first
fit; ``accumulate-subsample`` settles between the two.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # see jaxcollapse/cli.py

import jax
import numpy as np

import jaxcollapse as jc
from jaxcollapse import checks, cli, plotting, report, results
from jaxcollapse.sweep import plan

if TYPE_CHECKING:
    import xarray

WORKFLOWS = ("replace", "accumulate", "accumulate-subsample")
FULL = {"dim": [1, 3, 10, 31, 100], "num_samples": [10, 32, 100, 316, 1000]}
QUICK = {"dim": [1, 3], "num_samples": [10, 100]}
# What the figures show, and the log-determinant. The Wasserstein distance, which the figure does
# not show, takes a singular value decomposition for every fit: --all-metrics adds it.
METRICS = ("squared_error_of_mean", "squared_error_of_cov", "trace_ratio", "log_det_ratio")
FIGURES = ("squared_error_of_mean", "squared_error_of_cov", "densities")
DENSITY_GENERATIONS = (1, 3, 10, 32, 100)


def run(
    out: Path,
    quick: bool = False,
    preset: str = "corrected",
    all_metrics: bool = False,
    overwrite: bool = False,
) -> xarray.Dataset:
    """The sweep, written to ``out/gaussian.nc``."""
    seeds, generations = (5, 20) if quick else (100, 100)
    checked = plan(
        "gaussian",
        WORKFLOWS,
        QUICK if quick else FULL,
        seeds,
        generations,
        preset,
        None if all_metrics else METRICS,
    )
    return cli.run_and_save(checked, out / "gaussian.nc", overwrite)


def fitted(workflow: str, num_samples: int, seeds: int, generations: int) -> dict[str, np.ndarray]:
    """Fitted ``mean`` and ``std`` ``[S, G]`` of one-dimensional chains."""

    def moments(truth, model):
        return {"mean": model.absolute.mean[0], "std": model.absolute.factor[0, 0]}

    pool = "points" if workflow == "accumulate-subsample" else "statistics"
    task = jc.gaussian.task(1, num_samples, pool=pool)._replace(evaluate=moments)
    chains = jax.jit(jax.vmap(jc.make_chain(task, workflow, generations)))
    return jax.device_get(chains(jc.seed_keys(range(seeds))))


def plot(dataset: xarray.Dataset, out: Path) -> list[Path]:
    """The figures, from a result."""
    figures = {
        metric: plotting.grid(dataset, [metric])
        for metric in ("squared_error_of_mean", "squared_error_of_cov")
    }
    last = int(dataset["generation"][-1])
    generations = [g for g in DENSITY_GENERATIONS if g <= last]
    chains = [fitted(workflow, 32, 3, last) for workflow in WORKFLOWS]
    index = np.asarray(generations) - 1
    mean, std = (np.stack([chain[name][:, index] for chain in chains]) for name in ("mean", "std"))
    figure = plotting.densities(mean, std, generations, WORKFLOWS, dataset.attrs["preset"])
    figure.suptitle("D = 1, N = 32, three seeds", fontsize=8)
    figures["densities"] = figure
    for name, figure in figures.items():
        with results.whole_file(out / f"{name}.png") as temporary:
            figure.savefig(temporary)
    return [out / f"{name}.png" for name in figures]


def main(arguments: list[str] | None = None) -> None:
    """Sweep, figures, and a table beside theory."""
    checks.require("matplotlib", "plot").use("Agg")
    tyro = checks.require("tyro", "sweep")
    start = time.perf_counter()

    def figure1(
        out: Path = Path("results/figure1"),
        quick: bool = False,
        preset: str = "corrected",
        all_metrics: bool = False,
        overwrite: bool = False,
    ) -> None:
        """Figure 1 of the paper.

        Args:
          out: folder for the results file and the figures.
          quick: a small grid, few seeds and generations.
          preset: corrected or authors (densities drawn as published).
          all_metrics: also the Wasserstein-2 distance.
          overwrite: run again where there is a results file.
        """
        out.mkdir(parents=True, exist_ok=True)
        for name in ("gaussian.nc", *(f"{figure}.png" for figure in FIGURES)):
            results.check_output(out / name, (".nc", ".png"), overwrite)
        dataset = run(out, quick, preset, all_metrics, overwrite)
        paths = plot(dataset, out)
        console = checks.require("rich.console", "sweep").Console()
        shown = dataset.sel(dim=[d for d in (1, 10) if d in dataset["dim"]])
        shown = shown.sel(num_samples=[n for n in (10, 100) if n in dataset["num_samples"]])
        for metric in ("squared_error_of_mean", "trace_ratio"):
            console.print(report.summary(shown, metric))
        for path in (out / "gaussian.nc", *paths):
            print(path)
        print(f"{time.perf_counter() - start:.0f} s in all")

    try:
        tyro.cli(figure1, args=arguments)
    except (ValueError, ImportError) as error:
        cli.fail(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
