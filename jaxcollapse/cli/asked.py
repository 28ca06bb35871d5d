"""Options of a command from what a task's signature declares, and what was asked for with them."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import shlex
import textwrap
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import tyro

from jaxcollapse import checks, plugins
from jaxcollapse.cli import config
from jaxcollapse.families import TaskFamily
from jaxcollapse.inputs import numbers
from jaxcollapse.parameters import Axis, Option, Parameter, alternatives, parameters_of

LOOKS = (tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalMetavarFromFieldName)
PLAIN = (int, float, str, bool)
FILE = "On the command line it is a .npy or .npz file, or a .csv of numbers without a header line."


def options_class(
    family: TaskFamily,
    command: type,
    hidden: Sequence[str] = (),
    mixture: bool = False,
    beside: Mapping[str, Parameter] = MappingProxyType({}),
) -> type:
    """A dataclass of a command's options with those of a task.

    Args:
      family: the task.
      command: the dataclass of what all tasks have.
      hidden: names of parameters that the command does not have.
      mixture: whether axes have the values of grids of mixtures.
      beside: parameters that a task may have beside its own; axes among them have no values unless
        some are given.
    """
    shown = {name: p for name, p in family.parameters.items() if name not in hidden}
    usual = family.presets.get("corrected", {})
    name = "".join(part.capitalize() for part in family.name.split("-"))
    return class_of(
        name,
        command,
        {**shown, **beside},
        usual,
        mixture,
        plugins.summary(family.task),
        absent=tuple(beside),
        family=family,
    )


def class_of(
    name: str,
    command: type,
    parameters: Mapping[str, Parameter],
    usual: Mapping[str, Any] = MappingProxyType({}),
    mixture: bool = False,
    about: str | None = None,
    absent: Sequence[str] = (),
    **others: Any,
) -> type:
    """A dataclass of a command's own options with those that are declared elsewhere.

    Every axis takes some values, every other parameter one, or none: then it is its default.

    Args:
      name: of the class.
      command: the dataclass of the command's own options.
      parameters: the declared ones; those that a command cannot say are left out.
      usual: what stands in for some of these where they are not given.
      mixture: whether axes have the values of grids of mixtures.
      about: one line; the command's own by default.
      absent: names of axes that have no values unless some are given.
      **others: attributes of the class.
    """
    found = {
        p.name: _field(p, mixture, usual.get(p.name, p.by_default)) for p in parameters.values()
    }
    none = {name: dataclasses.field(default=()) for name in absent if parameters[name].is_axis}
    fields = [
        (field, told[0], none.get(field, told[1]))
        for field, told in found.items()
        if told is not None
    ]
    shown = {field: parameters[field] for field, *_ in fields}
    namespace = {"__doc__": about or command.__doc__, "parameters": shown, **others}
    return dataclasses.make_dataclass(
        name, fields, bases=(command,), frozen=True, kw_only=True, namespace=namespace
    )


def _field(parameter: Parameter, mixture: bool, usual: Any) -> tuple[Any, Any] | None:
    """Type and default of the field of a parameter; None if a command cannot say it."""
    how, told = parameter.how, plugins.plain(parameter.help)
    if isinstance(how, Axis):
        kind = _kind(parameter, *how.grid)
        several: Any = tuple[kind, ...]  # type: ignore[valid-type]
        grid = how.mixture if mixture else how.grid
        if grid or parameter.default is not inspect.Parameter.empty:
            default = dataclasses.field(default=tuple(grid) or (parameter.default,))
        else:
            default = dataclasses.field()
        return Annotated[several, tyro.conf.arg(help=told)], default
    if how.file:
        told = f"{told} {FILE}"
        return Annotated[Path | None, tyro.conf.arg(help=told)], dataclasses.field(default=None)
    kind = _kind(parameter)
    if kind is None or how.hidden:
        return None
    if kind is bool:
        return Annotated[bool, tyro.conf.arg(help=told)], dataclasses.field(default=usual is True)
    if usual is not None and usual != () and usual is not inspect.Parameter.empty:
        told = f"{told} By default {usual}."
    # Names are the task's to refuse, in the words of everything else.
    named = "|".join(parameter.choices) if kind is str and parameter.choices else None
    if parameter.names:
        named = f"{{{'|'.join(parameter.names)}}} ..."
    shown = tyro.conf.arg(help=told, metavar=named)
    return Annotated[kind | None, shown], dataclasses.field(default=None)


def _kind(parameter: Parameter, *values: Any) -> Any:
    """The type that a command reads a parameter's value as; None if it can read none."""
    if parameter.names:
        return tuple[str, ...]
    if parameter.kind is Any:
        return type(values[0]) if values else str if isinstance(parameter.how, Axis) else None
    known = [
        str if all(isinstance(value, str) for value in typing.get_args(k) or [0]) else k
        for k in alternatives(parameter.kind)
        if k in PLAIN or typing.get_origin(k)
    ]
    return typing.Union[tuple(known)] if known else None  # noqa: UP007


def axes_of(asked: Any, names: Sequence[str]) -> dict[str, list[Any]]:
    """Values of some axes, as they were asked for; a file may stand for the only one.

    Raises:
      ValueError: a file is given and values beside it.
    """
    parameters = asked.parameters
    axes = {name: list(getattr(asked, name)) for name in names}
    for name, parameter in parameters.items():
        how = parameter.how
        path = getattr(asked, name, None) if isinstance(how, Option) and how.names else None
        if path is None:
            continue
        if axes[how.names] and axes[how.names] != list(
            type(asked).__dataclass_fields__[how.names].default
        ):
            flag = how.names.replace("_", "-")
            raise checks.refusal(f"--{name}", f"no --{flag} beside it", "both", "leave one out")
        axes[how.names] = [path.stem]
    return axes


def options_of(asked: Any, function: Callable[..., Any] | None = None) -> dict[str, Any]:
    """The options that were given, arrays read from their files.

    Args:
      asked: an instance of ``class_of``'s.
      function: only those that this one takes.
    """
    known = asked.parameters if function is None else parameters_of(function)
    found = {}
    for name, parameter in asked.parameters.items():
        value = getattr(asked, name)
        if name not in known or parameter.is_axis or value is None:
            continue
        if isinstance(value, bool) and value == type(asked).__dataclass_fields__[name].default:
            continue
        vector = getattr(parameter.how, "file", False) == "vector"
        found[name] = numbers(value, vector=vector) if isinstance(value, Path) else value
    return found


def in_whole_lines(kind: type, **others: Any) -> type:
    """A dataclass of options whose helps are a line each, as tyro breaks them itself.

    It takes a docstring below a field with the ends of its lines, so that half of a sentence would
    stand on a line of its own.
    """
    told: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        told |= _docstrings(base)
    hints = typing.get_type_hints(kind, include_extras=True)
    fields: list[Any] = []
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if field.name in told:
            hint = Annotated[hint, tyro.conf.arg(help=told[field.name])]
        same = dataclasses.field(default=field.default, default_factory=field.default_factory)
        fields.append((field.name, hint, same))
    for name, told_of in config.HELP.items():
        hint = Annotated[Path | None, tyro.conf.arg(help=told_of, metavar="FILE")]
        fields.append((name, hint, dataclasses.field(default=None)))
    namespace = {"__doc__": kind.__doc__, **others}
    return dataclasses.make_dataclass(
        kind.__name__, fields, bases=(kind,), frozen=True, kw_only=True, namespace=namespace
    )


def _docstrings(kind: type) -> dict[str, str]:
    """What stands below the fields of a class, in its source."""
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    except (OSError, TypeError):  # of a class that was made here, whose fields say it themselves
        return {}
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    return {
        field.target.id: " ".join(below.value.value.split())
        for field, below in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }


def _in_words(command: str, arguments: Sequence[str]) -> str:
    """A command as a shell takes it, anywhere: what lies in this folder, or by its name alone."""
    words = []
    for word in arguments:
        flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        path = Path(value)
        if path.is_absolute() and len(path.parts) > 2:
            here = path.is_relative_to(Path.cwd())
            value = str(path.relative_to(Path.cwd())) if here else path.name
        words.append(f"{flag}{equals}{value}")
    return shlex.join(["jaxcollapse", *command.split(" "), *words])


def parsed(kind: type, command: str, arguments: Sequence[str], **defaults: Any) -> Any:
    """An instance of a dataclass of options from the words of a command, which it has as one text.

    Words of a configuration file that is named among them are put before them.

    Args:
      kind: the dataclass.
      command: its words, for help.
      arguments: what follows them.
      **defaults: of fields, in place of those that the dataclass has.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    usual = {field.name: field.default for field in dataclasses.fields(kind)} | defaults
    arguments, saved = config.expanded(hints, usual, command, arguments)
    kind = in_whole_lines(kind, command=_in_words(command, arguments))
    default = None
    if defaults:
        missing = {
            f.name: tyro.MISSING
            for f in dataclasses.fields(kind)
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        }
        default = kind(**{**missing, **defaults})
    found = tyro.cli(
        kind,
        prog=f"jaxcollapse {command}",
        args=list(arguments),
        **({} if default is None else {"default": default}),
        config=LOOKS,
    )
    if saved is not None:
        options = {field.name: getattr(found, field.name) for field in dataclasses.fields(kind)}
        config.write(saved, command, options, getattr(found, "overwrite", False))
    return found
