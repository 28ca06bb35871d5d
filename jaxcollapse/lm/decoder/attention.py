"""Attention: values averaged with the softmax of scores of queries and keys.

Shape letters: B batch, T tokens, H heads, K key and value heads, D width of a head, R keys.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse.lm.decoder.config import Config

Attend = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
MASKED = -1e30  # a score that no softmax sees; finite, so that a row without any is not NaN
FUSED_SINCE = 8.0  # compute capability of an NVIDIA GPU


def softcap(x: jax.Array, cap: float | None) -> jax.Array:
    """``c tanh(x / c)``, or ``x`` where there is no cap c. Gemma Team 2024 (Gemma 2), section 2."""
    return x if cap is None else cap * jnp.tanh(x / cap)


def attend(
    config: Config, q: jax.Array, k: jax.Array, v: jax.Array, allowed: jax.Array
) -> jax.Array:
    """Values ``[B, H, T, D]`` averaged with the softmax of the scores.

    Args:
      config: of the decoder.
      q: ``[B, H, T, D]``.
      k: ``[B, K, R, D]``, for each head the keys of its group.
      v: likewise.
      allowed: bool ``[B, T, R]``, which keys a query sees.
    """
    batch, heads, length, dim = q.shape
    groups = heads // config.kv_heads
    # The heads of a group are more queries to the same keys.
    q = (q * config.score_scale).reshape(batch, config.kv_heads, groups * length, dim)
    allowed = jnp.tile(allowed, (1, groups, 1))[:, None]
    over = (((3,), (3,)), ((0, 1), (0, 1)))
    scores = jax.lax.dot_general(q, k, over, config.precision, np.float32)
    scores = jnp.where(allowed, softcap(scores, config.attention_softcap), MASKED)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    mixed = jnp.matmul(weights, v, precision=config.precision)
    return mixed.reshape(batch, heads, length, dim)


def over_segments(config: Config, segments: jax.Array, window: jax.Array | np.int32) -> Attend:
    """Causal attention within segments ``[B, T]`` and at most ``window`` tokens back."""
    length = segments.shape[1]
    back = np.arange(length)[:, None] - np.arange(length)[None, :]
    near = jnp.asarray(back >= 0) & (jnp.asarray(back, np.int32) < window)
    allowed = near[None] & (segments[:, :, None] == segments[:, None, :])
    averaged = _fused if is_fused(config, length) else attend
    return lambda q, k, v: averaged(config, q, k, v, allowed)


def is_fused(config: Config, length: int) -> bool:
    """Whether cuDNN makes attention over so many tokens, without their scores in memory.

    It takes bfloat16 and heads of some widths, caps no score, and asks for an NVIDIA GPU.
    """
    capability = str(getattr(jax.devices()[0], "compute_capability", ""))
    return (
        jax.default_backend() == "gpu"
        and capability.replace(".", "", 1).isdecimal()
        and float(capability) >= FUSED_SINCE
        and config.dtype == "bfloat16"
        and config.attention_softcap is None
        and config.head_dim % 8 == 0
        and config.head_dim <= 128
        and length % 2 == 0
    )


def _fused(
    config: Config, q: jax.Array, k: jax.Array, v: jax.Array, allowed: jax.Array
) -> jax.Array:
    """As ``attend``, by cuDNN; ``allowed`` lets no query see what follows it."""
    # One mask a head: with a single one for all, JAX cannot map it over seeds.
    shape = (q.shape[0], config.heads, *allowed.shape[1:])
    mixed = jax.nn.dot_product_attention(
        q.swapaxes(1, 2),
        k.swapaxes(1, 2),
        v.swapaxes(1, 2),
        mask=jnp.broadcast_to(allowed[:, None], shape),
        scale=config.score_scale,
        is_causal=True,
        implementation="cudnn",
    )
    return mixed.swapaxes(1, 2)
