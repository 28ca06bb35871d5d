"""A decoder's training divided among devices: parameters, gradients, moments and rows.

Devices are in a mesh with the axes ``data`` and ``model``. Rows are divided over ``data``. Each
kernel and embedding is divided over both: over ``model`` along its features, heads or vocabulary,
so that a product is computed in parts (Shoeybi et al. 2019, Megatron-LM), and over ``data`` along
the other axis, from which a layer is gathered when it is used (Rajbhandari et al. 2020, ZeRO, stage
3). Norms and biases are on every device. XLA derives all else, gradients included, from these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcollapse import checks
from jaxcollapse.lm.decoder import decoder
from jaxcollapse.lm.decoder.config import Config
from jaxcollapse.lm.decoder.packing import Rows
from jaxcollapse.lm.decoder.training import Recipe

ROWS = PartitionSpec("data", None)
# Of the kernels of a block [L, I, O], of which the second and the last add to the residual stream.
KERNELS = {
    "qkv": PartitionSpec(None, "data", "model"),
    "out": PartitionSpec(None, "model", "data"),
    "up": PartitionSpec(None, "data", "model"),
    "gate_up": PartitionSpec(None, "data", "model"),
    "down": PartitionSpec(None, "model", "data"),
}
OTHERS = {
    ("embed", "tokens"): PartitionSpec("model", "data"),
    ("embed", "positions"): PartitionSpec("data", "model"),
    ("head",): PartitionSpec("data", "model"),
}


def make_mesh(data: int, model: int, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of ``data`` x ``model`` devices, the first ones there are.

    Raises:
      ValueError: there are fewer.
    """
    devices = jax.devices() if devices is None else devices
    count = checks.whole_number("data", data) * checks.whole_number("model", model)
    if count > len(devices):
        raise checks.refusal(
            "mesh", f"at most {len(devices)} devices", f"{data} x {model}", "make it smaller"
        )
    return Mesh(np.asarray(devices[:count]).reshape(data, model), ("data", "model"))


def shardings(mesh: Mesh, tree: Any) -> Any:
    """Where each array of a tree lies, for ``jax.jit`` and ``jax.device_put``.

    Args:
      mesh: from ``make_mesh``.
      tree: arrays or their shapes: parameters, adapters, a ``training.State``, ``Rows`` ``[..., B,
        T]``, or any tuple of these. What is none of them is on every device.

    Returns:
      A tree like it, of ``NamedSharding``.
    """

    def of_rows(leaf):
        return NamedSharding(mesh, PartitionSpec(*(None,) * (leaf.ndim - 2), *ROWS))

    def place(path, part):
        if isinstance(part, Rows):
            return jax.tree.map(of_rows, part)
        names = tuple(key.key for key in path if isinstance(key, jax.tree_util.DictKey))
        return NamedSharding(mesh, _spec(names))

    return jax.tree_util.tree_map_with_path(place, tree, is_leaf=lambda x: isinstance(x, Rows))


def _spec(names: tuple[str, ...]) -> PartitionSpec:
    """The axes of the mesh that those of an array of a decoder are divided over."""
    match names:
        case ("layers", name, "kernel"):
            return KERNELS[name]
        case ("layers", name, "a"):
            return PartitionSpec(None, KERNELS[name][1], None)
        case ("layers", name, "b"):
            return PartitionSpec(None, None, KERNELS[name][2])
    return OTHERS.get(names, PartitionSpec())


def check_mesh(config: Config, recipe: Recipe, mesh: Mesh) -> None:
    """Refuses a mesh that does not divide the parameters, or the rows that are trained on at once.

    Raises:
      ValueError: the message names the shape and the axis.
    """
    # Adapters are divided along axes that their kernels have too.
    for path, leaf in jax.tree_util.tree_leaves_with_path(decoder.abstract_params(config)):
        names = tuple(key.key for key in path)
        for size, axis in zip(leaf.shape, _spec(names), strict=False):
            if axis is not None and size % mesh.shape[axis]:
                raise checks.refusal(
                    "mesh",
                    f"a {axis} axis that divides {size} of {'/'.join(names)} {leaf.shape}",
                    mesh.shape[axis],
                    "choose another mesh",
                )
    rows = recipe.batch_size // recipe.accumulation
    if rows % mesh.shape["data"]:
        raise checks.refusal(
            "mesh",
            f"a data axis that divides the {rows} rows that are trained on at once",
            mesh.shape["data"],
            "choose another mesh, batch_size or accumulation",
        )


def bytes_per_device(shardings: Any, tree: Any) -> int:
    """What a tree of arrays or their shapes takes on each device, in bytes."""

    def size(sharding, leaf):
        return math.prod(sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize

    return sum(jax.tree.leaves(jax.tree.map(size, shardings, tree)))
