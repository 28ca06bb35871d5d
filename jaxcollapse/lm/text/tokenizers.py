"""Tokenizers: bytes, a byte-pair encoding trained on one's own texts, or one that exists.

All are held by the ``tokenizers`` library (extra ``lm``), which is imported when one is made. A
text's tokens never include special ones: what a text says, ``</s>`` too, is text.
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jaxcollapse import checks
from jaxcollapse.files import whole_file
from jaxcollapse.lm import hub
from jaxcollapse.lm.text import ends, llama2c, special_tokens

BOS, EOS = "<s>", "</s>"  # in vocabularies of our own
SMALLEST_BPE = 258  # bytes and the two special tokens
# Those of a folder; of any other name, the file that is named is the one that is read.
FILES = ("tokenizer.json", "vocab.json", *ends.FILES)
BATCH = 1000  # texts at a time: the library's answers are larger than the numbers in them


class Tokenizer:
    """Texts to numbers and back.

    Attributes:
      name: what to call it.
      vocab_size: the number of tokens, special ones included; all numbers are below it.
      bos: the number of the token that begins a document.
      eos: of the one that ends it; some vocabularies have one token for both.
      digest: of all that decides its output, sha256 in hexadecimal digits.
    """

    def __init__(self, name: str, backend: Any, bos: int, eos: int):
        """Takes over a ``tokenizers.Tokenizer``.

        Args:
          name: what to call it.
          backend: the library's tokenizer.
          bos: the number of the token that begins a document.
          eos: of the one that ends it.
        """
        backend.no_padding()
        backend.no_truncation()
        backend.encode_special_tokens = True  # special tokens in a text are text
        backend.post_processor = None  # it adds them, and is not asked to
        special_tokens.deterministic(backend)
        # Numbers may have gaps: what counts is how many rows a table by number needs.
        self.vocab_size = 1 + max(backend.get_vocab(with_added_tokens=True).values(), default=-1)
        for end, number in (("begins", bos), ("ends", eos)):
            known = isinstance(number, int) and not isinstance(number, bool)
            if not known or not 0 <= number < self.vocab_size or not backend.id_to_token(number):
                raise checks.refusal(
                    f"token that {end} documents",
                    f"one of the {self.vocab_size} of {name}",
                    number,
                    "name the tokenizer's own in its tokenizer_config.json",
                )
        special_tokens.as_special(backend, (bos, eos))
        self.name = name
        self.bos = bos
        self.eos = eos
        self._backend = backend
        self._never, self._rarely = special_tokens.special(backend, (bos, eos))
        content = json.dumps([backend.to_str(), bos, eos])
        self.digest = hashlib.sha256(content.encode()).hexdigest()

    def __reduce__(self) -> Any:
        return from_json, (self.name, self.to_json(), self.bos, self.eos)

    def __repr__(self) -> str:
        return f"Tokenizer({self.name!r}, vocab_size={self.vocab_size})"

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without ``bos`` and ``eos``."""
        return self.encode_many([text])[0]

    def encode_many(self, texts: Iterable[str]) -> list[list[int]]:
        """The tokens of each text, as ``encode`` gives them, faster."""
        texts = list(texts)
        result: list[list[int]] = []
        for start in range(0, len(texts), BATCH):
            batch = texts[start : start + BATCH]
            result += [encoding.ids for encoding in self._encodings(batch, places=False)]
        return result

    def _encodings(self, texts: list[str], places: bool) -> list[Any]:
        """The library's answers; with ``places`` they say where each token is in its text."""

        def answers(backend: Any, texts: list[str]) -> list[Any]:
            encode = backend.encode_batch if places else backend.encode_batch_fast
            return encode(texts, add_special_tokens=False)

        found = answers(self._backend, texts)
        watched = self._never | self._rarely
        doubtful = [i for i, answer in enumerate(found) if not watched.isdisjoint(answer.ids)]
        if doubtful:
            again = answers(self._guarded, [texts[i] for i in doubtful])
            for i, answer in zip(doubtful, again, strict=True):
                if not self._never.isdisjoint(answer.ids):
                    raise self._spells_special(answer.ids)
                found[i] = answer
        return found

    @functools.cached_property
    def _guarded(self) -> Any:
        return special_tokens.guarded(self._backend, self._never | self._rarely)

    def _spells_special(self, ids: Sequence[int]) -> ValueError:
        token = self._backend.id_to_token(next(i for i in ids if i in self._never))
        return checks.refusal(
            f"text for {self.name}",
            "none that a special token alone can spell",
            repr(token),
            "take it out of the text, or take another tokenizer",
        )

    def has_special(self, ids: Iterable[int]) -> bool:
        """Whether any of some tokens is one that no text has, ``bos`` and ``eos`` among them."""
        return not self._never.isdisjoint(ids)

    def lost(self, texts: Iterable[str]) -> float:
        """The share of some texts that do not come back from their tokens as they were."""
        texts = list(texts)
        back = map(self.decode, self.encode_many(texts))
        different = sum(text != other for text, other in zip(texts, back, strict=True))
        return different / max(len(texts), 1)

    def encode_parts(
        self, texts: Sequence[str], places: Sequence[int]
    ) -> tuple[list[list[int]], list[int]]:
        """The tokens of texts that have two parts, and how many of each belong to the first part.

        A token belongs to the second part if it spans any of its characters; the first such token
        and all after it count there.

        Args:
          texts: N texts.
          places: N, in which character (Unicode code point) of its text each second part begins.
        """
        ids: list[list[int]] = []
        counts: list[int] = []
        for start in range(0, len(texts), BATCH):
            batch = list(texts[start : start + BATCH])
            encodings = self._encodings(batch, places=True)
            for encoding, place in zip(encodings, places[start : start + BATCH], strict=True):
                ids.append(encoding.ids)
                ends = [end for _, end in encoding.offsets]
                counts.append(bisect.bisect_right(ends, place))
        return ids, counts

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some tokens; special ones are dropped, bytes that are no UTF-8 replaced."""
        kept = [int(i) for i in ids if i not in (self.bos, self.eos)]
        return self._backend.decode(kept, skip_special_tokens=True)

    def to_json(self) -> str:
        """The content of ``tokenizer.json``."""
        return self._backend.to_str()

    def save(self, folder: Path | str) -> None:
        """Writes ``tokenizer.json`` and ``tokenizer_config.json`` into a folder, made if needed.

        ``load_tokenizer`` and ``transformers.AutoTokenizer`` read them back; the latter then puts
        ``bos`` before a text, as models here are trained.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": self._backend.id_to_token(self.bos),
            "eos_token": self._backend.id_to_token(self.eos),
            "clean_up_tokenization_spaces": False,
        }
        with whole_file(folder / "tokenizer.json") as temporary:
            temporary.write_text(self._json_with_bos(), encoding="utf-8")
        with whole_file(folder / "tokenizer_config.json") as temporary:
            temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    def _json_with_bos(self) -> str:
        library = checks.require("tokenizers", "lm")
        copy = library.Tokenizer.from_str(self.to_json())
        bos = self._backend.id_to_token(self.bos)
        # In a list a token may hold blanks and colons, which a string would be cut at.
        copy.post_processor = library.processors.TemplateProcessing(
            single=[bos, "$A"], special_tokens=[(bos, self.bos)]
        )
        return copy.to_str()


def from_json(name: str, content: str, bos: int, eos: int) -> Tokenizer:
    """A tokenizer from the content of ``tokenizer.json``."""
    library = checks.require("tokenizers", "lm")
    return Tokenizer(name, library.Tokenizer.from_str(content), bos, eos)


# Made here -------------------------------------------------------------------------------------


def byte_tokenizer() -> Tokenizer:
    """The 256 bytes of UTF-8, a token each with its value for number; then ``bos`` and ``eos``."""
    library = checks.require("tokenizers", "lm")
    vocabulary = {character: byte for byte, character in enumerate(_byte_characters())}
    backend = _byte_level(library.models.BPE(vocab=vocabulary, merges=[]))
    backend.add_special_tokens([BOS, EOS])
    return Tokenizer("bytes", backend, 256, 257)


def train_bpe(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A byte-pair encoding of bytes with GPT-2's pre-tokenizer, trained on texts.

    The same texts give the same tokenizer. Texts with little in them give a smaller vocabulary
    than is asked for.

    Args:
      texts: what to train on.
      vocab_size: the number of tokens wanted, bytes and two special ones included.

    Raises:
      ValueError: ``vocab_size`` is below 258.
    """
    vocab_size = checks.whole_number("vocab_size", vocab_size, SMALLEST_BPE)
    library = checks.require("tokenizers", "lm")
    backend = _byte_level(library.models.BPE())
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[BOS, EOS],
        initial_alphabet=_byte_characters(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    bos, eos = backend.token_to_id(BOS), backend.token_to_id(EOS)
    return Tokenizer(f"bpe-{backend.get_vocab_size()}", backend, bos, eos)


def _byte_level(model: Any) -> Any:
    library = checks.require("tokenizers", "lm")
    backend = library.Tokenizer(model)
    backend.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = library.decoders.ByteLevel()
    return backend


def _byte_characters() -> list[str]:
    """How GPT-2 writes each byte: as itself where that is visible, else by one from 256 on."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(256, 512))
    return [chr(byte if byte in visible else next(others)) for byte in range(256)]


# Read ------------------------------------------------------------------------------------------


def load_tokenizer(path_or_name: Path | str) -> Tokenizer:
    """A tokenizer that exists.

    Args:
      path_or_name: a folder with ``tokenizer.json``, with ``vocab.json`` and ``merges.txt`` as
        GPT-2 has them, or with a ``tok*.bin`` of llama2.c; one of these files; a ``.gguf`` file
        that has one; or a name at the Hugging Face hub.

    Raises:
      ValueError: there is no such thing, it cannot be read, or it has no token to begin or end a
        document with.
    """
    path = Path(path_or_name)
    if path.is_file():
        if path.suffix == ".bin":
            return _of_llama2c(path)
        if path.suffix == ".gguf":
            return _of_gguf(path)
        if path.suffix == ".json" and path.name not in FILES:
            return _of_json(path)
        return _of_folder(path.parent)
    if path.is_dir():
        return _of_folder(path)
    name = str(path_or_name)
    if isinstance(path_or_name, Path) or not hub.NAME.fullmatch(name):
        raise checks.refusal(
            "tokenizer", "a folder or file that exists, or a name at the hub", name, "check it"
        )
    return _of_hub(name)


def _of_folder(folder: Path) -> Tokenizer:
    library = checks.require("tokenizers", "lm")
    name = folder.resolve().name
    try:
        if (folder / FILES[0]).is_file():
            return _of_json(folder / FILES[0])
        vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
        if vocabulary.is_file() and merges.is_file():
            model = library.models.BPE.from_file(str(vocabulary), str(merges))
            backend = _byte_level(model)
            end = "<|endoftext|>"
            if backend.token_to_id(end) is None:
                return Tokenizer(name, backend, *ends.of_folder(folder, backend))
            backend.add_special_tokens([end])
            return Tokenizer(name, backend, backend.token_to_id(end), backend.token_to_id(end))
    except ValueError:
        raise
    except BaseException as error:
        raise _unreadable(folder, error) from None
    binary = sorted(folder.glob("tok*.bin"))
    if len(binary) == 1:
        return _of_llama2c(binary[0])
    raise checks.refusal(
        "tokenizer",
        "a folder with tokenizer.json, with vocab.json and merges.txt, or with one tok*.bin",
        str(folder),
        "check the folder",
    )


def _of_json(path: Path) -> Tokenizer:
    library = checks.require("tokenizers", "lm")
    name = path.parent.resolve().name if path.name == FILES[0] else path.stem
    try:
        backend = library.Tokenizer.from_str(path.read_text(encoding="utf-8-sig"))
    except BaseException as error:
        raise _unreadable(path, error) from None
    return Tokenizer(name, backend, *ends.of_folder(path.parent, backend))


def _unreadable(path: Path, error: BaseException) -> BaseException:
    # The library raises plain Exceptions, and where it panics what is none.
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        return error
    got = f"{path} ({hub.first_sentence(error)})"
    return checks.refusal("tokenizer", "files of the tokenizers library", got, "check the files")


def _of_llama2c(path: Path) -> Tokenizer:
    return Tokenizer(path.stem, *llama2c.tokenizer(path, BOS, EOS))


def _of_gguf(path: Path) -> Tokenizer:
    from jaxcollapse.lm import checkpoints  # needs flax

    backend, bos, eos = checkpoints.gguf_tokenizer(path)
    return Tokenizer(path.stem, backend, *ends.both(bos, eos, str(path)))


def _of_hub(name: str) -> Tokenizer:
    library = checks.require("transformers", "lm")
    try:
        loaded = library.AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise checks.refusal(
            "tokenizer",
            "a folder that exists, or a name at the hub that can be reached",
            f"'{name}' ({hub.first_sentence(error)})",
            "check the name and the network, or download it and give its folder",
        ) from None
    backend = getattr(loaded, "backend_tokenizer", None)
    if backend is None:
        raise checks.refusal(
            "tokenizer",
            "one that has a tokenizer.json",
            f"'{name}', which has none",
            "choose another",
        )
    return Tokenizer(name, backend, *ends.both(loaded.bos_token_id, loaded.eos_token_id, name))
