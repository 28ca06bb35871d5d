"""Products of matrices in full precision, whatever the device.

On recent GPUs JAX computes products of float32 in TF32, on TPUs in bfloat16, unless it is told
otherwise: 10 and 7 bits of mantissa for 23. Fits and metrics claim float32, so each of their
products is one of these.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def product(a: Any, b: Any) -> jax.Array:
    """``a @ b`` in the precision of the operands, on every device; shapes as for ``jnp.matmul``."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
