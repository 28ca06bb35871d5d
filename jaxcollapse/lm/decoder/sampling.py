"""Documents from a decoder, one token after another, with cached keys and values.

Each of a fixed number of slots writes one document after another: when one ends, its slot begins
the next, so that no slot waits for the longest. The chance of a token depends on the key, the
number of its document and its position alone, not on which slot wrote it or beside whom.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws
from jaxcollapse.lm.decoder import decoder
from jaxcollapse.lm.decoder.config import Config
from jaxcollapse.lm.decoder.decoder import Params
from jaxcollapse.parameters import Option, record

BLOCK = 128  # tokens of the vocabulary that the second draw chooses among
STEPS = 32  # between two looks at whether all documents are written


class Settings(NamedTuple):
    """How a token is chosen.

    Attributes:
      temperature: Logits are divided by the temperature; at 0 the likeliest token is taken.
      top_k: The token is one of the k likeliest; where no number is given, one of all.
      top_p: The token is one of the likeliest that hold this probability together; where none is
        given, one of all.
    """

    temperature: Annotated[float, Option(least=0)] = 1.0
    top_k: Annotated[int | None, Option(least=1)] = None
    top_p: Annotated[float | None, Option(above=0)] = None


DEFAULTS = Settings()


def check_settings(settings: Settings, vocab_size: int) -> Settings:
    """Returns the settings, or raises ``ValueError`` for those that choose nothing."""
    settings = record(Settings, settings._asdict())
    _, top_k, top_p = settings
    if top_k is not None and top_k > vocab_size:
        raise checks.refusal("top_k", f"at most the vocabulary, {vocab_size}", top_k, "lower it")
    if top_p is not None and top_p > 1:
        raise checks.refusal("top_p", "above 0 and at most 1", top_p, "try 0.9")
    return settings


def choose(keys: jax.Array, logits: jax.Array, settings: Settings = DEFAULTS) -> jax.Array:
    """A token of each row, int32 ``[B]``, by inversion of the cumulative distribution.

    Two uniforms a row: one chooses a block of 128 tokens, the other a token in it. Both are
    multiples of 2**-23, so that the probability of a block is right to within 1.2e-7, and that of
    a token to within 1.2e-7 of its block's: one far rarer than that may never come.

    Args:
      keys: typed keys ``[B]``.
      logits: float32 ``[B, V]``.
      settings: temperature and what is left out.
    """
    temperature, top_k, top_p = settings
    rows, vocab = logits.shape
    greedy = jnp.argmax(logits, axis=-1).astype(np.int32)
    if isinstance(temperature, int | float) and temperature == 0:
        return greedy
    safe = jnp.where(jnp.asarray(temperature) > 0, temperature, 1.0).astype(np.float32)
    # Less the highest first: a small temperature would overflow it.
    logits = (logits - jnp.max(logits, axis=-1, keepdims=True)) / safe
    if top_k is not None:
        least = jax.lax.top_k(logits, top_k)[0][:, -1:]
        logits = jnp.where(logits >= least, logits, -np.inf)
    weights = jax.nn.softmax(logits, axis=-1)
    if top_p is not None and top_p < 1:
        falling = jnp.flip(jnp.sort(weights, axis=-1), axis=-1)
        before = jnp.cumsum(falling, axis=-1) - falling
        least = jnp.min(jnp.where(before < top_p, falling, 1.0), axis=-1, keepdims=True)
        weights = jnp.where(weights >= least, weights, 0.0)
    u = jax.vmap(lambda key: draws.uniform(key, (2,)))(keys).astype(weights.dtype)
    weights = jnp.pad(weights, ((0, 0), (0, -vocab % BLOCK))).reshape(rows, -1, BLOCK)
    block = _first_above(weights.sum(axis=-1), u[:, 0])
    inside = jnp.take_along_axis(weights, block[:, None, None], axis=1)[:, 0]
    token = block * BLOCK + _first_above(inside, u[:, 1])
    return jnp.where(jnp.asarray(temperature) > 0, token, greedy)


def _first_above(weights: jax.Array, u: jax.Array) -> jax.Array:
    """The first entry of each row ``[B, K]`` whose cumulative sum passes ``u`` times the total."""
    cumulative = jnp.cumsum(weights, axis=-1)
    passed = (cumulative > (u * cumulative[:, -1])[:, None]) & (weights > 0)
    return jnp.argmax(passed, axis=-1).astype(np.int32)


class State(NamedTuple):
    """Documents that are being written.

    Attributes:
      cache: of the slots.
      token: int32 ``[B]``, the last token of each slot.
      position: int32 ``[B]``, its place in its document.
      document: int32 ``[B]``, which one; N or more for a slot that has nothing to do.
      following: int32, the next document that no slot has begun.
      tokens: int32 ``[N, T]``, what has been written; 0 after the end of a document.
      lengths: int32 ``[N]``, of finished documents; 0 for others.
      first: int32, what documents are numbered from: another number has other chances.
    """

    cache: decoder.Cache
    token: jax.Array
    position: jax.Array
    document: jax.Array
    following: jax.Array
    tokens: jax.Array
    lengths: jax.Array
    first: jax.Array


class Sampler(NamedTuple):
    """Functions that write N documents.

    Attributes:
      start: ``start(first=0) -> State``, of documents ``first`` to ``first + N - 1``.
      advance: ``advance(params, key, state) -> State``, some steps further.
      unfinished: ``unfinished(state) -> bool``.
    """

    start: Callable[..., State]
    advance: Callable[[Params, jax.Array, State], State]
    unfinished: Callable[[State], jax.Array]

    def documents(self, params: Params, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """All of them: tokens ``[N, T]`` and lengths ``[N]``."""
        first = draws.varying_as(self.start(), (params, key))
        end = jax.lax.while_loop(
            self.unfinished, lambda state: self.advance(params, key, state), first
        )
        return end.tokens, end.lengths


def sampler(
    config: Config,
    num_documents: int,
    length: int,
    prompt: Sequence[int],
    ends: Sequence[int],
    slots: int = 64,
    settings: Settings = DEFAULTS,
    known: int | None = None,
) -> Sampler:
    """A sampler of N documents, each from the prompt to an end of sequence or to ``length``.

    Args:
      config: of the decoder.
      num_documents: N.
      length: T, at most the decoder's context.
      prompt: the tokens that each document begins with, at least one and fewer than T.
      ends: tokens of which any ends a document, and is its last.
      slots: B, documents written at a time.
      settings: how tokens are chosen.
      known: how many tokens there are, where embeddings have more rows, for rounder sizes: those
        beyond are never chosen.

    Raises:
      ValueError: a size that is none, or a prompt that leaves no room.
    """
    num_documents = checks.whole_number("num_documents", num_documents)
    slots = min(checks.whole_number("slots", slots), num_documents)
    known = config.vocab_size if known is None else known
    check_settings(settings, known)
    tokens_known = np.arange(config.vocab_size) < known
    if not 1 <= length <= config.context:
        raise checks.refusal(
            "length of a document", f"from 1 to the context, {config.context}", length, "change it"
        )
    if not 1 <= len(prompt) < length:
        raise checks.refusal(
            "prompt",
            f"from 1 to {length - 1} tokens",
            len(prompt),
            "shorten it or raise the length",
        )
    if not len(ends):
        raise checks.refusal("ends", "one token or more", "none", "give the end of sequence")
    prompt_row = np.zeros(length, np.int32)
    prompt_row[: len(prompt)] = prompt

    def start(first: Any = 0) -> State:
        index = jnp.arange(slots, dtype=np.int32)
        tokens = jnp.zeros((num_documents, length), np.int32).at[:, 0].set(prompt[0])
        return State(
            cache=decoder.empty_cache(config, slots, length),
            token=jnp.full((slots,), prompt[0], np.int32),
            position=jnp.zeros((slots,), np.int32),
            document=index,
            following=jnp.int32(slots),
            tokens=tokens,
            lengths=jnp.zeros((num_documents,), np.int32),
            first=jnp.asarray(first, np.int32),
        )

    def step(params, key, first, carry):
        cache, token, position, document, following = carry
        logits, cache = decoder.decode(config, params, cache, token, position)
        fold = jax.vmap(draws.fold_in)
        keys = fold(draws.fold_in(key, first + document), position)
        if known < config.vocab_size:
            logits = jnp.where(tokens_known[None], logits, -np.inf)
        chosen = choose(keys, logits, settings)
        position = position + 1
        if len(prompt) > 1:
            chosen = jnp.where(position < len(prompt), jnp.asarray(prompt_row)[position], chosen)
        is_end = functools.reduce(jnp.logical_or, [chosen == token for token in ends])
        ended = is_end & (position >= len(prompt))
        ended = (ended | (position == length - 1)) & (document < num_documents)
        written = (document, position, chosen, ended)
        # Slots that have ended take the next documents, in order.
        fresh = following + jnp.cumsum(ended.astype(np.int32)) - 1
        idle = document >= num_documents
        carry = (
            cache,
            jnp.where(ended | idle, prompt[0], chosen).astype(np.int32),
            jnp.where(ended | idle, 0, position),
            jnp.where(ended, fresh, document),
            following + jnp.sum(ended, dtype=np.int32),
        )
        return carry, written

    def advance(params: Params, key: jax.Array, state: State) -> State:
        carry, (document, position, chosen, ended) = jax.lax.scan(
            lambda carry, _: step(params, key, state.first, carry), state[:5], None, length=STEPS
        )
        # What idle slots wrote has no row, and is dropped.
        tokens = state.tokens.at[document, position].set(chosen, mode="drop")
        finished = jnp.where(ended, document, num_documents)
        lengths = state.lengths.at[finished].set(position + 1, mode="drop")
        return State(*carry, tokens, lengths, state.first)

    def unfinished(state: State) -> jax.Array:
        return jnp.any(state.document < num_documents)

    return Sampler(start, advance, unfinished)


def generate(
    config: Config,
    params: Params,
    key: jax.Array,
    prompt: Sequence[int],
    ends: Sequence[int],
    max_tokens: int,
    settings: Settings = DEFAULTS,
    num_documents: int = 1,
    known: int | None = None,
) -> list[np.ndarray]:
    """Continuations of a prompt, for a person: N arrays of tokens, prompt included.

    Args:
      config: of the decoder.
      params: its parameters.
      key: a typed key.
      prompt: tokens, from the beginning of sequence.
      ends: tokens of which any ends a continuation.
      max_tokens: tokens after the prompt, at most.
      settings: how tokens are chosen.
      num_documents: N.
      known: as for ``sampler``.

    Raises:
      ValueError: prompt and continuation do not fit in the context.
    """
    max_tokens = checks.whole_number("max_tokens", max_tokens)
    length = len(prompt) + max_tokens
    if length > config.context:
        raise checks.refusal(
            "prompt and max_tokens",
            f"at most {config.context} tokens together, the model's context",
            f"{len(prompt)} + {max_tokens}",
            "shorten the prompt or lower max_tokens",
        )
    write = sampler(config, num_documents, length, prompt, ends, settings=settings, known=known)
    run: Any = jax.jit(write.documents)
    tokens, lengths = jax.device_get(run(params, key))
    return [row[:n] for row, n in zip(tokens, lengths, strict=True)]
