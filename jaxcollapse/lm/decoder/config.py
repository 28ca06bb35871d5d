"""What distinguishes one decoder from another."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from jaxcollapse import checks

# Beyond all decoders: of so many, tables are made on the host.
MOST = {"layers": 2**16, "head_dim": 2**16}


@dataclasses.dataclass(frozen=True)
class Config:
    """What distinguishes one decoder from another.

    Attributes:
      family: the name of its architecture, which is also that of a checkpoint's format.
      vocab_size: V.
      context: C, the longest sequence.
      width: E.
      layers: L.
      heads: H.
      kv_heads: K, a divisor of H; each serves H/K heads.
      head_dim: D.
      mlp_width: F.
      norm: ``layer`` (LayerNorm), ``rms`` (RMSNorm) or ``rms+1`` (RMSNorm times 1 + scale).
      norm_eps: added to the variance.
      mlp: ``gelu`` (two layers), or gated: ``swiglu`` or ``geglu``.
      rope_base: of rotary positions; None for learned ones.
      bias: whether projections have biases; ``qkv`` where only queries, keys and values do.
      tied: whether the output layer is the embedding.
      post_norms: whether each sublayer's output is normalised too, as in Gemma 2.
      scale_embeddings: whether embeddings are multiplied by sqrt(E).
      attention_softcap: c in ``c tanh(score / c)``; None for none.
      final_softcap: the same for logits.
      window: of local attention, in every other layer from the first; None where all are global.
      query_scale: of scores; None for 1/sqrt(D).
      dtype: of activations: ``float32`` or ``bfloat16``.
      param_dtype: of parameters.
      remat: whether activations of a layer are computed again in the backward pass, to save memory.
      matmul_precision: of products of float32, as JAX calls it: ``default``, ``high`` or
        ``highest``, which is float32 on every device.
    """

    family: str
    vocab_size: int
    context: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp_width: int
    norm: str = "rms"
    norm_eps: float = 1e-5
    mlp: str = "swiglu"
    rope_base: float | None = 10_000.0
    bias: bool | Literal["qkv"] = False
    tied: bool = False
    post_norms: bool = False
    scale_embeddings: bool = False
    attention_softcap: float | None = None
    final_softcap: float | None = None
    window: int | None = None
    query_scale: float | None = None
    dtype: str = "float32"
    param_dtype: str = "float32"
    remat: bool = False
    matmul_precision: str = "highest"

    def __post_init__(self) -> None:
        """Refuses a configuration that no parameters can have."""
        sizes = ("vocab_size", "context", "width", "layers", "heads", "kv_heads", "head_dim")
        for name in (*sizes, "mlp_width"):
            most = MOST.get(name, 2**31 - 1)
            checks.whole_number(name, getattr(self, name), maximum=most)
        checks.one_of("norm", self.norm, ("layer", "rms", "rms+1"))
        checks.one_of("mlp", self.mlp, ("gelu", "swiglu", "geglu"))
        checks.one_of("bias", self.bias, (False, True, "qkv"))
        checks.one_of("dtype", self.dtype, ("float32", "bfloat16"))
        checks.one_of("param_dtype", self.param_dtype, ("float32", "bfloat16"))
        checks.one_of("matmul_precision", self.matmul_precision, ("default", "high", "highest"))
        for name in ("tied", "post_norms", "scale_embeddings", "remat"):
            checks.one_of(name, getattr(self, name), (False, True))
        self._check_numbers()
        if self.heads % self.kv_heads:
            raise checks.refusal(
                "kv_heads", f"a divisor of the {self.heads} heads", self.kv_heads, "change one"
            )
        if self.rope_base is not None and self.head_dim % 2:
            raise checks.refusal("head_dim", "an even number", self.head_dim, "change it")

    def _check_numbers(self) -> None:
        """Refuses numbers that make none, or NaN, of what is computed."""
        above = ("rope_base", "attention_softcap", "final_softcap", "query_scale")
        for name in ("norm_eps", *above):
            value = getattr(self, name)
            if value is None and name != "norm_eps":
                continue
            a_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not a_number or not (value > 0 or (name == "norm_eps" and value == 0)):
                least = "at least 0" if name == "norm_eps" else "above 0"
                raise checks.refusal(name, f"a number {least}", repr(value), "change it")
            if value > float(np.finfo(np.float32).max):
                raise checks.refusal(name, "a number that float32 holds", value, "change it")
        if self.window is not None:
            checks.whole_number("window", self.window)

    @property
    def precision(self) -> str:
        """What every product asks JAX for; those of bfloat16 are the same whatever is asked for."""
        return self.matmul_precision if self.dtype == "float32" else "default"

    @property
    def for_measuring(self) -> Config:
        """The same decoder, whose float32 products are float32 on every device."""
        return dataclasses.replace(self, matmul_precision="highest")

    @property
    def windows(self) -> np.ndarray:
        """How far back each layer attends, int32 ``[L]``."""
        everything = np.iinfo(np.int32).max
        local = everything if self.window is None else self.window
        layer = np.arange(self.layers)
        return np.where(layer % 2 == 0, local, everything).astype(np.int32)

    @property
    def score_scale(self) -> float:
        """What queries are multiplied by."""
        return self.head_dim**-0.5 if self.query_scale is None else self.query_scale
