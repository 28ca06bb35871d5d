"""Compiled programs kept between processes, so that a command given again traces nothing.

A program is known by all that decides it: the source of this package, versions, devices and their
instructions, JAX's configuration, and what the plan says of its cell. JAX's own cache of compiled
programs is asked after tracing and lowering, which take as long as everything else of a small run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import serialize_executable

from jaxcollapse import draws, machine
from jaxcollapse.files import whole_file
from jaxcollapse.sweeps.plan import Cell, Plan

MOST_FILES = 512  # the ones used last
# Of JAX's configuration, what decides no program: where things are kept, and what is told of them.
_BESIDE = ("cache", "log", "traceback", "pdb", "dump", "profiler", "distributed", "captured")


class Kept(NamedTuple):
    """A compiled program, and what decides how many seeds it takes.

    Attributes:
      compiled: as ``jax.stages.Compiled``.
      chunk: seeds that each device has in a call.
      seed_bytes: an estimate of the memory that one seed takes.
      decomposes: whether it calls LAPACK.
    """

    compiled: Any
    chunk: int
    seed_bytes: float
    decomposes: bool


class Programs:
    """The programs of a plan in a folder; a plan with functions of the user's keeps none."""

    def __init__(self, folder: Path, plan: Plan):
        """The folder is made if needed; where it cannot be, nothing is kept.

        Args:
          folder: where programs are.
          plan: whose programs they are.
        """
        self._plan = plan
        self._folder: Path | None = None
        if plan.is_own or jax.process_count() > 1:
            return
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            self._folder = folder

    @property
    def keeps(self) -> bool:
        """Whether any are kept."""
        return self._folder is not None

    def _path(self, cell: Cell, runs_briefly: bool, on: Any = None) -> Path | None:
        if self._folder is None:
            return None
        plan, traced = self._plan, self._plan.traced(cell)
        leaves, structure = jax.tree.flatten(traced)
        shapes = [(np.shape(leaf), str(np.asarray(leaf).dtype)) for leaf in leaves]
        told = {k: v for k, v in plan.configuration.items() if k not in ("axes", "seeds")}
        fixed = {k: v for k, v in cell.point.items() if k not in traced}
        workflow = str(plan.keeps(cell).form)
        told |= {"workflow": workflow, "records": None, "fixed": fixed, "seeds": plan.seeds.size}
        told |= {"runs_briefly": runs_briefly, "on": on}
        text = json.dumps([told, str(structure), shapes, *_surroundings()], sort_keys=True)
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.program"

    def load(self, cell: Cell, runs_briefly: bool, on: Any = None) -> Kept | None:
        """The program of a cell if it is kept and can be read; one that cannot is forgotten.

        Args:
          cell: the cell.
          runs_briefly: as for ``programs.Program.compile``.
          on: what it depends on beside all that, such as devices, as JSON can hold it.
        """
        path = self._path(cell, runs_briefly, on)
        if path is None or not path.exists():
            return None
        try:
            checksum, written = path.read_bytes().split(b"\n", 1)
            if hashlib.sha256(written).hexdigest().encode() != checksum:
                raise ValueError("not as it was written")
            program, trees, chunk, seed_bytes, decomposes = pickle.loads(written)
            if decomposes:
                _find_lapack()
            client = machine.devices()[0].client
            taken, given = trees
            compiled = serialize_executable.deserialize_and_load(program, taken, given, client)
            os.utime(path)
            return Kept(compiled, chunk, seed_bytes, decomposes)
        except Exception:  # whatever is wrong with a file, the program can be compiled
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            return None

    def save(self, cell: Cell, runs_briefly: bool, kept: Kept, on: Any = None) -> None:
        """Keeps the program of a cell; a device that cannot write programs keeps none."""
        path = self._path(cell, runs_briefly, on)
        if path is None or path.exists():
            return
        with contextlib.suppress(Exception):
            program, *trees = serialize_executable.serialize(kept.compiled)
            written = pickle.dumps((program, trees, *kept[1:]))
            with whole_file(path) as temporary:
                temporary.write_bytes(hashlib.sha256(written).hexdigest().encode() + b"\n")
                with temporary.open("ab") as file:
                    file.write(written)
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        assert self._folder is not None
        files = sorted(self._folder.glob("*.program"), key=lambda path: path.stat().st_mtime)
        for path in files[:-MOST_FILES]:
            path.unlink(missing_ok=True)


@cache
def _find_lapack() -> None:
    """Has JAX look up the functions of LAPACK on a CPU, which it does when it lowers a call.

    Without them a program from a file ends the process when it calls one.
    """
    if jax.default_backend() == "cpu":
        jax.jit(jax.lax.linalg.cholesky).lower(jax.ShapeDtypeStruct((1, 1), np.float32))


@cache
def _source() -> str:
    """A digest of this package's source."""
    digest = hashlib.sha256()
    for path in sorted(Path(machine.__file__).parent.rglob("*.py")):
        digest.update(str(path.name).encode() + path.read_bytes())
    return digest.hexdigest()


def _surroundings() -> list[Any]:
    """What decides every program of this process, as JSON can hold it."""
    devices = [(d.platform, d.id, d.device_kind) for d in jax.devices()]
    values = getattr(jax.config, "values", {})
    config = {k: str(v) for k, v in values.items() if not any(b in k for b in _BESIDE)}
    told = [machine.settings(), os.environ.get("XLA_FLAGS", ""), str(draws.float_dtype())]
    return [_source(), machine.versions(), machine.instructions(), devices, config, *told]
