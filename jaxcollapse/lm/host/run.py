"""Chains side by side, one on each device."""

from __future__ import annotations

import contextlib
import functools
import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxcollapse import checks
from jaxcollapse.lm.host.chain import Chain, Progress
from jaxcollapse.lm.host.devices import run_on_devices
from jaxcollapse.lm.host.folders import KEEP_WEIGHTS, SECONDS, ChainFolder
from jaxcollapse.lm.host.programs import Programs, programs_of
from jaxcollapse.lm.text.texts import Corpus
from jaxcollapse.sweeps import results
from jaxcollapse.sweeps.chains import Cell, Plan

if TYPE_CHECKING:
    import xarray


def run(
    plan: Plan,
    corpus: Corpus,
    folder: Path,
    programs: Mapping[tuple, Programs] | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    checkpoint_steps: int = 500,
    keep_weights: str = "last",
) -> xarray.Dataset:
    """Runs the chains of a plan for language models; see ``sweep.run`` for the result.

    Args:
      plan: of ``sweep.plan("language-model", ...)`` or ``"fine-tuning"``.
      corpus: real documents, which the plan's ``data`` was made from.
      folder: for the chains; what is finished there is not done again.
      programs: of ``programs_of(plan)``, if they have been made.
      report: called after every few steps, from several threads.
      checkpoint_steps: training steps between two checkpoints.
      keep_weights: of which finished generations: ``last``, ``all`` or ``none``.

    Raises:
      ValueError: ``keep_weights`` or ``checkpoint_steps`` is none of those, or the folder has
        chains of another configuration.
    """
    checks.one_of("keep_weights", keep_weights, KEEP_WEIGHTS)
    checkpoint_steps = checks.whole_number("checkpoint_steps", checkpoint_steps)
    made = programs_of(plan) if programs is None else programs
    claim_folder(folder, made)
    stop = threading.Event()

    def chain(cell: Cell, seed: int) -> dict[str, np.ndarray]:
        point = tuple(cell.point.items())
        one = Chain(
            programs=made[point],
            point=point,
            workflow=cell.workflow,
            seed=seed,
            generations=plan.generations,
            corpus=corpus,
            folder=ChainFolder(chain_folder(folder, cell, seed), keep_weights),
            tell=report,
            stop=stop,
            checkpoint_steps=checkpoint_steps,
        )
        return one.run()

    start = time.perf_counter()
    jobs = {
        (index, int(seed)): functools.partial(chain, cell, int(seed))
        for index, cell in enumerate(plan.cells)
        for seed in plan.seeds
    }
    sharded = any(program.mesh is not None for program in made.values())
    with CompileClock() as clock:
        finished = run_on_devices(jobs, stop, sharded)
    values = []
    for index in range(len(plan.cells)):
        chains = [finished[index, int(seed)] for seed in plan.seeds]
        arrays = {name: np.stack([metrics[name] for metrics in chains]) for name in plan.metrics}
        seconds = sum(metrics[SECONDS].sum() for metrics in chains)
        arrays[results.RUN_SECONDS] = np.asarray(seconds, np.float32)
        values.append(arrays)
    dataset = results.dataset(
        plan,
        values,
        compile_seconds=clock.seconds,
        run_seconds=time.perf_counter() - start,
        programs=clock.programs,
    )
    label = "Time that the cell's generations took, all seeds together, first calls' compiling too"
    dataset[results.RUN_SECONDS].attrs["long_name"] = label
    return dataset


def chain_folder(folder: Path, cell: Cell, seed: int) -> Path:
    """Where a chain is: ``MODEL-N/WORKFLOW/seed-S``, a subsample's size with its workflow."""
    size = cell.workflow.subsample_size
    workflow = cell.workflow.name if size is None else f"{cell.workflow.name}-{size}"
    return folder / point_folder(tuple(cell.point.items())) / workflow / f"seed-{seed}"


def point_folder(point: tuple) -> str:
    """The folder of a point of the grid: ``MODEL-N``."""
    return "-".join(str(value) for _, value in point)


def claim_folder(folder: Path, programs: Mapping[tuple, Programs]) -> None:
    """Records in a folder what its chains are made with.

    Raises:
      ValueError: it has chains that were made with other options.
    """
    for point, program in programs.items():
        path = folder / point_folder(point) / "setup.json"
        setup = json.loads(json.dumps(program.made.describe()))
        if path.exists():
            _same_setup(path, setup)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with results.whole_file(path) as temporary:
            temporary.write_text(json.dumps(setup, indent=1) + "\n")


def _same_setup(path: Path, setup: dict[str, Any]) -> None:
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


class CompileClock(contextlib.AbstractContextManager):
    """Counts programs that are compiled, and the seconds it takes, all threads together."""

    def __init__(self) -> None:
        """Starts from 0."""
        self.seconds, self.programs = 0.0, 0

    def _listen(self, event: str, duration_secs: float, **_: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            self.seconds += duration_secs
            self.programs += 1

    def __enter__(self) -> CompileClock:
        """Begins to count."""
        jax.monitoring.register_event_duration_secs_listener(self._listen)
        return self

    def __exit__(self, *_: Any) -> None:
        """Ends counting."""
        jax.monitoring.unregister_event_duration_listener(self._listen)
