"""The best batched NumPy programs: all seeds at once, the seeds first among an array's axes.

Metrics have the names and laws of the chains that these are timed against.
``PEERS[task](workflow, generations, seeds, **cell)`` gives them, arrays ``[S, G]``. Numbers are
float32 but where a comment says otherwise.
"""

from __future__ import annotations

import cells
from numpy_programs import categorical, draws, gaussian, kde, linear_regression

PROGRAMS = cells.Programs(
    generator=draws.generator,
    gaussian_by_moments=gaussian.by_moments,
    gaussian_by_rows=gaussian.by_rows,
    kde=kde.by_points,
    regression_by_sums=linear_regression.by_sums,
    regression_by_rows=linear_regression.by_rows,
    categorical_by_counts=categorical.by_counts,
    categorical_by_outcomes=categorical.by_outcomes,
    counts_of_rows=True,
)
PEERS = cells.peers(PROGRAMS)
