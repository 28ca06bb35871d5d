"""Runs batched programs of NumPy or PyTorch that are asked for on standard input.

    python benchmarks/peers/worker.py --library numpy --threads 2

A line of JSON asks, a line answers:

    {"task": "gaussian", "workflow": "replace", "generations": 100, "seeds": 100,
     "cell": {"dim": 10, "num_samples": 100}, "save": "FILE.npz", "seed": 0}
    {"seconds": 0.012, "how": "statistics, float32"}

``save``, which may be null, is where metrics ``[S, G]`` go; ``seed``, 0 by default, names the
draws. A cell's ``"how"``, "points" or "statistics", is the faster of the two unless it is given.
What fails is answered with ``{"error": "..."}``. Seconds are of the program alone, without imports;
the first run of a cell in a process is slower than the next.
"""

from __future__ import annotations

import os

# The threads are the seeds' parts; a product's own would only get in their way.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import importlib
import json
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import cells
import numpy as np


def write_whole(path: Path, metrics: dict[str, np.ndarray]) -> None:
    """An npz file that is whole or is not there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **metrics)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def broken(metrics: dict[str, np.ndarray]) -> list[str]:
    """The metrics that hold NaN."""
    return [name for name, values in metrics.items() if np.isnan(values).any()]


def answer(peers: ModuleType, threads: int, asked: dict[str, Any]) -> dict[str, Any]:
    """What one request is answered with."""
    task, workflow, cell = asked["task"], asked["workflow"], asked["cell"]
    planned = cells.plan(peers.PROGRAMS, task, workflow, **cell)
    start = time.perf_counter()
    metrics = peers.PEERS[task](
        workflow,
        asked["generations"],
        asked["seeds"],
        **cell,
        seed=asked.get("seed", 0),
        threads=threads,
    )
    seconds = time.perf_counter() - start
    if broken(metrics):
        raise ValueError(f"NaN in {', '.join(broken(metrics))}")
    if asked.get("save"):
        write_whole(Path(asked["save"]), metrics)
    return {"seconds": seconds, "how": f"{planned.how}, {planned.precision}"}


def main() -> None:
    """Answers requests until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", choices=("numpy", "torch"), required=True)
    parser.add_argument("--threads", type=int, default=2, help="how many threads work at a time")
    options = parser.parse_args()
    peers = importlib.import_module(f"{options.library}_peers")
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            reply = answer(peers, options.threads, json.loads(line))
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
