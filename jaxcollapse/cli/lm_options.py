"""Options of ``jaxcollapse lm``: each command's own, and those that are declared where they belong.

What a command's functions declare of their parameters are options of it: of ``lm.plans``,
``lm.host``, ``lm.setup`` and the records of training, sampling and protocol. These need the extra
``lm``, so that they are looked at only when a command is given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from jaxcollapse.cli import asked
from jaxcollapse.cli.sweeps import Chains, Grid
from jaxcollapse.parameters import Parameter, parameters_of
from jaxcollapse.registry import as_family


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run(Chains):
    """Options of everything that runs chains of language models."""

    out: Path
    """The folder of the run: results.nc, a figure, and for each chain its documents and weights."""
    texts: int = 5
    """How many sample texts of each generation are shown."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretrain(Run):
    """Language models trained from fresh weights on text, sampled, and trained again."""

    driver: Literal["host", "compiled"] = "host"
    """A chain is driven from the host, of any size, resumed where it was killed, all documents kept
    (host); or all generations and seeds of a workflow are one call, of which only metrics are kept,
    so that the options on checkpoints, weights and texts do not apply (compiled)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnDevices:
    """Options of everything that may share a model among devices."""

    mesh: str | None = None
    """The devices that share one model, as DATAxMODEL: 4x2 splits each batch in 4 and each layer in
    2. Where none is given, each device holds a model of its own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finetune(OnDevices, Run):
    """A language model fine-tuned on conversations, sampled, and fine-tuned anew from its base."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mix(OnDevices, Grid):
    """Fine-tune on every count of real and of synthetic conversations: which helps, how much?"""

    out: Path
    """The folder of the run: mixing.nc, a figure, tables, and what is finished."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generate:
    """Continue a prompt with a language model."""

    weights: Path
    """A checkpoint: the folder of a generation of a run, one in the hub's format, one of
    llama2.c's, or a .gguf file."""
    prompt: str = ""
    """The text to continue; nothing by default."""
    max_tokens: int | None = None
    """The most tokens after the prompt; 200 by default, or as many as the context has room for."""
    seed: int = 0
    """The seed: another one gives another text."""
    count: int = 1
    """How many texts are written."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Cross-entropy of a language model on text: nats per token, perplexity, number of tokens."""

    weights: Path
    """A checkpoint, as for generate."""
    data: Path | None = None
    """A text file or a .jsonl file; with held-out the data of the run, by default the embedded."""
    held_out: Path | None = None
    """The folder of a run, or of a generation of one: what it held out of its data is scored, as
    its chains do, with the options of reading that the run was given."""
    skip_documents: int = 0
    """How many documents are left out at the beginning of the file."""
    max_documents: int | None = None
    """The most documents that are read after those; with held-out, as the run was given it."""
    context: int | None = None
    """The number of tokens at which documents are cut; by default the model's context, at most
    2048."""
    with_end: bool = False
    """Also count the end of sequence after each document, as chains do."""
    batch_size: int = 8
    """How many rows are scored at a time."""


# What is declared elsewhere -----------------------------------------------------------------

# Of conversations, and of models that exist: nothing that decoders of fresh weights have.
OF_FINE_TUNING = ("format", "strip", "max_attempts", "lora_rank", "lora_alpha", "lora_targets")
# Of data that a run held some out of.
OF_SPLITTING = ("test_fraction", "test_documents", "longer")
Parameters = Mapping[str, Parameter]


def _some(function: Callable[..., Any], *names: str) -> dict[str, Parameter]:
    return {name: parameters_of(function)[name] for name in names}


def _of_pretrain() -> Parameters:
    from jaxcollapse.lm import host, plans

    known = parameters_of(plans.pretraining)
    shown = {name: p for name, p in known.items() if name not in OF_FINE_TUNING}
    return shown | _some(host.run, "checkpoint_steps", "keep_weights")


def _of_finetune() -> Parameters:
    from jaxcollapse.lm import host, plans

    known = parameters_of(plans.fine_tuning)
    return {**known, **_some(host.run, "checkpoint_steps", "keep_weights")}


def _of_mix() -> Parameters:
    from jaxcollapse.lm import host, plans

    known = parameters_of(plans.fine_tuned_mixtures)
    return {**known, **_some(host.run_mixtures, "checkpoint_steps", "synthetic_data")}


def _of_generate() -> Parameters:
    from jaxcollapse.lm.decoder.sampling import Settings

    return parameters_of(Settings)


def _of_evaluate() -> Parameters:
    from jaxcollapse.lm.text import conversations
    from jaxcollapse.lm.text.texts import load_corpus

    split = _some(conversations.load, *OF_SPLITTING)
    return _some(load_corpus, "separator") | split


DECLARED: dict[type, tuple[Callable[[], Parameters], str | None]] = {
    Pretrain: (_of_pretrain, "language-model"),
    Finetune: (_of_finetune, "fine-tuning"),
    Mix: (_of_mix, "fine-tuning"),
    Generate: (_of_generate, None),
    Evaluate: (_of_evaluate, None),
}


def options_class(kind: type) -> type:
    """A command's class with the options that are declared elsewhere."""
    parameters, task = DECLARED[kind]
    own = {field.name for field in dataclasses.fields(kind)}
    others = {name: p for name, p in parameters().items() if name not in own}
    presets = {} if task is None else as_family(task).presets
    return asked.class_of(kind.__name__, kind, others, presets.get("corrected", {}))


def parsed(kind: type, command: str, arguments: Sequence[str]) -> Any:
    """The options of a command from its words.

    Raises:
      ValueError: one cannot have its value; what depends on data is checked when these are read.
    """
    task = DECLARED[kind][1]
    own = {field.name for field in dataclasses.fields(kind)}
    usual = {} if task is None else as_family(task).usual
    defaults = {name: value for name, value in usual.items() if name in own}
    args = asked.parsed(options_class(kind), command, arguments, **defaults)
    for name, value in asked.options_of(args).items():
        args.parameters[name].checked(value)
    return args
