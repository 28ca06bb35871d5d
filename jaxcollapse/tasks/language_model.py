"""Language models: trained from fresh weights on text, sampled, and trained again.

A batch is N documents, ``Batch``; a model trains on those in its view, packed in rows, and
publishes as many documents as there were real ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks
from jaxcollapse.chain import Task
from jaxcollapse.datasets.text_arrays import TextData, embedded, text_data
from jaxcollapse.metrics import Metric
from jaxcollapse.models import configs, decoder, diversity, packing, sampling, training
from jaxcollapse.pools import points_pool
from jaxcollapse.tasks.family import TaskFamily

__all__ = ["FAMILY", "TextData", "embedded", "fit", "sample", "task", "text_data"]

# Parameters ---------------------------------------------------------------------------------


class Batch(NamedTuple):
    """Documents in rows of their own.

    Attributes:
      tokens: int32 ``[N, C]``: beginning of sequence, text, end of sequence; then anything.
      lengths: int32 ``[N]``, how many tokens count.
    """

    tokens: jax.Array
    lengths: jax.Array


class Setup(NamedTuple):
    """All that decides a language model's chain but its key: what ``task`` and a host driver use.

    Attributes:
      config: of the decoder.
      recipe: of the training.
      settings: how documents are sampled.
      data: real text.
      num_samples: N, documents of each generation.
      slots: documents written at a time.
    """

    config: decoder.Config
    recipe: training.Recipe
    settings: sampling.Settings
    data: TextData
    num_samples: int
    slots: int

    def describe(self) -> dict[str, Any]:
        """All that decides a chain's numbers but its key, defaults included, as JSON can hold it.

        Not the slots: which documents are written beside which does not matter.
        """
        return {
            "config": dataclasses.asdict(self.config),
            "recipe": dataclasses.asdict(self.recipe),
            "sampling": self.settings._asdict(),
            "data": self.data.describe(),
            "num_samples": self.num_samples,
        }

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


def setup(
    model: str | decoder.Config = "tiny-llama",
    num_samples: int | None = None,
    data: TextData | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    slots: int = 64,
    dtype: str = "float32",
    remat: bool = False,
    pool: str = "auto",
    **recipe: Any,
) -> Setup:
    """Checks the parameters of ``task``; see there."""
    checks.one_of("pool", pool, ("auto", "points"))
    known = [field.name for field in dataclasses.fields(training.Recipe)]
    for name in recipe:
        checks.one_of("option of language-model", name, (*OPTIONS, *known))
    data = embedded() if data is None else data
    config = configs.as_config(model)
    if isinstance(model, str):
        recipe = {**configs.recipe(model), **recipe}
    config = dataclasses.replace(
        config,
        vocab_size=data.vocab_size,
        context=max(config.context, data.context),
        dtype=dtype,
        remat=remat,
    )
    num_samples = data.available if num_samples is None else num_samples
    num_samples = checks.whole_number("num_samples", num_samples)
    if num_samples > data.available:
        raise checks.refuse(
            "num_samples",
            f"at most the {data.available} documents that there are to train on",
            num_samples,
            "lower it or give more text",
        )
    checks.whole_number("slots", slots)
    settings = sampling.check_settings(
        sampling.Settings(temperature, top_k, top_p), data.vocab_size
    )
    return Setup(config, training.Recipe(**recipe), settings, data, num_samples, slots)


OPTIONS = ("data", "temperature", "top_k", "top_p", "slots", "dtype", "remat", "pool")


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
    return 20.0 * decoder.num_parameters(config) + 12.0 * tokens * config.vocab_size + activations


def real_documents(key: jax.Array, data: TextData, num_samples: int) -> jax.Array:
    """Which documents a seed's real batch is: N of A without replacement, int32 ``[N]``."""
    available = data.available
    return packing.shuffled(key, available, jnp.ones(available, bool))[:num_samples]


def gather(data: TextData, chosen: jax.Array) -> Batch:
    """The documents of some numbers ``[N]``, cut at the context."""
    first = jnp.asarray(data.offsets)[chosen]
    lengths = jnp.minimum(jnp.asarray(data.offsets)[chosen + 1] - first, data.context)
    column = jnp.arange(data.context, dtype=np.int32)[None]
    tokens = jnp.asarray(data.tokens).at[first[:, None] + column].get(mode="clip")
    return Batch(jnp.where(column < lengths[:, None], tokens, 0), lengths)


# Sample -------------------------------------------------------------------------------------


def sample(key: jax.Array, params: decoder.Params, made: Setup) -> Batch:
    """N documents of a model, each with chances of its own."""
    return Batch(*made.sampler.documents(params, key))


# Fit ----------------------------------------------------------------------------------------


def fit_keys(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Keys of a fit: for fresh weights, for the order of documents, for the order of rows."""
    first, second, third = jax.random.split(key, 3)
    return first, second, third


def steps_of(made: Setup, rows: Any) -> tuple[Any, Any]:
    """Steps of an epoch, and of the whole training; both may be traced.

    Matched compute gives every generation the steps that N real documents need on average.

    Args:
      made: all that decides a chain.
      rows: int32, packed rows in use.
    """
    recipe, data = made.recipe, made.data
    epoch = -(-rows // recipe.batch_size)
    if recipe.steps is not None:
        return epoch, jnp.int32(recipe.steps)
    if recipe.matched_compute:
        rows = -(-data.train_rows * made.num_samples // data.available)
    return epoch, jnp.asarray(recipe.epochs * -(-rows // recipe.batch_size), np.int32)


def fit(key: jax.Array, documents: Batch, mask: jax.Array, made: Setup) -> decoder.Params:
    """A model with fresh weights, trained on those documents whose mask is True.

    The documents are packed once, in random order; each epoch visits the rows in an order of its
    own. The last batch of an epoch may have empty rows.
    """
    config, recipe = made.config, made.recipe
    init_key, document_key, row_key = fit_keys(key)
    count = mask.shape[0]
    order = packing.shuffled(document_key, count, mask)
    lengths = jnp.where(mask, documents.lengths, 0)[order]
    rows, used = packing.pack(documents.tokens[order], lengths, made.data.context)
    epoch_steps, total = steps_of(made, used)
    size = recipe.batch_size

    def epoch(number, state):
        order = row_order(row_key, number, count, used)
        # Beyond the last row are empty ones.
        order = jnp.pad(order, (0, size), constant_values=count)

        def step(index, state):
            chosen = jax.lax.dynamic_slice_in_dim(order, index * size, size)
            batch = jax.tree.map(lambda x: x.at[chosen].get(mode="fill", fill_value=0), rows)
            return training.train_step(config, recipe, state, batch, total)

        left = total - number * epoch_steps
        return jax.lax.fori_loop(0, jnp.minimum(epoch_steps, left), step, state)

    epochs = -(-total // epoch_steps)
    start = training.start(config, recipe, decoder.init(config, init_key))
    return jax.lax.fori_loop(0, epochs, epoch, start).params


def row_order(key: jax.Array, epoch: Any, count: int, used: Any) -> jax.Array:
    """The order of an epoch's rows, int32 ``[count]``; those beyond ``used`` come last."""
    key = jax.random.fold_in(key, epoch)
    return packing.shuffled(key, count, jnp.arange(count, dtype=np.int32) < used)


# Evaluate -----------------------------------------------------------------------------------


def evaluate(data: TextData, params: decoder.Params, made: Setup) -> dict[str, jax.Array]:
    """How well a model knows real text.

    Returns:
      ``nll``: cross-entropy on held-out documents, nats per token.
      ``excess_nll``: how far it is above that of the law that made them, where this is known: an
        estimate of the Kullback-Leibler divergence per token.
    """
    nll = training.evaluate(made.config, params, data.test, made.recipe.batch_size)
    if not data.has_reference:
        return {"nll": nll}
    return {"nll": nll, "excess_nll": nll - jnp.asarray(data.reference)}


def describe(documents: Batch) -> dict[str, jax.Array]:
    """How diverse the published documents are; see ``models.diversity``."""
    tokens, lengths = documents
    return {
        "distinct_2": diversity.distinct(tokens, lengths, 2),
        "distinct_3": diversity.distinct(tokens, lengths, 3),
        "repetition": diversity.repetition(tokens, lengths, 4),
        "mean_length": jnp.mean((lengths - 1).astype(np.float32)),
    }


METRICS = {
    "nll": Metric("Cross-entropy on real held-out text", "nats/token"),
    "excess_nll": Metric("Cross-entropy in excess of the text's own", "nats/token"),
    "distinct_2": Metric("Distinct pairs of tokens, share of all", "1"),
    "distinct_3": Metric("Distinct triples of tokens, share of all", "1"),
    "repetition": Metric("Runs of 4 tokens that repeat one of their document", "1"),
    "mean_length": Metric("Tokens of a document", "tokens"),
}


# Task ---------------------------------------------------------------------------------------


def task(
    model: str | decoder.Config = "tiny-llama",
    num_samples: int | None = None,
    data: TextData | None = None,
    **options: Any,
) -> Task:
    """A decoder trained from fresh weights on N documents.

    Args:
      model: a name of ``models.configs``, or a ``Config``; the vocabulary is the data's, and so is
        the context where the data's is longer.
      num_samples: N, documents of each generation; by default all that there are to train on. Of
        more, each seed draws its own.
      data: from ``text_data``; the embedded stories by default.
      **options: ``temperature`` (1), ``top_k`` and ``top_p`` (none) of sampling, and ``slots``
        (64), documents written at a time; ``dtype`` of activations (``float32`` or ``bfloat16``);
        ``remat`` (False), to save memory in training; and the fields of ``training.Recipe``, by
        default those of ``configs.recipe``: ``learning_rate``, ``schedule``, ``warmup``,
        ``batch_size``, ``accumulation``, ``epochs``, ``steps``, ``matched_compute``,
        ``weight_decay``, ``clip``, ``beta1``, ``beta2``, ``eps``.

    Raises:
      ValueError: an unknown name, more documents than there are, or an option out of its range.
    """
    made = setup(model, num_samples, data, **options)
    data = made.data

    def init(key):
        return data, gather(data, real_documents(key, data, made.num_samples))

    return Task(
        init=init,
        pool=lambda truth, capacity: points_pool(capacity),
        fit=lambda key, view: fit(key, view.data, view.mask, made),
        noise=lambda key: key,
        sample=lambda key, params: sample(key, params, made),
        evaluate=lambda truth, params: evaluate(truth, params, made),
        describe=describe,
    )


def _traced(workflow: Any, point: Mapping, options: Mapping) -> dict[str, Any]:
    # Text is given to a program, not written into it.
    data = options.get("data")
    return {"data": embedded() if data is None else data}


def _computed(options: Mapping) -> list[str]:
    data = options.get("data")
    known = data is None or data.has_reference
    return [name for name in METRICS if known or name != "excess_nll"]


FAMILY = TaskFamily(
    name="language-model",
    make=task,
    axes=("model", "num_samples"),
    metrics=METRICS,
    work=lambda model, num_samples: (
        float(num_samples) * decoder.num_parameters(configs.as_config(model))
    ),
    traced=_traced,
    presets={"corrected": {}, "authors": {}},
    computed=_computed,
    details=lambda point, options: setup(**point, **options).describe(),
    fit_bytes=lambda point, options: training_bytes(setup(**point, **options)),
    sequential_on=("cpu",),
)
