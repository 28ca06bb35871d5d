"""What the site's builder calls: pages that are made from declarations and committed files.

Pages of the same kind are a module beside this one, each with a function ``pages()`` that yields
``(address, text)``. Those that the navigation does not name are put into the section of their
folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import catalogue
import field
import python_names
from mkdocs.structure.files import File, Files

SECTIONS = {"Reference": "reference", "Python": "python"}


def pages() -> Iterator[tuple[str, str]]:
    """Every page that is made, by its address."""
    for module in (catalogue, python_names, field):
        yield from module.pages()


MADE = dict(pages())


def on_config(config: Any) -> Any:
    """Puts pages that are made into the navigation."""
    for section in config.nav:
        ((title, entries),) = section.items()
        if folder := SECTIONS.get(title):
            entries += _entries(folder, str(entries))
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that are made."""
    for address, text in MADE.items():
        files.append(File.generated(config, address, content=text))
    return files


def _entries(folder: str, named: str) -> list[Any]:
    """Entries of pages in a folder, those of folders in it under a heading each."""
    found: dict[str, list[str]] = {}
    for address in MADE:
        if address.startswith(f"{folder}/") and address not in named:
            *path, _ = address.removeprefix(f"{folder}/").split("/")
            found.setdefault("/".join(path), []).append(address)
    own = [{_title(address): address} for address in found.pop("", [])]
    return own + [
        {name.capitalize(): [{_title(a): a} for a in inside]} for name, inside in found.items()
    ]


def _title(address: str) -> str:
    return MADE[address].partition("\n")[0].removeprefix("# ").strip("`")
