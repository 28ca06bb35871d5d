"""Files of llama2.c."""

from __future__ import annotations

import math
import struct
from functools import partial
from pathlib import Path

import numpy as np

from jaxcollapse import checks
from jaxcollapse.lm.architectures import llama
from jaxcollapse.lm.checkpoints.tensors import Stored, assembled, check_context, hub_rows, shortened
from jaxcollapse.lm.decoder.config import Config
from jaxcollapse.lm.decoder.decoder import Params

HEADER = "<7i"
ROTATIONS = "rotations"  # cosines and sines of the positions; the decoder makes them itself


def load_llama2c(
    path: Path | str, dtype: str = "float32", context: int | None = None
) -> tuple[Config, Params]:
    """A model of llama2.c: seven int32, then float32 arrays, one kind of all layers at a time.

    Args:
      path: the ``.bin`` file, of llama2.c's first version.
      dtype: as in ``load``.
      context: as in ``load``.

    Returns:
      The decoder, of the family ``llama``, and its parameters.

    Raises:
      ValueError: the file's size is not what its header says, or there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise checks.refusal("model", "a file of llama2.c", str(path), "check the path")
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(struct.calcsize(HEADER))
    numbers = struct.unpack(HEADER, header) if len(header) == struct.calcsize(HEADER) else (0,) * 7
    width, mlp_width, layers, heads, kv_heads, vocab, length = numbers
    if min(width, mlp_width, layers, heads, kv_heads, abs(vocab), length) < 1 or width % heads:
        raise checks.refusal(
            "header of a llama2.c file",
            "seven int32: width, feed-forward width, layers, heads, key and value heads, "
            "vocabulary, context",
            f"{', '.join(map(str, numbers))} in {path}",
            "check the file",
        )
    config = llama.config(
        width,
        layers,
        heads,
        mlp_width,
        kv_heads=kv_heads,
        vocab_size=abs(vocab),
        context=length,
        tied=vocab > 0,
        dtype=dtype,
        param_dtype=dtype,
    )
    check_context(config, context)
    keys = kv_heads * config.head_dim
    shapes: dict[str, tuple[int, ...]] = {
        "embed_tokens": (abs(vocab), width),
        "layers.{}.input_layernorm": (layers, width),
        "layers.{}.self_attn.q_proj": (layers, width, width),
        "layers.{}.self_attn.k_proj": (layers, keys, width),
        "layers.{}.self_attn.v_proj": (layers, keys, width),
        "layers.{}.self_attn.o_proj": (layers, width, width),
        "layers.{}.post_attention_layernorm": (layers, width),
        "layers.{}.mlp.gate_proj": (layers, mlp_width, width),
        "layers.{}.mlp.down_proj": (layers, width, mlp_width),
        "layers.{}.mlp.up_proj": (layers, mlp_width, width),
        "norm": (width,),
        ROTATIONS: (2, length, config.head_dim // 2),
        "lm_head": (abs(vocab), width),
    }
    if config.tied:
        del shapes["lm_head"]
    expected = len(header) + 4 * sum(math.prod(shape) for shape in shapes.values())
    if size != expected:
        raise checks.refusal(
            f"size of {path}", f"{expected:,} bytes by its header", f"{size:,}", "download it again"
        )
    stored = np.memmap(path, "<f4", "r", offset=len(header))
    tensors: dict[str, Stored] = {}
    start = 0
    for name, shape in shapes.items():
        array = stored[start : start + math.prod(shape)].reshape(shape)
        start += array.size
        if name == ROTATIONS:
            continue
        turn_heads = {"q_proj": heads, "k_proj": kv_heads}.get(name.rpartition(".")[2])
        for layer in range(layers) if "{}" in name else (None,):
            rows = array if layer is None else array[layer]
            read = partial(hub_rows, rows, turn_heads)
            tensors[f"{name.format(layer)}.weight"] = Stored(rows.shape, read)
    return shortened(config, assembled(config, tensors), context)
