"""The tasks that come with jaxcollapse, by name."""

from __future__ import annotations

import importlib

from jaxcollapse import checks
from jaxcollapse.families import TaskFamily
from jaxcollapse.tasks import categorical, gaussian, kde, linear_regression

FAMILIES: dict[str, TaskFamily] = {
    module.FAMILY.name: module.FAMILY for module in (gaussian, kde, linear_regression, categorical)
}
# Tasks that need an extra are imported when they are asked for.
WITH_EXTRAS = {
    "language-model": "jaxcollapse.lm.language_model",
    "fine-tuning": "jaxcollapse.lm.fine_tuning",
}


def as_family(task: TaskFamily | str) -> TaskFamily:
    """A task family from its name or itself.

    Raises:
      ValueError: there is none of that name.
      ImportError: the task needs an extra that is not installed.
    """
    if isinstance(task, TaskFamily):
        return task
    if not isinstance(task, str):
        raise checks.refusal(
            "task",
            "a task's name or a TaskFamily",
            f"a {type(task).__name__}",
            "for one Task, map make_chain over seeds",
        )
    checks.one_of("task", task, (*FAMILIES, *WITH_EXTRAS))
    if task in WITH_EXTRAS:
        return importlib.import_module(WITH_EXTRAS[task]).FAMILY
    return FAMILIES[task]
