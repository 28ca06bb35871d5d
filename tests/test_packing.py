"""Documents in rows: what a plain loop does, and what is never lost."""

import itertools
from functools import partial

import jax
import numpy as np
import pytest
from scipy import stats

import jaxcollapse as jc
from jaxcollapse.lm.decoder import packing

WIDTH = 12
PLACE = jax.jit(packing.place, static_argnums=1)
PACK = jax.jit(packing.pack, static_argnums=2)


def next_fit(lengths, width):
    """Rows and offsets by a loop over documents."""
    row, filled, found = 0, 0, []
    for length in lengths:
        if filled + length > width:
            row, filled = row + 1, 0
        found.append((row, filled))
        filled += length
    rows, offsets = zip(*found, strict=True)
    return list(rows), list(offsets)


def some_lengths(kind, count, rng):
    if kind == "full":
        return np.full(count, WIDTH)
    if kind == "none":
        return np.zeros(count, int)
    if kind == "exact":  # pieces that fill rows to the last token
        return rng.choice([3, 4, 6, 12], count)
    if kind == "zeros":
        return rng.integers(1, WIDTH + 1, count) * rng.integers(0, 2, count)
    return rng.integers(0, (4 if kind == "short" else WIDTH) + 1, count)


KINDS = ("any", "short", "zeros", "exact", "full", "none")


@pytest.mark.parametrize("count", [1, 2, 8, 33])
@pytest.mark.parametrize("kind", KINDS)
def test_place_is_next_fit(kind, count):
    rng = np.random.default_rng(count)
    for _ in range(10):
        lengths = some_lengths(kind, count, rng).astype(np.int32)
        rows, offsets = PLACE(lengths, WIDTH)
        expected_rows, expected_offsets = next_fit(lengths.tolist(), WIDTH)
        holds = lengths > 0
        np.testing.assert_array_equal(np.asarray(rows), expected_rows)
        np.testing.assert_array_equal(
            np.asarray(offsets)[holds], np.asarray(expected_offsets)[holds]
        )
        assert rows.dtype == offsets.dtype == np.int32


def test_place_of_many_documents():
    lengths = np.random.default_rng(0).integers(0, 129, 5000).astype(np.int32)
    rows, offsets = PLACE(lengths, 128)
    expected_rows, expected_offsets = next_fit(lengths.tolist(), 128)
    np.testing.assert_array_equal(np.asarray(rows), expected_rows)
    np.testing.assert_array_equal(np.asarray(offsets), expected_offsets)


@pytest.mark.parametrize("longest", [5, WIDTH, WIDTH + 3])
@pytest.mark.parametrize("kind", KINDS)
def test_pack_keeps_every_document_once_and_whole(kind, longest):
    rng = np.random.default_rng(longest)
    count = 21
    lengths = np.minimum(some_lengths(kind, count, rng), longest).astype(np.int32)
    # No token is 0, and what is beyond a length must not come along.
    tokens = rng.integers(1, 1000, (count, longest)).astype(np.int32)
    rows, used = jax.device_get(PACK(tokens, lengths, WIDTH))
    assert rows.tokens.shape == rows.segments.shape == (count, WIDTH)
    assert rows.tokens.dtype == rows.segments.dtype == np.int32

    found = {}
    for row_tokens, row_segments in zip(rows.tokens, rows.segments, strict=True):
        pairs = zip(row_segments.tolist(), row_tokens.tolist(), strict=True)
        for segment, group in itertools.groupby(pairs, key=lambda pair: pair[0]):
            content = [token for _, token in group]
            if segment == 0:
                assert set(content) == {0}
            else:
                assert segment not in found  # neither twice nor split
                found[segment] = content
    expected = {
        number + 1: tokens[number, :length].tolist()
        for number, length in enumerate(lengths)
        if length > 0
    }
    assert found == expected
    # The rows in use are the first ones, without a gap, as many as the loop fills.
    filled = (rows.segments > 0).any(axis=1)
    expected_rows, _ = next_fit(lengths.tolist(), WIDTH)
    assert int(used) == filled.sum() == (expected_rows[-1] + 1 if lengths.any() else 0)
    assert filled[: int(used)].all()


def test_positions_begin_anew_with_each_document():
    segments = np.asarray(
        [[1, 1, 1, 2, 3, 3, 0, 0], [4, 4, 4, 4, 4, 4, 4, 4], [0] * 8, [5, 6, 6, 6, 7, 0, 0, 0]],
        np.int32,
    )
    expected = [
        [0, 1, 2, 0, 0, 1, 0, 1],
        [0, 1, 2, 3, 4, 5, 6, 7],
        list(range(8)),
        [0, 0, 1, 2, 0, 0, 1, 2],
    ]
    found = packing.positions(segments)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(packing.positions(segments[0]), expected[0])


# Order --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1, 5, 20])
def test_shuffled_is_a_permutation_with_the_used_ones_first(number):
    order = np.asarray(packing.shuffled(jax.random.key(1), 20, np.arange(20) < number))
    assert order.dtype == np.int32
    assert sorted(order) == list(range(20))
    assert sorted(order[:number]) == list(range(number))
    if number >= 5:
        assert order[:number].tolist() != list(range(number))


def test_the_order_of_the_used_ones_does_not_depend_on_how_many_others_there_are():
    key = jax.random.key(2)
    orders = [
        np.asarray(packing.shuffled(key, count, np.arange(count) < 9))[:9] for count in (9, 10, 64)
    ]
    np.testing.assert_array_equal(orders[0], orders[1])
    np.testing.assert_array_equal(orders[0], orders[2])


def test_used_ones_may_be_anywhere():
    # As a view's mask may be: those in the middle.
    used = (np.arange(10) >= 3) & (np.arange(10) < 7)
    order = np.asarray(packing.shuffled(jax.random.key(3), 10, used))
    assert sorted(order[:4]) == [3, 4, 5, 6]


@pytest.mark.parametrize("others", [0, 2])
def test_every_order_is_as_likely(others):
    used = np.arange(3 + others) < 3
    shuffled = jax.jit(jax.vmap(partial(packing.shuffled, count=3 + others, used=used)))
    orders = np.asarray(shuffled(jc.seed_keys(range(30_000))))[:, :3]
    first = np.bincount(orders[:, 0], minlength=3)
    whole = np.bincount(orders @ np.asarray([9, 3, 1]), minlength=27)
    assert stats.chisquare(first).pvalue > 1e-3
    assert np.count_nonzero(whole) == 6
    assert stats.chisquare(whole[whole > 0]).pvalue > 1e-3
