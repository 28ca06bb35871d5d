"""One decoder for all architectures, by configuration, as pure functions of parameters.

Shape letters: B batch, T tokens, L layers, E width, H heads, K key and value heads, D width of a
head, F width of the feed-forward layer, V vocabulary, C longest context.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcollapse import checks, draws
from jaxcollapse.lm.decoder import attention, rotary
from jaxcollapse.lm.decoder.config import Config

nn: Any = checks.require("flax.linen", "lm")

Params = Mapping[str, Any]
# As many layers as are written out, not looped over. A loop copies what the backward pass needs of
# each layer: on an H100 twelve layers take 90 ms a step in a loop and 51 written out, and compile
# as fast. On a CPU only a few gain, and a tenth.
UNROLLED = {"cpu": 2, "gpu": 32}


# Parameters ---------------------------------------------------------------------------------


def init(config: Config, key: jax.Array) -> Params:
    """Fresh parameters: normal with standard deviation 0.02, of residual outputs 0.02/sqrt(2L).

    Returns:
      ``embed``: ``tokens`` ``[V, E]`` and, where positions are learned, ``positions`` ``[C, E]``;
      ``layers``: those of a block, each with a first axis L; ``final_norm``; ``head`` ``[E, V]``
      unless tied. Radford et al. 2019 (GPT-2), section 2.3.
    """
    embed_key, position_key, head_key, layers_key = jax.random.split(key, 4)
    dtype = jnp.dtype(config.param_dtype)
    x = jnp.zeros((1, 1, config.width), config.dtype)
    position = jnp.zeros((1, 1), np.int32)

    def block(key):
        attend = attention.over_segments(config, position, np.int32(1))
        return Block(config).init(key, x, rotary.rotation(config, position), attend)["params"]

    params: dict[str, Any] = {
        "embed": {"tokens": _normal(embed_key, (config.vocab_size, config.width), dtype)},
        "layers": jax.vmap(block)(jax.random.split(layers_key, config.layers)),
        "final_norm": Norm(config).init(head_key, x)["params"],
    }
    if config.rope_base is None:
        shape = (config.context, config.width)
        params["embed"]["positions"] = _normal(position_key, shape, dtype)
    if not config.tied:
        params["head"] = _normal(head_key, (config.width, config.vocab_size), dtype)
    return params


def _normal(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    return (0.02 * jax.random.normal(key, shape)).astype(dtype)


def abstract_params(config: Config) -> Params:
    """Shapes and types of what ``init`` gives; nothing is allocated."""
    return jax.eval_shape(partial(init, config), jax.eval_shape(jax.random.key, 0))


def num_parameters(config: Config) -> int:
    """How many numbers the parameters are; nothing is allocated."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(abstract_params(config)))


# Layers -------------------------------------------------------------------------------------


class Norm(nn.Module):
    """``(x - mean) / sqrt(var + eps) * scale + bias``, or ``x / sqrt(mean x^2 + eps) * scale``.

    Computed in float32. Ba et al. 2016; Zhang & Sennrich 2019.
    """

    config: Config

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """``[..., E]`` to the same."""
        config = self.config
        full = x.astype(np.float32)
        if config.norm == "layer":
            full = full - full.mean(axis=-1, keepdims=True)
        mean_square = jnp.mean(full * full, axis=-1, keepdims=True)
        full = full * jax.lax.rsqrt(mean_square + config.norm_eps)
        # rms+1 keeps the difference from 1, so that weight decay pulls towards 1.
        start = nn.initializers.zeros if config.norm == "rms+1" else nn.initializers.ones
        dtype = jnp.dtype(config.param_dtype)
        scale = self.param("scale", start, (config.width,), dtype).astype(np.float32)
        full = full * _like(scale + 1.0 if config.norm == "rms+1" else scale, full)
        if config.norm == "layer":
            bias = self.param("bias", nn.initializers.zeros, (config.width,), dtype)
            full = full + _like(bias.astype(np.float32), full)
        return full.astype(config.dtype)


def _like(vector: jax.Array, x: jax.Array) -> jax.Array:
    """A vector of features with as many axes as ``x``."""
    return vector.reshape((1,) * (x.ndim - 1) + vector.shape)


class Block(nn.Module):
    """Attention and a feed-forward layer, each added to what came in."""

    config: Config

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        rotation: rotary.Rotation | None,
        attend: attention.Attend,
        adapters: Params | None = None,
    ) -> jax.Array:
        """A layer.

        Args:
          x: ``[B, T, E]``.
          rotation: of rotary positions; None where positions are learned.
          attend: ``attend(queries [B, H, T, D], keys [B, K, T, D], values [B, K, T, D])``, which
            gives ``[B, H, T, D]``.
          adapters: of some of the projections, by name: ``a`` ``[I, R]`` and ``b`` ``[R, O]``, for
            ``x (W + a b)`` instead of ``x W``.

        Returns:
          ``[B, T, E]``.
        """
        config = self.config
        heads, kv_heads, dim = config.heads, config.kv_heads, config.head_dim

        def project(x, name, features, residual=False):
            spread = 0.02 / math.sqrt(2 * config.layers) if residual else 0.02
            adapter = (adapters or {}).get(name)
            return nn.Dense(
                features,
                use_bias=config.bias in (True, name),
                dtype=jnp.dtype(config.dtype),
                param_dtype=jnp.dtype(config.param_dtype),
                precision=config.precision,
                kernel_init=nn.initializers.normal(spread),
                dot_general=jax.lax.dot_general if adapter is None else partial(_adapted, adapter),
                name=name,
            )(x)

        def norm(name):
            return Norm(config, name=name)

        # Rows of tokens: XLA's gradient of a product with an array of three axes transposes the
        # larger factor, and takes three times as long on a CPU.
        batch, length, width = x.shape
        x = x.reshape(batch * length, width)
        hidden = norm("attention_norm")(x)
        # One product for queries, keys and values, in this order, and one transposition.
        joined = project(hidden, "qkv", (heads + 2 * kv_heads) * dim)
        joined = joined.reshape(batch, length, heads + 2 * kv_heads, dim).transpose(0, 2, 1, 3)
        qk, v = jnp.split(joined, (heads + kv_heads,), axis=1)
        if rotation is not None:
            qk = rotary.rotate(qk, rotation)
        q, k = jnp.split(qk, (heads,), axis=1)
        mixed = attend(q, k, v).transpose(0, 2, 1, 3).reshape(batch * length, heads * dim)
        mixed = project(mixed, "out", config.width, True)
        x = x + (norm("attention_post_norm")(mixed) if config.post_norms else mixed)

        hidden = norm("mlp_norm")(x)
        if config.mlp == "gelu":
            hidden = nn.gelu(project(hidden, "up", config.mlp_width), approximate=True)
        else:
            # The gate, then what it gates, in one product.
            gate, up = jnp.split(project(hidden, "gate_up", 2 * config.mlp_width), 2, axis=-1)
            hidden = (nn.silu(gate) if config.mlp == "swiglu" else nn.gelu(gate)) * up
        hidden = project(hidden, "down", config.width, True)
        x = x + (norm("mlp_post_norm")(hidden) if config.post_norms else hidden)
        return x.reshape(batch, length, width)


def _adapted(
    adapter: Params, x: jax.Array, kernel: jax.Array, *how: Any, precision: str, **named: Any
) -> jax.Array:
    """``x W + (x a) b``, added before it is rounded.

    In bfloat16 a small a b would be lost in W + a b, which is also the larger product.
    """
    matmul = partial(jnp.matmul, precision=precision)
    dot = partial(matmul, preferred_element_type=np.float32)
    a, b = adapter["a"].astype(x.dtype), adapter["b"].astype(x.dtype)
    return (dot(x, kernel) + dot(matmul(x, a), b)).astype(x.dtype)


# Apply --------------------------------------------------------------------------------------


def hidden_states(
    config: Config,
    params: Params,
    tokens: jax.Array,
    segments: jax.Array | None = None,
    positions: jax.Array | None = None,
    adapters: Params | None = None,
    mesh: Mesh | None = None,
) -> jax.Array:
    """What the output layer sees, ``[B, T, E]``; see ``apply`` for the arguments."""
    if segments is None:
        segments = jnp.ones_like(tokens)
    if positions is None:
        positions = jnp.broadcast_to(jnp.arange(tokens.shape[1], dtype=np.int32), tokens.shape)
    x = over_rows(_embed(config, params, tokens, positions), mesh)
    turn = rotary.rotation(config, positions)

    def layer(x, scanned):
        block, adapters, window = scanned
        attend = attention.over_segments(config, segments, window)
        x = Block(config).apply({"params": block}, x, turn, attend, adapters)
        return over_rows(x, mesh), None

    if config.remat:
        layer = jax.checkpoint(layer)
    # With ``remat`` a loop has little to copy, and keeps the layers from being alive at once.
    most = UNROLLED["cpu"] if config.remat else UNROLLED.get(jax.default_backend(), 2)
    unroll = config.layers if config.layers <= most else 1
    scanned = params["layers"], adapters and adapters["layers"], config.windows
    x, _ = jax.lax.scan(layer, draws.varying_as(x, scanned), scanned, unroll=unroll)
    return Norm(config).apply({"params": params["final_norm"]}, x)


def over_rows(x: jax.Array, mesh: Mesh | None) -> jax.Array:
    """Activations ``[B, ...]`` divided by rows among the devices of ``sharding.make_mesh``.

    XLA would rather divide them by features, as it finds the weights: then every device would
    have all rows, and add up all products with the others.
    """
    if mesh is None:
        return x
    return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, PartitionSpec("data")))


def logits_of(config: Config, params: Params, hidden: jax.Array) -> jax.Array:
    """Logits ``[..., V]`` in float32 from hidden states ``[..., E]``."""
    # Embeddings are not transposed: where logits are made in chunks, that would be a copy.
    head, axis = (params["embed"]["tokens"], 1) if config.tied else (params["head"], 0)
    logits = jax.lax.dot_general(
        hidden.reshape(-1, config.width),
        head.astype(hidden.dtype),
        (((1,), (axis,)), ((), ())),
        config.precision,
        np.float32,
    )
    logits = logits.reshape(*hidden.shape[:-1], config.vocab_size)
    return attention.softcap(logits, config.final_softcap)


def apply(
    config: Config,
    params: Params,
    tokens: jax.Array,
    segments: jax.Array | None = None,
    positions: jax.Array | None = None,
    adapters: Params | None = None,
) -> jax.Array:
    """Logits of the token after each of ``tokens``, float32 ``[B, T, V]``.

    They are to be compared: products of float32 are float32 here, whatever the decoder's precision.

    Args:
      config: of the decoder.
      params: from ``init`` or a checkpoint.
      tokens: int32 ``[B, T]``.
      segments: int32 ``[B, T]``: tokens attend only within their own; one segment by default.
      positions: int32 ``[B, T]``, from 0 in each document; 0 to T - 1 by default.
      adapters: of the layers, from ``lora.scaled``; none by default.
    """
    config = config.for_measuring
    hidden = hidden_states(config, params, tokens, segments, positions, adapters)
    return logits_of(config, params, hidden)


def _embed(config: Config, params: Params, tokens: jax.Array, positions: jax.Array) -> jax.Array:
    x = params["embed"]["tokens"][tokens].astype(config.dtype)
    if config.rope_base is None:
        x = x + params["embed"]["positions"][positions].astype(config.dtype)
    if config.scale_embeddings:
        # The factor is rounded to the activations' precision, as Gemma's own code does.
        x = x * jnp.asarray(config.width**0.5, config.dtype)
    return x


# Decode -------------------------------------------------------------------------------------


class Cache(NamedTuple):
    """Keys and values of the last R tokens of each of B sequences, as a ring.

    All sequences write at the same place, ``step mod R``, wherever each is in its own document,
    so that a write is one contiguous update. Rotary positions are in the keys already; learned
    ones in the values: the order of a ring's entries does not matter.

    Attributes:
      keys: ``[B, K, R, D]`` for each layer, a tuple of L arrays.
      values: likewise, arrays of their own.
      step: int32, tokens written so far.
    """

    keys: tuple[jax.Array, ...]
    values: tuple[jax.Array, ...]
    step: jax.Array


def empty_cache(config: Config, batch: int, ring: int) -> Cache:
    """A cache for B sequences of at most ``ring`` tokens R."""
    shape = (batch, config.kv_heads, ring, config.head_dim)

    def empty():
        return tuple(jnp.zeros(shape, config.dtype) for _ in range(config.layers))

    return Cache(empty(), empty(), jnp.int32(0))


def decode(
    config: Config, params: Params, cache: Cache, tokens: jax.Array, positions: jax.Array
) -> tuple[jax.Array, Cache]:
    """Logits ``[B, V]`` of the next token of each sequence, and the cache with these tokens.

    Args:
      config: of the decoder.
      params: from ``init`` or a checkpoint.
      cache: of what came before.
      tokens: int32 ``[B]``.
      positions: int32 ``[B]``, of each in its document: 0 begins one, and forgets what was before.
    """
    x = _embed(config, params, tokens, positions)[:, None]
    turn = rotary.rotation(config, positions[:, None])
    ring = cache.keys[0].shape[2]
    place = cache.step % ring
    age = (place - jnp.arange(ring, dtype=np.int32)) % ring  # steps since an entry was written
    own = age[None] <= positions[:, None]
    keys, values = list(cache.keys), list(cache.values)

    def write(entries, new):
        zero = jnp.int32(0)
        return jax.lax.dynamic_update_slice(entries, new, (zero, zero, place, zero))

    for index in range(config.layers):
        block = jax.tree.map(lambda leaf, index=index: leaf[index], params["layers"])
        allowed = (own & (age[None] < config.windows[index]))[:, None]

        def attend(q, k, v, index=index, allowed=allowed):
            keys[index], values[index] = write(keys[index], k), write(values[index], v)
            return attention.attend(config, q, keys[index], values[index], allowed)

        x = Block(config).apply({"params": block}, x, turn, attend)
    hidden = Norm(config).apply({"params": params["final_norm"]}, x)[:, 0]
    return logits_of(config, params, hidden), Cache(tuple(keys), tuple(values), cache.step + 1)
