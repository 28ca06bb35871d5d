"""How long a model is trained and how fast: learning rates, epochs, steps."""

import dataclasses
import math
from functools import partial

import jax
import numpy as np
import pytest
from conftest import MICRO, random_text
from training_cases import (
    CONFIG,
    RECIPE,
    UNOPTIMISED,
    WIDTH,
    assert_close,
    begin,
    compiled_step,
    rows_of,
)

from jaxcollapse.lm import language_model
from jaxcollapse.lm.decoder import decoder, packing, training
from jaxcollapse.lm.decoder.packing import Rows
from jaxcollapse.lm.decoder.training import Recipe
from jaxcollapse.lm.setup import checked_setup

# Learning rate ------------------------------------------------------------------------------


def rates(total, **options):
    recipe = Recipe(learning_rate=2e-3, **options)
    of_steps = jax.jit(partial(training.learning_rate, recipe))
    return np.asarray(of_steps(np.arange(total, dtype=np.int32), np.int32(total))) / 2e-3


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_learning_rate_follows_its_schedule(schedule):
    total, warm = 100, 10
    found = rates(total, schedule=schedule, warmup=0.095)
    np.testing.assert_allclose(found[:warm], np.arange(1, warm + 1) / warm, rtol=1e-6)
    assert found.max() == pytest.approx(1)
    done = (np.arange(warm, total) - warm) / (total - warm)
    expected = {
        "constant": np.ones_like(done),
        "linear": 1 - done,
        "cosine": 0.1 + 0.9 * (1 + np.cos(math.pi * done)) / 2,
    }[schedule]
    np.testing.assert_allclose(found[warm:], expected, rtol=1e-5)
    end = {"constant": 1, "linear": 0, "cosine": 0.1}[schedule]
    assert found[-1] == pytest.approx(end, abs=0.012)


def test_learning_rate_without_warm_up_begins_at_the_top():
    for schedule in ("constant", "linear", "cosine"):
        found = rates(50, schedule=schedule, warmup=0.0)
        assert found[0] == pytest.approx(1)
        assert (np.diff(found) <= 1e-7).all()


@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.5, 0.99])
def test_learning_rate_of_few_steps_is_never_0(warmup):
    for total in (1, 2, 3):
        found = rates(total, schedule="linear", warmup=warmup)
        assert (found > 0.2).all()
        assert found.max() == pytest.approx(1)


# How many steps -----------------------------------------------------------------------------


def steps_of(rows, **recipe):
    setup = checked_setup(MICRO, 10, random_text(), **recipe)
    return tuple(int(steps) for steps in language_model.steps_of(setup, np.int32(rows)))


def test_epochs_are_passes_over_all_rows():
    assert steps_of(8, batch_size=4, epochs=3) == (2, 6)
    assert steps_of(9, batch_size=4, epochs=3) == (3, 9)
    assert steps_of(1, batch_size=4) == (1, 1)


def test_steps_take_the_place_of_epochs():
    for matched in (False, True):
        for rows in (1, 8, 9, 100):
            steps = steps_of(rows, batch_size=4, epochs=3, steps=7, matched_compute=matched)
            assert steps == (-(-rows // 4), 7)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_matched_compute_is_that_of_real_documents(batch_size):
    """10 of 30 documents, so a third of the rows that all of them make, whatever there is."""
    data = random_text()
    tokens, lengths = language_model.gather(data, np.arange(30))
    _, used = packing.pack(tokens, lengths, data.context)
    assert data.train_rows == int(used)
    steps = 2 * math.ceil(math.ceil(int(used) / 3) / batch_size)
    for rows in (1, 7, 200):
        options = {"batch_size": batch_size, "epochs": 2, "matched_compute": True}
        assert steps_of(rows, **options) == (-(-rows // batch_size), steps)


def test_a_fit_takes_its_steps_through_the_epochs_in_their_orders():
    # Two batches an epoch, and five steps: the third epoch ends after one.
    count, size = 20, RECIPE.batch_size
    options = dataclasses.asdict(dataclasses.replace(RECIPE, steps=5))
    setup = checked_setup(CONFIG, count, random_text(), **options)
    key, mask = jax.random.key(3), np.arange(count) % 7 != 1
    batch = language_model.gather(setup.data, np.arange(count, dtype=np.int32))
    fit = jax.jit(partial(language_model.fit, setup=setup), compiler_options=UNOPTIMISED)
    found = fit(key, batch, mask)

    tokens, lengths = jax.device_get(batch)
    init_key, document_key, row_key = language_model.fit_keys(key, setup)
    order = [i for i in np.asarray(packing.shuffled(document_key, count, mask)) if mask[i]]
    packed = rows_of([tokens[i, : lengths[i]] for i in order], count)
    used = int((packed.segments > 0).any(axis=1).sum())
    assert size < used < 2 * size
    fresh = jax.jit(partial(decoder.init, CONFIG), compiler_options=UNOPTIMISED)
    state = begin(CONFIG, RECIPE, fresh(init_key))
    for number in range(5):
        epoch, place = divmod(number, 2)
        rows = np.asarray(language_model.row_order(row_key, epoch, count, used))[:used]
        chosen = rows[size * place : size * (place + 1)]
        some = Rows(*np.zeros((2, size, WIDTH), np.int32))
        for part, whole in ((some.tokens, packed.tokens), (some.segments, packed.segments)):
            part[: len(chosen)] = whole[chosen]
        state = compiled_step(CONFIG, RECIPE)(state, some, np.int32(5))
    assert_close(found, state.params, atol=1e-5)
