"""Frequencies, real data uniform."""

from __future__ import annotations

import numpy as np
from parts import ACCUMULATE, REPLACE, SUBSAMPLE, Metrics

from numpy_programs.draws import Rng, distinct_rows, offsets, taken


def _categorical_metrics(counts, table, outcomes):
    """Of counts ``[S, K]``; ``table`` holds c log c, float64, so that one outcome left has 0."""
    total = counts[0].sum()
    present = np.count_nonzero(counts, axis=1)
    squares = np.einsum("sk,sk->s", counts, counts, dtype=np.float64)
    entropy = np.log(total) - np.take(table, counts).sum(axis=1) / total
    return (
        np.where(present > 1, entropy, 0.0) / np.log(outcomes),
        present.astype(np.float64),
        (1 - squares / float(total) ** 2) / (1 - 1 / outcomes),
    )


def _named(found):
    names = "entropy_ratio", "outcomes_left", "heterozygosity_ratio"
    return dict(zip(names, np.moveaxis(np.asarray(found), 0, -1), strict=True))


def _table(workflow, generations, num_samples):
    counts = np.arange((generations if workflow == ACCUMULATE else 1) * num_samples + 1)
    return counts * np.log(np.maximum(counts, 1))


def by_counts(
    rng: Rng, seeds: int, workflow: str, generations: int, num_outcomes: int, num_samples: int
) -> Metrics:
    """Few outcomes: counts, drawn from a multinomial, and rows from a hypergeometric law."""
    n = num_samples
    table = _table(workflow, generations, n)
    pool = rng.multinomial(n, np.full(num_outcomes, 1 / num_outcomes), size=seeds)
    found = []
    for t in range(1, generations + 1):
        view = pool
        if workflow == SUBSAMPLE and t > 1:
            view = np.empty_like(pool)
            rows, left = np.full(seeds, t * n), np.full(seeds, n)
            for k in range(num_outcomes - 1):
                rows -= pool[:, k]
                view[:, k] = rng.hypergeometric(pool[:, k], rows, left)
                left -= view[:, k]
            view[:, -1] = left
        found.append(_categorical_metrics(view, table, num_outcomes))
        batch = rng.multinomial(n, view / view[0].sum())
        pool = batch if workflow == REPLACE else pool + batch
    return _named(found)


def by_outcomes(
    rng: Rng, seeds: int, workflow: str, generations: int, num_outcomes: int, num_samples: int
) -> Metrics:
    """Many outcomes: a sample is outcomes seen before, chosen at random.

    None comes that the first batch has not, so those are numbered anew, from 0.
    """
    n = num_samples
    table = _table(workflow, generations, n)
    drawn = np.sort(rng.integers(num_outcomes, size=(seeds, n), dtype=np.int32), axis=1)
    batch = np.zeros((seeds, n), np.int32)
    np.cumsum(drawn[:, 1:] != drawn[:, :-1], axis=1, out=batch[:, 1:])
    width = int(batch.max()) + 1
    batch += offsets(seeds, width).astype(np.int32)  # no two seeds share one
    held = 1 if workflow == REPLACE else generations
    pool = np.empty((seeds, held * n), np.int32)
    first = offsets(seeds, held * n)
    counts = np.zeros((seeds, width), np.int64)
    found = []
    for t in range(1, generations + 1):
        at = (t - 1) % held * n
        pool[:, at : at + n] = batch
        chosen = None
        if workflow == SUBSAMPLE and t > 1:
            chosen = distinct_rows(rng, seeds, t * n, n) + first
            batch = taken(pool, chosen)
        new = np.bincount(batch.ravel(), minlength=seeds * width).reshape(seeds, width)
        counts = counts + new if workflow == ACCUMULATE else new
        found.append(_categorical_metrics(counts, table, num_outcomes))
        rows = t * n if workflow == ACCUMULATE else n
        picked = rng.integers(rows, size=(seeds, n), dtype=np.int32)
        flat = picked + first if chosen is None else np.take_along_axis(chosen, picked, axis=1)
        batch = taken(pool, flat)
    return _named(found)
