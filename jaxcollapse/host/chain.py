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
from jaxcollapse.host.folder import ChainFolder
from jaxcollapse.host.programs import Programs
from jaxcollapse.host.rows import HostRows, predicted
from jaxcollapse.models.decoder import Params
from jaxcollapse.pools import Points, points_pool
from jaxcollapse.tasks import language_model
from jaxcollapse.workflows import Workflow


class StoppedError(Exception):
    """Another chain failed, or the user interrupted: this one ends where it is."""


class Progress(NamedTuple):
    """How far a chain is, told after every call.

    Attributes:
      chain: workflow and seed.
      generation: from 1.
      phase: ``training``, ``sampling``, or ``done`` for what was finished before.
      loss: of the last step, nats per token; None but in training.
      rate: tokens per second of this chain.
      trained: tokens trained on since the last report, padding not counted.
      sampled: tokens sampled since then.
    """

    chain: str
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
      workflow: which documents each model trains on.
      seed: of the chain.
      generations: G.
      corpus: real documents and their tokenizer.
      folder: what is kept.
      tell: called with a ``Progress`` after every call.
      stop: ends the chain when it is set.
      checkpoint_steps: training steps between two checkpoints.
      keep_weights: of which finished generations: ``last``, ``all`` or ``none``.
    """

    programs: Programs
    workflow: Workflow
    seed: int
    generations: int
    corpus: Corpus
    folder: ChainFolder
    tell: Callable[[Progress], None]
    stop: threading.Event
    checkpoint_steps: int
    keep_weights: str

    def run(self) -> dict[str, np.ndarray]:
        """The metrics of all generations, float32 ``[G]`` each; as ``make_chain`` gives them."""
        made = self.programs.made
        keys = generation_keys(jax.random.key(self.seed), self.generations)
        pool = points_pool(self.workflow.capacity(self.generations))
        select = jax.jit(lambda key, state: self.workflow.select(key, pool, state))
        update = jax.jit(lambda state, batch: self.workflow.update(pool, state, batch))
        # The pool holds the numbers of documents; the documents stay on the host.
        numbers = np.arange(made.num_samples, dtype=np.int32)
        state = pool.start(jnp.asarray(numbers), real=True)
        chosen = np.asarray(self.programs.real_documents(keys[0, 0]))
        made_so_far = [_cut(self.corpus.train.take(chosen), made.data.context)]
        metrics = []
        for generation in range(1, self.generations + 1):
            done = self.folder.finished(generation)
            if done is None:
                view = select(keys[generation, 2], state)
                documents = Documents.concatenate(made_so_far)
                done = self._generation(generation, keys[generation], documents, view)
            else:
                trained = int(done[0]["trained_tokens"])
                self._say(generation, "done", trained=trained, sampled=predicted(done[1]))
            metrics.append(done[0])
            made_so_far.append(done[1])
            state = update(state, jnp.asarray(numbers + generation * made.num_samples))
        return {name: np.asarray([m[name] for m in metrics], np.float32) for name in metrics[0]}

    def _generation(
        self, generation: int, keys: jax.Array, documents: Documents, view: Points
    ) -> tuple[dict[str, float], Documents]:
        """Trains, evaluates, samples and keeps a generation."""
        programs, made = self.programs, self.programs.made
        params, trained = self._train(generation, keys[1], documents, view)
        arrays = programs.evaluate(made.data, params)
        sampled = self._sample(generation, keys[0], params)
        arrays = {**arrays, **programs.describe(sampled)}
        if hasattr(view, "share"):
            arrays[SHARE_OF_REAL_DATA] = view.share
        metrics = {name: float(value) for name, value in arrays.items()}
        metrics["trained_tokens"] = float(trained)
        published = Documents.from_lists(
            row[:length] for row, length in zip(*map(np.asarray, sampled), strict=True)
        )
        self.folder.finish(
            generation, metrics, published, self.corpus, made.config, params, self.keep_weights
        )
        return metrics, published

    def _train(
        self, generation: int, key: jax.Array, documents: Documents, view: Points
    ) -> tuple[Params, int]:
        """A trained model and how many tokens it was trained on; see ``language_model.fit``."""
        programs, made = self.programs, self.programs.made
        size = made.recipe.batch_size
        init_key, document_key, row_key = language_model.fit_keys(key)
        rows, share = self._rows(document_key, documents, view)
        steps = language_model.steps_of(made.recipe, rows.used, share)
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

    def _rows(
        self, key: jax.Array, documents: Documents, view: Points
    ) -> tuple[HostRows, np.float32]:
        """The view's documents packed, and one generation's share of them."""
        made = self.programs.made
        chosen, mask = np.asarray(view.data), np.asarray(view.mask)
        chosen = np.where(mask, chosen, 0)
        lengths = np.where(mask, documents.lengths[chosen], 0).astype(np.int32)
        order, row = map(np.asarray, self.programs.lay_out(key, lengths, mask))
        count = int(mask.sum())
        rows = HostRows(documents.take(chosen[order[:count]]), row[:count])
        return rows, np.float32(made.num_samples) / np.float32(count)

    def _sample(self, generation: int, key: jax.Array, params: Params) -> language_model.Documents:
        """N documents of a model, written and kept part by part."""
        programs, made = self.programs, self.programs.made
        parts = []
        for first in range(0, made.num_samples, programs.documents_a_call):
            part = self.folder.load_documents(generation, first)
            if part is None:
                part = self._write(generation, key, params, first)
                self.folder.save_documents(generation, first, part)
            parts.append(part)
        tokens, lengths = (
            jnp.asarray(np.concatenate([part[name] for part in parts])[: made.num_samples])
            for name in ("tokens", "lengths")
        )
        return language_model.Documents(tokens, lengths)

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
        name = f"{self.workflow.name} seed {self.seed}"
        self.tell(Progress(name, generation, phase, loss, rate, trained, sampled))

    def _end_if_stopped(self) -> None:
        if self.stop.is_set():
            raise StoppedError


def _cut(documents: Documents, context: int) -> Documents:
    """Documents without what is beyond the context."""
    rows, lengths = documents.padded(context)
    return Documents.from_lists(row[:n] for row, n in zip(rows, lengths, strict=True))
