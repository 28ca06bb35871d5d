"""Small grids, results of them that nothing was run for, and programs that compute nothing."""

import numpy as np
import pytest

from jaxcollapse.sweeps import chains, mixtures, results
from jaxcollapse.sweeps.lowering import Lowering
from jaxcollapse.sweeps.programs import Program


def planned(workflows=("replace", "accumulate"), seeds=4, generations=3, dim=(1, 2), **options):
    axes = {"dim": list(dim), "num_samples": [5]}
    names = options.pop("metrics", ["trace_ratio", "kl"])
    return chains.plan(
        "gaussian", list(workflows), axes, seeds, generations, metrics=names, **options
    )


def mixed(real=(2, 4), seeds=4, outcomes=(3,)):
    axes = {"num_outcomes": list(outcomes)}
    return mixtures.plan("categorical", axes, list(real), [0, 3], num_real=4, seeds=seeds)


def made(plan):
    """A result whose every number tells where it belongs, made without running anything."""
    values = []
    for cell in plan.cells:
        told = sum(map(ord, str(cell)))
        seeds = plan.seeds.astype(np.float32)
        if isinstance(plan, chains.ChainPlan):
            some = told + seeds[:, None] / 7 + np.arange(plan.generations) / 1000
        else:
            counts = np.add.outer(np.asarray(plan.real) * 100, np.asarray(plan.synthetic))
            some = told + seeds[:, None, None] / 7 + counts
        metrics = {name: some.astype(np.float32) + n for n, name in enumerate(plan.metrics)}
        values.append({**metrics, results.RUN_SECONDS: np.float32(len(seeds))})
    seconds = float(len(values) * plan.seeds.size)
    return results.dataset(plan, values, compile_seconds=2.0, run_seconds=seconds, programs=2)


@pytest.fixture
def ran(monkeypatch):
    """Programs are ones that tell seeds and cells apart, and compile nothing; which seeds they ran.

    Of each seed, in the order of calls; those that only fill a call up are not among them.
    """
    seeds_run = []
    call = Program.__call__

    def counted(self, seeds, traced):
        seeds_run.extend(int(seed) for some in seeds for seed in some)
        return call(self, seeds, traced)

    def compiled(self, cell):
        devices, chunk = self._devices[self.plan.program(cell)], self._chunk(cell, 1.0)
        told = float(sum(map(ord, f"{cell.workflow} {cell.point.get('dim')}")))

        def numbers(seeds, traced):
            sizes = np.repeat(np.asarray(traced["num_samples"]), chunk)[:, None] * 100.0
            some = told + sizes + np.asarray(seeds)[:, None] / 7
            some = (some + np.arange(self.plan.generations) / 1000).astype(np.float32)
            return {name: some + n for n, name in enumerate(self.plan.metrics)}

        return Program(None, devices, chunk, "", 0.5, numbers)

    monkeypatch.setattr(Lowering, "compiled", compiled)
    monkeypatch.setattr(Program, "__call__", counted)
    return seeds_run
