"""Seeds that run at once: as many as memory allows, found out before or on the way."""

import jax
import numpy as np
import pytest

import jaxcollapse as jc
from jaxcollapse.sweeps import chains, memory, programs
from jaxcollapse.sweeps.run import run

AXES = {"dim": [2], "num_samples": [5]}
MIB = 2**20


def test_a_call_that_finds_no_memory_is_halved_and_the_run_goes_on(monkeypatch, capsys):
    axes = {"dim": [2], "num_samples": [5, 7]}
    whole = jc.sweep("gaussian", ["replace"], axes, seeds=5, generations=3)
    call, asked = programs.Program.__call__, []

    def narrow(self, seeds, traced):
        asked.append(seeds[0].size)
        if self.chunk > 3:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")
        return call(self, seeds, traced)

    monkeypatch.setattr(programs.Program, "__call__", narrow)
    parts = jc.sweep("gaussian", ["replace"], axes, seeds=5, generations=3)
    assert asked == [5, 3, 2, 3, 2]
    assert "no memory left: 3 seeds a call" in capsys.readouterr().err
    for name in whole.data_vars:
        if name != "run_seconds":
            np.testing.assert_allclose(parts[name], whole[name], rtol=1e-5)


def test_a_seed_that_finds_no_memory_ends_the_run(monkeypatch):
    def full(self, seeds, traced):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")

    monkeypatch.setattr(programs.Program, "__call__", full)
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
        jc.sweep("gaussian", ["replace"], AXES, seeds=2, generations=3)


def test_a_cell_that_does_not_fit_is_refused_before_anything_runs():
    """With the arithmetic; a limit is kept also where it was passed by before."""
    axes = {"dim": [2], "num_samples": [5, 200_000]}
    told = []
    with pytest.raises(ValueError, match="memory of replace dim=2 num_samples=200000") as refused:
        jc.sweep(
            *("gaussian", ["replace"], axes),
            **{"seeds": 2, "generations": 3, "pool": "points", "memory_limit": 2 * MIB},
            progress=told.append,
        )
    assert told == []
    assert "expected at most 2 MiB on a device, got" in str(refused.value)
    assert "MiB of what lies between" in str(refused.value)


def test_seeds_a_call_are_those_of_the_compiled_program(monkeypatch):
    """Where the estimate is too low, fewer seeds are compiled, and give the same numbers."""
    plan = chains.plan("gaussian", ["replace"], AXES, seeds=8, generations=3)
    whole = run(plan)
    measured = memory.of_a_seed
    monkeypatch.setattr(memory, "of_a_seed", lambda program: 1000 * measured(program))
    limit = 2.5 * 1000 * plan.seed_bytes(plan.cells[0])
    told = []
    plan = chains.plan("gaussian", ["replace"], AXES, seeds=8, generations=3, memory_limit=limit)
    parts = run(plan, progress=told.append)
    assert len(told) > 1  # the estimate has all at once
    np.testing.assert_allclose(parts.trace_ratio, whole.trace_ratio, rtol=1e-5)
