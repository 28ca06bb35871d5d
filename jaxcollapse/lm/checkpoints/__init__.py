"""Weights of decoders from files and to files.

Read and written are folders in the format of the Hugging Face hub (``config.json`` and
safetensors) of all ``architectures``; read are also GGUF, of those that say how, and llama2.c's
``.bin``. Letters of shapes are those of ``decoder``.
"""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import jax
import numpy as np

from jaxcollapse import checks
from jaxcollapse.files import whole_file
from jaxcollapse.lm.architectures.hub_fields import CONFIG
from jaxcollapse.lm.checkpoints.gguf import gguf_tokenizer, load_gguf
from jaxcollapse.lm.checkpoints.hub_config import from_config, read_json, to_config, write_json
from jaxcollapse.lm.checkpoints.hub_names import check_leaves, leaves_of
from jaxcollapse.lm.checkpoints.hub_weights import read_weights, write_weights
from jaxcollapse.lm.checkpoints.llama2c import load_llama2c
from jaxcollapse.lm.checkpoints.tensors import assembled, check_context, shortened
from jaxcollapse.lm.decoder.config import Config
from jaxcollapse.lm.decoder.decoder import Params

__all__ = ["gguf_tokenizer", "load", "load_gguf", "load_llama2c", "save"]

SHARD_BYTES = 5 * 10**9


def load(
    path: Path | str, dtype: str = "float32", context: int | None = None
) -> tuple[Config, Params]:
    """A model that exists.

    Args:
      path: a folder with ``config.json`` and ``model.safetensors``, whole or in shards; a ``.bin``
        of llama2.c, or a folder where one is; or a ``.gguf`` file.
      dtype: of parameters and activations: ``float32`` or ``bfloat16``.
      context: the longest sequence, C, to shorten it; the model's own by default.

    Returns:
      The decoder and its parameters, a tree as from ``decoder.init``.

    Raises:
      ValueError: there is no model, a file of it is damaged or does not fit the others, or it has
        a feature that is not implemented.
      ImportError: the extra ``lm`` is not installed.
    """
    path = Path(path)
    if path.is_file() and path.suffix == ".gguf":
        return load_gguf(path, dtype, context)
    if path.is_file() and path.suffix == ".bin":
        return load_llama2c(path, dtype, context)
    if not path.is_dir():
        raise checks.refusal(
            "model", "a folder with config.json, a .bin or a .gguf", str(path), "check the path"
        )
    binaries = [
        file for file in path.glob("*.bin") if not file.name.startswith(("tok", "pytorch_model"))
    ]
    if not (path / CONFIG).exists() and len(binaries) == 1:
        return load_llama2c(binaries[0], dtype, context)
    config = dataclasses.replace(to_config(read_json(path, CONFIG)), dtype=dtype, param_dtype=dtype)
    check_context(config, context)
    with contextlib.ExitStack() as opened:
        tensors = read_weights(path, opened)
        return shortened(config, assembled(config, tensors), context)


def save(
    folder: Path | str,
    config: Config,
    params: Params,
    bos: int | None = None,
    eos: int | None = None,
    shard_bytes: int = SHARD_BYTES,
    overwrite: bool = False,
) -> None:
    """Writes a model as ``load`` and ``transformers.AutoModelForCausalLM`` read it.

    Each file is whole or not there, and ``config.json`` comes last: without it there is no model.
    A tokenizer in the folder stays.

    Args:
      folder: made if needed.
      config: of the decoder.
      params: its parameters, stored in the precision that they have.
      bos: the number of the token that begins a document, for those who read the model.
      eos: of the one that ends it.
      shard_bytes: the most that a file of weights holds, unless one tensor is larger.
      overwrite: whether a model that is in the folder is replaced.

    Raises:
      ValueError: the folder has a model already, the parameters are not the decoder's, or the
        format of its family cannot say what the decoder computes.
      ImportError: the extra ``lm`` is not installed.
    """
    folder = Path(folder)
    checks.require("safetensors.numpy", "lm")  # before a folder is made
    content = from_config(config, bos, eos)
    if (folder / CONFIG).exists() and not overwrite:
        raise checks.refusal(
            "folder",
            "one without a model",
            f"{folder}, which has one",
            "choose another or pass overwrite=True",
        )
    if folder.exists() and not folder.is_dir():
        raise checks.refusal("folder", "a folder", f"{folder}, a file", "choose another name")
    leaves = leaves_of(params)
    check_leaves(config, leaves)
    content["dtype"] = str(leaves["embed/tokens"].dtype)
    host = {path: np.asarray(jax.device_get(leaf)) for path, leaf in leaves.items()}

    folder.mkdir(parents=True, exist_ok=True)
    # Nothing takes its name before all is written.
    with whole_file(folder / CONFIG) as unnamed:
        write_json(unnamed, content)
        write_weights(folder, config, host, shard_bytes)
