"""Cross-entropy over a vocabulary too large for all its logits to exist at once."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxcollapse import checks, draws
from jaxcollapse.lm.decoder import decoder
from jaxcollapse.lm.decoder.config import Config
from jaxcollapse.lm.decoder.decoder import Params


def cross_entropy(
    config: Config,
    params: Params,
    hidden: jax.Array,
    labels: jax.Array,
    in_loss: jax.Array,
    chunks: int = 1,
    mesh: Mesh | None = None,
) -> jax.Array:
    """Negative log-likelihood of ``labels`` in nats, summed over the tokens that are in the loss.

    Args:
      config: of the decoder.
      params: its parameters.
      hidden: ``[B, T, E]``, from ``decoder.hidden_states``.
      labels: int32 ``[B, T]``.
      in_loss: bool ``[B, T]``.
      chunks: parts of the B T tokens of which one at a time has logits, ``[B T / chunks, V]``;
        the backward pass computes them again.
      mesh: of devices, which divide the tokens among them.

    Raises:
      ValueError: ``chunks`` does not divide B T.
    """
    count = labels.size
    tokens = (hidden.reshape(count, -1), labels.reshape(count), in_loss.reshape(count))
    if count % chunks:
        raise checks.refusal(
            "loss_chunks", f"a divisor of the {count} tokens of a batch", chunks, "change it"
        )
    of_some = partial(_cross_entropy, config, params, mesh)
    if chunks == 1:
        return of_some(*tokens)

    def add(total, chunk):
        return total + of_some(*chunk), None

    # Token i is in chunk i mod chunks: a device that has some rows has its share of every chunk.
    parts = jax.tree.map(lambda x: x.reshape(-1, chunks, *x.shape[1:]).swapaxes(0, 1), tokens)
    nothing = draws.varying_as(jnp.float32(0), (params, parts))
    return jax.lax.scan(jax.checkpoint(add), nothing, parts)[0]


def _cross_entropy(
    config: Config,
    params: Params,
    mesh: Mesh | None,
    hidden: jax.Array,
    labels: jax.Array,
    in_loss: jax.Array,
) -> jax.Array:
    """The same of N tokens, all of whose logits exist."""
    logits = decoder.logits_of(config, params, decoder.over_rows(hidden, mesh))
    # A sum over the vocabulary, whose gradient needs no scatter.
    vocabulary = jnp.arange(config.vocab_size, dtype=np.int32)
    is_label = vocabulary[None] == labels[:, None]
    chosen = jnp.sum(jnp.where(is_label, logits, 0.0), axis=-1)
    nll = jax.nn.logsumexp(logits, axis=-1) - chosen
    return jnp.sum(jnp.where(in_loss, nll, 0.0))
