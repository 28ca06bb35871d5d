"""What a metric is called, measured in and drawn on, and the functions that measure it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxcollapse import checks

Metrics = dict[str, Any]
Measures = Mapping[str, Any] | Callable[..., Metrics] | None
EVALUATE, MEASURES = "evaluate", "measures"  # functions of several metrics
SHARE_OF_REAL_DATA = "share_of_real_data"  # a metric of every chain
TOLD = ("loss", "variance", "modes", "diversity", "law")  # what a metric may speak for


class Metric(NamedTuple):
    """How a metric is labelled, and for one of one's own how it is measured.

    Attributes:
      long_name: for axes and files.
      units: of its values.
      infinite: whether an infinity is a value of it; otherwise one marks a chain as non-finite.
      scale: of its axis in a figure: ``linear``, or ``log`` if it is positive over decades.
      of: ``of(truth, model, published, key)``, a measure as ``make_chain`` takes it; None of the
        metrics that a task evaluates itself.
      speaks_for: what of a collapse it tells (``TOLD``): ``loss`` on real data, ``variance`` of
        the model, ``modes`` or tails that it keeps, ``diversity`` of what it makes, how far its
        ``law`` is from the real one. A loss is worse the higher it is, the next three the lower.
      real: its value where the model is the real law: a number, or the name of the axis of a
        sweep that says it; None where it is not known.
      per: the name of an axis that it grows with, by which it is divided before it is judged.
      pooled: whether the even mixture of several models' laws has it, see ``Task.pooled``.
      dims: of a metric that is an array, what a result calls its dimensions.
    """

    long_name: str
    units: str
    infinite: bool = False
    scale: str = "linear"
    of: Callable[..., Any] | None = None
    speaks_for: tuple[str, ...] = ()
    real: float | str | None = None
    per: str = ""
    pooled: bool = False
    dims: tuple[str, ...] = ()


SHARE = Metric("Share of real data in what is fitted", "1", scale="log")


def unlabelled(name: str) -> Metric:
    """The label of a metric that has none: its name in words."""
    return Metric(name.replace("_", " ").capitalize(), "1")


def functions_of(measures: Measures) -> dict[str, Callable[..., Any]]:
    """The functions of ``measures``, by the name of what each measures.

    Raises:
      ValueError: one of them is no function, or has the name of every chain's own metric.
    """
    if measures is None:
        return {}
    if not isinstance(measures, Mapping):
        if not callable(measures):
            raise checks.refusal(
                "measures", "functions by name", repr(measures), "give {'name': function}"
            )
        measures = {MEASURES: measures}
    found: dict[str, Any] = {
        name: measure.of if isinstance(measure, Metric) else measure
        for name, measure in measures.items()
    }
    for name, function in found.items():
        if not callable(function):
            raise checks.refusal(
                f"measure {name}", "a function, or a Metric with one", repr(function), "give it one"
            )
        if name == SHARE_OF_REAL_DATA:
            raise _taken(MEASURES, name)
    return found


def joined(metrics: Metrics, name: str, measured: Any) -> Metrics:
    """Metrics with those that one function measured.

    Args:
      metrics: found so far.
      name: of the function.
      measured: what it returned: a dict of metrics for ``evaluate`` and ``measures``.

    Raises:
      ValueError: it returned something else, or a metric of a name that is there already.
    """
    if name not in (EVALUATE, MEASURES):
        measured = {name: measured}
    elif not isinstance(measured, Mapping):
        raise checks.refusal(
            f"what {name} returns",
            "a dict of metrics by name",
            checks.described(measured),
            "return {'name': value}",
        )
    for new, value in measured.items():
        if new in metrics or new == SHARE_OF_REAL_DATA:
            raise _taken(name, new)
        if value is None:
            raise checks.refusal(f"metric {new} of {name}", "an array", "None", "return its value")
    return {**metrics, **measured}


def _taken(function: str, name: str) -> ValueError:
    return checks.refusal(
        f"metric of {function}",
        "a name of its own",
        name,
        "rename it: there is one of that name already",
    )
