"""Verifiers of rising quality: an early gain, and where it ends.

    python experiments/verifiers.py
    python experiments/verifiers.py --quick

Models publish the better half of what they make, as a verifier tells it: by the density of the real
law, with chances of 0, 0.25 and 0.5 to err either way; one that errs half of the time chooses at
random (Feng et al. 2406.07515, Yi et al. 2510.16657).
"""

from __future__ import annotations

from typing import Annotated

import common

import jaxcollapse as jc
from jaxcollapse.publishers import verified
from jaxcollapse.show import figures as plotting
from jaxcollapse.sweeps import chains

ERRORS = [0.0, 0.25, 0.5]
METRICS = ["squared_error_of_mean", "trace_ratio", "kl"]


@jc.declared
def task(
    error: Annotated[float, jc.Axis(*ERRORS, symbol="error rate")],
    num_samples: Annotated[int, jc.Axis(100, symbol="N", least=1, batch=True)],
) -> jc.Task:
    """A Gaussian in two dimensions, the better half of whose samples a verifier publishes.

    Args:
      error: The chance that the verifier errs, of good samples and of bad ones.
      num_samples: N, the number of points of every generation.
    """
    bare = jc.gaussian.task(2, num_samples, pool="points")
    return verified(bare, 0.5, "real", (error, error))


FAMILY = jc.TaskFamily("verified-gaussian", task, metrics=jc.gaussian.FAMILY.metrics)


def sweeps(quick, preset):
    """Alone, and beside fresh real data."""
    plan = chains.plan(
        FAMILY,
        ["replace", "fresh-real"],
        {"error": ERRORS, "num_samples": [20 if quick else 100]},
        seeds=4 if quick else 100,
        generations=4 if quick else 100,
        metrics=METRICS,
    )
    return {"verifiers": plan}


def verdict(datasets):
    """What a perfect verifier gains in the mean, and loses in the variance, under replace."""
    (dataset,) = datasets.values()
    chains_of = dataset.isel(num_samples=0).sel(workflow="replace")
    mean = chains_of["squared_error_of_mean"].mean("seed")
    spread = chains_of["trace_ratio"].median("seed")
    last = dataset.sizes["generation"]
    perfect, random = (mean.sel(error=e).isel(generation=-1).item() for e in (0.0, 0.5))
    first = mean.isel(generation=0).mean().item()
    ten = min(10, last)
    gone = [spread.sel(error=e, generation=ten).item() for e in ERRORS]
    holds = perfect < first < random
    return common.Verdict(
        "holds with a difference" if holds and gone[0] < 0.1 else "does not hold",
        f"Under replace the mean's squared error goes from {first:.2g} to {perfect:.2g} at "
        f"generation {last} with a verifier that never errs, and to {random:.2g} with one that "
        f"chooses at random; but it keeps what is likely, and the median variance falls to "
        f"{', '.join(f'{g:.2g}' for g in gone)} of the real one by generation {ten} at error rates "
        f"{', '.join(f'{e:g}' for e in ERRORS)}: the mean is saved and the law is not.",
    )


STUDY = common.Study(
    name="verifiers",
    title="Verifiers of rising quality",
    seen="A verifier keeps the mean where it should be, the better the less it errs, and takes the "
    "variance away faster than no verifier does, since it calls the likely good.",
    sweeps=sweeps,
    figures=lambda datasets: {
        "verifiers": plotting.grid(datasets["verifiers"], METRICS, "error", statistic="median")
    },
    claim="Verification of synthetic data gains early and ends at the verifier's centre "
    "(Yi et al. 2510.16657); above a threshold of its quality collapse is prevented (Feng et al. "
    "2406.07515, of labels).",
    verdict=verdict,
)

if __name__ == "__main__":
    common.main(STUDY)
