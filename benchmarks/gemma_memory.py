"""What training Gemma 2 takes of each device's memory, without training or allocating it.

    python benchmarks/gemma_memory.py

Each step of training is compiled for simulated CPU devices from shapes alone. Parameters, gradients
and moments follow exactly from how they are divided. Temporaries, of which the gradients are a
part, are what XLA's compiler plans for a CPU; see ``NOTES``. Writes ``gemma-memory.json`` and
``gemma-memory.md`` into ``--out``.
"""

from __future__ import annotations

import datetime
import itertools
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
from jaxcollapse.files import check_output, whole_file
from jaxcollapse.lm import architectures
from jaxcollapse.lm.decoder import decoder, loss, sharding, training
from jaxcollapse.lm.decoder.config import Config
from jaxcollapse.lm.decoder.packing import Rows

DEVICES = 8
MODELS = ("gemma2-2b", "gemma2-9b", "gemma2-27b")
MESHES = ((1, 1), (4, 1), (8, 1), (2, 4))
ROWS, LENGTH, CHUNKS, RANK = 8, 512, 16, 16
# Parameters' type and the adapters' rank; activations are bfloat16.
PRECISIONS: dict[str, tuple[str, int | None]] = {
    "bfloat16": ("bfloat16", None),
    "float32 master": ("float32", None),
    f"LoRA {RANK} on bfloat16": ("bfloat16", RANK),
}
GIB = 2.0**30
CARD = 24e9  # bytes
# Nothing is run, so machine code need not be fast.
HOISTED: dict[str, str | bool] = {"xla_backend_optimization_level": "0"}
# A CPU multiplies in float32 only, and XLA moves the conversion of all layers' weights before its
# loop over them, where it needs a second copy, twice as large; a GPU needs none. See NOTES.
IN_PLACE = {**HOISTED, "xla_disable_hlo_passes": "while-loop-invariant-code-motion"}

NOTES = """\
Frozen and trained parameters, gradients and moments are exact: bytes of each array's share on a
device. Temporaries are all else that the program holds at its worst moment, gradients included, as
XLA plans it for a CPU; the total is arguments, results that do not take their place, and
temporaries. Nothing was run, and no accelerator was measured.

Temporaries are an estimate, mostly from above. A CPU multiplies in float32, so that products of
bfloat16 matrices and gathered weights take twice the room that they take on a GPU. Of bfloat16
parameters, gradients are gathered from the layers in float32 and then rounded into a second array:
three times their own size, which is nearly all of those rows' temporaries on one device, and more
than float32 parameters have. A larger copy still, the weights of all layers converted before the
loop over layers, is left out by compiling without `while-loop-invariant-code-motion`; the rows
"hoisted" are with it. Attention makes all scores. Not counted is what a GPU's libraries need
beside: workspaces, buffers of collectives, the context itself.
"""

Row = dict[str, Any]


def gib(size: float) -> float:
    return round(size / GIB, 3)


def training_row(
    model: str,
    precision: str,
    mesh_shape: tuple[int, int],
    rows: int,
    length: int,
    hoisted: bool = False,
) -> Row:
    """GiB per device of a step on ``rows`` of ``length`` tokens."""
    param_dtype, rank = PRECISIONS[precision]
    config = architectures.config(model, dtype="bfloat16", param_dtype=param_dtype, remat=True)
    recipe = training.Recipe(batch_size=rows, loss_chunks=CHUNKS, lora_rank=rank)
    mesh = sharding.make_mesh(*mesh_shape)
    sharding.check_mesh(config, recipe, mesh)
    params = decoder.abstract_params(config)
    start = partial(training.start, config, recipe)
    state = jax.eval_shape(start, params, jax.eval_shape(jax.random.key, 0))
    tokens: Any = jax.ShapeDtypeStruct((rows, length), np.int32)
    base = None if rank is None else params
    arguments = (state, Rows(tokens, tokens), jax.ShapeDtypeStruct((), np.int32), base)
    places = sharding.shardings(mesh, arguments)

    def step(state, batch, total, base):
        return training.train_step(config, recipe, state, batch, total, base, mesh)

    began = time.perf_counter()
    program = jax.jit(step, in_shardings=places, out_shardings=places[0], donate_argnums=0)
    compiled = program.lower(*arguments).compile(HOISTED if hoisted else IN_PLACE)
    seconds = time.perf_counter() - began
    memory: Any = compiled.memory_analysis()
    total = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    total += memory.output_size_in_bytes - memory.alias_size_in_bytes
    trained = sharding.bytes_per_device(places[0].params, state.params)
    return {
        "what": "training",
        "model": model,
        "precision": precision + (", hoisted" if hoisted else ""),
        "devices": mesh.size,
        "mesh": f"{mesh_shape[0]} x {mesh_shape[1]}",
        "rows": rows,
        "tokens": length,
        "frozen": gib(0 if base is None else sharding.bytes_per_device(places[3], base)),
        "trained": gib(trained),
        "gradients": gib(trained),
        "moments": gib(sharding.bytes_per_device(places[0].moments, state.moments)),
        "temporaries": gib(memory.temp_size_in_bytes),
        "total": gib(total),
        "fits_24_gb": bool(total < CARD),
        "compile_seconds": round(seconds, 1),
    }


def loss_row(config: Config, chunks: int, rows: int, length: int) -> Row:
    """GiB of temporaries of the loss and its gradient, from hidden states on."""
    hidden = jax.ShapeDtypeStruct((rows, length, config.width), jnp.dtype(config.dtype))
    labels = jax.ShapeDtypeStruct((rows, length), np.int32)
    counted = jax.ShapeDtypeStruct((rows, length), bool)
    slope = jax.value_and_grad(partial(loss.cross_entropy, config, chunks=chunks), (0, 1))
    program = jax.jit(slope).lower(decoder.abstract_params(config), hidden, labels, counted)
    memory: Any = program.compile(IN_PLACE).memory_analysis()
    return {
        "what": "loss",
        "vocabulary": config.vocab_size,
        "width": config.width,
        "rows": rows,
        "tokens": length,
        "chunks": chunks,
        "dtype": config.dtype,
        "param_dtype": config.param_dtype,
        "temporaries": gib(memory.temp_size_in_bytes),
    }


def table(rows: list[Row]) -> str:
    """Rows of one kind in Markdown."""
    names = [name for name in rows[0] if name != "what"]
    lines = [names, ["---"] * len(names), *([str(row[name]) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def report(facts: Row) -> str:
    """The table for people."""
    made = {
        what: [row for row in facts["rows"] if row["what"] == what] for what in ("training", "loss")
    }
    small = made["training"][0]
    fits = "so that it fits" if small["fits_24_gb"] else "too much for"
    return "\n".join(
        (
            "# Memory of training Gemma 2",
            "",
            "`python benchmarks/gemma_memory.py`, compiled only: "
            f"JAX {facts['jax_version']}, {facts['device']}, commit {facts['commit'][:12]}.",
            "",
            f"GiB per device; each layer is computed again in the backward pass, the loss in "
            f"{facts['loss_chunks']} chunks. A mesh is devices over which rows are divided x "
            "devices over which features are; parameters are divided over all.",
            "",
            NOTES,
            f"{small['model']} with {small['precision']}, {small['rows']} x {small['tokens']} "
            f"tokens a step, takes {small['total']} GiB, {fits} a card of 24 GB (24e9 bytes).",
            "",
            table(made["training"]),
            "",
            "The loss and its gradient alone, from the hidden states on:",
            "",
            table(made["loss"]),
            "",
        )
    )


def main(
    out: Path = Path("benchmarks/results"), quick: bool = False, overwrite: bool = False
) -> None:
    """Estimates the memory of training Gemma 2.

    Args:
      out: folder for the files.
      quick: a tiny decoder, to see that it runs.
      overwrite: replace existing files.
    """
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", DEVICES)
    jax.config.update("jax_enable_compilation_cache", False)
    paths = out / "gemma-memory.json", out / "gemma-memory.md"
    for path in paths:
        check_output(path, (".json", ".md"), overwrite)
    rows: list[Row] = []

    def add(row):
        rows.append(row)
        print(json.dumps(row), flush=True)

    models, meshes = (("tiny-gemma2",), MESHES[3:]) if quick else (MODELS, MESHES)
    small, length = models[0], 64 if quick else LENGTH
    for chunks in (1, CHUNKS):
        for param_dtype in ("bfloat16", "float32"):
            config = architectures.config(small, dtype="bfloat16", param_dtype=param_dtype)
            add(loss_row(config, chunks, ROWS, length))
    add(training_row(small, f"LoRA {RANK} on bfloat16", (1, 1), 1, length))
    for model, precision, mesh_shape in itertools.product(models, PRECISIONS, meshes):
        add(training_row(model, precision, mesh_shape, ROWS, length))
    for precision in () if quick else PRECISIONS:
        add(training_row(small, precision, (1, 1), ROWS, length, hoisted=True))
    facts = {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **machine.describe(),
        "loss_chunks": CHUNKS,
        "unit": "GiB per device",
        "notes": NOTES,
        "rows": rows,
    }
    texts = json.dumps(facts, indent=1) + "\n", report(facts)
    for path, text in zip(paths, texts, strict=True):
        with whole_file(path) as temporary:
            temporary.write_text(text)


if __name__ == "__main__":
    tyro.cli(main)
