"""Gemma 2 with random weights on one accelerator: training, sampling, and what they hold.

    python benchmarks/gemma_device.py
    python benchmarks/gemma_device.py --quick        # a tiny decoder, on whatever there is

Activations are bfloat16, and so are parameters unless the row says float32. Training is timed over
``steps`` steps, which go on from one another on full rows of random tokens; sampling from a
beginning of sequence to the last token. Each is waited for; compiling is timed apart. ``peak_gib``
is the most that the device has held so far, so that a row's own is known where it is the largest
yet. Writes ``gemma-device-PLATFORM.json`` into ``--out``.
"""

from __future__ import annotations

import datetime
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from jaxcollapse import machine
from jaxcollapse.bench.language import flops_per_token, random_tokens, sampler
from jaxcollapse.files import check_output, whole_file
from jaxcollapse.lm import architectures
from jaxcollapse.lm.decoder import decoder, training
from jaxcollapse.lm.decoder.packing import Rows

CHUNKS, RANK = 16, 16
Row = dict[str, Any]


def peak_gib() -> float | None:
    """The most the device has held, GiB; None where it does not tell."""
    stats = jax.devices()[0].memory_stats()
    return round(stats["peak_bytes_in_use"] / 2**30, 2) if stats else None


def random_weights(config: Any) -> Any:
    return jax.block_until_ready(jax.jit(partial(decoder.init, config))(jax.random.key(0)))


def training_row(
    model: str,
    param_dtype: str,
    rank: int | None,
    rows: int,
    length: int,
    steps: int,
    peak_tflops: float,
) -> Row:
    """Tokens per second of training, and the share of the peak that they need."""
    config = architectures.config(model, dtype="bfloat16", param_dtype=param_dtype, remat=True)
    recipe = training.Recipe(
        learning_rate=8e-6,
        schedule="constant",
        batch_size=rows,
        loss_chunks=CHUNKS,
        lora_rank=rank,
    )
    # Initialised inside one program, so that no second copy of the weights is alive beside it.
    base = None if rank is None else random_weights(config)

    def fresh(key, base):
        params = decoder.init(config, key) if base is None else base
        return training.start(config, recipe, params, key)

    def step(state, batch, base):
        return training.train_step(config, recipe, state, batch, jnp.int32(steps + 1), base)

    state = jax.jit(fresh)(jax.random.key(0), base)
    tokens = jnp.asarray(random_tokens(config, rows, length))
    batch = Rows(tokens, jnp.ones_like(tokens))
    start = time.perf_counter()
    program = jax.jit(step, donate_argnums=0).lower(state, batch, base).compile()
    compile_seconds = time.perf_counter() - start
    state = jax.block_until_ready(program(state, batch, base))
    start = time.perf_counter()
    for _ in range(steps):
        state = program(state, batch, base)
    loss = float(state.loss)
    seconds = time.perf_counter() - start
    if not np.isfinite(loss):
        raise AssertionError(f"the loss is {loss}")
    rate = steps * rows * length / seconds
    row = {
        "what": "training",
        "model": model,
        "param_dtype": param_dtype,
        "lora_rank": rank,
        "rows": rows,
        "tokens": length,
        "compile_seconds": round(compile_seconds, 2),
        "tokens_per_second": round(rate),
    }
    if rank is None:  # adapters need fewer products, which the formula does not know
        flops = flops_per_token(config, length)
        row["share_of_peak"] = round(rate * flops / peak_tflops / 1e12, 4)
    return {**row, "peak_gib": peak_gib()}


def sampling_row(model: str, sequences: int, length: int) -> Row:
    """Tokens per second of sampling that many documents at a time."""
    config = architectures.config(model, dtype="bfloat16", param_dtype="bfloat16")
    params, key = random_weights(config), jax.random.key(1)
    write = jax.jit(sampler(config, sequences, length))
    start = time.perf_counter()
    program = write.lower(params, key).compile()
    compile_seconds = time.perf_counter() - start
    jax.block_until_ready(program(params, key))
    start = time.perf_counter()
    jax.block_until_ready(program(params, key))
    seconds = time.perf_counter() - start
    return {
        "what": "sampling",
        "model": model,
        "param_dtype": "bfloat16",
        "rows": sequences,
        "tokens": length,
        "compile_seconds": round(compile_seconds, 2),
        "tokens_per_second": round(sequences * (length - 1) / seconds),
        "peak_gib": peak_gib(),
    }


def main(
    model: str = "gemma2-2b",
    out: Path = Path("benchmarks/results"),
    rows: int = 8,
    length: int = 512,
    steps: int = 10,
    sequences: tuple[int, ...] = (16, 64),
    peak_tflops: float = 989.0,
    quick: bool = False,
    overwrite: bool = False,
) -> None:
    """Measures Gemma 2 on one accelerator.

    Args:
      model: a name of ``jaxcollapse.lm.architectures.configs()``.
      out: folder for the JSON file.
      rows: of a step.
      length: tokens of a row and of a document.
      steps: of training that are timed.
      sequences: written at a time, a row each.
      peak_tflops: of the accelerator in bfloat16; an H100's by default.
      quick: a tiny decoder instead, on short rows, to see that it runs.
      overwrite: replace an existing file.
    """
    backend = jax.default_backend()
    path = out / f"gemma-device-{backend}.json"
    check_output(path, (".json",), overwrite)
    if quick:
        model, length, steps, sequences = "tiny-gemma2", 64, 2, (4,)
    elif backend == "cpu":
        raise SystemExit("this needs an accelerator; --quick runs a tiny decoder on a CPU")
    jax.config.update("jax_enable_compilation_cache", False)
    made: list[Row] = []

    def add(row):
        made.append(row)
        print(json.dumps(row), flush=True)

    # From the least memory to the most, so that each peak is its row's own.
    for count in sequences:
        add(sampling_row(model, count, length))
    for param_dtype, rank in (("bfloat16", RANK), ("bfloat16", None), ("float32", None)):
        add(training_row(model, param_dtype, rank, rows, length, steps, peak_tflops))
    facts = {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **machine.describe(),
        "steps": steps,
        "peak_tflops": peak_tflops,
        "rows": made,
    }
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
