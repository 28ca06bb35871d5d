"""How long chains will take and how much memory, from a few steps of them."""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from jaxcollapse.host.devices import run_on_devices
from jaxcollapse.host.fit import StoppedError
from jaxcollapse.host.mix import Mixing
from jaxcollapse.host.programs import Programs
from jaxcollapse.models import sampling
from jaxcollapse.sweep import Plan
from jaxcollapse.tasks import language_model
from jaxcollapse.tasks.language_model_setup import Setup, training_bytes


class Estimate(NamedTuple):
    """What chains will take.

    Attributes:
      trained: tokens, all chains together.
      sampled: tokens, likewise.
      rates: tokens per second that one chain trains on and samples beside the others, by point of
        the grid.
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


class _Pace(NamedTuple):
    """How fast a chain is.

    Attributes:
      made: all that decides it.
      step_seconds: of a step of training.
      sample_rate: tokens sampled per second.
    """

    made: Setup
    step_seconds: float
    sample_rate: float

    @property
    def length(self) -> float:
        """Tokens of a document that are predicted, the mean of the real ones."""
        data = self.made.data
        return float(np.minimum(np.diff(data.offsets), data.context).mean()) - 1

    @property
    def tokens_a_step(self) -> float:
        """Tokens of a batch, padding not counted."""
        made = self.made
        return made.recipe.batch_size * self.length * made.num_samples / made.real_rows

    @property
    def rates(self) -> tuple[float, float]:
        """Tokens per second, in training and in sampling."""
        return self.tokens_a_step / self.step_seconds, self.sample_rate

    def steps(self, documents: float) -> float:
        """Steps of training on so many documents."""
        rows = math.ceil(documents / self.made.num_samples * self.made.real_rows)
        return float(language_model.steps_of(self.made, rows)[1])


def estimate(plan: Plan, programs: Mapping[tuple, Programs]) -> Estimate:
    """Measures a few steps of training and sampling, compiled, and counts what there is to do.

    Samples that a filter rejects are not counted: how many there will be is not known before.
    """
    trained = sampled = seconds = 0.0
    together = _together(programs, len(plan.cells) * plan.seeds.size)
    rates = {}
    for point, program in programs.items():
        pace = _measure(program, together)
        rates[point] = pace.rates
        size = program.made.num_samples
        for cell in plan.cells:
            if tuple(cell.point.items()) != point:
                continue
            for generation in range(1, plan.generations + 1):
                workflow = cell.workflow
                documents = size if workflow.needs_points else workflow.capacity(generation) * size
                steps = plan.seeds.size * pace.steps(workflow.subsample_size or documents)
                seconds += steps * pace.step_seconds
                trained += steps * pace.tokens_a_step
            tokens = plan.seeds.size * plan.generations * size * pace.length
            sampled += tokens
            seconds += tokens / pace.sample_rate
    return Estimate(trained, sampled, rates, seconds, seconds / together)


def estimate_mixing(mixing: Mixing, teach: bool) -> Estimate:
    """What a grid of mixtures will take, and with ``teach`` the model that makes documents."""
    programs, counts = mixing.programs, mixing.counts
    together = _together({mixing.point: programs}, counts.seeds.size)
    pace = _measure(programs, together)
    steps = sum(pace.steps(sum(pair)) for pair in counts.mixtures) * counts.seeds.size
    sampled = 0.0
    if teach and max(counts.synthetic):
        steps += pace.steps(programs.made.num_samples)
        sampled = max(counts.synthetic) * pace.length
    seconds = steps * pace.step_seconds + sampled / pace.sample_rate
    return Estimate(
        steps * pace.tokens_a_step,
        sampled,
        {mixing.point: pace.rates},
        seconds,
        seconds / together,
    )


def _together(programs: Mapping[tuple, Programs], chains: int) -> int:
    """How many chains run at a time."""
    sharded = any(program.mesh is not None for program in programs.values())
    return 1 if sharded else min(jax.local_device_count(), chains)


def _measure(program: Programs, together: int) -> _Pace:
    """The pace of one of so many chains side by side, which share cores and memory's bandwidth."""
    start = threading.Barrier(together)
    jobs = {number: functools.partial(_seconds, program, start) for number in range(together)}
    found = run_on_devices(jobs, threading.Event(), sharded=program.mesh is not None)
    step_seconds, sample_seconds = np.mean(list(found.values()), axis=0)
    slots = min(program.made.slots, program.documents_a_call)
    return _Pace(program.made, step_seconds, slots * sampling.STEPS / sample_seconds)


def _seconds(program: Programs, start: threading.Barrier) -> tuple[float, float]:
    """Seconds of a step of training and of a call of sampling, each begun once all are ready."""
    try:
        batches = program.batches()
        batches.segments[:] = 1
        frozen, state = program.start(jax.random.key(0))
        state = jax.block_until_ready(program.train(state, frozen, batches, 1, 1))
        start.wait()
        begun = time.perf_counter()
        state = jax.block_until_ready(program.train(state, frozen, batches, 1, 1))
        step_seconds = time.perf_counter() - begun
        params = program.finished(state, frozen)
        del state, frozen  # whose memory the sampler may need
        key, first = jax.random.key(0), program.start_sampling(np.int32(0))
        written, _, _ = jax.block_until_ready(program.advance(params, key, first))
        start.wait()
        begun = time.perf_counter()
        jax.block_until_ready(program.advance(params, key, written))
        return step_seconds, time.perf_counter() - begun
    except threading.BrokenBarrierError:
        raise StoppedError from None  # another failed, and tells why
    except BaseException:
        start.abort()  # or the others would wait for ever
        raise
