"""What a signature declares of its parameters: which are axes, their checks, symbols and help.

A parameter is declared once, where the function that takes it is defined:

>>> @declared
... def task(
...     dim: Annotated[int, Axis(1, 3, 10, symbol="D", least=1)],
...     ddof: Annotated[float, Option(least=0)] = 0,
...     pool: Literal["auto", "points", "statistics"] = "auto",
... ) -> Task:
...     '''Gaussians.
...
...     Args:
...       dim: D, the number of dimensions.
...       ddof: The scatter is divided by ``N - ddof``.
...       pool: What is kept.
...     '''

From there come the checks of its values, the options of a command and their help, which parameters
are traced, which axis is the size of a batch, and the symbols in figures.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from jaxcollapse import checks

# When a parameter changes no array's shape, so that one program serves all its values.
TRACED = (False, True, "statistics")


@dataclasses.dataclass(frozen=True, init=False)
class Axis:
    """A parameter that a sweep varies.

    Attributes:
      grid: its values where a command names none.
      mixture: likewise for grids of mixtures; ``grid`` if there are none.
      symbol: in figures and equations.
      traced: whether one program serves all its values: False, True, or on ``statistics``.
      least: the smallest value, of a number.
      batch: whether it is N, the points of each generation.
    """

    grid: tuple[Any, ...]
    mixture: tuple[Any, ...]
    symbol: str | None
    traced: bool | str
    least: float | None
    batch: bool

    def __init__(
        self,
        *grid: Any,
        mixture: tuple[Any, ...] = (),
        symbol: str | None = None,
        traced: bool | str = False,
        least: float | None = None,
        batch: bool = False,
    ):
        """See the attributes."""
        checks.one_of("traced", traced, TRACED)
        values = (grid, mixture or grid, symbol, traced, least, batch)
        for name, value in zip(self.__dataclass_fields__, values, strict=True):
            object.__setattr__(self, name, value)


@dataclasses.dataclass(frozen=True)
class Option:
    """A parameter that is the same for all cells of a sweep.

    Attributes:
      least: the smallest value, of a number.
      above: a number that its value is above.
      below: a number that its value is below.
      file: whether it is an array, which a command reads from a file; where it may be a
        ``"vector"`` a single row or column of a file is one.
      names: the axis whose only value is the file's name, where there is a file.
      hidden: whether commands do not have it.
      by_default: what stands in for it where it is not given, in words, if other parameters decide.
    """

    least: float | None = None
    above: float | None = None
    below: float | None = None
    file: bool | Literal["vector"] = False
    names: str | None = None
    hidden: bool = False
    by_default: str | None = None


_EMPTY: Any = inspect.Parameter.empty


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter of a function, read from its signature and docstring.

    Attributes:
      name: as it is called.
      kind: its type, without what annotates it.
      default: its value where none is given; ``inspect.Parameter.empty`` where one must be.
      help: one or more sentences.
      how: what is declared of it.
    """

    name: str
    kind: Any
    default: Any
    help: str
    how: Axis | Option

    @property
    def is_axis(self) -> bool:
        """Whether a sweep varies it."""
        return isinstance(self.how, Axis)

    @property
    def is_batch(self) -> bool:
        """Whether it is the size of a batch."""
        return isinstance(self.how, Axis) and self.how.batch

    @property
    def choices(self) -> tuple[Any, ...]:
        """All its values, where they are names."""
        return tuple(
            value
            for kind in alternatives(self.kind)
            for value in typing.get_args(kind)
            if typing.get_origin(kind) is typing.Literal
        )

    @property
    def names(self) -> tuple[Any, ...]:
        """All that its values may hold, where they are several names."""
        return tuple(
            name
            for kind in alternatives(self.kind)
            for several in typing.get_args(kind)
            if typing.get_origin(kind) is tuple and typing.get_origin(several) is typing.Literal
            for name in typing.get_args(several)
        )

    @property
    def symbol(self) -> str:
        """What figures call it."""
        return (isinstance(self.how, Axis) and self.how.symbol) or self.name.replace("_", " ")

    @property
    def by_default(self) -> Any:
        """What stands in for it where it is not given: a value, or words; None for nothing."""
        return getattr(self.how, "by_default", None) or self.default

    def is_traced(self, on_statistics: bool) -> bool:
        """Whether one program serves all its values."""
        traced = getattr(self.how, "traced", False)
        return traced is True or (traced == "statistics" and on_statistics)

    def checked(self, value: Any) -> Any:
        """The value, a whole number as an ``int``.

        Raises:
          ValueError: the parameter cannot have it.
        """
        if checks.is_traced(value) or value is self.default or value is None:
            return value
        if self.names:
            given = value if checks.is_several(value) else [value]
            return tuple(checks.one_of(self.name, name, self.names) for name in given)
        several = any(typing.get_origin(kind) for kind in alternatives(self.kind))
        if several and checks.is_several(value):
            return value  # of numbers or of one, such as seeds
        if self.choices and (isinstance(value, str) or self.kind not in (Any, _EMPTY)):
            return checks.one_of(self.name, value, self.choices)
        if self.kind is bool:
            if not isinstance(value, bool | np.bool_):
                raise checks.refusal(self.name, "True or False", repr(value), "give one of those")
            return bool(value)
        kinds = alternatives(self.kind)
        whole = int in kinds and float not in kinds
        if whole and not (str in kinds and isinstance(value, str)):
            least = -(2**31) if self.how.least is None else int(self.how.least)
            return checks.whole_number(self.name, value, least)
        # A rule or a list of numbers is the task's to check.
        other = str in kinds and (isinstance(value, str | tuple) or np.ndim(value) > 0)
        if float in kinds and not other:
            self._check_number(value)
        return value

    def _check_number(self, value: Any) -> None:
        above = getattr(self.how, "above", None)
        below = getattr(self.how, "below", None)
        least = self.how.least
        try:
            number = math.nan if isinstance(value, str) else float(value)
        except (TypeError, ValueError):
            raise checks.refusal(self.name, "a number", repr(value), "give one") from None
        wrong = not math.isfinite(number)
        wrong |= least is not None and number < least
        wrong |= above is not None and number <= above
        wrong |= below is not None and number >= below
        if not wrong:
            return
        words = (
            [f"of at least {least}"] * (least is not None)
            + [f"above {above}"] * (above is not None)
            + [f"below {below}"] * (below is not None)
        )
        expected = f"a finite number {' and '.join(words)}".strip()
        raise checks.refusal(self.name, expected, value, "change it")


def record(kind: Any, options: Mapping[str, Any]) -> Any:
    """A record of those options that are its fields, checked as these are declared.

    Raises:
      ValueError: a field cannot have its value.
    """
    known = parameters_of(kind)
    return kind(**{name: known[name].checked(v) for name, v in options.items() if name in known})


def alternatives(kind: Any) -> tuple[Any, ...]:
    """The types that a value may have: of ``int | None`` both, of ``int`` that one."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return typing.get_args(kind)
    return (kind,)


@functools.cache
def parameters_of(function: Callable[..., Any]) -> Mapping[str, Parameter]:
    """The parameters of a function, or the fields of a dataclass, by name.

    What is not annotated is an axis if it has to be given, and else an option; an axis called
    ``num_samples`` is the size of a batch. What a function takes by position alone is none of them;
    what it takes beside as ``**options`` may be declared elsewhere, see ``also``.
    """
    signature = inspect.signature(function)
    hints = _hints(function)
    helps = _helps(function)
    found: dict[str, Parameter] = {}
    for name, parameter in signature.parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            continue
        kind, how = _annotation(hints.get(name, Any))
        if how is None:
            required = parameter.default is parameter.empty
            how = Axis(batch=name == "num_samples") if required else Option()
        if kind is Any and parameter.default is not parameter.empty:
            guess = type(parameter.default)
            kind = guess if guess in (int, float, str, bool) else Any
        found[name] = Parameter(name, kind, parameter.default, helps.get(name, ""), how)
    for other in getattr(function, "declared_also", ()):
        found |= {k: v for k, v in parameters_of(other).items() if k not in found}
    return found


def takes_any(function: Callable[..., Any]) -> bool:
    """Whether a function takes options that are declared nowhere."""
    others = getattr(function, "declared_also", ())
    if others:
        return any(takes_any(other) for other in others)
    kinds = [p.kind for p in inspect.signature(function).parameters.values()]
    return inspect.Parameter.VAR_KEYWORD in kinds


def also(*others: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Says where the ``**options`` of a function are declared: fields of dataclasses, say."""

    def mark(function):
        function.declared_also = others
        return function

    return mark


def declared(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose arguments are checked as its signature declares.

    Raises:
      ValueError: from the function that is returned, for a value that a parameter cannot have.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        known = parameters_of(function)
        for name, value in bound.arguments.items():
            if name in known:
                bound.arguments[name] = known[name].checked(value)
        return function(*bound.args, **bound.kwargs)

    return checked


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    where = inspect.unwrap(function)
    try:
        return typing.get_type_hints(where, include_extras=True)
    except NameError:  # a name that is imported for type checkers alone: what else is there?
        found: dict[str, Any] = {}
        for name, hint in where.__annotations__.items():
            one = types.SimpleNamespace(__annotations__={name: hint})
            with contextlib.suppress(NameError):
                found |= typing.get_type_hints(one, where.__globals__, include_extras=True)
        return found


def _annotation(hint: Any) -> tuple[Any, Axis | Option | None]:
    if typing.get_origin(hint) is not typing.Annotated:
        return hint, None
    kind, *extras = typing.get_args(hint)
    how = [extra for extra in extras if isinstance(extra, Axis | Option)]
    return kind, how[0] if how else None


def _helps(function: Callable[..., Any]) -> dict[str, str]:
    """The lines on each parameter of a docstring in Google's style."""
    doc = inspect.getdoc(inspect.unwrap(function)) or ""
    heading = "Attributes" if isinstance(function, type) else "Args"
    part = re.search(rf"^{heading}:\n(.*?)(?=^\S|\Z)", doc, re.S | re.M)
    if part is None:
        return {}
    told = re.findall(r"^  (\w+): (.*?)(?=^  \**\w+: |\Z)", part[1], re.S | re.M)
    return {name: " ".join(text.split()) for name, text in told}
