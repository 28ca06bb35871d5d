"""Bandwidths of kernel density estimates: numbers, selectors and schedules."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcollapse import checks, draws
from jaxcollapse.schedules import read_decay


class Bandwidth(NamedTuple):
    """A rule for the bandwidth of an estimate of R points in generation t: ``c R^-p t^-a``.

    Attributes:
      scale: c, in the units of the data.
      per_point: p.
      per_generation: a.
    """

    scale: Any
    per_point: Any = 0.0
    per_generation: Any = 0.0


class Scaled(Bandwidth):
    """A rule in units of the data: the other one's times the standard deviation of the points.

    That is over R, the root mean square over coordinates, so one bandwidth serves all of these.
    """

    __slots__ = ()


def bandwidth_rule(value: Any, dim: int) -> Any:
    """A fixed bandwidth as a number, any other as a ``Bandwidth``.

    Args:
      value: a number; ``scott``, ``R^(-1/(D+4))``, or ``silverman``, ``(R (D+2)/4)^(-1/(D+4))``,
        both as in scikit-learn, without the scale of the data (Scott 1992, Silverman 1986);
        ``scott-scaled``, Scott's rule times the standard deviation of the points, as SciPy has it
        but for its R - 1 and its full covariance; a schedule ``c*t^-a`` in the generation t (the
        paper's Theorem 7); or a ``Bandwidth``.
      dim: D.

    Raises:
      ValueError: none of these, or not positive.
    """
    if isinstance(value, Bandwidth) or checks.is_traced(value):
        return value
    power = 1.0 / (dim + 4)
    name = value if isinstance(value, str) else None
    if name == "scott":
        return Bandwidth(1.0, power)
    if name == "scott-scaled":
        return Scaled(1.0, power)
    if name == "silverman":
        return Bandwidth(((dim + 2) / 4) ** -power, power)
    decay = read_decay(str(value))
    try:
        scale, per_generation = (decay.scale, decay.power) if decay else (float(value), 0.0)
    except (TypeError, ValueError):
        scale, per_generation = 0.0, 0.0
    if not (0 < scale < float("inf") and 0 <= per_generation < float("inf")):
        raise checks.refusal(
            "bandwidth",
            "a positive number, scott, silverman, scott-scaled, or a schedule like 0.5*t^-0.25",
            repr(value),
            "choose one of those",
        )
    return Bandwidth(scale, per_generation=per_generation) if decay else scale


def bandwidth_at(
    rule: Any, num_points: jax.Array, generation: jax.Array, std: Any = None
) -> jax.Array:
    """The bandwidth of an estimate, in the units of the data.

    Args:
      rule: from ``bandwidth_rule``.
      num_points: R, float.
      generation: t, float.
      std: the standard deviation of the points, which a ``Scaled`` rule needs.
    """
    if not isinstance(rule, Bandwidth):
        return jnp.asarray(rule, draws.float_dtype())
    scale = jnp.asarray(rule.scale, draws.float_dtype())
    bandwidth = scale * num_points**-rule.per_point * generation**-rule.per_generation
    return bandwidth * std if isinstance(rule, Scaled) else bandwidth
