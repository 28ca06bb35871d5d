"""One sweep on more and more simulated devices, and shared by more and more processes.

    python benchmarks/scaling.py --out benchmarks/results

Seconds of a whole command, once its programs are kept, and how far its numbers are from those of
one device, relative to what they are. Writes ``scaling.json`` into ``--out``.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tyro
import xarray

from jaxcollapse import machine
from jaxcollapse.files import check_output, whole_file
from jaxcollapse.sweeps import results

SWEEPS = {
    "gaussian": "run gaussian --dim 1 10 --num-samples 32 100 --seeds 200 --generations 100",
    "kde": "run kde --dataset moons --bandwidth 0.1 0.5 --num-samples 50 --generations 20",
    "regression": "run linear-regression --dim 10 --num-samples 32 100 --seeds 200",
}
DEVICES, PROCESSES = (1, 2, 4, 8), (1, 2, 4)
FLAG = "--xla_force_host_platform_device_count"


def run(words: str, out: Path, devices: int, processes: int) -> float:
    """Seconds of a command that so many processes of so many devices share."""
    command = [sys.executable, "-m", "jaxcollapse", *shlex.split(words), "--out", str(out)]
    env = {**os.environ, "XLA_FLAGS": f"{FLAG}={devices}"}
    shares: list[list[str]] = [[]]
    if processes > 1:
        shares = [["--processes", str(processes), "--process", str(p)] for p in range(processes)]
    start = time.perf_counter()
    quiet = subprocess.DEVNULL
    running = [subprocess.Popen(command + s, env=env, stdout=quiet, stderr=quiet) for s in shares]
    if any(process.wait() for process in running):
        raise RuntimeError(f"{words} failed on {devices} devices, {processes} processes")
    return time.perf_counter() - start


def apart(found: xarray.Dataset, expected: xarray.Dataset) -> float:
    """The largest relative difference of a metric, of numbers above a thousandth of its own."""
    most = 0.0
    for name in results.metrics_of(expected):
        one, other = found[name].values, expected[name].values
        finite = np.isfinite(one) & np.isfinite(other)
        scale = np.maximum(np.abs(other), 1e-3)
        most = max(most, float(np.max(np.abs(one - other) / scale, where=finite, initial=0.0)))
    return most


def main(out: Path = Path(), only: tuple[str, ...] = (), overwrite: bool = False) -> None:
    """Runs every sweep in every way, and writes the table.

    Args:
      out: the folder of scaling.json.
      only: names of some of the sweeps.
      overwrite: replace an existing file.
    """
    path = out / "scaling.json"
    check_output(path, (".json",), overwrite)
    rows = []
    ways = [(n, 1) for n in DEVICES] + [(1, n) for n in PROCESSES[1:]]
    with tempfile.TemporaryDirectory(prefix="scaling-") as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        for sweep, words in ((s, w) for s, w in SWEEPS.items() if not only or s in only):
            for devices, processes in ways:
                files = [folder / f"{sweep}-{devices}-{processes}-{n}.nc" for n in range(2)]
                seconds = [run(words, file, devices, processes) for file in files][-1]
                found = results.load(files[-1])
                expected = results.load(folder / f"{sweep}-1-1-1.nc")
                row = {"sweep": sweep, "devices": devices, "processes": processes}
                row |= {"seconds": round(seconds, 2), "apart": apart(found, expected)}
                rows.append(row)
                print(json.dumps(row), flush=True)
    with whole_file(path) as temporary:
        facts = {**machine.describe(), "cores": machine.cores(), "rows": rows}
        temporary.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
