"""``jaxcollapse lm finetune | mix``."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxcollapse import checks
from jaxcollapse.cli import lm, lm_report, main
from jaxcollapse.cli.lm_options import Dialogue, Finetune, Mix
from jaxcollapse.sweeps import results
from jaxcollapse.sweeps.chains import Plan
from jaxcollapse.sweeps.chains import plan as plan_sweep

if TYPE_CHECKING:
    import xarray

DEFAULT_MODEL = "tiny-gemma2"
AT_THE_HUB = {
    "gemma2-2b": "google/gemma-2-2b",
    "gemma2-9b": "google/gemma-2-9b",
    "gemma2-27b": "google/gemma-2-27b",
}
CONTEXT, EMBEDDED_CONTEXT = 512, 128
MOST_DEVICES = 512  # of one mesh: a CPU would simulate any number, for ever


def finetune(args: Finetune) -> None:
    """``jaxcollapse lm finetune | mix``."""
    checks.require("matplotlib", "plot").use("Agg")
    check(args)
    mesh = mesh_of(args.dialogue, len(args.workflow) * len(main.parse_seeds(args.seeds)))
    plan, corpus = plan_of(args)
    args.out.mkdir(parents=True, exist_ok=True)
    dataset = lm.run_on_host(plan, corpus, args.out, args.checkpoint_steps, args.keep_weights, mesh)
    results.save(dataset, args.out / "results.nc", args.overwrite)
    if args.texts:
        lm_report.show_texts(plan, args.out, args.texts)
    lm_report.show_result(dataset, args.out)


def check(args: Finetune) -> None:
    """Refuses what can be refused before weights and data are read."""
    if args.out.is_dir():
        results.check_output(args.out / "results.nc", (".nc",), args.overwrite)
    main.workflows_of(args.workflow, args.subsample_size)
    checks.whole_number("checkpoint_steps", args.checkpoint_steps)
    checks.whole_number("texts", args.texts, minimum=0)
    lm.check_training(args.training)
    check_dialogue(args.dialogue)


def check_dialogue(dialogue: Dialogue) -> None:
    """Refuses a model without weights."""
    from jaxcollapse.lm.architectures import named

    if dialogue.model is not None:
        checks.one_of("model", dialogue.model, named.CONFIGS)
    if dialogue.context is not None:
        checks.whole_number("context", dialogue.context)
    model = dialogue.model or DEFAULT_MODEL
    if dialogue.weights is None and model not in AT_THE_HUB and not model.startswith("tiny-"):
        raise checks.refusal(
            f"weights of {model}", "a checkpoint", "none", "give --weights, or choose another model"
        )


def mesh_of(dialogue: Dialogue, chains: int) -> Any:
    """The mesh that was asked for, or None; a core is a device where there is no accelerator."""
    if dialogue.mesh is None:
        main.use_cores_as_devices(chains)
        return None
    sizes = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", dialogue.mesh)
    if sizes is None:
        raise checks.refusal("--mesh", "DATAxMODEL", repr(dialogue.mesh), "try 2x1")
    data, model = int(sizes[1]), int(sizes[2])
    if data * model > MOST_DEVICES:
        raise checks.refusal("--mesh", f"at most {MOST_DEVICES} devices", data * model, "lower it")
    main.use_simulated_devices(data * model)
    from jaxcollapse.lm.decoder import sharding

    mesh = sharding.make_mesh(data, model)
    if jax.default_backend() == "cpu":
        print(
            f"{data * model} devices are simulated on this machine's cores: to try a mesh out",
            file=sys.stderr,
        )
    return mesh


def weights_of(dialogue: Dialogue) -> tuple[Path, str]:
    """Where the base model is, and what to call it."""
    from jaxcollapse.lm import hub
    from jaxcollapse.lm.tiny_base import tiny_base

    model = dialogue.model
    if dialogue.weights is not None:
        lm.check_weights_kept(Path(dialogue.weights))
        path = Path(dialogue.weights).resolve()
        name = path.stem if path.suffix in (".gguf", ".bin") else path.name
        return hub.located(dialogue.weights), model or name
    model = model or DEFAULT_MODEL
    if model in AT_THE_HUB:
        return hub.located(AT_THE_HUB[model]), model
    return tiny_base(model, lambda told: print(told, file=sys.stderr)), model


def corpus_of(dialogue: Dialogue, tokenizer: Any, most: int) -> tuple[Any, Any]:
    """Real conversations, as tokens on the host and as arrays for programs.

    Args:
      dialogue: what was asked for.
      tokenizer: of the base model.
      most: its context.
    """
    from jaxcollapse.lm import language_model
    from jaxcollapse.lm.text import conversations

    usual = EMBEDDED_CONTEXT if dialogue.data is None else CONTEXT
    context = lm.given(dialogue.context, min(usual, most))
    corpus = conversations.load(
        dialogue.data,
        tokenizer,
        context,
        dialogue.longer,
        test_documents=dialogue.test_documents,
        max_documents=dialogue.max_documents,
    )
    lm_report.tell_left_out(corpus, context)
    return corpus, language_model.text_data(corpus, context, dialogue.loss_on)


def task_options(args: Finetune | Mix) -> tuple[Any, dict[str, Any]]:
    """The corpus, and the options of the task; weights are read last, as they may be large."""
    from jaxcollapse.lm.base import context_of, load_base
    from jaxcollapse.lm.text import tokenizers
    from jaxcollapse.registry import as_family

    dialogue = args.dialogue
    options = {**dialogue.options(), **args.options(), **args.training.options()}
    path, name = weights_of(dialogue)
    # A file of weights has its tokenizer beside it.
    tokenizer = tokenizers.load_tokenizer(path.parent if path.suffix == ".bin" else path)
    corpus, data = corpus_of(dialogue, tokenizer, context_of(path))
    given = {**as_family("fine-tuning").presets[dialogue.preset], **options}
    base = load_base(path, dialogue.model, name, given.get("param_dtype", "float32"))
    return corpus, {"data": data, "base": base, **dataclasses.asdict(args.sampling), **options}


def plan_of(args: Finetune) -> tuple[Plan, Any]:
    """The plan of a run, and its corpus."""
    corpus, options = task_options(args)
    documents = documents_of(args.num_samples, args.dialogue, options["data"])
    plan = plan_sweep(
        "fine-tuning",
        main.workflows_of(args.workflow, args.subsample_size),
        {"model": [options["base"].name], "num_samples": [documents]},
        main.parse_seeds(args.seeds),
        args.generations,
        args.dialogue.preset,
        **options,
    )
    return plan, corpus


def documents_of(asked: int | None, dialogue: Dialogue, data: Any) -> int:
    """N: what was asked for, else all there are, and of embedded ones some."""
    if asked is not None:
        return asked
    if dialogue.data is None:
        return min(data.available, lm.EMBEDDED_DOCUMENTS)
    return data.available


# Mix ----------------------------------------------------------------------------------------


def mix(args: Mix) -> None:
    """``jaxcollapse lm mix``."""
    checks.require("matplotlib", "plot").use("Agg")
    from jaxcollapse.show import mixture_files

    out = args.out / "mixing.nc"
    if args.out.is_dir():
        results.check_output(out, (".nc",), args.overwrite)
    checks.whole_number("checkpoint_steps", args.checkpoint_steps)
    if args.synthetic_data is not None and not args.synthetic_data.is_file():
        raise checks.refusal(
            "--synthetic-data", "a file that exists", str(args.synthetic_data), "check the path"
        )
    lm.check_training(args.training)
    check_dialogue(args.dialogue)
    seeds = main.parse_seeds(args.seeds)
    mesh = mesh_of(args.dialogue, len(seeds))
    plan, corpus = mix_plan_of(args)
    args.out.mkdir(parents=True, exist_ok=True)
    dataset = run_mixing(plan, corpus, args.out, args.synthetic_data, args.checkpoint_steps, mesh)
    results.save(dataset, out, args.overwrite)
    mixture_files.show_and_draw(dataset, out)
    print(*mixture_files.outputs(out), sep="\n")


def mix_plan_of(args: Mix) -> tuple[Any, Any]:
    """The plan of a grid of mixtures, and its corpus."""
    from jaxcollapse.sweeps import mixtures

    corpus, options = task_options(args)
    data = options["data"]
    plan = mixtures.plan(
        "fine-tuning",
        {"model": [options["base"].name]},
        args.real,
        args.synthetic,
        documents_of(args.num_samples, args.dialogue, data),
        main.parse_seeds(args.seeds),
        "all",
        args.dialogue.preset,
        **options,
    )
    return plan, corpus


def run_mixing(
    plan: Any,
    corpus: Any,
    out: Path,
    synthetic_data: Path | None = None,
    checkpoint_steps: int = 500,
    mesh: Any = None,
) -> xarray.Dataset:
    """Runs a grid of mixtures in a folder, with an estimate before and a progress bar."""
    from jaxcollapse.lm import host
    from jaxcollapse.lm.setup import setup
    from jaxcollapse.sweeps import mixtures

    main.enable_compilation_cache()
    (cell,) = plan.cells
    point = tuple(plan.point(cell).items())
    programs = host.Programs(setup(**dict(point), **plan.options), mesh)
    host.claim_folder(out, {point: programs})
    counts = host.Counts(plan.real, plan.synthetic, plan.seeds)
    synthetic, digest, kind = None, "", f"synthetic-{max(counts.synthetic)}"
    if synthetic_data is not None:
        synthetic, digest = read_synthetic(synthetic_data, corpus.tokenizer, programs.made, counts)
        kind = f"synthetic-{synthetic_data.stem}-{digest[:8]}"
    folder = out / host.point_folder(point) / kind
    mixing = host.Mixing(programs, counts, corpus, folder, point, checkpoint_steps=checkpoint_steps)
    lm_report.tell_memory({point: programs}, f"{len(counts.mixtures)} mixtures for each seed")
    expected = lm_report.tell_time(host.estimate_mixing(mixing, teach=synthetic is None))
    start = time.perf_counter()
    with lm_report.progress_bar(expected) as report, host.CompileClock() as clock:
        arrays = dataclasses.replace(mixing, tell=report).run(synthetic)
    seconds = time.perf_counter() - start
    values = {name: arrays[name] for name in plan.metrics}
    values[results.RUN_SECONDS] = np.asarray(seconds, np.float32)
    dataset = mixtures.dataset(plan, [values], clock.seconds, seconds, clock.programs)
    if synthetic_data is not None:
        dataset.attrs["source"] = f"{synthetic_data.name} (sha256 {digest[:16]})"
    return dataset


def read_synthetic(path: Path, tokenizer: Any, made: Any, counts: Any) -> tuple[Any, str]:
    """Synthetic conversations from a file, and a digest of them.

    Raises:
      ValueError: the file holds fewer that fit the context than are to be mixed.
    """
    from jaxcollapse.lm.text import conversations

    documents = conversations.read(path, tokenizer)
    documents = documents.take(np.flatnonzero(documents.lengths <= made.data.context))
    if documents.count < max(counts.synthetic):
        raise checks.refusal(
            "synthetic",
            f"at most the {documents.count} conversations of {path} that fit the context of "
            f"{made.data.context} tokens",
            f"{max(counts.synthetic)}, more data than exist",
            "lower it or bring more",
        )
    return documents, hashlib.sha256(documents.tokens.tobytes()).hexdigest()
