"""Base models for those who have none: tiny ones, trained on the embedded stories."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxcollapse import machine
from jaxcollapse.keys import seed_key
from jaxcollapse.lm import checkpoints, language_model
from jaxcollapse.lm.checkpoints.hub_config import CONFIG
from jaxcollapse.lm.setup import Setup, checked_setup
from jaxcollapse.lm.text import instructions, texts

STORIES, CONTEXT = 4000, 128


def tiny_base(
    model: str, tell: Callable[[str], None] = lambda told: None, cache: Path | None = None
) -> Path:
    """A checkpoint of a tiny model that knows the stories, trained if it is not in the cache.

    Its tokenizer is made for stories and instructions both, so that it can be fine-tuned on the
    latter.

    Args:
      model: a name of a configuration that begins with ``tiny-``.
      tell: called before it is trained.
      cache: the folder to keep checkpoints in; the user's cache by default.

    Returns:
      A folder in the hub's format.
    """
    cache = machine.cache_folder("bases") if cache is None else cache
    tokenizer = instructions.tokenizer()
    known = cache / f"tokenizer-{tokenizer.digest[:16]}"
    tokenizer.save(known)
    corpus = texts.load_corpus(tokenizer=str(known))
    data = language_model.text_data(corpus, CONTEXT)
    setup = checked_setup(model, min(STORIES, data.available), data, epochs=1)
    facts = json.dumps([setup.describe(), machine.versions()], sort_keys=True)
    folder = cache / f"{model}-{hashlib.sha256(facts.encode()).hexdigest()[:16]}"
    if not (folder / CONFIG).exists():
        tell(f"training {model} on {setup.num_samples} stories first: some 20 s, once")
        params = _trained(setup)
        tokenizer.save(folder)
        # The configuration comes last: a folder that has one is whole.
        checkpoints.save(folder, setup.config, params, tokenizer.bos, tokenizer.eos)
    return folder


def _trained(setup: Setup) -> Any:
    def fit(data, key):
        real_key, fit_key = jax.random.split(key)
        chosen = language_model.real_documents(real_key, setup)
        documents = language_model.gather(data, chosen)
        return language_model.fit(fit_key, documents, jnp.ones(setup.num_samples, bool), setup)

    return jax.jit(fit)(setup.data, seed_key(0))
