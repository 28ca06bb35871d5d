"""Attention by one kernel of a GPU, against the one that is written out."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcollapse.lm import architectures
from jaxcollapse.lm.decoder import attention


@pytest.fixture
def fused(monkeypatch):
    """Every decoder takes the path of a GPU, whose kernel is computed as XLA does."""
    by_xla = jax.nn.dot_product_attention

    def kernel(*given, implementation, **named):
        assert implementation == "cudnn"
        return by_xla(*given, implementation="xla", **named)

    monkeypatch.setattr(jax.nn, "dot_product_attention", kernel)
    monkeypatch.setattr(attention, "is_fused", lambda config, length: True)


@pytest.mark.parametrize("window", [3, 2**31 - 1])
def test_the_kernel_averages_as_what_is_written_out(fused, window):
    config = architectures.config("tiny-llama", heads=4, kv_heads=2, head_dim=8)
    rng = np.random.default_rng(0)
    q = jnp.asarray(rng.standard_normal((2, 3, 4, 10, 8)), np.float32)
    k, v = jnp.asarray(rng.standard_normal((2, 2, 3, 2, 10, 8)), np.float32)
    segments = jnp.asarray(np.sort(rng.integers(0, 3, (3, 10))), np.int32)
    of_kernel = attention.over_segments(config, segments, np.int32(window))
    back = np.arange(10)[:, None] - np.arange(10)[None]
    allowed = (back >= 0) & (back < window) & np.equal(segments[:, :, None], segments[:, None])

    def written_out(q, k, v):
        return attention.attend(config, q, k, v, jnp.asarray(allowed))

    # Two seeds, mapped.
    np.testing.assert_allclose(
        jax.vmap(of_kernel)(q, k, v), jax.vmap(written_out)(q, k, v), atol=1e-6
    )
    slopes = [
        jax.grad(lambda *given, f=f: jnp.sum(jax.vmap(f)(*given) ** 2), (0, 1, 2))(q, k, v)
        for f in (of_kernel, written_out)
    ]
    for one, other in zip(*slopes, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


class Gpu:
    """A device as far as the choice of a kernel looks at it."""

    compute_capability = "9.0"


@pytest.mark.parametrize(
    ("change", "length", "expected"),
    [
        ({}, 512, True),
        ({}, 511, False),
        ({"dtype": "float32"}, 512, False),
        ({"attention_softcap": 50.0}, 512, False),
        ({"head_dim": 12}, 512, False),
        ({"head_dim": 256}, 512, False),
    ],
)
def test_the_kernel_is_taken_where_there_is_one(monkeypatch, change, length, expected):
    config = architectures.config("tiny-llama", **{"dtype": "bfloat16", "head_dim": 64, **change})
    assert not attention.is_fused(config, length)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "devices", lambda: [Gpu()])
    assert attention.is_fused(config, length) is expected
    monkeypatch.setattr(Gpu, "compute_capability", "gfx90a")
    assert not attention.is_fused(config, length)
