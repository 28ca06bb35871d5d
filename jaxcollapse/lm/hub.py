"""A checkpoint's files, from a folder or downloaded from the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from jaxcollapse import checks
from jaxcollapse.lm.text.tokenizers import HUB_NAME, first_sentence

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
    if isinstance(path_or_name, Path) or not HUB_NAME.fullmatch(name) or "/" not in name:
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
