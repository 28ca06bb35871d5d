"""Finished cells of a grid, kept in a folder while it runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from jaxcollapse import draws, files, machine
from jaxcollapse.sweeps.plan import Cell, Plan


class CellStore:
    """Finished cells in a folder, from which an interrupted run goes on.

    A cell is known by what it is (``Plan.identity``), its seeds, and what else decides its numbers:
    how JAX is set, the platform, versions and commit. So a plan of more values, or of other
    workflows, finds those that it shares with the one before. Where functions of the user's decide
    the numbers, a cell is also known by what its program is, so that an edited function never gets
    the cells of the one before. Without a folder none is kept.
    """

    def __init__(
        self,
        folder: Path | None,
        plan: Plan,
        program_digest: Callable[[Cell], str] = lambda cell: "",
    ):
        """The folder is made if needed.

        Args:
          folder: where cells are, or None.
          plan: whose cells they are.
          program_digest: of the program of a cell; asked for of plans with functions of one's own.
        """
        self.folder = folder
        if folder is None:
            return
        self._plan = plan
        place = [str(draws.float_dtype()), jax.default_backend()]
        self._surroundings = [*place, machine.settings(), machine.versions(), machine.commit()]
        self._program_digest = program_digest if plan.is_own else lambda cell: ""
        files.make_folder(folder)

    def _path(self, cell: Cell) -> Path:
        assert self.folder is not None
        told = [self._plan.identity(cell), self._surroundings, self._program_digest(cell)]
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
        seeds = hashlib.sha256(self._plan.seeds.astype("<u4").tobytes()).hexdigest()[:8]
        return self.folder / f"{digest}-{seeds}.npz"

    def has(self, cell: Cell) -> bool:
        """Whether a cell is finished; one that is not as it was written is named and removed."""
        return self.folder is not None and files.is_sound(self._path(cell))

    def load(self, cell: Cell) -> dict[str, np.ndarray] | None:
        """What ``save`` was given of a cell; None if it is not finished, as ``has`` says it."""
        if not self.has(cell):
            return None
        with np.load(self._path(cell), allow_pickle=False) as arrays:
            return dict(arrays)

    def save(self, cell: Cell, arrays: dict[str, np.ndarray]) -> None:
        """Keeps the metrics ``[S, ...]`` of a cell and its ``run_seconds``."""
        if self.folder is not None:
            files.make_folder(self.folder, parents=False)  # somebody may have removed it
            whole = files.whole_file(self._path(cell), sealed=True)
            with whole as temporary, temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)

    @property
    def names(self) -> list[str]:
        """Of the files of all cells of this plan, those that are not finished too."""
        if self.folder is None:
            return []
        return [self._path(cell).name for cell in self._plan.cells]
