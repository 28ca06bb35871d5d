"""Options of ``jaxcollapse lm``, a class a command, from which its help is made."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import tyro


@dataclasses.dataclass(frozen=True)
class Text:
    """Real text and its tokens."""

    data: str | None = None
    """A text file, a .jsonl file, or the name of a hub data set; the embedded stories by default,
    whose entropy is known."""
    separator: str = "<|endoftext|>"
    """Between the documents of a text file."""
    tokenizer: str = "bpe"
    """bpe: trained on the text. bytes. Or the folder or hub name of one that exists."""
    vocab_size: int | None = None
    """Of bpe; 512 for the embedded stories, 8000 for a text."""
    context: int | None = None
    """Tokens of the longest document, longer ones are cut; 128 for the stories, 512 for a text."""
    test_fraction: float = 0.1
    """Documents held out for evaluation."""
    max_documents: int | None = None
    """Documents read, at most."""


@dataclasses.dataclass(frozen=True)
class Training:
    """How each model is trained; the defaults are those of the model."""

    epochs: int | None = None
    """Passes over the data; 3 for tiny models, else 1."""
    steps: int | None = None
    """Instead of epochs, so many steps."""
    batch_size: int | None = None
    """Rows of a step, each of --context tokens; 4 for tiny models, else 32."""
    accumulation: int | None = None
    """Parts that a batch's gradient is summed over, to save memory."""
    learning_rate: float | None = None
    """At its highest; 0.01 for tiny models, else 0.001."""
    schedule: Literal["constant", "linear", "cosine"] | None = None
    """Of the learning rate after the warm-up; cosine by default."""
    warmup: float | None = None
    """Share of the steps in which the learning rate rises; 0.05 by default."""
    weight_decay: float | None = None
    """Of matrices; 0.1 by default."""
    clip: float | None = None
    """Largest norm of a gradient; 1 by default."""
    matched_compute: bool = False
    """Train every generation for as many steps as real documents need, however much has
    accumulated."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Of activations; parameters are float32."""
    remat: bool = False
    """Compute activations again in the backward pass, to save memory."""

    def options(self) -> dict[str, Any]:
        """Those that were given."""
        values = dataclasses.asdict(self)
        return {name: v for name, v in values.items() if v is not None and v is not False}


@dataclasses.dataclass(frozen=True)
class Pretrain:
    """Language models trained from fresh weights on text, sampled, and trained again."""

    out: Path
    """Folder of the run: results.nc, a figure, and for each chain its documents and weights."""
    model: tuple[str, ...] = ("tiny-llama",)
    """tiny-gpt2, tiny-llama, tiny-gemma2, gpt2-9m, llama2-12m, llama2-42m, llama2-126m,
    gemma2-2b, gemma2-9b, gemma2-27b."""
    text: tyro.conf.OmitArgPrefixes[Text] = dataclasses.field(default_factory=Text)
    workflow: tuple[str, ...] = ("replace", "accumulate", "accumulate-subsample")
    """Training workflows: replace, accumulate, accumulate-subsample."""
    generations: int = 5
    """Generations; the first is trained on real text."""
    seeds: str = "3"
    """How many seeds from 0 (3 is 0 1 2), or a range FIRST:END without END (5:8 is 5 6 7)."""
    num_samples: int | None = None
    """Documents of each generation; all that there are by default, 700 of the stories."""
    subsample_size: int | None = None
    """Documents that accumulate-subsample draws; as many as a generation has by default."""
    training: tyro.conf.OmitArgPrefixes[Training] = dataclasses.field(default_factory=Training)
    temperature: float = 1.0
    """Of sampling."""
    top_k: int | None = None
    """Sample among the k likeliest tokens only."""
    top_p: float | None = None
    """Sample among the likeliest tokens that hold this probability together."""
    slots: int = 64
    """Documents written at a time."""
    preset: str = "corrected"
    """corrected or authors; they do not differ in pretraining."""
    driver: Literal["host", "compiled"] = "host"
    """host: of any size, resumed where it was killed, all documents kept. compiled: all
    generations and seeds of a workflow in one call; only metrics are kept, so that the options
    on checkpoints, weights and texts do not apply."""
    checkpoint_steps: int = 500
    """Training steps between two checkpoints."""
    keep_weights: Literal["last", "all", "none"] = "last"
    """Weights of which finished generations are kept."""
    texts: int = 5
    """Sample texts shown of each generation."""
    overwrite: bool = False
    """Replace an existing results file."""


@dataclasses.dataclass(frozen=True)
class Generate:
    """Continue a prompt with a language model."""

    weights: Path
    """A checkpoint: the folder of a generation of a run, one in the hub's format, one of
    llama2.c's, or a .gguf file."""
    prompt: str = ""
    """What to continue; nothing by default."""
    max_tokens: int | None = None
    """Tokens after the prompt, at most; 200 by default, or as many as the context has room for."""
    temperature: float = 1.0
    """0 takes the likeliest token each time."""
    top_k: int | None = None
    """Sample among the k likeliest tokens only."""
    top_p: float | None = None
    """Sample among the likeliest tokens that hold this probability together."""
    seed: int = 0
    """Another seed gives another text."""
    count: int = 1
    """How many texts."""


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Cross-entropy of a language model on text: nats per token, perplexity, number of tokens."""

    weights: Path
    """A checkpoint, as for generate."""
    data: Path
    """A text file or a .jsonl file."""
    separator: str = "<|endoftext|>"
    """Between the documents of a text file."""
    skip_documents: int = 0
    """Documents left out at the beginning of the file."""
    max_documents: int | None = None
    """Documents read after those, at most."""
    context: int | None = None
    """Documents are cut here; by default the model's context, at most 2048."""
    with_end: bool = False
    """Also count the end of sequence after each document, as chains do."""
    batch_size: int = 8
    """Rows at a time."""
