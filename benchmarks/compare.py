"""Chains against the loops that people write today, in the same run.

    python benchmarks/compare.py --task gaussian kde linear-regression categorical

Both compute the same metrics and are given the same number of generations; the loops (``loops.py``)
run a few seeds and their rate is what is compared. Compiling is timed apart from running, and every
run is waited for. Writes ``TASK.json`` into ``--out``.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # see jaxcollapse/cli/main.py

import datetime
import json
import time
from pathlib import Path
from typing import Any

import jax
import loops
import tyro

import jaxcollapse as jc
from jaxcollapse import machine
from jaxcollapse.files import check_output, whole_file
from jaxcollapse.registry import as_family

CELLS: dict[str, list[dict[str, Any]]] = {
    "gaussian": [
        {"dim": dim, "num_samples": n}
        for dim, n in [(1, 100), (10, 100), (31, 316), (100, 32), (100, 1000)]
    ],
    "kde": [
        {"dataset": "moons", "bandwidth": 0.1, "num_samples": 10},
        {"dataset": "moons", "bandwidth": 0.1, "num_samples": 100},
        {"dataset": "swiss-roll", "bandwidth": 0.5, "num_samples": 316},
        {"dataset": "moons", "bandwidth": "scott", "num_samples": 100},
    ],
    "linear-regression": [
        {"dim": dim, "noise_variance": 1.0, "num_samples": n}
        for dim, n in [(1, 100), (10, 100), (100, 32), (100, 1000)]
    ],
    "categorical": [
        {"num_outcomes": k, "num_samples": n} for k, n in [(10, 100), (1000, 1000), (100_000, 1000)]
    ],
}


def measure(task: str, workflow: str, cell: dict[str, Any], generations: int, seeds: int) -> dict:
    """Seconds for a chain-generation of both, compiling apart, and their ratio."""
    start = time.perf_counter()
    repeats = 0
    while repeats == 0 or time.perf_counter() - start < 2.0:
        measured = loops.LOOPS[task](workflow, generations, repeats, **cell)
        repeats += 1
    theirs = (time.perf_counter() - start) / (repeats * generations)

    def chain(key):
        metrics = jc.make_chain(as_family(task).make(cell, {}), workflow, generations)(key)
        return {name: metrics[name] for name in measured}

    keys = jc.seed_keys(range(seeds))
    start = time.perf_counter()
    compiled = jax.jit(jax.vmap(chain)).lower(keys).compile()
    compile_seconds = time.perf_counter() - start
    jax.block_until_ready(compiled(keys))
    start = time.perf_counter()
    jax.block_until_ready(compiled(keys))
    ours = (time.perf_counter() - start) / (seeds * generations)
    return {
        "workflow": workflow,
        **cell,
        "seeds": seeds,
        "generations": generations,
        "compile_seconds": round(compile_seconds, 2),
        "microseconds_per_generation": round(ours * 1e6, 2),
        "loop_microseconds_per_generation": round(theirs * 1e6, 2),
        "ratio": round(theirs / ours, 1),
    }


def main(
    task: tuple[str, ...] = tuple(CELLS),
    out: Path = Path("benchmarks/results"),
    generations: int = 100,
    seeds: int = 32,
    quick: bool = False,
    overwrite: bool = False,
) -> None:
    """Benchmarks chains against plain loops.

    Args:
      task: which tasks.
      out: folder for a JSON file a task.
      generations: generations of each chain.
      seeds: chains mapped in one call.
      quick: one cell a task, to see that it runs.
      overwrite: replace existing files.
    """
    for name in task:
        check_output(out / f"{name}.json", (".json",), overwrite)
    for name in task:
        rows = []
        for workflow in ("replace", "accumulate", "accumulate-subsample"):
            for cell in CELLS[name][:1] if quick else CELLS[name]:
                rows.append(measure(name, workflow, cell, generations, seeds))
                print(name, json.dumps(rows[-1]), flush=True)
        made = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        facts = {"created": made, **machine.describe(), "rows": rows}
        with whole_file(out / f"{name}.json") as temporary:
            temporary.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
