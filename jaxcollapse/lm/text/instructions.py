r"""Little questions and requests with their answers, from a probabilistic grammar.

Each text is ``"user: {prompt}\nassistant: {response}"``. Sums, opposites, what an animal says, who
has what and of which colour, a story about an animal that is asked for: what is right in an answer
depends on the prompt and the rest is free, so a model has a format, facts, copying and variety to
learn and to lose. ``context_free`` says how a text's probability, the entropy and expected counts
are exact.
"""

from __future__ import annotations

import functools

import numpy as np

from jaxcollapse.lm.text import stories, tokenizers
from jaxcollapse.lm.text.context_free import Grammar

# The law ---------------------------------------------------------------------------------------

NUMBERS, SUMMANDS = range(1, 10), range(2, 7)

LEXICON = {
    "girl": "Lily Mia Anna Sue Emma Lucy Ella Sara",
    "boy": "Tom Ben Max Sam Tim Jack Leo Finn",
    "neighbour": "Zoe Omar Nora Paul",
    "animal": "dog cat bird frog duck mouse owl sheep cow bee",
    "friend": "rabbit fox bear pig hen pony goat deer",
    "object": "ball kite book hat key drum boat doll",
    "colour": "red blue green yellow white black brown golden",
    "fruit": "apples berries carrots nuts plums cookies",
    "place": "park garden forest river beach farm barn hill lake",
    "trait": "little happy kind brave funny clever shy",
    "joy": "happy glad proud calm",
    "sorrow": "sad scared tired lonely",
    "activity": "play run sing dance draw read swim jump climb paint cook",
    "weather": "sunny rainy warm windy cold snowy cloudy",
    "relative": "mom dad grandma grandpa sister brother aunt uncle",
    "adjective": "big hot old happy fast good light clean hard early",
    "number": " ".join(str(n) for n in NUMBERS),
}

ATTRIBUTES = {
    "girl": {"she": "she", "She": "She", "her": "her", "Her": "Her"},
    "boy": {"she": "he", "She": "He", "her": "his", "Her": "His"},
    "animal": {
        "says": "woof meow tweet ribbit quack squeak hoot baa moo buzz",
        "eats": "bones fish seeds flies bread cheese mice grass hay honey",
    },
    "adjective": {"opposite": "small cold new sad slow bad dark dirty soft late"},
    "number": {f"plus{k}": " ".join(str(n + k) for n in NUMBERS) for k in SUMMANDS},
}

# Written as the rules of stories are.
RULES: dict[str, dict[str, float]] = {
    "conversation": {
        "user: {hero=girl} {told}": 4,
        "user: {hero=boy} {told}": 4,
        "user: What {asked}": 5,
        "user: My name is {hero=girl}. {plea}": 1,
        "user: My name is {hero=boy}. {plea}": 1,
        "user: Tell me a story about {pet=a animal}.\nassistant: {story}": 5,
    },
    "told": {
        "has a {c=colour} {thing=object} and a {colour} {friend}. What colour is the {thing}?\n"
        "assistant: {hero.Her} {thing} is {c}.": 3,
        "has a {thing=object} and {other=neighbour} has a {pet=friend}. Who has the {who}": 3,
        **{
            f"has {k} {{some=fruit}} and finds {{n=number}} more. How many {{some}} is that?\n"
            f"assistant: {{hero.She}} has {{n.plus{k}}} {{some}} now.": 3 / len(SUMMANDS)
            for k in SUMMANDS
        },
        "wants to {do=activity} with {hero.her} {kin=relative}. Where can they go?\n"
        "assistant: {hero} and {hero.her} {kin} can {do} near the {place}.": 3,
    },
    "who": {
        "{thing}?\nassistant: {hero} has the {thing}.": 1,
        "{pet}?\nassistant: {other} has the {pet}.": 1,
    },
    "asked": {
        "is the opposite of {word=adjective}?\n"
        "assistant: The opposite of {word} is {word.opposite}.": 2,
        **{
            f"is {k} plus {{n=number}}?\nassistant: {k} plus {{n}} is {{n.plus{k}}}.": 2
            / len(SUMMANDS)
            for k in SUMMANDS
        },
        "does the {pet=animal} say?\nassistant: The {pet} says {pet.says}, {pet.says}.": 2,
        "does {pet=a animal} eat?\nassistant: The {pet} likes to eat {pet.eats}.": 2,
        "can I do on a {sky=weather} day?\n"
        "assistant: On a {sky} day, you can {activity} with your {relative}.": 3,
    },
    "plea": {
        "Can you teach me to {do=activity}?\n"
        "assistant: Yes, {hero}. Go to the {place} and {do} with your {relative}.": 1,
        "Where is my {thing=object}?\nassistant: Your {thing} is near the {place}, {hero}.": 1,
    },
    "story": {
        "Once there was {a trait} {pet} named {hero=girl}. {event}": 1,
        "Once there was {a trait} {pet} named {hero=boy}. {event}": 1,
    },
    "event": {
        "{hero.She} went to the {place} and met {a friend}. {together}": 3,
        "{hero.She} found a {colour} {object} near the {place}. {hero.She} was {joy} and took it "
        "home.": 2,
        "{hero.She} loved to {do=activity}. Every day, {hero.she} went to the {place} to {do}.": 2,
    },
    "together": {
        "It was {sorrow}, so {hero} helped it.": 1,
        "They liked to {activity} and were {joy}.": 2,
    },
}

# The instructions ------------------------------------------------------------------------------

TOKENIZER_SEED = 2**32  # no corpus's
TOKENIZER_STORIES, TOKENIZER_INSTRUCTIONS = 10_000, 20_000  # about as many characters of each


@functools.cache
def instruction_grammar() -> Grammar:
    """The grammar of the instructions, built when first asked for."""
    return Grammar(LEXICON, RULES, ATTRIBUTES, "conversation", stories.ZIPF_EXPONENT)


def instructions(count: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Independent instructions and the logarithms ``[count]`` of their probabilities, nats.

    The first of many are the same as when fewer are asked for.
    """
    return instruction_grammar().sample_many(count, seed)


@functools.cache
def tokenizer(vocab_size: int = 512) -> tokenizers.Tokenizer:
    """A byte-pair encoding for the embedded stories and instructions, always the same.

    It is trained on draws of its own from both laws, none of a seed that a corpus has. With 512
    tokens no instruction has more than 63, its two ends included.

    Args:
      vocab_size: the number of tokens, bytes and two special ones included.

    Raises:
      ValueError: ``vocab_size`` is below 258.
      ImportError: the extra ``lm`` is not installed.
    """
    theirs, _ = stories.stories(TOKENIZER_STORIES, TOKENIZER_SEED)
    ours, _ = instructions(TOKENIZER_INSTRUCTIONS, TOKENIZER_SEED)
    return tokenizers.train_bpe([*theirs, *ours], vocab_size)
