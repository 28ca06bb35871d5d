"""Families of decoders and their configurations, by name.

A family is one file that ends in an ``Architecture``. One from elsewhere is made known by
``register(ARCHITECTURE)``, or by its package's ``pyproject.toml``:

    [project.entry-points."jaxcollapse.architectures"]
    qwen2 = "my_package.qwen2:ARCHITECTURE"
"""

from __future__ import annotations

import dataclasses
from typing import Any

from jaxcollapse import checks, plugins
from jaxcollapse.lm.architectures import gemma2, gpt2, llama
from jaxcollapse.lm.architectures.architecture import Architecture
from jaxcollapse.lm.decoder.config import Config

ARCHITECTURES = plugins.Named(
    "architecture",
    "jaxcollapse.architectures",
    {module.ARCHITECTURE.name: module.ARCHITECTURE for module in (gpt2, llama, gemma2)},
)
ADDED: dict[str, Config] = {}  # beside those of architectures


def find(name: Any, what: str = "architecture") -> Architecture:
    """The architecture of a name.

    Args:
      name: the architecture's, as in ``Config.family``.
      what: says in an error where the name is from.

    Raises:
      ValueError: there is none of that name.
    """
    if not isinstance(name, str) or name not in ARCHITECTURES:
        checks.one_of(what, name, ARCHITECTURES.names())
    return ARCHITECTURES.find(name)


def known() -> list[Architecture]:
    """All architectures: the built-in ones first."""
    return [find(name) for name in ARCHITECTURES.names()]


def register(architecture: Architecture) -> None:
    """Makes an architecture known: its checkpoints, and its configurations by name.

    Raises:
      ValueError: its name is that of a built-in one, or a configuration of it is of another
        family, or has a name that is taken.
    """
    for name, config in architecture.configs.items():
        checks.one_of(f"family of {name}", config.family, (architecture.name,))
    others = [other.configs for other in known() if other.name != architecture.name]
    taken = set(ADDED).union(*others).intersection(architecture.configs)
    if taken:
        raise _taken(f"configurations of {architecture.name}", ", ".join(sorted(taken)))
    ARCHITECTURES.add(architecture.name, architecture)


def add_config(name: str, config: Config) -> None:
    """Makes a configuration known by a name, whatever its architecture.

    Raises:
      ValueError: an architecture has a configuration of that name.
    """
    if any(name in architecture.configs for architecture in known()):
        raise _taken("name of a configuration", repr(name))
    ADDED[name] = config


def _taken(what: str, got: str) -> ValueError:
    return checks.refusal(what, "names that no architecture has", got, "choose others")


def configs() -> dict[str, Config]:
    """All configurations by name: those of each architecture, then those that were added."""
    named = {name: config for every in known() for name, config in every.configs.items()}
    return {**named, **ADDED}


def config(name: str, **changes: Any) -> Config:
    """The decoder of a name, with ``changes`` of its fields (``vocab_size``, ``context``, ...).

    Raises:
      ValueError: an unknown name, or a field that no parameters can have.
    """
    named = configs()
    return dataclasses.replace(named[checks.one_of("model", name, named)], **changes)


def as_config(model: str | Config) -> Config:
    """A decoder from its name or itself."""
    return config(model) if isinstance(model, str) else model


def published(name: str) -> str | None:
    """The name at the hub of a configuration's weights, or None where there are none."""
    return next((every.published[name] for every in known() if name in every.published), None)


def recipe(name: str) -> dict[str, Any]:
    """How a decoder of a name is trained unless one says otherwise: fields of ``Recipe``.

    The tiny ones see their few documents three times, in small batches; the others once.
    """
    if name.startswith("tiny-"):
        return {"learning_rate": 1e-2, "batch_size": 4, "epochs": 3}
    return {"learning_rate": 1e-3, "batch_size": 32, "epochs": 1}


def fine_tuning_recipe(num_parameters: int) -> dict[str, Any]:
    """How a model that exists is fine-tuned unless one says otherwise: fields of ``Recipe``.

    As published: one epoch of AdamW without weight decay, in batches of 8 times 16 rows, at a
    constant learning rate of 8e-6 after the warm-up. Models too small to learn anything from that
    (below 20 million parameters) see their few documents three times, in small batches.
    """
    common = {"schedule": "constant", "weight_decay": 0.0}
    if num_parameters < 20e6:
        return {**common, "learning_rate": 3e-3, "batch_size": 4, "epochs": 3}
    large = {"learning_rate": 8e-6, "batch_size": 128, "accumulation": 16, "beta2": 0.999}
    return {**common, **large, "epochs": 1}
