"""One seed under one workflow, driven from the host."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse.keys import generation_keys, real_keys, seed_key
from jaxcollapse.lm import language_model
from jaxcollapse.lm.checkpoints.tensors import shortened
from jaxcollapse.lm.decoder.decoder import Params
from jaxcollapse.lm.fine_tuning import ACCEPTANCE_RATE, RETOKENISED
from jaxcollapse.lm.host import publisher
from jaxcollapse.lm.host.folders import SECONDS, ChainFolder, Model
from jaxcollapse.lm.host.programs import Programs
from jaxcollapse.lm.host.progress import Progress, Report
from jaxcollapse.lm.host.trainer import Trainer
from jaxcollapse.lm.host_rows import predicted
from jaxcollapse.lm.text.documents import Documents
from jaxcollapse.lm.text.texts import Corpus
from jaxcollapse.metrics import SHARE_OF_REAL_DATA
from jaxcollapse.pools import View
from jaxcollapse.workflows import Workflow


@dataclasses.dataclass(frozen=True)
class Chain:
    """A chain that goes on from what is in its folder.

    Attributes:
      programs: compiled steps.
      point: of the grid, names and values.
      workflow: which documents each model trains on.
      seed: of the chain.
      generations: G.
      corpus: real documents and their tokenizer.
      folder: what is kept.
      report: called with a ``Progress`` after every call.
      stop: ends the chain when it is set.
      checkpoint_steps: training steps between two checkpoints.
    """

    programs: Programs
    point: tuple
    workflow: Workflow
    seed: int
    generations: int
    corpus: Corpus
    folder: ChainFolder
    report: Report
    stop: threading.Event
    checkpoint_steps: int

    @property
    def name(self) -> str:
        """What to call it."""
        return f"{self.point[0][1]} {self.workflow.name} seed {self.seed}"

    def run(self) -> dict[str, np.ndarray]:
        """The metrics of all generations, float32 ``[G]`` each; as ``make_chain`` gives them."""
        key = seed_key(self.seed)
        keys = generation_keys(key, self.generations)
        real = [keys[0, 0], *real_keys(key, jnp.arange(1, self.generations + 1))]
        pool = self.programs.pool(self.workflow, self.generations)
        state = pool.start()
        metrics = []
        for generation in range(1, self.generations + 1):
            done = self.folder.finished(generation)
            if done is None:
                view = pool.view(keys[generation, 2], state, np.int32(generation))
                done = self._generation(generation, real, keys[generation], view)
            else:
                trained, sampled = int(done["trained_tokens"]), int(done["sampled_tokens"])
                self._say(generation, "done", trained=trained, sampled=sampled)
                if not set(language_model.DESCRIBED) <= set(done):  # before these were measured
                    done = self._described(self.folder.documents(generation)) | done
                done = {RETOKENISED: math.nan} | done  # before this was measured, nobody knows
            metrics.append(done)
            state = pool.add(state, np.int32(generation))
        return {name: np.asarray([m[name] for m in metrics], np.float32) for name in metrics[0]}

    def _documents(self, real_keys: list[jax.Array], numbers: np.ndarray) -> Documents:
        """The documents of some numbers, read from where their generations are kept."""
        size = self.programs.setup.num_samples
        generations, which = np.unique(numbers // size, return_inverse=True)
        batches = [self._batch(real_keys, int(generation)) for generation in generations]
        return Documents.concatenate(batches).take(which * size + numbers % size)

    def _batch(self, real_keys: list[jax.Array], generation: int) -> Documents:
        """What a generation published; 0 and below are real documents, cut at the context."""
        if generation > 0:
            return self.folder.documents(generation)
        chosen = np.asarray(self.programs.real_documents(real_keys[-generation]))
        return self.corpus.train.take(chosen).cut(self.programs.setup.data.context)

    def _generation(
        self, generation: int, real_keys: list[jax.Array], keys: jax.Array, view: View
    ) -> dict[str, float]:
        """Trains, evaluates, samples and keeps a generation."""
        programs, setup = self.programs, self.programs.setup
        begun = time.perf_counter()
        params, trained = self._train(generation, real_keys, keys[1], view)
        arrays = programs.evaluate(setup.data, params)
        published = self._publish(generation, keys[0], params)
        arrays = {SHARE_OF_REAL_DATA: view.share, **arrays}
        metrics = {name: float(value) for name, value in arrays.items()}
        metrics |= self._described(published.documents)
        if setup.self_perplexity:
            own = programs.self_perplexity(self._padded(published.documents), params)
            metrics["self_perplexity"] = float(own)
        metrics[ACCEPTANCE_RATE] = published.acceptance_rate
        metrics[RETOKENISED] = published.retokenised_share
        metrics["trained_tokens"] = trained
        metrics["sampled_tokens"] = predicted(published.documents)
        metrics[SECONDS] = time.perf_counter() - begun
        self.folder.finish(
            generation,
            metrics,
            published.documents,
            self.corpus.tokenizer,
            self._model(params),
            published.rejected,
        )
        return metrics

    def _described(self, documents: Documents) -> dict[str, float]:
        """The metrics of what is published."""
        found = self.programs.describe(self._padded(documents))
        return {name: float(value) for name, value in found.items()}

    def _padded(self, documents: Documents) -> language_model.Batch:
        tokens, lengths = map(jnp.asarray, documents.padded(self.programs.setup.data.context))
        return language_model.Batch(tokens, lengths)

    def _model(self, params: Params) -> Model | None:
        """What is kept of a model: no context that it has never seen, nor has its base."""
        if self.folder.keep_weights == "none":
            return None
        setup = self.programs.setup
        return shortened(setup.config, params, setup.data.context if setup.base is None else None)

    def _train(
        self, generation: int, real_keys: list[jax.Array], key: jax.Array, view: View
    ) -> tuple[Params, int]:
        """A model of a view of document numbers, and how many tokens it was trained on."""
        numbers = np.asarray(view.data)

        def tell(loss, rate, trained):
            self._say(generation, "training", loss, rate, trained=trained)

        trainer = Trainer(self.programs, self.folder.states, self.stop, self.checkpoint_steps)
        return trainer.fit(
            self.folder.name(generation),
            key,
            np.asarray(view.mask),
            lambda places: self._documents(real_keys, numbers[places]),
            tell,
        )

    def _publish(self, generation: int, key: jax.Array, params: Params) -> publisher.Published:
        """What a model publishes, written and kept part by part."""

        def tell(rate, sampled):
            self._say(generation, "sampling", rate=rate, sampled=sampled)

        writer = publisher.Publisher(
            self.programs, self.folder.samples, self.corpus.tokenizer, self.stop
        )
        return writer.publish(
            self.folder.name(generation), key, params, tell, f"{self.name} generation {generation}"
        )

    def _say(self, generation: int, phase: str, *told: Any, **more: Any) -> None:
        self.report(Progress(self.name, self.point, generation, phase, *told, **more))
