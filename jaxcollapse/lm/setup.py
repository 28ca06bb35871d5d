"""All that decides a language model's chain but its key, checked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np

from jaxcollapse import checks
from jaxcollapse.lm import architectures
from jaxcollapse.lm.arrays import TextData, embedded
from jaxcollapse.lm.base import Base
from jaxcollapse.lm.decoder import decoder, lora, sampling, training
from jaxcollapse.parameters import Option, also, declared, parameters_of, record

# Unless one says otherwise, logits of so many tokens are computed in so many parts, and layers of
# models of so many parameters again in the backward pass.
LARGE_VOCABULARY, LOSS_CHUNKS = 100_000, 16
LARGE_MODEL = 500_000_000


class Precision(NamedTuple):
    """How many bits a decoder computes with, and what it computes twice.

    Attributes:
      dtype: The type of activations.
      param_dtype: The type of parameters, gradients and moments.
      remat: The activations of a layer are computed again in the backward pass, to save memory; of
        large base models they are in any case.
      matmul_precision: Products of float32 in training and in sampling are computed in TF32 on a
        recent GPU and in one pass of bfloat16 on a TPU, as is usual (default), in TF32 and in three
        such passes (high), or in float32 on both (highest). What is measured is in float32 always,
        as is everything on a CPU.
    """

    dtype: Literal["float32", "bfloat16"] = "float32"
    param_dtype: Literal["float32", "bfloat16"] = "float32"
    remat: bool | None = None
    matmul_precision: Annotated[
        Literal["default", "high", "highest"], Option(by_default="the device's fastest")
    ] = "default"


class Protocol(NamedTuple):
    """How documents are treated on their way from one model to the next.

    Attributes:
      format: A model publishes whatever it samples (text), or only samples that are a prompt and a
        response, finished within the context, and tokenised anew (conversation); others are
        rejected.
      strip: The prompt is taken from such a sample without the prefix "user: " (prefix), or, as
        published, without any of its characters at the beginning (characters), which eats letters.
      max_attempts: The number of samples drawn for each one published, at most, all together.
      rows: A row of the context's length holds whole documents side by side (packed), or a
        document has a row of its own (single), so that a batch is so many documents.
      data_order: Each generation of each seed sees its data in an order of its own (seed), or all
        see them in the same one (shared).
    """

    format: Literal["text", "conversation"] = "text"
    strip: Literal["prefix", "characters"] = "prefix"
    max_attempts: Annotated[int, Option(least=1)] = 20
    rows: Literal["packed", "single"] = "packed"
    data_order: Literal["seed", "shared"] = "seed"


class Setup(NamedTuple):
    """All that decides a language model's chain but its key: what ``task`` and a host driver use.

    Attributes:
      config: of the decoder.
      recipe: of the training.
      settings: how documents are sampled.
      data: real text.
      num_samples: N, documents of each generation.
      slots: documents written at a time.
      protocol: how documents are treated.
      base: the model that each generation begins from; fresh weights if None.
      self_perplexity: whether models are judged by what they publish themselves too.
    """

    config: decoder.Config
    recipe: training.Recipe
    settings: sampling.Settings
    data: TextData
    num_samples: int
    slots: int
    protocol: Protocol = Protocol()
    base: Base | None = None
    self_perplexity: bool = False

    def describe(self) -> dict[str, Any]:
        """All that decides a chain's numbers but its key, defaults included, as JSON can hold it.

        Not the slots: which documents are written beside which does not matter.
        """
        asked = {"self_perplexity": True} if self.self_perplexity else {}
        return {
            **asked,
            "config": dataclasses.asdict(self.config),
            "recipe": dataclasses.asdict(self.recipe),
            "sampling": self.settings._asdict(),
            "data": self.data.describe(),
            "protocol": self.protocol._asdict(),
            "base": {} if self.base is None else self.base.describe(),
            "num_samples": self.num_samples,
        }

    def with_base_params(self, params: decoder.Params) -> Setup:
        """The setup with other numbers in its base: traced ones, of arrays given to a program."""
        assert self.base is not None
        return self._replace(base=dataclasses.replace(self.base, params=params))

    @property
    def sampler(self) -> sampling.Sampler:
        """What writes a generation's documents."""
        data = self.data
        return sampling.sampler(
            self.config,
            self.num_samples,
            data.context,
            [data.bos],
            [data.eos],
            self.slots,
            self.settings,
            data.vocab_size,
        )

    @property
    def filters(self) -> bool:
        """Whether samples that are no conversations are rejected."""
        return self.protocol.format == "conversation"

    @property
    def real_rows(self) -> float:
        """Rows that N real documents make on average."""
        if self.protocol.rows == "single":
            return float(self.num_samples)
        return self.data.train_rows * self.num_samples / self.data.available


# Records whose fields are options of the task.
PARTS = (sampling.Settings, Precision, Protocol, training.Recipe)


@declared
@also(*PARTS)
def checked_setup(
    model: str | decoder.Config = "tiny-llama",
    num_samples: int | None = None,
    data: TextData | None = None,
    base: Base | None = None,
    slots: Annotated[int, Option(least=1)] = 64,
    self_perplexity: bool = False,
    pool: Annotated[Literal["auto", "points"], Option(hidden=True)] = "auto",
    **options: Any,
) -> Setup:
    """All that decides a chain but its key, from the parameters of ``language_model.task``.

    Args:
      model: as in ``language_model.task``.
      num_samples: likewise.
      data: likewise.
      base: The model that each generation begins from; by default each has fresh weights.
      slots: The number of documents that are written at a time.
      self_perplexity: The perplexity of each model on what it publishes is measured too, which
        takes a pass over that.
      pool: The pool keeps documents, whichever is named: a decoder is trained on no statistics.
      **options: fields of ``sampling.Settings``, ``Precision``, ``Protocol`` and
        ``training.Recipe``.

    Raises:
      ValueError: an option is unknown, out of its range or at odds with another, or there are fewer
        documents than N.
    """
    check_options(options)
    settings, precision, protocol = (record(part, options) for part in PARTS[:3])
    of_recipe = {name: v for name, v in options.items() if name in parameters_of(training.Recipe)}
    data = embedded() if data is None else data
    if base is None:
        config = _fresh_config(model, data, precision)
        usual = architectures.recipe(model) if isinstance(model, str) else {}
    else:
        config = _base_config(base, data, precision)
        usual = architectures.fine_tuning_recipe(decoder.num_parameters(config))
    recipe = _recipe({**usual, **of_recipe}, config, data, base)
    if data.loss_on == "response" and protocol.format == "text":
        raise checks.refusal(
            "loss_on",
            "'all' where any sample is published, as not all have responses",
            "'response' with format 'text'",
            "publish conversations, or count all tokens",
        )
    num_samples = data.available if num_samples is None else num_samples
    if checks.whole_number("num_samples", num_samples) > data.available:
        raise checks.refusal(
            "num_samples",
            f"at most the {data.available} documents that there are to train on",
            num_samples,
            "lower it or give more text",
        )
    settings = sampling.check_settings(settings, data.vocab_size)
    return Setup(
        config, recipe, settings, data, num_samples, slots, protocol, base, self_perplexity
    )


def check_options(options: Mapping[str, Any]) -> None:
    """Refuses options that no model and no data can make right.

    Raises:
      ValueError: one is unknown, out of its range, or would change nothing beside another.
    """
    known = parameters_of(checked_setup)
    for name, value in options.items():
        known[checks.one_of("option of language-model", name, known)].checked(value)
    precision = record(Precision, options)
    if precision.dtype != "float32" and precision.matmul_precision != "default":
        raise checks.refusal(
            "matmul_precision",
            f"none beside dtype {precision.dtype}, of which all products are alike",
            repr(precision.matmul_precision),
            "leave it out, or compute in float32",
        )


def _fresh_config(
    model: str | decoder.Config, data: TextData, precision: Precision
) -> decoder.Config:
    """A decoder with the data's vocabulary, and their context if that is longer than its own."""
    config = architectures.as_config(model)
    context = max(config.context, data.context)
    precision = precision._replace(remat=bool(precision.remat))
    return dataclasses.replace(
        config, vocab_size=data.vocab_size, context=context, **precision._asdict()
    )


def _base_config(base: Base, data: TextData, precision: Precision) -> decoder.Config:
    """The decoder of a base that knows the tokens, and documents as long as the data's."""
    _check_base(base, data)
    if precision.remat is None:
        precision = precision._replace(remat=decoder.num_parameters(base.config) >= LARGE_MODEL)
    return dataclasses.replace(base.config, **precision._asdict())


def _recipe(
    options: Mapping[str, Any], config: decoder.Config, data: TextData, base: Base | None
) -> training.Recipe:
    """The recipe, if it suits the decoder and the data."""
    recipe = training.Recipe(**options)
    tokens = recipe.batch_size // recipe.accumulation * data.context
    if "loss_chunks" not in options and config.vocab_size >= LARGE_VOCABULARY:
        recipe = dataclasses.replace(recipe, loss_chunks=math.gcd(LOSS_CHUNKS, tokens))
    if tokens % recipe.loss_chunks:
        raise checks.refusal(
            "loss_chunks",
            f"a divisor of the {tokens} tokens that are trained on at once",
            recipe.loss_chunks,
            "try a power of two",
        )
    if recipe.lora_rank is not None:
        if base is None:
            raise checks.refusal(
                "lora_rank", "a base model beside it", "none", "give one, or leave it out"
            )
        lora.kernel_shapes(config, recipe.lora_rank, recipe.lora_targets)
        return recipe
    without = training.Recipe()
    for name in ("lora_alpha", "lora_targets"):
        if getattr(recipe, name) != getattr(without, name):
            raise checks.refusal(name, "a lora_rank beside it", "none", "give one, or leave it out")
    return recipe


def _check_base(base: Base, data: TextData) -> None:
    """Refuses a base that does not know the tokens, or not so long documents."""
    for what, have, need, remedy in (
        ("vocabulary", base.config.vocab_size, data.vocab_size, "use the model's own tokenizer"),
        ("context", base.config.context, data.context, "lower the data's context"),
    ):
        if have < need:
            raise checks.refusal(
                f"{what} of the base model",
                f"at least the data's, {need}",
                f"{have} in {base.name}",
                remedy,
            )


def training_bytes(setup: Setup) -> float:
    """About how much memory a chain needs to train, its data not counted.

    Parameters, their gradient, two moments and an update; logits and their gradient; and of each
    layer what the backward pass needs.
    """
    config, recipe = setup.config, setup.recipe
    tokens = recipe.batch_size // recipe.accumulation * setup.data.context
    width = 1 if config.dtype == "bfloat16" else 2
    layer = config.width if config.remat else 10 * config.width + 4 * config.mlp_width
    scores = 0 if config.remat else 3 * config.heads * setup.data.context
    activations = 2 * width * tokens * config.layers * (layer + scores)
    logits = 12.0 * tokens / recipe.loss_chunks * config.vocab_size
    parameters = np.dtype(np.float32).itemsize if config.param_dtype == "float32" else 2
    return 5.0 * parameters * decoder.num_parameters(config) + logits + activations
