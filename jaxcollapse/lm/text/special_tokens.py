"""Which tokens no text may have, and the tokenizer that gives none of them.

The library keeps special tokens out of texts where it cuts texts itself; a model whose vocabulary
has them as pieces (Unigram, WordPiece, WordLevel) still finds them there.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import Any

from jaxcollapse import checks

BYTE = re.compile("<0x[0-9A-F]{2}>")  # what models that fall back on bytes call them


def deterministic(backend: Any) -> None:
    """Turns off what makes encodings of one text differ: dropout, and samples of a Unigram."""
    for name in ("dropout", "alpha", "nbest_size"):
        if getattr(backend.model, name, None) is not None:
            setattr(backend.model, name, None)


def as_special(backend: Any, numbers: tuple[int, ...]) -> None:
    """Makes tokens special that were added as text and begin or end documents."""
    added = backend.get_added_tokens_decoder()
    text = [added[n] for n in numbers if n in added and not added[n].special]
    if text:
        backend.add_special_tokens([token.content for token in text])


def special(backend: Any, ends: tuple[int, ...]) -> tuple[frozenset[int], frozenset[int]]:
    """The tokens that no text may have, and those that it has only where it spells no token.

    Args:
      backend: the library's tokenizer.
      ends: numbers of the tokens that begin and end documents.

    Returns:
      Control tokens, and beside them the unknown one and bytes.
    """
    added = backend.get_added_tokens_decoder()
    control = {number for number, token in added.items() if token.special} | set(ends)
    unknown = _unknown(backend)
    vocabulary = backend.get_vocab(with_added_tokens=False)
    spelled = {n for token, n in vocabulary.items() if token[:3] == "<0x" and BYTE.fullmatch(token)}
    return frozenset(control - unknown), frozenset(spelled | unknown)


def _unknown(backend: Any) -> set[int]:
    token = getattr(backend.model, "unk_token", None)
    if token is None and type(backend.model).__name__ == "Unigram":
        number = json.loads(backend.to_str())["model"]["unk_id"]
        return set() if number is None else {number}
    number = None if token is None else backend.token_to_id(token)
    return set() if number is None else {number}


def guarded(backend: Any, numbers: frozenset[int]) -> Any:
    """A tokenizer that cuts every text within what spells one of some tokens.

    Args:
      backend: the library's tokenizer, which stays as it is.
      numbers: of the tokens.
    """
    library = checks.require("tokenizers", "lm")
    cuts = library.pre_tokenizers
    rest_by_first: dict[str, set[str]] = defaultdict(set)
    for token, number in backend.get_vocab(with_added_tokens=False).items():
        if number in numbers and len(token) > 1:
            rest_by_first[token[0]].add(re.escape(token[1:]))
    copy = library.Tokenizer.from_str(backend.to_str())
    copy.encode_special_tokens = True
    patterns = [
        f"{re.escape(first)}(?={'|'.join(sorted(rests))})" for first, rests in rest_by_first.items()
    ]
    if patterns:
        cut = cuts.Split(library.Regex("|".join(patterns)), "merged_with_previous")
        before = [] if copy.pre_tokenizer is None else [copy.pre_tokenizer]
        copy.pre_tokenizer = cuts.Sequence([*before, cut])
    return copy
