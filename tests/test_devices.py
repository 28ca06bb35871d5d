"""Seeds and cells on several devices are those on one, and devices do not speak to one another."""

import json
import subprocess
import sys

import numpy as np
import pytest

from jaxcollapse import machine
from jaxcollapse.sweeps import chains, programs
from jaxcollapse.sweeps.lowering import Lowering

CODE = """
import itertools, json, sys
import jax, numpy as np
jax.config.update("jax_num_cpu_devices", 8)
import jaxcollapse as jc
from jaxcollapse import machine
from jaxcollapse.sweeps import results
from jaxcollapse.sweeps.lowering import Lowering
told = json.loads(sys.argv[1])
every, compiled, texts = jax.devices(), Lowering.compiled, []

def recorded(self, cell):
    program = compiled(self, cell)
    texts.append((len(program.devices), program.compiled.as_text()))
    return program

Lowering.compiled = recorded
found = {}
for count in told["counts"]:
    machine.devices = lambda: every[:count]
    for name, (task, given) in told["sweeps"].items():
        result = jc.sweep(task, **given)
        for metric in results.metrics_of(result):
            found.setdefault(f"{name} {metric}", []).append(result[metric].values)
words = ("all-reduce", "all-gather", "all-to-all", "collective", "reduce-scatter", "send", "recv")
spoken = sorted({word for _, text in texts for word in words if f" {word}" in text})
apart = {
    name: [
        float(np.nanmax(np.abs(v - values[0]) / (np.abs(values[0]) + 1e-3), initial=0))
        for v in values[1:]
    ]
    for name, values in found.items()
}
print(json.dumps([sorted({width for width, _ in texts}), spoken, apart]))
"""


def on_devices(counts, sweeps):
    """How many devices programs had, what they say to one another, how far metrics are apart."""
    told = json.dumps({"counts": counts, "sweeps": sweeps})
    done = subprocess.run(
        [sys.executable, "-c", CODE, told],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_eight_devices_and_one():
    """Two cells of seven seeds, which share a program."""
    axes = {"dim": [2], "num_samples": [6, 9]}
    metrics = ["trace_ratio", "log_det_ratio"]
    given = {"workflows": ["replace"], "axes": axes, "seeds": 7, "generations": 4}
    widths, spoken, apart = on_devices(
        [1, 8], {"gaussian": ("gaussian", {**given, "metrics": metrics})}
    )
    assert widths == [1, 8]
    assert spoken == []
    assert max(max(values) for values in apart.values()) < 1e-5


GRIDS = {
    "gaussian": ("gaussian", {"dim": [1, 3], "num_samples": [10, 32]}),
    "kde": ("kde", {"dataset": ["moons"], "bandwidth": [0.1, 0.5], "num_samples": [20]}),
    "regression": (
        "linear-regression",
        {"dim": [3], "num_samples": [16], "noise_variance": [0.1, 1.0]},
    ),
}


@pytest.mark.slow
def test_1_2_4_8_devices():
    others = {"workflows": ["replace", "accumulate", "accumulate-subsample"], "seeds": 10}
    sweeps = {
        name: (task, {**others, "axes": axes, "generations": 10})
        for name, (task, axes) in GRIDS.items()
    }
    widths, spoken, apart = on_devices([1, 2, 4, 8], sweeps)
    assert widths == [1, 2, 4, 8]
    assert spoken == []
    print(apart)
    assert np.max(list(apart.values())) < 2e-4


def test_few_seeds_take_few_devices(monkeypatch):
    """Three seeds of a cell have three devices of eight, and two such programs run at a time."""
    monkeypatch.setattr(machine, "devices", lambda: list(range(8)))

    def devices(seeds, sizes=(5,)):
        axes = {"dim": [1, 2, 3], "num_samples": list(sizes)}
        lowering = Lowering(chains.plan("gaussian", ["replace"], axes, seeds, 2))
        return list(lowering._devices.values()), lowering.lanes

    assert devices(3) == ([(0, 1, 2), (3, 4, 5), (0, 1, 2)], 2)
    assert devices(1) == ([(0,), (1,), (2,)], 8)
    assert devices(3, sizes=[5, 6, 7]) == ([tuple(range(8))] * 3, 1)


@pytest.mark.parametrize(
    ("seeds", "most", "devices", "cells", "expected"),
    [
        (100, 1e9, 1, 1, 100),
        (100, 50, 1, 1, 25),  # a power of two of them fits
        (100, 1e9, 8, 1, 13),
        (3, 1e9, 8, 1, 1),
        (16, 1e9, 8, 100, 16),  # whole cells, since there are so many
        (100, 1e9, 8, 9, 25),
    ],
)
def test_seeds_that_a_device_has_in_a_call(seeds, most, devices, cells, expected):
    assert programs.chunk_size(seeds, most, devices, cells) == expected
