"""A model trained from the host, a few steps a call, resumed wherever it was interrupted."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable

import jax
import numpy as np

from jaxcollapse.lm import language_model
from jaxcollapse.lm.decoder.decoder import Params
from jaxcollapse.lm.host.folders import StateFolder
from jaxcollapse.lm.host.programs import Programs
from jaxcollapse.lm.host_rows import HostRows
from jaxcollapse.lm.text.documents import Documents

# Told after every call: the loss or None, tokens per second, tokens since the last time.
Told = Callable[[float | None, float, int], None]


class StoppedError(Exception):
    """Another chain failed, or the user interrupted: this one ends where it is."""


@dataclasses.dataclass(frozen=True)
class Trainer:
    """Trains models one after another.

    Attributes:
      programs: compiled steps.
      folder: where states are kept.
      stop: ends the training when it is set.
      checkpoint_steps: training steps between two checkpoints.
    """

    programs: Programs
    folder: StateFolder
    stop: threading.Event
    checkpoint_steps: int

    def fit(
        self,
        name: str,
        key: jax.Array,
        mask: np.ndarray,
        read: Callable[[np.ndarray], Documents],
        tell: Told,
    ) -> tuple[Params, int]:
        """A trained model and how many tokens it was trained on; see ``language_model.fit``.

        Args:
          name: which its state is kept under.
          key: of the fit.
          mask: bool ``[R]``, the places of documents that count.
          read: ``read(places)``, the documents of some places, in their order.
          tell: called after every call.
        """
        programs, setup = self.programs, self.programs.setup
        size = setup.recipe.batch_size
        init_key, document_key, row_key = language_model.fit_keys(key, setup)
        order = np.asarray(programs.document_order(document_key, mask))[: int(np.sum(mask))]
        rows = HostRows(read(order), setup.data.context, setup.protocol.rows)
        steps = language_model.steps_of(setup, rows.used)
        epoch_steps, total = (int(number) for number in steps)
        tokens_a_step = rows.predicted / epoch_steps
        frozen, state = None, self.folder.load_state(name, programs.state_like)
        if state is None or setup.recipe.lora_rank is not None:
            # Frozen parameters are not kept: they are the base's.
            frozen, fresh = programs.start(init_key)
            state = fresh if state is None else state
        step = int(state.step)
        tell(None, 0.0, int(step * tokens_a_step))
        row_order, order_epoch = np.zeros(0, np.int32), -1
        while step < total:
            if self.stop.is_set():
                raise StoppedError
            begun = time.perf_counter()
            batches = programs.batches()
            count = min(programs.steps_a_call, total - step)
            for index in range(count):
                epoch, place = divmod(step + index, epoch_steps)
                if epoch != order_epoch:
                    all_rows = programs.row_order(row_key, epoch, len(mask), np.int32(rows.used))
                    row_order, order_epoch = np.asarray(all_rows)[: rows.used], epoch
                chosen = row_order[place * size : (place + 1) * size]
                rows.write(chosen, *(None if a is None else a[index] for a in batches))
            state = programs.train(state, frozen, batches, count, total)
            loss = float(state.loss)
            before, step = step, step + count
            trained = int(step * tokens_a_step) - int(before * tokens_a_step)
            tell(loss, trained / (time.perf_counter() - begun), trained)
            if step == total or step // self.checkpoint_steps > before // self.checkpoint_steps:
                self.folder.save_state(name, state)
        return programs.finished(state, frozen), int(total * tokens_a_step)
