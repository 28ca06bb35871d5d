"""``config.json`` of the Hugging Face hub, to a decoder's configuration and from it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxcollapse import checks
from jaxcollapse.inputs import json_object
from jaxcollapse.lm import architectures
from jaxcollapse.lm.architectures.hub_fields import CONFIG, Fields, unknown_feature
from jaxcollapse.lm.decoder.config import Config

# Fields of a decoder that say how it is computed, not what: a checkpoint is the same with others.
OF_COMPUTING = ("dtype", "param_dtype", "remat", "matmul_precision")


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """The JSON object in a file of a model's folder."""
    path = folder / name
    if not path.is_file():
        raise checks.refusal("model", f"a folder with {name}", str(folder), "check the folder")
    try:
        return json_object(path)
    except ValueError as error:
        raise checks.refusal(
            name, "a JSON object", f"{path} ({error})", "download or write it again"
        ) from None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON object as the hub's files have it."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def to_config(content: Mapping[str, Any]) -> Config:
    """The decoder that ``config.json`` describes; what it leaves out is as in transformers."""
    architecture = architectures.find(content.get("model_type"), f"model_type in {CONFIG}")
    fields = Fields(content)
    for name, only in architecture.fixed.items():
        got = fields.content.get(name, only)
        if not (got is None or isinstance(got, bool)) or bool(got) != only:
            raise unknown_feature(name, json.dumps(only), got)
    config = architecture.to_config(fields)
    fields.check_all_read(architecture.harmless)
    return config


def from_config(config: Config, bos: int | None, eos: int | None) -> dict[str, Any]:
    """The content of ``config.json``, from which ``to_config`` gives the same decoder."""
    architecture = architectures.find(config.family, "family")
    content = {
        "architectures": [architecture.model_class],
        "model_type": architecture.name,
        "vocab_size": config.vocab_size,
        **architecture.from_config(config),
        **architecture.fixed,
        "tie_word_embeddings": config.tied,
        "bos_token_id": bos,
        "eos_token_id": eos,
    }
    said = to_config(content)
    for field in dataclasses.fields(Config):
        ours, theirs = getattr(config, field.name), getattr(said, field.name)
        same = ours == theirs
        if field.name == "query_scale":
            same = math.isclose(config.score_scale, said.score_scale, rel_tol=1e-9)
        if not same and field.name not in OF_COMPUTING:
            raise checks.refusal(
                f"{field.name} of a {config.family} checkpoint",
                f"{theirs!r}, the nearest that its format can say",
                repr(ours),
                "change it, or keep the parameters in a format of your own",
            )
    return content
