"""Models fine-tuned on every count of real and of synthetic documents, driven from the host.

teacher/    the model of all real documents, and the synthetic ones that it made
seed-0/     metrics of each mixture, real-64-synthetic-256.json, and training/
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcollapse import results
from jaxcollapse.chain import SHARE_OF_REAL_DATA, generation_keys
from jaxcollapse.datasets.documents import Documents
from jaxcollapse.datasets.text import Corpus
from jaxcollapse.host import publish
from jaxcollapse.host.chain import Progress
from jaxcollapse.host.devices import run_on_devices
from jaxcollapse.host.fit import Trainer
from jaxcollapse.host.folder import ChainFolder, StateFolder
from jaxcollapse.host.programs import Programs

TEACHER_SEED = 2**32 - 1  # no seed that one would mix with


class Counts(NamedTuple):
    """A grid of mixtures.

    Attributes:
      real: counts of real documents.
      synthetic: counts of synthetic ones.
      seeds: uint32 ``[S]``.
    """

    real: list[int]
    synthetic: list[int]
    seeds: np.ndarray

    @property
    def mixtures(self) -> list[tuple[int, int]]:
        """Pairs of a real and a synthetic count that hold any document."""
        return [pair for pair in itertools.product(self.real, self.synthetic) if sum(pair)]

    @property
    def documents(self) -> int:
        """The most that a mixture holds."""
        return max(self.real) + max(self.synthetic)


@dataclasses.dataclass(frozen=True)
class Mixing:
    """A grid of mixtures that goes on from what is in its folder.

    Attributes:
      programs: compiled steps, for all real documents.
      counts: the grid.
      corpus: real documents and their tokenizer.
      folder: what is kept.
      point: of the grid of the task, as a key of ``programs_of``.
      tell: called with a ``Progress`` after every call.
      checkpoint_steps: training steps between two checkpoints.
      stop: ends it when it is set.
    """

    programs: Programs
    counts: Counts
    corpus: Corpus
    folder: Path
    point: tuple
    tell: Callable[[Progress], None] = lambda progress: None
    checkpoint_steps: int = 500
    stop: threading.Event = dataclasses.field(default_factory=threading.Event)

    def run(self, synthetic: Documents | None = None) -> dict[str, np.ndarray]:
        """Metrics of all mixtures, float32 ``[S, R, M]``; NaN where a mixture is empty.

        Args:
          synthetic: documents to mix with; those of the teacher by default.
        """
        if synthetic is None:
            synthetic = self.teach()
        jobs: dict[int, Callable[[], dict[tuple[int, int], dict[str, float]]]] = {
            int(seed): functools.partial(self._seed, int(seed), synthetic)
            for seed in self.counts.seeds
        }
        finished = run_on_devices(jobs, self.stop, self.programs.mesh is not None)
        first = next(iter(next(iter(finished.values())).values()))
        missing = dict.fromkeys(first, np.nan)
        return {
            name: np.asarray(
                [
                    [
                        [finished[int(s)].get((r, m), missing)[name] for m in self.counts.synthetic]
                        for r in self.counts.real
                    ]
                    for s in self.counts.seeds
                ],
                np.float32,
            )
            for name in first
        }

    def teach(self) -> Documents:
        """As many documents as are mixed at most, of a model of all real ones."""
        wanted = max(self.counts.synthetic)
        if not wanted:
            return Documents.from_lists([])
        kept = ChainFolder(self.folder / "teacher")
        if kept.finished(1) is None:
            (result,) = run_on_devices(
                {0: functools.partial(self._teach, kept, wanted)},
                threading.Event(),
                self.programs.mesh is not None,
            ).values()
            assert result
        return kept.documents(1)

    def _teach(self, kept: ChainFolder, wanted: int) -> bool:
        programs, made = self.programs, self.programs.made
        keys = generation_keys(jax.random.key(TEACHER_SEED), 1)
        chosen = np.asarray(programs.real_documents(keys[0, 0]))
        real = self.corpus.train.take(chosen).cut(made.data.context)
        trainer = Trainer(programs, kept.states, self.stop, self.checkpoint_steps)

        def say(phase, loss=None, rate=0.0, **tokens):
            self.tell(Progress("teacher", self.point, 1, phase, loss, rate, **tokens))

        params, _ = trainer.fit(
            kept.name(1),
            keys[1, 1],
            np.ones(real.count, bool),
            real.take,
            lambda loss, rate, trained: say("training", loss, rate, trained=trained),
        )
        metrics = jax.tree.map(float, dict(programs.evaluate(made.data, params)))
        writers = Programs(made._replace(num_samples=wanted), programs.mesh)
        publisher = publish.Publisher(writers, kept.samples, self.corpus.tokenizer, self.stop)
        published = publisher.publish(
            kept.name(1),
            keys[1, 0],
            params,
            lambda rate, sampled: say("sampling", rate=rate, sampled=sampled),
            "the model of all real documents",
        )
        metrics["acceptance_rate"] = published.acceptance_rate
        kept.finish(
            1,
            metrics,
            published.documents,
            self.corpus.tokenizer,
            (made.config, params),
            published.rejected,
        )
        return True

    def _seed(self, seed: int, synthetic: Documents) -> dict[tuple[int, int], dict[str, float]]:
        """Metrics of all mixtures of one seed, which share its order of documents."""
        programs, made = self.programs, self.programs.made
        keys = generation_keys(jax.random.key(seed), 2)
        folder = self.folder / f"seed-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        trainer = Trainer(
            programs, StateFolder(folder / "training"), self.stop, self.checkpoint_steps
        )
        real_key, synthetic_key = jax.random.split(keys[2, 2])
        # The first of them are a real batch of the size that is asked for, and so nested.
        chosen = np.asarray(programs.real_documents(keys[0, 0]))
        real = self.corpus.train.take(chosen).cut(made.data.context)
        real = real.take(_order(real_key, real.count))
        synthetic = synthetic.take(_order(synthetic_key, synthetic.count))
        found = {}
        for real_count, synthetic_count in self.counts.mixtures:
            name = f"real-{real_count}-synthetic-{synthetic_count}"
            path = folder / f"{name}.json"
            if not path.exists():
                documents = Documents.concatenate(
                    [real.take(range(real_count)), synthetic.take(range(synthetic_count))]
                )
                metrics = self._mixture(trainer, name, keys[2, 1], documents, seed)
                metrics[SHARE_OF_REAL_DATA] = real_count / documents.count
                with results.whole_file(path) as temporary:
                    temporary.write_text(json.dumps(metrics, indent=1) + "\n")
                trainer.folder.forget(name)
            found[real_count, synthetic_count] = json.loads(path.read_text())
        return found

    def _mixture(
        self, trainer: Trainer, name: str, key: jax.Array, documents: Documents, seed: int
    ) -> dict[str, float]:
        """Trains on a mixture, and evaluates."""
        label = f"seed {seed} {name}"

        def tell(loss, rate, trained):
            self.tell(Progress(label, self.point, 1, "training", loss, rate, trained))

        # As many places as the largest mixture needs, so that all share their programs.
        mask = np.arange(self.counts.documents) < documents.count
        params, _ = trainer.fit(name, key, mask, documents.take, tell)
        arrays: Any = self.programs.evaluate(self.programs.made.data, params)
        return {metric: float(value) for metric, value in arrays.items()}


def _order(key: jax.Array, count: int) -> np.ndarray:
    return np.asarray(jax.random.permutation(key, count))
