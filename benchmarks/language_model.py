"""Language models against PyTorch, in the same run: training, sampling, and compiling a chain.

    python benchmarks/language_model.py --model tiny-llama

Ours runs one seed with all threads, and one seed a core as ``jaxcollapse run`` does; the latter's
rate is of all seeds together. PyTorch's is the loop that people write, on the same model from the
same weights: eager, AdamW with clipped gradients, then ``multinomial`` with a cache of keys and
values. It runs with all threads and with one; ratios are to the faster.

All train on the same full rows of random tokens, and must have the same losses in the first steps.
All sample from a beginning of sequence to the last token, with an end of sequence that does not
exist, so that the number of tokens is the same; the first, which is given, does not count.

Runs of a row take turns, each is waited for and the median counts; compiling is timed apart.
Writes ``language-model.json`` into ``--out``. On an accelerator nothing is compared: the file is
``language-model-PLATFORM.json``, with the share of the peak that training in bfloat16 reaches
and rates of sampling.
"""

from __future__ import annotations

import os

# PyTorch's threads sleep while they wait: where anything else runs, spinning ones take each other's
# turn, which can make two threads many times slower than one.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import dataclasses
import datetime
import itertools
import json
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytorch_loops
import tyro
from jax.sharding import Mesh, PartitionSpec

import jaxcollapse as jc
from jaxcollapse import machine
from jaxcollapse.bench.language import (
    BOS,
    NO_END,
    flops_per_token,
    random_tokens,
    sampler,
    seeds_params,
    steady_recipe,
    trainer,
)
from jaxcollapse.files import check_output, whole_file
from jaxcollapse.lm import architectures, language_model
from jaxcollapse.lm.decoder.config import Config

SHAPES = ((4, 128), (8, 64), (16, 128))  # rows and tokens of a step
SEQUENCES = (16, 64)
LENGTH = 128  # of a document
CHECKED = 4  # steps whose losses are compared
GENERATIONS = (3, 50)
# On an accelerator.
LARGER = ("gpt2-9m", "llama2-126m")
LARGER_SHAPES = ((32, 512), (64, 512))
SEEDS = (1, 4, 16)

Row = dict[str, Any]


# Time ---------------------------------------------------------------------------------------


def median_seconds(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each after a first run that does not count; they take turns."""
    for run in runs.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(each)) for name, each in seconds.items()}


def compiled(function: Callable[..., Any], *arguments: Any) -> tuple[Callable[[], Any], float]:
    """A run of a compiled function, waited for, and the seconds that compiling took."""
    start = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile()
    seconds = time.perf_counter() - start
    arguments = jax.device_put(arguments, program.input_shardings[0])
    return lambda: jax.block_until_ready(program(*arguments)), seconds


def a_seed_a_core(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of one seed's arguments as one of all seeds', as in ``sweep``."""
    mesh = Mesh(np.asarray(jax.devices()), ("seed",))
    by_seed = PartitionSpec("seed")
    return jax.shard_map(
        lambda *arguments: jax.lax.map(lambda each: function(*each), arguments),
        mesh=mesh,
        in_specs=by_seed,
        out_specs=by_seed,
        check_vma=False,
    )


def rates(tokens: int, seconds: dict[str, float], seeds: int) -> Row:
    """Tokens per second of each run, and ours over the faster of PyTorch's."""
    one = tokens / seconds["ours"]
    per_core = seeds * tokens / seconds["a seed a core"]
    threads, thread = tokens / seconds["pytorch"], tokens / seconds["pytorch, one thread"]
    theirs = max(threads, thread)
    return {
        "tokens_per_second": round(one),
        "seed_a_core_tokens_per_second": round(per_core),
        "pytorch_tokens_per_second": round(threads),
        "pytorch_one_thread_tokens_per_second": round(thread),
        "ratio": round(one / theirs, 2),
        "seed_a_core_ratio": round(per_core / theirs, 2),
    }


# Rows ---------------------------------------------------------------------------------------


def first(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[0], tree)


def training_row(
    model: str, config: Config, rows: int, length: int, steps: int, repeats: int
) -> Row:
    """Tokens per second of training on batches of ``rows`` of ``length``."""
    seeds = jax.device_count()
    recipe = steady_recipe(model, rows)
    params = seeds_params(config, seeds)
    tokens = random_tokens(config, seeds, steps, rows, length)
    train = trainer(config, recipe)
    ours, seconds = compiled(train, first(params), tokens[0])
    per_core, _ = compiled(a_seed_a_core(train), params, tokens)
    theirs = pytorch_loops.train(pytorch_loops.load(config, first(params)), recipe, tokens[0])
    # Of the first steps: rounding grows with each.
    losses = pytorch_loops.on_threads(seeds, theirs)()[:CHECKED]
    for each in (ours(), per_core()[0]):
        np.testing.assert_allclose(
            losses, each[:CHECKED], rtol=0, atol=1e-3, err_msg="losses, PyTorch's and ours"
        )
    runs = {
        "ours": ours,
        "a seed a core": per_core,
        "pytorch": pytorch_loops.on_threads(seeds, theirs),
        "pytorch, one thread": pytorch_loops.on_threads(1, theirs),
    }
    return {
        "what": "training",
        "model": model,
        "rows": rows,
        "tokens": length,
        "compile_seconds": round(seconds, 2),
        **rates(steps * rows * length, median_seconds(runs, repeats), seeds),
    }


def sampling_row(model: str, config: Config, sequences: int, length: int, repeats: int) -> Row:
    """Tokens per second of sampling that many documents at a time."""
    seeds = jax.device_count()
    params, keys = seeds_params(config, seeds), jc.seed_keys(range(seeds))
    write = sampler(config, sequences, length)
    ours, seconds = compiled(write, first(params), keys[0])
    per_core, _ = compiled(a_seed_a_core(write), params, keys)
    theirs = pytorch_loops.sample(
        pytorch_loops.load(config, first(params)), sequences, length, BOS, NO_END
    )
    for tokens in (ours(), per_core()[0], theirs()):
        if tokens.shape != (sequences, length):
            raise AssertionError(f"{tokens.shape} tokens were sampled")
    runs = {
        "ours": ours,
        "a seed a core": per_core,
        "pytorch": pytorch_loops.on_threads(seeds, theirs),
        "pytorch, one thread": pytorch_loops.on_threads(1, theirs),
    }
    return {
        "what": "sampling",
        "model": model,
        "rows": sequences,
        "tokens": length,
        "compile_seconds": round(seconds, 2),
        **rates(sequences * (length - 1), median_seconds(runs, repeats), seeds),
    }


def compile_rows(model: str, num_samples: int = 32) -> list[Row]:
    """Seconds to compile a whole chain, by workflow and number of generations."""
    data = language_model.embedded()
    key = jc.seed_keys([0])[0]

    def seconds(workflow, generations):
        def chain(key, data):
            task = language_model.task(model, num_samples, data)
            return jc.make_chain(task, workflow, generations)(key)

        start = time.perf_counter()
        jax.jit(chain).lower(key, data).compile()
        return time.perf_counter() - start

    seconds("replace", 2)  # the first also pays for what all share
    return [
        {
            "what": "compiling a chain",
            "model": model,
            "workflow": workflow,
            "num_samples": num_samples,
            "generations": generations,
            "compile_seconds": round(seconds(workflow, generations), 2),
        }
        for workflow, generations in itertools.product(("replace", "accumulate"), GENERATIONS)
    ]


# An accelerator -----------------------------------------------------------------------------


def accelerator_rows(
    model: str,
    shapes: Sequence[tuple[int, int]],
    seeds: Sequence[int],
    sequences: int,
    length: int,
    steps: int,
    repeats: int,
    peak_tflops: float,
) -> list[Row]:
    """On one device in bfloat16, weights in float32: training a seed, sampling mapped seeds."""
    config = architectures.config(model, dtype="bfloat16")
    made: list[Row] = []
    for rows, tokens in shapes:
        batches = random_tokens(config, steps, rows, tokens)
        train = trainer(config, steady_recipe(model, rows))
        run, seconds = compiled(train, first(seeds_params(config, 1)), batches)
        rate = batches.size / median_seconds({"ours": run}, repeats)["ours"]
        row = {
            "what": "training in bfloat16",
            "model": model,
            "rows": rows,
            "tokens": tokens,
            "compile_seconds": round(seconds, 2),
            "tokens_per_second": round(rate),
            "share_of_peak": round(rate * flops_per_token(config, tokens) / peak_tflops / 1e12, 4),
        }
        made.append(row)
        print(json.dumps(row), flush=True)
    for count in seeds:
        write = jax.vmap(sampler(config, sequences, length))
        keys = jc.seed_keys(range(count))
        run, seconds = compiled(write, seeds_params(config, count), keys)
        total = count * sequences * (length - 1)
        row = {
            "what": "sampling in bfloat16",
            "model": model,
            "seeds": count,
            "rows": sequences,
            "tokens": length,
            "compile_seconds": round(seconds, 2),
            "tokens_per_second": round(total / median_seconds({"ours": run}, repeats)["ours"]),
        }
        made.append(row)
        print(json.dumps(row), flush=True)
    return made


# All ----------------------------------------------------------------------------------------


def table(rows: list[Row]) -> str:
    """Rows of a kind under names of their columns."""
    lines = []
    for what, group in itertools.groupby(rows, key=lambda row: row["what"]):
        listed = [{k: str(v) for k, v in row.items() if k != "what"} for row in group]
        names = {name: name.replace("tokens_per_second", "tok/s") for name in listed[0]}
        widths = {k: max(len(names[k]), *(len(row[k]) for row in listed)) for k in names}
        lines.append(what)
        for row in (names, *listed):
            lines.append("  " + "  ".join(row[k].rjust(widths[k]) for k in names))
    return "\n".join(lines)


def main(
    model: str = "tiny-llama",
    out: Path = Path("benchmarks/results"),
    steps: int = 20,
    repeats: int = 7,
    peak_tflops: float = 989.0,
    overwrite: bool = False,
) -> None:
    """Benchmarks language models against PyTorch.

    Args:
      model: a name of ``jaxcollapse.lm.architectures.configs()``.
      out: folder for the JSON file.
      steps: of training in a run.
      repeats: runs of which the median counts.
      peak_tflops: of the accelerator in bfloat16; an H100's by default.
      overwrite: replace an existing file.
    """
    machine.use_cores_as_devices(os.cpu_count() or 1)
    jax.config.update("jax_enable_compilation_cache", False)
    # Newer transformers call it ``cache``, older ones do not know that name.
    warnings.filterwarnings("ignore", "`past_key_values` is deprecated", FutureWarning)
    backend = jax.default_backend()
    name = "language-model.json" if backend == "cpu" else f"language-model-{backend}.json"
    check_output(out / name, (".json",), overwrite)
    config = dataclasses.replace(architectures.config(model), dtype="float32")
    rows: list[Row] = []

    def add(row):
        rows.append(row)
        print(json.dumps(row), flush=True)

    if backend == "cpu":
        for shape in SHAPES:
            add(training_row(model, config, *shape, steps, repeats))
        for sequences in SEQUENCES:
            add(sampling_row(model, config, sequences, LENGTH, repeats))
    else:
        print("PyTorch: skipped, it is compared on a CPU")
    for row in compile_rows(model):
        add(row)
    if backend == "cpu":
        print("training and sampling in bfloat16: skipped, they need an accelerator")
    else:
        for larger in LARGER:
            rows += accelerator_rows(
                larger, LARGER_SHAPES, SEEDS, 64, 512, steps, repeats, peak_tflops
            )
    facts = {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **machine.describe(),
        "torch_version": machine.version("torch"),
        "transformers_version": machine.version("transformers"),
        "threads": jax.local_device_count("cpu"),
        "omp_wait_policy": os.environ["OMP_WAIT_POLICY"],
        "steps": steps,
        "repeats": repeats,
        "peak_tflops": peak_tflops,
        "rows": rows,
    }
    with whole_file(out / name) as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    tyro.cli(main)
