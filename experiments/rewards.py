"""Users choose by one reward or by two: what becomes of the rest.

    python experiments/rewards.py
    python experiments/rewards.py --quick

Of K samples of a model over 20 outcomes users publish the one that they like best (Bradley and
Terry), by a reward that rises with the outcome's number, or half of them by that and half by the
opposite one; the next model is fitted to what was published (Ferbach et al. 2407.09499; Falahati et
al. 2605.07724 for several rewards).
"""

from __future__ import annotations

from typing import Annotated, Literal

import common
import jax.numpy as jnp
import numpy as np

import jaxcollapse as jc
from jaxcollapse.publishers import curated
from jaxcollapse.show import figures as plotting
from jaxcollapse.sweeps import chains

OUTCOMES, NUM_SAMPLES, BEST_OF = 20, 10_000, 8
METRICS = ["mean_exp_reward", "entropy_ratio", "outcomes_left"]
Rewards = Literal["one", "two"]


def reward(outcomes):
    """From 0 to 1, in the order of the outcomes."""
    return outcomes.astype(jnp.float32) / (OUTCOMES - 1)


@jc.declared
def task(
    rewards: Annotated[Rewards, jc.Axis("one", "two")],
    num_samples: Annotated[int, jc.Axis(NUM_SAMPLES, symbol="N", least=1, batch=True)],
) -> jc.Task:
    """Outcomes that users choose among.

    Args:
      rewards: One that all users share, or two that oppose each other, of half of them each.
      num_samples: N, how many outcomes are published in each generation.
    """
    known = [
        lambda truth, model, rows: reward(rows),
        lambda truth, model, rows: 1 - reward(rows),
    ]
    made = jc.categorical.task(OUTCOMES, num_samples, pool="points")
    return curated(made, known[: 1 if rewards == "one" else 2], BEST_OF)


def mean_exp_reward(truth, model):
    """``E e^r`` of the first reward under a model of counts."""
    p = model / jnp.sum(model)
    return jnp.sum(p * jnp.exp(reward(jnp.arange(OUTCOMES))))


FAMILY = jc.TaskFamily("curated-categorical", task, metrics=jc.categorical.FAMILY.metrics)
MEASURED = {"mean_exp_reward": jc.Metric("Mean of e^reward", "1", of=mean_exp_reward)}


def sweeps(quick, preset):
    """Both, under replace and beside fresh real data."""
    plan = chains.plan(
        FAMILY,
        ["replace", "fresh-real"],
        {"rewards": ["one", "two"], "num_samples": [200 if quick else NUM_SAMPLES]},
        seeds=4 if quick else 20,
        generations=4 if quick else 60,
        measures=MEASURED,
        metrics=METRICS,
    )
    return {"rewards": plan}


def verdict(datasets):
    """Whether E e^r never falls with one reward, and two keep more outcomes."""
    (dataset,) = datasets.values()
    ends = dataset.isel(num_samples=0).sel(workflow="replace")
    rising = ends["mean_exp_reward"].sel(rewards="one")
    steps = rising.diff("generation")
    error = steps.std("seed", ddof=1) / np.sqrt(steps.sizes["seed"])
    falls = int((steps.mean("seed") < -5 * error - 1e-6).sum())
    entropy = ends["entropy_ratio"].mean("seed").isel(generation=-1)
    one, two = (entropy.sel(rewards=name).item() for name in ("one", "two"))
    begin, end = (rising.mean("seed").isel(generation=i).item() for i in (0, -1))
    return common.Verdict(
        "holds" if falls == 0 and two > 2 * one else "does not hold",
        f"Under replace, best of {BEST_OF}: with one reward E e^r rises from {begin:.3f} to "
        f"{end:.3f}, of at most {np.e:.3f}, and falls in {falls} of {steps.sizes['generation']} "
        f"steps; at the end the entropy is {one:.3f} of the real one with one reward and {two:.3f} "
        "with two.",
    )


STUDY = common.Study(
    name="rewards",
    title="One reward and two",
    seen="With one reward the model climbs to the best outcome and loses all others; with two that "
    "oppose each other it comes down to the two ends; fresh real data keep every outcome.",
    sweeps=sweeps,
    figures=lambda datasets: {"rewards": plotting.grid(datasets["rewards"], METRICS, "rewards")},
    claim="Retraining on what users choose raises E e^r in every step, until one outcome is left "
    "(Ferbach et al. 2407.09499); several rewards keep diversity (Falahati et al. 2605.07724).",
    verdict=verdict,
)

if __name__ == "__main__":
    common.main(STUDY)
