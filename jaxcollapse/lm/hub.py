"""What is at the Hugging Face hub: checkpoints, data sets, and their names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jaxcollapse import checks
from jaxcollapse.inputs import ending

NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
# What a model is loaded from: its configuration, weights and tokenizer, no other formats.
FILES = [
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*",
    "special_tokens*",
]


def located(path_or_name: Path | str) -> Path:
    """The path itself if it exists, else the folder that a model of the hub was downloaded to.

    Files that were downloaded before are used without a network.

    Raises:
      ValueError: there is no such path, and no such model at the hub that can be reached.
    """
    path = Path(path_or_name)
    name = str(path_or_name)
    if path.exists():
        return path
    if isinstance(path_or_name, Path) or not NAME.fullmatch(name) or "/" not in name:
        raise checks.refusal(
            "weights",
            "a folder or file that exists, or a model's name at the hub",
            name,
            "check the path",
        )
    library = checks.require("huggingface_hub", "lm")
    try:
        return Path(library.snapshot_download(name, allow_patterns=FILES))
    except Exception as error:  # the library and those below it raise many kinds
        raise checks.refusal(
            "weights",
            "a folder that exists, or a model at the hub that can be reached",
            f"'{name}' ({first_sentence(error)})",
            "check the name, the network and that you may read it, or download it and give its "
            "folder",
        ) from None


def dataset_name(data: str | Path) -> str:
    """What may be the name of a data set at the Hugging Face hub.

    Raises:
      ValueError: it looks like a file, or is no name.
    """
    path, name = Path(data), str(data)
    looks_like_a_file = ending(path) in (".txt", ".jsonl", ".ndjson", ".json") or path.exists()
    if isinstance(data, Path) or looks_like_a_file or not NAME.fullmatch(name):
        raise checks.refusal(
            "data", "a file that exists, or a data set's name at the hub", name, "check the path"
        )
    return name


def dataset(name: str) -> Any:
    """The splits of a data set at the Hugging Face hub: columns by field, by split.

    Raises:
      ValueError: it cannot be had.
      ImportError: the extra ``hub`` is not installed.
    """
    library = checks.require("datasets", "hub")
    try:
        return library.load_dataset(name)
    except Exception as error:  # the library and those below it raise many kinds
        raise checks.refusal(
            "data",
            "a file that exists, or a data set at the hub that can be reached",
            f"'{name}' ({first_sentence(error)})",
            "check the name and the network, or give a file",
        ) from None


def first_sentence(error: BaseException) -> str:
    """What an error of a library says first, in one line."""
    return " ".join(str(error).split()).partition(". ")[0] or type(error).__name__
