"""Gaussian chains against the loop that people write today, in the same run.

    python benchmarks/gaussian.py --out benchmarks/results/gaussian.json

The loop is NumPy, a seed at a time: sample, fit, measure, pool. It measures what the chain
measures but for the Wasserstein distance, which neither computes here. Both are given the same
number of generations; the loop runs a few seeds and its rate is what is compared. Compiling is
timed apart from running, and every run is waited for.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # see jaxcollapse/cli.py

import datetime
import json
import time
from pathlib import Path

import jax
import numpy as np
import tyro

import jaxcollapse as jc
from jaxcollapse import machine, results

METRICS = ("squared_error_of_mean", "squared_error_of_cov", "trace_ratio", "log_det_ratio")
CELLS = [(1, 100), (10, 100), (31, 316), (100, 32), (100, 1000)]


def numpy_chain(workflow: str, dim: int, num_samples: int, generations: int, seed: int):
    """One seed's history as a plain loop; metrics ``[G, 4]``."""
    rng = np.random.default_rng(seed)
    pool = rng.standard_normal((num_samples, dim))
    history = []
    for _ in range(generations):
        view = pool
        if workflow == "accumulate-subsample":
            view = pool[rng.choice(len(pool), num_samples, replace=False)]
        mean, cov = view.mean(axis=0), np.atleast_2d(np.cov(view.T, ddof=0))
        history.append(
            [
                np.sum(mean**2),
                np.sum((cov - np.eye(dim)) ** 2),
                np.trace(cov) / dim,
                np.linalg.slogdet(cov)[1],
            ]
        )
        batch = rng.multivariate_normal(mean, cov, num_samples, method="eigh", check_valid="ignore")
        pool = batch if workflow == "replace" else np.concatenate([pool, batch])
    return np.asarray(history)


def measure(workflow: str, dim: int, num_samples: int, generations: int, seeds: int) -> dict:
    """Seconds for a chain-generation of both, compiling apart, and their ratio."""

    def chain(key):
        metrics = jc.make_chain(jc.gaussian.task(dim, num_samples), workflow, generations)(key)
        return {name: metrics[name] for name in METRICS}

    keys = jc.seed_keys(range(seeds))
    start = time.perf_counter()
    compiled = jax.jit(jax.vmap(chain)).lower(keys).compile()
    compile_seconds = time.perf_counter() - start
    jax.block_until_ready(compiled(keys))
    start = time.perf_counter()
    jax.block_until_ready(compiled(keys))
    ours = (time.perf_counter() - start) / (seeds * generations)

    start = time.perf_counter()
    loops = 0
    while loops == 0 or time.perf_counter() - start < 2.0:
        numpy_chain(workflow, dim, num_samples, generations, loops)
        loops += 1
    theirs = (time.perf_counter() - start) / (loops * generations)
    return {
        "workflow": workflow,
        "dim": dim,
        "num_samples": num_samples,
        "seeds": seeds,
        "generations": generations,
        "compile_seconds": round(compile_seconds, 2),
        "microseconds_per_generation": round(ours * 1e6, 2),
        "numpy_microseconds_per_generation": round(theirs * 1e6, 2),
        "ratio": round(theirs / ours, 1),
    }


def main(
    out: Path = Path("benchmarks/results/gaussian.json"),
    generations: int = 100,
    seeds: int = 32,
    overwrite: bool = False,
) -> None:
    """Benchmarks Gaussian chains against a NumPy loop.

    Args:
      out: JSON file to write.
      generations: generations of each chain.
      seeds: chains mapped in one call.
      overwrite: replace an existing file.
    """
    results.check_output(out, (".json",), overwrite)
    rows = []
    for workflow in ("replace", "accumulate", "accumulate-subsample"):
        for dim, num_samples in CELLS:
            rows.append(measure(workflow, dim, num_samples, generations, seeds))
            print(json.dumps(rows[-1]), flush=True)
    made = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    report = {"created": made, **machine.describe(), "rows": rows}
    with results.whole_file(out) as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
