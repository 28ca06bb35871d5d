"""A workflow of one's own: everything stays, but what is older counts less."""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxcollapse import Workflow


@dataclasses.dataclass(frozen=True)
class Fading(Workflow):
    """Each model trains on all data, of which a row of age g counts as ``2^(-g / half_life)``."""

    half_life: float = 3.0

    def choose(self, key, rows):
        """The weight of each row, by its age."""
        age = (rows.now - 1 - rows.generation).astype(float)
        return 0.5 ** (age / self.half_life)

    def closed_form(self, task, metric, generation, options, **axes):
        """The share of real data; and of Gaussians with ddof 0 the errors of mean and trace."""
        last = int(np.max(generation))
        weights = [self._of_batches(t) for t in range(1, last + 1)]
        if metric == "share_of_real_data":
            return np.asarray([w[0] for w in weights])[generation - 1]
        known = metric in ("trace_ratio", "squared_error_of_mean")
        known = known and options.get("cov") is None
        if task != "gaussian" or not known or options.get("ddof", 0):
            return None
        # Second moments of the means of batches about the real mean, in units of its variance; a
        # row's own second moment stays 1, so a variance is 1 less the error of its mean.
        n, moments, errors = axes["num_samples"], np.zeros((last + 1, last + 1)), []
        moments[0, 0] = 1 / n
        for t, w in enumerate(weights, start=1):
            beside = moments[:t, :t] @ w
            error = w @ beside
            moments[t, :t] = moments[:t, t] = beside
            moments[t, t] = error + (1 - error) / n
            errors.append(error)
        found = np.asarray(errors)[generation - 1]
        return axes["dim"] * found if metric == "squared_error_of_mean" else 1 - found

    def _of_batches(self, t):
        """Shares of the batches 0 to t - 1 in what the model of generation t sees."""
        weights = 0.5 ** (np.arange(t)[::-1] / self.half_life)
        return weights / weights.sum()
