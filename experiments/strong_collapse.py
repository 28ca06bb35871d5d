"""Strong collapse: a small share of synthetic labels puts a floor under what more data can do.

    python experiments/strong_collapse.py
    python experiments/strong_collapse.py --quick

Least squares on N rows, of which a share p has its labels from a model whose weights are wrong by
``c^2`` in square: the error ends at ``p^2 c^2``, however large N is, and the curve bends where
``N = s^2 D / (p^2 c^2)`` (Dohmatob et al. 2410.04840). The rows of generation 2 are such a mixture.
"""

from __future__ import annotations

from typing import Annotated

import common
import jax
import jax.numpy as jnp
import numpy as np

import jaxcollapse as jc
from jaxcollapse import checks
from jaxcollapse.products import product
from jaxcollapse.show import figures as plotting
from jaxcollapse.sweeps import chains

DIM, WRONG, NOISE = 10, 1.0, 1.0  # D, c^2, s^2
SHARES = (0.01, 0.1, 0.5)  # p, synthetic
SIZES = [32, 100, 316, 1000, 3162, 10_000, 31_623]


@jc.declared
def task(num_samples: Annotated[int, jc.Axis(*SIZES, symbol="N", least=1, batch=True)]) -> jc.Task:
    """Least squares whose published labels are those of one wrong model.

    Args:
      num_samples: N, the number of rows.
    """
    wrong = jnp.full(DIM, np.float32(np.sqrt(WRONG / DIM)))

    def rows(key, weights):
        of_x, of_noise = jax.random.split(key)
        x = jax.random.normal(of_x, (num_samples, DIM))
        noise = np.float32(np.sqrt(NOISE)) * jax.random.normal(of_noise, (num_samples,))
        return {"x": x, "y": product(x, weights) + noise}

    def fit(key, view):
        weighed = view.data["x"] * view.weights[:, None]
        return jnp.linalg.solve(
            product(weighed.T, view.data["x"]), product(weighed.T, view.data["y"])
        )

    return jc.points_task(
        init=lambda key: (jnp.zeros(DIM), rows(key, jnp.zeros(DIM))),
        fit=fit,
        sample=lambda key, model: rows(key, wrong),
        evaluate=lambda truth, model: {"squared_error": jnp.sum((model - truth) ** 2)},
        real=rows,
    )


FAMILY = jc.TaskFamily("strong-collapse", task)


def sweeps(quick, preset):
    """Every share at every size."""
    plan = chains.plan(
        FAMILY,
        [jc.fresh_real(share=1 - p) for p in SHARES],
        {"num_samples": SIZES[1:3] if quick else SIZES},
        seeds=4 if quick else 100,
        generations=2,
        metrics=["squared_error"],
    )
    return {"strong_collapse": plan}


def expected(share, size):
    """``p^2 c^2 + s^2 D / (N - D - 1)``, but for terms of ``p (1 - p) c^2 / N``."""
    return share**2 * WRONG + NOISE * DIM / (size - DIM - 1)


def figures(datasets):
    """The error of generation 2 against N; dashes are the law, dots its floor."""
    (dataset,) = datasets.values()
    plt = checks.require("matplotlib.pyplot", "plot")
    size = dataset["num_samples"].values
    with plt.rc_context(plotting.STYLE):
        figure, axis = plt.subplots(figsize=(4.4, 3.2), layout="constrained")
        colours = plt.get_cmap("viridis")(np.linspace(0, 0.88, len(SHARES)))
        ends = dataset.isel(generation=-1)
        for place, (share, colour) in enumerate(zip(SHARES, colours, strict=True)):
            line = ends.isel(workflow=place)
            low, mean, high = plotting.mean_with_interval(line, "squared_error")
            axis.plot(size, mean, color=colour, label=f"p = {share:g}")
            axis.fill_between(size, low, high, color=colour, alpha=0.25, linewidth=0)
            law = expected(share, size)
            axis.plot(size, law, color="black", linewidth=0.8, linestyle=(0, (4, 2)))
            axis.axhline(share**2 * WRONG, color=colour, linewidth=0.8, linestyle=":")
        axis.set(
            xlabel="Rows N, of which a share p has synthetic labels",
            ylabel="Squared error of the weights",
            title="dashed: closed form; dotted: its floor",
            xscale="log",
            yscale="log",
        )
        axis.legend(frameon=False)
    return {"strong_collapse": figure}


def verdict(datasets):
    """The error at the largest N beside the floor."""
    (dataset,) = datasets.values()
    size = int(dataset["num_samples"][-1])
    ends = dataset["squared_error"].isel(generation=-1, num_samples=-1).astype(float)
    told, inside = [], True
    for place, share in enumerate(SHARES):
        of_seeds = ends.isel(workflow=place)
        mean, error = of_seeds.mean().item(), of_seeds.std(ddof=1).item() / np.sqrt(of_seeds.size)
        inside &= abs(mean - expected(share, size)) < 5 * error
        told.append(
            f"p = {share:g}: {mean:.3g} +- {1.96 * error:.1g} (floor {share**2 * WRONG:.3g}, with "
            f"the noise {expected(share, size):.3g})"
        )
    return common.Verdict(
        "holds" if inside else "does not hold",
        f"D = {DIM}, c^2 = {WRONG:g}, N = {size:,}: {'; '.join(told)}. Real rows alone would leave "
        f"{expected(0, size):.2g}.",
    )


STUDY = common.Study(
    name="strong_collapse",
    title="Strong collapse",
    seen="The error falls with N as that of real labels does until it meets the floor of its share "
    "of synthetic ones, where more rows no longer help.",
    sweeps=sweeps,
    figures=figures,
    claim="A share p of labels from a model with squared error c^2, however small, puts a floor of "
    "p^2 c^2 under the error, which no number of rows overcomes (Dohmatob et al. 2410.04840).",
    verdict=verdict,
)

if __name__ == "__main__":
    common.main(STUDY)
