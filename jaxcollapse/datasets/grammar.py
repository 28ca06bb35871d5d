"""Little stories from a probabilistic grammar: a corpus whose law is known exactly.

A story introduces a girl or a boy, tells one thing that happens to her or him (an animal is met,
something is found, something is cooked, the way is lost) and ends. Names, animals and things
return in later sentences and pronouns agree with names, so there is something to learn over long
distances; words are drawn by Zipf's law from long lists, so there are rare ones to lose.

The grammar is context-free: a rule that depends on a name is one rule for each name. Its
alternatives begin with different words once their common beginnings are taken together, which is
checked when it is built, so a text has one derivation, found by reading it once from left to
right; ``log_prob`` is exact, and so are ``entropy`` and ``expected_counts``, by recursion over
the rules.

The terminals are the pieces into which GPT-2's pre-tokenizer cuts a text: a word with the space
before it, or a run of punctuation marks. A tokenizer that works piece by piece makes of a story
the tokens of its terminals, one after another; ``expected_tokens`` counts on that.
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxcollapse import checks

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

# Grammars --------------------------------------------------------------------------------------

Symbol = str | int  # a terminal, or the number of a node
Alternative = tuple[float, tuple[Symbol, ...]]  # its probability and what it becomes
Names = tuple[tuple[str, str], ...]  # which word each name in braces stands for

PIECE = re.compile(
    r"'(?:[sdmt]|ll|ve|re)| ?[^\W\d_]+| ?\d+| ?[^\s\w]+| ?_+|\s+(?!\S)|\s+"
)  # GPT-2's pre-tokenizer; beyond ASCII it may differ, where no story goes
FIELD = re.compile(r"( ?)\{(?:(\w+)=)?(a )?(\w+)(?:\.(\w+))?\}")


class Field(NamedTuple):
    """What stands in braces: ``{name=a word.attribute}``."""

    spaced: bool
    name: str | None
    article: bool
    word: str
    attribute: str | None


class Node(NamedTuple):
    """A nonterminal: a choice among alternatives that begin with different terminals.

    Attributes:
      alternatives: sequences of terminals and nodes.
      log_probs: of the alternatives, nats.
      cumulative: their probabilities, summed up.
      starts: for each terminal that a text of this node can begin with, which alternative it is.
      entropy: of its texts, nats.
    """

    alternatives: tuple[Alternative, ...]
    log_probs: list[float]
    cumulative: list[float]
    starts: dict[str, int]
    entropy: float


class Grammar:
    """A context-free grammar without recursion, built from rules like ``RULES``.

    Nodes stand in the order of building, those that one uses before it; the last is the start.
    Nodes with equal alternatives are one.
    """

    def __init__(
        self,
        lexicon: Mapping[str, str],
        rules: Mapping[str, Mapping[str, float]],
        attributes: Mapping[str, Mapping[str, str]] | None = None,
        start: str = "story",
        exponent: float = ZIPF_EXPONENT,
    ):
        """Builds all nodes.

        Args:
          lexicon: lists of words, commonest first, by name.
          rules: templates and their weights, by name.
          attributes: words that follow from one of a list, by the list's name.
          start: the rule that texts are made by.
          exponent: of Zipf's law over each list.

        Raises:
          ValueError: two alternatives of a rule begin with the same word, or one with the whole
            of the other.
        """
        self.nodes: list[Node] = []
        self._lists = {name: words.split() for name, words in lexicon.items()}
        self._rules = {
            name: [(_items(template), weight) for template, weight in alternatives.items()]
            for name, alternatives in rules.items()
        }
        self._attributes = {
            word: attributes[name]
            for name, words in self._lists.items()
            if attributes and name in attributes
            for word in words
        }
        self._exponent = exponent
        self._free: dict[str, frozenset[str]] = {}
        self._numbers: dict[Any, int] = {}  # of nodes, by what they are made of
        self._start = self._rule(start, (), False)

    # Building: a template becomes symbols, alternatives become a node.

    def _rule(self, name: str, names: Names, spaced: bool) -> int:
        free = self._free_names(name)
        names = tuple(pair for pair in names if pair[0] in free)
        key = (name, names, spaced)
        if key not in self._numbers:
            total = sum(weight for _, weight in self._rules[name])
            alternatives = [
                (weight / total, self._symbols(items, names, spaced))
                for items, weight in self._rules[name]
            ]
            self._numbers[key] = self._node(alternatives, name)
        return self._numbers[key]

    def _free_names(self, rule: str) -> frozenset[str]:
        """The names that a rule or one in it needs to know."""
        if rule not in self._free:
            names: set[str] = set()
            for items, _ in self._rules[rule]:
                bound: set[str] = set()
                for item in items:
                    if isinstance(item, str):
                        continue
                    if item.word in self._rules:
                        names |= self._free_names(item.word) - bound
                    elif item.word not in self._lists and item.word not in bound:
                        names.add(item.word)
                    if item.name:
                        bound.add(item.name)
            self._free[rule] = frozenset(names)
        return self._free[rule]

    def _symbols(
        self, items: tuple[str | Field, ...], names: Names, spaced: bool
    ) -> tuple[Symbol, ...]:
        symbols: list[Symbol] = []
        for place, item in enumerate(items):
            space = " " if spaced and place == 0 else ""
            if isinstance(item, str):
                symbols.append(space + item)
                continue
            space = space or " " * item.spaced
            if item.name:
                # The rest of the text depends on the word, and so belongs to its alternative.
                rest = items[place + 1 :]
                alternatives = [
                    (
                        p,
                        words
                        + self._symbols(rest, (*names, (item.name, words[-1].strip())), False),
                    )
                    for p, words in self._words(item.word, item.article, space)
                ]
                symbols.append(self._node(alternatives, item.word))
                break
            if item.word in self._rules:
                symbols.append(self._rule(item.word, names, bool(space)))
            elif item.word in self._lists:
                key = (item.word, item.article, space)
                if key not in self._numbers:
                    self._numbers[key] = self._node(self._words(*key), item.word)
                symbols.append(self._numbers[key])
            else:
                word = dict(names)[item.word]
                known = self._attributes[word][item.attribute] if item.attribute else word
                symbols.append(space + known)
        return tuple(symbols)

    def _words(self, name: str, article: bool, space: str) -> list[tuple[float, tuple[str, ...]]]:
        """The words of a list with their probabilities, each with its article if wanted."""
        words = self._lists[name]
        weights = np.arange(1.0, len(words) + 1) ** -self._exponent
        chances = (weights / weights.sum()).tolist()
        if not article:
            return [(p, (space + word,)) for p, word in zip(chances, words, strict=True)]
        return [
            (p, (space + ("an" if word[0] in "aeiou" else "a"), f" {word}"))
            for p, word in zip(chances, words, strict=True)
        ]

    def _node(self, alternatives: list[Any], name: str) -> int:
        factored = tuple(self._factored(alternatives, name))
        if factored in self._numbers:
            return self._numbers[factored]
        starts: dict[str, int] = {}
        entropy = 0.0
        for index, (p, symbols) in enumerate(factored):
            first = symbols[0]
            for terminal in [first] if isinstance(first, str) else self.nodes[first].starts:
                if starts.setdefault(terminal, index) != index:
                    raise checks.refuse(
                        f"rule '{name}'",
                        "alternatives that begin with different words",
                        f"two that begin with '{terminal}'",
                        "write their common beginning alike, or once",
                    )
            inner = sum(self.nodes[s].entropy for s in symbols if isinstance(s, int))
            entropy += p * (inner - math.log(p))
        self.nodes.append(
            Node(
                factored,
                [math.log(p) for p, _ in factored],
                np.cumsum([p for p, _ in factored]).tolist(),
                starts,
                entropy,
            )
        )
        self._numbers[factored] = len(self.nodes) - 1
        return self._numbers[factored]

    def _factored(self, alternatives: list[Any], name: str) -> list[Alternative]:
        """Alternatives with different first symbols: common beginnings are taken together."""
        groups: dict[Symbol, list[Alternative]] = {}
        for p, symbols in alternatives:
            if not symbols:
                raise checks.refuse(
                    f"rule '{name}'",
                    "no alternative that another begins with, and no empty one",
                    "such a one",
                    "end texts with a full stop",
                )
            groups.setdefault(symbols[0], []).append((p, symbols[1:]))
        result: list[Alternative] = []
        for first, group in groups.items():
            total = sum(p for p, _ in group)
            if len(group) == 1:
                result.append((total, (first, *group[0][1])))
                continue
            rests = self._factored([(p / total, rest) for p, rest in group], name)
            if len(rests) == 1:
                result.append((total, (first, *rests[0][1])))
            else:
                result.append((total, (first, self._node(rests, name))))
        return result

    # Using.

    def sample(self, rng: np.random.Generator) -> tuple[str, float]:
        """A text and the logarithm of its probability, nats."""
        pieces: list[str] = []
        log_prob = 0.0
        stack: list[Symbol] = [self._start]
        while stack:
            symbol = stack.pop()
            if isinstance(symbol, str):
                pieces.append(symbol)
                continue
            node = self.nodes[symbol]
            last = len(node.cumulative) - 1
            index = bisect.bisect_right(node.cumulative, rng.random(), 0, last) if last else 0
            log_prob += node.log_probs[index]
            stack.extend(reversed(node.alternatives[index][1]))
        return "".join(pieces), log_prob

    def log_prob(self, text: str) -> float:
        """The logarithm of a text's probability, nats; -inf of one outside the language."""
        pieces = PIECE.findall(text)
        if "".join(pieces) != text:
            return -math.inf
        pieces.append("")  # no terminal: the end
        place = 0
        log_prob = 0.0
        stack: list[Symbol] = [self._start]
        while stack:
            symbol = stack.pop()
            if isinstance(symbol, str):
                if pieces[place] != symbol:
                    return -math.inf
                place += 1
                continue
            node = self.nodes[symbol]
            index = node.starts.get(pieces[place])
            if index is None:
                return -math.inf
            log_prob += node.log_probs[index]
            stack.extend(reversed(node.alternatives[index][1]))
        return log_prob if place == len(pieces) - 1 else -math.inf

    def entropy(self) -> float:
        """The entropy of a text, nats: its choices' entropies, each as often as it is met."""
        return self.nodes[self._start].entropy

    def expected_counts(self) -> dict[str, float]:
        """How often each terminal stands in a text, expected."""
        visits = np.zeros(len(self.nodes))
        visits[self._start] = 1.0
        counts: dict[str, float] = {}
        for number in range(self._start, -1, -1):
            for p, symbols in self.nodes[number].alternatives:
                weight = p * float(visits[number])
                for symbol in symbols:
                    if isinstance(symbol, int):
                        visits[symbol] += weight
                    elif weight:
                        counts[symbol] = counts.get(symbol, 0.0) + weight
        return counts

    def word_bounds(self) -> tuple[int, int]:
        """The fewest and the most words of a text."""
        bounds: list[tuple[int, int]] = []
        for node in self.nodes:
            each = []
            for _, symbols in node.alternatives:
                sizes = [
                    bounds[s] if isinstance(s, int) else (int(s.strip().isalpha()),) * 2
                    for s in symbols
                ]
                each.append((sum(low for low, _ in sizes), sum(high for _, high in sizes)))
            bounds.append((min(low for low, _ in each), max(high for _, high in each)))
        return bounds[self._start]


def _items(template: str) -> tuple[str | Field, ...]:
    """A template as terminals and fields; a space before a field is the field's."""
    items: list[str | Field] = []
    end = 0
    for match in FIELD.finditer(template):
        items += PIECE.findall(template[end : match.start()])
        space, name, article, word, attribute = match.groups()
        items.append(Field(bool(space), name, bool(article), word, attribute))
        end = match.end()
    return (*items, *PIECE.findall(template[end:]))


# The stories -----------------------------------------------------------------------------------


@functools.cache
def story_grammar() -> Grammar:
    """The grammar of the stories, built when first asked for."""
    return Grammar(LEXICON, RULES, ATTRIBUTES)


def sample(rng: np.random.Generator) -> tuple[str, float]:
    """A story and the logarithm of its probability, nats."""
    return story_grammar().sample(rng)


def log_prob(text: str) -> float:
    """The logarithm of a story's probability, nats; -inf of a text that is none."""
    return story_grammar().log_prob(text)


def entropy() -> float:
    """The entropy of a story, nats."""
    return story_grammar().entropy()


@functools.cache
def _expected_counts() -> dict[str, float]:
    return story_grammar().expected_counts()


def expected_counts() -> dict[str, float]:
    """How often each terminal stands in a story, expected."""
    return dict(_expected_counts())


def expected_tokens(tokenizer: Any) -> float:
    """How many tokens a story has, expected, without those that begin and end it.

    Exact for a tokenizer that works piece by piece (``is_piecewise``).

    Args:
      tokenizer: a ``tokenizers.Tokenizer`` of this package.
    """
    counts = _expected_counts()
    lengths = [len(ids) for ids in tokenizer.encode_many(list(counts))]
    return math.fsum(n * count for n, count in zip(lengths, counts.values(), strict=True))


def is_piecewise(tokenizer: Any) -> bool:
    """Whether a tokenizer makes of stories the tokens of their terminals, tried on a hundred."""
    texts, _ = stories(100, 0)
    pieces = [PIECE.findall(text) for text in texts]
    known = dict.fromkeys(piece for text in pieces for piece in text)
    ids = dict(zip(known, tokenizer.encode_many(list(known)), strict=True))
    return all(
        whole == [token for piece in text for token in ids[piece]]
        for whole, text in zip(tokenizer.encode_many(texts), pieces, strict=True)
    )


def stories(count: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Independent stories and the logarithms ``[count]`` of their probabilities, nats.

    The first of many are the same as when fewer are asked for.
    """
    rng = np.random.default_rng(seed)
    pairs = [sample(rng) for _ in range(checks.whole_number("count", count, 0))]
    return [text for text, _ in pairs], np.asarray([p for _, p in pairs], np.float64)


def vocabulary() -> list[str]:
    """The words of all stories, in lower case, in alphabetical order."""
    pieces = (piece.strip().lower() for piece in _expected_counts())
    return sorted({piece for piece in pieces if piece.isalpha()})


def digest() -> str:
    """A digest of all that decides the law and the draws, sha256 in hexadecimal digits."""
    law = [1, ZIPF_EXPONENT, LEXICON, ATTRIBUTES, RULES]  # 1: how templates are read and drawn
    return hashlib.sha256(json.dumps(law).encode()).hexdigest()
