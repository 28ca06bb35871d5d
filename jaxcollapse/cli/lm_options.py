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
    """Rows of a step, each of --context tokens; 4 for tiny models, else 32, or 128 in
    fine-tuning."""
    accumulation: int | None = None
    """Parts that a batch's gradient is summed over, to save memory; 16 in fine-tuning, but of tiny
    models."""
    learning_rate: float | None = None
    """At its highest; 0.01 for tiny models, else 0.001; in fine-tuning 0.003 and 0.000008."""
    schedule: Literal["constant", "linear", "cosine"] | None = None
    """Of the learning rate after the warm-up; cosine by default, constant in fine-tuning."""
    warmup: float | None = None
    """Share of the steps in which the learning rate rises; 0.05 by default."""
    weight_decay: float | None = None
    """Of matrices; 0.1 by default, 0 in fine-tuning."""
    clip: float | None = None
    """Largest norm of a gradient; 1 by default."""
    matched_compute: bool = False
    """Train every generation for as many steps as real documents need, however much has
    accumulated."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Of activations."""
    remat: bool = False
    """Compute activations again in the backward pass, to save memory; so does fine-tuning of large
    models in any case."""

    def options(self) -> dict[str, Any]:
        """Those that were given."""
        values = dataclasses.asdict(self)
        return {name: v for name, v in values.items() if v is not None and v is not False}


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How documents are sampled."""

    temperature: float = 1.0
    """Of sampling."""
    top_k: int | None = None
    """Sample among the k likeliest tokens only."""
    top_p: float | None = None
    """Sample among the likeliest tokens that hold this probability together."""
    slots: int = 64
    """Documents written at a time."""


@dataclasses.dataclass(frozen=True)
class Chains:
    """What pretraining and fine-tuning share."""

    out: Path
    """Folder of the run: results.nc, a figure, and for each chain its documents and weights."""
    workflow: tuple[str, ...] = ("replace", "accumulate", "accumulate-subsample")
    """Training workflows: replace, accumulate, accumulate-subsample."""
    generations: int = 5
    """Generations; the first is trained on real text."""
    seeds: str = "3"
    """How many seeds from 0 (3 is 0 1 2), or a range FIRST:END without END (5:8 is 5 6 7)."""
    num_samples: int | None = None
    """Documents of each generation; all that there are by default, 700 of embedded ones."""
    subsample_size: int | None = None
    """Documents that accumulate-subsample draws; as many as a generation has by default."""
    training: tyro.conf.OmitArgPrefixes[Training] = dataclasses.field(default_factory=Training)
    sampling: tyro.conf.OmitArgPrefixes[Sampling] = dataclasses.field(default_factory=Sampling)
    checkpoint_steps: int = 500
    """Training steps between two checkpoints."""
    keep_weights: Literal["last", "all", "none"] = "last"
    """Weights of which finished generations are kept."""
    texts: int = 5
    """Sample texts shown of each generation."""
    overwrite: bool = False
    """Replace an existing results file."""


@dataclasses.dataclass(frozen=True)
class Pretrain(Chains):
    """Language models trained from fresh weights on text, sampled, and trained again."""

    model: tuple[str, ...] = ("tiny-llama",)
    """tiny-gpt2, tiny-llama, tiny-gemma2, gpt2-9m, llama2-12m, llama2-42m, llama2-126m,
    gemma2-2b, gemma2-9b, gemma2-27b."""
    text: tyro.conf.OmitArgPrefixes[Text] = dataclasses.field(default_factory=Text)
    preset: str = "corrected"
    """corrected or authors; they do not differ in pretraining."""
    driver: Literal["host", "compiled"] = "host"
    """host: of any size, resumed where it was killed, all documents kept. compiled: all
    generations and seeds of a workflow in one call; only metrics are kept, so that the options
    on checkpoints, weights and texts do not apply."""


@dataclasses.dataclass(frozen=True)
class Dialogue:
    """A base model, and prompts and responses to fine-tune it on."""

    model: str | None = None
    """gemma2-2b, gemma2-9b, gemma2-27b, or tiny-gemma2, tiny-llama, tiny-gpt2, which without
    --weights are trained on the embedded stories first. By default that of --weights, or
    tiny-gemma2."""
    weights: str | None = None
    """The base: a folder in the hub's format, a name at the hub (google/gemma-2-2b, by default for
    gemma2-2b), or any checkpoint that lm generate takes. Its tokenizer comes with it."""
    data: str | None = None
    """A .jsonl file of prompt and response (or chosen), helpsteer2, or another data set's name at
    the hub; the embedded instructions by default, whose entropy is known."""
    context: int | None = None
    """Tokens of the longest conversation; 512, or as many as the base model can take, which is 128
    of tiny models."""
    longer: Literal["drop", "cut"] = "drop"
    """Real conversations that are longer: dropped, as published, or cut."""
    test_documents: int | None = None
    """Real conversations held out for evaluation, where the data have no validation part."""
    max_documents: int | None = None
    """Real conversations that are read, chosen at random; there must be so many."""
    loss_on: Literal["all", "response"] = "all"
    """Tokens that the loss is of, in training and evaluation: prompt and response, or responses.
    With the latter models do not learn to write prompts, so chains need a base that does."""
    preset: Literal["corrected", "authors"] = "corrected"
    """corrected: float32 parameters; each seed has an order of the data of its own. authors, as
    published: bfloat16 parameters, which most steps do not move; one order for all seeds; a row
    for each conversation; prompts stripped of the characters of 'user: '."""
    lora_rank: int | None = None
    """Train low-rank adapters of this rank in place of all parameters."""
    lora_alpha: float | None = None
    """Adapters count alpha / rank times; 16 by default."""
    lora_targets: tuple[str, ...] | None = None
    """Projections with adapters, of qkv, out, gate_up (or up) and down."""
    loss_chunks: int | None = None
    """Parts in which the logits of a batch are computed, to save memory; 16 where the vocabulary
    is large."""
    param_dtype: Literal["float32", "bfloat16"] | None = None
    """Of parameters, gradients and moments; by the preset."""
    rows: Literal["packed", "single"] | None = None
    """Whole conversations side by side in rows of --context tokens, or a row for each; by the
    preset."""
    data_order: Literal["seed", "shared"] | None = None
    """An order of the data for each seed and generation, or one for all; by the preset."""
    mesh: str | None = None
    """Devices that share one model, as DATAxMODEL: 4x2 splits each batch in 4 and each layer in 2.
    None: each device holds a model of its own."""

    def options(self) -> dict[str, Any]:
        """Options of training that were given."""
        names = ("lora_rank", "lora_alpha", "lora_targets", "loss_chunks", "param_dtype")
        values = {name: getattr(self, name) for name in (*names, "rows", "data_order")}
        return {name: v for name, v in values.items() if v is not None}


@dataclasses.dataclass(frozen=True)
class Finetune(Chains):
    """A language model fine-tuned on conversations, sampled, and fine-tuned anew from its base."""

    dialogue: tyro.conf.OmitArgPrefixes[Dialogue] = dataclasses.field(default_factory=Dialogue)
    format: Literal["conversation", "text"] | None = None
    """conversation (default): publish only samples that are a prompt and a response, and draw
    until there are enough. text: publish whatever is sampled."""
    strip: Literal["prefix", "characters"] | None = None
    """How a prompt is taken from a sample; characters is the published way, which eats letters."""
    max_attempts: int | None = None
    """Samples drawn for each one published, at most; 20 by default."""

    def options(self) -> dict[str, Any]:
        """Options of sampling that were given."""
        values = {name: getattr(self, name) for name in ("format", "strip", "max_attempts")}
        return {name: v for name, v in values.items() if v is not None}


@dataclasses.dataclass(frozen=True)
class Mix:
    """Fine-tune on every count of real and of synthetic conversations: which helps, how much?"""

    out: Path
    """Folder of the run: mixing.nc, a figure, tables, and what is finished."""
    dialogue: tyro.conf.OmitArgPrefixes[Dialogue] = dataclasses.field(default_factory=Dialogue)
    real: tuple[int, ...] = (16, 64, 256)
    """Counts of real conversations; each seed draws its own."""
    synthetic: tuple[int, ...] = (0, 64, 256, 1024)
    """Counts of synthetic conversations, made by the model fine-tuned on all real ones. Each seed
    draws its own from as many as the largest count."""
    synthetic_data: Path | None = None
    """Synthetic conversations from a file (.jsonl) in place of that model's."""
    seeds: str = "3"
    """How many seeds from 0, or a range FIRST:END without END."""
    num_samples: int | None = None
    """All real conversations: what the model that makes the synthetic ones is trained on."""
    training: tyro.conf.OmitArgPrefixes[Training] = dataclasses.field(default_factory=Training)
    sampling: tyro.conf.OmitArgPrefixes[Sampling] = dataclasses.field(default_factory=Sampling)
    max_attempts: int | None = None
    """Samples drawn for each synthetic conversation, at most; 20 by default."""
    checkpoint_steps: int = 500
    """Training steps between two checkpoints."""
    overwrite: bool = False
    """Replace an existing results file."""

    def options(self) -> dict[str, Any]:
        """Options of sampling that were given."""
        return {} if self.max_attempts is None else {"max_attempts": self.max_attempts}


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
