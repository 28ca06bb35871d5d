"""Training in bfloat16: what is rounded, and what that does to small steps."""

import dataclasses

import jax
import numpy as np
import pytest
from training_cases import (
    BATCHES,
    CONFIG,
    RECIPE,
    begin,
    compiled_step,
    random_params,
    rows_of,
)

ROWS = rows_of(BATCHES[0], RECIPE.batch_size)


def run(config, recipe, steps=1, spread=0.5):
    """States before and after some steps on the same rows."""
    start = begin(config, recipe, random_params(config, spread))
    state = start
    for _ in range(steps):
        state = compiled_step(config, recipe)(state, ROWS, np.int32(steps))
    return start, state


def kernels(params):
    layers = params["layers"].values()
    return np.concatenate([np.ravel(part["kernel"]) for part in layers if "kernel" in part])


@pytest.mark.parametrize("param_dtype", ["bfloat16", "float32"])
def test_a_model_learns_in_bfloat16(param_dtype):
    config = dataclasses.replace(CONFIG, dtype="bfloat16", param_dtype=param_dtype)
    recipe = dataclasses.replace(RECIPE, learning_rate=3e-2, schedule="constant")
    _, first = run(config, recipe)
    _, last = run(config, recipe, steps=40)
    assert float(last.loss) < 0.7 * float(first.loss)
    arrays = jax.tree.leaves((last.params, last.moments))
    assert {x.dtype.name for x in arrays if x.ndim} == {param_dtype}


def test_small_steps_are_lost_in_bfloat16_weights():
    """Of normal weights of 0.02, those below 1/256 or so of which a step of 8e-6 is half."""
    recipe = dataclasses.replace(RECIPE, learning_rate=8e-6, warmup=0.0, eps=1e-12)
    still = {}
    for param_dtype in ("bfloat16", "float32"):
        config = dataclasses.replace(CONFIG, dtype="bfloat16", param_dtype=param_dtype)
        before, after = run(config, recipe, spread=0.02)
        still[param_dtype] = np.mean(kernels(before.params) == kernels(after.params))
    assert still["bfloat16"] > 0.8
    assert still["float32"] < 0.1


def test_parts_of_a_bfloat16_gradient_add_up():
    """To within the rounding of eight sums, 2**-9 each."""
    config = dataclasses.replace(CONFIG, param_dtype="bfloat16")
    parts = dataclasses.replace(RECIPE, accumulation=8)
    _, whole = run(config, RECIPE)
    _, summed = run(config, parts)
    expected, found = (kernels(state.moments[0].mu).astype(np.float32) for state in (whole, summed))
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert 0 < error < 0.008
