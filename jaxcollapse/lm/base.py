"""A model that exists, which every generation of fine-tuning begins from."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxcollapse import checks
from jaxcollapse.lm import architectures, checkpoints
from jaxcollapse.lm.architectures.hub_fields import CONFIG
from jaxcollapse.lm.checkpoints.hub_config import read_json, to_config
from jaxcollapse.lm.decoder.config import Config
from jaxcollapse.lm.decoder.decoder import Params

DIGESTED = 2**20  # bytes of each array that its digest is of
# What distinguishes architectures; the rest is how one of them is used.
ARCHITECTURE = (
    "family",
    "width",
    "layers",
    "heads",
    "kv_heads",
    "head_dim",
    "mlp_width",
    "vocab_size",
)


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["params"],
    meta_fields=["config", "name", "digest"],
)
@dataclasses.dataclass(frozen=True)
class Base:
    """A model that exists.

    Attributes:
      params: of the decoder, arrays of the host.
      config: of the decoder.
      name: what to call it.
      digest: of its configuration and of the beginning of each of its arrays.
    """

    params: Params
    config: Config
    name: str
    digest: str

    def describe(self) -> dict[str, Any]:
        """What it is, for a result's configuration."""
        return {"name": self.name, "digest": self.digest}


def base_of(name: str, config: Config, params: Params) -> Base:
    """A base from parameters that are at hand."""
    params = jax.tree.map(np.asarray, params)
    digest = hashlib.sha256(repr(config).encode())
    for leaf in jax.tree.leaves(params):
        digest.update(str((leaf.shape, leaf.dtype)).encode())
        first = np.ascontiguousarray(leaf.reshape(-1)[: DIGESTED // leaf.itemsize])
        digest.update(first.view(np.uint8).tobytes())
    return Base(params, config, name, digest.hexdigest())


def load_base(
    path: Path | str, model: str | None = None, name: str | None = None, dtype: str = "float32"
) -> Base:
    """A base from a checkpoint.

    Args:
      path: as for ``checkpoints.load``.
      model: a name of a configuration that it must have the architecture of; any by default.
      name: what to call it; by default ``model``, or the last part of the path.
      dtype: of its parameters: ``float32`` or ``bfloat16``.

    Raises:
      ValueError: there is no checkpoint, or it is of another architecture.
    """
    config, params = checkpoints.load(path, dtype)
    if model is not None:
        _same_architecture(path, config, model)
    return base_of(name or model or Path(path).resolve().name, config, params)


def context_of(path: Path | str) -> int:
    """The longest sequence of a checkpoint's model; of a folder of the hub no weights are read."""
    if (Path(path) / CONFIG).is_file():
        return to_config(read_json(Path(path), CONFIG)).context
    return checkpoints.load(path)[0].context


def _same_architecture(path: Path | str, config: Config, model: str) -> None:
    wanted = architectures.config(model)
    # A tiny model takes the vocabulary of its text.
    fields = [f for f in ARCHITECTURE if f != "vocab_size" or not model.startswith("tiny-")]
    different = [f for f in fields if getattr(config, f) != getattr(wanted, f)]
    if different:
        raise checks.refusal(
            "weights",
            f"those of {model}: " + ", ".join(f"{f} {getattr(wanted, f)}" for f in different),
            ", ".join(f"{f} {getattr(config, f)}" for f in different) + f" in {path}",
            "give the model's own checkpoint, or leave --model out",
        )
