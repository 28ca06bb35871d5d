"""What is kept of a chain, in a folder of its own.

generation-03/    finished: metrics.json, documents.npz, samples.jsonl, rejected.jsonl, the weights,
                  and SHA256SUMS of all these
training/         a state of the generation in training, written by orbax
sampling/         documents of the generation that samples
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxcollapse import checks, files
from jaxcollapse.lm import checkpoints
from jaxcollapse.lm.decoder.config import Config
from jaxcollapse.lm.decoder.decoder import Params
from jaxcollapse.lm.decoder.training import State
from jaxcollapse.lm.text.documents import Documents
from jaxcollapse.lm.text.tokenizers import Tokenizer

DOCUMENTS = "documents.npz"
KEEP_WEIGHTS = ("last", "all", "none")
WEIGHTS = ("config.json", "*.safetensors*")  # which need not stay
SECONDS = "seconds"  # that a generation took, of its metrics
Model = tuple[Config, Params]


class StateFolder:
    """States of models in training. A name stands for something whole, or does not exist."""

    def __init__(self, path: Path):
        """The folder is made when it is needed."""
        self.path = path

    def save_state(self, name: str, state: State) -> None:
        """Keeps a model's state in training, and then forgets the one before."""
        orbax = checks.require("orbax.checkpoint", "lm")
        files.make_folder(self.path)
        before = list(self.path.glob(f"{name}-*"))
        path = self.path / f"{name}-step-{int(state.step):07d}"
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state)]
        with files.written_to(path), _quiet("absl"):  # an error is told once, by whoever catches it
            # Orbax gives a checkpoint its name once it has written all of it.
            orbax.PyTreeCheckpointer().save(path.absolute(), {"leaves": leaves}, force=True)
        files.write_sums(path)
        for old in before:
            if old != path:
                shutil.rmtree(old, ignore_errors=True)

    def load_state(self, name: str, like: State) -> State | None:
        """A model's last state in training that is as it was written, if it has one.

        Args:
          name: of the model.
          like: shapes, types and places of its arrays.
        """
        found = sorted(self.path.glob(f"{name}-step-???????"))
        while found and not files.has_sound_files(found[-1]):
            shutil.rmtree(found.pop(), ignore_errors=True)
        if not found:
            return None
        orbax = checks.require("orbax.checkpoint", "lm")
        leaves = orbax.PyTreeCheckpointer().restore(found[-1].absolute())["leaves"]
        shapes, structure = jax.tree.flatten(like)
        arrays = [
            jax.device_put(np.asarray(x).astype(y.dtype), y.sharding)
            for x, y in zip(leaves, shapes, strict=True)
        ]
        return jax.tree.unflatten(structure, arrays)

    def forget(self, name: str) -> None:
        """Removes a model's states, and the folder if no others are in it."""
        for path in self.path.glob(f"{name}-*"):
            shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):  # another's are in it, or there is none
            self.path.rmdir()


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    """A block in which a logger says nothing."""
    logger = logging.getLogger(name)

    def nothing(record: logging.LogRecord) -> bool:
        return False

    logger.addFilter(nothing)
    try:
        yield
    finally:
        logger.removeFilter(nothing)


class SampleFolder:
    """Samples of models that are writing. A name stands for something whole, or does not exist."""

    def __init__(self, path: Path):
        """The folder is made when it is needed."""
        self.path = path

    def save(self, name: str, first: int, samples: Mapping[str, Any]) -> None:
        """Keeps samples of a model, numbered from ``first``."""
        files.make_folder(self.path)
        whole = files.whole_file(self._file(name, first), sealed=True)
        with whole as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **samples)

    def load(self, name: str, first: int) -> dict[str, np.ndarray] | None:
        """What ``save`` was given; None if it was not, or is not as it was written."""
        path = self._file(name, first)
        if not files.is_sound(path):
            return None
        with np.load(path) as arrays:
            return dict(arrays)

    def _file(self, name: str, first: int) -> Path:
        return self.path / f"{name}-{first}.npz"

    def forget(self, name: str) -> None:
        """Removes a model's samples, and the folder if no others are in it."""
        for path in self.path.glob(f"{name}-*"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # another's are in it, or there is none
            self.path.rmdir()


class ChainFolder:
    """The files of one chain. A name stands for something whole, or does not exist."""

    def __init__(self, path: Path, keep_weights: str = "last"):
        """The folder is made if needed.

        Args:
          path: of the folder.
          keep_weights: of which finished generations: ``last``, ``all`` or ``none``.
        """
        checks.one_of("keep_weights", keep_weights, KEEP_WEIGHTS)
        files.make_folder(path)
        self.path, self.keep_weights = path, keep_weights
        self.states = StateFolder(path / "training")
        self.samples = SampleFolder(path / "sampling")

    @staticmethod
    def name(number: int) -> str:
        """Of a generation, in names of files."""
        return f"generation-{number:02d}"

    def generation(self, number: int) -> Path:
        """Where a finished generation is."""
        return self.path / self.name(number)

    def finished(self, number: int) -> dict[str, float] | None:
        """Metrics of a generation; None if it is not finished.

        One of which a file is not as it was written is named, and is not finished either.
        """
        path = self.generation(number)
        if not path.is_dir():
            return None
        if (path / files.SUMS).exists() and not files.has_sound_files(path, WEIGHTS):
            shutil.rmtree(self._damaged(number), ignore_errors=True)
            path.rename(self._damaged(number))
            return None
        self._forget(number)
        return json.loads((path / "metrics.json").read_text())

    def documents(self, number: int) -> Documents:
        """What a finished generation published."""
        with np.load(self.generation(number) / DOCUMENTS) as arrays:
            return Documents(arrays["tokens"], arrays["offsets"], arrays.get("prompts"))

    def finish(
        self,
        number: int,
        metrics: Mapping[str, float],
        documents: Documents,
        tokenizer: Tokenizer,
        model: Model | None,
        rejected: Sequence[str] = (),
    ) -> None:
        """Keeps a finished generation, whole or not at all, and forgets its unfinished parts.

        Args:
          number: from 1.
          metrics: numbers by name.
          documents: what it published.
          tokenizer: which they are written with.
          model: its configuration and parameters; None to keep none.
          rejected: some samples that it did not publish.
        """
        final = self.generation(number)
        partial = final.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        with files.written_to(partial):
            self._write(partial, metrics, documents, tokenizer, model, rejected)
            files.write_sums(partial)
            self._forget_what_followed_others(number)
            partial.rename(final)
            files.flush(final.parent)
        self._forget(number)

    @staticmethod
    def _write(
        partial: Path,
        metrics: Mapping[str, float],
        documents: Documents,
        tokenizer: Tokenizer,
        model: Model | None,
        rejected: Sequence[str],
    ) -> None:
        partial.mkdir()
        (partial / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
        with (partial / DOCUMENTS).open("wb") as file:
            arrays = {k: v for k, v in documents._asdict().items() if v is not None}
            np.savez(file, allow_pickle=False, **arrays)
        _write_lines(partial / "samples.jsonl", _texts(documents, tokenizer))
        if rejected:
            _write_lines(partial / "rejected.jsonl", ({"text": text} for text in rejected))
        if model is not None:
            config, params = model
            host = jax.device_get(params)
            checkpoints.save(partial, config, host, bos=tokenizer.bos, eos=tokenizer.eos)
            tokenizer.save(partial)

    def _damaged(self, number: int) -> Path:
        """Where a generation is that was not as it was written, until it is made again."""
        return self.generation(number).with_suffix(".damaged")

    def _forget_what_followed_others(self, number: int) -> None:
        """Forgets later generations if a damaged one has other documents when it is made again.

        They are the same bit for bit on a CPU; on GPUs operations may add up in another order.
        """
        before, now = self._damaged(number), self.generation(number).with_suffix(".partial")
        if not before.is_dir():
            return
        sums = [(folder / files.SUMS).read_text(errors="replace") for folder in (before, now)]
        told = [[line for line in text.splitlines() if DOCUMENTS in line] for text in sums]
        for later in sorted(self.path.glob("generation-??")) if told[0] != told[1] else ():
            if later.name > self.name(number):
                print(f"{later}: of other documents than there are now; again", file=sys.stderr)
                shutil.rmtree(later)
        shutil.rmtree(before)

    def _forget(self, number: int) -> None:
        """Removes what a finished generation makes needless; safe to do again."""
        if self.keep_weights == "last":
            before = self.generation(number - 1)
            for path in (path for pattern in WEIGHTS for path in before.glob(pattern)):
                path.unlink()
        self.states.forget(self.name(number))
        self.samples.forget(self.name(number))


def _texts(documents: Documents, tokenizer: Tokenizer) -> Iterator[dict[str, Any]]:
    for index in range(documents.count):
        tokens = documents.document(index).tolist()
        ended = tokens[-1] == tokenizer.eos
        yield {"document": index, "ended": ended, "text": tokenizer.decode(tokens)}


def _write_lines(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
