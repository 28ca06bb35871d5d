"""A model with its tokenizer, from a checkpoint: what it writes, and how well it knows texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxcollapse import checks, files
from jaxcollapse.lm import checkpoints
from jaxcollapse.lm.decoder import packing, sampling, training
from jaxcollapse.lm.decoder.config import Config
from jaxcollapse.lm.decoder.decoder import Params
from jaxcollapse.lm.host.run_folder import check_weights_kept, setup_of
from jaxcollapse.lm.host_rows import HostRows, predicted
from jaxcollapse.lm.text import conversations, texts
from jaxcollapse.lm.text.corpora import Corpus
from jaxcollapse.lm.text.documents import Beyond, Documents
from jaxcollapse.lm.text.tokenizers import Tokenizer, load_tokenizer
from jaxcollapse.parameters import parameters_of

USUAL_TOKENS, LONGEST = 200, 2048  # written, and scored, unless one says otherwise


class Pretrained(NamedTuple):
    """A model and its tokenizer.

    Attributes:
      config: of the decoder.
      params: its parameters.
      tokenizer: of its texts.
    """

    config: Config
    params: Params
    tokenizer: Tokenizer

    def continued(
        self,
        prompt: str,
        key: jax.Array,
        max_tokens: int | None = None,
        settings: sampling.Settings = sampling.DEFAULTS,
        count: int = 1,
    ) -> list[str]:
        """A prompt and its continuations, to an end of sequence.

        Args:
          prompt: the beginning of a text.
          key: a typed key.
          max_tokens: tokens after the prompt, at most; by default 200, or as many as the context
            has room for.
          settings: how tokens are chosen.
          count: how many.

        Raises:
          ValueError: prompt and continuation do not fit in the context.
        """
        tokenizer = self.tokenizer
        tokens = [tokenizer.bos, *tokenizer.encode(prompt)]
        if max_tokens is None:
            max_tokens = max(1, min(USUAL_TOKENS, self.config.context - len(tokens)))
        # Some models learn to end a text by beginning another.
        ends = sorted({tokenizer.bos, tokenizer.eos})
        documents = sampling.generate(
            self.config,
            self.params,
            key,
            tokens,
            ends,
            max_tokens,
            settings,
            count,
            tokenizer.vocab_size,
        )
        return [tokenizer.decode(document.tolist()) for document in documents]

    def mean_nll(
        self,
        texts: list[str],
        context: int | None = None,
        with_end: bool = False,
        batch_size: int = 8,
    ) -> tuple[float, int, Beyond]:
        """Nats per token of texts, each from its beginning, how many tokens, and what was cut off.

        Args:
          texts: one or more.
          context: where they are cut; by default the model's context, at most 2048.
          with_end: whether the end of sequence behind each counts too, as in chains.
          batch_size: rows at a time.

        Raises:
          ValueError: a number is out of range.
        """
        if context is None:
            context = min(self.config.context, LONGEST)
        checks.whole_number("context", context, minimum=2)
        checks.whole_number("batch_size", batch_size)
        if context > self.config.context:
            raise checks.refusal("context", f"at most {self.config.context}", context, "lower it")
        ends = [self.tokenizer.eos] if with_end else []
        encoded = self.tokenizer.encode_many(texts)
        documents = Documents.from_lists([self.tokenizer.bos, *ids, *ends] for ids in encoded)
        tokens, lengths = documents.padded(context)
        rows, used = jax.jit(packing.pack, static_argnums=2)(tokens, lengths, context)
        rows = jax.tree.map(lambda x: x[: int(used)], rows)
        return self._nll(rows, batch_size), int((lengths - 1).sum()), documents.beyond(context)

    def held_out_nll(
        self, run: Path, data: str | Path | None = None, batch_size: int = 8, **reading: Any
    ) -> tuple[float, int]:
        """Nats per token of what a run held out of its data, as its chains measure it.

        Args:
          run: the run's folder, or that of a generation.
          data: as the run had them; the embedded ones by default.
          batch_size: rows at a time.
          **reading: what the run was given of the options of ``texts.load_corpus``, or where it
            fine-tuned of ``conversations.load``.

        Returns:
          The ``nll`` of a generation of the run, and the number of tokens.

        Raises:
          ValueError: the data, or how they are split, are not those of the run, or the model's
            context is shorter.
        """
        checks.whole_number("batch_size", batch_size)
        setup = setup_of(run)
        context = setup["data"]["context"]
        if context > self.config.context:
            raise checks.refusal(
                "context of the model",
                f"at least the run's, {context}",
                self.config.context,
                "take another model",
            )
        load: Callable[..., Corpus] = conversations.load if setup["base"] else texts.load_corpus
        known = parameters_of(load)
        for name in reading:
            checks.one_of("option of the data", name, known)
        if setup["base"]:
            reading["context"] = context
        corpus = load(data, self.tokenizer, **reading)
        if corpus.digest != setup["data"]["digest"]:
            raise checks.refusal(
                "held-out part",
                f"that of the run's data, {setup['data']['name']}, in the run's tokens",
                f"another of {corpus.name}",
                "give the data and the options of reading that the run was given, and a model with "
                "its tokenizer",
            )
        responses = setup["data"]["loss_on"] == "response"
        test = corpus.test.cut(context)
        rows = HostRows(test, context).all(context, responses)
        count = predicted(test) if rows.in_loss is None else int(rows.in_loss.sum())
        return self._nll(rows, batch_size), count

    def _nll(self, rows: packing.Rows, batch_size: int) -> float:
        measure = jax.jit(training.evaluate, static_argnums=(0, 3))
        return float(measure(self.config, self.params, rows, batch_size))


def load(path: Path) -> Pretrained:
    """A model from its checkpoint.

    Args:
      path: the folder of a generation of a run, or as for ``checkpoints.load``.

    Raises:
      ValueError: there is no such checkpoint, a file of it is not as its run wrote it, or its
        tokenizer has more tokens than it knows.
    """
    check_weights_kept(path)
    of_a_run = all((path / name).exists() for name in ("metrics.json", files.SUMS))
    changed = files.damaged(path) if of_a_run else None
    if changed is not None:
        raise checks.refusal(
            "model",
            f"files of which {files.SUMS} tells the checksums",
            f"{changed}, torn or changed",
            "give the command of its run again, which makes the generation again; "
            f"or remove {files.SUMS} if you changed it on purpose",
        )
    config, params = checkpoints.load(path)
    # A file of weights has its tokenizer beside it; one of llama2.c's does not hold it.
    tokenizer = load_tokenizer(path.parent if path.suffix == ".bin" else path)
    if tokenizer.vocab_size > config.vocab_size:
        raise checks.refusal(
            "tokenizer",
            f"at most the checkpoint's {config.vocab_size} tokens",
            f"{tokenizer.vocab_size} in {path}",
            "put the checkpoint's own tokenizer there",
        )
    return Pretrained(config, params, tokenizer)
