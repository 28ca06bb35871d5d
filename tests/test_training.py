"""Training: PyTorch's AdamW, step by step; and all that must not change a step."""

import dataclasses
import functools
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import MICRO, random_text

from jaxcollapse.models import checkpoints, configs, decoder, packing, training
from jaxcollapse.models.packing import Rows
from jaxcollapse.models.training import Recipe
from jaxcollapse.tasks import language_model

VOCAB, WIDTH = 16, 12
CONFIG = configs.llama(8, 1, 2, 12, kv_heads=1, vocab_size=VOCAB, context=WIDTH)
STEPS = 4
# Two steps of warm-up, the top twice, then half of the cosine. The gradients are clipped.
RECIPE = Recipe(learning_rate=1e-2, warmup=0.4, batch_size=8, clip=0.2, eps=1e-4)
RATES = (0.5e-2, 1e-2, 1e-2, 0.55e-2)


# XLA takes half the time for such a program.
UNOPTIMISED = {"xla_backend_optimization_level": 0}


def random_params(config):
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(partial(decoder.init, config), jax.random.key(0))
    return jax.tree.map(lambda x: jnp.asarray(0.5 * rng.normal(size=x.shape), x.dtype), shapes)


def documents(count, seed=0):
    """Lists of 1 to 12 tokens; of those of one, nothing is predicted."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, VOCAB, n).astype(np.int32) for n in rng.integers(1, 13, count)]


def rows_of(some, count):
    """Documents one behind the other in ``count`` rows."""
    tokens, segments = np.zeros((2, count, WIDTH), np.int32)
    row = filled = 0
    for number, document in enumerate(some, start=1):
        if filled + len(document) > WIDTH:
            row, filled = row + 1, 0
        place = slice(filled, filled + len(document))
        tokens[row, place], segments[row, place] = document, number
        filled += len(document)
    return Rows(tokens, segments)


@functools.cache
def compiled_step(config, recipe):
    return jax.jit(partial(training.train_step, config, recipe), compiler_options=UNOPTIMISED)


def begin(config, recipe, params):
    start = jax.jit(partial(training.start, config, recipe), compiler_options=UNOPTIMISED)
    return start(params)


@functools.cache
def compiled_loss(config):
    return jax.jit(partial(training.loss_sum, config))


def leaves(params):
    """Arrays by path."""
    flat, _ = jax.tree_util.tree_flatten_with_path(params)
    return {"/".join(key.key for key in path): np.asarray(leaf) for path, leaf in flat}


def assert_close(params, others, atol):
    params, others = leaves(params), leaves(others)
    assert params.keys() == others.keys()
    for name, leaf in params.items():
        np.testing.assert_allclose(leaf, others[name], atol=atol, rtol=0, err_msg=name)


@pytest.fixture(scope="module")
def params():
    return random_params(CONFIG)


@pytest.fixture(scope="module")
def separate_losses(params):
    """Negative log-likelihoods of 20 documents, each in a row of its own, by NumPy."""
    some = documents(20)
    tokens = np.stack([np.pad(document, (0, WIDTH - len(document))) for document in some])
    logits = jax.jit(partial(decoder.apply, CONFIG))(params, tokens)
    found = []
    for document, row in zip(some, np.asarray(logits, np.float64), strict=True):
        log_chances = row - np.log(np.exp(row).sum(axis=1, keepdims=True))
        found.append([-log_chances[i, token] for i, token in enumerate(document[1:])])
    return some, found


# Against PyTorch ----------------------------------------------------------------------------


BATCHES = [documents(6, seed) for seed in range(1, STEPS + 1)]


@pytest.fixture(scope="module")
def torch_history(params, tmp_path_factory):
    """Losses and parameters after each step of PyTorch."""
    torch = pytest.importorskip("torch", reason="PyTorch, the reference, is not installed")
    transformers = pytest.importorskip("transformers", reason="the extra lm is not installed")
    folder = tmp_path_factory.mktemp("torch")
    checkpoints.save(folder / "start", CONFIG, params)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder / "start", attn_implementation="eager", dtype="float32"
    )
    weights = list(model.parameters())
    groups = [
        {"params": [w for w in weights if w.ndim == 2], "weight_decay": RECIPE.weight_decay},
        {"params": [w for w in weights if w.ndim == 1], "weight_decay": 0.0},
    ]
    betas = (RECIPE.beta1, RECIPE.beta2)
    optimizer = torch.optim.AdamW(groups, lr=1.0, betas=betas, eps=RECIPE.eps)
    history = []
    for step, (batch, rate) in enumerate(zip(BATCHES, RATES, strict=True)):
        total, count = torch.zeros(()), 0
        for document in batch:
            tokens = torch.tensor(document, dtype=torch.long)
            logits = model(tokens[None]).logits[0, :-1]
            cross_entropy = torch.nn.functional.cross_entropy
            total = total + cross_entropy(logits, tokens[1:], reduction="sum")
            count += len(document) - 1
        loss = total / count
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(weights, RECIPE.clip)
        assert norm > 1.5 * RECIPE.clip
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        model.save_pretrained(folder / str(step))
        history.append((loss.item(), checkpoints.load(folder / str(step))[1]))
    return history


@pytest.fixture(scope="module")
def history(params):
    """The same of ours, with several documents in a row."""
    found, state = [], begin(CONFIG, RECIPE, params)
    for batch in BATCHES:
        rows = rows_of(batch, RECIPE.batch_size)
        state = compiled_step(CONFIG, RECIPE)(state, rows, np.int32(STEPS))
        found.append((float(state.loss), jax.device_get(state.params)))
    assert int(state.step) == STEPS
    return found


@pytest.mark.parametrize("steps", [1, 3, STEPS])
def test_steps_are_those_of_pytorch(params, history, torch_history, steps):
    (loss, found), (torch_loss, expected) = history[steps - 1], torch_history[steps - 1]
    assert loss == pytest.approx(torch_loss, rel=1e-5)
    assert_close(found, expected, atol=1e-5)
    # Every parameter has moved, norms and embeddings too, much further than that.
    start = leaves(params)
    for name, leaf in leaves(found).items():
        assert np.abs(leaf - start[name]).max() > 2e-3


# What changes nothing -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def one_step(params):
    """A step from the start, with moments in the state, and its rows."""
    rows = rows_of(BATCHES[0], RECIPE.batch_size)
    state = begin(CONFIG, RECIPE, params)
    return state, rows, compiled_step(CONFIG, RECIPE)(state, rows, np.int32(STEPS))


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulation_gives_the_same_step(one_step, parts):
    state, rows, expected = one_step
    # Parts of unlike numbers of tokens, one of four empty: a mean of means would be another.
    counts = (rows.segments > 0).reshape(parts, -1).sum(axis=1)
    assert len(set(counts.tolist())) == parts
    assert parts == 2 or counts[-1] == 0
    recipe = dataclasses.replace(RECIPE, accumulation=parts)
    found = compiled_step(CONFIG, recipe)(state, rows, np.int32(STEPS))
    assert float(found.loss) == pytest.approx(float(expected.loss), rel=1e-6)
    assert_close(found.params, expected.params, atol=1e-6)


def test_rows_and_tokens_of_no_document_change_nothing(one_step):
    state, rows, expected = one_step
    step = compiled_step(CONFIG, RECIPE)
    assert (rows.segments == 0).sum() > 5
    noise = np.random.default_rng(3).integers(0, VOCAB, rows.tokens.shape).astype(np.int32)
    noisy = Rows(np.where(rows.segments == 0, noise, rows.tokens), rows.segments)
    assert_close(step(state, noisy, np.int32(STEPS)).params, expected.params, atol=0)
    more = Rows(*(np.concatenate([part, np.zeros((3, WIDTH), np.int32)]) for part in rows))
    found = step(state, more, np.int32(STEPS))
    assert float(found.loss) == pytest.approx(float(expected.loss), rel=1e-6)
    assert_close(found.params, expected.params, atol=1e-6)


def test_the_order_of_rows_and_the_numbers_of_documents_change_nothing(one_step):
    state, rows, expected = one_step
    order = np.random.default_rng(4).permutation(RECIPE.batch_size)
    numbers = np.where(rows.segments == 0, 0, 100 - rows.segments).astype(np.int32)
    found = compiled_step(CONFIG, RECIPE)(
        state, Rows(rows.tokens[order], numbers[order]), np.int32(STEPS)
    )
    assert_close(found.params, expected.params, atol=1e-6)


def test_a_step_with_nothing_to_learn_only_decays(params):
    nothing = Rows(*np.zeros((2, RECIPE.batch_size, WIDTH), np.int32))
    state = begin(CONFIG, RECIPE, params)
    found = compiled_step(CONFIG, RECIPE)(state, nothing, np.int32(STEPS))
    assert float(found.loss) == 0
    assert_decayed(params, found.params, RATES[0])


def assert_decayed(start, end, rate):
    """Matrices have shrunk, norms and biases are as they were."""
    start, end, matrices = leaves(start), leaves(end), []
    for name, leaf in start.items():
        if name.endswith(("scale", "bias")):
            np.testing.assert_array_equal(end[name], leaf, err_msg=name)
        else:
            matrices.append(name)
            expected = leaf * (1 - rate * RECIPE.weight_decay)
            np.testing.assert_allclose(end[name], expected, rtol=1e-6, err_msg=name)
    assert 4 < len(matrices) < len(start)


@pytest.mark.parametrize("family", ["gpt2", "gemma2"])
def test_weight_decay_leaves_norms_and_biases_alone(family):
    config = configs.config(f"tiny-{family}", vocab_size=VOCAB, context=WIDTH)
    start = random_params(config)
    nothing = jax.tree.map(np.zeros_like, start)

    def decay(params):
        optimizer = training._optimizer(RECIPE)
        with jax.numpy_dtype_promotion("standard"):
            return optimizer.update(nothing, optimizer.init(params), params)[0]

    direction = jax.jit(decay, compiler_options=UNOPTIMISED)(start)
    end = jax.tree.map(lambda p, d: np.asarray(p) - np.float32(0.01) * d, start, direction)
    assert_decayed(start, end, 0.01)


# Losses -------------------------------------------------------------------------------------


def test_the_loss_is_a_sum_over_documents(params, separate_losses):
    some, losses = separate_losses
    nll, count = compiled_loss(CONFIG)(params, rows_of(some, len(some)))
    assert int(count) == sum(len(document) - 1 for document in some)
    assert float(nll) == pytest.approx(sum(map(sum, losses)), rel=1e-6)


@pytest.mark.parametrize("batch_size", [3, 20])
def test_evaluation_depends_on_neither_batches_nor_packing(params, separate_losses, batch_size):
    some, losses = separate_losses
    expected = sum(map(sum, losses)) / sum(map(len, losses))
    evaluate = jax.jit(partial(training.evaluate, CONFIG), static_argnums=2)
    alone = Rows(*map(np.concatenate, zip(*(rows_of([one], 1) for one in some), strict=True)))
    # As many rows, many of them empty, so that it is the same program.
    for rows in (alone, rows_of(some, len(some)), rows_of(some[::-1], len(some))):
        assert float(evaluate(params, rows, batch_size)) == pytest.approx(expected, rel=1e-6)


def test_evaluation_of_nothing_is_zero(params):
    nothing = Rows(*np.zeros((2, 20, WIDTH), np.int32))
    nll, count = compiled_loss(CONFIG)(params, nothing)
    assert (float(nll), float(count)) == (0, 0)


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
    made = language_model.setup(MICRO, 10, random_text(), **recipe)
    return tuple(int(steps) for steps in language_model.steps_of(made, np.int32(rows)))


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
    made = language_model.setup(CONFIG, count, random_text(), **options)
    key, mask = jax.random.key(3), np.arange(count) % 7 != 1
    batch = language_model.gather(made.data, np.arange(count, dtype=np.int32))
    fit = jax.jit(partial(language_model.fit, made=made), compiler_options=UNOPTIMISED)
    found = fit(key, batch, mask)

    tokens, lengths = jax.device_get(batch)
    init_key, document_key, row_key = language_model.fit_keys(key)
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
        for part, whole in zip(some, packed, strict=True):
            part[: len(chosen)] = whole[chosen]
        state = compiled_step(CONFIG, RECIPE)(state, some, np.int32(5))
    assert_close(found, state.params, atol=1e-5)


# Refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "step"}, "schedule: expected one of constant, linear, cosine, got 'step'"),
        ({"batch_size": 0}, "batch_size: expected at least 1, got 0"),
        ({"batch_size": 1.5}, "batch_size: expected a whole number, got 1.5"),
        ({"accumulation": 0}, "accumulation: expected at least 1, got 0"),
        ({"accumulation": 3}, "accumulation: expected a divisor of the batch, 16, got 3; change"),
        ({"epochs": 0}, "epochs: expected at least 1, got 0"),
        ({"steps": 0}, "steps: expected at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate: expected a positive number, got 0.0"),
        ({"learning_rate": math.nan}, "learning_rate: expected a positive number, got nan"),
        ({"learning_rate": math.inf}, "learning_rate: expected a positive number, got inf"),
        ({"clip": 0.0}, "clip: expected a positive number, got 0.0"),
        ({"eps": -1e-8}, "eps: expected a positive number, got -1e-08"),
        ({"warmup": 1.0}, "warmup: expected from 0 to below 1, got 1.0"),
        ({"warmup": -0.1}, "warmup: expected from 0 to below 1, got -0.1"),
        ({"beta1": 1.0}, "beta1: expected from 0 to below 1, got 1.0"),
        ({"beta2": math.nan}, "beta2: expected from 0 to below 1, got nan"),
        ({"weight_decay": -0.1}, "weight_decay: expected at least 0, got -0.1"),
        ({"weight_decay": math.nan}, "weight_decay: expected at least 0, got nan"),
    ],
)
def test_recipes_that_train_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match="^" + message):
        Recipe(**options)


def test_recipes_at_the_ends_of_their_range_are_not_refused():
    Recipe(warmup=0.0, beta1=0.0, beta2=0.0, weight_decay=0.0, batch_size=1, steps=1)
    Recipe(batch_size=16, accumulation=16)
