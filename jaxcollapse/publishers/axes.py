"""Publishers as axes of any task: its family with further parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jaxcollapse import checks
from jaxcollapse.families import TaskFamily
from jaxcollapse.metrics import Metric
from jaxcollapse.parameters import Parameter, also, parameters_of, takes_any
from jaxcollapse.publishers import ensembles
from jaxcollapse.publishers.ensembles import ensemble
from jaxcollapse.publishers.selection import verified
from jaxcollapse.publishers.tempering import tempered, truncated
from jaxcollapse.task import Task

# By the axis that each of them brings, from the model outwards. At 1 each is the task itself.
PUBLISHERS: dict[str, Callable[..., Task]] = {
    "temperature": tempered,
    "mass": truncated,
    "keep_best": verified,
    "models": ensemble,
}
# Of those that look at rows.
OF_POINTS = ("mass", "keep_best", "models")


def offers(family: TaskFamily) -> dict[str, Parameter]:
    """The parameters of all publishers that a task may have, but for those it has already."""
    found = {k: v for name in PUBLISHERS for k, v in parameters_of(PUBLISHERS[name]).items()}
    return {name: p for name, p in found.items() if name not in family.parameters}


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
        assert family.metrics_under is not None
        return list(with_labels(dict.fromkeys(family.metrics_under(own(options)), _NO_LABEL)))

    def with_labels(metrics):
        return ensembles.labelled(metrics) if "models" in axes else metrics

    def cost(**point):
        several = point.get("models", 1) / point.get("keep_best", 1)
        return family.relative_cost(**own(point)) * several

    def resolved(point, options):
        assert family.resolved is not None
        return family.resolved(own(point), own(options))

    return family._replace(
        task=task,
        bare=family,
        metrics=with_labels(family.metrics),
        metrics_under=None if family.metrics_under is None else known,
        relative_cost=cost,
        traced=None if family.traced is None else traced,
        approximations=lambda workflow, point, options: family.approximations(
            workflow, *rest(point, options)
        ),
        resolved=None if family.resolved is None else resolved,
        fit_bytes=lambda point, options: family.fit_bytes(own(point), own(options)),
    )


_NO_LABEL = Metric("", "1")


def check_options(family: TaskFamily, options: Iterable[str]) -> None:
    """Raises ``ValueError`` for a parameter of a publisher whose axis is not asked for."""
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
