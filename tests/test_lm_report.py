"""What the commands of language models say."""

import types

import numpy as np
import pytest
import xarray

from jaxcollapse.cli import lm_report


@pytest.mark.parametrize(
    ("dropped", "copies", "message"),
    [
        (0, 0, ""),
        (2, 0, "documents left out: 2 longer than 64 tokens; left are 30 to train and 5 to test"),
        (2, 3, "left out: 2 longer than 64 tokens, 3 the same as one to test on; left are 30"),
    ],
)
def test_documents_that_are_left_out(dropped, copies, message, capsys):
    train, test = (types.SimpleNamespace(count=count) for count in (30, 5))
    corpus = types.SimpleNamespace(dropped=dropped, copies=copies, train=train, test=test)
    lm_report.tell_left_out(corpus, 64)
    told = capsys.readouterr().err
    assert message in told
    assert bool(told) == bool(message)


def published(*rates):
    dimensions = ("workflow", "model", "num_samples", "seed", "generation")
    array = np.reshape(np.float32(rates), (2, 1, 1, 1, -1))
    coords = {"workflow": ["replace", "accumulate"], "seed": [7], "generation": [1, 2]}
    return xarray.Dataset({"acceptance_rate": (dimensions, array)}, coords)


def test_few_accepted_samples(capsys):
    lm_report.tell_few_accepted(published(0.5, 0.4, 0.3, 0.2))
    assert capsys.readouterr().err == ""
    lm_report.tell_few_accepted(published(0.5, 0.4, 0.3, 0.05))
    told = capsys.readouterr().err
    assert "only 5.0% of the samples were published, by accumulate, seed 7, generation 2" in told


@pytest.mark.parametrize("filtered", [True, False])
def test_time(filtered, capsys):
    rates = {(("model", "tiny"), ("num_samples", 5)): (100.0, 50.0)}
    expected = types.SimpleNamespace(
        seconds=3.0, trained=10.0, sampled=20.0, rates=rates, filtered=filtered
    )
    assert lm_report.tell_time(expected) is expected
    told = capsys.readouterr().err
    assert "about 3 s: 10 tokens to train on and 20 to sample (tiny 100/s and 50/s)" in told
    assert ("longer where samples are rejected" in told) == filtered
