"""All that decides a language model's chain but its key, checked."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np

from jaxcollapse import checks
from jaxcollapse.lm.architectures import named
from jaxcollapse.lm.arrays import TextData, embedded
from jaxcollapse.lm.base import Base
from jaxcollapse.lm.decoder import decoder, lora, sampling, training

# Unless one says otherwise, logits of so many tokens are computed in so many parts, and layers of
# models of so many parameters again in the backward pass.
LARGE_VOCABULARY, LOSS_CHUNKS = 100_000, 16
LARGE_MODEL = 500_000_000


class Protocol(NamedTuple):
    """How documents are treated on their way from one model to the next.

    Attributes:
      format: ``text``: a model publishes what it samples. ``conversation``: only samples that are
        a prompt and a response, finished within the context, and tokenised anew; others are
        rejected.
      strip: how the prompt is taken from such a sample, see ``conversations.parsed``.
      max_attempts: samples drawn for each one published, at most, all together.
      rows: ``packed``: whole documents side by side in a row of the context's length. ``single``:
        each document has a row of its own, so that a batch is so many documents.
      data_order: ``seed``: each generation of each seed has an order of its own. ``shared``: the
        same order for all.
    """

    format: str = "text"
    strip: str = "prefix"
    max_attempts: int = 20
    rows: str = "packed"
    data_order: str = "seed"


CHOICES = {
    "format": ("text", "conversation"),
    "strip": ("prefix", "characters"),
    "rows": ("packed", "single"),
    "data_order": ("seed", "shared"),
}


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
    """

    config: decoder.Config
    recipe: training.Recipe
    settings: sampling.Settings
    data: TextData
    num_samples: int
    slots: int
    protocol: Protocol = Protocol()
    base: Base | None = None

    def describe(self) -> dict[str, Any]:
        """All that decides a chain's numbers but its key, defaults included, as JSON can hold it.

        Not the slots: which documents are written beside which does not matter.
        """
        return {
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


OPTIONS = (
    "data",
    "base",
    "temperature",
    "top_k",
    "top_p",
    "slots",
    "dtype",
    "param_dtype",
    "remat",
    "pool",
    *Protocol._fields,
)


def setup(
    model: str | decoder.Config = "tiny-llama",
    num_samples: int | None = None,
    data: TextData | None = None,
    base: Base | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    slots: int = 64,
    dtype: str = "float32",
    param_dtype: str = "float32",
    remat: bool | None = None,
    pool: str = "auto",
    **others: Any,
) -> Setup:
    """Checks the parameters of ``language_model.task``; see there."""
    checks.one_of("pool", pool, ("auto", "points"))
    protocol = _protocol({k: v for k, v in others.items() if k in Protocol._fields})
    recipe = {name: v for name, v in others.items() if name not in Protocol._fields}
    known = [field.name for field in dataclasses.fields(training.Recipe)]
    for name in recipe:
        checks.one_of("option of language-model", name, (*OPTIONS, *known))
    data = embedded() if data is None else data
    if remat is None:
        remat = base is not None and decoder.num_parameters(base.config) >= LARGE_MODEL
    precision: dict[str, Any] = {"dtype": dtype, "param_dtype": param_dtype, "remat": remat}
    if base is None:
        config = named.as_config(model)
        context = max(config.context, data.context)
        config = dataclasses.replace(
            config, vocab_size=data.vocab_size, context=context, **precision
        )
        if isinstance(model, str):
            recipe = {**named.recipe(model), **recipe}
    else:
        _check_base(base, data)
        config = dataclasses.replace(base.config, **precision)
        recipe = {**named.fine_tuning_recipe(decoder.num_parameters(config)), **recipe}
    checked = _recipe(recipe, config, data)
    if data.loss_on == "response" and protocol.format == "text":
        raise checks.refusal(
            "loss_on",
            "'all' where any sample is published, as not all have responses",
            "'response' with format 'text'",
            "publish conversations, or count all tokens",
        )
    num_samples = data.available if num_samples is None else num_samples
    num_samples = checks.whole_number("num_samples", num_samples)
    if num_samples > data.available:
        raise checks.refusal(
            "num_samples",
            f"at most the {data.available} documents that there are to train on",
            num_samples,
            "lower it or give more text",
        )
    checks.whole_number("slots", slots)
    settings = sampling.check_settings(
        sampling.Settings(temperature, top_k, top_p), data.vocab_size
    )
    return Setup(config, checked, settings, data, num_samples, slots, protocol, base)


def _recipe(given: dict[str, Any], config: decoder.Config, data: TextData) -> training.Recipe:
    """The recipe, if it suits the decoder and the data."""
    recipe = training.Recipe(**given)
    tokens = recipe.batch_size // recipe.accumulation * data.context
    if "loss_chunks" not in given and config.vocab_size >= LARGE_VOCABULARY:
        recipe = dataclasses.replace(recipe, loss_chunks=math.gcd(LOSS_CHUNKS, tokens))
    if tokens % recipe.loss_chunks:
        raise checks.refusal(
            "loss_chunks",
            f"a divisor of the {tokens} tokens that are trained on at once",
            recipe.loss_chunks,
            "try a power of two",
        )
    if recipe.lora_rank is not None:
        lora.kernel_shapes(config, recipe.lora_rank, recipe.lora_targets)
        return recipe
    without = training.Recipe()
    for name in ("lora_alpha", "lora_targets"):
        if getattr(recipe, name) != getattr(without, name):
            raise checks.refusal(name, "a lora_rank beside it", "none", "give one, or leave it out")
    return recipe


def _protocol(given: dict[str, Any]) -> Protocol:
    protocol = Protocol(**given)
    for name, allowed in CHOICES.items():
        checks.one_of(name, getattr(protocol, name), allowed)
    checks.whole_number("max_attempts", protocol.max_attempts)
    return protocol


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


def training_bytes(made: Setup) -> float:
    """About how much memory a chain needs to train, its data not counted.

    Parameters, their gradient, two moments and an update; logits and their gradient; and of each
    layer what the backward pass needs.
    """
    config, recipe = made.config, made.recipe
    tokens = recipe.batch_size // recipe.accumulation * made.data.context
    width = 1 if config.dtype == "bfloat16" else 2
    layer = config.width if config.remat else 10 * config.width + 4 * config.mlp_width
    scores = 0 if config.remat else 3 * config.heads * made.data.context
    activations = 2 * width * tokens * config.layers * (layer + scores)
    logits = 12.0 * tokens / recipe.loss_chunks * config.vocab_size
    parameters = np.dtype(np.float32).itemsize if config.param_dtype == "float32" else 2
    return 5.0 * parameters * decoder.num_parameters(config) + logits + activations
