"""Training and sampling as people write them in PyTorch, for ``language_model.py``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxcollapse.lm import checkpoints
from jaxcollapse.lm.decoder import decoder, training
from jaxcollapse.lm.decoder.config import Config


def load(config: Config, params: decoder.Params) -> Any:
    """The same model with the same weights, eager."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        checkpoints.save(Path(folder) / "model", config, params)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            Path(folder) / "model", attn_implementation="eager", dtype="float32"
        )
    return model.eval()  # without dropout, as ours


def on_threads(threads: int, run: Callable[[], Any]) -> Callable[[], Any]:
    """A run with that many threads of PyTorch."""
    import torch

    def call():
        torch.set_num_threads(threads)
        return run()

    return call


def train(model: Any, recipe: training.Recipe, tokens: np.ndarray) -> Callable:
    """A run over batches ``[K, B, T]``, which goes on from the last and returns losses ``[K]``."""
    import torch

    matrices = [weight for weight in model.parameters() if weight.ndim >= 2]
    vectors = [weight for weight in model.parameters() if weight.ndim < 2]
    groups: list[dict[str, Any]] = [
        {"params": matrices},
        {"params": vectors, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        groups,
        lr=recipe.learning_rate,
        betas=(recipe.beta1, recipe.beta2),
        eps=recipe.eps,
        weight_decay=recipe.weight_decay,
    )
    batches = torch.tensor(tokens, dtype=torch.long)

    def run():
        losses = []
        for batch in batches:
            loss = model(input_ids=batch, labels=batch, use_cache=False).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            optimizer.step()
            losses.append(loss.item())
        return losses

    return run


def sample(model: Any, sequences: int, length: int, begin: int, end: int) -> Callable[[], Any]:
    """A run that samples tokens ``[B, T]`` at temperature 1, with a cache."""
    import torch

    @torch.inference_mode()
    def run():
        token = torch.full((sequences, 1), begin)
        tokens, cache = [token], None
        finished = torch.zeros(sequences, 1, dtype=torch.bool)
        while len(tokens) < length and not finished.all():
            made = model(input_ids=token, past_key_values=cache, use_cache=True)
            cache = made.past_key_values
            token = torch.multinomial(torch.softmax(made.logits[:, -1], dim=-1), 1)
            finished |= token == end
            tokens.append(token)
        return torch.cat(tokens, dim=1)

    return run
