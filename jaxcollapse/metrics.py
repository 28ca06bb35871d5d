"""Pieces of evaluation that several tasks share, and what each metric is called and measured in."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Metric(NamedTuple):
    """How a metric is labelled.

    Attributes:
      long_name: for axes and files.
      units: of its values.
      infinite: whether an infinity is a value of it; otherwise one marks a chain as non-finite.
      scale: of its axis in a figure: ``linear``, or ``log`` if it is positive over decades.
    """

    long_name: str
    units: str
    infinite: bool = False
    scale: str = "linear"


SHARE_OF_REAL_DATA = Metric("Share of real data in what is fitted", "1", scale="log")


def safe_sqrt(x: jax.Array) -> jax.Array:
    """``sqrt(max(x, 0))`` with slope 0, not infinity, where ``x <= 0``."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), jnp.where(jnp.isnan(x), x, 0.0))


def singular_values(matrix: jax.Array, rank: int | jax.Array) -> jax.Array:
    """Singular values ``[K]`` of ``[M, K]``, K <= M, whose columns beyond ``rank`` are zero.

    The work of a decomposition grows with the columns squared, so a wide matrix of small rank is
    cut to the narrowest of a few widths that hold it; a traced rank chooses among them.
    """
    columns = matrix.shape[1]
    if columns == 1:
        return jnp.linalg.norm(matrix, axis=0)
    widths = [width for width in (16, 32) if 2 * width <= columns] + [columns]

    def of_width(width):
        def decompose(matrix):
            values = jnp.linalg.svd(matrix[:, :width], compute_uv=False)
            return jnp.pad(values, (0, columns - width))

        return decompose

    if isinstance(rank, int):
        return of_width(next(width for width in widths if rank <= width))(matrix)
    branch = jnp.sum(rank > np.asarray(widths[:-1], np.float32), dtype=jnp.int32)
    return jax.lax.switch(branch, [of_width(width) for width in widths], matrix)
