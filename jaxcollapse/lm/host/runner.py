"""Chains, and mixtures, side by side: one on each device."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from jax.sharding import Mesh

from jaxcollapse import checks, machine
from jaxcollapse.lm.host.chain import Chain
from jaxcollapse.lm.host.devices import run_on_devices
from jaxcollapse.lm.host.estimates import (
    chains_at_a_time,
    estimate,
    estimate_mixtures,
    memory,
)
from jaxcollapse.lm.host.folders import SECONDS, ChainFolder
from jaxcollapse.lm.host.mixtures import Mixtures
from jaxcollapse.lm.host.programs import Programs, check_workflow, programs_of
from jaxcollapse.lm.host.progress import Report, reported
from jaxcollapse.lm.host.run_folder import chain_folder, claim_folder, point_folder, writing
from jaxcollapse.lm.text import conversations
from jaxcollapse.lm.text.documents import Documents
from jaxcollapse.lm.text.texts import Corpus
from jaxcollapse.lm.text.tokenizers import Tokenizer
from jaxcollapse.parameters import Option, declared
from jaxcollapse.sweeps import results
from jaxcollapse.sweeps.chains import ChainPlan
from jaxcollapse.sweeps.mixtures import MixturePlan
from jaxcollapse.sweeps.plan import Cell, number_of
from jaxcollapse.sweeps.progress import RunLog

if TYPE_CHECKING:
    import xarray


@declared
def run(
    plan: ChainPlan,
    corpus: Corpus,
    folder: Path | str,
    progress: bool | Report | RunLog | None = None,
    programs: Mapping[tuple, Programs] | None = None,
    mesh: Mesh | None = None,
    checkpoint_steps: Annotated[int, Option(least=1)] = 500,
    keep_weights: Literal["last", "all", "none"] = "last",
) -> xarray.Dataset:
    """Runs the chains of a plan for language models; see ``sweep`` for the result.

    Args:
      plan: of ``sweeps.chains.plan("language-model", ...)`` or ``"fine-tuning"``.
      corpus: real documents, which the plan's ``data`` was made from.
      folder: for the chains; what is finished there is not done again.
      progress: a function that is called with a ``Progress`` after every few steps, from several
        threads; or whether to show a bar, behind an estimate of time and memory; by default where
        somebody is looking.
      programs: of ``programs_of(plan)``, if they have been made.
      mesh: the devices over which each model is sharded; None for models that one device holds.
      checkpoint_steps: The state in training is kept whenever so many steps have been made.
      keep_weights: The weights of the last finished generation are kept, or those of all, or none.

    Raises:
      ValueError: an option is none of those, a workflow chooses among rows, or the folder has
        chains of another configuration, or another process writes to it.
    """
    folder = Path(folder)
    for workflow in plan.workflows:
        check_workflow(workflow)
    with writing(folder):
        compiled = programs_of(plan, mesh) if programs is None else programs
        claim_folder(folder, compiled)
        return _run(plan, corpus, folder, progress, compiled, checkpoint_steps, keep_weights)


def _run(
    plan: ChainPlan,
    corpus: Corpus,
    folder: Path,
    progress: bool | Report | RunLog | None,
    compiled: Mapping[tuple, Programs],
    checkpoint_steps: int,
    keep_weights: str,
) -> xarray.Dataset:
    stop = threading.Event()
    count = len(plan.cells) * plan.seeds.size
    chains = f"{number_of(count, 'chain')}, {chains_at_a_time(compiled, count)} at a time"

    def chain(cell: Cell, seed: int, report: Report) -> dict[str, np.ndarray]:
        point = tuple(cell.point.items())
        one = Chain(
            programs=compiled[point],
            point=point,
            workflow=plan.keeps(cell),
            seed=seed,
            generations=plan.generations,
            corpus=corpus,
            folder=ChainFolder(chain_folder(folder, cell, seed), keep_weights),
            report=report,
            stop=stop,
            checkpoint_steps=checkpoint_steps,
        )
        return one.run()

    def finished_before(cell: Cell, seed: int, generation: int) -> bool:
        return (chain_folder(folder, cell, seed) / ChainFolder.name(generation)).is_dir()

    with reported(
        progress,
        chains,
        lambda: memory(compiled),
        lambda: estimate(plan, compiled, finished_before),
    ) as report:
        start = time.perf_counter()
        jobs = {
            (index, int(seed)): functools.partial(chain, cell, int(seed), report)
            for index, cell in enumerate(plan.cells)
            for seed in plan.seeds
        }
        sharded = any(program.mesh is not None for program in compiled.values())
        with machine.CompileClock() as clock:
            finished = run_on_devices(jobs, stop, sharded)
        seconds = time.perf_counter() - start
    values = [
        _cell(plan, [finished[index, int(seed)] for seed in plan.seeds])
        for index in range(len(plan.cells))
    ]
    dataset = results.dataset(plan, values, clock.seconds, seconds, clock.programs)
    label = "Time that the cell's generations took, all seeds together, first calls' compiling too"
    dataset[results.RUN_SECONDS].attrs["long_name"] = label
    return dataset


def _cell(plan: ChainPlan, chains: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Metrics ``[S, G]`` of a cell, and its seconds, from those of its chains."""
    arrays = {name: np.stack([metrics[name] for metrics in chains]) for name in plan.metrics}
    seconds = sum(metrics[SECONDS].sum() for metrics in chains)
    return {**arrays, results.RUN_SECONDS: np.asarray(seconds, np.float32)}


# Mixtures -----------------------------------------------------------------------------------


@declared
def run_mixtures(
    plan: MixturePlan,
    corpus: Corpus,
    folder: Path | str,
    progress: bool | Report | RunLog | None = None,
    mesh: Mesh | None = None,
    checkpoint_steps: Annotated[int, Option(least=1)] = 500,
    synthetic_data: str | None = None,
) -> xarray.Dataset:
    """Runs a grid of mixtures of real and synthetic documents; see ``mix`` for the result.

    Args:
      plan: of ``sweeps.mixtures.plan`` for language models.
      corpus: real documents, which the plan's ``data`` was made from.
      folder: for the mixtures; what is finished there is not done again.
      progress: as for ``run``.
      mesh: the devices over which each model is sharded; None for models that one device holds.
      checkpoint_steps: The state in training is kept whenever so many steps have been made.
      synthetic_data: The synthetic conversations are those of this .jsonl file, in place of those
        of the model of all real ones.

    Raises:
      ValueError: an option is out of its range, the file holds too few conversations, or the folder
        has mixtures of another configuration, or another process writes to it.
    """
    check_synthetic(synthetic_data)
    with writing(Path(folder)):
        return _run_mixtures(
            plan, corpus, Path(folder), progress, mesh, checkpoint_steps, synthetic_data
        )


def _run_mixtures(
    plan: MixturePlan,
    corpus: Corpus,
    folder: Path,
    progress: bool | Report | RunLog | None,
    mesh: Mesh | None,
    checkpoint_steps: int,
    synthetic_data: str | None,
) -> xarray.Dataset:
    programs = programs_of(plan, mesh)
    read = None
    kind, source = f"synthetic-{max(plan.synthetic)}", {}
    if synthetic_data is not None:
        path = Path(synthetic_data)
        context = next(iter(programs.values())).setup.data.context
        read = read_synthetic(path, corpus.tokenizer, context, max(plan.synthetic))
        digest = hashlib.sha256(read.tokens.tobytes()).hexdigest()
        kind = f"synthetic-{path.stem}-{digest[:8]}"
        source = {"source": f"{path.name} (sha256 {digest[:16]})"}
    claim_folder(folder, programs)
    grids = {
        point: Mixtures(programs[point], plan, corpus, folder / point_folder(point) / kind, point)
        for point in programs
    }
    chains = f"{len(plan.real) * len(plan.synthetic)} mixtures for each seed"
    values: list[dict[str, np.ndarray]] = []
    with (
        reported(
            progress,
            chains,
            lambda: memory(programs),
            lambda: estimate_mixtures(
                plan,
                programs,
                teach=read is None,
                finished=lambda point, seed, pair: grids[point].file(seed, *pair).exists(),
                taught=lambda point: grids[point].teacher.generation(1).is_dir(),
            ),
        ) as report,
        machine.CompileClock() as clock,
    ):
        start = time.perf_counter()
        for grid in grids.values():
            begun = time.perf_counter()
            grid = dataclasses.replace(grid, report=report, checkpoint_steps=checkpoint_steps)
            arrays = {name: array for name, array in grid.run(read).items() if name in plan.metrics}
            arrays[results.RUN_SECONDS] = np.asarray(time.perf_counter() - begun, np.float32)
            values.append(arrays)
        seconds = time.perf_counter() - start
    dataset = results.dataset(plan, values, clock.seconds, seconds, clock.programs)
    return dataset.assign_attrs(source)


def check_synthetic(path: str | None) -> None:
    """Refuses a file of synthetic conversations that does not exist.

    Raises:
      ValueError: likewise.
    """
    if path is not None and not Path(path).is_file():
        raise checks.refusal("synthetic_data", "a file that exists", path, "check the path")


def read_synthetic(path: Path, tokenizer: Tokenizer, context: int, most: int) -> Documents:
    """The conversations of a file that fit a context.

    Args:
      path: of JSON lines.
      tokenizer: of the documents.
      context: the most tokens of a document.
      most: how many are to be mixed.

    Raises:
      ValueError: the file holds fewer that fit.
    """
    documents = conversations.read(path, tokenizer)
    documents = documents.take(np.flatnonzero(documents.lengths <= context))
    if documents.count < most:
        raise checks.refusal(
            "synthetic",
            f"at most the {documents.count} conversations of {path} that fit the context of "
            f"{context} tokens",
            f"{most}, more data than exist",
            "lower it or bring more",
        )
    return documents
