"""``jaxcollapse --version``, ``jaxcollapse env`` and ``jaxcollapse completion SHELL``."""

from __future__ import annotations

import dataclasses
import json as jsons
from typing import Any

from jaxcollapse import machine


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
