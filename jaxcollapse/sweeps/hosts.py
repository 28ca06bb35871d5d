"""One sweep by several processes, on one machine or on many that share a file system.

They do not speak to one another. Each runs its share of the units of work and keeps them in the
folder of finished cells; the first one waits for those of the others and writes the result. So one
that was killed is started again, and goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import jax
import numpy as np

from jaxcollapse import checks

# How far the process with most to do may be above the mean, before seeds are split finer.
UNEVEN = 1.2
PATIENCE = 3600.0  # seconds without a new unit of another process
POLL = 0.5


class Share(NamedTuple):
    """Which process of how many this is.

    Attributes:
      process: its number, from 0; the first one writes the result.
      processes: how many there are.
      patience: seconds that the first one waits without a sign of the others.
    """

    process: int = 0
    processes: int = 1
    patience: float = PATIENCE


ALONE = Share()


class Kept(Protocol):
    """A unit of work that may be kept."""

    @property
    def is_done(self) -> bool:
        """Whether it is."""


def join(
    distributed: bool = False,
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    patience: float = PATIENCE,
) -> Share:
    """The share of this process, as it is told or as JAX finds it; before JAX computes anything.

    Args:
      distributed: ``jax.distributed`` finds the processes: of Slurm, of MPI, of a TPU pod.
      coordinator: HOST:PORT of the first process, for ``jax.distributed`` where it finds none.
      processes: how many there are; without a coordinator only the shared folder joins them.
      process: the number of this one, from 0.
      patience: seconds that the first one waits without a sign of the others.

    Raises:
      ValueError: one of the number of processes and that of this one is given alone, or out of
        range; or ``jax.distributed`` finds no processes.
    """
    if (processes is None) != (process is None) or (coordinator and processes is None):
        raise checks.refusal(
            "processes of a sweep",
            "how many there are and the number of this one",
            f"--coordinator {coordinator}, --processes {processes}, --process {process}",
            "give --processes N and --process I, I from 0 to N - 1",
        )
    if processes is not None and process is not None:
        checks.whole_number("--processes", processes)
        checks.whole_number("--process", process, 0, processes - 1)
        if coordinator is None:
            return Share(process, processes, patience)
    elif not distributed:
        return ALONE
    if hasattr(jax.config, "jax_enable_recoverability"):
        # The others go on where one is killed, and take it back when it is started again.
        jax.config.update("jax_enable_recoverability", True)
    try:
        jax.distributed.initialize(coordinator, processes, process)
    except (RuntimeError, ValueError) as error:
        raise checks.refusal(
            "--distributed",
            "processes that JAX can find: of Slurm, of MPI, of a TPU pod, or at a coordinator",
            str(error).splitlines()[0],
            "give --processes N --process I, and --coordinator HOST:PORT where devices need one",
        ) from None
    return Share(jax.process_index(), jax.process_count(), patience)


def slices(seeds: np.ndarray, work: Sequence[float], processes: int) -> list[np.ndarray]:
    """Seeds in as few parts as let processes have about as much to do each.

    Args:
      seeds: S of them.
      work: of each cell.
      processes: how many there are.
    """

    def uneven(parts):
        units = [some / parts for some in work for _ in range(parts)]
        shares = dealt(units, processes)
        most = max(sum(units[n] for n in share) for share in shares)
        return most * processes / sum(units)

    least, chosen = float("inf"), 1
    for parts in range(1, min(processes, seeds.size) + 1):
        found = uneven(parts)
        if found < least - 1e-9:
            least, chosen = found, parts
        if least <= UNEVEN:
            break
    return np.array_split(seeds, chosen)


def dealt(work: Sequence[float], processes: int) -> list[list[int]]:
    """The places of units in a list, dealt out: a stretch for each process, of about equal work.

    Units next to one another share programs, so that few are compiled twice.
    """
    total, before = sum(work), 0.0
    shares: list[list[int]] = [[] for _ in range(processes)]
    for place, some in enumerate(work):
        middle = (before + some / 2) / total
        shares[min(int(middle * processes), processes - 1)].append(place)
        before += some
    return shares


def wait(
    units: Sequence[tuple[int, Kept]],
    share: Share,
    told: Callable[[int], None] = lambda place: None,
) -> None:
    """Returns once all units of the other processes are done.

    Args:
      units: the process of each, and the unit itself.
      share: of this process, with how long it waits without a sign of the others.
      told: called with the place of each that is found.

    Raises:
      ValueError: there was no sign for so long.
    """
    left, sign = dict(enumerate(units)), time.monotonic()
    while left:
        found = [place for place, (_, unit) in left.items() if unit.is_done]
        for place in found:
            del left[place]
            told(place)
            sign = time.monotonic()
        if left and time.monotonic() - sign > share.patience:
            late = sorted({process for process, _ in left.values()})
            raise checks.refusal(
                f"cells of the other processes (of {share.processes})",
                f"a new one within {share.patience / 60:g} minutes",
                f"none; {len(left)} are missing, of process {', '.join(map(str, late))}",
                "start these again with the same options, and then this one: "
                "what is finished is kept",
            )
        if left:
            time.sleep(POLL)
