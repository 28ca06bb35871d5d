"""Chains under ``replace`` followed until one outcome is left, however long that takes.

The mean time is about 2N generations, and an ordinary chain draws N outcomes in each of them. Here
a generation costs as much as there are outcomes left, about 2N/t after t generations.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, draws
from jaxcollapse.keys import keys_of, whole_seeds
from jaxcollapse.tasks.categorical.counts import log_factorials, multinomial
from jaxcollapse.tasks.categorical.fitting import fit, sample

RECORDED_PER_DECADE = 16
# Generations with some N/8 outcomes or more, for which as many binomials would be no gain.
ONE_BY_ONE = 15
# Outcomes or draws of all seeds of one call: more would need memory, and be no faster.
MOST_OUTCOMES = 2**22
MOST_DRAWS = 2**24  # of a generation, whose log-factorials take 256 MB then


class Absorption(NamedTuple):
    """What is recorded of chains that are followed to their end.

    Attributes:
      generation: those at which the metrics are recorded, ``[R]``, evenly by their logarithm.
      entropy_ratio: ``-sum p log p`` over ``log K``, ``[S, R]``.
      outcomes_left: how many outcomes have a count, ``[S, R]``.
      absorption_generation: the first at which one is left, ``[S]``; inf if there is none.
    """

    generation: np.ndarray
    entropy_ratio: np.ndarray
    outcomes_left: np.ndarray
    absorption_generation: np.ndarray


def recorded_generations(last: int) -> np.ndarray:
    """16 for each power of ten up to ``last``, and this: int64 ``[R]``, from 1."""
    powers = np.arange(1 + int(RECORDED_PER_DECADE * np.log10(last)))
    spaced = np.rint(10 ** (powers / RECORDED_PER_DECADE)).astype(np.int64)
    return np.unique(np.append(spaced[spaced < last], last))


def until_absorption(
    num_outcomes: int, num_samples: int, seeds: Iterable[int], generations: int
) -> Absorption:
    """Chains under ``replace`` from uniform, each until one outcome is left.

    The counts of a generation are ``Multinomial(N, p)`` with the frequencies p of the one before,
    drawn as counts, exact in law (see ``counts.multinomial``), but for those of the first fifteen
    generations, which are drawn one by one. That is the law of an ordinary chain, not its random
    numbers. A seed's history does not depend on the other seeds, nor on ``generations``.

    Args:
      num_outcomes: K.
      num_samples: N, up to 2**24.
      seeds: S whole numbers.
      generations: G, the last one; chains of which all are absorbed before end then.

    Raises:
      ValueError: a number is no whole number, too small or too large, or two seeds are the same.
    """
    k = checks.whole_number("num_outcomes", num_outcomes, 2)
    n = checks.whole_number("num_samples", num_samples, 1, MOST_DRAWS)
    last = checks.whole_number("generations", generations)
    numbers = whole_seeds(checks.distinct("seed", seeds))
    recorded = recorded_generations(last)
    metrics = np.zeros((2, numbers.size, recorded.size))
    metrics[1] = 1.0  # both are those of an absorbed chain
    counts = np.ones((numbers.size, k), np.int32)
    absorbed = np.zeros(numbers.size, np.int32)
    with jax.enable_x64(True):
        # Of a length that serves many N, for which the same programs serve then.
        table = jnp.asarray(log_factorials(2 ** max(17, n.bit_length())))
        before = 0
        for place, generation in enumerate(recorded.tolist()):
            # At fixed generations, so that no seed's order of outcomes depends on other seeds.
            counts = _left_alone(counts)
            given = numbers, counts, absorbed
            if generation <= ONE_BY_ONE:
                step: Any = partial(_advanced, one_by_one=n)
                most = max(n, counts.shape[1])
            else:
                step, most = _advanced, counts.shape[1]
            counts, absorbed = _in_parts(step, most, given, (before, generation, n, table))
            metrics[:, :, place] = _judged(counts, k)
            before = generation
            if absorbed.all():
                break
    times = np.where(absorbed > 0, absorbed, np.inf)
    return Absorption(recorded, metrics[0], metrics[1], times)


def _left_alone(counts: np.ndarray) -> np.ndarray:
    """The counts of outcomes that are left, in their order, and zeros up to a power of 2."""
    left = counts > 0
    order = np.argsort(~left, axis=1, kind="stable")
    most = int(left.sum(axis=1).max())
    capacity = 2 ** max(1, (most - 1).bit_length())
    if capacity > 64:
        capacity = 4 ** -(-(capacity.bit_length() - 1) // 2)  # these programs compile slowly
    kept = np.take_along_axis(counts, order[:, :capacity], axis=1)
    return np.pad(kept, ((0, 0), (0, capacity - kept.shape[1])))


def _in_parts(
    step: Any, most: int, given: tuple[np.ndarray, ...], rest: tuple[Any, ...]
) -> tuple[np.ndarray, ...]:
    """A step of as many seeds at a time as there is room for, ``most`` numbers each."""
    seeds = given[0].size
    size = max(1, min(seeds, MOST_OUTCOMES // most))
    parts = []
    for first in range(0, seeds, size):
        some = [array[first : first + size] for array in given]
        more = size - some[0].shape[0]  # the last part is filled up
        filled = [np.pad(x, [(0, more)] + [(0, 0)] * (x.ndim - 1), mode="edge") for x in some]
        found = step(*filled, *rest)
        parts.append([np.asarray(array)[: size - more] for array in found])
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


@partial(jax.jit, static_argnames="one_by_one")
def _advanced(seeds, counts, absorbed, generation, last, num_samples, log_factorial, one_by_one=0):
    """Counts ``[S, C]`` and generations of absorption ``[S]`` at generation ``last``.

    Or once all are absorbed.
    """
    keys = keys_of(seeds)

    def drawn(key, counts):
        return fit(sample(key, counts, one_by_one), counts.size)

    def step(state):
        generation, counts, absorbed = state
        generation = generation + 1
        of_generation = jax.vmap(draws.fold_in, (0, None))(keys, generation)
        if one_by_one:
            counts = jax.vmap(drawn)(of_generation, counts)
        else:
            counts = multinomial(of_generation, num_samples, counts, log_factorial)
        alone = (absorbed == 0) & (jnp.max(counts, axis=1) == num_samples)
        return generation, counts, jnp.where(alone, generation, absorbed)

    def goes_on(state):
        return (state[0] < last) & jnp.any(state[2] == 0)

    first = (generation.astype(np.int32), counts, absorbed)
    return jax.lax.while_loop(goes_on, step, first)[1:]


def _judged(counts: np.ndarray, num_outcomes: int) -> np.ndarray:
    """Entropy over that of K equal outcomes, and outcomes left: ``[2, S]``."""
    p = counts / counts.sum(axis=1, keepdims=True)
    entropy = -np.sum(p * np.log(np.where(p > 0, p, 1.0)), axis=1)
    return np.stack([entropy / np.log(num_outcomes), (counts > 0).sum(axis=1)])
