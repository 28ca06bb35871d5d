"""The best batched PyTorch programs on a CPU: all seeds at once, the seeds first among the axes.

They are the programs of ``numpy_peers`` as PyTorch is best at them: ``PEERS`` takes and gives the
same. Numbers are float32 but where a comment says otherwise.
"""

from __future__ import annotations

import cells
from torch_programs import categorical, draws, gaussian, kde, linear_regression

PROGRAMS = cells.Programs(
    generator=draws.generator,
    gaussian_by_moments=gaussian.by_moments,
    gaussian_by_rows=gaussian.by_rows,
    kde=kde.by_points,
    regression_by_sums=linear_regression.by_sums,
    regression_by_rows=linear_regression.by_rows,
    categorical_by_counts=categorical.by_counts,
    categorical_by_outcomes=categorical.by_outcomes,
    counts_of_rows=False,  # PyTorch draws no hypergeometric numbers
)
PEERS = cells.peers(PROGRAMS)
