"""A function of one seed's key, compiled for chunks of seeds on all devices."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcollapse.chain import keys_of

Arrays = dict[str, np.ndarray]


class Program(NamedTuple):
    """A compiled function of seeds ``[chunk]`` and a tree of traced numbers and arrays."""

    call: Callable[[np.ndarray, dict[str, Any]], Arrays]
    chunk: int
    seconds: float


def compile_over_seeds(
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
    mesh = Mesh(np.asarray(jax.devices()), ("seed",))
    by_seed, everywhere = PartitionSpec("seed"), PartitionSpec()

    def chains(seeds, traced):
        def one(key):
            return function(key, traced)

        keys = keys_of(seeds)
        return jax.lax.map(one, keys) if sequential else jax.vmap(one)(keys)

    sharded = jax.shard_map(
        chains, mesh=mesh, in_specs=(by_seed, everywhere), out_specs=by_seed, check_vma=False
    )

    def place(seeds, traced):
        arrays = jax.tree.map(_array, traced)
        return jax.device_put(
            (seeds, arrays), (NamedSharding(mesh, by_seed), NamedSharding(mesh, everywhere))
        )

    compiled = jax.jit(sharded).lower(*place(np.resize(seeds, chunk), traced)).compile()

    def call(seeds, traced):
        return {name: np.asarray(x) for name, x in compiled(*place(seeds, traced)).items()}

    return Program(call, chunk, time.perf_counter() - start)


def _array(value: Any) -> np.ndarray:
    """A number as an array of the precision in use; an array as it is."""
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value)
    return np.asarray(value, jnp.result_type(type(value)))


def call(program: Program, seeds: np.ndarray, traced: Any) -> Arrays:
    """One chunk, filled up with copies of its last seed."""
    padded = np.pad(seeds, (0, program.chunk - seeds.size), mode="edge")
    return {name: value[: seeds.size] for name, value in program.call(padded, traced).items()}


def chunk_size(num_seeds: int, most: float, devices: int) -> int:
    """Seeds a call: at most ``most`` on a device, in few chunks of equal size."""
    fitting = max(1, int(most))
    # A power of two, so that the program does not change with every change of the free memory.
    fitting = 2 ** (fitting.bit_length() - 1) * devices
    chunks = -(-num_seeds // fitting)
    return -(-num_seeds // (chunks * devices)) * devices


def tree_bytes(tree: Any) -> int:
    """Bytes of the arrays of a tree, which may be shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
