"""Which data each generation's model trains on: a record, which knows no task.

A record says which batches stay, what becomes of the real one, and how many rows are drawn of all
that. So workflows can be compared, hashed, written in files, spelled on the command line, and their
closed forms looked up. One that no record says is a subclass with one method, ``choose``.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np

from jaxcollapse import checks, plugins, schedules
from jaxcollapse.spelling import kebab, read_value, spelled
from jaxcollapse.workflow_checks import check_class, check_numbers

REAL = ("once", "kept", "fresh")
NUMBERS = ("share", "weight", "sizes")  # fields that change no shape


@dataclasses.dataclass(frozen=True)
class Workflow:
    """Which rows each generation's model sees. The model of generation 1 sees the real batch.

    A subclass may have fields of its own, and ``choose``:

    >>> @dataclasses.dataclass(frozen=True)
    ... class Fading(Workflow):
    ...     half_life: float = 3.0
    ...
    ...     def choose(self, key, rows):
    ...         return 0.5 ** ((rows.now - rows.generation) / self.half_life)

    Attributes:
      keep: So many of the newest batches stay, of which the real batch is the first; None (spelled
        ``all``) keeps all.
      real: The real batch goes as the others go (``once``), stays beside them for ever (``kept``),
        or is another one in each generation, drawn from the same truth (``fresh``).
      draw: So many rows are drawn of all that, without replacement: 0 draws as many as a batch
        has; None (spelled ``all``) takes everything.
      share: This share of the N rows that a model sees is real, the rest synthetic; None takes all
        rows that there are. A row at the edge counts as a part of one. Where there is only one
        kind, as in generation 1, all N are of it.
      weight: All real rows together count as this much of 1, and the synthetic ones as the rest;
        None counts all rows alike, as is done where there is only one kind.
      sizes: Batches 0 (the real one), 1, 2, ... have so many rows of the N for which there is room,
        the last number going on; None gives all of them N.

    ``share`` and ``weight`` are a number, a tuple of the values of generation 1, 2, ..., of which
    the last goes on, or ``"c*t^-a"`` in the generation t; or they are traced. So are ``sizes``, of
    batch t - 1, rounded. With them a ``share`` is of as many rows as the newest batch has, or of
    fewer where the real ones run short.

    Raises:
      ValueError: a field has none of these values, or two of them cannot stand together.
    """

    keep: int | None = None
    real: Literal["once", "kept", "fresh"] = "once"
    draw: int | None = None
    share: Any = None
    weight: Any = None
    sizes: Any = None

    def __post_init__(self) -> None:
        """Refuses what no workflow can be."""
        if self.keep is not None:
            object.__setattr__(self, "keep", checks.whole_number("keep", self.keep))
        checks.one_of("real", self.real, REAL)
        if self.draw is not None:
            object.__setattr__(self, "draw", checks.whole_number("draw", self.draw, minimum=0))
        object.__setattr__(self, "share", schedules.fraction("share", self.share))
        object.__setattr__(self, "weight", schedules.fraction("weight", self.weight))
        object.__setattr__(self, "sizes", schedules.counts("sizes", self.sizes))
        given = ", ".join(self.numbers)
        if given:
            check_numbers(self, given)
        if type(self) is not Workflow:
            check_class(self, Workflow)

    # What a subclass may bring ------------------------------------------------------------------

    def choose(self, key: Any, rows: Any) -> Any:
        """How much each row of the pool counts for the next model; for a subclass to bring.

        A method of three arguments, ``choose(self, key, rows, state)``, also returns the next
        state: ``(weights, state)``. It begins as what ``start()`` returns.

        Args:
          key: a typed key of this generation's.
          rows: the pool as ``rows.Rows``: ``data`` in real coordinates, ``generation``, ``now``,
            ``occupied``.

        Returns:
          bool ``[R]``, which rows count, or float ``[R]``, of how many rows each one counts as, at
          least 0 and not 0 for all (NaN follows from others); rows that are not occupied do not
          count in any case.
        """
        raise checks.refusal(
            "workflow", "a subclass with a method choose", type(self).__name__, "give it one"
        )

    def start(self) -> Any:
        """The first state of a ``choose`` that keeps one, a pytree of arrays."""
        return ()

    def closed_form(
        self, task: str, metric: str, generation: Any, options: Any, **axes: Any
    ) -> Any:
        """The mean over seeds that is known under it; for a subclass to bring.

        Args:
          task: the task's name.
          metric: of that task, or of every chain.
          generation: int ``[G]``, from 1.
          options: of the task.
          **axes: of the task.

        Returns:
          Float ``[G]``, or None where it is not known.
        """
        return None

    # What follows from the record ---------------------------------------------------------------

    @property
    def chooses(self) -> bool:
        """Whether it is a subclass that says how much each row counts."""
        return type(self).choose is not Workflow.choose

    @property
    def needs_points(self) -> bool:
        """Whether it tells rows of one batch apart, which statistics of a batch cannot."""
        others = self.draw, self.share, self.sizes
        return self.chooses or any(field is not None for field in others)

    @property
    def counts(self) -> bool:
        """Whether rows count as a share, a weight or sizes say."""
        return any(getattr(self, name) is not None for name in NUMBERS)

    @property
    def numbers(self) -> dict[str, Any]:
        """Of its fields those that change no shape, and may be traced."""
        return {name: v for name in NUMBERS if (v := getattr(self, name)) is not None}

    @property
    def form(self) -> tuple[Any, ...]:
        """What it is without those numbers, which decides programs; hashable."""
        fixed = ((name, value) for name, value in self.fields.items() if name not in NUMBERS)
        return (type(self), *fixed, str(jax.tree.structure(self.numbers)))

    @property
    def real_apart(self) -> bool:
        """Whether real data have a place of their own beside the newest batches."""
        return self.real != "once"

    def batches(self, generation: Any) -> Any:
        """How many batches the model of a generation finds, from generation 1 on; of NumPy."""
        others = generation - 1 if self.real_apart else generation
        kept = others if self.keep is None else np.minimum(others, self.keep)
        return kept + int(self.real_apart)

    def slots(self, num_generations: int) -> int:
        """The most batches that it finds within so many generations."""
        return int(self.batches(num_generations))

    def rows(self, generation: Any, batch: Any) -> Any:
        """How many rows of batches of so many the model of a generation sees, at most."""
        if self.share is not None:
            return batch
        return self.batches(generation) * batch if self.draw is None else self.draw or batch

    @property
    def name(self) -> str:
        """As it is spelled on the command line and in results."""
        return str(self)

    @property
    def fields(self) -> dict[str, Any]:
        """Its fields by name, those of a subclass too."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def describe(self) -> dict[str, Any]:
        """The record as JSON can hold it; of a subclass also which it is."""
        kind = {} if type(self) is Workflow else {"class": _address(type(self))}
        # Fields that came later are left out where they are not set, as in older files.
        plain = {k: schedules.plain(v) if k in NUMBERS else v for k, v in self.fields.items()}
        return {**kind, **{k: v for k, v in plain.items() if k not in NUMBERS or v is not None}}

    def __str__(self) -> str:
        """The shortest spelling that ``parse`` reads: ``accumulate-subsample:draw=50``."""
        name, base = _nearest(self)
        fixed = {k: v for k, v in self.fields.items() if k not in NUMBERS}
        told = {k: spelled(v) for k, v in fixed.items() if v != base.get(k, _NOTHING)}
        told |= {k: schedules.spelled(v) for k, v in self.numbers.items()}
        return ":".join([name, *(f"{k}={text}" for k, text in told.items())])


# The named ones ---------------------------------------------------------------------------------


def replace(sizes: Any = None) -> Workflow:
    """Each model trains only on what the model before it made."""
    return Workflow(keep=1, sizes=sizes)


def accumulate(share: Any = None, weight: Any = None, sizes: Any = None) -> Workflow:
    """Each model trains on the real data and everything made since."""
    return Workflow(share=share, weight=weight, sizes=sizes)


def accumulate_subsample(size: int | None = None) -> Workflow:
    """Each model trains on points drawn, without replacement, from all made so far.

    Args:
      size: how many points are drawn; None draws as many as one generation makes, so that the
        first model trains on all the real data.

    Raises:
      ValueError: ``size`` is not a whole number of at least 1; or, once a chain is built, it is
        larger than the first pool.
    """
    return Workflow(draw=0 if size is None else checks.whole_number("subsample size", size))


def window(keep: int, share: Any = None, weight: Any = None, sizes: Any = None) -> Workflow:
    """Each model trains on the ``keep`` newest batches; the real one is the first of them.

    Raises:
      ValueError: ``keep`` is not a whole number of at least 1.
    """
    keep = checks.whole_number("keep", keep)
    return Workflow(keep=keep, share=share, weight=weight, sizes=sizes)


def fixed_real(share: Any = None, weight: Any = None, sizes: Any = None) -> Workflow:
    """Each model trains on the real batch and what the model before it made."""
    return Workflow(keep=1, real="kept", share=share, weight=weight, sizes=sizes)


def fresh_real(share: Any = None, weight: Any = None, sizes: Any = None) -> Workflow:
    """Each model trains on a real batch of its own and what the model before it made."""
    return Workflow(keep=1, real="fresh", share=share, weight=weight, sizes=sizes)


# A name stands for a record, for a subclass, or for a function that makes one of its arguments.
WORKFLOWS = plugins.Named(
    "workflow",
    "jaxcollapse.workflows",
    {
        "replace": replace,
        "accumulate": accumulate,
        "accumulate-subsample": accumulate_subsample,
        "window": window,
        "fixed-real": fixed_real,
        "fresh-real": fresh_real,
    },
)


def as_workflow(workflow: Workflow | Callable[[], Workflow] | str) -> Workflow:
    """A workflow from its spelling, its function or class, or itself.

    Raises:
      ValueError: it is none of these.
    """
    if isinstance(workflow, str):
        return parse(workflow)
    made = workflow() if callable(workflow) and not isinstance(workflow, Workflow) else workflow
    if not isinstance(made, Workflow):
        raise checks.refusal(
            "workflow",
            "a Workflow, a function of one, or a name",
            repr(made),
            "try 'replace' or jaxcollapse.window(3)",
        )
    try:
        hash(made.form)
    except TypeError:
        raise checks.refusal(
            "workflow",
            "fields that never change: numbers, text, tuples",
            repr(made),
            "give an array as a tuple",
        ) from None
    return made


def as_workflows(workflows: Any) -> list[Workflow]:
    """Workflows from a list of those, or from one; each once.

    Raises:
      ValueError: there is none, one is none, or two are the same.
    """
    one = isinstance(workflows, Workflow) or not checks.is_several(workflows)
    made = [as_workflow(workflow) for workflow in ([workflows] if one else workflows)]
    for workflow in made:
        for name, value in workflow.numbers.items():
            if schedules.is_traced(value):
                known, remedy = "numbers known before tracing", "use make_chain"
                raise checks.refusal(f"{name} of a sweep's workflow", known, "a traced one", remedy)
    checks.distinct("workflow", [workflow.name for workflow in made])
    checks.distinct("workflow", made)
    return made


# Spelling ---------------------------------------------------------------------------------------


def parse(text: str) -> Workflow:
    """A workflow from its spelling: a name, and fields behind colons.

    >>> parse("accumulate-subsample:draw=50"), parse("window:keep=3"), parse("fresh-real:share=0.1")

    Raises:
      ValueError: an unknown name or field, or a value that the field cannot have.
    """
    name, *told = text.split(":")
    name = name.strip() if name in WORKFLOWS else name.strip().replace("_", "-")
    if told and "=" not in told[0] and name not in WORKFLOWS:  # module:Class
        name = f"{text.partition(':')[0]}:{told.pop(0)}"
    known = WORKFLOWS.find(name)
    given = {}
    for part in told:
        field, equals, value = part.partition("=")
        if not equals or field in given:
            raise checks.refusal(
                f"workflow {text}", "NAME:FIELD=VALUE:..., each field once", repr(part), "mend it"
            )
        given[field.strip().replace("-", "_")] = value.strip()
    if isinstance(known, Workflow):
        return _with(known, given, name)
    if isinstance(known, type) and issubclass(known, Workflow):
        return _with(known(), given, name)
    if not callable(known) or isinstance(known, type):
        raise checks.refusal(
            f"workflow {name}", "one, or a function of one", repr(known), "mend it"
        )
    parameters = inspect.signature(known).parameters.values()
    required = [p.name for p in parameters if p.default is p.empty]
    for field in required:
        if field not in given:
            raise checks.refusal(f"workflow {name}", f"{name}:{field}=...", text, f"say {field}")
    made = known(*(read_value(int, field, given.pop(field)) for field in required))
    if type(made) is not Workflow and WORKFLOWS.name_of(type(made)) is None:
        raise checks.refusal(
            f"workflow {name}, a function",
            "one of plain records",
            f"one that makes a {type(made).__name__}",
            "register the class itself",
        )
    return _with(made, given, name)


def _with(workflow: Workflow, given: dict[str, str], name: str) -> Workflow:
    """A workflow with fields from their spelling."""
    hints = typing.get_type_hints(type(workflow))
    for field in given:
        checks.one_of(f"field of workflow {name}", field, workflow.fields)
    values: dict[str, Any] = {
        field: text if field in NUMBERS else read_value(hints.get(field), field, text)
        for field, text in given.items()
    }
    return dataclasses.replace(workflow, **values)


def _nearest(workflow: Workflow) -> tuple[str, dict[str, Any]]:
    """The name that a spelling begins with, and the fields that it already tells."""
    if type(workflow) is not Workflow:
        fields = dataclasses.fields(workflow)
        told = {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
        return WORKFLOWS.name_of(type(workflow)) or kebab(type(workflow).__name__), told
    if workflow.real_apart:
        name, base = {"kept": ("fixed-real", fixed_real()), "fresh": ("fresh-real", fresh_real())}[
            workflow.real
        ]
        return name, base.fields
    if workflow.keep is None:
        if workflow.draw is None:
            return "accumulate", accumulate().fields
        return "accumulate-subsample", accumulate_subsample().fields
    if workflow.keep == 1:
        return "replace", replace().fields
    return "window", {name: v for name, v in accumulate().fields.items() if name != "keep"}


def _address(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


_NOTHING: Any = object()
