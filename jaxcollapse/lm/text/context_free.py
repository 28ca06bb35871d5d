"""Context-free grammars whose texts have probabilities that are known exactly.

A rule that depends on a name is one rule for each name. The alternatives of a rule begin with
different words once their common beginnings are taken together, which is checked when a grammar is
built, so a text has one derivation, found by reading it once from left to right; ``log_prob`` is
exact, and so are ``entropy`` and ``expected_counts``, by recursion over the rules.

The terminals are the pieces into which GPT-2's pre-tokenizer cuts a text: a word with the space
before it, or a run of punctuation marks. A tokenizer that works piece by piece makes of a text the
tokens of its terminals, one after another; ``expected_tokens`` counts on that.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxcollapse import checks

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

    Attributes:
      nodes: all of them.
      digest: of all that decides the law and the draws, sha256 in hexadecimal digits.
    """

    def __init__(
        self,
        lexicon: Mapping[str, str],
        rules: Mapping[str, Mapping[str, float]],
        attributes: Mapping[str, Mapping[str, str]] | None = None,
        start: str = "story",
        exponent: float = 1.2,
    ):
        """Builds all nodes.

        Args:
          lexicon: lists of words, commonest first, by name.
          rules: templates and their weights, by name.
          attributes: words that follow from one of a list, by the list's name and their own: one
            for the whole list, or as many as it has, in its order.
          start: the rule that texts are made by.
          exponent: of Zipf's law over each list.

        Raises:
          ValueError: two alternatives of a rule begin with the same word, or one with the whole
            of the other; or a list has another number of words than an attribute of it.
        """
        self.nodes: list[Node] = []
        # 1: how templates are read and drawn.
        law = [1, exponent, dict(lexicon), attributes, rules, start]
        self.digest = hashlib.sha256(json.dumps(law).encode()).hexdigest()
        self._lists = {name: words.split() for name, words in lexicon.items()}
        self._rules = {
            name: [(_items(template), weight) for template, weight in alternatives.items()]
            for name, alternatives in rules.items()
        }
        self._attributes: dict[str, dict[str, str]] = {}
        for name, known in (attributes or {}).items():
            for attribute, values in known.items():
                self._attribute(name, attribute, values.split())
        self._exponent = exponent
        self._free: dict[str, frozenset[str]] = {}
        self._numbers: dict[Any, int] = {}  # of nodes, by what they are made of
        self._start = self._rule(start, (), False)

    def _attribute(self, name: str, attribute: str, values: list[str]) -> None:
        words = self._lists[name]
        if len(values) not in (1, len(words)):
            raise checks.refusal(
                f"attribute '{attribute}' of '{name}'",
                f"one word or {len(words)}, as many as the list has",
                len(values),
                "give a word for each",
            )
        for word, value in zip(words, values * (len(words) // len(values)), strict=True):
            self._attributes.setdefault(word, {})[attribute] = value

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
                    raise checks.refusal(
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
                raise checks.refusal(
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

    def sample_many(self, count: int, seed: int) -> tuple[list[str], np.ndarray]:
        """Independent texts and the logarithms ``[count]`` of their probabilities, nats.

        The first of many are the same as when fewer are asked for.
        """
        rng = np.random.default_rng(seed)
        pairs = [self.sample(rng) for _ in range(checks.whole_number("count", count, 0))]
        return [text for text, _ in pairs], np.asarray([p for _, p in pairs], np.float64)

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

    def expected_tokens(self, tokenizer: Any) -> float:
        """How many tokens a text has, expected, without those that begin and end it.

        Exact for a tokenizer that works piece by piece (``is_piecewise``).

        Args:
          tokenizer: a ``tokenizers.Tokenizer`` of this package.
        """
        counts = self.expected_counts()
        lengths = [len(ids) for ids in tokenizer.encode_many(list(counts))]
        return math.fsum(n * count for n, count in zip(lengths, counts.values(), strict=True))

    def is_piecewise(self, tokenizer: Any) -> bool:
        """Whether a tokenizer makes of texts the tokens of their terminals, tried on a hundred."""
        texts, _ = self.sample_many(100, 0)
        pieces = [PIECE.findall(text) for text in texts]
        known = dict.fromkeys(piece for text in pieces for piece in text)
        ids = dict(zip(known, tokenizer.encode_many(list(known)), strict=True))
        return all(
            whole == [token for piece in text for token in ids[piece]]
            for whole, text in zip(tokenizer.encode_many(texts), pieces, strict=True)
        )

    def vocabulary(self) -> list[str]:
        """The words of all texts, in lower case, in alphabetical order."""
        pieces = (piece.strip().lower() for piece in self.expected_counts())
        return sorted({piece for piece in pieces if piece.isalpha()})

    def bounds(self, size: Callable[[str], int]) -> tuple[int, int]:
        """The least and the most that the sizes of a text's terminals add up to."""
        bounds: list[tuple[int, int]] = []
        for node in self.nodes:
            each = []
            for _, symbols in node.alternatives:
                sizes = [bounds[s] if isinstance(s, int) else (size(s),) * 2 for s in symbols]
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
