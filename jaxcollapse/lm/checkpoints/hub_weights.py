"""Safetensors files of a folder in the Hugging Face hub's format: one, or shards with an index."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxcollapse import checks
from jaxcollapse.files import whole_file
from jaxcollapse.lm.architectures.hub_fields import OTHER_MODEL, shown
from jaxcollapse.lm.checkpoints.hub_config import read_json, write_json
from jaxcollapse.lm.checkpoints.hub_names import Piece, full_name, pieces
from jaxcollapse.lm.checkpoints.tensors import Stored, add_tensor
from jaxcollapse.lm.decoder.config import Config
from jaxcollapse.lm.hub import first_sentence

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
STORED = ("F32", "F16", "BF16")
FILE_NAME = re.compile(r"[^/\\\0]+\.safetensors")  # no path, which may lead elsewhere


def read_weights(folder: Path, opened: contextlib.ExitStack) -> dict[str, Stored]:
    """The tensors of a folder by name, to be read while its files are open.

    Raises:
      ValueError: there are none, a file is damaged, or what is there can be two models.
    """
    tensors: dict[str, Stored] = {}
    for path, listed in _weight_files(folder).items():
        found = _read_safetensors(path, opened)
        if listed is not None and listed != found.keys():
            different = sorted(listed ^ found.keys())
            raise checks.refusal(
                f"tensors of {path.name}",
                f"those that {INDEX} names",
                f"others, such as {different[0]!r}",
                "download them again",
            )
        for name, tensor in found.items():
            add_tensor(tensors, name, tensor, path.name)
    return tensors


def _weight_files(folder: Path) -> dict[Path, set[str] | None]:
    """The safetensors files of a folder, each with the tensors that an index says it has."""
    single, index = folder / WEIGHTS, folder / INDEX
    if not index.exists():
        listed: dict[str, set[str] | None] = {WEIGHTS: None}
    else:
        listed = dict(_listed(read_json(folder, INDEX).get("weight_map")))
        # Either may be the model that is meant, and they need not be the same one.
        if single.exists() and WEIGHTS not in listed:
            raise checks.refusal(
                "weights",
                f"{WEIGHTS}, or shards with {INDEX}",
                f"both in {folder}",
                "move those of the other model elsewhere",
            )
    for name in listed:
        if not (folder / name).is_file():
            told = f", which {INDEX} names" if name != WEIGHTS else " or its shards with an index"
            raise checks.refusal(
                "weights", f"{name}{told}", f"none in {folder}", "download or write them again"
            )
    return {folder / name: tensors for name, tensors in sorted(listed.items())}


def _listed(weight_map: Any) -> dict[str, set[str]]:
    """The tensors of each file that an index names, all of them in its own folder."""
    if not isinstance(weight_map, dict) or not weight_map:
        raise checks.refusal(INDEX, "a weight_map", shown(weight_map), "download it again")
    files: dict[str, set[str]] = {}
    for tensor, name in weight_map.items():
        if not isinstance(name, str) or not FILE_NAME.fullmatch(name):
            raise checks.refusal(
                f"weight_map in {INDEX}",
                "names of .safetensors files in its folder",
                shown(name),
                "download it again",
            )
        files.setdefault(name, set()).add(tensor)
    return files


def _read_safetensors(path: Path, opened: contextlib.ExitStack) -> dict[str, Stored]:
    """The tensors of a file by name."""
    library = checks.require("safetensors", "lm")
    try:
        file = opened.enter_context(library.safe_open(path, framework="numpy"))
        names = list(file.keys())
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
    except Exception as error:  # the library raises many kinds, some of its own
        raise checks.refusal(
            "weights",
            "a whole safetensors file",
            f"{path} ({first_sentence(error)})",
            "download it again",
        ) from None

    def read(name):
        kind = file.get_slice(name).get_dtype()
        if kind not in STORED:
            raise checks.refusal(name, f"numbers of type {', '.join(STORED)}", kind, OTHER_MODEL)
        return file.get_tensor(name)

    return {name: Stored(shapes[name], partial(read, name)) for name in names}


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
