"""What all tests share: strict flags, one cache of compiled chains, and how chance is judged."""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import functools

import jax
import matplotlib
import numpy as np
import pytest

import jaxcollapse as jc

matplotlib.use("Agg")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@functools.cache
def run_gaussian(workflow, pool, dim, num_samples, generations, seeds, first_seed=0):
    """Metrics ``[2, S, G]`` for ddof 0 and 1; computed once for all tests that ask."""

    def chain(ddof, key):
        task = jc.gaussian.task(dim, num_samples, ddof, pool=pool)
        metrics = jc.make_chain(task, workflow, generations)(key)
        return {name: metrics[name] for name in METRICS}

    keys = jc.seed_keys(range(first_seed, first_seed + seeds))
    both = jax.vmap(jax.vmap(chain, (None, 0)), (0, None))
    return jax.device_get(jax.jit(both)(np.asarray([0.0, 1.0], np.float32), keys))


METRICS = ("trace_ratio", "squared_error_of_mean", "log_det_ratio")


def standard_errors(values: np.ndarray, expected: float) -> float:
    """How many standard errors the mean of independent values is from what is expected."""
    values = np.asarray(values, np.float64)
    error = values.std(ddof=1) / np.sqrt(values.size)
    return float(abs(values.mean() - expected) / error)


@pytest.fixture
def compilations():
    """Counts the programs that XLA compiles while a test runs."""
    events = []

    def listen(name, seconds, **kwargs):
        if name == "/jax/core/compile/backend_compile_duration":
            events.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield events
    jax.monitoring.unregister_event_duration_listener(listen)
