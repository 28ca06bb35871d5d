"""Publishers as axes of any task: its family with further parameters."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jaxcollapse import checks
from jaxcollapse.families import TaskFamily
from jaxcollapse.parameters import Axis, Parameter, also, parameters_of, takes_any
from jaxcollapse.publishers import ensembles
from jaxcollapse.publishers.ensembles import ensemble
from jaxcollapse.publishers.selection import curated, verified
from jaxcollapse.publishers.tempering import tempered, truncated
from jaxcollapse.task import Task

# By the axis that each of them brings, from the model outwards. At 1 each is the task itself.
PUBLISHERS: dict[str, Callable[..., Task]] = {
    "temperature": tempered,
    "mass": truncated,
    "keep_best": verified,
    "best_of": curated,
    "models": ensemble,
}
# Of those that look at rows.
OF_POINTS = ("mass", "keep_best", "best_of", "models")
_SOME = {"temperature": 0.5, "mass": 0.5, "keep_best": 0.5, "best_of": 2, "models": 2}


def offers(family: TaskFamily) -> dict[str, Parameter]:
    """The parameters of all publishers that a task can have, but for those it has already."""
    found: dict[str, Parameter] = {}
    for axis, publisher in PUBLISHERS.items():
        if serves(family, axis):
            found |= parameters_of(publisher)
    return {name: p for name, p in found.items() if name not in family.parameters}


@functools.cache
def _serves(task: Callable[..., Any], axis: str) -> bool:
    known = parameters_of(task)
    grids = {name: p.how.grid for name, p in known.items() if isinstance(p.how, Axis)}
    if not all(grids.values()):
        return True  # which nothing but a point tells
    point = {
        name: grid[0] if isinstance(grid[0], str) else grid[-1] for name, grid in grids.items()
    }
    publisher = PUBLISHERS[axis]
    # Some serve under one of a task's options alone, some by one of the publisher's.
    for options in _ways({name: p for name, p in known.items() if name not in point}):
        for way in _ways(parameters_of(publisher)):
            with contextlib.suppress(ValueError):
                publisher(task(**point, **options), **{**way, axis: _SOME[axis]})
                return True
    return False


def _ways(parameters: Mapping[str, Parameter]) -> list[dict[str, Any]]:
    """No options, and each name that one of them may have."""
    return [{}, *({p.name: name} for p in parameters.values() for name in (*p.choices, *p.names))]


def serves(family: TaskFamily, axis: str) -> bool:
    """Whether a task can have a publisher, at the first name and the largest number of its axes.

    Args:
      family: the task; of one whose axes have no values of their own it is not known, and True.
      axis: of ``PUBLISHERS``.
    """
    return axis not in family.parameters and _serves(family.task, axis)


def offered(family: TaskFamily, names: Iterable[str]) -> TaskFamily:
    """The family whose tasks have publishers, with what these need as further parameters.

    >>> offered(gaussian.FAMILY, ["temperature"]).task(dim=1, num_samples=20, temperature=0.9)

    Args:
      family: the task.
      names: of axes that publishers bring (``PUBLISHERS``); others, and those that the task has
        already, are left to the task.

    Returns:
      The family itself where there is none of them.
    """
    wanted = set(names)
    axes = [name for name in PUBLISHERS if name in wanted and name not in family.parameters]
    if not axes:
        return family
    publishers = [PUBLISHERS[name] for name in axes]

    @also(family.task, *publishers)
    def task(**given: Any) -> Task:
        of_publishers = [_taken(publisher, given) for publisher in publishers]
        made = family.task(**given)
        models, batch = of_publishers[-1].get("models", 1), given.get(family.batch or "")
        if isinstance(models, int) and isinstance(batch, int):
            ensembles.check_size(batch, models)
        for publisher, parameters in zip(publishers, of_publishers, strict=True):
            made = publisher(made, **parameters)
        return made

    task.__doc__ = family.task.__doc__
    brought = {name for publisher in publishers for name in parameters_of(publisher)}

    def own(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if name not in brought}

    def rest(point, options):
        """The task's own point and options, on points where a publisher looks at rows."""
        looks = any(name in OF_POINTS and point[name] != 1 for name in axes)
        kept = {"pool": "points"} if looks and "pool" in family.parameters else {}
        return own(point), {**own(options), **kept}

    def traced(workflow, point, options):
        assert family.traced is not None
        more = {name: float(point[name]) for name in axes if _is_traced(publishers, name)}
        return {**family.traced(workflow, *rest(point, options)), **more}

    def known(options):
        names = family.known(own(options))[:-1]  # the chain's own metric is the last
        if "models" not in axes:
            return names
        return ensembles.known(names, family.metrics, options.get("metrics_of", ()))

    def with_labels(metrics):
        return ensembles.labelled(metrics) if "models" in axes else metrics

    def cost(**point):
        several = point.get("models", 1) * point.get("best_of", 1) / point.get("keep_best", 1)
        return family.relative_cost(**own(point)) * several

    def resolved(point, options):
        assert family.resolved is not None
        return family.resolved(own(point), own(options))

    return family._replace(
        task=task,
        bare=family,
        metrics=with_labels(family.metrics),
        metrics_under=known,
        relative_cost=cost,
        traced=None if family.traced is None else traced,
        approximations=lambda workflow, point, options: family.approximations(
            workflow, *rest(point, options)
        ),
        resolved=None if family.resolved is None else resolved,
        fit_bytes=lambda point, options: family.fit_bytes(own(point), own(options)),
    )


def check_options(family: TaskFamily, options: Mapping[str, Any], axes: Mapping[str, Any]) -> None:
    """Raises ``ValueError`` for parameters of publishers that do not go with the axes."""
    if "models" in axes and "models" not in (family.bare or family).parameters:
        ensembles.check_grid(axes, options.get("metrics_of", ()))
    if takes_any(family.task):
        return
    for axis, publisher in PUBLISHERS.items():
        for name in options:
            if name in family.parameters or name not in parameters_of(publisher):
                continue
            what = f"axis {axis}" if name == axis else f"option {name}, without the axis {axis}"
            remedy = f"give values for {axis} among the axes"
            raise checks.refusal(what, "some values to sweep over", "none", remedy)


def _taken(publisher: Callable[..., Task], given: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a publisher, taken out of all that is given."""
    return {name: given.pop(name) for name in parameters_of(publisher) if name in given}


def _is_traced(publishers: Iterable[Callable[..., Task]], name: str) -> bool:
    known = {k: v for publisher in publishers for k, v in parameters_of(publisher).items()}
    return known[name].is_traced(on_statistics=False)
