"""What the commands of language models say."""

import types

import numpy as np
import pytest
import xarray

from jaxcollapse.lm import plans
from jaxcollapse.lm.host import progress
from jaxcollapse.show import language_models


@pytest.mark.parametrize(
    ("dropped", "copies", "message"),
    [
        (0, 0, ""),
        (2, 0, "documents left out: 2 longer than 64 tokens; left are 30 to train and 5 to test"),
        (
            2,
            3,
            "2 longer than 64 tokens, 3 with the text or the prompt of one to test on; left are",
        ),
    ],
)
def test_documents_that_are_left_out(dropped, copies, message):
    train, test = (types.SimpleNamespace(count=count) for count in (30, 5))
    counts = {"dropped": dropped, "copies": copies, "shared": 0}
    corpus = types.SimpleNamespace(**counts, train=train, test=test)
    told = plans.left_out(corpus, 64)
    assert message in told
    assert bool(told) == bool(message)


def published(*rates):
    dimensions = ("workflow", "model", "num_samples", "seed", "generation")
    array = np.reshape(np.float32(rates), (2, 1, 1, 1, -1))
    coords = {"workflow": ["replace", "accumulate"], "seed": [7], "generation": [1, 2]}
    return xarray.Dataset({"acceptance_rate": (dimensions, array)}, coords)


def test_few_accepted_samples():
    assert language_models.few_accepted(published(0.5, 0.4, 0.3, 0.2)) == ""
    told = language_models.few_accepted(published(0.5, 0.4, 0.3, 0.05))
    assert "only 5.0% of the samples were published, by accumulate, seed 7, generation 2" in told


@pytest.mark.parametrize("filtered", [True, False])
def test_time(filtered):
    rates = {(("model", "tiny"), ("num_samples", 5)): (100.0, 50.0)}
    expected = types.SimpleNamespace(
        seconds=3.0, trained=10.0, sampled=20.0, rates=rates, filtered=filtered
    )
    told = progress.time_line(expected)
    assert "about 3 s: 10 tokens to train on and 20 to sample (tiny 100/s and 50/s)" in told
    assert ("longer where samples are rejected" in told) == filtered


@pytest.mark.parametrize("fits", [True, False])
def test_memory(fits):
    told = progress.memory_line("2 chains, 1 at a time", 2**20, 2**21 if fits else 2**19)
    assert told.startswith("2 chains, 1 at a time: 1 MiB to train on each device, where ")
    assert ("THIS MAY NOT FIT" in told) == (not fits)
