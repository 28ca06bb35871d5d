"""Models fine-tuned on every count of real and of synthetic documents, driven from the host.

teacher/    the model of all real documents, and the synthetic ones that it made
seed-0/     metrics of each mixture, real-64-synthetic-256.json, and training/
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import threading
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxcollapse import files
from jaxcollapse.keys import generation_keys, seed_key
from jaxcollapse.lm.fine_tuning import ACCEPTANCE_RATE
from jaxcollapse.lm.host import publisher
from jaxcollapse.lm.host.devices import run_on_devices
from jaxcollapse.lm.host.folders import ChainFolder, StateFolder
from jaxcollapse.lm.host.programs import Programs
from jaxcollapse.lm.host.progress import Progress, Report
from jaxcollapse.lm.host.trainer import Trainer
from jaxcollapse.lm.host_rows import predicted
from jaxcollapse.lm.text.documents import Documents
from jaxcollapse.lm.text.texts import Corpus
from jaxcollapse.metrics import SHARE_OF_REAL_DATA
from jaxcollapse.sweeps.mixtures import MixturePlan

TEACHER_SEED = 2**32 - 1  # no seed that one would mix with


@dataclasses.dataclass(frozen=True)
class Mixtures:
    """A grid of mixtures that goes on from what is in its folder.

    Attributes:
      programs: compiled steps, for all real documents.
      plan: counts of real and of synthetic documents, and seeds.
      corpus: real documents and their tokenizer.
      folder: what is kept.
      point: of the grid of the task, as a key of ``programs_of``.
      report: called with a ``Progress`` after every call.
      checkpoint_steps: training steps between two checkpoints.
      stop: ends it when it is set.
    """

    programs: Programs
    plan: MixturePlan
    corpus: Corpus
    folder: Path
    point: tuple
    report: Report = lambda progress: None
    checkpoint_steps: int = 500
    stop: threading.Event = dataclasses.field(default_factory=threading.Event)

    def run(self, synthetic: Documents | None = None) -> dict[str, np.ndarray]:
        """Metrics of all mixtures, float32 ``[S, R, M]``.

        Args:
          synthetic: documents to mix with; those of the teacher by default.

        Raises:
          ValueError: the teacher makes too few documents that are fit to be published.
        """
        if synthetic is None:
            synthetic = self._synthetic()
        jobs = {
            int(seed): functools.partial(self._seed, int(seed), synthetic)
            for seed in self.plan.seeds
        }
        finished = run_on_devices(jobs, self.stop, self.programs.mesh is not None)
        shape = (len(self.plan.real), len(self.plan.synthetic))
        names = finished[int(self.plan.seeds[0])][0].keys()
        return {
            name: np.asarray(
                [[metrics[name] for metrics in finished[int(s)]] for s in self.plan.seeds],
                np.float32,
            ).reshape(-1, *shape)
            for name in names
        }

    def _real(self) -> Documents:
        """All real documents that there are: the teacher's, of which mixtures hold some."""
        key = generation_keys(seed_key(TEACHER_SEED), 1)[0, 0]
        chosen = np.asarray(self.programs.real_documents(key))
        return self.corpus.train.take(chosen).cut(self.programs.setup.data.context)

    def file(self, seed: int, real: int, synthetic: int) -> Path:
        """Where the metrics of a finished mixture are."""
        return self.folder / f"seed-{seed}" / f"real-{real}-synthetic-{synthetic}.json"

    @property
    def teacher(self) -> ChainFolder:
        """Where the model of all real documents, and what it writes, are."""
        return ChainFolder(self.folder / "teacher")

    def _synthetic(self) -> Documents:
        """As many documents as are mixed at most, of a model of all real ones."""
        wanted = max(self.plan.synthetic)
        if not wanted:
            return Documents.from_lists([])
        kept = self.teacher
        if kept.finished(1) is None:
            teach = functools.partial(self._teach, kept, wanted)
            run_on_devices({"teacher": teach}, self.stop, self.programs.mesh is not None)
        return kept.documents(1)

    def _teach(self, kept: ChainFolder, wanted: int) -> None:
        """Trains on all real documents, writes synthetic ones, and keeps both."""
        programs, setup = self.programs, self.programs.setup
        keys = generation_keys(seed_key(TEACHER_SEED), 1)
        real = self._real()
        trainer = Trainer(programs, kept.states, self.stop, self.checkpoint_steps)

        params, _ = trainer.fit(
            kept.name(1),
            keys[1, 1],
            np.ones(real.count, bool),
            real.take,
            lambda loss, rate, trained: self._say("teacher", "training", loss, rate, trained),
        )
        metrics = jax.tree.map(float, dict(programs.evaluate(setup.data, params)))
        writers = Programs(setup._replace(num_samples=wanted), programs.mesh)
        writer = publisher.Publisher(writers, kept.samples, self.corpus.tokenizer, self.stop)
        published = writer.publish(
            kept.name(1),
            keys[1, 0],
            params,
            lambda rate, sampled: self._say("teacher", "sampling", rate=rate, sampled=sampled),
            "the model of all real documents",
        )
        metrics[ACCEPTANCE_RATE] = published.acceptance_rate
        kept.finish(
            1,
            metrics,
            published.documents,
            self.corpus.tokenizer,
            (setup.config, params),
            published.rejected,
        )

    def _seed(self, seed: int, synthetic: Documents) -> list[dict[str, float]]:
        """Metrics of all mixtures of one seed, which share its order of documents."""
        keys = generation_keys(seed_key(seed), 2)
        folder = self.folder / f"seed-{seed}"
        files.make_folder(folder)
        states = StateFolder(folder / "training")
        trainer = Trainer(self.programs, states, self.stop, self.checkpoint_steps)
        # The first ones of a seed's order, so that larger mixtures hold the smaller ones.
        real_key, synthetic_key = jax.random.split(keys[2, 2])
        real = self._real()
        real = real.take(_order(real_key, real.count))
        synthetic = synthetic.take(_order(synthetic_key, synthetic.count))
        found = []
        for real_count, synthetic_count in itertools.product(self.plan.real, self.plan.synthetic):
            path = self.file(seed, real_count, synthetic_count)
            name = path.stem
            metrics = files.read_sealed_json(path)
            documents = Documents.concatenate(
                [real.take(range(real_count)), synthetic.take(range(synthetic_count))]
            )
            if metrics is not None:
                trained = self.programs.setup.recipe.epochs * predicted(documents)
                self._say(f"seed {seed} {name}", "done", trained=trained)
            else:
                metrics = self._mixture(trainer, name, keys[2, 1], documents, seed)
                metrics[SHARE_OF_REAL_DATA] = real_count / documents.count
                files.write_sealed_json(path, metrics)
                states.forget(name)
            found.append(metrics)
        return found

    def _mixture(
        self, trainer: Trainer, name: str, key: jax.Array, documents: Documents, seed: int
    ) -> dict[str, float]:
        """Trains on a mixture, and evaluates."""
        label = f"seed {seed} {name}"

        def tell(loss, rate, trained):
            self._say(label, "training", loss, rate, trained)

        # As many places as the largest mixture needs, so that all share their programs.
        mask = np.arange(max(self.plan.real) + max(self.plan.synthetic)) < documents.count
        params, _ = trainer.fit(name, key, mask, documents.take, tell)
        arrays: Any = self.programs.evaluate(self.programs.setup.data, params)
        return {metric: float(value) for metric, value in arrays.items()}

    def _say(self, name: str, phase: str, *told: Any, **more: Any) -> None:
        self.report(Progress(name, self.point, 1, phase, *told, **more))


def _order(key: jax.Array, count: int) -> np.ndarray:
    return np.asarray(jax.random.permutation(key, count))
