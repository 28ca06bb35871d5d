"""What a workflow alone decides."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def share_of_real_data(workflow: str, t: ArrayLike) -> np.ndarray | None:
    """The expected share of real data in what the model of generation t trains on.

    1/t; 0 for replace after the first generation; None for a workflow that is not known here.
    """
    if workflow not in ("replace", "accumulate", "accumulate-subsample"):
        return None
    t = np.asarray(t, np.float64)
    return np.where(t == 1, 1.0, 0.0) if workflow == "replace" else 1 / t
