"""The folder of a run: where each chain is, and what all of them are made with."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxcollapse import checks, files, locks
from jaxcollapse.lm.host.folders import ChainFolder
from jaxcollapse.machine import settings
from jaxcollapse.sweeps.chains import ChainPlan
from jaxcollapse.sweeps.plan import Cell


def point_folder(point: tuple) -> str:
    """The folder of a point of the grid: ``MODEL-N``."""
    return "-".join(str(value) for _, value in point)


def chain_folder(folder: Path, cell: Cell, seed: int) -> Path:
    """Where a chain is: ``MODEL-N/WORKFLOW/seed-S``, the workflow nearly as it is spelled."""
    assert cell.workflow is not None
    workflow = cell.workflow.name.replace(":", "-").replace("=", "-")
    if cell.workflow.draw:  # as folders were called before workflows were records
        workflow = workflow.replace("-draw", "")
    return folder / point_folder(tuple(cell.point.items())) / workflow / f"seed-{seed}"


def samples(folder: Path, plan: ChainPlan) -> list[tuple[str, Path]]:
    """The texts of every generation of the first seed: what to call them, and their file."""
    return [
        (
            f"{cell}, generation {generation}",
            chain_folder(folder, cell, int(plan.seeds[0]))
            / ChainFolder.name(generation)
            / "samples.jsonl",
        )
        for cell in plan.cells
        for generation in range(1, plan.generations + 1)
    ]


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """A block in which no other process writes to the folder of a run, which is made if needed.

    Raises:
      ValueError: another one does.
      UnwrittenError: it cannot be written to.
    """
    files.make_folder(folder)
    try:
        with locks.writing(folder / "run"):
            files.forget_unfinished(folder)
            yield
    finally:
        with contextlib.suppress(OSError):  # something is in it, as it should be
            folder.rmdir()


def claim_folder(folder: Path, programs: Mapping[tuple, Any]) -> None:
    """Records in a folder what its chains are made with.

    Args:
      folder: of the run.
      programs: with a ``setup`` each, by point of the grid.

    Raises:
      ValueError: it has chains that were made with other options.
    """
    for point, program in programs.items():
        path = folder / point_folder(point) / "setup.json"
        setup = json.loads(json.dumps({**program.setup.describe(), "settings": settings()}))
        if path.exists():
            _check_same(path, setup)
            continue
        files.make_folder(path.parent)
        with files.whole_file(path) as temporary:
            temporary.write_text(json.dumps(setup, indent=1) + "\n")


def _check_same(path: Path, setup: dict[str, Any]) -> None:
    try:
        before = dict(json.loads(path.read_text()))
    except (ValueError, TypeError, RecursionError):
        raise checks.refusal(
            "output folder",
            f"a {path.name} that says what its chains are made with",
            f"{path}, torn or changed",
            "remove it if they are made with the options given now, or choose another folder",
        ) from None
    different = sorted(
        f"{part} {name}"
        for part in ("config", "recipe", "sampling", "data", "protocol", "base", "settings")
        for name in setup[part]
        # Folders of before settings were told are of those that are usual.
        if (part != "settings" or part in before)
        and before.get(part, {}).get(name) != setup[part][name]
    )
    if different:
        raise checks.refusal(
            "output folder",
            "a new one, or one of chains with the same options",
            f"{path.parent}, where others are: {', '.join(different)}",
            "choose another folder",
        )


def setup_of(folder: Path) -> dict[str, Any]:
    """What the chains of a run are made with.

    Args:
      folder: of the run, or of a generation of it, or any between them.

    Raises:
      ValueError: it is no such folder, or one of several models or numbers of documents.
    """
    above = [place / "setup.json" for place in (folder, *folder.resolve().parents[:3])]
    found = [path for path in above if path.is_file()][:1] or sorted(folder.glob("*/setup.json"))
    if len(found) != 1:
        raise checks.refusal(
            "folder of a run",
            "one with a setup.json, or one within it",
            f"{folder}, where {len(found) or 'none'} are",
            "give the folder of a generation",
        )
    try:
        content = json.loads(found[0].read_text())
        data = content["data"]
        checks.one_of("loss_on", data["loss_on"], ("all", "response"))
        checks.whole_number("context", data["context"], minimum=2)
        _ = data["digest"], data["name"], content["base"]
        return content
    except (ValueError, KeyError, TypeError, RecursionError):
        raise checks.refusal(
            str(found[0]), "what a run is made with", "what is torn or changed", "take another run"
        ) from None


def check_weights_kept(folder: Path) -> None:
    """Refuses a generation of a run whose weights were not kept.

    Raises:
      ValueError: only metrics and documents are left of it.
    """
    if (folder / "metrics.json").exists() and not (folder / "config.json").exists():
        raise checks.refusal(
            "weights",
            "a generation with weights (--keep-weights last keeps the last one's, all every one's)",
            f"{folder}, of which metrics and documents are left",
            "take another, or run with --keep-weights all in a new folder",
        )
