"""``jaxcollapse lm pretrain | generate | evaluate``, and what ``lm finetune`` shares with them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxcollapse import checks, cli, results
from jaxcollapse.chain import whole_seeds
from jaxcollapse.lm_options import Evaluate, Finetune, Generate, Mix, Pretrain, Training
from jaxcollapse.machine import free_memory
from jaxcollapse.sweep import Plan
from jaxcollapse.sweep import plan as plan_sweep

if TYPE_CHECKING:
    import xarray

EMBEDDED_DOCUMENTS = 700  # of the embedded stories, unless one asks for more
FEW_ACCEPTED = 0.1  # of samples; below it a run says so


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
    from jaxcollapse.datasets import text as texts
    from jaxcollapse.tasks import language_model

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
        tell_left_out(corpus)
    data = language_model.text_data(corpus, given(text.context, 128 if stories else 512))
    documents = args.num_samples
    if documents is None:
        documents = min(data.available, EMBEDDED_DOCUMENTS) if stories else data.available
    plan = plan_sweep(
        "language-model",
        cli.workflows_of(args.workflow, args.subsample_size),
        {"model": args.model, "num_samples": [documents]},
        cli.parse_seeds(args.seeds),
        args.generations,
        args.preset,
        data=data,
        **dataclasses.asdict(args.sampling),
        **args.training.options(),
    )
    return plan, corpus


def check(args: Pretrain) -> None:
    """Refuses what can be refused before a text is read."""
    from jaxcollapse.models import configs

    if args.out.is_dir():
        results.check_output(args.out / "results.nc", (".nc",), args.overwrite)
    cli.workflows_of(args.workflow, args.subsample_size)
    for model in args.model:
        checks.one_of("model", model, configs.CONFIGS)
    checks.whole_number("checkpoint_steps", args.checkpoint_steps)
    checks.whole_number("texts", args.texts, minimum=0)
    check_training(args.training)


def check_training(training: Training) -> None:
    """Refuses two lengths of the training."""
    if training.steps is not None and (training.epochs is not None or training.matched_compute):
        raise checks.refuse(
            "--steps", "neither --epochs nor --matched-compute beside it", "both", "leave one out"
        )


def pretrain(args: Pretrain) -> None:
    """``jaxcollapse lm pretrain``."""
    checks.require("matplotlib", "plot").use("Agg")
    check(args)
    seeds = cli.parse_seeds(args.seeds)
    cli.use_cores_as_devices(len(args.model) * len(args.workflow) * len(seeds))
    plan, corpus = plan_of(args)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.driver == "compiled":
        dataset = cli.run_and_save(plan, args.out / "results.nc", args.overwrite)
    else:
        dataset = run_on_host(plan, corpus, args.out, args.checkpoint_steps, args.keep_weights)
        results.save(dataset, args.out / "results.nc", args.overwrite)
    if args.driver == "host" and args.texts:
        show_texts(plan, args.out, args.texts)
    show_result(dataset, args.out)


def show_result(dataset: xarray.Dataset, out: Path) -> None:
    """A figure of the loss and one more metric in a run's folder, and a table of the loss."""
    from jaxcollapse import plotting

    shown = loss_of(dataset)
    beside = "acceptance_rate" if "acceptance_rate" in dataset else "distinct_2"
    figure = plotting.grid(dataset, [shown, beside], hue="model")
    with results.whole_file(out / "figure.png") as temporary:
        figure.savefig(temporary)
    _show_losses(dataset, shown)
    _tell_few_accepted(dataset)
    print(*(out / name for name in ("results.nc", "figure.png")), sep="\n")


def _tell_few_accepted(dataset: xarray.Dataset) -> None:
    """Warns of models that mostly write what the filter rejects."""
    if "acceptance_rate" not in dataset:
        return
    rates = dataset["acceptance_rate"]
    lowest = rates.isel(rates.argmin(...))
    if lowest < FEW_ACCEPTED:
        workflow, seed, generation = (
            lowest[name].item() for name in ("workflow", "seed", "generation")
        )
        print(
            f"only {lowest.item():.1%} of what was sampled is well-formed at worst ({workflow}, "
            f"seed {seed}, generation {generation}): rejected.jsonl there shows what is not; "
            "longer training (--epochs) or a larger model helps",
            file=sys.stderr,
        )


def loss_of(dataset: xarray.Dataset) -> str:
    """The metric that tells how well models know real text: above its entropy, where known."""
    return "excess_nll" if "excess_nll" in dataset else "nll"


def run_on_host(
    plan: Plan,
    corpus: Any,
    out: Path,
    checkpoint_steps: int,
    keep_weights: str,
    mesh: Any = None,
) -> xarray.Dataset:
    """Runs a plan's chains in a folder, with an estimate before and a progress bar."""
    from jaxcollapse import host

    cli.enable_compilation_cache()
    programs = host.programs_of(plan, mesh)
    host.claim_folder(out, programs)
    chains = len(plan.cells) * plan.seeds.size
    together = 1 if mesh is not None else min(jax.local_device_count(), chains)
    tell_memory(programs, f"{chains} chains, {together} at a time")
    filtered = any(one.made.protocol.format == "conversation" for one in programs.values())
    expected = tell_time(host.estimate(plan, programs), filtered)
    with lm_progress(expected) as report:
        return host.run(plan, corpus, out, programs, report, checkpoint_steps, keep_weights)


def tell_left_out(corpus: Any, context: int | None = None) -> None:
    """Says which documents of one's own are not used, and why; of a corpus cut at a context."""
    reasons = []
    if corpus.dropped:
        reasons.append(f"{corpus.dropped} longer than {context} tokens")
    if corpus.copies:
        reasons.append(f"{corpus.copies} the same as one to test on")
    if reasons:
        print(
            f"documents left out: {', '.join(reasons)}; left are {corpus.train.count} to train "
            f"and {corpus.test.count} to test on",
            file=sys.stderr,
        )


def tell_memory(programs: Any, what: str) -> None:
    """Says what training takes on each device, and what is free there."""
    from jaxcollapse import host

    print("compiling", file=sys.stderr)
    needed, free = host.memory(programs), free_memory() / jax.local_device_count()
    warning = (
        "; THIS MAY NOT FIT: raise --accumulation, add --remat, or lower --batch-size or --context"
        if needed > free
        else ""
    )
    print(
        f"{what}: {needed / 2**20:,.0f} MiB to train on each device, where {free / 2**20:,.0f} are "
        f"free{warning}",
        file=sys.stderr,
    )


def tell_time(expected: Any, filtered: bool = False) -> Any:
    """Says what there is to do and how long it takes; returns what it was given."""
    more = "; longer where samples are rejected" if filtered else ""
    rates = ", ".join(
        f"{point[0][1]} {train:,.0f}/s and {sample:,.0f}/s"
        for point, (train, sample) in expected.rates.items()
    )
    print(
        f"about {_duration(expected.seconds)}: {expected.trained:,.0f} tokens to train on and "
        f"{expected.sampled:,.0f} to sample ({rates}){more}",
        file=sys.stderr,
    )
    return expected


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def lm_progress(expected: Any) -> Iterator[Callable[[Any], None]]:
    """A bar with the time left, loss and tokens per second; yields the function to call."""
    lock = threading.Lock()
    total = expected.chain_seconds
    with cli.bar(total) as update:
        done = 0.0

        def report(progress: Any) -> None:
            nonlocal done
            with lock:
                train_rate, sample_rate = expected.rates[progress.point]
                done += progress.trained / train_rate + progress.sampled / sample_rate
                loss = "" if progress.loss is None else f" loss {progress.loss:.3f}"
                rate = f" {progress.rate:,.0f} tokens/s" if progress.rate else ""
                update(
                    min(done, total),
                    f"{progress.chain} generation {progress.generation} "
                    f"{progress.phase}{loss}{rate}",
                )

        yield report


def show_texts(plan: Plan, folder: Path, count: int) -> None:
    """Prints the first documents of every generation of the first seed."""
    from jaxcollapse import host

    console = checks.require("rich.console", "sweep").Console(highlight=False)
    for cell in plan.cells:
        chain = host.chain_folder(folder, cell, int(plan.seeds[0]))
        for generation in range(1, plan.generations + 1):
            console.print(f"\n[bold]{cell}, generation {generation}[/bold]", soft_wrap=True)
            path = chain / f"generation-{generation:02d}" / "samples.jsonl"
            with path.open(encoding="utf-8") as lines:
                for _, line in zip(range(count), lines, strict=False):
                    text = " ".join(json.loads(line)["text"].split())
                    shown = text if len(text) <= 240 else text[:237] + "..."
                    console.print(f"  - {shown}", markup=False)
    console.print()


def _show_losses(dataset: xarray.Dataset, metric: str) -> None:
    """A table: the mean over seeds and its standard error, for each generation."""
    attrs, seeds = dataset[metric].attrs, dataset.sizes["seed"]
    over = "one seed" if seeds == 1 else f"mean of {seeds} seeds (standard error)"
    table = checks.require("rich.table", "sweep").Table(
        title=f"{attrs['long_name']}, {attrs['units']}, {over}",
        title_justify="left",
        box=checks.require("rich.box", "sweep").SIMPLE,
    )
    for heading in ("model", "workflow", *(f"t = {t}" for t in dataset["generation"].values)):
        table.add_column(heading)
    for model in dataset["model"].values:
        for workflow in dataset["workflow"].values:
            values = dataset[metric].sel(model=model, workflow=workflow).isel(num_samples=0)
            array = values.transpose("seed", "generation").values.astype(np.float64)
            mean = array.mean(axis=0)
            cells = [f"{value:.3f}" for value in mean]
            if len(array) > 1:
                error = array.std(axis=0, ddof=1) / len(array) ** 0.5
                cells = [f"{m} ({e:.3f})" for m, e in zip(cells, error, strict=True)]
            table.add_row(str(model), str(workflow), *cells)
    console = checks.require("rich.console", "sweep").Console(highlight=False)
    console.width = max(console.width, 60 + 16 * dataset.sizes["generation"])
    console.print(table)


# Generate and evaluate ----------------------------------------------------------------------


def check_weights_kept(folder: Path) -> None:
    """Refuses a generation of a run whose weights were not kept."""
    if (folder / "metrics.json").exists() and not (folder / "config.json").exists():
        raise checks.refuse(
            "weights",
            "a generation whose weights were kept: the last of its chain, unless asked otherwise",
            f"{folder}, of which samples and metrics are left",
            "take the last, or run with --keep-weights all in a new folder",
        )


def _load(folder: Path) -> tuple[Any, Any, Any]:
    """Configuration, parameters and tokenizer of a checkpoint."""
    from jaxcollapse.datasets import tokenizers
    from jaxcollapse.models import checkpoints

    check_weights_kept(folder)
    config, params = checkpoints.load(folder)
    # A file of weights has its tokenizer beside it; one of llama2.c's does not hold it.
    tokenizer = tokenizers.load_tokenizer(folder.parent if folder.suffix == ".bin" else folder)
    if tokenizer.vocab_size > config.vocab_size:
        raise checks.refuse(
            "tokenizer",
            f"at most the checkpoint's {config.vocab_size} tokens",
            f"{tokenizer.vocab_size} in {folder}",
            "put the checkpoint's own tokenizer there",
        )
    return config, params, tokenizer


def generate(args: Generate) -> None:
    """``jaxcollapse lm generate``: prints texts."""
    from jaxcollapse.models import sampling

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
    from jaxcollapse.datasets import text as texts

    config, params, tokenizer = _load(args.weights)
    checks.whole_number("skip_documents", args.skip_documents, minimum=0)
    read = texts.read_json_lines if args.data.suffix == ".jsonl" else None
    found = read(args.data) if read else texts.read_text(args.data, args.separator)
    found = found[args.skip_documents :]
    if args.max_documents is not None:
        found = found[: checks.whole_number("max_documents", args.max_documents)]
    if not found:
        raise checks.refuse(
            "documents", "at least one", f"none after {args.skip_documents}", "skip fewer"
        )
    ends = [tokenizer.eos] if args.with_end else []
    encoded = tokenizer.encode_many(found)
    documents = texts.Documents.from_lists([tokenizer.bos, *ids, *ends] for ids in encoded)
    context = given(args.context, min(config.context, 2048))
    checks.whole_number("context", context, minimum=2)
    checks.whole_number("batch_size", args.batch_size)
    if context > config.context:
        raise checks.refuse("context", f"at most {config.context}", context, "lower it")
    nll, count = mean_nll(config, params, documents, context, args.batch_size)
    print(f"{nll:.4f} nats per token, perplexity {math.exp(nll):.3f}, {count} tokens")


def mean_nll(
    config: Any, params: Any, documents: Any, context: int, batch_size: int
) -> tuple[float, int]:
    """Nats per token of documents, each from its beginning, and the number of tokens."""
    from jaxcollapse.models import packing, training

    tokens, lengths = documents.padded(context)
    rows, used = jax.jit(packing.pack, static_argnums=2)(tokens, lengths, context)
    rows = jax.tree.map(lambda x: x[: int(used)], rows)
    measure = jax.jit(training.evaluate, static_argnums=(0, 3))
    return float(measure(config, params, rows, batch_size)), int((lengths - 1).sum())


def main(args: Any) -> None:
    """Runs a command of this module."""
    from jaxcollapse import finetune_cli  # which imports this module

    run: dict[type, Callable[[Any], None]] = {
        Pretrain: pretrain,
        Finetune: finetune_cli.finetune,
        Mix: finetune_cli.mix,
        Generate: generate,
        Evaluate: evaluate,
    }
    run[type(args)](args)
