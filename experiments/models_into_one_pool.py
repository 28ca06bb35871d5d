"""One pool, several models: how many there should be.

    python experiments/models_into_one_pool.py
    python experiments/models_into_one_pool.py --quick

The same N points are dealt to k models, which publish N/k points each into the next pool: each
sees less, and errs more, while the pool as a whole loses less of its variance (Hodel and West
2512.15011, Vu et al. 2505.21677).
"""

from __future__ import annotations

import common

from jaxcollapse.show import figures as plotting
from jaxcollapse.sweeps import chains

MODELS = [1, 2, 5, 10, 20]
METRICS = ["trace_ratio", "wasserstein2", "trace_ratio_between_models"]


def sweeps(quick, preset):
    """A Gaussian in one dimension under replace."""
    plan = chains.plan(
        "gaussian",
        ["replace"],
        {"dim": [1], "num_samples": [40 if quick else 100], "models": [1, 4] if quick else MODELS},
        seeds=8 if quick else 500,
        generations=5 if quick else 300,
        preset=preset,
        metrics=METRICS,
    )
    return {"models_into_one_pool": plan}


AGES = (1, 3, 10, 30, 100, 300)
WORTH = 0.95  # of the distance with one model; with less of a gain the number does not matter


def verdict(datasets):
    """Whether several models are better than one from some generation on."""
    (dataset,) = datasets.values()
    ends = dataset.isel(dim=0, num_samples=0, workflow=0).sel(generation=list(AGES))
    distance = ends["wasserstein2"].median("seed")
    ratio = distance / distance.sel(models=1)
    several = ratio.sel(models=MODELS[1:]).min("models")
    better = [g for g in AGES if several.sel(generation=g) < WORTH]
    told = ", ".join(f"{several.sel(generation=g).item():.2f} at {g}" for g in AGES)
    kept = ends["trace_ratio"].mean("seed").isel(generation=-1)
    return common.Verdict(
        "holds" if better else "does not hold",
        "The least median Wasserstein-2 distance of a model from the real law with 2 to "
        f"{MODELS[-1]} models, of that with one, under replace, N = "
        f"{int(dataset['num_samples'][0])}, by generation: {told}. Several models lose less of the "
        "pool's variance, but each is fitted to fewer points: of the real variance they have "
        f"{kept.sel(models=MODELS[-1]).item():.3f} on average at the end, and one model has "
        f"{kept.sel(models=1).item():.3f}.",
    )


STUDY = common.Study(
    name="models_into_one_pool",
    title="Several models that publish into one pool",
    seen="One model that sees everything is best from the first generation until all have "
    "collapsed: what several models save of the pool's variance is less than what each of them "
    "loses by seeing fewer points.",
    sweeps=sweeps,
    figures=lambda datasets: {
        "models_into_one_pool": plotting.grid(
            datasets["models_into_one_pool"], METRICS, "models", statistic="median"
        )
    },
    claim="With the data divided among several models that publish into one pool the best number "
    "of models grows with the number of generations (Hodel and West 2512.15011).",
    verdict=verdict,
)

if __name__ == "__main__":
    common.main(STUDY)
