"""How long chains will take and how much memory, from a few steps of them."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcollapse.keys import seed_key
from jaxcollapse.lm import language_model
from jaxcollapse.lm.decoder import sampling
from jaxcollapse.lm.host.programs import Programs
from jaxcollapse.lm.setup import Setup, training_bytes
from jaxcollapse.sweeps.chains import ChainPlan
from jaxcollapse.sweeps.mixtures import MixturePlan
from jaxcollapse.sweeps.plan import Cell

MOST_STEPS, ENOUGH_SECONDS = 5, 1.0  # of a measurement


class Estimate(NamedTuple):
    """What chains will take.

    Attributes:
      trained: tokens, all chains together, without what was done before.
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
    return training_bytes(program.setup) if needed is None else needed


class _Pace(NamedTuple):
    """How fast a chain is.

    Attributes:
      setup: all that decides it.
      step_seconds: of a step of training.
      sample_rate: tokens sampled per second.
    """

    setup: Setup
    step_seconds: float
    sample_rate: float

    @property
    def length(self) -> float:
        """Tokens of a document that are predicted, the mean of the real ones."""
        data = self.setup.data
        return float(np.minimum(np.diff(data.offsets), data.context).mean()) - 1

    @property
    def tokens_a_step(self) -> float:
        """Tokens of a batch, without padding."""
        setup = self.setup
        return setup.recipe.batch_size * self.length * setup.num_samples / setup.real_rows

    @property
    def rates(self) -> tuple[float, float]:
        """Tokens per second, in training and in sampling."""
        return self.tokens_a_step / self.step_seconds, self.sample_rate

    def steps(self, documents: float) -> float:
        """Steps of training on so many documents."""
        rows = math.ceil(documents / self.setup.num_samples * self.setup.real_rows)
        return float(language_model.steps_of(self.setup, rows)[1])


def estimate(
    plan: ChainPlan,
    programs: Mapping[tuple, Programs],
    finished: Callable[[Cell, int, int], bool] = lambda cell, seed, generation: False,
) -> Estimate:
    """Measures a few steps of training and sampling, compiled, and counts what there is to do.

    Args:
      plan: of chains.
      programs: of ``programs_of(plan)``.
      finished: ``finished(cell, seed, generation)``: whether that was done before.
    """
    trained = sampled = seconds = 0.0
    together = chains_at_a_time(programs, len(plan.cells) * plan.seeds.size)
    rates = {}
    for point, program in programs.items():
        pace = _measure(program, together)
        rates[point] = pace.rates
        size = program.setup.num_samples
        for cell in plan.cells:
            if tuple(cell.point.items()) != point:
                continue
            for generation in range(1, plan.generations + 1):
                workflow = plan.keeps(cell)
                seeds = sum(not finished(cell, int(seed), generation) for seed in plan.seeds)
                steps = seeds * pace.steps(workflow.rows(generation, size))
                tokens = seeds * size * pace.length
                trained += steps * pace.tokens_a_step
                sampled += tokens
                seconds += steps * pace.step_seconds + tokens / pace.sample_rate
    filtered = any(program.setup.filters for program in programs.values())
    return Estimate(trained, sampled, filtered, rates, seconds, seconds / together)


def estimate_mixtures(
    plan: MixturePlan,
    programs: Mapping[tuple, Programs],
    teach: bool,
    finished: Callable[[tuple, int, tuple[int, int]], bool] = lambda point, seed, pair: False,
    taught: Callable[[tuple], bool] = lambda point: False,
) -> Estimate:
    """What grids of mixtures will take, and with ``teach`` the models that make documents.

    Args:
      plan: of mixtures.
      programs: of ``programs_of(plan)``.
      teach: whether documents are made.
      finished: ``finished(point, seed, (real, synthetic))``: whether that was done before.
      taught: ``taught(point)``: likewise, of the model that makes documents.
    """
    pairs = list(itertools.product(plan.real, plan.synthetic))
    together = chains_at_a_time(programs, plan.seeds.size)
    trained = sampled = seconds = 0.0
    rates = {}
    for point, program in programs.items():
        pace = _measure(program, together)
        rates[point] = pace.rates
        steps = sum(
            pace.steps(sum(pair)) * sum(not finished(point, int(s), pair) for s in plan.seeds)
            for pair in pairs
        )
        tokens = 0.0
        if teach and max(plan.synthetic) and not taught(point):
            steps += pace.steps(program.setup.num_samples)
            tokens = max(plan.synthetic) * pace.length
        trained += steps * pace.tokens_a_step
        sampled += tokens
        seconds += steps * pace.step_seconds + tokens / pace.sample_rate
    filtered = teach and any(program.setup.filters for program in programs.values())
    return Estimate(trained, sampled, filtered, rates, seconds, seconds / together)


def chains_at_a_time(programs: Mapping[tuple, Programs], chains: int) -> int:
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
        started, _ = side_by_side(lambda: program.start(seed_key(0)))
        frozen, states = zip(*started, strict=True)

        def train(state, frozen):
            return program.train(state, frozen, batches, 1, 1)

        states, seconds = repeated(lambda states: side_by_side(train, states, frozen), states)
        return side_by_side(program.finished, states, frozen)[0], seconds

    def advance(params, state):
        return program.advance(params, seed_key(0), state)[0]

    params, step_seconds = trained()
    first, _ = side_by_side(lambda: program.start_sampling(np.int32(0)))
    _, sample_seconds = repeated(lambda states: side_by_side(advance, params, states), first)
    slots = min(program.setup.slots, program.documents_a_call)
    return _Pace(program.setup, step_seconds, slots * sampling.STEPS / sample_seconds)
