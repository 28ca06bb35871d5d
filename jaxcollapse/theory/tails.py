"""How unlikely it is that a Gaussian has not collapsed: bounds where means over seeds mislead."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["gaussian_tail_bound"]


def gaussian_tail_bound(t: ArrayLike, n: ArrayLike, threshold: ArrayLike) -> np.ndarray:
    """At least ``P(s_t > e)``, of the fitted standard deviation under replace in one dimension.

    ``exp(-t / (4 N)) / e`` (Suresh et al. 2412.17646), s_t and e in units of the real standard
    deviation, by Markov's inequality from ``E s_t = c^t``, ``c = sqrt(2/(N-1)) Gamma(N/2) /
    Gamma((N-1)/2) <= exp(-1/(4N))`` for ddof 1; for ddof 0 s_t is smaller. So every chain
    collapses, although with ddof 1 the mean of ``s_t^2`` stays what it was.

    Args:
      t: generations.
      n: N, at least 2.
      threshold: e, above 0.

    Returns:
      At most 1, of the shape that the arguments broadcast to.
    """
    t, n, e = (np.asarray(given, np.float64) for given in (t, n, threshold))
    return np.minimum(1.0, np.exp(-t / (4 * n)) / e)
