"""Training a decoder on packed rows, a step at a time."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxcollapse import checks
from jaxcollapse.lm.decoder import decoder, lora, packing
from jaxcollapse.lm.decoder.config import Config
from jaxcollapse.lm.decoder.decoder import Params
from jaxcollapse.lm.decoder.loss import cross_entropy
from jaxcollapse.lm.decoder.packing import Rows

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
      loss_chunks: parts of a batch's tokens of which one at a time has logits, to save memory where
        V is large; it divides the tokens of each part that is accumulated.
      lora_rank: R, of adapters that are trained while all other parameters are frozen; None to
        train these.
      lora_alpha: adapters are multiplied by ``lora_alpha / R``.
      lora_targets: names of a block's kernels that have adapters (``qkv``, ``out``, ``up`` or
        ``gate_up``, ``down``); None for all.
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
    loss_chunks: int = 1
    lora_rank: int | None = None
    lora_alpha: float = 16.0
    lora_targets: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuses a recipe that trains nothing."""
        checks.one_of("schedule", self.schedule, ("constant", "linear", "cosine"))
        checks.whole_number("batch_size", self.batch_size)
        checks.whole_number("accumulation", self.accumulation)
        checks.whole_number("epochs", self.epochs)
        checks.whole_number("loss_chunks", self.loss_chunks)
        for name in ("steps", "lora_rank"):
            if getattr(self, name) is not None:
                checks.whole_number(name, getattr(self, name))
        if self.batch_size % self.accumulation:
            raise checks.refusal(
                "accumulation",
                f"a divisor of the batch, {self.batch_size}",
                self.accumulation,
                "change one of them",
            )
        if self.lora_targets is not None and not self.lora_targets:
            raise checks.refusal("lora_targets", "at least one", "none", "name one or leave it out")
        for name in ("learning_rate", "clip", "eps", "lora_alpha"):
            if not 0 < getattr(self, name) < float("inf"):
                raise checks.refusal(name, "a positive number", getattr(self, name), "change it")
        for name in ("warmup", "beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise checks.refusal(name, "from 0 to below 1", getattr(self, name), "change it")
        if not 0 <= self.weight_decay < float("inf"):
            raise checks.refusal("weight_decay", "at least 0", self.weight_decay, "change it")


class State(NamedTuple):
    """A model in training.

    Attributes:
      params: what is trained: the decoder's parameters, or adapters of them.
      moments: of the optimiser.
      step: int32, steps taken.
      loss: float32, of the last step, nats per token.
    """

    params: Params
    moments: Any
    step: jax.Array
    loss: jax.Array


def start(config: Config, recipe: Recipe, params: Params, key: jax.Array | None = None) -> State:
    """The state before the first step.

    Args:
      config: of the decoder.
      recipe: of the training.
      params: of the decoder; with ``lora_rank`` they are not in the state, but frozen.
      key: of fresh adapters, which ``lora_rank`` asks for.
    """
    if recipe.lora_rank is not None:
        if key is None:
            raise checks.refusal("key", "one for the adapters", None, "give one")
        params = lora.init(config, key, recipe.lora_rank, recipe.lora_targets)
    return State(params, _optimizer(recipe).init(params), jnp.int32(0), jnp.float32(0))


def finished(config: Config, recipe: Recipe, state: State, base: Params | None = None) -> Params:
    """The decoder's parameters after training, adapters merged into the frozen ones ``base``."""
    params, adapters = _trained(recipe, state.params, base)
    return params if adapters is None else lora.merged(params, adapters)


def _trained(recipe: Recipe, params: Params, base: Params | None) -> tuple[Params, Params | None]:
    """The decoder's parameters and their scaled adapters, from what is trained and what is not."""
    if (recipe.lora_rank is None) != (base is None):
        expected, got = (
            ("none", "some") if recipe.lora_rank is None else ("those of a decoder", None)
        )
        raise checks.refusal(
            "frozen parameters", f"{expected} with lora_rank={recipe.lora_rank}", got, "change one"
        )
    if recipe.lora_rank is None or base is None:
        return params, None
    return base, lora.scaled(params, recipe.lora_alpha / recipe.lora_rank)


def _optimizer(recipe: Recipe) -> Any:
    """AdamW on clipped gradients, without its learning rate: that depends on a traced number."""

    def decayed(params):
        # Parameters of a layer have a first axis for the layers.
        def is_matrix(path, leaf):
            stacked = path[0].key == "layers"
            return leaf.ndim - stacked >= 2

        return jax.tree_util.tree_map_with_path(is_matrix, params)

    return optax.chain(
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


def loss_sum(
    config: Config,
    params: Params,
    rows: Rows,
    chunks: int = 1,
    adapters: Params | None = None,
    mesh: Mesh | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Negative log-likelihood in nats, summed over ``rows``, and the number of tokens it is of.

    Every token of a document but its first is predicted from those before it; where ``rows`` say
    which are counted, only these.

    Args:
      config: of the decoder.
      params: its parameters.
      rows: packed documents ``[B, T]``.
      chunks: see ``loss.cross_entropy``.
      adapters: of the layers, from ``lora.scaled``.
      mesh: of devices, over which ``rows`` are divided; see ``sharding``.
    """
    segments = rows.segments
    hidden = decoder.hidden_states(
        config, params, rows.tokens, segments, packing.positions(segments), adapters, mesh
    )
    following = _next(segments)
    counted = (segments > 0) & (following == segments)
    if rows.counted is not None:
        counted &= _next(rows.counted)
    nll = cross_entropy(config, params, hidden, _next(rows.tokens), counted, chunks, mesh)
    return nll, jnp.sum(counted, dtype=np.float32)


def _next(x: jax.Array) -> jax.Array:
    """What follows each token of rows ``[B, T]``; 0 or False after the last."""
    return jnp.concatenate([x[:, 1:], jnp.zeros_like(x[:, :1])], axis=1)


def train_step(
    config: Config,
    recipe: Recipe,
    state: State,
    batch: Rows,
    total: jax.Array,
    base: Params | None = None,
    mesh: Mesh | None = None,
) -> State:
    """One step of AdamW.

    Args:
      config: of the decoder.
      recipe: of the training.
      state: before.
      batch: rows ``[B, T]``.
      total: steps of the whole training, may be traced.
      base: the frozen parameters, with ``lora_rank``.
      mesh: of devices that all this is divided among, by ``sharding.shardings``.
    """

    def gradient(part):
        def loss(trained):
            params, adapters = _trained(recipe, trained, base)
            return loss_sum(config, params, part, recipe.loss_chunks, adapters, mesh)

        (nll, count), slope = jax.value_and_grad(loss, has_aux=True)(state.params)
        return nll, count, slope

    if recipe.accumulation == 1:
        nll, count, slope = gradient(batch)
    else:
        # Row i is in part i mod accumulation: a device that has some rows has its share of each.
        split = (-1, recipe.accumulation)
        parts = jax.tree.map(lambda x: x.reshape(*split, *x.shape[1:]).swapaxes(0, 1), batch)

        def add(sums, part):
            return jax.tree.map(jnp.add, sums, gradient(part)), None

        # Of bfloat16 parameters in bfloat16, as PyTorch does: it saves 4 bytes a parameter, and
        # the rounding, some 2**-9 of the sum for each part, is far below the noise of a batch.
        zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), state.params)
        (nll, count, slope), _ = jax.lax.scan(add, (jnp.float32(0), jnp.float32(0), zero), parts)
    count = jnp.maximum(count, 1.0)
    # The sum becomes a clipped mean in one go, so that no second gradient exists.
    squares = [jnp.sum(jnp.square(x.astype(np.float32))) for x in jax.tree.leaves(slope)]
    norm = jnp.sqrt(sum(squares, jnp.float32(0))) / count
    scale = jnp.minimum(1.0, recipe.clip / norm) / count
    slope = jax.tree.map(lambda x: (x.astype(np.float32) * scale).astype(x.dtype), slope)
    with jax.numpy_dtype_promotion("standard"):  # which optax relies on
        direction, moments = _optimizer(recipe).update(slope, state.moments, state.params)
    rate = learning_rate(recipe, state.step, total)

    def move(p, d):
        return (p.astype(np.float32) - rate * d.astype(np.float32)).astype(p.dtype)

    params = jax.tree.map(move, state.params, direction)
    return State(params, moments, state.step + 1, nll / count)


def evaluate(
    config: Config,
    params: Params,
    rows: Rows,
    batch_size: int,
    chunks: int = 1,
    mesh: Mesh | None = None,
) -> jax.Array:
    """Cross-entropy on rows ``[R, T]``, nats per token.

    Args:
      config: of the decoder.
      params: its parameters.
      rows: packed documents.
      batch_size: rows at a time.
      chunks: see ``loss.cross_entropy``.
      mesh: of devices, as in training.
    """
    pad = -rows.tokens.shape[0] % batch_size
    batches = jax.tree.map(
        lambda x: jnp.pad(x, ((0, pad), (0, 0))).reshape(-1, batch_size, x.shape[1]), rows
    )

    def add(sums, batch):
        nll = loss_sum(config, params, batch, chunks, mesh=mesh)
        return jax.tree.map(jnp.add, sums, nll), None

    (nll, count), _ = jax.lax.scan(add, (jnp.float32(0), jnp.float32(0)), batches)
    return nll / jnp.maximum(count, 1.0)
