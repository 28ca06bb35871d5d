"""Jobs side by side, one on each device."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import jax

from jaxcollapse.lm.host.trainer import StoppedError

Name = TypeVar("Name", bound=Hashable)
Result = TypeVar("Result")


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
