"""What a family of decoders is: one record, which checkpoints and names are made from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from jaxcollapse.lm.architectures.hub_fields import Fields
from jaxcollapse.lm.decoder.config import Config

# Of the models that the paper trained on TinyStories, and of those that are for trying things out.
STORIES = {"vocab_size": 8000, "context": 2048}
TINY = {"vocab_size": 512, "context": 128}


class Gguf(NamedTuple):
    """How GGUF files hold a family, under the hub's name of it.

    Attributes:
      config: makes a decoder from fields of ``Config``.
      tensors: names of a layer's weights at the hub, by those in GGUF, both without the layer.
      interleaved: whether features 2i and 2i + 1 of a head's queries and keys turn together, where
        at the hub i and i + D/2 do.
    """

    config: Callable[..., Config]
    tensors: Mapping[str, str]
    interleaved: bool = False


class Architecture(NamedTuple):
    """A family of decoders: its configurations, and its format at the Hugging Face hub.

    Attributes:
      name: names the family in ``Config.family``, and is the hub's ``model_type``.
      model_class: the class of transformers that computes its logits.
      configs: configurations by name; those named ``tiny-`` are trained in seconds.
      to_config: makes a decoder from the fields of a ``config.json``.
      from_config: gives the fields of a ``config.json`` that describe a decoder; those of
        ``fixed``, of the vocabulary and of tied embeddings are added to them.
      tensors: the hub's names of tensors, without ``prefix``, by the paths of parameters. ``{}`` is
        the number of the layer; where there is a ``%``, the hub has a tensor for each part of the
        parameter: q, k and v, or gate and up.
      prefix: begins the names of all tensors but the output layer's.
      turned: whether the hub has the kernels of layers as ``[out, in]``.
      fixed: the fields of a ``config.json`` that change the numbers, each with the only value that
        is implemented.
      harmless: other fields of a ``config.json`` that change nothing in this family, beside those
        that change nothing in any; a field that is neither read nor harmless is refused.
      published: names of models at the hub, by those in ``configs``.
      gguf: how GGUF files hold the family; None where they are not read.
    """

    name: str
    model_class: str
    configs: Mapping[str, Config]
    to_config: Callable[[Fields], Config]
    from_config: Callable[[Config], dict[str, Any]]
    tensors: Mapping[str, str]
    prefix: str = "model."
    turned: bool = True
    fixed: Mapping[str, bool] = {}
    harmless: Collection[str] = ()
    published: Mapping[str, str] = {}
    gguf: Gguf | None = None
