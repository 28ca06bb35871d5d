"""GPT-2: learned positions, LayerNorm, GELU, biases, tied embeddings. Radford et al. 2019."""

from __future__ import annotations

from typing import Any

from jaxcollapse import checks
from jaxcollapse.lm.architectures.architecture import STORIES, TINY, Architecture
from jaxcollapse.lm.architectures.hub_fields import TANH_GELU, Fields
from jaxcollapse.lm.decoder.config import Config


def config(width: int, layers: int, heads: int, **others: Any) -> Config:
    """A decoder of this family, with other fields of ``Config`` by name."""
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


def to_config(fields: Fields) -> Config:
    """The decoder that a ``config.json`` describes."""
    width, heads = fields.size("n_embd"), fields.size("n_head")
    if width % heads:
        raise checks.refusal("n_head", f"a divisor of the width {width}", heads, "mend it")
    fields.activation("activation_function", "gelu_new", TANH_GELU)
    return config(
        width,
        fields.size("n_layer"),
        heads,
        mlp_width=fields.size("n_inner", 4 * width),
        vocab_size=fields.size("vocab_size"),
        context=fields.size("n_positions"),
        norm_eps=fields.number("layer_norm_epsilon", 1e-5),
        tied=fields.flag("tie_word_embeddings", True),
    )


def from_config(config: Config) -> dict[str, Any]:
    """The fields of a ``config.json`` that describe a decoder."""
    return {
        "n_positions": config.context,
        "n_embd": config.width,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_inner": config.mlp_width,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": config.norm_eps,
    }


ARCHITECTURE = Architecture(
    name="gpt2",
    model_class="GPT2LMHeadModel",
    configs={
        "gpt2-9m": config(256, 8, 8, **STORIES),  # 8,890,880 parameters
        "tiny-gpt2": config(64, 2, 4, **TINY),
    },
    to_config=to_config,
    from_config=from_config,
    tensors={
        "embed/tokens": "wte.weight",
        "embed/positions": "wpe.weight",
        "layers/attention_norm/scale": "h.{}.ln_1.weight",
        "layers/attention_norm/bias": "h.{}.ln_1.bias",
        "layers/qkv/kernel": "h.{}.attn.c_attn.weight",
        "layers/qkv/bias": "h.{}.attn.c_attn.bias",
        "layers/out/kernel": "h.{}.attn.c_proj.weight",
        "layers/out/bias": "h.{}.attn.c_proj.bias",
        "layers/mlp_norm/scale": "h.{}.ln_2.weight",
        "layers/mlp_norm/bias": "h.{}.ln_2.bias",
        "layers/up/kernel": "h.{}.mlp.c_fc.weight",
        "layers/up/bias": "h.{}.mlp.c_fc.bias",
        "layers/down/kernel": "h.{}.mlp.c_proj.weight",
        "layers/down/bias": "h.{}.mlp.c_proj.bias",
        "final_norm/scale": "ln_f.weight",
        "final_norm/bias": "ln_f.bias",
    },
    prefix="transformer.",
    turned=False,
    fixed={
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
    },
)
