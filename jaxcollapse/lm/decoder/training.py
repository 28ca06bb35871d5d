"""Training a decoder on packed rows, a step at a time."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxcollapse import checks, draws
from jaxcollapse.lm.decoder import decoder, lora, packing
from jaxcollapse.lm.decoder.config import Config
from jaxcollapse.lm.decoder.decoder import Params
from jaxcollapse.lm.decoder.loss import cross_entropy
from jaxcollapse.lm.decoder.packing import Rows
from jaxcollapse.parameters import Option, parameters_of

optax = checks.require("optax", "lm")


OF_MODEL = "that of the model"  # a default, see ``architectures.recipe`` and ``fine_tuning_recipe``


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a decoder is trained: AdamW (Loshchilov & Hutter 2019) on batches of packed rows.

    Attributes:
      learning_rate: The learning rate is this at its highest.
      schedule: After the warm-up the learning rate stays (constant), falls to 0 in a line (linear),
        or falls to a tenth in a cosine.
      warmup: The learning rate rises from 0 in this share of the steps.
      batch_size: B, the number of rows in a step of training; a row has as many tokens as the
        context.
      accumulation: The gradient of a batch is summed over this many parts, to save memory; the
        number divides the batch size.
      epochs: The number of passes over the data.
      steps: The number of steps of training, in place of passes over the data.
      matched_compute: Every generation is trained for as many steps as N real documents need,
        however much has accumulated; a control.
      weight_decay: The decay of weights: of matrices, not of norms and biases.
      clip: The largest norm of a gradient; a larger gradient is scaled down to it.
      beta1: The decay of AdamW's mean gradient.
      beta2: The decay of AdamW's mean squared gradient.
      eps: The number that AdamW adds to the root of the mean squared gradient.
      loss_chunks: The number of parts of a batch of which one at a time has logits, to save memory
        where the vocabulary is large; it divides the tokens that are trained on at once.
      lora_rank: R, the rank of adapters, which are trained while all other parameters are frozen;
        where no rank is given, these are trained.
      lora_alpha: Adapters are multiplied by alpha over their rank.
      lora_targets: The kernels of a block that have adapters, of qkv, out, down, and up or gate_up;
        where none is named, all have.

    Raises:
      ValueError: a field is out of its range, so that nothing would be trained.
    """

    learning_rate: Annotated[float, Option(above=0, by_default=OF_MODEL)] = 1e-3
    schedule: Annotated[
        Literal["constant", "linear", "cosine"],
        Option(by_default="cosine, in fine-tuning constant"),
    ] = "cosine"
    warmup: Annotated[float, Option(least=0, below=1)] = 0.05
    batch_size: Annotated[int, Option(least=1, by_default=OF_MODEL)] = 16
    accumulation: Annotated[int, Option(least=1, by_default=OF_MODEL)] = 1
    epochs: Annotated[int, Option(least=1, by_default=OF_MODEL)] = 1
    steps: Annotated[int | None, Option(least=1)] = None
    matched_compute: bool = False
    weight_decay: Annotated[float, Option(least=0, by_default="0.1, in fine-tuning 0")] = 0.1
    clip: Annotated[float, Option(above=0)] = 1.0
    beta1: Annotated[float, Option(least=0, below=1)] = 0.9
    beta2: Annotated[float, Option(least=0, below=1, by_default=OF_MODEL)] = 0.95
    eps: Annotated[float, Option(above=0)] = 1e-8
    loss_chunks: Annotated[
        int, Option(least=1, by_default="1, or 16 where the vocabulary is large")
    ] = 1
    lora_rank: Annotated[int | None, Option(least=1)] = None
    lora_alpha: Annotated[float, Option(above=0)] = 16.0
    lora_targets: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuses a recipe that trains nothing."""
        for name, parameter in parameters_of(Recipe).items():
            object.__setattr__(self, name, parameter.checked(getattr(self, name)))
        if self.batch_size % self.accumulation:
            raise checks.refusal(
                "accumulation",
                f"a divisor of the batch, {self.batch_size}",
                self.accumulation,
                "change one of them",
            )
        if self.lora_targets is not None and not self.lora_targets:
            raise checks.refusal("lora_targets", "at least one", "none", "name one or leave it out")


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
    which are in the loss, only these.

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
    in_loss = (segments > 0) & (following == segments)
    if rows.in_loss is not None:
        in_loss &= _next(rows.in_loss)
    nll = cross_entropy(config, params, hidden, _next(rows.tokens), in_loss, chunks, mesh)
    return nll, jnp.sum(in_loss, dtype=np.float32)


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
        nothing = draws.varying_as((jnp.float32(0), jnp.float32(0), zero), (state, parts))
        (nll, count, slope), _ = jax.lax.scan(add, nothing, parts)
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

    Products of float32 are float32 here, whatever the precision of training.

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
        nll = loss_sum(config.for_measuring, params, batch, chunks, mesh=mesh)
        return jax.tree.map(jnp.add, sums, nll), None

    nothing = draws.varying_as((jnp.float32(0), jnp.float32(0)), (params, batches))
    (nll, count), _ = jax.lax.scan(add, nothing, batches)
    return nll / jnp.maximum(count, 1.0)
