"""A step on several devices is the step on one, and each device holds its share."""

import json
import os
import subprocess
import sys
import types

import jax
import numpy as np
import pytest
from conftest import MICRO, random_text
from training_cases import random_params

import jaxcollapse as jc
from jaxcollapse.lm import architectures, language_model
from jaxcollapse.lm.base import base_of
from jaxcollapse.lm.decoder import decoder, sharding
from jaxcollapse.lm.decoder.training import Recipe

CONFIG = architectures.config("tiny-gemma2")
MESHES = [(1, 1), (4, 1), (2, 4)]

# Parameters after two steps on each mesh, and the bytes that each device holds.
CODE = """
import json, sys
from functools import partial
import jax, numpy as np
jax.config.update("jax_num_cpu_devices", 8)
from jaxcollapse.lm import architectures
from jaxcollapse.lm.decoder import decoder, sharding, training
from jaxcollapse.lm.decoder.packing import Rows

folder, meshes, recipe = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
config = architectures.config("tiny-gemma2", remat=True)
recipe = training.Recipe(batch_size=8, accumulation=2, loss_chunks=4, eps=1e-4, **recipe)
rng = np.random.default_rng(0)
abstract = decoder.abstract_params(config)
params = jax.tree.map(lambda x: (0.1 * rng.normal(size=x.shape)).astype(np.float32), abstract)
tokens = rng.integers(1, config.vocab_size, (8, 24), dtype=np.int32)
batch = Rows(tokens, 1 + np.cumsum(tokens < 60, axis=1, dtype=np.int32), tokens % 5 > 0)
options = {"xla_backend_optimization_level": 0}

def step(state, batch, total, base):
    return training.train_step(config, recipe, state, batch, total, base, mesh)

held = []
for number, shape in enumerate(meshes):
    mesh = sharding.make_mesh(*shape)
    sharding.check_mesh(config, recipe, mesh)
    place = partial(sharding.shardings, mesh)
    whole = jax.device_put(params, place(params))
    start = partial(training.start, config, recipe)
    after = place(jax.eval_shape(start, whole, jax.random.key(1)))
    state = jax.jit(start, out_shardings=after, compiler_options=options)(whole, jax.random.key(1))
    base = whole if recipe.lora_rank else None
    arguments = (state, batch, np.int32(10), base)
    run = jax.jit(
        step, in_shardings=place(arguments), out_shardings=after, donate_argnums=0,
        compiler_options=options,
    )
    run = run.lower(*arguments).compile()
    # A device that had all 4 rows of 24 tokens at once would have such products.
    products = [line for line in run.as_text().splitlines() if " dot(" in line]
    undivided = sum("[96," in line for line in products)
    for _ in range(2):
        state = run(*jax.device_put((state, batch, np.int32(10), base), place(arguments)))
    bytes_of = {device.id: 0 for device in mesh.devices.flat}
    for leaf in jax.tree.leaves((state, base)):
        for shard in leaf.addressable_shards:
            bytes_of[shard.device.id] += shard.data.nbytes
    expected = sharding.bytes_per_device(place((state, base)), (state, base))
    held.append([sorted(bytes_of.values()), expected, float(state.loss), undivided])
    flat = [np.ravel(leaf) for leaf in jax.tree.leaves(jax.device_get(state.params))]
    np.save(f"{folder}/{number}.npy", np.concatenate(flat))
print(json.dumps(held))
"""


@pytest.mark.parametrize(
    "recipe", [{}, pytest.param({"lora_rank": 4}, marks=pytest.mark.slow)], ids=["all", "adapters"]
)
def test_meshes_agree_and_share(recipe, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CODE, tmp_path, json.dumps(MESHES), json.dumps(recipe)],
        capture_output=True,
        text=True,
        env=os.environ | {"PJRT_NPROC": "16"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    held = json.loads(done.stdout.splitlines()[-1])
    one = np.load(tmp_path / "0.npy")
    assert np.isfinite(one).all()
    for number, shape in enumerate(MESHES):
        each, expected, loss, undivided = held[number]
        np.testing.assert_allclose(np.load(tmp_path / f"{number}.npy"), one, rtol=0, atol=1e-5)
        assert loss == pytest.approx(held[0][2], rel=1e-6)
        # All but norms and scalars, and adapters along their rank, is divided by all.
        devices, whole = shape[0] * shape[1], held[0][1]
        assert each == [expected] * devices
        assert whole / devices <= expected < (1.35 if recipe else 1.12) * whole / devices
        assert (undivided > 0) == (devices == 1)


# Refusals -----------------------------------------------------------------------------------


def mesh(data, model):
    """As much of a mesh as its check sees, without devices."""
    return types.SimpleNamespace(shape={"data": data, "model": model})


def test_a_mesh_that_divides_no_shape_is_refused():
    recipe = Recipe(batch_size=48)
    sharding.check_mesh(CONFIG, recipe, mesh(2, 4))
    message = r"^mesh: expected a data axis that divides 64 of embed/tokens \(512, 64\), got 3; "
    with pytest.raises(ValueError, match=message):
        sharding.check_mesh(CONFIG, recipe, mesh(3, 1))
    message = r"^mesh: expected a model axis that divides 512 of embed/tokens \(512, 64\), got 3; "
    with pytest.raises(ValueError, match=message):
        sharding.check_mesh(CONFIG, recipe, mesh(1, 3))


def test_a_mesh_that_does_not_divide_the_rows_is_refused():
    recipe = Recipe(batch_size=24, accumulation=4)
    sharding.check_mesh(CONFIG, recipe, mesh(2, 1))
    message = r"^mesh: expected a data axis that divides the 6 rows that are .* at once, got 4; "
    with pytest.raises(ValueError, match=message):
        sharding.check_mesh(CONFIG, recipe, mesh(4, 1))


def test_more_devices_than_there_are_are_refused():
    count = len(jax.devices())
    message = f"^mesh: expected at most {count} devices, got {count + 1} x 1; make it smaller$"
    with pytest.raises(ValueError, match=message):
        sharding.make_mesh(count + 1, 1)
    with pytest.raises(ValueError, match=r"^data: expected at least 1, got 0"):
        sharding.make_mesh(0, 1)


def test_every_matrix_of_every_decoder_is_divided_by_both_axes():
    one = sharding.make_mesh(1, 1)
    for name in ("gpt2-9m", "llama2-12m", "gemma2-27b"):
        params = decoder.abstract_params(architectures.config(name))
        places = sharding.shardings(one, params)
        for (path, leaf), place in zip(
            jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(places), strict=True
        ):
            matrix = leaf.ndim - (path[0].key == "layers") >= 2
            axes = {axis for axis in place.spec if axis}
            assert axes == ({"data", "model"} if matrix else set())


# Seeds --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_size": 4, "accumulation": 2},
        {"loss_chunks": 2, "remat": True},
        {"rows": "single", "data_order": "shared"},
        {"base": True, "data_order": "shared"},
        {"base": True, "lora_rank": 2},
    ],
    ids=str,
)
def test_chains_are_divided_among_devices_by_seed(options):
    """``shard_map`` follows which values differ between devices; loops begin as they go on."""
    if options.get("base"):
        options = {**options, "base": base_of("micro", MICRO, random_params(MICRO))}
    task = language_model.task(MICRO, 10, random_text(), **options)
    chain = jc.make_chain(task, "fresh-real", 2)
    mesh, by_seed = jax.sharding.Mesh(jax.devices(), ("seed",)), jax.sharding.PartitionSpec("seed")
    chains = jax.shard_map(jax.vmap(chain), mesh=mesh, in_specs=by_seed, out_specs=by_seed)
    metrics = jax.eval_shape(chains, jc.seed_keys([3]))
    assert metrics["nll"].shape == (1, 2)
