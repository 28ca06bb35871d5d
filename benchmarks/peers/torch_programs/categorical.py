"""Frequencies, real data uniform."""

from __future__ import annotations

import numpy as np
import torch
from parts import ACCUMULATE, REPLACE, SUBSAMPLE, Metrics

from torch_programs.draws import Rng, collected, distinct_rows, offsets, taken


def _categorical_metrics(counts, table, outcomes):
    """Of counts ``[S, K]``; ``table`` holds c log c, float64."""
    total = int(counts[0].sum())
    present = torch.count_nonzero(counts, dim=1)
    squares = counts.double().square_().sum(dim=1)
    entropy = np.log(total) - torch.take(table, counts).sum(dim=1) / total
    return {
        "entropy_ratio": torch.where(present > 1, entropy, 0.0)[None] / np.log(outcomes),
        "outcomes_left": present[None].double(),
        "heterozygosity_ratio": (1 - squares[None] / float(total) ** 2) / (1 - 1 / outcomes),
    }


def _table(workflow, generations, num_samples):
    counts = torch.arange((generations if workflow == ACCUMULATE else 1) * num_samples + 1)
    return counts * counts.clamp(min=1).double().log()


def _multinomial(rng, n, p):
    """Counts ``[S, K]`` of n draws with probabilities ``[S, K]``, one outcome after another."""
    counts = torch.empty_like(p)
    left, rest = torch.full((len(p),), float(n), dtype=p.dtype), torch.ones_like(p[:, 0])
    for k in range(p.shape[1] - 1):
        share = (p[:, k] / rest.clamp(min=1e-12)).clamp(0, 1)
        counts[:, k] = torch.binomial(left, share, generator=rng)
        left = left - counts[:, k]
        rest = rest - p[:, k]
    counts[:, -1] = left
    return counts


@torch.inference_mode()
def by_counts(
    rng: Rng, seeds: int, workflow: str, generations: int, num_outcomes: int, num_samples: int
) -> Metrics:
    """Few outcomes: counts of each batch, which a model draws by binomials, in float64."""
    if workflow == SUBSAMPLE:
        raise ValueError(f"{SUBSAMPLE} by counts: PyTorch has no hypergeometric law; use points")
    n = num_samples
    table = _table(workflow, generations, n)
    real = torch.full((seeds, num_outcomes), 1 / num_outcomes, dtype=torch.float64)
    pool = _multinomial(rng, n, real)
    found = []
    for t in range(1, generations + 1):
        found.append(_categorical_metrics(pool.long(), table, num_outcomes))
        if t < generations:
            batch = _multinomial(rng, n, pool / pool[0].sum())
            pool = batch if workflow == REPLACE else pool + batch
    return collected(found)


@torch.inference_mode()
def by_outcomes(
    rng: Rng, seeds: int, workflow: str, generations: int, num_outcomes: int, num_samples: int
) -> Metrics:
    """Many outcomes: a sample is outcomes seen before, chosen at random.

    None comes that the first batch has not, so those are numbered anew, from 0.
    """
    n = num_samples
    table = _table(workflow, generations, n)
    drawn = torch.randint(num_outcomes, (seeds, n), generator=rng).sort(dim=1).values
    batch = torch.zeros((seeds, n), dtype=torch.int64)
    batch[:, 1:] = (drawn[:, 1:] != drawn[:, :-1]).cumsum(dim=1)
    width = int(batch.max()) + 1
    batch += offsets(seeds, width)  # no two seeds share one
    held = 1 if workflow == REPLACE else generations
    pool = torch.empty((seeds, held * n), dtype=torch.int64)
    place, first = torch.empty_like(pool), offsets(seeds, held * n)
    counts = torch.zeros((seeds, width), dtype=torch.int64)
    found = []
    for t in range(1, generations + 1):
        at = (t - 1) % held * n
        pool[:, at : at + n] = batch
        chosen = None
        if workflow == SUBSAMPLE:
            chosen = distinct_rows(rng, t * n, n, place) + first
            batch = taken(pool, chosen)
        new = torch.bincount(batch.reshape(-1), minlength=seeds * width).reshape(seeds, width)
        counts = counts + new if workflow == ACCUMULATE else new
        found.append(_categorical_metrics(counts, table, num_outcomes))
        if t < generations:
            rows = t * n if workflow == ACCUMULATE else n
            picked = torch.randint(rows, (seeds, n), generator=rng)
            batch = taken(pool, picked + first if chosen is None else chosen.gather(1, picked))
    return collected(found)
