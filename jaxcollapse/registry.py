"""Tasks and workflows by name: built in, registered, or brought by another installed package."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from jaxcollapse import checks, plugins, publishers
from jaxcollapse.datasets.points import DATASETS, PointDataset
from jaxcollapse.families import TaskFamily, family_of
from jaxcollapse.spelling import kebab
from jaxcollapse.task import Task
from jaxcollapse.workflows import WORKFLOWS, Workflow

# Tasks are imported when they are asked for; some need an extra.
TASKS = plugins.Named(
    "task",
    "jaxcollapse.tasks",
    {
        "gaussian": "jaxcollapse.tasks.gaussian.family:FAMILY",
        "kde": "jaxcollapse.tasks.kde.family:FAMILY",
        "linear-regression": "jaxcollapse.tasks.linear_regression.family:FAMILY",
        "categorical": "jaxcollapse.tasks.categorical.family:FAMILY",
        "language-model": "jaxcollapse.lm.language_model:FAMILY",
        "fine-tuning": "jaxcollapse.lm.fine_tuning:FAMILY",
    },
)


def as_family(task: TaskFamily | Task | str) -> TaskFamily:
    """A task family from its name, itself, or one task.

    Raises:
      ValueError: there is none of that name.
      ImportError: the task needs an extra that is not installed.
    """
    if isinstance(task, str):
        task = TASKS.find(task)
    if isinstance(task, Task):
        return family_of(task)
    if not isinstance(task, TaskFamily):
        raise checks.refusal(
            "task",
            "a task's name, a TaskFamily or a Task",
            f"a {type(task).__name__}",
            "make one with jaxcollapse.points_task",
        )
    return task


def families() -> Iterator[TaskFamily]:
    """All that have names, but for those of an extra that is not installed."""
    for name in TASKS.names():
        try:
            yield as_family(name)
        except ImportError:
            continue


def published(task: TaskFamily | Task | str, names: Iterable[str]) -> TaskFamily:
    """A task family with those publishers whose axes are among names, see ``publishers.offered``.

    Raises:
      ValueError: as for ``as_family``, or the task cannot have one of them.
      ImportError: likewise.
    """
    family, names = as_family(task), list(names)
    for axis in publishers.PUBLISHERS:
        if axis in names and axis not in family.parameters and not publishers.serves(family, axis):
            raise not_served(family, axis)
    return publishers.offered(family, names)


def not_served(family: TaskFamily, axis: str) -> ValueError:
    """The refusal of a publisher that a task cannot have."""
    served = [other.name for other in families() if publishers.serves(other, axis)]
    return checks.refusal(
        f"task with the publisher {axis}",
        f"one that it serves, {', '.join(served)}",
        family.name,
        f"leave {axis} out; 'jaxcollapse describe {axis}' tells why",
    )


def is_own(family: TaskFamily) -> bool:
    """Whether a family is the user's, whose functions may change under one name."""
    bare = family if family.bare is None else family.bare
    return not (family.name in TASKS.built_in and TASKS.find(family.name) is bare)


def register(thing: Any, name: str | None = None) -> Any:
    """Makes something known by name: to sweeps, mixtures, the command line and plots.

    It may stand above a class as a decorator. What another package brings needs no call: an entry
    point of the group ``jaxcollapse.tasks``, ``jaxcollapse.workflows`` or ``jaxcollapse.datasets``
    in its pyproject does it.

    Args:
      thing: a ``TaskFamily``; a ``Workflow``, a subclass of it, or a function that makes one; or a
        ``PointDataset``.
      name: of a workflow, by default that which its spelling begins with; or of a data set. A
        family has its own.

    Returns:
      The thing itself.

    Raises:
      ValueError: it is none of these, or the name is that of something built in.
    """
    if isinstance(thing, TaskFamily):
        if name not in (None, thing.name):
            raise checks.refusal("name of a family", repr(thing.name), repr(name), "leave it out")
        TASKS.add(thing.name, thing)
    elif isinstance(thing, PointDataset):
        DATASETS.add(name or thing.name, thing)
    elif isinstance(thing, Workflow):
        WORKFLOWS.add(name or str(thing).partition(":")[0], thing)
    elif isinstance(thing, type) and issubclass(thing, Workflow):
        WORKFLOWS.add(name or kebab(thing.__name__), thing)
    elif callable(thing) and name is not None:
        WORKFLOWS.add(name, thing)
    else:
        raise checks.refusal(
            "what to register",
            "a TaskFamily, a Workflow or a subclass of it, a function with a name, a PointDataset",
            repr(thing),
            "register one of those",
        )
    return thing
