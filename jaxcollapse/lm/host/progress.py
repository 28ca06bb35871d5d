"""How far chains that are driven from the host are, and what they will take."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax

from jaxcollapse.lm.host.estimates import Estimate
from jaxcollapse.machine import free_memory
from jaxcollapse.sweeps.progress import RunLog, bar, is_bar

MIB = 2**20


class Progress(NamedTuple):
    """How far a chain is, told after every call.

    Attributes:
      chain: model, workflow and seed.
      point: of the grid, as a key of ``programs_of``.
      generation: from 1.
      phase: ``training``, ``sampling``, or ``done`` for what was finished before.
      loss: of the last step, nats per token; None but in training.
      rate: tokens per second of this chain.
      trained: tokens trained on since the last report, without padding.
      sampled: tokens sampled since then.
    """

    chain: str
    point: tuple
    generation: int
    phase: str
    loss: float | None = None
    rate: float = 0.0
    trained: int = 0
    sampled: int = 0

    def __str__(self) -> str:
        """In one line."""
        loss = "" if self.loss is None else f" loss {self.loss:.3f}"
        rate = f" {self.rate:,.0f} tokens/s" if self.rate else ""
        return f"{self.chain} generation {self.generation} {self.phase}{loss}{rate}"


Report = Callable[[Progress], None]


@contextlib.contextmanager
def reported(
    progress: bool | Report | RunLog | None,
    chains: str,
    memory: Callable[[], float],
    estimate: Callable[[], Estimate],
) -> Iterator[Report]:
    """The function to tell progress to, from any thread.

    A bar is shown behind two lines on what training takes; these are measured for it alone.

    Args:
      progress: as for ``sweeps.progress.reported``.
      chains: what will run, in words.
      memory: gives the bytes that training takes on each device.
      estimate: gives what the whole will take.
    """
    if callable(progress):
        yield progress
    elif is_bar(progress):
        _say("compiling")
        free = free_memory() / jax.local_device_count()
        _say(memory_line(chains, memory(), free))
        expected = estimate()
        _say(time_line(expected))
        with _bar(expected, progress if isinstance(progress, RunLog) else None) as report:
            yield report
    else:
        yield lambda told: None


def memory_line(chains: str, needed: float, free: float) -> str:
    """What training takes on each device and what is free there, both in bytes, as a sentence."""
    warning = (
        "; THIS MAY NOT FIT: raise --accumulation, add --remat, or lower --batch-size or --context"
        if needed > free
        else ""
    )
    return (
        f"{chains}: {needed / MIB:,.0f} MiB to train on each device, where {free / MIB:,.0f} are "
        f"free{warning}"
    )


def time_line(expected: Estimate) -> str:
    """What there is to do and how long it takes, as a sentence."""
    more = "; longer where samples are rejected" if expected.filtered else ""
    rates = ", ".join(
        f"{point[0][1]} {train:,.0f}/s and {sample:,.0f}/s"
        for point, (train, sample) in expected.rates.items()
    )
    return (
        f"about {_duration(expected.seconds)}: {expected.trained:,.0f} tokens to train on and "
        f"{expected.sampled:,.0f} to sample ({rates}){more}"
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def _bar(expected: Estimate, log: RunLog | None) -> Iterator[Report]:
    """A bar with the time left, loss and tokens per second."""
    lock = threading.Lock()
    total, done = expected.chain_seconds, 0.0
    with bar(total, log) as update:

        def report(progress: Progress) -> None:
            nonlocal done
            with lock:
                train_rate, sample_rate = expected.rates[progress.point]
                if progress.phase == "done":  # it is not in the estimate
                    return
                done += progress.trained / train_rate + progress.sampled / sample_rate
                update(min(done, total), str(progress))

        yield report


def _say(line: str) -> None:
    print(line, file=sys.stderr)
