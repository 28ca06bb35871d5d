"""Seeds are names: the keys of a seed, of its generations, and of what each of them does.

A generation draws from keys that are folded from the chain's key with numbers of its own, so it
does not depend on how many generations follow. Keys are of Threefry, whatever generator JAX is told
to use by default: what others (``rbg``, ``unsafe_rbg``) draw depends on how they are batched.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws

GENERATOR = "threefry2x32"


def seed_keys(seeds: Iterable[int]) -> jax.Array:
    """Keys ``[S]`` for seeds; seed 17 is ``jax.random.key(17)`` of Threefry wherever it runs.

    Args:
      seeds: whole numbers from 0 to 2**32 - 1, for instance ``range(100)``.

    Raises:
      ValueError: a seed is not such a number.
    """
    return keys_of(whole_seeds(seeds))


def whole_seeds(seeds: Iterable[int]) -> np.ndarray:
    """Seeds as uint32 ``[S]``; raises ``ValueError`` as ``seed_keys`` does."""
    if not checks.is_several(seeds):
        raise checks.refusal("seeds", "whole numbers", repr(seeds), "use range for that many")
    checks.not_too_many("seeds", seeds)
    numbers = [checks.whole_number("seed", seed, 0, 2**32 - 1) for seed in seeds]
    return np.asarray(numbers, np.uint32)


def keys_of(seeds: jax.Array | np.ndarray) -> jax.Array:
    """``seed_keys`` for uint32 seeds ``[S]`` that may be traced."""
    return jax.vmap(seed_key)(seeds)


def seed_key(seed: Any) -> jax.Array:
    """``seed_keys`` for one seed, which may be traced."""
    return jax.random.key(seed, impl=GENERATOR)


def generation_keys(key: jax.Array, num_generations: int, first: Any = 0) -> jax.Array:
    """Keys ``[G + 1, 3]`` of a chain: a generation's for its sample, its fit, its choice of data.

    Row 0 is that of generation ``first``; of generation 0, the real data, only the first is used.
    """
    numbers = jnp.arange(3 * (num_generations + 1), dtype=jnp.uint32).reshape(-1, 3)
    return draws.fold_in(key, numbers + 3 * jnp.asarray(first).astype(jnp.uint32))


# Keys of a generation beside those three are numbered from here on, a few apart for each.
_BESIDE, _FRESH_REAL, _EVALUATION, _ORDER, _PURPOSES = 2**31, 0, 1, 2, 4


def real_keys(key: jax.Array, generations: jax.Array) -> jax.Array:
    """The keys of the fresh real data of some generations ``[n]``."""
    return _keys_beside(key, generations, _FRESH_REAL)


def evaluation_keys(key: jax.Array, generations: jax.Array) -> jax.Array:
    """The keys of the evaluation of some generations ``[n]``."""
    return _keys_beside(key, generations, _EVALUATION)


def order_keys(key: jax.Array, generations: jax.Array, fresh: bool) -> jax.Array:
    """The keys of the order of the real rows that some generations ``[n]`` see a part of.

    Rows that stay are in one order for ever, and ``fresh`` ones in another each time; the real
    batch of generation 1 is the first.
    """
    renewed = generations if fresh else jnp.zeros_like(generations)
    return _keys_beside(key, jnp.where(generations > 1, renewed, 0), _ORDER)


def _keys_beside(key: jax.Array, generations: jax.Array, purpose: int) -> jax.Array:
    numbers = generations.astype(jnp.uint32) * _PURPOSES + np.uint32(_BESIDE + purpose)
    return draws.fold_in(key, numbers)


def typed_key(key: Any) -> jax.Array:
    """A typed key, also from the two words of an old one.

    Raises:
      ValueError: it is no key, several, or one whose draws depend on how they are batched.
    """
    if isinstance(key, jax.Array) and key.dtype == jnp.uint32 and key.shape == (2,):
        return jax.random.wrap_key_data(key, impl=GENERATOR)
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        if key.ndim:
            got = f"keys of shape {list(key.shape)}"
            raise checks.refusal("key of a chain", "one key", got, "use jax.vmap(chain)")
        generator = str(jax.random.key_impl(key))
        if "fry" not in generator:
            raise checks.refusal(
                "key of a chain",
                "one of Threefry, under which a seed is the same chain alone and among others",
                f"one of {generator}",
                f"use jaxcollapse.seed_keys or jax.random.key(seed, impl='{GENERATOR}')",
            )
        return key
    raise checks.refusal(
        "key of a chain",
        "a key of JAX's",
        f"{key!r} of type {type(key).__name__}",
        f"use jax.random.key({key})" if isinstance(key, int) else "use jax.random.key(seed)",
    )
