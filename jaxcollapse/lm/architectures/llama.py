"""Llama-2: rotary positions, RMSNorm, SwiGLU, no biases. Touvron et al. 2023."""

from __future__ import annotations

from typing import Any

from jaxcollapse import checks
from jaxcollapse.lm.architectures.architecture import STORIES, TINY, Architecture, Gguf
from jaxcollapse.lm.architectures.hub_fields import Fields, gate_of
from jaxcollapse.lm.decoder.config import Config


def config(width: int, layers: int, heads: int, mlp_width: int, **others: Any) -> Config:
    """A decoder of this family, with other fields of ``Config`` by name."""
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


def sizes(fields: Fields) -> dict[str, Any]:
    """What is said as in Llama by those that came after it: fields of ``Config`` by name."""
    return {
        "width": fields.size("hidden_size"),
        "layers": fields.size("num_hidden_layers"),
        "heads": fields.size("num_attention_heads"),
        "mlp_width": fields.size("intermediate_size"),
        "vocab_size": fields.size("vocab_size"),
        "context": fields.size("max_position_embeddings"),
        "norm_eps": fields.number("rms_norm_eps", 1e-6),
        "rope_base": fields.rope_base(),
    }


def to_config(fields: Fields) -> Config:
    """The decoder that a ``config.json`` describes."""
    common = sizes(fields)
    width, heads = common["width"], common["heads"]
    if fields.content.get("head_dim") is None and width % heads:
        raise checks.refusal(
            "num_attention_heads", f"a divisor of the width {width}", heads, "mend it"
        )
    return config(
        **common,
        kv_heads=fields.size("num_key_value_heads", heads),
        head_dim=fields.size("head_dim", max(width // heads, 1)),
        mlp=fields.gated("hidden_act", "silu"),
        tied=fields.flag("tie_word_embeddings", False),
    )


def from_config(config: Config) -> dict[str, Any]:
    """The fields of a ``config.json`` that describe a decoder."""
    return {
        "max_position_embeddings": config.context,
        "hidden_size": config.width,
        "intermediate_size": config.mlp_width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": gate_of(config.mlp),
        "rms_norm_eps": config.norm_eps,
        # Older readers know the first, newer ones the second.
        "rope_theta": config.rope_base,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_base},
    }


ARCHITECTURE = Architecture(
    name="llama",
    model_class="LlamaForCausalLM",
    # The feed-forward layer is four times as wide as the model: 12,488,960, 41,755,136 and
    # 125,553,408 parameters.
    configs={
        "llama2-12m": config(256, 8, 8, 1024, **STORIES),
        "llama2-42m": config(512, 8, 8, 2048, **STORIES),
        "llama2-126m": config(768, 12, 12, 3072, **STORIES),
        "tiny-llama": config(64, 2, 4, 128, **TINY),
    },
    to_config=to_config,
    from_config=from_config,
    tensors={
        "embed/tokens": "embed_tokens.weight",
        "layers/attention_norm/scale": "layers.{}.input_layernorm.weight",
        "layers/qkv/kernel": "layers.{}.self_attn.%_proj.weight",
        "layers/out/kernel": "layers.{}.self_attn.o_proj.weight",
        "layers/mlp_norm/scale": "layers.{}.post_attention_layernorm.weight",
        "layers/gate_up/kernel": "layers.{}.mlp.%_proj.weight",
        "layers/down/kernel": "layers.{}.mlp.down_proj.weight",
        "final_norm/scale": "norm.weight",
    },
    fixed={"attention_bias": False, "mlp_bias": False},
    gguf=Gguf(
        config,
        {
            "token_embd": "embed_tokens",
            "output_norm": "norm",
            "output": "lm_head",
            "attn_norm": "input_layernorm",
            "attn_q": "self_attn.q_proj",
            "attn_k": "self_attn.k_proj",
            "attn_v": "self_attn.v_proj",
            "attn_output": "self_attn.o_proj",
            "ffn_norm": "post_attention_layernorm",
            "ffn_gate": "mlp.gate_proj",
            "ffn_up": "mlp.up_proj",
            "ffn_down": "mlp.down_proj",
        },
        interleaved=True,
    ),
)
