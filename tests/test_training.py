"""Training: PyTorch's AdamW, step by step; and all that must not change a step."""

import dataclasses
import math

import jax
import numpy as np
import pytest
from training_cases import (
    BATCHES,
    CONFIG,
    RATES,
    RECIPE,
    STEPS,
    UNOPTIMISED,
    VOCAB,
    WIDTH,
    assert_close,
    begin,
    compiled_step,
    documents,
    leaves,
    random_params,
    rows_of,
    tiny_gemma2,
)

from jaxcollapse.lm import architectures, checkpoints
from jaxcollapse.lm.decoder import training
from jaxcollapse.lm.decoder.packing import Rows
from jaxcollapse.lm.decoder.training import Recipe


@pytest.fixture(scope="module")
def params():
    return random_params(CONFIG)


# Against PyTorch ----------------------------------------------------------------------------


def one_by_one(torch, model, batch):
    """Summed loss and its tokens, a document at a time."""
    total, count = torch.zeros(()), 0
    for document in batch:
        tokens = torch.tensor(document, dtype=torch.long)
        logits = model(tokens[None]).logits[0, :-1]
        total = total + torch.nn.functional.cross_entropy(logits, tokens[1:], reduction="sum")
        count += len(document) - 1
    return total, count


def padded(torch, model, batch):
    """The same with a document in each row, and padding behind it."""
    width = max(map(len, batch))
    tokens = torch.zeros((len(batch), width), dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for row, document in enumerate(batch):
        tokens[row, : len(document)] = torch.tensor(document, dtype=torch.long)
        mask[row, : len(document)] = 1
    logits = model(tokens, attention_mask=mask).logits[:, :-1].flatten(0, 1)
    labels = torch.where(mask[:, 1:] > 0, tokens[:, 1:], -100).flatten()
    total = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    return total, int((labels >= 0).sum())


# A model from scratch on a cosine; one that is tuned, at a rate that stays. Documents of the latter
# are without token 0, Gemma's padding: where it comes in, PyTorch does not train its embedding.
TUNING = dataclasses.replace(RECIPE, schedule="constant")
WORDS = [documents(6, seed, first=1) for seed in range(1, STEPS + 1)]
CASES = {
    "llama": (CONFIG, RECIPE, RATES, BATCHES, one_by_one),
    "gemma2": (tiny_gemma2(), TUNING, (0.5e-2, 1e-2, 1e-2, 1e-2), WORDS, padded),
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture(scope="module")
def torch_history(case, tmp_path_factory):
    """Losses and parameters after each step of PyTorch.

    The gradients are far above ``eps`` and its rounding far below, so that no first step is a
    sign that rounding decides.
    """
    torch = pytest.importorskip("torch", reason="PyTorch, the reference, is not installed")
    transformers = pytest.importorskip("transformers", reason="the extra lm is not installed")
    config, recipe, rates, batches, loss_of = case
    folder = tmp_path_factory.mktemp("torch")
    checkpoints.save(folder / "start", config, random_params(config))
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder / "start", attn_implementation="eager", dtype="float32"
    )
    weights = list(model.parameters())
    groups = [
        {"params": [w for w in weights if w.ndim == 2], "weight_decay": recipe.weight_decay},
        {"params": [w for w in weights if w.ndim == 1], "weight_decay": 0.0},
    ]
    betas = (recipe.beta1, recipe.beta2)
    optimizer = torch.optim.AdamW(groups, lr=1.0, betas=betas, eps=recipe.eps)
    history = []
    for step, (batch, rate) in enumerate(zip(batches, rates, strict=True)):
        total, count = loss_of(torch, model, batch)
        loss = total / count
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(weights, recipe.clip)
        assert norm > 1.5 * recipe.clip
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        model.save_pretrained(folder / str(step))
        history.append((loss.item(), checkpoints.load(folder / str(step))[1]))
    return history


@pytest.fixture(scope="module")
def history(case):
    """The same of ours, with several documents in a row."""
    config, recipe, _, batches, _ = case
    found, state = [], begin(config, recipe, random_params(config))
    for batch in batches:
        rows = rows_of(batch, recipe.batch_size)
        state = compiled_step(config, recipe)(state, rows, np.int32(STEPS))
        found.append((float(state.loss), jax.device_get(state.params)))
    assert int(state.step) == STEPS
    return found


@pytest.mark.parametrize("steps", [1, 3, STEPS])
def test_steps_are_those_of_pytorch(case, history, torch_history, steps):
    (loss, found), (torch_loss, expected) = history[steps - 1], torch_history[steps - 1]
    assert loss == pytest.approx(torch_loss, rel=1e-5)
    assert_close(found, expected, atol=1e-5)
    # Every parameter has moved, norms and embeddings too, much further than that.
    start = leaves(random_params(case[0]))
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
    order = np.arange(RECIPE.batch_size).reshape(parts, -1)
    rows = jax.tree.map(lambda part: part[order.T.ravel()], rows)
    counts = [int((rows.segments[part::parts] > 0).sum()) for part in range(parts)]
    assert len(set(counts)) == parts
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
    more = jax.tree.map(lambda part: np.concatenate([part, np.zeros_like(part[:3])]), rows)
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
    config = architectures.config(f"tiny-{family}", vocab_size=VOCAB, context=WIDTH)
    start = random_params(config)
    nothing = jax.tree.map(np.zeros_like, start)

    def decay(params):
        optimizer = training._optimizer(RECIPE)
        with jax.numpy_dtype_promotion("standard"):
            return optimizer.update(nothing, optimizer.init(params), params)[0]

    direction = jax.jit(decay, compiler_options=UNOPTIMISED)(start)
    end = jax.tree.map(lambda p, d: np.asarray(p) - np.float32(0.01) * d, start, direction)
    assert_decayed(start, end, 0.01)


# Refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "step"}, "schedule: expected one of constant, linear, cosine, got 'step'"),
        ({"batch_size": 0}, "batch_size: expected at least 1, got 0"),
        ({"batch_size": 1.5}, "batch_size: expected a whole number, got 1.5"),
        ({"accumulation": 0}, "accumulation: expected at least 1, got 0"),
        ({"accumulation": 3}, "accumulation: expected a divisor of the batch, 16, got 3; change"),
        ({"loss_chunks": 0}, "loss_chunks: expected at least 1, got 0"),
        ({"lora_rank": 0}, "lora_rank: expected at least 1, got 0"),
        ({"lora_alpha": 0.0}, "lora_alpha: expected a finite number above 0, got 0.0"),
        ({"lora_targets": ()}, "lora_targets: expected at least one, got none"),
        ({"epochs": 0}, "epochs: expected at least 1, got 0"),
        ({"steps": 0}, "steps: expected at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate: expected a finite number above 0, got 0.0"),
        ({"learning_rate": math.nan}, "learning_rate: expected a finite number above 0, got nan"),
        ({"learning_rate": math.inf}, "learning_rate: expected a finite number above 0, got inf"),
        ({"clip": 0.0}, "clip: expected a finite number above 0, got 0.0"),
        ({"eps": -1e-8}, "eps: expected a finite number above 0, got -1e-08"),
        ({"warmup": 1.0}, "warmup: expected a finite number of at least 0 and below 1, got 1.0"),
        ({"warmup": -0.1}, "warmup: expected a finite number of at least 0 and below 1, got -0.1"),
        ({"beta1": 1.0}, "beta1: expected a finite number of at least 0 and below 1, got 1.0"),
        ({"beta2": math.nan}, "beta2: expected a finite number of at least 0 and below 1, got nan"),
        ({"weight_decay": -0.1}, "weight_decay: expected a finite number of at least 0, got -0.1"),
        (
            {"weight_decay": math.nan},
            "weight_decay: expected a finite number of at least 0, got nan",
        ),
    ],
)
def test_recipes_that_train_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match="^" + message):
        Recipe(**options)


def test_recipes_at_the_ends_of_their_range_are_not_refused():
    Recipe(warmup=0.0, beta1=0.0, beta2=0.0, weight_decay=0.0, batch_size=1, steps=1)
    Recipe(batch_size=16, accumulation=16)
