"""The tasks that come with jaxcollapse, by name."""

from __future__ import annotations

from jaxcollapse import checks
from jaxcollapse.tasks import categorical, gaussian, kde, linear_regression
from jaxcollapse.tasks.family import TaskFamily

FAMILIES: dict[str, TaskFamily] = {
    module.FAMILY.name: module.FAMILY for module in (gaussian, kde, linear_regression, categorical)
}


def as_family(task: TaskFamily | str) -> TaskFamily:
    """A task family from its name or itself."""
    if isinstance(task, TaskFamily):
        return task
    if not isinstance(task, str):
        raise checks.refuse(
            "task",
            "a task's name or a TaskFamily",
            f"a {type(task).__name__}",
            "for one Task, map make_chain over seeds",
        )
    return FAMILIES[checks.one_of("task", task, FAMILIES)]
