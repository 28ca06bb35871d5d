"""The best batched PyTorch programs on a CPU: all seeds at once, the seeds first among the axes.

They are the programs of ``numpy_peers`` as PyTorch is best at them: ``PEERS`` takes and gives the
same. Numbers are float32 but where a comment says otherwise.
"""

from __future__ import annotations

import cells
from parts import SUBSAMPLE
from torch_programs import categorical, draws, gaussian, kde, linear_regression


def few_outcomes(workflow: str, num_outcomes: int, num_samples: int) -> bool:
    """Whether counts are faster; PyTorch has no hypergeometric law to draw rows by."""
    return 10 * num_outcomes <= num_samples and workflow != SUBSAMPLE


PROGRAMS = cells.Programs(
    generator=draws.generator,
    gaussian_by_moments=gaussian.by_moments,
    gaussian_by_rows=gaussian.by_rows,
    kde=kde.by_points,
    regression_by_sums=linear_regression.by_sums,
    regression_by_rows=linear_regression.by_rows,
    categorical_by_counts=categorical.by_counts,
    categorical_by_outcomes=categorical.by_outcomes,
    few_outcomes=few_outcomes,
)
PEERS = cells.peers(PROGRAMS)
