"""Products of float32: those that are measured are float32 on every device, others as told.

On a CPU all precisions are float32, so that what a program asks for is read off its jaxpr.
"""

import dataclasses
import json
import shlex

import jax
import jax.extend.core
import numpy as np
import pytest
from conftest import random_text
from test_cli import refused
from test_lm_cli import lm

import jaxcollapse as jc
from jaxcollapse import machine
from jaxcollapse.lm import architectures, fine_tuning, host, language_model, plans
from jaxcollapse.lm.decoder import decoder, lora, sampling, training
from jaxcollapse.lm.decoder.packing import Rows
from jaxcollapse.lm.setup import checked_setup
from jaxcollapse.sweeps import results
from jaxcollapse.sweeps.cells import CellStore
from jaxcollapse.sweeps.chains import plan
from jaxcollapse.sweeps.plan import Cell

TINY = [name for name in architectures.configs() if name.startswith("tiny-")]
LAYERS = 2
IN_A_LAYER = 6  # queries, keys and values; scores; values averaged; out; up; down
TOKENS = jax.ShapeDtypeStruct((4, 8), np.int32)
ROWS = Rows(TOKENS, TOKENS)
KEY = jax.eval_shape(jax.random.key, 0)


def tiny(name, **others):
    return architectures.config(name, vocab_size=32, context=16, layers=LAYERS, **others)


def asked(function, *arguments):
    """The precision that each product of a function asks for, by name.

    Where it is called another one is asked for, which no product may take.
    """
    with jax.default_matmul_precision("BF16_BF16_F32_X9"):
        return list(_asked(jax.make_jaxpr(function)(*arguments)))


def _asked(program):
    parts = jax.extend.core.Jaxpr | jax.extend.core.ClosedJaxpr
    for equation in getattr(program, "jaxpr", program).eqns:
        if equation.primitive.name == "dot_general":
            left, right = equation.params["precision"]
            assert left == right
            yield left.name.lower()
        within = list(equation.params.values())
        for part in jax.tree.leaves(within, is_leaf=lambda x: isinstance(x, parts)):
            if isinstance(part, parts):
                yield from _asked(part)


# What is measured ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", TINY)
def test_logits_and_held_out_losses_are_float32(name):
    config = tiny(name, matmul_precision="default")
    params = decoder.abstract_params(config)

    def logits(params, tokens, adapters=None):
        return decoder.apply(config, params, tokens, adapters=adapters)

    assert asked(logits, params, TOKENS) == ["highest"] * (IN_A_LAYER + 1)
    adapters = jax.eval_shape(lambda key: lora.init(config, key, 2), KEY)
    adapted = asked(logits, params, TOKENS, adapters)
    assert adapted == ["highest"] * (IN_A_LAYER + 1 + 2 * len(adapters["layers"]))
    for remat, chunks in ((False, 1), (True, 4)):
        again = dataclasses.replace(config, remat=remat)

        def loss(params, rows, config=again, chunks=chunks):
            return training.evaluate(config, params, rows, 2, chunks)

        assert asked(loss, params, ROWS) == ["highest"] * (IN_A_LAYER + 1)


@pytest.mark.parametrize("name", TINY)
def test_a_decoder_is_float32_unless_told_otherwise(name):
    """Its logits by cached keys and values too, which are compared with those of other code."""
    config = tiny(name)
    params = decoder.abstract_params(config)
    cache = jax.eval_shape(lambda: decoder.empty_cache(config, 4, 8))
    row = jax.ShapeDtypeStruct((4,), np.int32)

    def step(*arguments):
        return decoder.decode(config, *arguments)

    found = asked(step, params, cache, row, row)
    assert found == ["highest"] * (LAYERS * IN_A_LAYER + 1)


# What is trained and sampled ----------------------------------------------------------------


@pytest.mark.parametrize("name", TINY)
def test_training_and_sampling_are_as_told(name):
    told = "high"  # which nothing is by default
    for remat, more in ((False, {}), (True, {"accumulation": 2, "loss_chunks": 2, "lora_rank": 2})):
        config = tiny(name, matmul_precision=told, remat=remat)
        params = decoder.abstract_params(config)
        recipe = training.Recipe(batch_size=4, **more)
        base = params if more else None

        def begin(params, key, config=config, recipe=recipe):
            return training.start(config, recipe, params, key)

        def step(state, rows, base, config=config, recipe=recipe):
            return training.train_step(config, recipe, state, rows, np.int32(3), base)

        found = asked(step, jax.eval_shape(begin, params, KEY), ROWS, base)
        # Of each product the backward pass has one or two more.
        assert len(found) > 2 * (IN_A_LAYER + 1)
        assert set(found) == {told}
    sampler = sampling.sampler(config, 4, 8, [0], [1])
    assert set(asked(sampler.documents, params, KEY)) == {told}


@pytest.mark.parametrize("name", TINY)
def test_products_of_bfloat16_stay_as_they_are(name):
    config = tiny(name, dtype="bfloat16", param_dtype="bfloat16")
    params = decoder.abstract_params(config)

    def loss(params, rows):
        return training.evaluate(config, params, rows, 2)

    assert set(asked(loss, params, ROWS)) == {"default"}


# Chains -------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [{}, {"matmul_precision": "high"}])
def test_both_drivers_do_as_told(told):
    data, expected = random_text(), told.get("matmul_precision", "default")
    options = {"batch_size": 4, "steps": 2, **told}
    setup = checked_setup("micro", 12, data, **options)
    params = decoder.abstract_params(setup.config)
    programs = host.Programs(setup)
    frozen, state = jax.eval_shape(programs.start, KEY)
    batches = programs.batches()
    trained = asked(lambda state: programs.train(state, frozen, batches, 1, 2), state)
    assert set(trained) == {expected}
    written = jax.eval_shape(programs.start_sampling)
    assert set(asked(programs.advance, params, KEY, written)) == {expected}
    assert set(asked(programs.evaluate, data, params)) == {"highest"}

    batch = jax.eval_shape(lambda chosen: language_model.gather(data, chosen), np.arange(12))
    mask = np.ones(12, bool)
    found = asked(lambda *given: language_model.fit(*given, setup), KEY, batch, mask)
    assert set(found) == {expected}
    found = asked(lambda *given: language_model.sample(*given, setup), KEY, params)
    assert set(found) == {expected}
    chain = jc.make_chain(jc.language_model.task("micro", 12, data, **options), "replace", 2)
    assert set(asked(chain, KEY)) == {expected, "highest"}


def test_chains_of_another_precision_are_not_taken_for_these(tmp_path):
    def store(**told):
        axes = {"model": ["micro"], "num_samples": [12]}
        options = {"data": random_text(), "steps": 2, **told}
        return CellStore(tmp_path, plan("language-model", ["replace"], axes, 1, 2, **options))

    cell = Cell({"model": "micro", "num_samples": 12}, jc.replace())
    store(matmul_precision="highest").save(cell, {"nll": np.zeros(2)})
    assert store(matmul_precision="highest").has(cell)
    assert not store().has(cell)
    assert not store(matmul_precision="high").has(cell)


def test_a_precision_that_would_change_nothing_is_refused():
    message = (
        "matmul_precision: expected none beside dtype bfloat16, of which all products are alike, "
        "got 'high'; leave it out, or compute in float32"
    )
    bfloat16 = {"dtype": "bfloat16", "param_dtype": "bfloat16"}
    for options in (bfloat16, fine_tuning.FAMILY.presets["authors"]):
        with pytest.raises(ValueError, match=message):
            checked_setup("micro", 12, random_text(), **options, matmul_precision="high")
        checked_setup("micro", 12, random_text(), **options, matmul_precision="default")
    with pytest.raises(ValueError, match=message):
        plans.pretraining("replace", data="missing.txt", **bfloat16, matmul_precision="high")


def test_command(tmp_path, capsys):
    """Kept in the result and in the folder of a run, which goes on with no other precision."""
    path = tmp_path / "a.txt"
    path.write_text("<|endoftext|>".join(f"{i}." for i in range(60)))
    size = "--model micro --num-samples 8 --seeds 1 --steps 2 --workflow replace --generations 1"
    text = ["--data", path, "--tokenizer", "bytes", "--context", 12, "--texts", 0]
    given = ["pretrain", *shlex.split(size), *text, "--out", tmp_path / "run"]
    lm(*given, "--matmul-precision", "highest", "--keep-weights", "all")
    dataset = results.load(tmp_path / "run" / "results.nc")
    assert json.loads(dataset.attrs["options"])["matmul_precision"] == "highest"
    (details,) = json.loads(dataset.attrs["details"])
    assert details["config"]["matmul_precision"] == "highest"
    kept = json.loads((tmp_path / "run" / "micro-8" / "setup.json").read_text())
    assert kept == {**details, "settings": machine.settings()}
    capsys.readouterr()
    for other in ([], ["--matmul-precision", "high"]):
        message = refused(capsys, "lm", *given, "--overwrite", *other)
        assert "where others are: config matmul_precision; choose another folder" in message
