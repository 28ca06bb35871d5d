"""Random draws that a chain needs and ``jax.random`` makes slowly on a CPU.

Every function is a function of a typed key alone, so a chain's history does not depend on how
chains are batched. ``fold_in`` and ``normal`` give what ``jax.random`` gives bit for bit;
``chi_square`` is a rejection sampler, exact in law.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def float_dtype() -> np.dtype:
    """float32, or float64 once the user has enabled ``jax_enable_x64``."""
    return jnp.result_type(float)


def varying_as(tree: Any, example: Any) -> Any:
    """The arrays of a tree, said to differ between devices where those of ``example`` do.

    ``jax.shard_map`` follows which values differ between devices, and a loop must begin with what
    it goes on with. Elsewhere nothing is changed.
    """
    axes = frozenset().union(*(_varying(x) for x in jax.tree.leaves(example)))
    if not axes:
        return tree

    def vary(x):
        missing = tuple(axes - _varying(x))
        if not missing:
            return x
        if hasattr(jax.lax, "pcast"):
            return jax.lax.pcast(x, missing, to="varying")
        return getattr(jax.lax, "pvary")(x, missing)  # noqa: B009, of older versions

    return jax.tree.map(vary, tree)


def _varying(x: Any) -> frozenset:
    """The axes of a mesh along which an array differs, as the versions of JAX tell it."""
    kind = jax.typeof(x)
    manual = getattr(kind, "manual_axis_type", None)
    return frozenset(getattr(kind, "vma", None) or getattr(manual, "varying", None) or ())


@jax.jit
def _threefry2x32(key: jax.Array, high: jax.Array, low: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Threefry-2x32 with 20 rounds (Salmon et al. 2011), unrolled.

    ``jax.random`` lowers the same function to a rolled loop on a CPU, which saves code and costs
    a pass over memory for every four rounds; unrolled it fuses into one pass: nine times the bits
    a second, and an eighth of the compile time.

    Args:
      key: uint32 ``[2]``, the data of a key.
      high: uint32, the counter's high words.
      low: uint32 of the same shape, its low words.
    """
    # lax, not jnp: a hundred operations are traced each time, and jnp's promotion trebles that.
    first, second = (jax.lax.broadcast(word, low.shape) for word in (key[0], key[1]))
    third = first ^ second ^ jnp.uint32(0x1BD11BDA)
    schedule = (first, second, third)
    shift = {r: jax.lax.full(low.shape, r, jnp.uint32) for r in range(3, 30)}
    x, y = jax.lax.add(high, first), jax.lax.add(low, second)
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x = jax.lax.add(x, y)
            left = jax.lax.shift_left(y, shift[rotation])
            right = jax.lax.shift_right_logical(y, shift[32 - rotation])
            y = jax.lax.bitwise_xor(x, jax.lax.bitwise_or(left, right))
        x = jax.lax.add(x, schedule[(group + 1) % 3])
        y = jax.lax.add(y, schedule[(group + 2) % 3]) + jnp.uint32(group + 1)
    return x, y


def _unrolled(key: jax.Array) -> bool:
    """Whether to compute with ``_threefry2x32``: for JAX's default keys, outside its key checker.

    The checker, ``jax_debug_key_reuse``, follows keys through ``jax.random`` only.
    """
    return (
        jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
        and "fry" in str(jax.random.key_impl(key))
        and getattr(jax.config, "jax_threefry_partitionable", True)
        and not getattr(jax.config, "jax_debug_key_reuse", False)
    )


def fold_in(key: jax.Array, numbers: jax.Array | np.ndarray | int) -> jax.Array:
    """Keys: ``jax.random.fold_in(key, number)`` for each of ``numbers``, any shape."""
    numbers = jnp.asarray(numbers).astype(jnp.uint32)
    if not _unrolled(key):
        fold = jax.random.fold_in
        for _ in range(numbers.ndim):
            fold = jax.vmap(fold, in_axes=(None, 0))
        return fold(key, numbers)
    return _key_of(key, _threefry2x32(jax.random.key_data(key), jnp.zeros_like(numbers), numbers))


def _key_of(parent: jax.Array, words: tuple[jax.Array, jax.Array]) -> jax.Array:
    """The key of two words, kept apart from what is drawn with it.

    Without the barrier the compiler fuses a key's derivation into each draw and repeats it there.
    """
    data = jax.lax.optimization_barrier(jnp.stack(words, axis=-1))
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(parent))


def words(
    key: jax.Array, block: jax.Array | int, shape: tuple[int, ...]
) -> tuple[jax.Array, jax.Array]:
    """Two independent 32-bit words for each entry of ``shape``, others for each ``block``."""
    size = math.prod(shape)
    if not _unrolled(key) or size >= 2**32:
        x, y = jax.random.bits(jax.random.fold_in(key, block), (2, *shape), jnp.uint32)
        return x, y
    low = jax.lax.iota(jnp.uint32, size)
    high = jnp.full_like(low, block)
    x, y = _threefry2x32(jax.random.key_data(key), high, low)
    return x.reshape(shape), y.reshape(shape)


def _to_uniform(bits: jax.Array) -> jax.Array:
    """float32 on [0, 1) in steps of 2**-23 from 32 bits."""
    one_to_two = (bits >> jnp.uint32(9)) | jnp.uint32(0x3F800000)
    return jax.lax.bitcast_convert_type(one_to_two, jnp.float32) - 1.0


def _to_normal(uniform: jax.Array) -> jax.Array:
    """A standard normal by inversion, as ``jax.random.normal`` computes it."""
    low = np.nextafter(uniform.dtype.type(-1.0), uniform.dtype.type(0.0))
    symmetric = jnp.maximum(low, uniform * (1.0 - low) + low)
    return uniform.dtype.type(np.sqrt(2)) * jax.lax.erf_inv(symmetric)


def normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Standard normal draws, those of ``jax.random.normal(key, shape)``, about three times faster.

    Args:
      key: a typed key.
      shape: the shape of the result.

    Returns:
      An array of ``shape``, float32 or, under x64, float64.
    """
    if float_dtype() != jnp.float32 or not _unrolled(key):
        return jax.random.normal(key, shape, float_dtype())
    x, y = words(key, 0, shape)
    return _to_normal(_to_uniform(x ^ y))


def normal_in_halves(key: jax.Array, size: int) -> jax.Array:
    """``normal(key, (size,))`` by a loop of two, of which the compiler makes no part of a use.

    Fused into what uses them, draws are made once for each use, several times as slowly.
    """
    if float_dtype() != jnp.float32 or not _unrolled(key):
        return normal(key, (size,))
    data, half = jax.random.key_data(key), -(-size // 2)

    def part(_, first):
        low = jax.lax.iota(jnp.uint32, half) + first
        x, y = _threefry2x32(data, jnp.zeros_like(low), low)
        return None, _to_normal(_to_uniform(x ^ y))

    _, parts = jax.lax.scan(part, None, np.asarray([0, half], np.uint32))
    return parts.reshape(-1)[:size]


def normal_points(key: jax.Array, num_samples: int, dim: int) -> jax.Array:
    """Standard normal points ``[N, D]``: ``normal(key, (D, N))`` transposed.

    A loop over a last axis of few entries would not use the vector units; this one is long.
    """
    return normal(key, (dim, num_samples)).T


def chi_square(key: jax.Array, dof: jax.Array) -> jax.Array:
    """Chi-square draws, one for each entry of ``dof``, whole numbers; 0 where ``dof <= 0``.

    Marsaglia & Tsang (2000): with ``a = dof/2 >= 1``, ``d = a - 1/3``, ``c = 1/sqrt(9 d)``, a
    normal ``x`` and a uniform ``u`` are accepted, and ``2 d (1 + c x)^3`` returned, when
    ``log u < x^2/2 + d - d v + d log v`` with ``v = (1 + c x)^3 > 0``. One degree of freedom is
    ``x^2``. All entries are proposed together until each has been accepted; one round accepts
    more than 95 in 100.

    Differentiable in ``dof`` (implicit reparameterisation), and independent of
    ``normal(key, ...)`` for the same key.

    Args:
      key: a typed key.
      dof: degrees of freedom, any shape, may be traced.

    Returns:
      An array of the shape of ``dof``.
    """
    dof = jnp.asarray(dof, float_dtype())
    # A key of its own, so that the caller may draw normals with the same one.
    return 2.0 * _gamma(fold_in(key, 1), jnp.maximum(dof, 0.0) / 2.0)


@jax.custom_jvp
def _gamma(key: jax.Array, a: jax.Array) -> jax.Array:
    positive = (a > 0) & jnp.isfinite(a)
    one_degree = a < 1
    safe = jnp.where(positive & ~one_degree, a, 1.0)
    d = safe - 1.0 / 3.0
    c = 1.0 / jnp.sqrt(9.0 * d)

    def propose(state):
        block, value, accepted = state
        uniform_x, u = _uniform_pair(key, block, a.shape)
        x = _to_normal(uniform_x)
        v = (1.0 + c * x) ** 3
        log_v = jnp.log(jnp.where(v > 0, v, 1.0))
        accept = (v > 0) & (jnp.log1p(-u) < 0.5 * x * x + d - d * v + d * log_v)
        proposal = jnp.where(one_degree, 0.5 * x * x, d * v)
        value = jnp.where(accepted, value, proposal)
        return block + 1, value, accepted | accept | one_degree

    def unfinished(state):
        return ~jnp.all(state[2])

    first = (jnp.uint32(0), jnp.zeros_like(a), ~positive)
    return jax.lax.while_loop(unfinished, propose, varying_as(first, (key, a)))[1]


def _uniform_pair(
    key: jax.Array, block: jax.Array, shape: tuple[int, ...]
) -> tuple[jax.Array, jax.Array]:
    if float_dtype() != jnp.float32:
        pair = jax.random.uniform(jax.random.fold_in(key, block), (2, *shape), float_dtype())
        return pair[0], pair[1]
    x, y = words(key, block, shape)
    return _to_uniform(x), _to_uniform(y)


@_gamma.defjvp
def _gamma_jvp(primals, tangents):
    key, a = primals
    sample = _gamma(key, a)
    slope = jax.lax.random_gamma_grad(jnp.where(a > 0, a, 1.0), jnp.where(a > 0, sample, 1.0))
    return sample, jnp.where(a > 0, slope, 0.0) * tangents[1]


def bits(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Random words, uint32 of ``shape``.

    ``bits``, ``uniform``, ``integers`` and ``chi_square`` of one key are functions of the same
    words; they are independent of its ``normal``, not of one another.
    """
    return words(fold_in(key, 1), 0, shape)[0]


def uniform(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Uniform draws on [0, 1) of ``shape``, in steps of 2**-23 in float32; see ``bits``."""
    return _uniform_pair(fold_in(key, 1), jnp.uint32(0), shape)[0]


def integers(key: jax.Array, shape: tuple[int, ...], count: jax.Array | int) -> jax.Array:
    """Whole numbers below ``count``, int32 of ``shape``; see ``bits``.

    Each has a probability of ``1/count`` to within 2**-32.

    Args:
      key: a typed key.
      shape: the shape of the result.
      count: from 1 to 2**31 - 1, may be traced.
    """
    return high_word(bits(key, shape), jnp.asarray(count).astype(jnp.uint32)).astype(jnp.int32)


def weighted(key: jax.Array, shape: tuple[int, ...], weights: jax.Array) -> jax.Array:
    """Indices, int32 of ``shape``, each with probability ``weights / sum(weights)``; see ``bits``.

    By inversion in the precision in use: in float32 each probability is right to within about
    1e-7 of all of them together.

    Args:
      key: a typed key.
      shape: the shape of the result.
      weights: float ``[R]``, at least 0, not all of them 0.
    """
    cumulative = jnp.cumsum(weights)
    place = uniform(key, shape) * cumulative[-1]
    last = jnp.searchsorted(cumulative, cumulative[-1], side="left")  # with a weight above 0
    index = jnp.searchsorted(cumulative, place, side="right")
    return jnp.minimum(index, last).astype(jnp.int32)


def high_word(a: jax.Array, b: jax.Array) -> jax.Array:
    """The high 32 bits of the product of uint32 ``a`` and ``b``, from halves of 16 bits."""
    low, sixteen = jnp.uint32(0xFFFF), jnp.uint32(16)
    a_high, a_low, b_high, b_low = a >> sixteen, a & low, b >> sixteen, b & low
    middle = a_high * b_low + ((a_low * b_low) >> sixteen)
    carried = a_low * b_high + (middle & low)
    return a_high * b_high + (middle >> sixteen) + (carried >> sixteen)


def bartlett(draws: jax.Array, chi: jax.Array) -> jax.Array:
    """A lower triangle T ``[D, D]`` with ``T T'`` Wishart of identity scale (Bartlett 1933).

    Args:
      draws: standard normals ``[D, D]``, of which those below the diagonal are used: on a CPU to
        draw all of them takes less time than to gather half as many into a triangle.
      chi: ``[D]``, the diagonal: ``chi_j^2`` of k-j degrees of freedom (j from 0) for a Wishart of
        k. A 0, for k <= j, empties its column: T then has the rank k.
    """
    dim = chi.shape[0]
    if dim == 1:
        return chi[:, None]
    below = np.tri(dim, k=-1, dtype=bool)
    triangle = jnp.where(below, draws, 0.0) + jnp.diag(chi)
    return jnp.where((chi > 0)[None, :], triangle, 0.0)
