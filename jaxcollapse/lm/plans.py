"""Plans of pretraining, of fine-tuning and of mixtures, each with the corpus that it is of.

What they read, and which model they begin from, is decided here, alike for commands, experiments
and programs of one's own:

>>> plan, corpus = pretraining(["replace", "accumulate"], data="stories.txt", learning_rate=1e-3)
>>> host.run(plan, corpus, "runs/stories")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from jaxcollapse import checks
from jaxcollapse.lm import architectures, hub
from jaxcollapse.lm import fine_tuning as tuning
from jaxcollapse.lm.arrays import TextData, text_data
from jaxcollapse.lm.base import context_of, load_base
from jaxcollapse.lm.host.run_folder import check_weights_kept
from jaxcollapse.lm.language_model import task
from jaxcollapse.lm.setup import check_options
from jaxcollapse.lm.text import conversations, texts, tokenizers
from jaxcollapse.lm.text.corpora import Corpus
from jaxcollapse.lm.tiny_base import tiny_base
from jaxcollapse.parameters import Axis, Option, also, declared, parameters_of
from jaxcollapse.sweeps import chains, mixtures
from jaxcollapse.sweeps.chains import ChainPlan, Workflows
from jaxcollapse.sweeps.mixtures import MixturePlan
from jaxcollapse.workflows import as_workflows

EMBEDDED_DOCUMENTS = 700  # of an embedded corpus, unless one asks for more
CONTEXT, EMBEDDED_CONTEXT = 512, 128
DEFAULT_MODEL = "tiny-gemma2"
Tell = Callable[[str], None]


def _silent(line: str) -> None:
    """Tells nobody."""


def _divided(
    options: Mapping[str, Any], reading: Callable[..., Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of a function that reads a corpus, and those of the task, which are checked."""
    known = parameters_of(reading)
    of_task = {name: value for name, value in options.items() if name not in known}
    check_options(of_task)
    if "steps" in of_task and ("epochs" in of_task or of_task.get("matched_compute")):
        raise checks.refusal(
            "steps", "neither epochs nor matched_compute beside it", "both", "leave one out"
        )
    return {name: value for name, value in options.items() if name in known}, of_task


def _num_documents(num_samples: int | None, available: int, embedded: bool) -> int:
    """N: what was asked for, or else all there are, and of an embedded corpus some."""
    if num_samples is not None:
        return num_samples
    return min(available, EMBEDDED_DOCUMENTS) if embedded else available


# Pretraining --------------------------------------------------------------------------------


@declared
@also(texts.load_corpus, task)
def pretraining(
    workflows: Annotated[Workflows, Option(hidden=True)],
    model: Annotated[Any, Axis("tiny-llama")] = ("tiny-llama",),
    num_samples: Annotated[int | None, Option(least=1)] = None,
    generations: Annotated[int, Option(least=1)] = 5,
    seeds: Annotated[int | Iterable[int], Option(hidden=True)] = 3,
    preset: str = "corrected",
    context: int | None = None,
    tell: Annotated[Tell, Option(hidden=True)] = _silent,
    **options: Any,
) -> tuple[ChainPlan, Corpus]:
    """Decoders trained from fresh weights on text.

    Args:
      workflows: as for ``sweep``.
      model: The decoders, by name; 'jaxcollapse list models' names them.
      num_samples: N, the number of documents of each generation; by default all that there are to
        train on, and 700 of the embedded stories.
      generations: G, the number of generations; the first is trained on real text.
      seeds: how many, from 0, or the seeds themselves.
      preset: ``corrected`` or ``authors``, which do not differ here.
      context: The number of tokens of the longest document, where longer ones are cut; by default
        128 for the embedded stories, 512 for a text.
      tell: called with a sentence on what was left out of the text.
      **options: those of ``texts.load_corpus`` and of ``language_model.task``.

    Raises:
      ValueError: a name is unknown, an option out of its range, or the text cannot be read.
    """
    workflows = as_workflows(workflows)
    models = [model] if isinstance(model, str) else list(model)
    for name in models:
        checks.one_of("model", name, architectures.configs())
    reading, of_task = _divided(options, texts.load_corpus)
    embedded = reading.get("data") is None
    corpus = texts.load_corpus(**reading)
    if context is None:
        context = EMBEDDED_CONTEXT if embedded else CONTEXT
    data = text_data(corpus, context)
    _tell(tell, "" if embedded else left_out(corpus, context), str(data.beyond), lost(data))
    documents = _num_documents(num_samples, data.available, embedded)
    axes: dict[str, list[Any]] = {"model": models, "num_samples": [documents]}
    plan = chains.plan(
        "language-model", workflows, axes, seeds, generations, preset, data=data, **of_task
    )
    return plan, corpus


# Fine-tuning --------------------------------------------------------------------------------


@declared
@also(conversations.load)
def base_and_data(
    model: str | None = None,
    weights: str | None = None,
    context: Annotated[int | None, Option(least=1)] = None,
    loss_on: Literal["all", "response"] = "all",
    stored_as: Annotated[str, Option(hidden=True)] = "float32",
    tell: Annotated[Tell, Option(hidden=True)] = _silent,
    **reading: Any,
) -> tuple[Corpus, dict[str, Any]]:
    """The conversations, and the options of the task that say them and the base model.

    Args:
      model: The base model by name: a published one, which is at the hub, or a tiny one, which is
        trained on the embedded stories first; with weights, the one that these are of. By default
        that of the weights, or tiny-gemma2.
      weights: The base model is a folder in the hub's format, a name at the hub
        (google/gemma-2-2b), or any checkpoint that lm generate takes; its tokenizer comes with it.
      context: The number of tokens of the longest conversation; by default 512, or as many as the
        base model can take, and 128 of the embedded instructions.
      loss_on: The loss is of all tokens, or of those of each response, in training and in
        evaluation. With the latter models do not learn to write prompts, so that chains need a base
        that can.
      stored_as: the type of the base's parameters.
      tell: called with a sentence on what is done first, and on what was left out.
      **reading: options of ``conversations.load``.

    Raises:
      ValueError: there is no such model, or the data cannot be read.
    """
    check_base(model, weights)
    path, name = locate(model, weights, tell)
    # A file of weights has its tokenizer beside it.
    tokenizer = tokenizers.load_tokenizer(path.parent if path.suffix == ".bin" else path)
    source = reading.pop("data", None)
    if context is None:
        usual = EMBEDDED_CONTEXT if source is None else CONTEXT
        context = min(usual, context_of(path))
    corpus = conversations.load(source, tokenizer, context, **reading)
    data = text_data(corpus, context, loss_on)
    _tell(tell, left_out(corpus, context), str(data.beyond), lost(data))
    # Weights are read last, as they may be large.
    return corpus, {"data": data, "base": load_base(path, model, name, stored_as)}


def check_base(model: str | None, weights: str | None) -> None:
    """Refuses a model that is unknown, or has no weights.

    Raises:
      ValueError: likewise.
    """
    if model is not None:
        checks.one_of("model", model, architectures.configs())
    model = model or DEFAULT_MODEL
    if weights is None and architectures.published(model) is None and not model.startswith("tiny-"):
        raise checks.refusal(
            f"weights of {model}", "a checkpoint", "none", "give --weights, or choose another model"
        )


def locate(model: str | None, weights: str | None, tell: Tell = _silent) -> tuple[Path, str]:
    """Where the base model is, and what to call it; downloaded, or trained if it is a tiny one."""
    if weights is not None:
        check_weights_kept(Path(weights))
        path = Path(weights).resolve()
        name = path.stem if path.suffix in (".gguf", ".bin") else path.name
        return hub.located(weights), model or name
    model = model or DEFAULT_MODEL
    published = architectures.published(model)
    if published is not None:
        return hub.located(published), model
    return tiny_base(model, tell), model


def _fine_tuned(preset: str, options: Mapping[str, Any]) -> tuple[Corpus, dict[str, Any]]:
    """The corpus, and all options of the task."""
    of_base, of_task = _divided(options, base_and_data)
    checks.one_of("preset", preset, tuning.FAMILY.presets)
    stored_as = {**tuning.FAMILY.presets[preset], **of_task}.get("param_dtype", "float32")
    corpus, found = base_and_data(stored_as=stored_as, **of_base)
    return corpus, {**found, **of_task}


@declared
@also(base_and_data, task)
def fine_tuning(
    workflows: Annotated[Workflows, Option(hidden=True)],
    num_samples: Annotated[int | None, Option(least=1)] = None,
    generations: Annotated[int, Option(least=1)] = 5,
    seeds: Annotated[int | Iterable[int], Option(hidden=True)] = 3,
    preset: str = "corrected",
    **options: Any,
) -> tuple[ChainPlan, Corpus]:
    """A base model fine-tuned on conversations, in each generation anew.

    Args:
      workflows: as for ``sweep``.
      num_samples: N, the number of conversations of each generation; by default all that there are
        to train on, and 700 of the embedded instructions.
      generations: G, the number of generations; the first is trained on real conversations.
      seeds: how many, from 0, or the seeds themselves.
      preset: ``corrected`` or ``authors``.
      **options: those of ``base_and_data`` and of ``language_model.task``.

    Raises:
      ValueError: a name is unknown, an option out of its range, or the data cannot be read.
    """
    workflows = as_workflows(workflows)
    corpus, of_task = _fine_tuned(preset, options)
    data: TextData = of_task["data"]
    documents = _num_documents(num_samples, data.available, options.get("data") is None)
    axes = {"model": [of_task["base"].name], "num_samples": [documents]}
    plan = chains.plan("fine-tuning", workflows, axes, seeds, generations, preset, **of_task)
    return plan, corpus


@declared
@also(base_and_data, task)
def fine_tuned_mixtures(
    real: Annotated[Any, Axis(16, 64, 256, least=0)] = (16, 64, 256),
    synthetic: Annotated[Any, Axis(0, 64, 256, 1024, least=0)] = (0, 64, 256, 1024),
    num_samples: Annotated[int | None, Option(least=1)] = None,
    seeds: Annotated[int | Iterable[int], Option(hidden=True)] = 3,
    preset: str = "corrected",
    **options: Any,
) -> tuple[MixturePlan, Corpus]:
    """A base model fine-tuned on every count of real and of synthetic conversations.

    Args:
      real: The numbers of real conversations in a mixture; each seed draws its own.
      synthetic: The numbers of synthetic conversations in a mixture, made by the model fine-tuned
        on all real ones. Each seed draws its own from as many as the largest number.
      num_samples: The number of all real conversations, which the model that makes the synthetic
        ones is fine-tuned on; by default all that there are, and 700 of the embedded instructions.
      seeds: how many, from 0, or the seeds themselves.
      preset: ``corrected`` or ``authors``.
      **options: those of ``base_and_data`` and of ``language_model.task``.

    Raises:
      ValueError: a name is unknown, an option out of its range, the data cannot be read, or there
        are fewer real conversations than are to be mixed.
    """
    if options.get("self_perplexity"):
        raise checks.refusal(
            "self_perplexity",
            "none of mixtures, whose models publish nothing",
            True,
            "leave it out",
        )
    corpus, of_task = _fine_tuned(preset, options)
    data: TextData = of_task["data"]
    documents = _num_documents(num_samples, data.available, options.get("data") is None)
    axes = {"model": [of_task["base"].name]}
    plan = mixtures.plan(
        "fine-tuning", axes, real, synthetic, documents, seeds, "all", preset, **of_task
    )
    return plan, corpus


# What was left out --------------------------------------------------------------------------


def _tell(tell: Tell, *lines: str) -> None:
    for line in filter(None, lines):
        tell(line)


def left_out(corpus: Corpus, context: int) -> str:
    """Which documents are not used, and why, and how they were split; "" if nothing is to be said.

    Args:
      corpus: of all documents.
      context: tokens, beyond which documents were dropped.
    """
    said, reasons = [], []
    if corpus.shared:
        said.append(f"split by prompt, which {corpus.shared} documents share with others")
    if corpus.dropped:
        reasons.append(f"{corpus.dropped} longer than {context} tokens")
    if corpus.copies:
        reasons.append(f"{corpus.copies} with the text or the prompt of one to test on")
    if reasons:
        said.append(f"documents left out: {', '.join(reasons)}")
    if not said:
        return ""
    left = f"left are {corpus.train.count} to train and {corpus.test.count} to test on"
    return "; ".join([*said, left])


def lost(data: TextData) -> str:
    """How many texts the tokenizer does not give back, as a sentence; "" if it gives back all."""
    if not data.lost:
        return ""
    return (
        f"texts that do not come back from their tokens as they were: {data.lost:.1%}; where line "
        "breaks are lost no conversation is well formed, and another tokenizer keeps all"
    )
