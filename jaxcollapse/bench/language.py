"""Language models: tokens a second of training and of sampling, and what share of a peak they are.

Training is of full rows of random tokens; sampling from a beginning of sequence to the last token,
with an end of sequence that does not exist, so that the number of tokens is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse.bench.ceilings import Ceiling
from jaxcollapse.bench.chains import told
from jaxcollapse.bench.stages import median, staged, steady
from jaxcollapse.keys import seed_keys
from jaxcollapse.lm import architectures
from jaxcollapse.lm.decoder import decoder, sampling, training
from jaxcollapse.lm.decoder.config import Config
from jaxcollapse.lm.decoder.packing import Rows

BOS, NO_END = 0, -1
SEEDS = (1, 4)
Row = dict[str, Any]


class Sizes(NamedTuple):
    """What is trained and sampled.

    Attributes:
      model: a name of ``architectures.configs()``.
      dtype: of activations; parameters are float32.
      rows: of a step of training.
      length: tokens of a row, and of a document.
      steps: of training in a run.
      documents: that are written at a time.
    """

    model: str
    dtype: str
    rows: int
    length: int
    steps: int
    documents: int


ON_CPU = (Sizes("tiny-llama", "float32", 4, 128, 10, 16),)
ON_ACCELERATOR = (
    Sizes("gpt2-9m", "bfloat16", 32, 512, 10, 64),
    Sizes("llama2-126m", "bfloat16", 32, 512, 10, 64),
)


def trainer(config: Config, recipe: training.Recipe) -> Callable[..., jax.Array]:
    """``train(params, tokens [K, B, T]) -> losses [K]``, K steps of AdamW on full rows."""

    def train(params, tokens):
        steps = jnp.int32(tokens.shape[0])

        def step(state, batch):
            rows = Rows(batch, jnp.ones_like(batch))
            state = training.train_step(config, recipe, state, rows, steps)
            return state, state.loss

        return jax.lax.scan(step, training.start(config, recipe, params), tokens)[1]

    return train


def steady_recipe(model: str, rows: int) -> training.Recipe:
    """The model's recipe with a learning rate that stays."""
    return training.Recipe(
        **{**architectures.recipe(model), "batch_size": rows, "schedule": "constant", "warmup": 0.0}
    )


def random_tokens(config: Config, *shape: int) -> np.ndarray:
    """Tokens of the vocabulary, int32 of ``shape``."""
    return np.random.default_rng(0).integers(config.vocab_size, size=shape, dtype=np.int32)


def seeds_params(config: Config, seeds: int) -> decoder.Params:
    """Fresh weights of seeds 0, 1, ..., a first axis of them."""
    return jax.jit(jax.vmap(lambda key: decoder.init(config, key)))(seed_keys(range(seeds)))


def sampler(config: Config, sequences: int, length: int) -> Callable[..., jax.Array]:
    """``documents(params, key) -> tokens [N, T]``, all written at a time, and to the last token."""
    write = sampling.sampler(config, sequences, length, [BOS], [NO_END], sequences)
    return lambda params, key: write.documents(params, key)[0]


def flops_per_token(config: Config, length: int) -> float:
    """Of training: 6 for each parameter that multiplies, 12 L H D T of attention.

    Looked-up embeddings multiply nothing; attention counts all pairs, as it is computed.
    Chowdhery et al. 2022 (PaLM), appendix B.
    """
    looked_up = 0 if config.tied else config.vocab_size * config.width
    if config.rope_base is None:
        looked_up += config.context * config.width
    multiplied = decoder.num_parameters(config) - looked_up
    return 6.0 * multiplied + 12.0 * config.layers * config.heads * config.head_dim * length


def planned(quick: bool = False) -> Iterator[tuple[str, Callable[[Sequence[Ceiling]], Row]]]:
    """What is measured, in words, and a function of the device's ceilings that measures it."""
    known: Sequence[Sizes] = ON_CPU if jax.default_backend() == "cpu" else ON_ACCELERATOR
    cases = [(sizes, seeds) for sizes in known for seeds in SEEDS]
    for sizes, seeds in cases[:1] if quick else cases:
        for what in ("training", "sampling"):
            yield f"{what} {sizes.model}, seeds: {seeds}", partial(_row, what, sizes, seeds)


def _row(what: str, sizes: Sizes, seeds: int, ceilings: Sequence[Ceiling]) -> Row:
    model, dtype, rows, length, steps, documents = sizes
    row: Row = {"what": what, "model": model, "dtype": dtype, "seeds": seeds, "tokens": length}
    try:
        config = architectures.config(model, dtype=dtype)
        if what == "training":
            row |= {"rows": rows, "steps": steps}
            row |= _training(config, steady_recipe(model, rows), (seeds, steps, rows, length))
            # The peak is of products of this type as JAX computes them unless it is told otherwise.
            kind = "bfloat16" if dtype == "bfloat16" else "float32 default"
            peaks = [c.value for c in ceilings if c.kind == f"product {kind}"]
            flops = row["tokens_per_second"] * flops_per_token(config, length)
            row["share_of_peak"] = flops / peaks[0] if peaks else None
        else:
            row |= {"rows": documents, **_sampling(config, seeds, documents, length)}
    except Exception as error:  # one that is too large must not hide the others
        row["error"] = told(error)
    return row


def _training(config: Config, recipe: training.Recipe, shape: tuple[int, ...]) -> Row:
    tokens = random_tokens(config, *shape)
    given = seeds_params(config, shape[0]), tokens
    made = staged(jax.vmap(trainer(config, recipe)), *given)
    losses = made.program(*given)
    if not np.isfinite(losses).all():
        raise ArithmeticError(f"the last loss is {float(losses.ravel()[-1])}")
    return _rates(made, given, math.prod(shape))


def _sampling(config: Config, seeds: int, documents: int, length: int) -> Row:
    given = seeds_params(config, seeds), seed_keys(range(seeds))
    made = staged(jax.vmap(sampler(config, documents, length)), *given)
    # The first token is given.
    return _rates(made, given, seeds * documents * (length - 1))


def _rates(made: Any, given: Any, tokens: int) -> Row:
    seconds = median(steady(lambda: made.program(*given), repeats=5))
    return {
        **{f"{stage}_seconds": s for stage, s in made.seconds.items()},
        "run_seconds": seconds,
        "tokens_per_second": tokens / seconds,
    }
