"""Chains against the batched programs of other libraries that do the same work, in turns.

A library runs in a process of its own, ``benchmarks/peers/worker.py`` of the source checkout, which
reads a line of JSON for each request and answers with one. What it computed in its first run, which
does not count, is held to what the chains compute: a Kolmogorov-Smirnov test of every metric of the
last generation. A ratio of unequal work is not told.
"""

from __future__ import annotations

import json
import math
import os
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy import stats

from jaxcollapse import checks, machine
from jaxcollapse.bench.cells import BenchCell
from jaxcollapse.bench.chains import chained, compiled, told
from jaxcollapse.bench.stages import median, once

LIBRARIES = ("numpy", "torch")
LEAST_P = 1e-4
ROUNDS = 5
PATIENCE = 120.0  # seconds for one answer
ENOUGH = 20.0  # seconds of one run of a library, after which one round is enough
Row = dict[str, Any]


def worker_file() -> Path:
    """The program that runs other libraries.

    Raises:
      ValueError: this package does not run from a source checkout that has it.
    """
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "peers" / "worker.py"
    if not path.is_file():
        raise checks.refusal(
            "--against",
            "a source checkout, which has benchmarks/peers/worker.py",
            f"none at {path}",
            "clone the repository and install it with pip install -e .",
        )
    return path


class Worker:
    """A process that runs another library; it starts with the first request."""

    def __init__(self, library: str, path: Path, patience: float = PATIENCE):
        """Nothing runs yet.

        Args:
          library: its name.
          path: of the program.
          patience: seconds to wait for an answer.
        """
        self.library, self.path, self.patience = library, path, patience
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a request.

        Raises:
          RuntimeError: the library failed, or its process ended or was ended.
        """
        process = self._started()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            answer = json.loads(self._line(process))
        except (OSError, ValueError) as error:
            self.close()
            raise RuntimeError(f"the process of {self.library} failed: {error}") from None
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def close(self) -> None:
        """Ends the process, if there is one."""
        process, self._process, self._rest = self._process, None, b""
        if process is not None:
            process.kill()
            process.communicate()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            command = [sys.executable, str(self.path), "--library", self.library]
            self._process = subprocess.Popen(
                [*command, "--threads", str(machine.cores())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # Threads of PyTorch that spin while they wait would take those of XLA their turn.
                env={**os.environ, "OMP_WAIT_POLICY": "passive"},
            )
        return self._process

    def _line(self, process: subprocess.Popen[bytes]) -> bytes:
        """The next line that it writes."""
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not selector.select(self.patience):
                    raise OSError(f"no answer in {self.patience:.0f} s")
                some = os.read(process.stdout.fileno(), 2**16)
                if not some:
                    raise OSError("it ended")
                self._rest += some
        line, _, self._rest = self._rest.partition(b"\n")
        return line


def compared(
    cells: Sequence[BenchCell],
    workers: Sequence[Worker],
    seeds: int,
    generations: int,
    rounds: int = ROUNDS,
    how: str = "",
) -> Iterator[Row]:
    """A row a cell: seconds of the chains and of each library, and the ratios of the medians.

    Args:
      cells: which.
      workers: the libraries.
      seeds: S, of a call.
      generations: G.
      rounds: how often each runs, in turns.
      how: what the libraries draw, "points" or "statistics"; "" for what they are faster with.
    """
    for cell in cells:
        row: Row = {**cell.facts(), "seeds": seeds, "generations": generations, "peers": {}}
        request = {name: value for name, value in row.items() if name not in ("peers", "label")}
        request["cell"] = {**cell.point, "how": how}
        try:
            _compare(row, cell, request, workers, rounds)
        except Exception as error:  # one cell must not hide the others
            row["error"] = told(error)
        yield row


def _compare(
    row: Row, cell: BenchCell, request: Row, workers: Sequence[Worker], rounds: int
) -> None:
    first, metrics = {}, {}
    for worker in workers:
        peer: Row = row["peers"].setdefault(worker.library, {})
        try:
            first[worker.library], metrics[worker.library] = _first(worker, request)
        except RuntimeError as error:
            peer["error"] = told(error)
    able = [worker for worker in workers if worker.library in metrics]
    if not able:
        return
    # Ours computes what they do, and nothing that only we have.
    names, *others = {tuple(sorted(found)) for found in metrics.values()}
    if others or not names:
        raise ValueError(f"libraries compute other metrics: {[names, *others]}")
    run = _ours(cell, names, row["seeds"], row["generations"])
    # The number of seeds is filled up to one that the devices share.
    ours = {name: np.asarray(value)[: row["seeds"]] for name, value in run().items()}
    row["metrics"] = list(names)
    taken: dict[str, list[float]] = {"ours": []}
    for worker in list(able):
        peer = row["peers"][worker.library]
        peer["differs"] = different(ours, metrics[worker.library], names)
        if peer["differs"]:
            able.remove(worker)
    for _ in range(1 if max(first.values()) > ENOUGH else rounds):
        taken["ours"].append(once(run))
        for worker in able:
            try:
                answer = worker.ask({**request, "save": None})
            except RuntimeError as error:
                row["peers"][worker.library]["error"] = told(error)
                continue
            taken.setdefault(worker.library, []).append(float(answer["seconds"]))
            if "how" in answer:
                row["peers"][worker.library]["how"] = answer["how"]
    row["run_seconds"] = median(taken.pop("ours"))
    for library, seconds in taken.items():
        peer = row["peers"][library]
        peer |= {"run_seconds": median(seconds), "runs": len(seconds)}
        if "error" not in peer:
            peer["ratio"] = peer["run_seconds"] / row["run_seconds"]


def _first(worker: Worker, request: Row) -> tuple[float, dict[str, np.ndarray]]:
    """Seconds of the first run of a library, and its metrics ``[S, G]``."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.npz"
        answer = worker.ask({**request, "save": str(path)})
        try:
            with np.load(path) as file:
                found = {name: file[name] for name in file.files}
        except OSError as error:
            raise RuntimeError(f"{worker.library} saved no metrics: {error}") from None
    return float(answer["seconds"]), found


def _ours(
    cell: BenchCell, names: Sequence[str], seeds: int, generations: int
) -> Callable[[], dict[str, jax.Array]]:
    """A run of the cell's chains that computes some metrics alone."""
    chain = chained(cell, generations)

    def some(key, traced):
        found = chain.function(key, traced)
        return {name: found[checks.one_of("metric", name, found)] for name in names}

    run = compiled(chain._replace(function=some), seeds)[1](chain.traced)
    once(run)
    return run


def different(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], names: Sequence[str]
) -> str:
    """The metrics whose laws differ in the last generation, in words; "" where none does."""
    found = []
    for name in names:
        a, b = _tied(np.asarray(ours[name])[:, -1], np.asarray(theirs[name])[:, -1])
        p = math.nan if a is None else float(stats.ks_2samp(a, b).pvalue)
        if not p > LEAST_P:
            found.append(f"{name} (p {p:.1e})")
    return ", ".join(found)


def _tied(a: np.ndarray, b: np.ndarray) -> tuple[Any, Any]:
    """Ranks of two sets of values, those that differ by rounding alone the same; None for NaN."""
    both = np.concatenate([a, b]).astype(np.float64)
    if np.isnan(both).any():
        return None, None
    order = np.argsort(both)
    values = both[order]
    with np.errstate(invalid="ignore"):  # between infinities
        differ = values[1:] - values[:-1] > 1e-7 + 2e-6 * np.abs(values[:-1])
    ranks = np.empty(both.size, np.int64)
    ranks[order] = np.concatenate([[0], np.cumsum(differ)])
    return ranks[: a.size], ranks[a.size :]


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Over the cells with a ratio: the geometric mean and the least, against each cell's best peer.

    Returns:
      ``cells``, how many; ``geometric_mean``, ``least`` and ``least_cell``, where there are some;
      ``unequal``, the cells whose work differs, by peer.
    """
    best = []
    unequal = []
    for row in rows:
        at = " ".join(f"{name}={value}" for name, value in row["cell"].items())
        cell = f"{row['task']} {row['workflow']} {at}"
        ratios = [peer["ratio"] for peer in row["peers"].values() if "ratio" in peer]
        if ratios:
            best.append((min(ratios), cell))
        for library, peer in row["peers"].items():
            if peer.get("differs"):
                unequal.append(f"{library}, {cell}: {peer['differs']}")
    found: dict[str, Any] = {"cells": len(best), "unequal": unequal}
    if best:
        logs = [math.log(ratio) for ratio, _ in best]
        least, cell = min(best)
        mean = math.exp(sum(logs) / len(logs))
        found |= {"geometric_mean": mean, "least": least, "least_cell": cell}
    return found
