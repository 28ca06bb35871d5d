"""Points of the central mass of a Gaussian alone, whose tails are cut."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import draws

_MOST_TIMES = 10_000


def central_points(key: jax.Array, num_samples: int, dim: int, mass: Any) -> jax.Array:
    """Standard normal points ``[N, D]`` of which ``|z|^2`` is below its quantile of a mass.

    Points beyond are drawn again until there are none, so the law is that of the central mass
    exactly; at a mass of 1 they are those of ``draws.normal_points``. What is not drawn within
    10,000 times, of no mass for instance, is NaN.

    Args:
      key: a typed key.
      num_samples: N.
      dim: D.
      mass: from 0.01 to 1, may be traced.
    """
    reach = jnp.where(mass < 1, central_reach(dim, mass), np.inf)

    def inside(points):
        return jnp.sum(points**2, axis=-1) <= reach

    def again(state):
        number, points = state
        more = draws.normal_points(draws.fold_in(key, number), num_samples, dim)
        return number + 1, jnp.where(inside(points)[:, None], points, more)

    first = jnp.uint32(1), draws.normal_points(key, num_samples, dim)
    _, points = jax.lax.while_loop(
        lambda state: jnp.any(~inside(state[1])) & (state[0] < _MOST_TIMES),
        again,
        draws.varying_as(first, (key, mass)),
    )
    return jnp.where(inside(points)[:, None], points, np.asarray(np.nan, points.dtype))


def central_reach(dim: int, mass: Any) -> jax.Array:
    """The quantile of a mass of a chi-square of D degrees, by bisection of its law."""
    dtype = draws.float_dtype()
    half = np.asarray(dim / 2, dtype)

    def halve(_, ends):
        low, high = ends
        middle = 0.5 * (low + high)
        below = jax.scipy.special.gammainc(half, 0.5 * middle) < mass
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    # Above all that float32 tells from 1, and halved until it tells no more.
    ends = np.zeros((), dtype), np.asarray(dim + 20 * np.sqrt(dim) + 60, dtype)
    return jax.lax.fori_loop(0, 40, halve, draws.varying_as(ends, mass))[1]
