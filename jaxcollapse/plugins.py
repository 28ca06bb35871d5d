"""Things by name: built in, registered, or brought by another installed package."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from jaxcollapse import checks


class Named:
    """Things of one kind by name.

    A thing that is built in may be written as ``"module:attribute"``, and is then imported when it
    is asked for; so are entry points, which another package declares in its ``pyproject.toml``:

        [project.entry-points."jaxcollapse.tasks"]
        my-task = "my_package:FAMILY"
    """

    def __init__(self, what: str, group: str, built_in: Mapping[str, Any]):
        """Those that are built in.

        Args:
          what: they are, in one word, for errors.
          group: of entry points.
          built_in: things, or where they are, by name.
        """
        self.what, self.group = what, group
        self.built_in = tuple(built_in)
        self._known = dict(built_in)

    def names(self) -> list[str]:
        """All names: the built-in ones first, then as they were registered, then entry points."""
        return list(dict.fromkeys([*self._known, *self._entry_points()]))

    def __contains__(self, name: object) -> bool:
        """Whether there is a thing of that name."""
        return name in self._known or name in self._entry_points()

    def find(self, name: str) -> Any:
        """The thing of a name; ``module:attribute`` is one too.

        Raises:
          ValueError: there is none of that name.
          ImportError: it needs what is not installed.
        """
        if name not in self._known:
            entries = self._entry_points()
            if name in entries:
                self._known[name] = entries[name].load()
            elif ":" in name:
                return imported(name, self.what)
            else:
                checks.one_of(self.what, name, self.names())
        if isinstance(self._known[name], str):
            self._known[name] = imported(self._known[name], self.what)
        return self._known[name]

    def add(self, name: str, thing: Any) -> None:
        """Makes a thing known by a name.

        Raises:
          ValueError: the name is that of something built in.
        """
        if name in self.built_in:
            raise checks.refusal(
                f"name of {self.what}s", "one that is not built in", repr(name), "choose another"
            )
        self._known[name] = thing

    def forget(self, name: str) -> None:
        """Takes back ``add``; what is built in stays."""
        if name not in self.built_in:
            self._known.pop(name, None)

    def where(self, name: str) -> str | None:
        """``module:attribute`` of a thing that has not been imported yet, or None."""
        known = self._known.get(name)
        if known is None and name in (entries := self._entry_points()):
            return entries[name].value
        return known if isinstance(known, str) else None

    def package_of(self, name: str) -> str | None:
        """The package whose entry point a thing is, or None."""
        entry = self._entry_points().get(name)
        return entry.dist.name if entry is not None and entry.dist is not None else None

    def name_of(self, thing: Any) -> str | None:
        """The name of a thing that has been asked for or registered, or None."""
        return next((name for name, known in self._known.items() if known is thing), None)

    def _entry_points(self) -> dict[str, metadata.EntryPoint]:
        return {entry.name: entry for entry in metadata.entry_points(group=self.group)}


def summary(thing: Any) -> str:
    """The first line of a thing's docstring, as a terminal shows it."""
    return plain((inspect.getdoc(inspect.unwrap(thing)) or "").partition("\n")[0])


def plain(text: str) -> str:
    """Text of a docstring without what marks code."""
    return text.replace("``", "")


def imported(address: str, what: str) -> Any:
    """What stands at ``module:attribute``.

    Raises:
      ValueError: there is no such module or attribute.
    """
    module, _, attribute = address.partition(":")
    if not module.strip(".") or module.startswith(".") or not attribute:
        raise _unknown(what, address, "no such words")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise _unknown(what, address, f"no module {error.name}") from None
    except AttributeError:
        if module == "__main__":
            raise checks.refusal(
                f"{what} {address}",
                "one of a module that can be imported",
                "one of a script that was run",
                "put it into a module of its own, import it in the script, and run that again",
            ) from None
        raise _unknown(what, address, f"no {attribute} in {module}") from None
    return found


def _unknown(what: str, address: str, got: str) -> ValueError:
    return checks.refusal(
        f"{what} {address}", "MODULE:NAME of something that can be imported", got, "check both"
    )
