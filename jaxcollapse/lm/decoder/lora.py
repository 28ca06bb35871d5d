"""Low-rank adapters: few parameters that are trained instead of a decoder's own.

``h = x (W + (alpha / R) a b)`` with W frozen, ``a [I, R]`` and ``b [R, O]``. Hu et al. 2021 (LoRA),
section 4.1. R is the rank; other letters are those of the decoder.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks
from jaxcollapse.lm.decoder import decoder
from jaxcollapse.lm.decoder.config import Config
from jaxcollapse.lm.decoder.decoder import Params


def kernel_shapes(
    config: Config, rank: int, targets: tuple[str, ...] | None = None
) -> dict[str, tuple[int, int, int]]:
    """Shapes ``[L, I, O]`` of the kernels that have adapters, by name.

    Args:
      config: of the decoder.
      rank: R.
      targets: names of a block's kernels; None for all.

    Raises:
      ValueError: a block has no such kernel, or R is larger than a side of one.
    """
    blocks = decoder.abstract_params(config)["layers"]
    shapes = {name: part["kernel"].shape for name, part in blocks.items() if "kernel" in part}
    if targets is not None:
        for name in targets:
            checks.one_of("lora_targets", name, shapes)
        shapes = {name: shape for name, shape in shapes.items() if name in targets}
    smallest = min(min(shape[1:]) for shape in shapes.values())
    if not 1 <= rank <= smallest:
        raise checks.refusal(
            "lora_rank", f"from 1 to {smallest}, the smallest side of a kernel", rank, "change it"
        )
    return shapes


def init(
    config: Config, key: jax.Array, rank: int, targets: tuple[str, ...] | None = None
) -> Params:
    """Adapters that change nothing yet: a is normal with variance 1/I, b is 0.

    They are float32 whatever the frozen parameters are: they are few, and their steps are small.

    Returns:
      ``layers``: by kernel, ``a`` ``[L, I, R]`` and ``b`` ``[L, R, O]``.
    """
    shapes = kernel_shapes(config, rank, targets)

    def adapter(key, shape):
        layers, inputs, outputs = shape
        a = jax.random.normal(key, (layers, inputs, rank)) * np.float32(inputs**-0.5)
        return {"a": a, "b": jnp.zeros((layers, rank, outputs))}

    keys = jax.random.split(key, len(shapes))
    return {
        "layers": {
            name: adapter(key, shape)
            for key, (name, shape) in zip(keys, shapes.items(), strict=True)
        }
    }


def scaled(adapters: Params, scale: float) -> Params:
    """Adapters as a decoder takes them, with ``scale`` alpha / R in b."""
    return {
        "layers": {
            name: {"a": adapter["a"], "b": adapter["b"] * np.float32(scale)}
            for name, adapter in adapters["layers"].items()
        }
    }


def merged(params: Params, adapters: Params) -> Params:
    """Parameters with ``W + a b`` for each W that has adapters, which are ``scaled``.

    The sum is rounded to the type of W: of bfloat16, changes below 1/512 of a weight are lost.
    """
    layers: dict[str, Any] = dict(params["layers"])
    for name, adapter in adapters["layers"].items():
        kernel = layers[name]["kernel"]
        change = jnp.matmul(adapter["a"], adapter["b"], precision="highest")
        kernel = (kernel.astype(np.float32) + change).astype(kernel.dtype)
        layers[name] = {**layers[name], "kernel": kernel}
    return {**params, "layers": layers}
