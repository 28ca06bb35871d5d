"""What a language model makes of what it publishes itself; see test_host for it in chains."""

import jax
import numpy as np
import pytest
from conftest import random_text

import jaxcollapse as jc
from jaxcollapse.lm import language_model, plans
from jaxcollapse.lm.decoder import decoder
from jaxcollapse.lm.setup import checked_setup


def test_it_is_that_of_its_probabilities():
    setup = checked_setup("micro", 12, random_text(), batch_size=5)
    params = decoder.init(setup.config, jax.random.key(0))
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 16, (12, 12)).astype(np.int32)
    lengths = rng.integers(2, 13, 12).astype(np.int32)
    logits = np.asarray(decoder.apply(setup.config, params, tokens), np.float64)
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    told = [
        log_p[row, place - 1, tokens[row, place]]
        for row in range(12)
        for place in range(1, lengths[row])
    ]
    documents = language_model.Batch(tokens, lengths)
    found = jax.jit(lambda params: language_model.self_perplexity(documents, params, setup))(params)
    np.testing.assert_allclose(found, np.exp(-np.mean(told)), rtol=1e-5)


def test_it_is_measured_where_it_is_asked_for():
    known = jc.language_model.FAMILY.known
    assert "self_perplexity" not in known({})
    assert "self_perplexity" in known({"self_perplexity": True})
    assert "self_perplexity" in jc.fine_tuning.FAMILY.known({"self_perplexity": True})
    without, with_it = (
        checked_setup("micro", 12, random_text(), self_perplexity=asked).describe()
        for asked in (False, True)
    )
    assert {**without, "self_perplexity": True} == with_it


def test_mixtures_publish_nothing():
    with pytest.raises(ValueError, match="self_perplexity: expected none of mixtures"):
        plans.fine_tuned_mixtures(self_perplexity=True)
