"""What a result says of a cell of chains: its metrics, and what is read off them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcollapse import checks
from jaxcollapse.sweeps import results
from jaxcollapse.sweeps.plan import Variable

if TYPE_CHECKING:
    from jaxcollapse.metrics import Metric

NONFINITE = "First generation with a metric that is not finite; 0 where there is none"
OF_KEPT = ", of the generations that are kept"


def of_chains(
    cell: Mapping[str, np.ndarray],
    labels: Mapping[str, Metric],
    generation: np.ndarray,
    is_whole: bool,
    summaries: Callable[..., Any],
) -> dict[str, Variable]:
    """Variables of a result, at one cell of it.

    Args:
      cell: metrics ``[S, G, ...]`` and ``run_seconds``.
      labels: of each metric.
      generation: the numbers ``[G]`` of the generations that are kept.
      is_whole: whether all generations are.
      summaries: of a family, see ``TaskFamily.summaries``.
    """
    found: dict[str, Variable] = {}
    of_kept = "" if is_whole else OF_KEPT
    finite = np.ones(cell[next(iter(labels))].shape[:2], bool)
    for name, metric in labels.items():
        array = cell[name]
        # Of a metric that is an array itself, with dimensions of its own.
        own = tuple(f"{name}_{axis}" for axis in range(array.ndim - 2))
        found[name] = Variable(
            ("seed", "generation", *(metric.dims or own)), array, results.labels_of(metric)
        )
        if np.issubdtype(array.dtype, np.inexact):
            good = ~np.isnan(array) if metric.infinite else np.isfinite(array)
            finite &= good.all(axis=tuple(range(2, array.ndim)))
    first = np.where(finite.all(axis=-1), 0, generation[np.argmin(finite, axis=-1)])
    found["first_nonfinite_generation"] = Variable(
        ("seed",), first.astype(np.int32), {"long_name": NONFINITE + of_kept}
    )
    found[results.RUN_SECONDS] = Variable(
        (),
        cell[results.RUN_SECONDS],
        {"long_name": "Time that the cell ran, compiling apart", "units": "s"},
    )
    computed = {name: cell[name] for name in labels}
    given = ("metrics", "generation")
    takes = checks.arguments(summaries, "summaries", given, 1)
    if is_whole or takes > 1:  # others take places for generations
        for name, summary in summaries(*(computed, generation)[:takes]).items():
            said = {"long_name": summary.long_name + of_kept}
            found[name] = Variable(("seed",), summary.values, said)
    return found
