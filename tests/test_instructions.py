"""The embedded instructions: a law whose numbers are exact, and answers that are right."""

import math
import re

import numpy as np
import pytest
from conftest import standard_errors

from jaxcollapse.lm.text import instructions, stories
from jaxcollapse.lm.text.context_free import PIECE
from jaxcollapse.lm.text.conversations import formatted, parsed

COUNT = 20_000
LAW = instructions.instruction_grammar()


@pytest.fixture(scope="module")
def many():
    return instructions.instructions(COUNT, 0)


def test_log_probs_are_exact_and_entropy_is_that_of_samples(many):
    texts, log_probs = many
    assert [LAW.log_prob(text) for text in texts[:2000]] == log_probs[:2000].tolist()
    assert standard_errors(-log_probs, LAW.entropy()) < 5


def test_texts_come_as_often_as_their_probabilities_say(many):
    """All questions that begin with 'What is': their probabilities sum to their share."""
    total = sum(instructions.RULES["conversation"].values())
    asked = instructions.RULES["asked"]
    share = (
        instructions.RULES["conversation"]["user: What {asked}"] / total * 4 / sum(asked.values())
    )
    words = dict(
        zip(
            instructions.LEXICON["adjective"].split(),
            instructions.ATTRIBUTES["adjective"]["opposite"].split(),
            strict=True,
        )
    )
    texts = [
        f"user: What is the opposite of {word}?\nassistant: The opposite of {word} is {other}."
        for word, other in words.items()
    ] + [
        f"user: What is {k} plus {n}?\nassistant: {k} plus {n} is {k + n}."
        for k in instructions.SUMMANDS
        for n in instructions.NUMBERS
    ]
    chances = np.exp([LAW.log_prob(text) for text in texts])
    assert math.isclose(chances.sum(), share)
    counts = np.asarray([many[0].count(text) for text in texts])
    assert counts.sum() == sum(text.startswith("user: What is ") for text in many[0])
    errors = np.sqrt(COUNT * chances * (1 - chances))
    assert (COUNT * chances > 2).all()
    squares = ((counts - COUNT * chances) / errors) ** 2
    assert abs(squares.sum() - len(texts)) < 5 * np.sqrt(2 * len(texts))
    assert standard_errors([text in set(texts) for text in many[0]], share) < 5


def test_every_text_is_a_conversation(many):
    for text in many[0]:
        assert formatted(parsed(text)) == text


def answer_to(prompt):
    """What the response has to contain, from the prompt alone."""
    if found := re.fullmatch(r"What is (\d) plus (\d)\?", prompt):
        return f"is {int(found[1]) + int(found[2])}."
    if found := re.fullmatch(r"\w+ has (\d) (\w+) and finds (\d) more\. .*", prompt):
        return f"has {int(found[1]) + int(found[3])} {found[2]} now."
    if found := re.fullmatch(r"\w+ has a (\w+) (\w+) and .* What colour is the (\w+)\?", prompt):
        assert found[2] == found[3]
        return f"{found[2]} is {found[1]}."
    if found := re.fullmatch(r"(\w+) has a (\w+) and (\w+) has a (\w+)\. .* the (\w+)\?", prompt):
        owner = {found[2]: found[1], found[4]: found[3]}[found[5]]
        return f"{owner} has the {found[5]}."
    if found := re.fullmatch(r"Tell me a story about an? (\w+)\.", prompt):
        return f" {found[1]} named "
    if found := re.fullmatch(r"(\w+) wants to (\w+) with (\w+) (\w+)\. .*", prompt):
        return f"{found[1]} and {found[3]} {found[4]} can {found[2]} near"
    if found := re.fullmatch(r"What can I do on a (\w+) day\?", prompt):
        return f"On a {found[1]} day, you can"
    if found := re.fullmatch(r"My name is (\w+)\. Can you teach me to (\w+)\?", prompt):
        return f"Yes, {found[1]}."
    if found := re.fullmatch(r"My name is (\w+)\. Where is my (\w+)\?", prompt):
        return f"Your {found[2]} is near"
    found = re.fullmatch(
        r"What does (?:the|an?) (\w+) (?:say|eat)\?|What is the .* (\w+)\?", prompt
    )
    return found[1] or found[2]


def test_answers_follow_from_prompts(many):
    for text in many[0][:5000]:
        conversation = parsed(text)
        assert answer_to(conversation.prompt) in conversation.response


def test_the_tokenizer_is_one_for_stories_and_instructions(many):
    tokenizer = instructions.tokenizer()
    assert tokenizer is instructions.tokenizer()
    assert tokenizer.vocab_size == 512
    assert instructions.tokenizer(300).vocab_size == 300
    low, high = LAW.bounds(lambda terminal: len(tokenizer.encode(terminal)))
    lengths = [len(ids) for ids in tokenizer.encode_many(many[0])]
    assert 20 <= low <= min(lengths)
    assert max(lengths) <= high <= 62  # with their two ends they fit a context of 64
    for law, texts in ((LAW, many[0]), (stories.story_grammar(), stories.stories(5000, 0)[0])):
        assert law.is_piecewise(tokenizer)
        tokens = [len(ids) for ids in tokenizer.encode_many(texts)]
        assert standard_errors(tokens, law.expected_tokens(tokenizer)) < 5
        # Two tokens a piece, not a token a character (four to five of them).
        assert np.sum(tokens) < 2 * sum(len(PIECE.findall(text)) for text in texts)


def test_words_are_few_and_most_are_those_of_stories():
    ours, theirs = set(LAW.vocabulary()), set(stories.story_grammar().vocabulary())
    assert len(ours) < 230
    assert len(ours & theirs) > 0.7 * len(ours)
