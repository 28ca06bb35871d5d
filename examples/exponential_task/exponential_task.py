"""Exponential laws: the rate fitted by maximum likelihood, sampled, and fitted again."""

from __future__ import annotations

from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import Axis, Metric, MixtureFacts, Task, TaskFamily, points_task


def task(
    rate: Annotated[float, Axis(0.5, 1.0, 2.0, traced=True)],
    num_samples: Annotated[int, Axis(10, 100, symbol="N", least=1, batch=True)],
) -> Task:
    """Exponential laws: the rate fitted by maximum likelihood, sampled, and fitted again.

    Args:
      rate: The rate of the real law is above 0.
      num_samples: N, the number of real points and of the points of every generation.
    """

    def real(key, truth):
        return jax.random.exponential(key, (num_samples,)) / truth

    def fit(key, view):
        return jnp.sum(view.weights) / jnp.sum(view.weights * view.data)

    def sample(key, fitted):
        return jax.random.exponential(key, (num_samples,)) / fitted

    def evaluate(truth, fitted):
        ratio = truth / fitted  # of the fitted mean to the real one
        return {"mean_ratio": ratio, "kl": ratio**-1 - 1 + jnp.log(ratio)}

    truth = jnp.asarray(rate, float)
    return points_task(lambda key: (truth, real(key, truth)), fit, sample, evaluate, real)


def closed_form(metric, workflow, generation, options, rate, num_samples):
    """The fitted mean is a martingale under every workflow that does not look at the data."""
    return np.ones(np.shape(generation)) if metric == "mean_ratio" else None


FAMILY = TaskFamily(
    name="exponential",
    task=task,
    metrics={
        "mean_ratio": Metric("Mean, fitted / real", "1", scale="log"),
        "kl": Metric("KL divergence from the real law", "nats", scale="log"),
    },
    closed_form=closed_form,
    mixtures=MixtureFacts(loss="kl"),
)
