"""A function of one seed's key, compiled for chunks of seeds on all devices.

What was compiled before in the process is not compiled again: programs are known by their text.
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
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcollapse import machine
from jaxcollapse.keys import keys_of

Arrays = dict[str, np.ndarray]
MOST_KEPT = 128  # compiled programs, the ones used last
_compiled: OrderedDict[tuple[str, bool], Any] = OrderedDict()
_tokens: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


@dataclasses.dataclass
class Program:
    """A function of seeds and of a tree of traced numbers and arrays, in chunks of seeds.

    Attributes:
      lowered: as JAX lowers it; None of a program that is kept compiled.
      place: puts seeds ``[chunk]`` and traced values on the devices.
      chunk: seeds a call.
      digest: of its text and what this does not tell; the same in every process in which it
        computes the same, unless it calls functions of Python back.
      seconds: that compiling took, tracing included; 0 until then.
      compiled: the program itself, once there is one.
      decomposes: whether it calls LAPACK.
      from_cache: whether it came from JAX's cache; such a program, written again, lacks its parts.
    """

    lowered: Any
    place: Callable[[np.ndarray, Any], Any]
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

    def __call__(self, seeds: np.ndarray, traced: Any) -> Arrays:
        """Arrays ``[S, ...]`` of up to ``chunk`` seeds; the last one fills a chunk up."""
        padded = np.pad(seeds, (0, self.chunk - seeds.size), mode="edge")
        # Waited for first: NumPy ends the process with what had no memory on a CPU.
        found = jax.block_until_ready(self.compiled(*self.place(padded, traced)))
        return {name: np.asarray(value)[: seeds.size] for name, value in found.items()}


# Of a CPU: how loops are made of fused operations, the older way, which compiles in half the time
# (measured: 0.4 to 0.7 of it) and runs as fast up to 1.4 times as long.
BRIEF = {"xla_cpu_use_fusion_emitters": False}
# Seconds of running above which that does not pay, as ``relative_cost`` reckons them: a unit of it
# takes a seed 3 to 20 ns a generation on a core, of the tasks that are built in.
BRIEFLY = 2.0
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
    if runs_briefly and jax.default_backend() == "cpu":
        # An option of XLA's that other versions may not have.
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            return lowered.compile(compiler_options=BRIEF)
    return lowered.compile()


def placement() -> Callable[[np.ndarray, Any], Any]:
    """``place(seeds, traced)``, which shards seeds over all devices."""
    mesh = mesh_of_seeds()
    by_seed, everywhere = PartitionSpec("seed"), PartitionSpec()

    def place(seeds, traced):
        arrays = jax.tree.map(_array, traced)
        return jax.device_put(
            (seeds, arrays), (NamedSharding(mesh, by_seed), NamedSharding(mesh, everywhere))
        )

    return place


def mesh_of_seeds() -> Mesh:
    """All devices in a row."""
    return Mesh(np.asarray(machine.devices()), ("seed",))


def over_seeds(
    function: Callable[[jax.Array, Any], dict[str, jax.Array]], sequential: bool = False
) -> tuple[Any, Callable[[np.ndarray, Any], Any]]:
    """``function(key, traced)`` mapped over seeds, which all devices share out among them.

    Args:
      function: of one seed.
      sequential: whether a device runs its seeds one after another.

    Returns:
      The function of what ``place`` makes, jitted, and ``place(seeds, traced)``, which puts both on
      the devices; the number of seeds is a multiple of that of devices.
    """
    by_seed, everywhere = PartitionSpec("seed"), PartitionSpec()

    def chains(seeds, traced):
        def one(key):
            return function(key, traced)

        keys = keys_of(seeds)
        return jax.lax.map(one, keys) if sequential else jax.vmap(one)(keys)

    # Unchecked: a loop of the user's that begins with constants is none that the check would take.
    sharded = jax.shard_map(
        chains,
        mesh=mesh_of_seeds(),
        in_specs=(by_seed, everywhere),
        out_specs=by_seed,
        check_vma=False,
    )

    return jax.jit(sharded), placement()


def lowered_over_seeds(
    function: Callable[[jax.Array, Any], dict[str, jax.Array]],
    seeds: np.ndarray,
    traced: Any,
    chunk: int,
    sequential: bool = False,
) -> Program:
    """A program that maps ``function(key, traced)`` over seeds, sharded over the devices.

    Args:
      function: of one seed.
      seeds: uint32, any number of them.
      traced: an example of what all seeds share.
      chunk: seeds a call, a multiple of the number of devices.
      sequential: whether a device runs its seeds one after another.
    """
    start = time.perf_counter()
    mapped, place = over_seeds(function, sequential)
    trace = mapped.trace(*place(np.resize(seeds, chunk), traced))
    lowered = trace.lower()
    where = str([(device.id, device.device_kind) for device in machine.devices()])
    text = lowered.as_text()
    digest = hashlib.sha256((text + where).encode())
    for untold in _not_in_text(trace.jaxpr):
        digest.update(untold)
    seconds = time.perf_counter() - start
    decomposes = "lapack_" in text
    return Program(lowered, place, chunk, digest.hexdigest(), seconds, None, decomposes)


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


def chunk_size(num_seeds: int, most: float, devices: int) -> int:
    """Seeds a call: at most ``most`` on a device, in few chunks of equal size."""
    fitting = max(1, int(min(most, 2**40)))
    # A power of two, so that the program does not change with every change of the free memory.
    fitting = 2 ** (fitting.bit_length() - 1) * devices
    chunks = -(-num_seeds // fitting)
    return -(-num_seeds // (chunks * devices)) * devices


def tree_bytes(tree: Any) -> int:
    """Bytes of the arrays of a tree, which may be shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
