"""Seeds in parts: as many at a time as a core's cache holds, the parts spread over threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

CACHE = 2**18  # numbers that are worked on at a time

WORKFLOWS = REPLACE, ACCUMULATE, SUBSAMPLE = "replace", "accumulate", "accumulate-subsample"
Metrics = dict[str, np.ndarray]


def one_of(name: str, value: str, known: Iterable[str]) -> None:
    """Refuses what there is no program for."""
    if value not in known:
        raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}")


def over_seeds(
    run: Callable[[Any, int], Metrics],
    generator: Callable[[np.random.SeedSequence], Any],
    seeds: int,
    numbers: float,
    steps: int,
    seed: int,
    threads: int,
) -> Metrics:
    """Metrics ``[S, G]`` of ``run(generator, part)``, of all parts one after another.

    Args:
      run: of so many seeds, all at once.
      generator: makes a part's random generator, in the part's own thread.
      seeds: S.
      numbers: how many of them a seed works on in a generation.
      steps: how many generations it does so for at once.
      seed: names the draws of all.
      threads: how many parts run at a time.
    """
    parts = min(seeds, int(np.ceil(seeds * numbers / CACHE)))
    if seeds * numbers * steps > CACHE / 8:  # less is done before a second thread has begun
        parts = min(seeds, threads * -(-parts // threads))
    sizes = np.diff(np.linspace(0, seeds, max(parts, 1) + 1).astype(int))
    children = np.random.SeedSequence(seed).spawn(len(sizes))

    def one(child: np.random.SeedSequence, size: int) -> Metrics:
        return run(generator(child), int(size))

    if len(sizes) == 1:
        return one(children[0], sizes[0])
    with ThreadPoolExecutor(threads) as pool:
        done = list(pool.map(one, children, sizes))
    return {name: np.concatenate([part[name] for part in done]) for name in done[0]}


def blocks(count: int, numbers: float) -> list[range]:
    """Generations in blocks that the cache holds, of so many numbers each."""
    size = int(max(1, min(count, CACHE // max(1, numbers))))
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def moon_positions(num_samples: int) -> np.ndarray:
    """Positions ``[N, 2]`` of scikit-learn's ``make_moons`` without its noise."""
    upper = num_samples // 2
    angles = np.linspace(0, np.pi, upper), np.linspace(0, np.pi, num_samples - upper)
    first, second = (np.stack([np.cos(a), np.sin(a)], axis=-1) for a in angles)
    return np.concatenate([first, np.asarray([1.0, 0.5]) - second])


def circle_positions(num_samples: int) -> np.ndarray:
    """Positions ``[N, 2]`` of scikit-learn's ``make_circles`` with factor 0.8."""
    outer = num_samples // 2
    first, second = (
        np.linspace(0, 2 * np.pi, n, endpoint=False) for n in (outer, num_samples - outer)
    )
    circles = (np.stack([np.cos(a), np.sin(a)], axis=-1) for a in (first, second))
    return np.concatenate([next(circles), 0.8 * next(circles)])
