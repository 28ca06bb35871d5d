"""How long chains will take and how much memory, from a few steps of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from jaxcollapse.host.programs import Programs
from jaxcollapse.models import sampling
from jaxcollapse.sweep import Plan


class Estimate(NamedTuple):
    """What chains will take.

    Attributes:
      trained: tokens, all chains together.
      sampled: tokens, likewise.
      train_rate: tokens per second of one chain, measured.
      sample_rate: likewise.
      memory: bytes of one chain on its device.
      seconds: of the whole, compiling apart.
    """

    trained: float
    sampled: float
    train_rate: float
    sample_rate: float
    memory: float
    seconds: float


def estimate(plan: Plan, programs: Mapping[tuple, Programs]) -> Estimate:
    """Measures a few steps of training and sampling, compiled, and counts what there is to do."""
    trained = sampled = seconds = 0.0
    memory = 0.0
    for point, program in programs.items():
        made = program.made
        train_seconds, sample_rate, used = _measure(program)
        memory = max(memory, used)
        data, recipe = made.data, made.recipe
        length = float(np.minimum(np.diff(data.offsets), data.context).mean()) - 1
        counted = float((data.test.segments > 0).sum())
        fill = counted / data.test.segments.size
        rows = made.num_samples * (length + 1) / (fill * data.context)
        tokens_a_step = recipe.batch_size * data.context * fill * length / (length + 1)
        for cell in plan.cells:
            if tuple(cell.point.items()) != point:
                continue
            for generation in range(1, plan.generations + 1):
                times = 1.0 if cell.workflow.needs_points else cell.workflow.capacity(generation)
                if cell.workflow.subsample_size:
                    times = cell.workflow.subsample_size / made.num_samples
                if recipe.matched_compute:
                    times = min(times, 1.0)
                steps = recipe.steps or recipe.epochs * -(-times * rows // recipe.batch_size)
                seconds += plan.seeds.size * steps * train_seconds
                trained += plan.seeds.size * steps * tokens_a_step
            tokens = plan.seeds.size * plan.generations * made.num_samples * length
            sampled += tokens
            seconds += tokens / sample_rate
    return Estimate(
        trained,
        sampled,
        tokens_a_step / train_seconds,
        sample_rate,
        memory,
        seconds / min(jax.local_device_count(), len(plan.cells) * plan.seeds.size),
    )


def _measure(program: Programs) -> tuple[float, float, float]:
    """Seconds of a training step, tokens sampled per second, bytes of a chain on its device."""
    made = program.made
    tokens, segments = program.batches()
    segments[:] = 1
    state = program.fresh(jax.random.key(0))
    arguments = (state, tokens, segments, np.int32(1), np.int32(1))
    needed = program.train.lower(*arguments).compile().memory_analysis()
    memory = 0.0
    if needed is not None:
        memory = float(needed.argument_size_in_bytes + needed.temp_size_in_bytes)
    state = jax.block_until_ready(program.train(*arguments))
    start = time.perf_counter()
    state = jax.block_until_ready(program.train(state, *arguments[1:]))
    step_seconds = time.perf_counter() - start
    key, first = jax.random.key(0), program.start_sampling(np.int32(0))
    written, _, _ = jax.block_until_ready(program.advance(state.params, key, first))
    start = time.perf_counter()
    jax.block_until_ready(program.advance(state.params, key, written))
    slots = min(made.slots, program.documents_a_call)
    return step_seconds, slots * sampling.STEPS / (time.perf_counter() - start), memory
