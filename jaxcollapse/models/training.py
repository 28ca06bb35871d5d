"""Training a decoder on packed rows, a step at a time."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks
from jaxcollapse.models import decoder, packing
from jaxcollapse.models.config import Config
from jaxcollapse.models.decoder import Params
from jaxcollapse.models.packing import Rows

optax = checks.require("optax", "lm")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a decoder is trained: AdamW (Loshchilov & Hutter 2019) on batches of packed rows.

    Attributes:
      learning_rate: at its highest.
      schedule: after the warm-up: ``constant``, ``linear`` to 0, or ``cosine`` to a tenth.
      warmup: share of the steps in which the learning rate rises from 0.
      batch_size: B, rows of a step.
      accumulation: parts that the gradient of a batch is summed over, to save memory; it divides
        ``batch_size``.
      epochs: passes over the data.
      steps: instead of epochs, so many steps.
      matched_compute: whether every generation trains for as many steps as N real documents need,
        however much has accumulated; a control.
      weight_decay: of matrices, not of norms and biases.
      clip: the largest norm of a gradient.
      beta1: decay of the mean gradient.
      beta2: decay of the mean squared gradient.
      eps: added to the root of the latter.
    """

    learning_rate: float = 1e-3
    schedule: str = "cosine"
    warmup: float = 0.05
    batch_size: int = 16
    accumulation: int = 1
    epochs: int = 1
    steps: int | None = None
    matched_compute: bool = False
    weight_decay: float = 0.1
    clip: float = 1.0
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8

    def __post_init__(self) -> None:
        """Refuses a recipe that trains nothing."""
        checks.one_of("schedule", self.schedule, ("constant", "linear", "cosine"))
        checks.whole_number("batch_size", self.batch_size)
        checks.whole_number("accumulation", self.accumulation)
        checks.whole_number("epochs", self.epochs)
        if self.steps is not None:
            checks.whole_number("steps", self.steps)
        if self.batch_size % self.accumulation:
            raise checks.refuse(
                "accumulation",
                f"a divisor of the batch, {self.batch_size}",
                self.accumulation,
                "change one of them",
            )
        for name in ("learning_rate", "clip", "eps"):
            if not 0 < getattr(self, name) < float("inf"):
                raise checks.refuse(name, "a positive number", getattr(self, name), "change it")
        for name in ("warmup", "beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise checks.refuse(name, "from 0 to below 1", getattr(self, name), "change it")
        if not 0 <= self.weight_decay < float("inf"):
            raise checks.refuse("weight_decay", "at least 0", self.weight_decay, "change it")


class State(NamedTuple):
    """A model in training.

    Attributes:
      params: of the decoder.
      moments: of the optimiser.
      step: int32, steps taken.
      loss: float32, of the last step, nats per token.
    """

    params: Params
    moments: Any
    step: jax.Array
    loss: jax.Array


def start(config: Config, recipe: Recipe, params: Params) -> State:
    """The state before the first step."""
    moments = _optimizer(recipe).init(params)
    return State(params, moments, jnp.int32(0), jnp.float32(0))


def _optimizer(recipe: Recipe) -> Any:
    """AdamW without its learning rate, which depends on a number of steps that is traced."""

    def decayed(params):
        # Parameters of a layer have a first axis for the layers.
        def is_matrix(path, leaf):
            stacked = path[0].key == "layers"
            return leaf.ndim - stacked >= 2

        return jax.tree_util.tree_map_with_path(is_matrix, params)

    return optax.chain(
        optax.clip_by_global_norm(recipe.clip),
        optax.scale_by_adam(recipe.beta1, recipe.beta2, recipe.eps),
        optax.add_decayed_weights(recipe.weight_decay, decayed),
    )


def learning_rate(recipe: Recipe, step: jax.Array, total: jax.Array) -> jax.Array:
    """Of step 0, 1, ..., of ``total``: it rises in a line, then follows the schedule."""
    total = jnp.asarray(total).astype(np.float32)
    step = jnp.asarray(step).astype(np.float32)
    warm = jnp.ceil(recipe.warmup * total)
    rise = jnp.minimum(1.0, (step + 1) / jnp.maximum(warm, 1.0))
    done = jnp.clip((step - warm) / jnp.maximum(total - warm, 1.0), 0.0, 1.0)
    fall = {
        "constant": jnp.ones_like(done),
        "linear": 1.0 - done,
        "cosine": 0.1 + 0.45 * (1.0 + jnp.cos(np.pi * done)),
    }[recipe.schedule]
    return recipe.learning_rate * rise * fall


def loss_sum(config: Config, params: Params, rows: Rows) -> tuple[jax.Array, jax.Array]:
    """Negative log-likelihood in nats, summed over ``rows``, and the number of tokens it is of.

    Every token of a document but its first is predicted from those before it.
    """
    segments = rows.segments
    hidden = decoder.hidden_states(
        config, params, rows.tokens, segments, packing.positions(segments)
    )
    logits = decoder.logits_of(config, params, hidden)
    labels = jnp.concatenate([rows.tokens[:, 1:], jnp.zeros_like(rows.tokens[:, :1])], axis=1)
    following = jnp.concatenate([segments[:, 1:], jnp.zeros_like(segments[:, :1])], axis=1)
    counted = (segments > 0) & (following == segments)
    # A sum over the vocabulary, whose gradient needs no scatter.
    vocabulary = jnp.arange(config.vocab_size, dtype=np.int32)
    is_label = vocabulary[None, None] == labels[..., None]
    chosen = jnp.sum(jnp.where(is_label, logits, 0.0), axis=-1)
    nll = jax.nn.logsumexp(logits, axis=-1) - chosen
    return jnp.sum(jnp.where(counted, nll, 0.0)), jnp.sum(counted, dtype=np.float32)


def train_step(
    config: Config, recipe: Recipe, state: State, batch: Rows, total: jax.Array
) -> State:
    """One step of AdamW.

    Args:
      config: of the decoder.
      recipe: of the training.
      state: before.
      batch: rows ``[B, T]``.
      total: steps of the whole training, may be traced.
    """
    parts = jax.tree.map(lambda x: x.reshape(recipe.accumulation, -1, *x.shape[1:]), batch)

    def gradient(part):
        def loss(params):
            return loss_sum(config, params, part)

        (nll, count), slope = jax.value_and_grad(loss, has_aux=True)(state.params)
        return nll, count, slope

    if recipe.accumulation == 1:
        nll, count, slope = gradient(jax.tree.map(lambda x: x[0], parts))
    else:

        def add(sums, part):
            return jax.tree.map(jnp.add, sums, gradient(part)), None

        zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), state.params)
        (nll, count, slope), _ = jax.lax.scan(add, (jnp.float32(0), jnp.float32(0), zero), parts)
    count = jnp.maximum(count, 1.0)
    slope = jax.tree.map(lambda x: x / count.astype(x.dtype), slope)
    with jax.numpy_dtype_promotion("standard"):  # which optax relies on
        direction, moments = _optimizer(recipe).update(slope, state.moments, state.params)
    rate = learning_rate(recipe, state.step, total)
    params = jax.tree.map(
        lambda p, d: p - (rate * d.astype(np.float32)).astype(p.dtype), state.params, direction
    )
    return State(params, moments, state.step + 1, nll / count)


def evaluate(config: Config, params: Params, rows: Rows, batch_size: int) -> jax.Array:
    """Cross-entropy on rows ``[R, T]``, nats per token.

    Args:
      config: of the decoder.
      params: its parameters.
      rows: packed documents.
      batch_size: rows at a time.
    """
    pad = -rows.tokens.shape[0] % batch_size
    batches = jax.tree.map(
        lambda x: jnp.pad(x, ((0, pad), (0, 0))).reshape(-1, batch_size, x.shape[1]), rows
    )

    def add(sums, batch):
        return jax.tree.map(jnp.add, sums, loss_sum(config, params, batch)), None

    (nll, count), _ = jax.lax.scan(add, (jnp.float32(0), jnp.float32(0)), batches)
    return nll / jnp.maximum(count, 1.0)
