"""The tokens that begin and end documents, from the files of a tokenizer or a model that tell."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from jaxcollapse import checks
from jaxcollapse.inputs import json_object
from jaxcollapse.lm.hub import first_sentence

FILES = ("tokenizer_config.json", "special_tokens_map.json", "config.json")


def of_folder(folder: Path, backend: Any) -> tuple[int, int]:
    """The numbers of bos and eos; one of them stands in for both.

    Args:
      folder: with some of ``FILES``, of which the first that tells counts.
      backend: the library's tokenizer.

    Raises:
      ValueError: a file is no JSON object, or none tells.
    """
    found: dict[str, Any] = {}
    for name in FILES:
        path = folder / name
        if not path.is_file():
            continue
        try:
            content = json_object(path)
        except ValueError as error:
            raise checks.refusal(
                "tokenizer", f"a JSON object in {name}", first_sentence(error), "mend it"
            ) from None
        for end in ("bos", "eos"):
            token, number = content.get(f"{end}_token"), content.get(f"{end}_token_id")
            token = token.get("content") if isinstance(token, dict) else token
            number = number[0] if isinstance(number, list) and number else number
            if isinstance(token, str):
                with contextlib.suppress(UnicodeEncodeError):  # half of a surrogate pair is none
                    number = backend.token_to_id(token)
            if number is not None:
                found.setdefault(end, number)
    return both(found.get("bos"), found.get("eos"), str(folder))


def both(bos: int | None, eos: int | None, where: str) -> tuple[int, int]:
    """Both numbers, where one of them may be all that is known.

    Raises:
      ValueError: neither is.
    """
    if bos is None and eos is None:
        raise checks.refusal(
            "tokenizer",
            "a token that begins or ends documents (bos_token, eos_token)",
            f"none in {where}",
            "name one in its tokenizer_config.json",
        )
    first, last = (bos, eos) if bos is not None else (eos, bos)
    assert first is not None
    return (first, first if last is None else last)
