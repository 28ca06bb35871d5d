"""A function of one seed's key, compiled for chunks of seeds on all devices.

What was compiled before in the process is not compiled again: programs are known by their text.
"""

from __future__ import annotations

import dataclasses
import hashlib
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

from jaxcollapse.keys import keys_of

Arrays = dict[str, np.ndarray]
MOST_KEPT = 128  # compiled programs, the ones used last
_compiled: OrderedDict[str, Any] = OrderedDict()
_tokens: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


@dataclasses.dataclass
class Program:
    """A function of seeds and of a tree of traced numbers and arrays, in chunks of seeds.

    Attributes:
      lowered: as JAX lowers it.
      place: puts seeds ``[chunk]`` and traced values on the devices.
      chunk: seeds a call.
      digest: of its text and what this does not tell; the same in every process in which it
        computes the same, unless it calls functions of Python back.
      seconds: that compiling took, tracing included; 0 until then.
    """

    lowered: Any
    place: Callable[[np.ndarray, Any], Any]
    chunk: int
    digest: str
    seconds: float
    compiled: Any = None

    def compile(self) -> Program:
        """The program itself, which can be called then."""
        start = time.perf_counter()
        if self.digest not in _compiled:
            _compiled[self.digest] = self.lowered.compile()
        _compiled.move_to_end(self.digest)
        self.compiled = _compiled[self.digest]
        while len(_compiled) > MOST_KEPT:
            _compiled.popitem(last=False)
        self.seconds += time.perf_counter() - start
        return self

    def __call__(self, seeds: np.ndarray, traced: Any) -> Arrays:
        """Arrays ``[S, ...]`` of up to ``chunk`` seeds; the last one fills a chunk up."""
        padded = np.pad(seeds, (0, self.chunk - seeds.size), mode="edge")
        found = self.compiled(*self.place(padded, traced))
        return {name: np.asarray(value)[: seeds.size] for name, value in found.items()}


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
    mesh = Mesh(np.asarray(jax.devices()), ("seed",))
    by_seed, everywhere = PartitionSpec("seed"), PartitionSpec()

    def chains(seeds, traced):
        def one(key):
            return function(key, traced)

        keys = keys_of(seeds)
        return jax.lax.map(one, keys) if sequential else jax.vmap(one)(keys)

    # Unchecked: a loop of the user's that begins with constants is none that the check would take.
    sharded = jax.shard_map(
        chains, mesh=mesh, in_specs=(by_seed, everywhere), out_specs=by_seed, check_vma=False
    )

    def place(seeds, traced):
        arrays = jax.tree.map(_array, traced)
        return jax.device_put(
            (seeds, arrays), (NamedSharding(mesh, by_seed), NamedSharding(mesh, everywhere))
        )

    return jax.jit(sharded), place


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
    where = str([(device.id, device.device_kind) for device in jax.devices()])
    digest = hashlib.sha256((lowered.as_text() + where).encode())
    for untold in _not_in_text(trace.jaxpr):
        digest.update(untold)
    return Program(lowered, place, chunk, digest.hexdigest(), time.perf_counter() - start)


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
