"""The vocabularies of llama2.c: tokens with scores, of which the best joins first."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxcollapse import checks

BOS, EOS, BYTES = 1, 2, 3  # and the byte b is the token 3 + b


def tokenizer(path: Path, bos: str, eos: str) -> tuple[Any, int, int]:
    """A tokenizer of the library, and the numbers of the tokens that begin and end a document.

    Of all neighbours whose join is a token, the best joins first. A join's rank is its token's, so
    that they are merges as of any byte-pair encoding.

    Args:
      path: a file ``tok*.bin``.
      bos: what to call the token that begins a document, which llama2.c writes with line breaks.
      eos: the one that ends it.

    Raises:
      ValueError: the file is no such vocabulary.
    """
    library = checks.require("tokenizers", "lm")
    scores: list[float] = []
    tokens: list[str] = []
    for score, piece in _pieces(path):
        scores.append(score)
        tokens.append(piece)
    tokens[:BYTES] = ["<unk>", bos, eos]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    merges = [
        (token[:cut], token[cut:])
        for number, token in sorted(enumerate(tokens), key=lambda pair: -scores[pair[0]])
        if number >= BYTES + 256
        for cut in range(1, len(token))
        if token[:cut] in vocabulary and token[cut:] in vocabulary
    ]
    model = library.models.BPE(
        vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True
    )
    backend = library.Tokenizer(model)
    backend.normalizer = library.normalizers.Prepend(" ")
    backend.decoder = library.decoders.Sequence(
        [
            library.decoders.ByteFallback(),
            library.decoders.Fuse(),
            library.decoders.Strip(" ", 1, 0),
        ]
    )
    backend.add_special_tokens(tokens[:BYTES])
    return backend, BOS, EOS


def _pieces(path: Path) -> Iterator[tuple[float, str]]:
    """Scores and tokens: int32 longest token; then float32 score, int32 length, bytes of each."""
    content = path.read_bytes()
    place, count = 4, 0
    try:
        while place < len(content):
            score, length = struct.unpack_from("<fi", content, place)
            piece = content[place + 8 : place + 8 + length]
            if length < 0 or len(piece) < length:
                raise ValueError("cut off")
            text = piece.decode("utf-8")
            if BYTES <= count < BYTES + 256 and text != f"<0x{count - 3:02X}>":
                raise ValueError(f"token {count} is not byte {count - 3}")
            yield score, text
            place += 8 + length
            count += 1
        if count < BYTES + 256:
            raise ValueError(f"{count} tokens")
    except (struct.error, ValueError) as error:
        raise checks.refusal(
            "tokenizer", "a vocabulary of llama2.c", f"{path} ({error})", "check the file"
        ) from None
