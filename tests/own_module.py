"""A task and a workflow as a user brings them to the command line, ``own_module:FAMILY``."""

import jax
import jax.numpy as jnp

import jaxcollapse as jc
from jaxcollapse.families import TaskFamily


class Half(jc.Workflow):
    """All data, of which those before the newest batch count half."""

    def choose(self, key, rows):
        return jnp.where(rows.generation == rows.now - 1, 1.0, 0.5)


def task(rate: float, num_samples: int, shift: float = 0.0) -> jc.Task:
    """Exponential laws, of which the rate is fitted.

    Args:
      rate: The rate of the real law.
      num_samples: N, the number of points.
      shift: What is added to every point.
    """

    def draw(key, scale):
        return shift + scale * jax.random.exponential(key, (num_samples,))

    def fit(key, view):
        return jnp.sum(view.weights * (view.data - shift)) / jnp.sum(view.weights)

    return jc.points_task(
        lambda key: (1.0 / rate, draw(key, 1.0 / rate)),
        fit,
        draw,
        lambda truth, scale: {"ratio": scale / truth},
    )


FAMILY = TaskFamily("exponential", task)
