"""Decoders by name."""

from __future__ import annotations

import dataclasses
from typing import Any

from jaxcollapse import checks
from jaxcollapse.lm.decoder.config import Config


def gpt2(width: int, layers: int, heads: int, **others: Any) -> Config:
    """GPT-2: learned positions, LayerNorm, GELU, biases, tied embeddings. Radford et al. 2019."""
    return Config(
        **{
            "family": "gpt2",
            "width": width,
            "layers": layers,
            "heads": heads,
            "kv_heads": heads,
            "head_dim": width // heads,
            "mlp_width": 4 * width,
            "norm": "layer",
            "mlp": "gelu",
            "rope_base": None,
            "bias": True,
            "tied": True,
            **others,
        }
    )


def llama(width: int, layers: int, heads: int, mlp_width: int, **others: Any) -> Config:
    """Llama-2: rotary positions, RMSNorm, SwiGLU, no biases. Touvron et al. 2023."""
    return Config(
        **{
            "family": "llama",
            "width": width,
            "layers": layers,
            "heads": heads,
            "kv_heads": heads,
            "head_dim": width // heads,
            "mlp_width": mlp_width,
            **others,
        }
    )


def gemma2(width: int, layers: int, heads: int, kv_heads: int, **others: Any) -> Config:
    """Gemma 2: soft-caps, local attention in every other layer, norms around both sublayers.

    Gemma Team 2024, table 1 and section 2.
    """
    return Config(
        **{
            "family": "gemma2",
            "width": width,
            "layers": layers,
            "heads": heads,
            "kv_heads": kv_heads,
            "norm": "rms+1",
            "norm_eps": 1e-6,
            "mlp": "geglu",
            "tied": True,
            "post_norms": True,
            "scale_embeddings": True,
            "attention_softcap": 50.0,
            "final_softcap": 30.0,
            **others,
        }
    )


STORIES = {"vocab_size": 8000, "context": 2048}  # the paper's TinyStories models
GEMMA = {"vocab_size": 256_000, "context": 8192, "window": 4096}
TINY = {"vocab_size": 512, "context": 128}

CONFIGS: dict[str, Config] = {
    # 8,890,880 parameters.
    "gpt2-9m": gpt2(256, 8, 8, **STORIES),
    # The feed-forward layer four times as wide as the model: 12,488,960, 41,755,136 and
    # 125,553,408 parameters.
    "llama2-12m": llama(256, 8, 8, 1024, **STORIES),
    "llama2-42m": llama(512, 8, 8, 2048, **STORIES),
    "llama2-126m": llama(768, 12, 12, 3072, **STORIES),
    "gemma2-2b": gemma2(2304, 26, 8, 4, head_dim=256, mlp_width=9216, **GEMMA),
    "gemma2-9b": gemma2(3584, 42, 16, 8, head_dim=256, mlp_width=14336, **GEMMA),
    # Queries are scaled by the width over the heads, 144, not by the width of a head.
    "gemma2-27b": gemma2(
        4608, 46, 32, 16, head_dim=128, mlp_width=36864, query_scale=144**-0.5, **GEMMA
    ),
    "tiny-gpt2": gpt2(64, 2, 4, **TINY),
    "tiny-llama": llama(64, 2, 4, 128, **TINY),
    "tiny-gemma2": gemma2(64, 2, 4, 2, head_dim=16, mlp_width=128, window=16, **TINY),
}


def config(name: str, **changes: Any) -> Config:
    """The decoder of a name, with ``changes`` of its fields (``vocab_size``, ``context``, ...).

    Raises:
      ValueError: an unknown name, or a field that no parameters can have.
    """
    return dataclasses.replace(CONFIGS[checks.one_of("model", name, CONFIGS)], **changes)


def as_config(model: str | Config) -> Config:
    """A decoder from its name or itself."""
    return config(model) if isinstance(model, str) else model


def recipe(name: str) -> dict[str, Any]:
    """How a decoder of a name is trained unless one says otherwise: fields of ``Recipe``.

    The tiny ones see their few documents three times, in small batches; the others once.
    """
    if name.startswith("tiny-"):
        return {"learning_rate": 1e-2, "batch_size": 4, "epochs": 3}
    return {"learning_rate": 1e-3, "batch_size": 32, "epochs": 1}


def fine_tuning_recipe(num_parameters: int) -> dict[str, Any]:
    """How a model that exists is fine-tuned unless one says otherwise: fields of ``Recipe``.

    As published: one epoch of AdamW without weight decay, in batches of 8 times 16 rows, at a
    constant learning rate of 8e-6 after the warm-up. Models too small to learn anything from that
    (below 20 million parameters) see their few documents three times, in small batches.
    """
    common = {"schedule": "constant", "weight_decay": 0.0}
    if num_parameters < 20e6:
        return {**common, "learning_rate": 3e-3, "batch_size": 4, "epochs": 3}
    published = {"learning_rate": 8e-6, "batch_size": 128, "accumulation": 16, "beta2": 0.999}
    return {**common, **published, "epochs": 1}
