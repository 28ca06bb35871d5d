"""The folder of a run: where each chain is, and what all of them are made with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxcollapse import checks
from jaxcollapse.files import whole_file
from jaxcollapse.lm.host.folders import ChainFolder
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
        setup = json.loads(json.dumps(program.setup.describe()))
        if path.exists():
            _check_same(path, setup)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(setup, indent=1) + "\n")


def _check_same(path: Path, setup: dict[str, Any]) -> None:
    before = json.loads(path.read_text())
    different = sorted(
        f"{part} {name}"
        for part in ("config", "recipe", "sampling", "data", "protocol", "base")
        for name in setup[part]
        if before.get(part, {}).get(name) != setup[part][name]
    )
    if different:
        raise checks.refusal(
            "output folder",
            "a new one, or one of chains with the same options",
            f"{path.parent}, where others are: {', '.join(different)}",
            "choose another folder",
        )


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
