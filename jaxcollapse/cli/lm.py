"""``jaxcollapse lm pretrain | generate | evaluate``, and what ``lm finetune`` shares with them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from jaxcollapse import checks
from jaxcollapse.chain import whole_seeds
from jaxcollapse.cli import lm_report, main
from jaxcollapse.cli.lm_options import Evaluate, Finetune, Generate, Mix, Pretrain, Training
from jaxcollapse.sweeps import results
from jaxcollapse.sweeps.chains import Plan
from jaxcollapse.sweeps.chains import plan as plan_sweep

if TYPE_CHECKING:
    import xarray

EMBEDDED_DOCUMENTS = 700  # of the embedded stories, unless one asks for more


COMMANDS: dict[str, type] = {
    "lm pretrain": Pretrain,
    "lm finetune": Finetune,
    "lm mix": Mix,
    "lm generate": Generate,
    "lm evaluate": Evaluate,
}


def given(value: int | None, otherwise: int) -> int:
    """An option, or what stands in for one that was not given."""
    return otherwise if value is None else value


# Pretrain -----------------------------------------------------------------------------------


def plan_of(args: Pretrain) -> tuple[Plan, Any]:
    """The plan of a run, and its corpus."""
    from jaxcollapse.lm import language_model
    from jaxcollapse.lm.text import texts

    text = args.text
    stories = text.data is None
    corpus = texts.load_corpus(
        text.data,
        text.tokenizer,
        given(text.vocab_size, 512 if stories else 8000),
        text.test_fraction,
        text.max_documents,
        text.separator,
    )
    if not stories:
        lm_report.tell_left_out(corpus)
    data = language_model.text_data(corpus, given(text.context, 128 if stories else 512))
    documents = args.num_samples
    if documents is None:
        documents = min(data.available, EMBEDDED_DOCUMENTS) if stories else data.available
    plan = plan_sweep(
        "language-model",
        main.workflows_of(args.workflow, args.subsample_size),
        {"model": args.model, "num_samples": [documents]},
        main.parse_seeds(args.seeds),
        args.generations,
        args.preset,
        data=data,
        **dataclasses.asdict(args.sampling),
        **args.training.options(),
    )
    return plan, corpus


def check(args: Pretrain) -> None:
    """Refuses what can be refused before a text is read."""
    from jaxcollapse.lm.architectures import named

    if args.out.is_dir():
        results.check_output(args.out / "results.nc", (".nc",), args.overwrite)
    main.workflows_of(args.workflow, args.subsample_size)
    for model in args.model:
        checks.one_of("model", model, named.CONFIGS)
    checks.whole_number("checkpoint_steps", args.checkpoint_steps)
    checks.whole_number("texts", args.texts, minimum=0)
    check_training(args.training)


def check_training(training: Training) -> None:
    """Refuses two lengths of the training."""
    if training.steps is not None and (training.epochs is not None or training.matched_compute):
        raise checks.refusal(
            "--steps", "neither --epochs nor --matched-compute beside it", "both", "leave one out"
        )


def pretrain(args: Pretrain) -> None:
    """``jaxcollapse lm pretrain``."""
    checks.require("matplotlib", "plot").use("Agg")
    check(args)
    seeds = main.parse_seeds(args.seeds)
    main.use_cores_as_devices(len(args.model) * len(args.workflow) * len(seeds))
    plan, corpus = plan_of(args)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.driver == "compiled":
        dataset = main.run_and_save(plan, args.out / "results.nc", args.overwrite)
    else:
        dataset = run_on_host(plan, corpus, args.out, args.checkpoint_steps, args.keep_weights)
        results.save(dataset, args.out / "results.nc", args.overwrite)
    if args.driver == "host" and args.texts:
        lm_report.show_texts(plan, args.out, args.texts)
    lm_report.show_result(dataset, args.out)


def run_on_host(
    plan: Plan,
    corpus: Any,
    out: Path,
    checkpoint_steps: int,
    keep_weights: str,
    mesh: Any = None,
) -> xarray.Dataset:
    """Runs a plan's chains in a folder, with an estimate before and a progress bar."""
    from jaxcollapse.lm import host

    main.enable_compilation_cache()
    programs = host.programs_of(plan, mesh)
    host.claim_folder(out, programs)
    chains = len(plan.cells) * plan.seeds.size
    together = 1 if mesh is not None else min(jax.local_device_count(), chains)
    lm_report.tell_memory(programs, f"{chains} chains, {together} at a time")
    expected = lm_report.tell_time(host.estimate(plan, programs))
    with lm_report.progress_bar(expected) as report:
        return host.run(plan, corpus, out, programs, report, checkpoint_steps, keep_weights)


# Generate and evaluate ----------------------------------------------------------------------


def check_weights_kept(folder: Path) -> None:
    """Refuses a generation of a run whose weights were not kept."""
    if (folder / "metrics.json").exists() and not (folder / "config.json").exists():
        raise checks.refusal(
            "weights",
            "a generation with weights (--keep-weights last keeps the last one's, all every one's)",
            f"{folder}, of which metrics and documents are left",
            "take another, or run with --keep-weights all in a new folder",
        )


def _load(folder: Path) -> tuple[Any, Any, Any]:
    """Configuration, parameters and tokenizer of a checkpoint."""
    from jaxcollapse.lm import checkpoints
    from jaxcollapse.lm.text import tokenizers

    check_weights_kept(folder)
    config, params = checkpoints.load(folder)
    # A file of weights has its tokenizer beside it; one of llama2.c's does not hold it.
    tokenizer = tokenizers.load_tokenizer(folder.parent if folder.suffix == ".bin" else folder)
    if tokenizer.vocab_size > config.vocab_size:
        raise checks.refusal(
            "tokenizer",
            f"at most the checkpoint's {config.vocab_size} tokens",
            f"{tokenizer.vocab_size} in {folder}",
            "put the checkpoint's own tokenizer there",
        )
    return config, params, tokenizer


def generate(args: Generate) -> None:
    """``jaxcollapse lm generate``: prints texts."""
    from jaxcollapse.lm.decoder import sampling

    config, params, tokenizer = _load(args.weights)
    (seed,) = whole_seeds([args.seed])
    prompt = [tokenizer.bos, *tokenizer.encode(args.prompt)]
    documents = sampling.generate(
        config,
        params,
        jax.random.key(seed),
        prompt,
        # Some models learn to end a text by beginning another.
        sorted({tokenizer.bos, tokenizer.eos}),
        given(args.max_tokens, max(1, min(200, config.context - len(prompt)))),
        sampling.Settings(args.temperature, args.top_k, args.top_p),
        args.count,
    )
    for tokens in documents:
        print(tokenizer.decode(tokens.tolist()))


def evaluate(args: Evaluate) -> None:
    """``jaxcollapse lm evaluate``: prints nats per token, perplexity and the number of tokens."""
    from jaxcollapse.lm.text import texts

    config, params, tokenizer = _load(args.weights)
    checks.whole_number("skip_documents", args.skip_documents, minimum=0)
    read = texts.read_json_lines if args.data.suffix == ".jsonl" else None
    found = read(args.data) if read else texts.read_text(args.data, args.separator)
    found = found[args.skip_documents :]
    if args.max_documents is not None:
        found = found[: checks.whole_number("max_documents", args.max_documents)]
    if not found:
        raise checks.refusal(
            "documents", "at least one", f"none after {args.skip_documents}", "skip fewer"
        )
    ends = [tokenizer.eos] if args.with_end else []
    encoded = tokenizer.encode_many(found)
    documents = texts.Documents.from_lists([tokenizer.bos, *ids, *ends] for ids in encoded)
    context = given(args.context, min(config.context, 2048))
    checks.whole_number("context", context, minimum=2)
    checks.whole_number("batch_size", args.batch_size)
    if context > config.context:
        raise checks.refusal("context", f"at most {config.context}", context, "lower it")
    nll, count = mean_nll(config, params, documents, context, args.batch_size)
    print(f"{nll:.4f} nats per token, perplexity {math.exp(nll):.3f}, {count} tokens")


def mean_nll(
    config: Any, params: Any, documents: Any, context: int, batch_size: int
) -> tuple[float, int]:
    """Nats per token of documents, each from its beginning, and the number of tokens."""
    from jaxcollapse.lm.decoder import packing, training

    tokens, lengths = documents.padded(context)
    rows, used = jax.jit(packing.pack, static_argnums=2)(tokens, lengths, context)
    rows = jax.tree.map(lambda x: x[: int(used)], rows)
    measure = jax.jit(training.evaluate, static_argnums=(0, 3))
    return float(measure(config, params, rows, batch_size)), int((lengths - 1).sum())


def run_command(args: Any) -> None:
    """Runs a command of this module."""
    from jaxcollapse.cli import finetune  # which imports this module

    run: dict[type, Callable[[Any], None]] = {
        Pretrain: pretrain,
        Finetune: finetune.finetune,
        Mix: finetune.mix,
        Generate: generate,
        Evaluate: evaluate,
    }
    run[type(args)](args)
