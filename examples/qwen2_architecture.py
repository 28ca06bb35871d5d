"""Qwen2 as an architecture of one's own: Llama with biases in queries, keys and values.

    python examples/qwen2_architecture.py

trains a tiny one on the embedded stories, and then two more, each on what the last one wrote. After
``register`` checkpoints of the family are read and written, and its configurations have names. A
package may declare it in its ``pyproject.toml`` instead, so that the command line finds it too:

    [project.entry-points."jaxcollapse.architectures"]
    qwen2 = "qwen2_architecture:ARCHITECTURE"

Yang et al. 2024 (Qwen2), section 2.2 and table 1.
"""

from __future__ import annotations

import dataclasses
from functools import partial

import jax

import jaxcollapse as jc
from jaxcollapse.lm import architectures
from jaxcollapse.lm.architectures import llama
from jaxcollapse.lm.architectures.architecture import TINY, Architecture
from jaxcollapse.lm.architectures.hub_fields import Fields
from jaxcollapse.lm.decoder.config import Config

config = partial(llama.config, family="qwen2", bias="qkv", norm_eps=1e-6, rope_base=1e6)


def to_config(fields: Fields) -> Config:
    """The decoder that a ``config.json`` describes."""
    return dataclasses.replace(llama.to_config(fields), family="qwen2", bias="qkv")


ARCHITECTURE = Architecture(
    name="qwen2",
    model_class="Qwen2ForCausalLM",
    configs={
        "qwen2-0.5b": config(
            896, 24, 14, 4864, kv_heads=2, vocab_size=151_936, context=131_072, tied=True
        ),
        "tiny-qwen2": config(64, 2, 4, 128, kv_heads=2, **TINY),
    },
    to_config=to_config,
    from_config=llama.from_config,
    tensors={
        **llama.ARCHITECTURE.tensors,
        "layers/qkv/bias": "layers.{}.self_attn.%_proj.bias",
    },
    fixed={"use_sliding_window": False},
    harmless=("sliding_window", "max_window_layers", "layer_types"),  # as no layer has a window
    published={"qwen2-0.5b": "Qwen/Qwen2-0.5B"},
)

architectures.register(ARCHITECTURE)

if __name__ == "__main__":
    task = jc.language_model.task("tiny-qwen2", num_samples=200)
    chain = jax.jit(jc.make_chain(task, jc.replace, num_generations=3))
    print(chain(jax.random.key(0))["excess_nll"])  # nats per token above the entropy, [3]
