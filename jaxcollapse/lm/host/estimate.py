"""How long chains will take and how much memory, from a few steps of them."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcollapse.lm import language_model
from jaxcollapse.lm.decoder import sampling
from jaxcollapse.lm.host.mixtures import Mixing
from jaxcollapse.lm.host.programs import Programs
from jaxcollapse.lm.setup import Setup, training_bytes
from jaxcollapse.sweeps.chains import Plan

MOST_STEPS, ENOUGH_SECONDS = 5, 1.0  # of a measurement


class Estimate(NamedTuple):
    """What chains will take.

    Attributes:
      trained: tokens, all chains together.
      sampled: tokens, likewise, without those that a filter rejects: how many is not known before.
      filtered: whether there is such a filter.
      rates: tokens per second that one chain trains on and samples beside the others, by point of
        the grid.
      chain_seconds: of all chains, each beside the others, added up; compiling apart.
      seconds: of the whole, on as many devices as there are.
    """

    trained: float
    sampled: float
    filtered: bool
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
    """Measures a few steps of training and sampling, compiled, and counts what there is to do."""
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
    filtered = any(program.made.filters for program in programs.values())
    return Estimate(trained, sampled, filtered, rates, seconds, seconds / together)


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
        teach and programs.made.filters,
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
    # Of a model that is sharded over all devices there is one.
    places = jax.local_devices()[:together] if program.mesh is None else [None]

    def side_by_side(call: Callable[..., Any], *each: Sequence[Any]) -> tuple[Any, float]:
        """What a call returns on each device, and the seconds that all of them take."""
        begun = time.perf_counter()
        returned = []
        for device, *arguments in zip(places, *each, strict=True):
            with contextlib.nullcontext() if device is None else jax.default_device(device):
                returned.append(call(*arguments))
        return jax.block_until_ready(returned), time.perf_counter() - begun

    def repeated(step: Callable[[Any], tuple[Any, float]], states: Any) -> tuple[Any, float]:
        """The last states, and the median of the seconds of some steps after one that compiles."""
        states, _ = step(states)
        seconds: list[float] = []
        while len(seconds) < MOST_STEPS and sum(seconds) < ENOUGH_SECONDS:
            states, one = step(states)
            seconds.append(one)
        return states, float(np.median(seconds))

    def trained() -> tuple[Any, float]:
        """Models after some steps, and the seconds of one; the memory of training is free again."""
        batches = program.batches()
        batches.segments[:] = 1
        started, _ = side_by_side(lambda: program.start(jax.random.key(0)))
        frozen, states = zip(*started, strict=True)

        def train(state, frozen):
            return program.train(state, frozen, batches, 1, 1)

        states, seconds = repeated(lambda states: side_by_side(train, states, frozen), states)
        return side_by_side(program.finished, states, frozen)[0], seconds

    def advance(params, state):
        return program.advance(params, jax.random.key(0), state)[0]

    params, step_seconds = trained()
    first, _ = side_by_side(lambda: program.start_sampling(np.int32(0)))
    _, sample_seconds = repeated(lambda states: side_by_side(advance, params, states), first)
    slots = min(program.made.slots, program.documents_a_call)
    return _Pace(program.made, step_seconds, slots * sampling.STEPS / sample_seconds)
