"""Linear regression, the appendix of "Collapse or Thrive?".

    python experiments/linear_regression.py             # the whole grid, 225 cells
    python experiments/linear_regression.py --quick

Writes one figure a noise variance. The published plots drop N <= D; here all cells are drawn, and
with ``--preset authors`` those alone that the paper shows.
"""

from __future__ import annotations

import common
import numpy as np

from jaxcollapse.show import figures as plotting


def axes(quick):
    """The grid: five dimensions, three variances of the noise, five sample sizes."""
    return {
        "dim": [10] if quick else [1, 3, 10, 32, 100],
        "noise_variance": [0.1, 1.0] if quick else [0.1, 1.0, 10.0],
        "num_samples": [10, 100] if quick else common.NUM_SAMPLES,
    }


def figures(datasets):
    """Median test error against the generation: rows are dimensions."""
    (dataset,) = datasets.values()
    if dataset.attrs["preset"] == "authors":
        errors = dataset["mse"].where(dataset["num_samples"] > dataset["dim"])
        dataset = dataset.assign(mse=errors.assign_attrs(dataset["mse"].attrs))
    # Near N = D the mean over seeds is infinite: only the median can be read there.
    return {
        f"noise_variance_{value}": plotting.grid(
            dataset.sel(noise_variance=[value]), ["mse"], statistic="median"
        )
        for value in dataset["noise_variance"].values
    }


def verdict(datasets):
    """The last error under accumulate, of the first, where N is at least four times D."""
    (dataset,) = datasets.values()
    risk = dataset["excess_risk"].sel(workflow="accumulate").astype(float)
    ends = risk.isel(generation=-1).stack(cell=("dim", "noise_variance", "num_samples"))
    firsts = risk.isel(generation=0).stack(cell=("dim", "noise_variance", "num_samples"))
    enough = ends["num_samples"] >= 4 * ends["dim"]
    ends, firsts = (x.isel(cell=enough.values) for x in (ends, firsts))
    # Both errors are of the same seeds: the error of a ratio of means (Cochran 1977, 6.4).
    ratio = ends.mean("seed") / firsts.mean("seed")
    spread = (ends - ratio * firsts).std("seed", ddof=1) / firsts.mean("seed")
    far = (ratio - expected(dataset)) / (spread / np.sqrt(dataset.sizes["seed"]))
    mean = ratio.mean().item()
    return common.Verdict(
        "holds" if np.abs(far).max() < 5 else "does not hold",
        f"In {ratio.size} cells with N of at least 4 D the mean excess risk at generation "
        f"{dataset.sizes['generation']} is {mean:.3f} times the first on average (the sum of 1/t^2 "
        f"so far is {expected(dataset):.3f}); the farthest cell is {np.abs(far).max().item():.1f} "
        "standard errors away.",
    )


def expected(dataset):
    """The sum of ``1/t^2`` over the generations, which tends to ``pi^2/6``."""
    return float(np.sum(1 / dataset["generation"].values.astype(float) ** 2))


STUDY = common.Study(
    name="linear_regression",
    title="Linear regression",
    seen="Under replace the test error grows in proportion to the generation, under accumulate it "
    "ends at pi^2/6 times the first, and accumulate-subsample levels off above it, highest where "
    "fewer distinct rows than dimensions are drawn.",
    sweeps=lambda quick, preset: {
        "linear_regression": common.sweep(quick, preset, "linear-regression", axes(quick))
    },
    figures=figures,
    claim="When data accumulate, the error of linear regression ends at pi^2/6 times that of the "
    "first model (Gerstgrasser et al. 2404.01413), as that of every asymptotically linear "
    "estimator does (Dey and Donoho 2410.22812).",
    verdict=verdict,
)

if __name__ == "__main__":
    common.main(STUDY)
