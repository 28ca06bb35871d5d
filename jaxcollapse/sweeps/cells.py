"""Finished cells of a grid, kept in a folder while it runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxcollapse import draws, machine
from jaxcollapse.files import whole_file
from jaxcollapse.sweeps.plan import Cell, Plan


class CellStore:
    """Finished cells in a folder, from which an interrupted run goes on.

    A cell is known by the configuration that it belongs to, its number, the precision, versions and
    commit; and where functions of the user's decide the numbers also by what its program is, so
    that an edited function never gets the cells of the one before. Without a folder none is kept.
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
        code = [str(draws.float_dtype()), machine.versions(), machine.commit()]
        self._config = json.dumps([plan.configuration, code], sort_keys=True)
        self._cells = plan.cells
        self._program_digest = program_digest if plan.is_own else lambda cell: ""
        folder.mkdir(parents=True, exist_ok=True)

    def _path(self, index: int) -> Path:
        assert self.folder is not None
        told = self._config + self._program_digest(self._cells[index])
        return self.folder / f"{hashlib.sha256(told.encode()).hexdigest()[:16]}-{index}.npz"

    def has(self, index: int) -> bool:
        """Whether a cell is finished."""
        return self.folder is not None and self._path(index).exists()

    def load(self, index: int) -> dict[str, np.ndarray]:
        """What ``save`` was given of a finished cell."""
        with np.load(self._path(index)) as arrays:
            return dict(arrays)

    def save(self, index: int, arrays: dict[str, np.ndarray]) -> None:
        """Keeps the metrics ``[S, ...]`` of a cell and its ``run_seconds``."""
        if self.folder is not None:
            with whole_file(self._path(index)) as temporary, temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)

    def remove(self) -> None:
        """Removes the cells of this plan, and the folder if nothing else is in it."""
        if self.folder is None:
            return
        for index in range(len(self._cells)):
            self._path(index).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()
