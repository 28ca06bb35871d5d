"""Language models: trained on text from fresh weights or from a base, sampled, trained again.

A batch is N documents, ``Batch``; a model trains on those in its view, packed in rows, and
publishes as many documents as there were real ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxcollapse import checks, draws
from jaxcollapse.families import MixtureFacts, TaskFamily
from jaxcollapse.keys import seed_key
from jaxcollapse.lm import architectures, diversity
from jaxcollapse.lm.arrays import TextData, embedded, text_data
from jaxcollapse.lm.decoder import decoder, packing, training
from jaxcollapse.lm.setup import Setup, checked_setup, training_bytes
from jaxcollapse.metrics import Metric
from jaxcollapse.parameters import Axis, also, declared
from jaxcollapse.pools import points_pool
from jaxcollapse.task import Task

__all__ = ["FAMILY", "TextData", "embedded", "evaluate", "fit", "sample", "task", "text_data"]

# Documents ----------------------------------------------------------------------------------


class Batch(NamedTuple):
    """Documents in rows of their own.

    Attributes:
      tokens: int32 ``[N, C]``: beginning of sequence, text, end of sequence; then anything.
      lengths: int32 ``[N]``, how many tokens count.
    """

    tokens: jax.Array
    lengths: jax.Array


def real_documents(key: jax.Array, setup: Setup) -> jax.Array:
    """Which documents a seed's real batch is: N of A without replacement, int32 ``[N]``."""
    available = setup.data.available
    chosen = packing.shuffled(key, available, jnp.ones(available, bool))[: setup.num_samples]
    # In an order of no seed, if the order is to be shared.
    return jnp.sort(chosen) if setup.protocol.data_order == "shared" else chosen


def gather(data: TextData, chosen: jax.Array) -> Batch:
    """The documents of some numbers ``[N]``, cut at the context."""
    first = jnp.asarray(data.offsets)[chosen]
    lengths = jnp.minimum(jnp.asarray(data.offsets)[chosen + 1] - first, data.context)
    column = jnp.arange(data.context, dtype=np.int32)[None]
    tokens = jnp.asarray(data.tokens).at[first[:, None] + column].get(mode="clip")
    return Batch(jnp.where(column < lengths[:, None], tokens, 0), lengths)


# Sample -------------------------------------------------------------------------------------


def sample(key: jax.Array, params: decoder.Params, setup: Setup) -> Batch:
    """N documents of a model, each with chances of its own.

    Raises:
      ValueError: samples are to be filtered, which needs their text.
    """
    if setup.protocol.format != "text":
        raise checks.refusal(
            "format",
            "'text' in a compiled chain",
            repr(setup.protocol.format),
            "use jaxcollapse.lm.host",
        )
    return Batch(*setup.sampler.documents(params, key))


# Fit ----------------------------------------------------------------------------------------


def fit_keys(key: jax.Array, setup: Setup) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Keys of a fit: for fresh weights, for the order of documents, for the order of rows."""
    first, second, third = jax.random.split(key, 3)
    if setup.protocol.data_order == "shared":
        _, second, third = jax.random.split(seed_key(0), 3)
    return first, second, third


def steps_of(setup: Setup, rows: Any) -> tuple[Any, Any]:
    """Steps of an epoch, and of the whole training; both may be traced.

    Matched compute gives every generation the steps that N real documents need on average.

    Args:
      setup: all that decides a chain.
      rows: int32, packed rows in use.
    """
    recipe = setup.recipe
    epoch = -(-rows // recipe.batch_size)
    if recipe.steps is not None:
        return epoch, jnp.int32(recipe.steps)
    if recipe.matched_compute:
        rows = math.ceil(setup.real_rows)
    return epoch, jnp.asarray(recipe.epochs * -(-rows // recipe.batch_size), np.int32)


def fit(key: jax.Array, documents: Batch, mask: jax.Array, setup: Setup) -> decoder.Params:
    """A model trained on those documents whose mask is True.

    The documents are placed in rows once, in random order; each epoch visits the rows in an order
    of its own. The last batch of an epoch may have empty rows.
    """
    config, recipe = setup.config, setup.recipe
    if setup.data.loss_on != "all":
        raise checks.refusal(
            "loss_on",
            "'all' in a compiled chain",
            repr(setup.data.loss_on),
            "use jaxcollapse.lm.host",
        )
    init_key, document_key, row_key = fit_keys(key, setup)
    base, state = start(init_key, setup)
    state = draws.varying_as(state, (key, documents))
    count = mask.shape[0]
    order = packing.shuffled(document_key, count, mask)
    lengths = jnp.where(mask, documents.lengths, 0)[order]
    if setup.protocol.rows == "packed":
        rows, used = packing.pack(documents.tokens[order], lengths, setup.data.context)
    else:
        rows, used = packing.single(documents.tokens[order], lengths)
    epoch_steps, total = steps_of(setup, used)
    size = recipe.batch_size

    def epoch(number, state):
        order = row_order(row_key, number, count, used)
        # Beyond the last row are empty ones.
        order = jnp.pad(order, (0, size), constant_values=count)

        def step(index, state):
            chosen = jax.lax.dynamic_slice_in_dim(order, index * size, size)
            batch = jax.tree.map(lambda x: x.at[chosen].get(mode="fill", fill_value=0), rows)
            return training.train_step(config, recipe, state, batch, total, base)

        left = total - number * epoch_steps
        return jax.lax.fori_loop(0, jnp.minimum(epoch_steps, left), step, state)

    epochs = -(-total // epoch_steps)
    return training.finished(config, recipe, jax.lax.fori_loop(0, epochs, epoch, state), base)


def start(key: jax.Array, setup: Setup) -> tuple[decoder.Params | None, training.State]:
    """What is frozen in training, None if nothing is, and the state before the first step."""
    config, recipe = setup.config, setup.recipe
    if setup.base is None:
        return None, training.start(config, recipe, decoder.init(config, key))
    dtype = jnp.dtype(config.param_dtype)
    params = jax.tree.map(lambda x: jnp.asarray(x, dtype), setup.base.params)
    frozen = None if recipe.lora_rank is None else params
    return frozen, training.start(config, recipe, params, key)


def row_order(key: jax.Array, epoch: Any, count: int, used: Any) -> jax.Array:
    """The order of an epoch's rows, int32 ``[count]``; those beyond ``used`` come last."""
    key = jax.random.fold_in(key, epoch)
    return packing.shuffled(key, count, jnp.arange(count, dtype=np.int32) < used)


# Evaluate -----------------------------------------------------------------------------------


def evaluate(
    data: TextData, params: decoder.Params, setup: Setup, mesh: Mesh | None = None
) -> dict[str, jax.Array]:
    """How well a model knows real text; ``mesh`` is what it is sharded over, if it is.

    Returns:
      ``nll``: cross-entropy on held-out documents, nats per token.
      ``excess_nll``: how far it is above that of the law that made them, where this is known: an
        estimate of the Kullback-Leibler divergence per token.
    """
    recipe = setup.recipe
    rows = recipe.batch_size // recipe.accumulation  # as many at a time as in training
    nll = training.evaluate(setup.config, params, data.test, rows, recipe.loss_chunks, mesh)
    if not data.has_reference:
        return {"nll": nll}
    return {"nll": nll, "excess_nll": nll - jnp.asarray(data.reference)}


def self_perplexity(
    documents: Batch, params: decoder.Params, setup: Setup, mesh: Mesh | None = None
) -> jax.Array:
    """A model's perplexity on what it publishes, ``exp`` of its cross-entropy there.

    It is the exponential of the model's own entropy a token, estimated from its samples, where
    these are drawn at temperature 1 and not filtered. It falls as a model becomes sure of what it
    says, and says nothing of whether that is real: read it beside ``nll``.
    """
    recipe = setup.recipe
    rows, _ = packing.single(documents.tokens, documents.lengths)
    size = recipe.batch_size // recipe.accumulation
    return jnp.exp(training.evaluate(setup.config, params, rows, size, recipe.loss_chunks, mesh))


def describe(documents: Batch) -> dict[str, jax.Array]:
    """How diverse the published documents are; see ``diversity``."""
    tokens, lengths = documents
    return {
        "distinct_2": diversity.distinct(tokens, lengths, 2),
        "distinct_3": diversity.distinct(tokens, lengths, 3),
        "repetition": diversity.repetition(tokens, lengths, 4),
        "distinct_words": diversity.distinct_tokens(tokens, lengths),
        "zipf_exponent": diversity.zipf_exponent(tokens, lengths),
        "mean_length": jnp.mean((lengths - 1).astype(np.float32)),
    }


METRICS = {
    "nll": Metric("Cross-entropy on real held-out text", "nats/token", speaks_for=("loss",)),
    "excess_nll": Metric(
        "Cross-entropy in excess of the text's own",
        "nats/token",
        speaks_for=("loss", "law"),
        real=0.0,
    ),
    "distinct_2": Metric("Distinct pairs of tokens, share of all", "1", speaks_for=("diversity",)),
    "distinct_3": Metric(
        "Distinct triples of tokens, share of all", "1", speaks_for=("diversity",)
    ),
    "repetition": Metric("Runs of 4 tokens that repeat one of their document", "1"),
    "distinct_words": Metric("Distinct tokens, of what is published", "tokens"),
    "zipf_exponent": Metric("Exponent of Zipf's law of the tokens", "1"),
    "mean_length": Metric("Tokens of a document", "tokens"),
    "self_perplexity": Metric("Perplexity of a model on what it publishes", "1"),
}
JUDGED = ("nll", "excess_nll", "self_perplexity")  # by the model; the others by what it publishes
DESCRIBED = [name for name in METRICS if name not in JUDGED]


# Task ---------------------------------------------------------------------------------------


@declared
@also(checked_setup)
def task(
    model: Annotated[str | decoder.Config, Axis("tiny-llama")] = "tiny-llama",
    num_samples: Annotated[int | None, Axis(700, symbol="N", least=1, batch=True)] = None,
    data: TextData | None = None,
    **options: Any,
) -> Task:
    """Decoders: trained on documents from fresh weights or from a base, sampled, trained again.

    Args:
      model: The decoder is named, or a ``Config``; the vocabulary is the
        data's, and so is the context where the data's is longer.
      num_samples: N, the number of documents of each generation; by default all that there are to
        train on. Of more, each seed draws its own.
      data: The real text, from ``text_data``; the embedded stories by default.
      **options: those of ``checked_setup``: ``base``, ``slots``, and the fields of
        ``sampling.Settings``, ``Precision``, ``Protocol`` and ``training.Recipe``.

    Raises:
      ValueError: an unknown name, more documents than there are, or an option out of its range.
    """
    setup = checked_setup(model, num_samples, data, **options)

    def real(key, data):
        return gather(data, real_documents(key, setup))

    def pool(truth, workflow, generations):
        if workflow.share is not None or workflow.weight is not None:
            raise checks.refusal(
                "workflow of language models",
                "one of whole documents",
                workflow.name,
                "leave share and weight out; draw and sizes are of whole ones",
            )
        return points_pool(workflow, generations)

    def judged(truth, params):
        return evaluate(truth, params, setup)

    def judged_by_its_own(truth, params, published):
        own = self_perplexity(published, params, setup)
        return {**judged(truth, params), "self_perplexity": own}

    return Task(
        init=lambda key: (setup.data, real(key, setup.data)),
        pool=pool,
        fit=lambda key, view: fit(key, view.data, view.mask, setup),
        sample=lambda key, params: sample(key, params, setup),
        evaluate=judged_by_its_own if setup.self_perplexity else judged,
        real=real,
        describe=describe,
    )


def _traced(workflow: Any, point: Mapping, options: Mapping) -> dict[str, Any]:
    # Text and weights are given to a program, not written into it.
    data = options.get("data")
    traced: dict[str, Any] = {"data": embedded() if data is None else data}
    if options.get("base") is not None:
        traced["base"] = options["base"]
    return traced


def _metrics_under(options: Mapping) -> list[str]:
    data = options.get("data")
    absent = set()
    if data is not None and not data.has_reference:
        absent.add("excess_nll")
    if not options.get("self_perplexity"):
        absent.add("self_perplexity")
    return [name for name in METRICS if name not in absent]


MIXTURES = MixtureFacts(
    loss="excess_nll",
    metrics=("nll", "excess_nll"),
    real=(44, 175, 700),
    synthetic=(0, 175, 700, 1400),
    seeds="4",
)
USUAL = {"generations": 5, "seeds": "3"}
FAMILY = TaskFamily(
    name="language-model",
    task=task,
    metrics=METRICS,
    relative_cost=lambda model, num_samples: (
        float(num_samples) * decoder.num_parameters(architectures.as_config(model))
    ),
    traced=_traced,
    presets={"corrected": {}, "authors": {}},
    metrics_under=_metrics_under,
    resolved=lambda point, options: checked_setup(**point, **options).describe(),
    fit_bytes=lambda point, options: training_bytes(checked_setup(**point, **options)),
    sequential_on=("cpu",),
    mixtures=MIXTURES,
    usual=USUAL,
)
