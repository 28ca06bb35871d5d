"""``--config FILE`` and ``--save-config FILE``: the options of a command in a file.

What a file says becomes words of the command, in the order of the file and before those that were
given, so that it is read, checked and refused as these are. A flag takes the place of its key.
"""

from __future__ import annotations

import difflib
import json
import math
import tomllib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tyro

from jaxcollapse import checks
from jaxcollapse.files import check_output, whole_file
from jaxcollapse.inputs import decoded, ending, existing

CONFIG, SAVE = "--config", "--save-config"
HELP = {
    "config": "A file of these options by name (.yaml, .toml or .json), of which a flag takes the "
    "place of one.",
    "save_config": "A file to write all these options to (.yaml, .toml or .json), for --config.",
}
ENDINGS = (".yaml", ".yml", ".toml", ".json")
COMMAND = "command"
POSITIONAL = tyro.conf.Positional[int].__metadata__[0]  # type: ignore[attr-defined]
NULLS = ("", "~", "null", "Null", "NULL")
Value = str | bool | list[str]


def names_given(arguments: Sequence[str]) -> list[str]:
    """The names of what is given, by flags and in a file, as parameters are called."""
    path, rest = _taken(arguments, CONFIG)
    flags = [word.partition("=")[0] for word in rest if word.startswith("--")]
    keys = [] if path is None else list(read(path))
    return [word.removeprefix("--").replace("-", "_") for word in [*flags, *keys]]


def expanded(
    hints: Mapping[str, Any], defaults: Mapping[str, Any], command: str, arguments: Sequence[str]
) -> tuple[list[str], Path | None]:
    """The words of a command with those of its file, and where its options are to be written.

    Args:
      hints: the type of each option, by name.
      defaults: of some of them.
      command: its words.
      arguments: what follows them.

    Raises:
      ValueError: the file cannot be read, is of another command, or has a key that is no option.
    """
    saved, rest = _taken(arguments, SAVE)
    path, rest = _taken(rest, CONFIG)
    if saved is not None:
        checks.one_of(f"ending of {saved}", ending(saved), ENDINGS)
    if path is None:
        return rest, saved
    table = read(path)
    told = table.pop(COMMAND, command)
    if told != command:
        expected, remedy = f"'{command}'", "give the command that the file is of"
        raise checks.refusal(f"command of {path}", expected, repr(told), remedy)
    given = set(names_given(rest))
    before: list[str] = []
    flags: list[str] = []
    for name, value in table.items():
        if name not in hints or name in HELP:
            raise _unknown(name, hints, command, path)
        hint, flag = hints[name], f"--{name.replace('_', '-')}"
        if _is(hint, bool):
            no = f"--no-{flag[2:]}"
            flipped = bool(defaults.get(name, False))
            asked = _truth(value, name, path)
            if no in rest and not flipped:  # which takes back what the file says
                rest.remove(no)
            elif asked != flipped and name not in given and f"no_{name}" not in given:
                flags.append(flag if asked else no)
            continue
        if isinstance(value, bool):
            expected, remedy = "a number, a name or a list of those", "write it in quotes"
            raise checks.refusal(f"{name} in {path}", expected, str(value).lower(), remedy)
        words = value if isinstance(value, list) else [value]
        if POSITIONAL in getattr(hint, "__metadata__", ()):
            before += [] if rest and not rest[0].startswith("--") else _no_flags(words, name, path)
        elif name not in given:
            flags += (
                [f"{flag}={value}"]
                if isinstance(value, str)
                else [flag, *_no_flags(words, name, path)]
            )
    return [*before, *flags, *rest], saved


def _taken(arguments: Sequence[str], flag: str) -> tuple[Path | None, list[str]]:
    """The file that a flag names, and the other words."""
    found, rest, words = [], [], iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if name.replace("_", "-") != flag:
            rest.append(word)
            continue
        value = value if equals else next(words, "")
        if not value or value.startswith("--"):
            raise checks.refusal(flag, "a file", "none", "name one")
        found.append(Path(value))
    if len(found) > 1:
        raise checks.refusal(flag, "one file", f"{len(found)} of them", "name one")
    return (found[0] if found else None), rest


def _is(hint: Any, kind: type) -> bool:
    """Whether a type is this one, with what is said of it beside."""
    return hint is kind or (hasattr(hint, "__metadata__") and typing.get_args(hint)[0] is kind)


def _truth(value: Value, name: str, path: Path) -> bool:
    known = {"true": True, "false": False, True: True, False: False}
    if isinstance(value, list) or value not in known:
        remedy = "write one of those"
        raise checks.refusal(f"{name} in {path}", "true or false", repr(value), remedy)
    return known[value]


def _no_flags(words: list[str], name: str, path: Path) -> list[str]:
    """The words of a list, none of which may pass for a flag."""
    for word in words:
        if word.startswith("--"):
            expected = "values that do not begin with --"
            raise checks.refusal(f"{name} in {path}", expected, repr(word), "change it")
    return words


def _unknown(name: str, known: Mapping[str, Any], command: str, path: Path) -> ValueError:
    shown = [each for each in known if each not in HELP]
    near = difflib.get_close_matches(name, shown, 3, 0.5) or shown
    return checks.refusal(
        f"key in {path}",
        f"an option of jaxcollapse {command}, such as {', '.join(near[:3])}",
        repr(name),
        f"see jaxcollapse {command} --help",
    )


# Reading ----------------------------------------------------------------------------------------


def read(path: Path) -> dict[str, Value]:
    """What a file says, by name as parameters are called: texts as they are written, or lists.

    Raises:
      ValueError: there is no such file, its ending is none of those known, it is not of its format,
        says a key twice, or more than names and values.
      ImportError: it is YAML, and PyYAML is not installed.
    """
    kind = checks.one_of(f"ending of {path}", ending(path), ENDINGS)
    text = decoded(existing(path, "configuration").read_bytes(), str(path), "configuration")
    try:
        pairs = {".toml": _of_toml, ".json": _of_json}.get(kind, _of_yaml)(text)
        found: dict[str, Value] = {}
        for key, value in pairs:
            name = key.replace("-", "_")
            if name in found:
                raise ValueError(f"the key {key} twice")
            found[name] = _value(name, value)
    except (ValueError, RecursionError) as error:
        expected = f"{kind[1:].upper()} of names and values"
        got = f"{path} ({' '.join(str(error).split())})"
        raise checks.refusal("configuration", expected, got, "correct it") from None
    return found


def _value(name: str, value: Any) -> Value:
    if isinstance(value, list):
        if any(not isinstance(each, str | int | float) or isinstance(each, bool) for each in value):
            raise ValueError(f"{name} with other values in its list than numbers and names")
        return [str(each) for each in value]
    if value is None:
        raise ValueError(f"{name} without a value; leave the key out")
    if not isinstance(value, str | int | float):
        raise ValueError(f"{name} of a {type(value).__name__}")
    return value if isinstance(value, bool) else str(value)


def _of_toml(text: str) -> Any:
    return tomllib.loads(text, parse_float=str).items()


def _of_json(text: str) -> Any:
    as_pairs: Any = tuple  # so that a key that stands twice is seen
    found = json.loads(text, object_pairs_hook=as_pairs, parse_float=str, parse_int=str)
    if not isinstance(found, tuple):
        raise ValueError("no object")
    return found


def _of_yaml(text: str) -> Any:
    """Of nodes, whose texts nobody has taken for numbers: 5:8 would be 308, and no would be false.

    So true is a text too, which an option of two values takes.
    """
    yaml = checks.require("yaml", "sweep")
    try:
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    if node is None:
        return []
    if not isinstance(node, yaml.MappingNode):
        raise ValueError("no names with values")

    def plain(node: Any) -> Any:
        if isinstance(node, yaml.SequenceNode):
            return [plain(each) for each in node.value]
        if not isinstance(node, yaml.ScalarNode):
            return {}
        return None if node.style is None and node.value in NULLS else node.value

    return [(str(plain(key)), plain(value)) for key, value in node.value]


# Writing ----------------------------------------------------------------------------------------


def write(path: Path, command: str, options: Mapping[str, Any], overwrite: bool) -> None:
    """Writes the options of a command, which ``expanded`` reads; those that are not set are not.

    Raises:
      ValueError: see ``check_output``.
      ImportError: it is to be YAML, and PyYAML is not installed.
    """
    check_output(path, (path.suffix,), overwrite)
    told = {name: _plain(v) for name, v in options.items() if v is not None and v != ()}
    told = {COMMAND: command} | {k.replace("_", "-"): v for k, v in told.items() if k not in HELP}
    kind = ending(path)
    if kind == ".json":
        text = json.dumps(told, indent=1) + "\n"
    elif kind == ".toml":
        text = "".join(f"{name} = {_in_toml(value)}\n" for name, value in told.items())
    else:
        text = checks.require("yaml", "sweep").safe_dump(
            told, sort_keys=False, default_flow_style=None, allow_unicode=True, width=math.inf
        )
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | bool | int | float) else str(value)


def _in_toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_in_toml, value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # as TOML spells them, too
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
