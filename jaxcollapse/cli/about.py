"""``jaxcollapse --version``, ``jaxcollapse env`` and ``jaxcollapse completion SHELL``."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json as jsons
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Union

import tyro

from jaxcollapse import checks, machine
from jaxcollapse.cli import asked


@dataclasses.dataclass(frozen=True)
class Env:
    """Say what a report of a fault needs to tell: versions, devices, memory, flags."""

    json: bool = False
    """Say it as JSON."""


def env(args: Env) -> None:
    """``jaxcollapse env``."""
    facts = machine.environment()
    if args.json:
        print(jsons.dumps(facts, indent=1))
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            print(f"{name}:")
            print(*(f"  {key}: {_plain(told)}" for key, told in value.items()), sep="\n")
        else:
            print(f"{name}: {_plain(value)}")


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "not set" if value in (None, "") else str(value)


def version() -> str:
    """The version, and the commit where it is known: ``jaxcollapse 0.1.0 (3f2a..., clean)``."""
    commit = machine.commit()
    told = f"commit {commit['commit']}, {commit['source_tree']}"
    return f"jaxcollapse {machine.version('jaxcollapse')} ({told})"


@dataclasses.dataclass(frozen=True)
class Completion:
    """Print what a shell completes commands and options by."""

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]
    """The shell. It finds what is printed in a file of its own:
    ~/.local/share/bash-completion/completions/jaxcollapse, _jaxcollapse in a folder of zsh's
    $fpath, or ~/.config/fish/completions/jaxcollapse.fish."""


def completion(args: Completion, options: Iterable[tuple[str, type]]) -> None:
    """``jaxcollapse completion SHELL``.

    Args:
      args: its options.
      options: words of each command and the dataclass of its options.
    """
    tree: dict[str, Any] = {}
    for words, kind in options:
        group, _, name = words.partition(" ")
        if name:
            tree.setdefault(group, {})[name] = asked.in_whole_lines(kind)
        else:
            tree[group] = asked.in_whole_lines(kind)
    script = io.StringIO()
    try:
        with contextlib.redirect_stdout(script):
            tyro.cli(
                _one_of(tree),
                prog="jaxcollapse",
                args=["--tyro-print-completion", args.shell],
                config=(
                    *asked.LOOKS,
                    tyro.conf.OmitArgPrefixes,
                    tyro.conf.OmitSubcommandPrefixes,
                ),
            )
    except SystemExit:
        print(script.getvalue(), end="")
    except AssertionError:
        if args.shell != "fish":  # which older versions of tyro do not know
            raise
        known, remedy = "bash or zsh, with this version of tyro", "upgrade tyro"
        raise checks.refusal("shell", known, args.shell, remedy) from None


def _one_of(tree: Mapping[str, Any]) -> Any:
    """The type of one command of a tree of them."""
    kinds = (
        Annotated[_one_of(kind) if isinstance(kind, dict) else kind, tyro.conf.subcommand(name)]
        for name, kind in tree.items()
    )
    return Union[tuple(kinds)]  # noqa: UP007
