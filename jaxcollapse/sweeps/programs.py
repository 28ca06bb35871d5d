"""A function of one seed's key, compiled for chunks of seeds, one on each of some devices.

Devices never speak to one another: each has seeds and traced numbers of its own, perhaps of another
cell of a sweep. What was compiled before in the process is not compiled again: programs are known
by their text.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import threading
import time
import uuid
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcollapse.keys import keys_of

Arrays = dict[str, np.ndarray]
Devices = tuple[jax.Device, ...]
MOST_KEPT = 128  # compiled programs, the ones used last
_compiled: OrderedDict[tuple[str, bool], Any] = OrderedDict()
_tokens: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


@dataclasses.dataclass
class Program:
    """A function of seeds and of a tree of traced numbers and arrays, in chunks of seeds.

    Attributes:
      lowered: as JAX lowers it; None of a program that is kept compiled.
      devices: that it runs on.
      chunk: seeds that each of them has in a call.
      digest: of its text and what this does not tell; the same in every process in which it
        computes the same, unless it calls functions of Python back.
      seconds: that compiling took, tracing included; 0 until then.
      compiled: the program itself, once there is one.
      decomposes: whether it calls LAPACK.
      from_cache: whether it came from JAX's cache; such a program, written again, lacks its parts.
    """

    lowered: Any
    devices: Devices
    chunk: int
    digest: str
    seconds: float
    compiled: Any = None
    decomposes: bool = False
    from_cache: bool = False

    def compile(self, runs_briefly: bool = False) -> Program:
        """The program itself, which can be called then.

        Args:
          runs_briefly: whether it runs for less time than a thorough compilation would save.
        """
        start = time.perf_counter()
        if self.compiled is not None:
            return self
        name = self.digest, runs_briefly
        if name not in _compiled:
            _listen()
            before = _hits.number
            compiled = _compile(self.lowered, runs_briefly)
            _compiled[name] = compiled, _hits.number > before
        _compiled.move_to_end(name)
        self.compiled, self.from_cache = _compiled[name]
        while len(_compiled) > MOST_KEPT:
            _compiled.popitem(last=False)
        self.seconds += time.perf_counter() - start
        return self

    def __call__(self, seeds: Sequence[np.ndarray], traced: Sequence[Any]) -> list[Arrays]:
        """Arrays ``[S, ...]`` of up to ``chunk`` seeds for each of up to as many as devices.

        The last seed fills a chunk up, and the last chunk the devices that are left.

        Args:
          seeds: chunks of them.
          traced: numbers and arrays of each chunk.
        """
        left = len(self.devices) - len(seeds)
        chunks = [np.pad(some, (0, self.chunk - some.size), mode="edge") for some in seeds]
        filled = np.concatenate(chunks + chunks[-1:] * left)
        place = placement(self.devices)
        given = place(filled, [*traced, *[traced[-1]] * left])
        # Waited for first: NumPy ends the process with what had no memory on a CPU.
        called = jax.block_until_ready(self.compiled(*given))
        found = {name: np.asarray(value) for name, value in called.items()}
        starts = range(0, self.chunk * len(seeds), self.chunk)
        return [
            {name: value[start : start + some.size] for name, value in found.items()}
            for start, some in zip(starts, seeds, strict=True)
        ]


# By backend, options of XLA's with which a program compiles sooner and runs about as fast. Of a
# CPU: how loops are made of fused operations, the older way, which compiles in half the time
# (measured: 0.4 to 0.7 of it) and runs up to 1.4 times as long. Of a GPU: no kernels are tried out
# for products, which compiles in a fifth of the time (on an H100 3 s for 14 to 19, of Gaussians and
# regression at D = 31 and 100) and runs 1.03 times as long at most.
BRIEF: dict[str, dict[str, bool | int]] = {
    "cpu": {"xla_cpu_use_fusion_emitters": False},
    "gpu": {"xla_gpu_autotune_level": 0},
}
# Seconds of running on a core above which that does not pay, as ``relative_cost`` reckons them: a
# unit of it takes a seed 3 to 20 ns a generation on a core, of the tasks that are built in.
BRIEFLY = {"cpu": 2.0, "gpu": 20.0}
SECONDS_A_UNIT_OF_WORK = 1e-8


class _Hits(threading.local):
    """How many programs that this thread asked for came from JAX's cache."""

    number = 0


_hits = _Hits()


@functools.cache
def _listen() -> None:
    def listener(event: str, **_: Any) -> None:
        _hits.number += event == "/jax/compilation_cache/cache_hits"

    jax.monitoring.register_event_listener(listener)


def _compile(lowered: Any, runs_briefly: bool) -> Any:
    options = BRIEF.get(jax.default_backend())
    if runs_briefly and options:
        # Other versions of XLA may not have them.
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            return lowered.compile(compiler_options=options)
    return lowered.compile()


def placement(devices: Devices) -> Callable[[np.ndarray, Sequence[Any]], Any]:
    """``place(seeds, traced)``: each device has a share of the seeds, and values of its own."""
    by_device = NamedSharding(_mesh(devices), PartitionSpec("seed"))

    def place(seeds, traced):
        arrays = jax.tree.map(lambda *values: np.stack([_array(v) for v in values]), *traced)
        return jax.device_put((seeds, arrays), by_device)

    return place


def _mesh(devices: Devices) -> Mesh:
    """Devices in a row."""
    return Mesh(np.asarray(devices), ("seed",))


def over_seeds(
    function: Callable[[jax.Array, Any], dict[str, jax.Array]],
    devices: Devices,
    sequential: bool = False,
) -> tuple[Any, Callable[[np.ndarray, Sequence[Any]], Any]]:
    """``function(key, traced)`` mapped over seeds, which some devices share out among them.

    Args:
      function: of one seed.
      devices: of this process.
      sequential: whether a device runs its seeds one after another.

    Returns:
      The function of what ``place`` makes, jitted, and ``place(seeds, traced)``, which puts on the
      devices as many seeds each, and one of the traced values each.
    """
    by_device = PartitionSpec("seed")

    def chains(seeds, traced):
        own = jax.tree.map(lambda value: value[0], traced)

        def one(key):
            return function(key, own)

        keys = keys_of(seeds)
        return jax.lax.map(one, keys) if sequential else jax.vmap(one)(keys)

    # Unchecked: a loop of the user's that begins with constants is none that the check would take.
    sharded = jax.shard_map(
        chains, mesh=_mesh(devices), in_specs=by_device, out_specs=by_device, check_vma=False
    )

    return jax.jit(sharded), placement(devices)


def lowered_over_seeds(
    function: Callable[[jax.Array, Any], dict[str, jax.Array]],
    seeds: np.ndarray,
    traced: Any,
    chunk: int,
    devices: Devices,
    sequential: bool = False,
) -> Program:
    """A program that maps ``function(key, traced)`` over seeds, sharded over devices.

    Args:
      function: of one seed.
      seeds: uint32, any number of them.
      traced: an example of what all seeds of a chunk share.
      chunk: seeds that each device has in a call.
      devices: of this process.
      sequential: whether a device runs its seeds one after another.
    """
    start = time.perf_counter()
    mapped, place = over_seeds(function, devices, sequential)
    width = len(devices)
    trace = mapped.trace(*place(np.resize(seeds, chunk * width), [traced] * width))
    lowered = trace.lower()
    where = str([(device.id, device.device_kind) for device in devices])
    text = lowered.as_text()
    digest = _digest(text + where, trace.jaxpr)
    seconds = time.perf_counter() - start
    return Program(lowered, devices, chunk, digest, seconds, None, "lapack_" in text)


def digest_of_one(function: Callable[[jax.Array, Any], dict[str, jax.Array]], traced: Any) -> str:
    """A digest of the program of one seed, wherever it runs and with however many others.

    Args:
      function: of one seed.
      traced: an example of what it is given beside a key.
    """
    key = jax.eval_shape(jax.random.key, 0)
    trace = jax.jit(function).trace(key, jax.tree.map(_array, traced))
    return _digest(trace.lower().as_text(), trace.jaxpr)


def _digest(text: str, program: Any) -> str:
    digest = hashlib.sha256(text.encode())
    for untold in _not_in_text(program):
        digest.update(untold)
    return digest.hexdigest()


def _not_in_text(program: Any) -> Iterator[bytes]:
    """What decides a program's numbers and may not be in its text, as bytes.

    That is arrays that it closes over, which may be arguments, and functions that it calls back;
    those of its loops and branches too.
    """
    if isinstance(program, jax.extend.core.ClosedJaxpr):
        yield from (np.asarray(constant).tobytes() for constant in program.consts)
        program = program.jaxpr
    for equation in program.eqns:
        for given in equation.invars:
            if isinstance(given, jax.extend.core.Literal) and np.ndim(given.val):
                yield np.asarray(given.val).tobytes()
        name = equation.primitive.name
        if "callback" in name and "debug" not in name:
            called = [value for value in equation.params.values() if callable(value)]
            yield from (_token(getattr(f, "callback_func", f)).encode() for f in called)
        for part in jax.tree.leaves(tuple(equation.params.values()), is_leaf=_is_program):
            if _is_program(part):
                yield from _not_in_text(part)


def _token(function: Any) -> str:
    """A name for a function of Python, which no other has, in this process or in another."""
    token = uuid.uuid4().hex
    try:
        return _tokens.setdefault(function, token)
    except TypeError:  # of what can be no key
        return token


def _is_program(value: Any) -> bool:
    return isinstance(value, jax.extend.core.ClosedJaxpr | jax.extend.core.Jaxpr)


def _array(value: Any) -> np.ndarray:
    """A number as an array of the precision in use; an array as it is."""
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value)
    return np.asarray(value, jnp.result_type(type(value)))


WASTE = 1.15  # of the least work that padding allows, for larger chunks


def chunk_size(num_seeds: int, most: float, devices: int, cells: int = 1) -> int:
    """Seeds that each device has in a call: at most ``most``, in few chunks of equal size.

    Several devices have smaller chunks, but no smaller than they need for all of them to have work
    all the time; so with many cells each device has whole ones.

    Args:
      num_seeds: S, of a cell.
      most: seeds that fit on a device.
      devices: that take chunks of any cells at a time.
      cells: that one program runs.
    """
    fitting = max(1, int(min(most, 2**40)))
    # A power of two, so that the program does not change with every change of the free memory.
    fitting = 2 ** (fitting.bit_length() - 1)
    fewest = -(-num_seeds // fitting)
    sizes = {-(-num_seeds // chunks) for chunks in range(fewest, fewest * devices + 1)}

    def work(size):
        chunks = cells * -(-num_seeds // size)
        return size * -(-chunks // devices)

    least = min(map(work, sizes))
    return max(size for size in sizes if work(size) <= WASTE * least)


def tree_bytes(tree: Any) -> int:
    """Bytes of the arrays of a tree, which may be shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
