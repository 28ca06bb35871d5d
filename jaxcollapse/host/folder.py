"""What is kept of a chain, in a folder of its own.

generation-03/    finished: metrics.json, documents.npz, samples.jsonl, and the weights
training/         a state of the generation in training, written by orbax
sampling/         documents of the generation that samples
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import checks, results
from jaxcollapse.datasets.documents import Documents
from jaxcollapse.datasets.tokenizers import Tokenizer
from jaxcollapse.models import checkpoints
from jaxcollapse.models.config import Config
from jaxcollapse.models.decoder import Params
from jaxcollapse.models.training import State

KEEP_WEIGHTS = ("last", "all", "none")
SECONDS = "seconds"  # that a generation took, of its metrics
Model = tuple[Config, Params]


class ChainFolder:
    """The files of one chain. A name stands for something whole, or does not exist."""

    def __init__(self, path: Path, keep_weights: str = "last"):
        """The folder is made if needed.

        Args:
          path: of the folder.
          keep_weights: of which finished generations: ``last``, ``all`` or ``none``.
        """
        checks.one_of("keep_weights", keep_weights, KEEP_WEIGHTS)
        path.mkdir(parents=True, exist_ok=True)
        self.path, self.keep_weights = path, keep_weights

    def generation(self, number: int) -> Path:
        """Where a finished generation is."""
        return self.path / f"generation-{number:02d}"

    def finished(self, number: int) -> dict[str, float] | None:
        """Metrics of a generation; None if it is not finished."""
        path = self.generation(number)
        if not path.is_dir():
            return None
        self._forget(number)
        return json.loads((path / "metrics.json").read_text())

    def documents(self, number: int) -> Documents:
        """What a finished generation published."""
        with np.load(self.generation(number) / "documents.npz") as arrays:
            return Documents(arrays["tokens"], arrays["offsets"])

    def finish(
        self,
        number: int,
        metrics: Mapping[str, float],
        documents: Documents,
        tokenizer: Tokenizer,
        model: Model | None,
    ) -> None:
        """Keeps a finished generation, whole or not at all, and forgets its unfinished parts.

        Args:
          number: from 1.
          metrics: numbers by name.
          documents: what it published.
          tokenizer: which they are written with.
          model: its configuration and parameters; None to keep none.
        """
        final = self.generation(number)
        partial = final.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        (partial / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
        with (partial / "documents.npz").open("wb") as file:
            np.savez(file, tokens=documents.tokens, offsets=documents.offsets)
        with (partial / "samples.jsonl").open("w", encoding="utf-8") as file:
            for index in range(documents.count):
                tokens = documents.document(index).tolist()
                line = {
                    "document": index,
                    "ended": tokens[-1] == tokenizer.eos,
                    "text": tokenizer.decode(tokens),
                }
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        if model is not None:
            config, params = model
            host = jax.device_get(params)
            checkpoints.save(partial, config, host, bos=tokenizer.bos, eos=tokenizer.eos)
            tokenizer.save(partial)
        partial.rename(final)
        self._forget(number)

    def _forget(self, number: int) -> None:
        """Removes what a finished generation makes needless; safe to do again."""
        if self.keep_weights == "last":
            before = self.generation(number - 1)
            for path in (*before.glob("config.json"), *before.glob("*.safetensors*")):
                path.unlink()
        for path in self.path.glob(f"training/generation-{number:02d}-*"):
            shutil.rmtree(path, ignore_errors=True)
        for path in self.path.glob(f"sampling/generation-{number:02d}-*"):
            path.unlink(missing_ok=True)
        for name in ("training", "sampling"):
            with contextlib.suppress(OSError):  # another generation's are in it, or there is none
                (self.path / name).rmdir()

    def save_state(self, number: int, state: State) -> None:
        """Keeps a generation's state in training, and then forgets the one before."""
        orbax = checks.require("orbax.checkpoint", "lm")
        folder = self.path / "training"
        folder.mkdir(exist_ok=True)
        before = list(folder.iterdir())
        path = folder / f"generation-{number:02d}-step-{int(state.step):07d}"
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state)]
        # Orbax gives a checkpoint its name once it is whole.
        orbax.PyTreeCheckpointer().save(path.absolute(), {"leaves": leaves}, force=True)
        for old in before:
            if old != path:
                shutil.rmtree(old, ignore_errors=True)

    def load_state(self, number: int, fresh: State) -> State:
        """A generation's state in training if it has one; else the fresh one."""
        found = sorted((self.path / "training").glob(f"generation-{number:02d}-step-???????"))
        if not found:
            return fresh
        orbax = checks.require("orbax.checkpoint", "lm")
        leaves = orbax.PyTreeCheckpointer().restore(found[-1].absolute())["leaves"]
        like, structure = jax.tree.flatten(fresh)
        arrays = [jnp.asarray(np.asarray(x), y.dtype) for x, y in zip(leaves, like, strict=True)]
        return jax.tree.unflatten(structure, arrays)

    def save_documents(self, number: int, first: int, arrays: Mapping[str, Any]) -> None:
        """Keeps documents of a generation that samples, numbered from ``first``."""
        (self.path / "sampling").mkdir(exist_ok=True)
        path = self._documents(number, first)
        with results.whole_file(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    def load_documents(self, number: int, first: int) -> dict[str, np.ndarray] | None:
        """What ``save_documents`` was given; None if it was not."""
        path = self._documents(number, first)
        if not path.exists():
            return None
        with np.load(path) as arrays:
            return dict(arrays)

    def _documents(self, number: int, first: int) -> Path:
        return self.path / "sampling" / f"generation-{number:02d}-{first}.npz"
