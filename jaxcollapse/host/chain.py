"""One seed under one workflow, driven from the host."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse.chain import SHARE_OF_REAL_DATA, generation_keys
from jaxcollapse.datasets.documents import Documents
from jaxcollapse.datasets.text import Corpus
from jaxcollapse.host.folder import SECONDS, ChainFolder, Model
from jaxcollapse.host.programs import Programs
from jaxcollapse.host.rows import HostRows, predicted
from jaxcollapse.models import packing
from jaxcollapse.models.checkpoints.tensors import shortened
from jaxcollapse.models.decoder import Params
from jaxcollapse.pools import Points
from jaxcollapse.tasks import language_model
from jaxcollapse.workflows import Workflow


class StoppedError(Exception):
    """Another chain failed, or the user interrupted: this one ends where it is."""


class Progress(NamedTuple):
    """How far a chain is, told after every call.

    Attributes:
      chain: model, workflow and seed.
      point: of the grid, as a key of ``programs_of``.
      generation: from 1.
      phase: ``training``, ``sampling``, or ``done`` for what was finished before.
      loss: of the last step, nats per token; None but in training.
      rate: tokens per second of this chain.
      trained: tokens trained on since the last report, padding not counted.
      sampled: tokens sampled since then.
    """

    chain: str
    point: tuple
    generation: int
    phase: str
    loss: float | None = None
    rate: float = 0.0
    trained: int = 0
    sampled: int = 0


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
      tell: called with a ``Progress`` after every call.
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
    tell: Callable[[Progress], None]
    stop: threading.Event
    checkpoint_steps: int

    def run(self) -> dict[str, np.ndarray]:
        """The metrics of all generations, float32 ``[G]`` each; as ``make_chain`` gives them."""
        keys = generation_keys(jax.random.key(self.seed), self.generations)
        pool = self.programs.pool(self.workflow, self.generations)
        state = pool.start()
        metrics = []
        for generation in range(1, self.generations + 1):
            done = self.folder.finished(generation)
            if done is None:
                view = pool.select(keys[generation, 2], state)
                done = self._generation(generation, keys[0, 0], keys[generation], view)
            else:
                trained, sampled = int(done["trained_tokens"]), int(done["sampled_tokens"])
                self._say(generation, "done", trained=trained, sampled=sampled)
            metrics.append(done)
            state = pool.update(state, np.int32(generation))
        return {name: np.asarray([m[name] for m in metrics], np.float32) for name in metrics[0]}

    def _documents(self, real_key: jax.Array, numbers: np.ndarray) -> Documents:
        """The documents of some numbers, read from where their generations are kept."""
        size = self.programs.made.num_samples
        generations, which = np.unique(numbers // size, return_inverse=True)
        batches = [self._batch(real_key, int(generation)) for generation in generations]
        return Documents.concatenate(batches).take(which * size + numbers % size)

    def _batch(self, real_key: jax.Array, generation: int) -> Documents:
        """What a generation published; 0 is the real documents, cut at the context."""
        if generation > 0:
            return self.folder.documents(generation)
        chosen = self.corpus.train.take(np.asarray(self.programs.real_documents(real_key)))
        rows, lengths = chosen.padded(self.programs.made.data.context)
        return Documents.from_lists(row[:n] for row, n in zip(rows, lengths, strict=True))

    def _generation(
        self, generation: int, real_key: jax.Array, keys: jax.Array, view: Points
    ) -> dict[str, float]:
        """Trains, evaluates, samples and keeps a generation."""
        programs, made = self.programs, self.programs.made
        begun = time.perf_counter()
        params, trained = self._train(generation, real_key, keys[1], view)
        arrays = programs.evaluate(made.data, params)
        sampled = self._sample(generation, keys[0], params)
        arrays = {SHARE_OF_REAL_DATA: view.share, **arrays, **programs.describe(sampled)}
        metrics = {name: float(value) for name, value in arrays.items()}
        published = Documents.from_lists(
            row[:length] for row, length in zip(*map(np.asarray, sampled), strict=True)
        )
        metrics |= {"trained_tokens": trained, "sampled_tokens": predicted(published)}
        metrics[SECONDS] = time.perf_counter() - begun
        self.folder.finish(
            generation, metrics, published, self.corpus.tokenizer, self._model(params)
        )
        return metrics

    def _model(self, params: Params) -> Model | None:
        """What is kept of a model: nothing beyond the context that it was trained on."""
        if self.folder.keep_weights == "none":
            return None
        return shortened(self.programs.made.config, params, self.programs.made.data.context)

    def _train(
        self, generation: int, real_key: jax.Array, key: jax.Array, view: Points
    ) -> tuple[Params, int]:
        """A trained model and how many tokens it was trained on; see ``language_model.fit``."""
        programs, made = self.programs, self.programs.made
        size = made.recipe.batch_size
        init_key, document_key, row_key = language_model.fit_keys(key)
        rows = self._rows(real_key, document_key, view)
        steps = language_model.steps_of(made, rows.used)
        epoch_steps, total = (int(number) for number in steps)
        tokens_a_step = rows.predicted / epoch_steps
        state = self.folder.load_state(generation, programs.fresh(init_key))
        step = int(state.step)
        self._say(generation, "training", trained=int(step * tokens_a_step))
        order, order_epoch = np.zeros(0, np.int32), -1
        while step < total:
            self._end_if_stopped()
            begun = time.perf_counter()
            tokens, segments = programs.batches()
            count = min(programs.steps_a_call, total - step)
            for index in range(count):
                epoch, place = divmod(step + index, epoch_steps)
                if epoch != order_epoch:
                    slots = len(view.mask)
                    order = programs.row_order(row_key, epoch, slots, np.int32(rows.used))
                    order, order_epoch = np.asarray(order)[: rows.used], epoch
                chosen = order[place * size : (place + 1) * size]
                rows.write(chosen, tokens[index], segments[index])
            state = programs.train(state, tokens, segments, np.int32(count), np.int32(total))
            loss = float(state.loss)
            before, step = step, step + count
            trained = int(step * tokens_a_step) - int(before * tokens_a_step)
            rate = trained / (time.perf_counter() - begun)
            self._say(generation, "training", loss, rate, trained=trained)
            if step == total or step // self.checkpoint_steps > before // self.checkpoint_steps:
                self.folder.save_state(generation, state)
        return state.params, int(total * tokens_a_step)

    def _rows(self, real_key: jax.Array, key: jax.Array, view: Points) -> HostRows:
        """The view's documents, in random order, in rows."""
        order = np.asarray(self.programs.document_order(key, view.mask))
        numbers = np.asarray(view.data)[order[: int(view.mask.sum())]]
        documents = self._documents(real_key, numbers)
        context = self.programs.made.data.context
        return HostRows(documents, packing.place_many(documents.lengths, context))

    def _sample(self, generation: int, key: jax.Array, params: Params) -> language_model.Batch:
        """N documents of a model, written and kept part by part."""
        programs, made = self.programs, self.programs.made
        parts = []
        for first in range(0, made.num_samples, programs.documents_a_call):
            part = self.folder.load_documents(generation, first)
            if part is None:
                part = self._write(generation, key, params, first)
                self.folder.save_documents(generation, first, part)
            else:
                sampled = int(np.sum(part["lengths"] - 1))
                self._say(generation, "sampling", sampled=sampled)
            parts.append(part)
        tokens, lengths = (
            jnp.asarray(np.concatenate([part[name] for part in parts])[: made.num_samples])
            for name in ("tokens", "lengths")
        )
        return language_model.Batch(tokens, lengths)

    def _write(
        self, generation: int, key: jax.Array, params: Params, first: int
    ) -> dict[str, np.ndarray]:
        """Documents from number ``first``, as many as a call of the sampler writes."""
        state = self.programs.start_sampling(np.int32(first))
        unfinished: Any = True
        before = 0
        while unfinished:
            self._end_if_stopped()
            begun = time.perf_counter()
            state, unfinished, written = self.programs.advance(params, key, state)
            sampled, before = int(written) - before, int(written)
            rate = sampled / (time.perf_counter() - begun)
            self._say(generation, "sampling", rate=rate, sampled=sampled)
        return {"tokens": np.asarray(state.tokens), "lengths": np.asarray(state.lengths)}

    def _say(
        self,
        generation: int,
        phase: str,
        loss: float | None = None,
        rate: float = 0.0,
        trained: int = 0,
        sampled: int = 0,
    ) -> None:
        name = f"{self.point[0][1]} {self.workflow.name} seed {self.seed}"
        self.tell(Progress(name, self.point, generation, phase, loss, rate, trained, sampled))

    def _end_if_stopped(self) -> None:
        if self.stop.is_set():
            raise StoppedError
