"""The embedded stories: one derivation each, and a law whose numbers are exact."""

import itertools
import math

import numpy as np
import pytest
from conftest import standard_errors

from jaxcollapse.lm.text import stories, tokenizers
from jaxcollapse.lm.text.context_free import PIECE, Grammar

COUNT = 20_000
LAW = stories.story_grammar()


@pytest.fixture(scope="module")
def many():
    return stories.stories(COUNT, 0)


LEXICON = {"who": "Ann Bo", "pet": "cat owl ox"}
RULES = {
    "story": {
        "{x=who} had {y=a pet}. {end}": 3,
        "Once, {a pet} ran.": 2,
        "Once, {a pet} sat.": 1,
    },
    "end": {"The {y} saw {x.them}.": 1, "{x} ran.": 1},
}
THEM = {"Ann": "her", "Bo": "him"}


def small_grammar():
    attributes = {"first": {"them": "her"}, "second": {"them": "him"}}
    lexicon = {**LEXICON, "first": "Ann", "second": "Bo"}
    return Grammar(lexicon, RULES, attributes, exponent=1.0)


def test_a_small_grammar_by_hand():
    small = small_grammar()
    names = {"Ann": 2 / 3, "Bo": 1 / 3}
    pets = {"a cat": 6 / 11, "an owl": 3 / 11, "an ox": 2 / 11}
    law = {}
    for (x, p), (y, q) in itertools.product(names.items(), pets.items()):
        law[f"{x} had {y}. The {y.split()[1]} saw {THEM[x]}."] = p * q / 4
        law[f"{x} had {y}. {x} ran."] = p * q / 4
    for y, q in pets.items():
        law[f"Once, {y} ran."] = q / 3
        law[f"Once, {y} sat."] = q / 6
    assert math.isclose(sum(law.values()), 1.0)
    for text, p in law.items():
        assert math.isclose(small.log_prob(text), math.log(p))
    assert math.isclose(small.entropy(), -sum(p * math.log(p) for p in law.values()))
    assert small.bounds(is_word) == (4, 8) == word_bounds(law)
    expected = {}
    for text, p in law.items():
        for piece in PIECE.findall(text):
            expected[piece] = expected.get(piece, 0.0) + p
    assert small.expected_counts() == pytest.approx(expected)
    rng = np.random.default_rng(0)
    assert {small.sample(rng)[0] for _ in range(500)} == set(law)


def is_word(terminal):
    return int(terminal.strip().isalpha())


def word_bounds(texts):
    counts = [len(text.split()) for text in texts]
    return min(counts), max(counts)


def test_alternatives_that_cannot_be_told_apart_are_refused():
    with pytest.raises(ValueError, match=r"rule 'story': .* two that begin with 'Ann'"):
        Grammar(LEXICON, {"story": {"{who} ran.": 1, "{x=who} sat.": 1}})
    with pytest.raises(ValueError, match=r"rule 'story': .* no alternative that another begins"):
        Grammar(LEXICON, {"story": {"{who} ran": 1, "{who} ran.": 1}})


def test_log_prob_of_a_sample_is_the_one_returned(many):
    texts, log_probs = many
    assert [LAW.log_prob(text) for text in texts[:3000]] == log_probs[:3000].tolist()
    assert log_probs.shape == (COUNT,)
    assert log_probs.dtype == np.float64


def test_entropy_is_that_of_samples(many):
    assert standard_errors(-many[1], LAW.entropy()) < 5


def test_terminals_come_as_often_as_expected(many):
    expected = LAW.expected_counts()
    counts = dict.fromkeys(expected, 0.0)
    squares = dict.fromkeys(expected, 0.0)
    for text in many[0]:
        here = {}
        for piece in PIECE.findall(text):
            here[piece] = here.get(piece, 0) + 1
        for piece, n in here.items():
            counts[piece] += n
            squares[piece] += n**2
    # Every terminal there is has been drawn: the rarest is expected in 15 stories or more.
    for piece, mean in expected.items():
        assert mean * COUNT > 15
        error = math.sqrt(squares[piece] / COUNT - (counts[piece] / COUNT) ** 2) / math.sqrt(COUNT)
        assert abs(counts[piece] / COUNT - mean) <= 5 * error + 1e-9, piece


@pytest.mark.parametrize("kind", ["bytes", "bpe"])
def test_tokens_are_as_many_as_expected(many, kind):
    tokenizer = (
        tokenizers.byte_tokenizer() if kind == "bytes" else tokenizers.train_bpe(many[0], 512)
    )
    lengths = [len(ids) for ids in tokenizer.encode_many(many[0])]
    assert standard_errors(lengths, LAW.expected_tokens(tokenizer)) < 5
    assert LAW.is_piecewise(tokenizer)


def test_terminals_are_the_pieces_of_gpt2s_pre_tokenizer(many):
    library = pytest.importorskip("tokenizers")
    splitter = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    terminals = LAW.expected_counts()
    for text in many[0][:2000]:
        pieces = [piece.replace("Ġ", " ") for piece, _ in splitter.pre_tokenize_str(text)]
        assert pieces == PIECE.findall(text)
        assert terminals.keys() >= set(pieces)


def test_stories_are_short_and_their_words_few(many):
    low, high = LAW.bounds(is_word)
    assert 15 <= low <= min(word_bounds(many[0]))
    assert word_bounds(many[0])[1] <= high <= 60
    assert 250 <= len(LAW.vocabulary()) <= 350


def test_names_come_back_and_pronouns_agree(many):
    girls, boys = (stories.LEXICON[kind].split() for kind in ("girl", "boy"))
    for text in many[0][:2000]:
        words = [piece.strip() for piece in PIECE.findall(text)]
        names = {word for word in words if word in girls + boys}
        assert len(names) == 1
        others = {"he", "He", "his", "him"} if names < set(girls) else {"she", "She", "her", "Her"}
        assert not others & set(words)


def test_another_text_has_no_probability(many):
    rng = np.random.default_rng(1)
    for text in many[0][:300]:
        assert LAW.log_prob(text[:-1]) == -math.inf
        assert LAW.log_prob(text + " ") == -math.inf
        assert LAW.log_prob(text + " They ran.") == -math.inf
        assert LAW.log_prob(text.replace(" ", "  ", 1)) == -math.inf
        pieces = PIECE.findall(text)
        place = rng.integers(len(pieces))
        assert LAW.log_prob("".join(pieces[:place] + pieces[place + 1 :])) == -math.inf
        pieces[place] = " zebra"
        assert LAW.log_prob("".join(pieces)) == -math.inf
    for text in ("", " ", "é", "Once", "Once upon a time, there was a little girl named Tom."):
        assert LAW.log_prob(text) == -math.inf
    she = "Lily was a little girl. One day, Lily met a dog near the park. They {}"
    assert (
        LAW.log_prob(she.format("played with a red ball. She was happy to have a friend."))
        > -math.inf
    )
    assert (
        LAW.log_prob(she.format("played with a red ball. He was happy to have a friend."))
        == -math.inf
    )
    assert LAW.log_prob(she.format("played with a red ball. The cat was happy.")) == -math.inf


def test_stories_are_those_of_their_seed():
    texts, log_probs = stories.stories(5, 3)
    more, _ = stories.stories(8, 3)
    assert more[:5] == texts
    assert stories.stories(5, 4)[0] != texts
    assert LAW.sample(np.random.default_rng(3)) == (texts[0], log_probs[0])
    assert stories.stories(0, 0)[0] == []
    with pytest.raises(ValueError, match="count"):
        stories.stories(-1, 0)


def test_the_digest_is_of_the_law():
    small = small_grammar().digest
    assert small_grammar().digest == small
    rules = {**RULES, "end": {"{x} ran.": 1}}
    others = [
        Grammar(LEXICON, rules),
        Grammar(LEXICON, rules, exponent=2.0),
        Grammar({**LEXICON, "pet": "cat"}, rules),
        Grammar(LEXICON, rules, {"who": {"them": "her"}}),
    ]
    assert len({small, *(other.digest for other in others)}) == 5


def test_attributes_of_a_list_are_one_or_as_many():
    law = Grammar(
        LEXICON, {"story": {"The {x=pet} said {x.sound}.": 1}}, {"pet": {"sound": "a b c"}}
    )
    said = {law.sample(np.random.default_rng(i))[0] for i in range(100)}
    assert said == {"The cat said a.", "The owl said b.", "The ox said c."}
    with pytest.raises(ValueError, match="attribute 'sound' of 'pet': expected one word or 3"):
        Grammar(LEXICON, {"story": {"{pet}": 1}}, {"pet": {"sound": "a b"}})
