"""The collapse profile of a sweep's result, with what its task declares and its closed forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcollapse.analysis.profile import profile as analysis
from jaxcollapse.analysis.profile.definitions import Thresholds
from jaxcollapse.analysis.profile.findings import Profile
from jaxcollapse.sweeps.closed_forms import closed_form, family_of_result

if TYPE_CHECKING:
    import xarray


def profile(dataset: xarray.Dataset, metrics: Sequence[str] = (), **thresholds: Any) -> Profile:
    """Whether and when a result collapses, by each of the eight definitions that the field uses.

    >>> profile(jc.load("gaussian.nc")).records()

    Args:
      dataset: a sweep's result.
      metrics: those that may speak, the first of them first. By default all that there are, that
        which says how good a fit is (the loss of ``mix``) first.
      **thresholds: see ``analysis.profile.definitions.Thresholds``.

    Returns:
      The findings, for every workflow, point of the grid and definition; see
      ``analysis.profile.findings.Profile``.

    Raises:
      ValueError: the result is none of chains, or of one generation; an unknown metric; a threshold
        that cannot be one.
    """
    family = family_of_result(dataset)
    bare = dataset.drop_vars(list(dataset.data_vars))

    def theory(cell: Mapping[str, Any], metric: str, generation: np.ndarray) -> np.ndarray | None:
        if family is None:
            return None
        line = bare.sel(cell).drop_vars(["seed", "generation"])
        return closed_form(line.assign_coords(generation=generation), metric)

    labels = {} if family is None else family.labels
    loss = None if family is None else family.mixtures.loss
    if not metrics and loss is not None and loss in dataset:
        dims = ("seed", "generation")
        known = [str(name) for name, array in dataset.data_vars.items() if array.dims[-2:] == dims]
        metrics = [loss, *(name for name in known if name != loss)]
    batch = "num_samples" if family is None else family.batch
    return analysis.profile(dataset, metrics, Thresholds(**thresholds), labels, batch or "", theory)
