"""How long chains will take and how much memory, from a few steps of them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from jaxcollapse.host.programs import Programs
from jaxcollapse.models import sampling
from jaxcollapse.sweep import Plan
from jaxcollapse.tasks import language_model
from jaxcollapse.tasks.language_model_setup import training_bytes


class Estimate(NamedTuple):
    """What chains will take.

    Attributes:
      trained: tokens, all chains together.
      sampled: tokens, likewise.
      rates: tokens per second that one chain trains on and samples, by point of the grid.
      chain_seconds: of all chains, one after another, compiling apart.
      seconds: of the whole, on as many devices as there are.
    """

    trained: float
    sampled: float
    rates: dict[tuple, tuple[float, float]]
    chain_seconds: float
    seconds: float


def memory(programs: Mapping[tuple, Programs]) -> float:
    """Bytes that the largest chain needs on its device to train; nothing is allocated."""
    return max(_training_bytes(program) for program in programs.values())


def _training_bytes(program: Programs) -> float:
    needed = program.training_memory()
    return training_bytes(program.made) if needed is None else needed


def estimate(plan: Plan, programs: Mapping[tuple, Programs]) -> Estimate:
    """Measures a few steps of training and sampling, compiled, and counts what there is to do."""
    trained = sampled = seconds = 0.0
    rates = {}
    for point, program in programs.items():
        made = program.made
        step_seconds, sample_rate = _measure(program)
        data, recipe = made.data, made.recipe
        length = float(np.minimum(np.diff(data.offsets), data.context).mean()) - 1
        rows = made.real_rows
        tokens_a_step = recipe.batch_size * length * made.num_samples / rows
        rates[point] = (tokens_a_step / step_seconds, sample_rate)
        for cell in plan.cells:
            if tuple(cell.point.items()) != point:
                continue
            for generation in range(1, plan.generations + 1):
                times = 1.0 if cell.workflow.needs_points else cell.workflow.capacity(generation)
                if cell.workflow.subsample_size:
                    times = cell.workflow.subsample_size / made.num_samples
                steps = float(language_model.steps_of(made, math.ceil(times * rows))[1])
                seconds += plan.seeds.size * steps * step_seconds
                trained += plan.seeds.size * steps * tokens_a_step
            tokens = plan.seeds.size * plan.generations * made.num_samples * length
            sampled += tokens
            seconds += tokens / sample_rate
    sharded = any(program.mesh is not None for program in programs.values())
    together = 1 if sharded else min(jax.local_device_count(), len(plan.cells) * plan.seeds.size)
    return Estimate(trained, sampled, rates, seconds, seconds / together)


def _measure(program: Programs) -> tuple[float, float]:
    """Seconds of a training step, and tokens sampled per second."""
    batches = program.batches()
    batches.segments[:] = 1
    frozen, state = program.start(jax.random.key(0))
    state = jax.block_until_ready(program.train(state, frozen, batches, 1, 1))
    start = time.perf_counter()
    state = jax.block_until_ready(program.train(state, frozen, batches, 1, 1))
    step_seconds = time.perf_counter() - start
    params = program.finished(state, frozen)
    key, first = jax.random.key(0), program.start_sampling(np.int32(0))
    written, _, _ = jax.block_until_ready(program.advance(params, key, first))
    start = time.perf_counter()
    jax.block_until_ready(program.advance(params, key, written))
    slots = min(program.made.slots, program.documents_a_call)
    return step_seconds, slots * sampling.STEPS / (time.perf_counter() - start)
