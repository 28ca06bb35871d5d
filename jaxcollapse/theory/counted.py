"""One exact recursion for means over seeds under a share of real rows, a weight of them, and sizes.

Models and batches are those of ``moments``: a model is a mean and a variance, and rows of its batch
are independent, given it. Here rows are told apart. Let ``d_ij`` be the mean squared distance of
rows i and j, ``d_io`` that of row i from the real mean o, and ``p_i`` the weight, of 1, that row i
has for the model of generation t. Then

    (1) its variance             B = (1/2) sum_ij p_i p_j d_ij,  E v_t = B C / (C - ddof)
    (2) its mean's distance      E (mu_t - b)^2 = sum_i p_i d_ib - B,  b any row, or o
    (3) rows of its batch        d_tb = E (mu_t - b)^2 + E v_t + k_t,  d_tt' = 2 (E v_t + k_t)

with C of how many rows all count. (1) and (2) are identities of points and their centroid. Rows of
one law are one group: a synthetic batch; or real rows that count alike in every generation.
Synthetic rows are drawn blindly of S that there are, or are exchangeable: the mean of ``p_i`` is
``Q / S``, that of ``p_i p_j`` is ``(Q^2 - q) / (S (S - 1))`` with Q their weight together and q the
sum of its squares, of k rows and a part f of one ``Q^2 (k + f^2) / (k + f)^2``. Derived here.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike

from jaxcollapse import schedules
from jaxcollapse.theory.moments import Moments, recursion
from jaxcollapse.theory.workflows import Record, Seen, rows_of_batch, seen


@functools.lru_cache(maxsize=256)
def counted(
    record: Record,
    num_generations: int,
    num_samples: float,
    ddof: int = 0,
    real: tuple[float, float] | None = None,
    added: tuple[float, ...] = (),
    factor: float = 1.0,
) -> Moments:
    """The moments of generations 0 to G, arrays ``[G+1]`` that begin with nan, as there is no 0.

    Args:
      record: it draws no rows.
      num_generations: G.
      num_samples: N.
      ddof: 0 or 1.
      real: the variance of N real rows about their mean, and N times the distance of this from o;
        ``1 - 1/N`` and 1 by default.
      added: ``k_t`` of generations 1 to G; zeros by default.
      factor: F, what the variance of a model is multiplied by in what it publishes.

    Returns:
      Arrays that cannot be written, nan all through where a batch is to have more than N rows.
    """
    n, last = num_samples, num_generations
    mean_error, variance = np.full((2, last + 1), np.nan)
    if record.sizes is None or schedules.most(record.sizes) <= n:
        views = [seen(record, t, n) for t in range(1, last + 1)]
        starts, counts = _groups_of_real(views, int(rows_of_batch(record, 0, n)))
        own, from_truth = (1 - 1 / n, 1.0) if real is None else real
        row, pair = own + from_truth / n, 2 * own * n / max(n - 1, 1)
        first = starts.size
        rows = np.concatenate([counts, rows_of_batch(record, np.arange(1, last + 1), n)])
        # Distances of groups, on the diagonal those of a row from all of its group.
        apart = np.zeros((rows.size, rows.size))
        apart[:first, :first] = pair * (1 - np.diag(1 / counts))
        from_o = np.full(rows.size, row)
        for t, view in enumerate(views, 1):
            batches = slice(first + view.batches.start - 1, first + view.batches.stop - 1)
            if record.real == "fresh" and t > 1:
                apart[:first, batches] = from_o[batches] + row
                apart[batches, :first] = apart[:first, batches].T
            of_real = counts * np.clip(view.real - starts, 0, 1)
            if view.real > 0:
                of_real *= view.weight / of_real.sum()
            synthetic, pairs = _synthetic(view, rows[batches])
            to_real = apart[:, :first] @ of_real
            to_synthetic = apart[:, batches] @ synthetic
            spread = of_real @ to_real[:first] / 2 + synthetic @ to_real[batches]
            spread += pairs * (synthetic @ to_synthetic[batches]) / 2
            mean_error[t] = of_real @ from_o[:first] + synthetic @ from_o[batches] - spread
            count = view.real + view.synthetic
            variance[t] = spread * count / (count - ddof)
            made = factor * variance[t] + (added[t - 1] if added else 0.0)
            place = first + t - 1
            apart[place] = apart[:, place] = to_real + to_synthetic - spread + made
            apart[place, place] = 2 * made * (1 - 1 / rows[place])
            from_o[place] = mean_error[t] + made
        mean_error *= n
    mean_error.flags.writeable = variance.flags.writeable = False
    return Moments(mean_error, variance)


def _groups_of_real(views: list[Seen], num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Real rows that count alike in all generations: the first of each group, and how many."""
    wanted = np.asarray([view.real for view in views])
    edges = np.unique(np.clip([0, num_rows, *np.floor(wanted), *np.ceil(wanted)], 0, num_rows))
    return edges[:-1], np.diff(edges)


def _synthetic(view: Seen, rows: np.ndarray) -> tuple[np.ndarray, float]:
    """The weight of each synthetic batch, and what pairs of rows count beside products of these."""
    total = rows.sum()
    if view.synthetic == 0 or total == 0:
        return np.zeros(rows.shape), 0.0
    weights = (1 - view.weight) * rows / total
    whole = np.floor(view.synthetic)
    squares = (whole + (view.synthetic - whole) ** 2) / view.synthetic**2
    return weights, float((1 - squares) * total / (total - 1)) if total > 1 else 0.0


def moments(
    record: Record, t: ArrayLike, n: ArrayLike, ddof: int = 0, factor: float = 1.0
) -> Moments:
    """The moments at generations t with N points a generation, which broadcast."""
    t, n = np.broadcast_arrays(np.asarray(t, np.int64), np.asarray(n, np.float64))
    mean_error, variance = np.empty(t.shape), np.empty(t.shape)
    last = int(t.max(initial=1))
    for size in np.unique(n):
        of = counted if record.counts else recursion
        found = of(record, last, float(size), ddof, factor=factor)
        here = n == size
        mean_error[here] = found.mean_error[t[here]]
        variance[here] = found.variance[t[here]]
    return Moments(mean_error, variance)
