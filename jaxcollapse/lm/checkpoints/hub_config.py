"""``config.json`` of the Hugging Face hub, to a decoder's configuration and from it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jaxcollapse import checks
from jaxcollapse.lm.architectures import named
from jaxcollapse.lm.decoder.config import Config

CONFIG = "config.json"
TANH_GELU = ("gelu_pytorch_tanh", "gelu_new", "gelu_fast")  # three names of one function
SILU = ("silu", "swish")
OTHER_MODEL = "this is not implemented; choose another model"
# Fields of config.json that change the numbers, and the only value of each that is implemented.
FIXED: dict[str, dict[str, bool]] = {
    "gpt2": {
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
    },
    "llama": {"attention_bias": False, "mlp_bias": False},
    "gemma2": {"attention_bias": False, "use_bidirectional_attention": False},
}


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """The JSON object in a file of a model's folder."""
    path = folder / name
    if not path.is_file():
        raise checks.refusal("model", f"a folder with {name}", str(folder), "check the folder")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"a {type(content).__name__}")
    except ValueError as error:
        raise checks.refusal(
            name, "a JSON object", f"{path} ({error})", "download or write it again"
        ) from None
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON object as the hub's files have it."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def to_config(content: Mapping[str, Any]) -> Config:
    """The decoder that ``config.json`` describes; what it leaves out is as in transformers."""
    family = checks.one_of(f"model_type in {CONFIG}", content.get("model_type"), FIXED)
    for name, only in FIXED[family].items():
        got = content.get(name, only)
        if bool(got) != only:
            raise _unknown_feature(name, json.dumps(only), got)

    def field(name, default=None):
        """What the file says; a field without a default has to be there."""
        value = content.get(name)
        if value is None and default is None:
            raise checks.refusal(CONFIG, f"a field '{name}'", "none", "restore it")
        return default if value is None else value

    def size(name):
        return checks.whole_number(f"{name} in {CONFIG}", field(name))

    tied = content.get("tie_word_embeddings", family != "llama")
    if family == "gpt2":
        width, heads = size("n_embd"), size("n_head")
        if width % heads:
            raise checks.refusal("n_head", f"a divisor of the width {width}", heads, "mend it")
        _activation("activation_function", field("activation_function", "gelu_new"), TANH_GELU)
        return named.gpt2(
            width,
            field("n_layer"),
            heads,
            mlp_width=field("n_inner", 4 * width),
            vocab_size=field("vocab_size"),
            context=field("n_positions"),
            norm_eps=field("layer_norm_epsilon", 1e-5),
            tied=tied,
        )
    width, heads = size("hidden_size"), size("num_attention_heads")
    others: dict[str, Any] = {
        "mlp_width": field("intermediate_size"),
        "vocab_size": field("vocab_size"),
        "context": field("max_position_embeddings"),
        "norm_eps": field("rms_norm_eps", 1e-6),
        "rope_base": _rope_base(content),
        "tied": tied,
    }
    if family == "llama":
        activation = _activation("hidden_act", field("hidden_act", "silu"), SILU + TANH_GELU)
        return named.llama(
            width,
            field("num_hidden_layers"),
            heads,
            kv_heads=field("num_key_value_heads", heads),
            head_dim=field("head_dim", width // heads),
            mlp="swiglu" if activation in SILU else "geglu",
            **others,
        )
    name = "hidden_activation"
    activation = _activation(name, field(name, "gelu_pytorch_tanh"), SILU + TANH_GELU)
    head_dim = field("head_dim", 256)
    scalar = field("query_pre_attn_scalar", 256)
    return named.gemma2(
        width,
        field("num_hidden_layers"),
        heads,
        field("num_key_value_heads"),
        head_dim=head_dim,
        mlp="swiglu" if activation in SILU else "geglu",
        query_scale=None if scalar == head_dim else scalar**-0.5,
        # Null is a value here: no cap.
        attention_softcap=content.get("attn_logit_softcapping", 50.0),
        final_softcap=content.get("final_logit_softcapping", 30.0),
        window=_window(content, size("num_hidden_layers")),
        **others,
    )


def _unknown_feature(name: str, expected: str, got: Any) -> ValueError:
    return checks.refusal(f"{name} in {CONFIG}", expected, json.dumps(got), OTHER_MODEL)


def _activation(name: str, got: str, known: Iterable[str]) -> str:
    if got not in known:
        raise _unknown_feature(name, f"one of {', '.join(known)}", got)
    return got


def _rope_base(content: Mapping[str, Any]) -> float:
    """The base of rotary positions, from the older fields or the newer one."""
    rope = {**(content.get("rope_scaling") or {}), **(content.get("rope_parameters") or {})}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default" or any(isinstance(value, dict) for value in rope.values()):
        field = "rope_parameters" if content.get("rope_parameters") else "rope_scaling"
        raise _unknown_feature(field, "the default rotary positions in every layer", rope)
    part = rope.get("partial_rotary_factor", content.get("partial_rotary_factor"))
    if part not in (None, 1):
        raise _unknown_feature("partial_rotary_factor", "1", part)
    base = rope.get("rope_theta") or content.get("rope_theta") or 10_000.0
    return float(base)


def _layer_types(layers: int, window: int | None) -> list[str]:
    """The names of each layer's attention, from the first."""
    local = "full_attention" if window is None else "sliding_attention"
    return ["full_attention" if layer % 2 else local for layer in range(layers)]


def _window(content: Mapping[str, Any], layers: int) -> int | None:
    window = content.get("sliding_window", 4096)
    types = content.get("layer_types")
    if types == _layer_types(layers, None):
        return None
    if types not in (None, _layer_types(layers, window)):
        expected = "sliding_attention and full_attention in turn, or full_attention alone"
        raise _unknown_feature("layer_types", expected, types)
    return window


def from_config(config: Config, bos: int | None, eos: int | None) -> dict[str, Any]:
    """The content of ``config.json``, from which ``to_config`` gives the same decoder."""
    ends = {"bos_token_id": bos, "eos_token_id": eos}
    if config.family == "gpt2":
        content = {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "vocab_size": config.vocab_size,
            "n_positions": config.context,
            "n_embd": config.width,
            "n_layer": config.layers,
            "n_head": config.heads,
            "n_inner": config.mlp_width,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": config.norm_eps,
        }
    else:
        checks.one_of("family", config.family, FIXED)
        gemma = config.family == "gemma2"
        activation = "silu" if config.mlp == "swiglu" else "gelu_pytorch_tanh"
        content = {
            "architectures": ["Gemma2ForCausalLM" if gemma else "LlamaForCausalLM"],
            "model_type": config.family,
            "vocab_size": config.vocab_size,
            "max_position_embeddings": config.context,
            "hidden_size": config.width,
            "intermediate_size": config.mlp_width,
            "num_hidden_layers": config.layers,
            "num_attention_heads": config.heads,
            "num_key_value_heads": config.kv_heads,
            "head_dim": config.head_dim,
            "hidden_act": activation,
            "rms_norm_eps": config.norm_eps,
            # Older readers know the first, newer ones the second.
            "rope_theta": config.rope_base,
            "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_base},
            "attention_bias": False,
        }
        if gemma:
            # A whole number in this format; below it is read back, and refused if that changed it.
            scalar = config.score_scale**-2
            content |= {
                "hidden_activation": activation,
                "query_pre_attn_scalar": round(scalar) if round(scalar) else scalar,
                "attn_logit_softcapping": config.attention_softcap,
                "final_logit_softcapping": config.final_softcap,
                # Needed where no layer has one, too.
                "sliding_window": config.window or config.context,
                "layer_types": _layer_types(config.layers, config.window),
            }
        else:
            content["mlp_bias"] = False
    content |= {"tie_word_embeddings": config.tied, **ends}
    said = to_config(content)
    for field in dataclasses.fields(Config):
        ours, theirs = getattr(config, field.name), getattr(said, field.name)
        same = ours == theirs
        if field.name == "query_scale":
            same = math.isclose(config.score_scale, said.score_scale, rel_tol=1e-9)
        if not same and field.name not in ("dtype", "param_dtype", "remat"):
            raise checks.refusal(
                f"{field.name} of a {config.family} checkpoint",
                f"{theirs!r}, the nearest that its format can say",
                repr(ours),
                "change it, or keep the parameters in a format of your own",
            )
    return content
