"""Runs of tokens, counted as plain Python counts them."""

from functools import partial

import jax
import numpy as np
import pytest
from scipy import optimize, special

from jaxcollapse.lm import diversity

COUNT, WIDTH = 40, 12
DISTINCT = jax.jit(diversity.distinct, static_argnums=2)
REPETITION = jax.jit(diversity.repetition, static_argnums=2)


def texts(kind):
    """Tokens ``[N, C]`` and lengths ``[N]``; what lies beyond a length is left over, not 0."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, WIDTH + 1, COUNT).astype(np.int32)
    tokens = rng.integers(0, 50_000 if kind == "random" else 3, (COUNT, WIDTH))
    if kind == "repetitive":
        tokens = np.tile(tokens[:, :2], (1, WIDTH // 2))
        tokens[::3] = tokens[0]
    elif kind == "short":
        lengths = np.minimum(lengths, 3)
    elif kind == "constant":
        tokens[:] = 7
    return tokens.astype(np.int32), lengths


def runs(tokens, lengths, n):
    """The runs of each document, without its first token."""
    documents = [list(row[1:end]) for row, end in zip(tokens.tolist(), lengths, strict=True)]
    return [
        [tuple(document[i : i + n]) for i in range(len(document) - n + 1)] for document in documents
    ]


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("kind", ["random", "few", "repetitive", "short", "constant"])
def test_shares_are_those_of_sets(kind, n):
    tokens, lengths = texts(kind)
    each = runs(tokens, lengths, n)
    together = [run for document in each for run in document]
    number = max(1, len(together))
    different = len(set(together)) if together else 1
    repeats = sum(len(document) - len(set(document)) for document in each)
    assert float(DISTINCT(tokens, lengths, n)) == pytest.approx(different / number, abs=1e-6)
    assert float(REPETITION(tokens, lengths, n)) == pytest.approx(repeats / number, abs=1e-6)


def test_the_kinds_differ():
    found = {kind: float(REPETITION(*texts(kind), 2)) for kind in ("random", "few", "repetitive")}
    assert found["random"] < 0.01 < 0.1 < found["few"] < found["repetitive"]


@pytest.mark.parametrize("longest", [0, 1, 2])
def test_documents_shorter_than_a_run(longest):
    # A beginning of sequence and one token hold no pair.
    tokens = np.full((5, WIDTH), 3, np.int32)
    lengths = np.full(5, longest, np.int32)
    assert float(DISTINCT(tokens, lengths, 2)) == 1
    assert float(REPETITION(tokens, lengths, 2)) == 0


def test_one_run_of_a_document_is_counted():
    tokens = np.full((5, WIDTH), 3, np.int32)
    lengths = np.asarray([3, 3, 2, 0, 3], np.int32)
    # Three documents hold the pair once each.
    assert float(DISTINCT(tokens, lengths, 2)) == pytest.approx(1 / 3)
    assert float(REPETITION(tokens, lengths, 2)) == 0


def test_the_beginning_of_sequence_does_not_count():
    tokens, lengths = texts("few")
    others = tokens.copy()
    others[:, 0] = np.arange(COUNT) + 100
    for share in (DISTINCT, REPETITION):
        assert float(share(tokens, lengths, 2)) == float(share(others, lengths, 2))


def test_a_run_of_a_whole_document():
    tokens = np.tile(np.arange(WIDTH, dtype=np.int32), (4, 1))
    tokens[3, -1] = 0
    lengths = np.asarray([WIDTH, WIDTH, WIDTH - 1, WIDTH], np.int32)
    # Two equal runs, one that is too short, and one that ends otherwise.
    assert float(DISTINCT(tokens, lengths, WIDTH - 1)) == pytest.approx(2 / 3)


def test_runs_in_another_order_are_others():
    tokens = np.asarray([[0, 5, 6, 5, 6], [0, 6, 5, 9, 9]], np.int32)
    lengths = np.asarray([5, 3], np.int32)
    # 5 6, 6 5, 5 6 and 6 5.
    assert float(DISTINCT(tokens, lengths, 2)) == pytest.approx(0.5)
    assert float(REPETITION(tokens, lengths, 2)) == pytest.approx(0.25)


def test_no_two_runs_share_a_number():
    # All pairs of 1,000 tokens: numbers of 32 bits chosen at random would share 116 times.
    pairs = np.stack(np.meshgrid(*[np.arange(1000)] * 2), axis=-1).reshape(-1, 2)
    tokens = np.pad(pairs, ((0, 0), (1, 0))).astype(np.int32)
    numbers = jax.jit(partial(diversity._runs, n=2))(tokens, np.full(len(tokens), 3, np.int32))
    assert len(tokens) - len(np.unique(np.asarray(numbers))) < 116 + 5 * 116**0.5


# Single tokens ----------------------------------------------------------------------------------

WORDS = jax.jit(diversity.distinct_tokens)
ZIPF = jax.jit(diversity.zipf_exponent)


def zipf_by_scipy(tokens):
    """The exponent that is likeliest given the ranks, by a search for the largest likelihood."""
    counts = np.sort(np.unique(tokens, return_counts=True)[1])[::-1]
    log_rank = np.log(np.arange(1, counts.size + 1))

    def loss(s):
        return counts @ (s * log_rank) + counts.sum() * special.logsumexp(-s * log_rank)

    return optimize.minimize_scalar(loss, bounds=(0, 20), method="bounded").x


@pytest.mark.parametrize("kind", ["random", "few", "repetitive", "short"])
def test_words(kind):
    tokens, lengths = texts(kind)
    words = [token for document in runs(tokens, lengths, 1) for (token,) in document]
    assert float(WORDS(tokens, lengths)) == len(set(words))
    if len(set(words)) > 1:
        assert float(ZIPF(tokens, lengths)) == pytest.approx(zipf_by_scipy(words), abs=1e-4)


@pytest.mark.parametrize("exponent", [0.0, 0.7, 1.0, 1.5])
def test_exponent_of_zipfs_law(exponent):
    counts = np.round(1e5 * np.arange(1.0, 51) ** -exponent / 50).astype(int)
    words = np.repeat(np.random.default_rng(0).permutation(50), counts)
    words = np.resize(words, (len(words) // 9, 9))  # in rows of nine behind their beginnings
    tokens = np.pad(words, ((0, 0), (1, 0))).astype(np.int32)
    assert float(ZIPF(tokens, np.full(len(tokens), 10, np.int32))) == pytest.approx(
        exponent, abs=0.01
    )


def test_one_word_and_none():
    tokens, lengths = texts("constant")
    assert float(WORDS(tokens, lengths)) == 1
    assert float(ZIPF(tokens, lengths)) == diversity.STEEPEST
    assert float(WORDS(tokens, 0 * lengths)) == 0
