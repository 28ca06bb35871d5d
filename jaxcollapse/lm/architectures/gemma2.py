"""Gemma 2: soft-caps, local attention in every other layer, norms around both sublayers.

Gemma Team 2024, table 1 and section 2.
"""

from __future__ import annotations

from typing import Any

from jaxcollapse.lm.architectures import llama
from jaxcollapse.lm.architectures.architecture import TINY, Architecture
from jaxcollapse.lm.architectures.hub_fields import Fields, gate_of, unknown_feature
from jaxcollapse.lm.decoder.config import Config

PUBLISHED = {"vocab_size": 256_000, "context": 8192, "window": 4096}


def config(width: int, layers: int, heads: int, kv_heads: int, **others: Any) -> Config:
    """A decoder of this family, with other fields of ``Config`` by name."""
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


def to_config(fields: Fields) -> Config:
    """The decoder that a ``config.json`` describes."""
    head_dim = fields.size("head_dim", 256)
    scalar = fields.number("query_pre_attn_scalar", 256, above=0)
    return config(
        **llama.sizes(fields),
        kv_heads=fields.size("num_key_value_heads"),
        head_dim=head_dim,
        mlp=fields.gated("hidden_activation", "gelu_pytorch_tanh"),
        query_scale=None if scalar == head_dim else scalar**-0.5,
        attention_softcap=fields.cap("attn_logit_softcapping", 50.0),
        final_softcap=fields.cap("final_logit_softcapping", 30.0),
        window=_window(fields),
        tied=fields.flag("tie_word_embeddings", True),
    )


def from_config(config: Config) -> dict[str, Any]:
    """The fields of a ``config.json`` that describe a decoder."""
    # A whole number in this format; what is read back from it is compared with the decoder.
    scalar = config.score_scale**-2
    return {
        **llama.from_config(config),
        "hidden_activation": gate_of(config.mlp),
        "query_pre_attn_scalar": round(scalar) if round(scalar) else scalar,
        "attn_logit_softcapping": config.attention_softcap,
        "final_logit_softcapping": config.final_softcap,
        # Needed where no layer has one, too.
        "sliding_window": config.window or config.context,
        "layer_types": _layer_types(config.layers, config.window),
    }


def _layer_types(layers: int, window: int | None) -> list[str]:
    """The names of each layer's attention, from the first."""
    local = "full_attention" if window is None else "sliding_attention"
    return ["full_attention" if layer % 2 else local for layer in range(layers)]


def _window(fields: Fields) -> int | None:
    null = fields.content.get("sliding_window", 4096) is None
    window = None if null else fields.size("sliding_window", 4096)
    types = fields.content.get("layer_types")
    layers = fields.size("num_hidden_layers")
    if types is None:
        return window
    fits = isinstance(types, list) and len(types) == layers
    if fits and types == _layer_types(layers, None):
        return None
    if not fits or types != _layer_types(layers, window):
        expected = "sliding_attention and full_attention in turn, or full_attention alone"
        raise unknown_feature("layer_types", expected, types)
    return window


ARCHITECTURE = Architecture(
    name="gemma2",
    model_class="Gemma2ForCausalLM",
    configs={
        "gemma2-2b": config(2304, 26, 8, 4, head_dim=256, mlp_width=9216, **PUBLISHED),
        "gemma2-9b": config(3584, 42, 16, 8, head_dim=256, mlp_width=14336, **PUBLISHED),
        # Queries are scaled by the width over the heads, 144, not by the width of a head.
        "gemma2-27b": config(
            4608, 46, 32, 16, head_dim=128, mlp_width=36864, query_scale=144**-0.5, **PUBLISHED
        ),
        "tiny-gemma2": config(64, 2, 4, 2, head_dim=16, mlp_width=128, window=16, **TINY),
    },
    to_config=to_config,
    from_config=from_config,
    tensors={
        **llama.ARCHITECTURE.tensors,
        "layers/attention_post_norm/scale": "layers.{}.post_attention_layernorm.weight",
        "layers/mlp_norm/scale": "layers.{}.pre_feedforward_layernorm.weight",
        "layers/mlp_post_norm/scale": "layers.{}.post_feedforward_layernorm.weight",
    },
    fixed={"attention_bias": False, "use_bidirectional_attention": False},
    harmless=("hidden_act",),  # of the first files; hidden_activation is what counts
    published={
        "gemma2-2b": "google/gemma-2-2b",
        "gemma2-9b": "google/gemma-2-9b",
        "gemma2-27b": "google/gemma-2-27b",
    },
)
