"""Little stories from a probabilistic grammar: a corpus whose law is known exactly.

A story introduces a girl or a boy, tells one thing that happens to her or him (an animal is met,
something is found, something is cooked, the way is lost) and ends. Names, animals and things
return in later sentences and pronouns agree with names, so there is something to learn over long
distances; words are drawn by Zipf's law from long lists, so there are rare ones to lose.

``context_free`` says how a text's probability, the entropy and expected counts are exact.
"""

from __future__ import annotations

import functools

import numpy as np

from jaxcollapse.lm.text.context_free import Grammar

# The law ---------------------------------------------------------------------------------------

ZIPF_EXPONENT = 1.2  # the r-th word of a list has a weight of r^-1.2

LEXICON = {
    "girl": "Lily Mia Anna Sue Emma Lucy Rose Sara Zoe Nora Clara Ella Ivy Ruby Hana Olga",
    "boy": "Tom Ben Max Sam Tim Jack Leo Finn Omar Noah Paul Hugo Theo Ravi Kofi Ivan",
    "animal": "dog cat bird rabbit frog fox bear duck mouse owl squirrel turtle pony goat hedgehog "
    "sheep elephant otter donkey beaver parrot badger lizard octopus walrus",
    "object": "ball kite book hat key shell drum boat doll lamp coin ribbon box bell stone feather "
    "map umbrella button whistle lantern basket puzzle acorn compass anchor telescope trumpet",
    "place": "park garden forest river beach farm barn hill lake market meadow pond castle village "
    "cave island bridge valley lighthouse",
    "food": "cake soup bread cookies apples honey cheese pie berries carrots nuts pancakes "
    "porridge plums mushrooms dumplings",
    "trait": "little happy kind brave curious clever quiet shy funny gentle cheerful proud eager "
    "stubborn",
    "colour": "red big blue shiny green old soft yellow tiny golden round heavy wooden silver "
    "orange striped crooked ancient",
    "mood": "small hungry friendly sleepy brown fluffy wise noisy tired grumpy muddy injured",
    "joy": "happy glad proud excited thankful cheerful calm delighted",
    "sorrow": "sad scared worried upset angry lonely nervous ashamed",
    "relative": "mom dad grandma grandpa sister brother aunt uncle",
    "activity": "play run sing dance draw read swim jump climb paint cook hide explore",
    "weather": "sunny rainy warm windy cold snowy cloudy foggy stormy",
    "adverb": "softly quickly kindly bravely happily slowly eagerly proudly",
    "virtue": "share help listen wait try forgive",
    "taste": "good sweet wonderful strange delicious awful",
}

ATTRIBUTES = {
    "girl": {"she": "she", "She": "She", "her": "her", "Her": "Her", "him": "her"},
    "boy": {"she": "he", "She": "He", "her": "his", "Her": "His", "him": "him"},
}

# Alternatives and their weights. {place} is a word of a list or a use of a rule, {a place} the same
# with its article, {hero=girl} a word that the rest of the text and the rules in it know as {hero},
# {hero.she} what ATTRIBUTES say of it. Punctuation marks stand together or not at all.
RULES: dict[str, dict[str, float]] = {
    "story": {
        "Once upon a time, there was {a trait} girl named {hero=girl}. {middle}": 5,
        "Once upon a time, there was {a trait} boy named {hero=boy}. {middle}": 5,
        "{hero=girl} was {a trait} girl. {middle}": 2,
        "{hero=boy} was {a trait} boy. {middle}": 2,
        "One {weather} day, {hero=girl} {event}": 2,
        "One {weather} day, {hero=boy} {event}": 2,
    },
    "middle": {"{habit} {day}": 2, "{day}": 1},
    "habit": {
        "{hero.She} loved to {activity}.": 3,
        "{hero.She} loved to {activity} near the {place}.": 2,
        "{hero.She} lived near the {place} with {hero.her} {relative}.": 2,
        "{hero.She} had {a colour} {object} and {a mood} {animal}.": 2,
        "Every day, {hero.she} liked to eat {food} with {hero.her} {relative}.": 1,
    },
    "day": {
        "One day, {hero} {event}": 3,
        "One {weather} morning, {hero} {event}": 2,
    },
    "event": {
        "met {pet=a animal} near the {place}. {with_pet}": 3,
        "saw {a mood} {pet=animal}. {with_pet}": 2,
        "got lost near the {place}. {hero.She} was {sorrow}. Then {pet=a animal} {rescue} "
        "{pet_end}": 1,
        "found {thing=a object} near the {place}. {with_thing}": 2,
        "got {a colour} {thing=object} from {hero.her} {relative}. {with_thing}": 2,
        "wanted to make some {dish=food} for {hero.her} {relative}. {with_dish}": 2,
    },
    "with_pet": {
        "The {pet} was {sorrow}. {help} {pet_end}": 3,
        'The {pet} said, "{request}." {help} {pet_end}': 3,
        '{hero.She} asked, "{question}?" The {pet} {answer} {pet_end}': 3,
        "They {together} {pet_end}": 2,
    },
    "rescue": {
        "came by and showed {hero.him} the way home.": 2,
        'said, "{comfort}!" It took {hero.him} back to {hero.her} {relative}.': 1,
    },
    "comfort": {"Do not be {sorrow}": 2, "Come with me": 1, "I can help you": 1},
    "request": {
        "I am so hungry": 2,
        "I want some {food}": 2,
        "I can not find my {relative}": 2,
        "Please help me": 1,
        "My {object} is gone": 1,
    },
    "help": {
        "{hero} gave it some {food}.": 3,
        "{hero} looked for {hero.her} {relative} and came back with help.": 1,
        "{hero} took it to the {place}.": 2,
        "{hero.She} {adverb} gave it {a colour} {object}.": 2,
        "{hero.She} smiled {adverb}.": 1,
    },
    "question": {
        "Do you want to {activity}": 3,
        "Do you like {food}": 1,
        "Are you {sorrow}": 2,
        "Where is your {relative}": 1,
        "Can you {activity} with me": 2,
    },
    "answer": {
        "nodded {adverb}.": 3,
        "said yes.": 2,
        'said, "I can teach you to {activity}."': 2,
        "ran away {adverb}, but soon came back.": 1,
        "had {a colour} {object} for {hero.him}.": 1,
    },
    "together": {
        "played with {a colour} {object}.": 2,
        "went to the {place} and shared some {food}.": 2,
        "liked to {activity} and {adverb} became friends.": 1,
    },
    "pet_end": {
        "From that day on, {hero} and the {pet} were friends.": 4,
        "The {pet} was {joy}.": 2,
        "At night, {hero} and the {pet} went home.": 2,
        "{hero.She} was {joy} to have a friend.": 2,
        "{hero} never forgot the {pet}.": 1,
        "{hero} learned to {virtue}.": 2,
    },
    "with_thing": {
        "{hero.She} {adverb} showed the {thing} to {hero.her} {relative}. {thing_end}": 3,
        "The {thing} was dirty, so {hero.she} washed it in the {place}. {thing_end}": 1,
        "But then the {thing} broke. {hero} was {sorrow}. {mend} {thing_end}": 2,
        'But {a animal} said, "That {thing} is mine!" {hero} gave it back {adverb}. {thing_end}': 2,
    },
    "mend": {
        "{hero.Her} {relative} fixed it.": 2,
        "{hero.She} used some {food} to fix it.": 1,
        "Soon it was as good as new.": 1,
    },
    "thing_end": {
        "{hero.She} was {joy}.": 2,
        "{hero.She} kept the {thing} under {hero.her} bed.": 2,
        "{hero} learned to {virtue}.": 2,
        "{hero} called it the {trait} {thing}.": 1,
        "Every night, {hero.she} dreamed about the {thing}.": 1,
        "The {thing} made everyone {joy}.": 2,
    },
    "with_dish": {
        "{hero.She} went to the {place} to get some {food}. {tasting}": 2,
        "{hero.Her} {relative} helped {hero.him} to cook. {tasting}": 2,
        "But {a mood} {pet=animal} took it all. {hero} was {sorrow}. {pet_end}": 1,
        "{hero} worked {adverb} all day. {tasting}": 1,
    },
    "tasting": {
        "The {dish} smelled {taste}. {dish_end}": 2,
        'Everyone said, "This is {taste}!" {dish_end}': 1,
    },
    "dish_end": {
        "{hero.She} was {joy}.": 2,
        "{hero} learned to {virtue}.": 1,
        "They ate the {dish} and went to the {place} to {activity}.": 1,
        "{hero} gave the rest of the {dish} to {a mood} {animal}.": 1,
    },
}

# The stories -----------------------------------------------------------------------------------


@functools.cache
def story_grammar() -> Grammar:
    """The grammar of the stories, built when first asked for."""
    return Grammar(LEXICON, RULES, ATTRIBUTES, exponent=ZIPF_EXPONENT)


def stories(count: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Independent stories and the logarithms ``[count]`` of their probabilities, nats.

    The first of many are the same as when fewer are asked for.
    """
    return story_grammar().sample_many(count, seed)
