"""Safetensors files of a folder in the Hugging Face hub's format: one, or shards with an index."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from jaxcollapse import checks
from jaxcollapse.files import whole_file
from jaxcollapse.lm.architectures.hub_fields import OTHER_MODEL
from jaxcollapse.lm.checkpoints.hub_config import read_json, write_json
from jaxcollapse.lm.checkpoints.hub_names import Piece, full_name, pieces
from jaxcollapse.lm.checkpoints.tensors import Read
from jaxcollapse.lm.decoder.config import Config

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
STORED = ("F32", "F16", "BF16")


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder."""
    if (folder / WEIGHTS).exists() or not (folder / INDEX).exists():
        names = [WEIGHTS]
    else:
        listed = read_json(folder, INDEX).get("weight_map")
        if not isinstance(listed, dict) or not listed:
            raise checks.refusal(INDEX, "a weight_map", listed, "download it again")
        names = sorted(set(listed.values()))
    for name in names:
        if not (folder / name).is_file():
            index = f", which {INDEX} names" if name != WEIGHTS else " or its shards with an index"
            raise checks.refusal(
                "weights", f"{name}{index}", f"none in {folder}", "download or write them again"
            )
    return [folder / name for name in names]


def read_safetensors(path: Path, opened: contextlib.ExitStack) -> dict[str, Read]:
    """The tensors of a file by name, to be read while it is open."""
    library = checks.require("safetensors", "lm")
    try:
        file = opened.enter_context(library.safe_open(path, framework="numpy"))
    except (library.SafetensorError, OSError) as error:
        raise checks.refusal(
            "weights", "a whole safetensors file", f"{path} ({error})", "download it again"
        ) from None

    def read(name):
        kind = file.get_slice(name).get_dtype()
        if kind not in STORED:
            raise checks.refusal(name, f"numbers of type {', '.join(STORED)}", kind, OTHER_MODEL)
        return file.get_tensor(name)

    return {name: partial(read, name) for name in file.keys()}  # noqa: SIM118


def write_weights(
    folder: Path, config: Config, arrays: Mapping[str, np.ndarray], shard_bytes: int
) -> None:
    """Writes a decoder's parameters into a folder, and removes weights that were there before.

    Args:
      folder: that exists.
      config: of the decoder.
      arrays: its parameters by their paths.
      shard_bytes: the most that a file holds, unless one tensor is larger.
    """
    writer = checks.require("safetensors.numpy", "lm")
    shards: list[list[tuple[str, str, Piece]]] = [[]]
    size = total = 0
    for path, piece in pieces(config):
        piece_bytes = arrays[path][piece.place].nbytes
        if size + piece_bytes > shard_bytes and shards[-1]:
            shards.append([])
            size = 0
        shards[-1].append((full_name(config, piece.name), path, piece))
        size += piece_bytes
        total += piece_bytes
    count = len(shards)
    names = [f"model-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)]
    if count == 1:
        names = [WEIGHTS]

    # Nothing takes its name before all is written.
    with contextlib.ExitStack() as files:
        for name, shard in zip(names, shards, strict=True):
            tensors = {}
            for tensor, path, piece in shard:
                array = arrays[path][piece.place]
                tensors[tensor] = np.ascontiguousarray(array.T if piece.turned else array)
            temporary = files.enter_context(whole_file(folder / name))
            writer.save_file(tensors, temporary, metadata={"format": "pt"})
        if count > 1:
            index = {
                "metadata": {"total_size": total},
                "weight_map": {
                    tensor: name
                    for name, shard in zip(names, shards, strict=True)
                    for tensor, _, _ in shard
                },
            }
            write_json(files.enter_context(whole_file(folder / INDEX)), index)
            names.append(INDEX)
    # Weights of a model that was here before would be read in place of these.
    for old in (folder / INDEX, *folder.glob("model*.safetensors")):
        if old.name not in names:
            old.unlink(missing_ok=True)
