"""The counts of a generation drawn as counts: at the cost of its outcomes, not of its draws.

In float64, under ``jax.enable_x64``: differences of log-factorials near 1e6 need the digits.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from jaxcollapse import checks, draws

# Of the proposals' table mountain, see ``binomial``.
_SLOPE, _OFFSET = 2 * np.sqrt(2 / np.e), 3 - 2 * np.sqrt(3 / np.e)
# Entries of which some few are left are gathered from so many on; below, it would not pay.
_MANY, _FEW = 4096, 16


def log_factorials(largest: int) -> np.ndarray:
    """``log n!`` for n from 0 to ``largest``, float64 ``[largest + 1]``."""
    return scipy.special.gammaln(np.arange(1.0, largest + 2))


def binomial(
    keys: jax.Array, n: jax.Array, a: jax.Array, b: jax.Array, log_factorial: jax.Array
) -> jax.Array:
    """Draws of ``Bin(n, a / (a + b))``, exact in law: how many of n fall on a, not on b.

    By ratio of uniforms (Stadlober 1990, J. Comput. Appl. Math. 31): with u, v uniform, mean
    ``m = n p`` and ``h = 2 sqrt(2/e) sqrt(n p q + 1/2) + 3 - 2 sqrt(3/e)``, the number
    ``k = floor(m + 1/2 + h (v - 1/2) / u)`` is accepted where ``u^2 <= f(k) / f(mode)``: at least
    one in five, three in four of many. It needs no other case for small n p or p near 0 or 1.

    Args:
      keys: typed keys ``[L]``, one for each draw.
      n: int32 ``[L]``.
      a: int32 ``[L]``, at least 0.
      b: int32 ``[L]``, likewise. Where both are 0 so is the draw.
      log_factorial: those of numbers up to the largest n, float64.

    Returns:
      int32 ``[L]``.

    Raises:
      ValueError: JAX computes in float32.
    """
    if draws.float_dtype() != np.float64:
        raise checks.refusal(
            "binomial draws", "float64", "float32", "draw them under jax.enable_x64(True)"
        )
    settled = (n == 0) | (a == 0) | (b == 0)
    start = jnp.where(settled & (a > 0), n, 0)
    given = (keys, n, a, b)

    def unfinished(few):
        return lambda state: jnp.sum(~state[2], dtype=np.int32) > few

    def proposing(given):
        keys, n, a, b = given
        propose = _proposals(keys, n, a, b, log_factorial)

        def body(state):
            number, k, done = state
            proposed, accepted = propose(number)
            return number + 1, jnp.where(done, k, proposed), done | accepted

        return body

    size, few = n.size, n.size // _FEW if n.size >= _MANY else 0
    state = (jnp.uint32(0), start, settled)
    number, k, done = jax.lax.while_loop(unfinished(few), proposing(given), state)
    if not few:
        return k
    # The last few to be accepted take most of the rounds: they go on by themselves.
    place = jnp.nonzero(~done, size=few, fill_value=size)[0]
    rest = jax.tree.map(lambda x: x.at[place].get(mode="clip"), given)
    state = (number, jnp.zeros(few, np.int32), place == size)
    _, last, _ = jax.lax.while_loop(unfinished(0), proposing(rest), state)
    return k.at[place].set(last, mode="drop")


def _proposals(keys, n, a, b, log_factorial):
    """``propose(number) -> (k, accepted)`` for every entry."""
    whole = lambda x: x.astype(np.int32)  # noqa: E731
    x, y, trials = (value.astype(np.float64) for value in (a, b, n))
    x, y = jnp.maximum(x, 1.0), jnp.maximum(y, 1.0)  # else it is settled
    mean = trials * x / (x + y)
    width = _SLOPE * jnp.sqrt(mean * y / (x + y) + 0.5) + _OFFSET
    log_odds = jnp.log(x / y)
    mode = whole(jnp.floor((trials + 1.0) * x / (x + y)))
    peak = log_factorial[mode] + log_factorial[n - mode]

    def propose(number):
        words = jax.random.key_data(jax.vmap(draws.fold_in, (0, None))(keys, number))
        u, v = ((words[..., i].astype(np.float64) + 0.5) * 2.0**-32 for i in (0, 1))
        wanted = jnp.floor(mean + 0.5 + width * (v - 0.5) / u)
        inside = (wanted >= 0.0) & (wanted <= trials)
        k = whole(jnp.where(inside, wanted, 0.0))
        ratio = peak - log_factorial[k] - log_factorial[n - k]
        ratio = ratio + (k - mode).astype(np.float64) * log_odds
        return k, inside & (2.0 * jnp.log(u) <= ratio)

    return propose


def multinomial(keys: jax.Array, n: int, weights: jax.Array, log_factorial: jax.Array) -> jax.Array:
    """Counts ``[S, K]`` of n draws of outcomes with whole weights ``[S, K]``, exact in law.

    The n draws are split between the two halves of the outcomes, by a binomial, these between
    their halves, and so on: K - 1 binomials, of which ``log2 K`` are one after another.

    Args:
      keys: typed keys ``[S]``.
      n: how many draws.
      weights: int32 ``[S, K]``, with K a power of 2. Outcomes of weight 0 behind the others change
        no number.
      log_factorial: those of numbers up to n, float64.
    """
    sums = [weights]
    while sums[-1].shape[1] > 1:
        sums.append(sums[-1][:, ::2] + sums[-1][:, 1::2])
    # A split is named by the place where it splits, whatever is above it.
    places = jnp.arange(weights.shape[1], dtype=np.uint32)
    of_places = jax.vmap(draws.fold_in, (0, None))(keys, places)
    counts = jnp.full_like(sums[-1], n)
    for height in reversed(range(len(sums) - 1)):
        a, b = sums[height][:, ::2], sums[height][:, 1::2]
        splits = of_places[:, 2**height :: 2 ** (height + 1)]
        chosen, n_here, ours, theirs = (x.reshape(-1) for x in (splits, counts, a, b))
        left = binomial(chosen, n_here, ours, theirs, log_factorial).reshape(a.shape)
        counts = jnp.stack([left, counts - left], axis=-1).reshape(a.shape[0], -1)
    return counts
