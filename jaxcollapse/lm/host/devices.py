"""Jobs side by side, one on each device; and devices that share one model."""

from __future__ import annotations

import contextlib
import queue
import re
import sys
import threading
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import jax
from jax.sharding import Mesh

from jaxcollapse import checks, machine
from jaxcollapse.lm.decoder import sharding
from jaxcollapse.lm.host.trainer import StoppedError

Name = TypeVar("Name", bound=Hashable)
Result = TypeVar("Result")
MOST_DEVICES = 512  # of one mesh: a CPU would simulate any number, for ever


def use_devices(mesh: str | None, chains: int) -> Mesh | None:
    """The devices of a run, to be called before JAX has begun to compute.

    Args:
      mesh: as DATAxMODEL, devices that share one model, which are simulated where there is no
        accelerator; None for a model on each device, a core being one.
      chains: how many there are to run, for which no more cores are needed.

    Raises:
      ValueError: the mesh is no such thing, or is of more devices than there are.
    """
    if mesh is None:
        machine.use_cores_as_devices(chains)
        return None
    sizes = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", mesh)
    if sizes is None:
        raise checks.refusal("mesh", "DATAxMODEL", repr(mesh), "try 2x1")
    data, model = int(sizes[1]), int(sizes[2])
    if data * model > MOST_DEVICES:
        raise checks.refusal("mesh", f"at most {MOST_DEVICES} devices", data * model, "lower it")
    machine.use_simulated_devices(data * model)
    devices = sharding.make_mesh(data, model)
    if jax.default_backend() == "cpu":
        print(
            f"{data * model} devices are simulated on this machine's cores: to try a mesh out",
            file=sys.stderr,
        )
    return devices


def run_on_devices(
    jobs: Mapping[Name, Callable[[], Result]], stop: threading.Event, sharded: bool = False
) -> dict[Name, Result]:
    """What each of some jobs returns.

    Args:
      jobs: by name; each runs on a device of its own, as many at a time as there are devices.
      stop: set once a job fails or the user interrupts; jobs then end with ``StoppedError``.
      sharded: whether each job uses all devices, so that they run one after another.

    Raises:
      BaseException: what the first job that failed raised.
    """
    devices: queue.Queue = queue.Queue()
    for device in [None] if sharded else jax.local_devices():
        devices.put(device)

    def run(job: Callable[[], Result]) -> Result:
        device = devices.get()
        try:
            if stop.is_set():
                raise StoppedError
            with contextlib.nullcontext() if device is None else jax.default_device(device):
                return job()
        except BaseException:
            stop.set()
            raise
        finally:
            devices.put(device)

    with ThreadPoolExecutor(max_workers=devices.qsize()) as pool:
        futures = {name: pool.submit(run, job) for name, job in jobs.items()}
        try:
            return {name: future.result() for name, future in futures.items()}
        except StoppedError:
            # Only when all have ended is it sure which of them failed.
            pool.shutdown(cancel_futures=True)
            raise _cause(futures) from None
        except BaseException:  # the user's interrupt, too
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _cause(futures: Mapping[Any, Any]) -> BaseException:
    """The error that made the other jobs stop."""
    errors = [f.exception() for f in futures.values() if f.done() and not f.cancelled()]
    others = [error for error in errors if error and not isinstance(error, StoppedError)]
    return others[0] if others else StoppedError()
