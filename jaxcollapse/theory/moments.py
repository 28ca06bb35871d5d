"""One exact recursion for means over seeds under any record of a workflow.

A model is a mean ``mu_t`` and a variance ``v_t``, fitted to what generation t finds; it publishes
batch t, N rows that given the model are independent with that mean and the variance
``f v_t + k_t``: f is 1, or what a publisher does, and ``k_t`` is 0, or the variance of a kernel.
Batch 0 is real, a fresh real batch is an independent one in its place, and o is the real mean. One
coordinate, in units of the real variance.

Let ``D_ij`` be the mean squared distance of the means of batches i and j, ``D_io`` that from o, and
``W_j`` the mean variance of batch j about its own mean, over N: ``W_0 = 1 - 1/N``, ``D_0o = 1/N``.
Let generation t find w batches, ``R = w N`` rows, of which s are drawn without replacement
(``s = R`` where all are taken). Sums over i, j are over the batches found; b is anything, found or
not:

    (1) variance of their means  B = (1 / 2 w^2) sum_ij D_ij
    (2) their mean's distance    D_pb = (1/w) sum_i D_ib - B
    (3) variance, unbiased       U = [(1/w) sum_j W_j + B] R / (R - 1)
    (4) the model's mean         E (mu_t - o)^2 = D_po + U (1/s - 1/R)
    (5) and variance             E v_t = U (s - 1) / (s - ddof)
    (6) its batch                D_tb = D_pb + U (1/s - 1/R) + (f E v_t + k_t) / N,
                                 W_t = (f E v_t + k_t) (1 - 1/N)

(1) and (2) are identities of points and their centroid; (4) is the variance of the mean of a sample
from a finite population (Cochran 1977, theorem 2.2), drawn blindly. Derived here; of the laws of
data and models only two moments are used. Distances keep their digits where variances die out,
which second moments about o would lose.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from jaxcollapse.theory.workflows import Record


class Moments(NamedTuple):
    """Means over seeds, by generation.

    Attributes:
      mean_error: N times ``E (mu_t - o)^2``.
      variance: ``E v_t``.
    """

    mean_error: np.ndarray
    variance: np.ndarray


@functools.lru_cache(maxsize=256)
def recursion(
    record: Record,
    num_generations: int,
    num_samples: float,
    ddof: int = 0,
    real: tuple[float, float] | None = None,
    added: tuple[float, ...] = (),
    factor: float = 1.0,
) -> Moments:
    """The moments of generations 0 to G, arrays ``[G+1]`` that begin with nan, as there is no 0.

    A batch takes the place of the oldest one that may go, or joins a sum where none ever goes; so a
    generation costs ``O(keep^2)``, or ``O(1)``.

    Args:
      record: it says which batches a generation finds.
      num_generations: G.
      num_samples: N; infinite gives the limit of N times the mean error, for records that draw no
        number of rows.
      ddof: 0 or 1.
      real: ``W_0`` and N times ``D_0o``; ``1 - 1/N`` and 1 by default.
      added: ``k_t`` of generations 1 to G; zeros by default.
      factor: f.

    Returns:
      Arrays that cannot be written, nan all through where more than N rows are to be drawn.
    """
    point = 1 / num_samples  # in batches, as all counts of rows below
    own, from_truth = (1 - point, 1.0) if real is None else real
    mean_error, variance = np.full((2, num_generations + 1), np.nan)
    keep = num_generations if record.keep is None else record.keep
    all_stay = keep >= num_generations
    apart = int(record.real != "once")
    ring = 1 if all_stay else keep
    # A slot holds some batches: how many, sums of W, and of N times D between slots; o is the last.
    count, within = np.zeros((2, apart + ring + 1))
    between = np.zeros((count.size, count.size))
    count[0] = count[-1] = 1
    within[0] = own
    between[0, -1] = between[-1, 0] = from_truth
    for t in range(1, num_generations + 1):
        batches = int(record.batches(t))
        drawn = batches if record.draw is None else record.draw * point or 1.0
        if drawn > batches:
            break
        to_mean = between[:-1].sum(axis=0) / batches
        of_means = to_mean[:-1].sum() / (2 * batches)
        to_mean -= count * of_means
        unbiased = within.sum() / batches + of_means * point
        if point < batches:  # one row alone has none, and varies by 0
            unbiased /= 1 - point / batches
        drawing = unbiased * (1 / drawn - 1 / batches)
        fitted = unbiased * (1 - point / drawn) if ddof == 0 else unbiased
        mean_error[t], variance[t] = to_mean[-1] + drawing, fitted

        made = factor * fitted + (added[t - 1] if added else 0.0)
        to_batch = to_mean + count * (drawing + made)
        slot = apart + (t - apart) % ring
        if not all_stay:
            to_batch[slot] = count[slot] = within[slot] = 0.0
            between[slot] = between[:, slot] = 0.0
        count[slot] += 1
        within[slot] += made * (1 - point)
        between[slot] += to_batch
        between[:, slot] += to_batch
        if record.real == "fresh":
            between[0] = between[:, 0] = between[-1] + count * from_truth
            between[0, 0] = 0.0
    mean_error.flags.writeable = variance.flags.writeable = False
    return Moments(mean_error, variance)
