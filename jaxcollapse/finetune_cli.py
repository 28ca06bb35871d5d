"""``jaxcollapse lm finetune``."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from typing import Any

from jaxcollapse import checks, cli, lm_cli, results
from jaxcollapse.lm_options import Dialogue, Finetune
from jaxcollapse.sweep import Plan
from jaxcollapse.sweep import plan as plan_sweep

DEFAULT_MODEL = "tiny-gemma2"
AT_THE_HUB = {
    "gemma2-2b": "google/gemma-2-2b",
    "gemma2-9b": "google/gemma-2-9b",
    "gemma2-27b": "google/gemma-2-27b",
}
CONTEXT, EMBEDDED_CONTEXT = 512, 128


def finetune(args: Finetune) -> None:
    """``jaxcollapse lm finetune``."""
    checks.require("matplotlib", "plot").use("Agg")
    check(args)
    mesh = mesh_of(args.dialogue, len(args.workflow) * len(cli.parse_seeds(args.seeds)))
    plan, corpus = plan_of(args)
    args.out.mkdir(parents=True, exist_ok=True)
    dataset = lm_cli.run_on_host(
        plan, corpus, args.out, args.checkpoint_steps, args.keep_weights, mesh
    )
    results.save(dataset, args.out / "results.nc", args.overwrite)
    if args.texts:
        lm_cli.show_texts(plan, args.out, args.texts)
    lm_cli.show_result(dataset, args.out, "acceptance_rate")


def check(args: Finetune) -> None:
    """Refuses what can be refused before weights and data are read."""
    if args.out.is_dir():
        results.check_output(args.out / "results.nc", (".nc",), args.overwrite)
    cli.workflows_of(args.workflow, args.subsample_size)
    checks.whole_number("checkpoint_steps", args.checkpoint_steps)
    checks.whole_number("texts", args.texts, minimum=0)
    lm_cli.check_training(args.training)
    check_dialogue(args.dialogue)


def check_dialogue(dialogue: Dialogue) -> None:
    """Refuses a model without weights."""
    from jaxcollapse.models import configs

    if dialogue.model is not None:
        checks.one_of("model", dialogue.model, configs.CONFIGS)
    if dialogue.context is not None:
        checks.whole_number("context", dialogue.context)
    model = dialogue.model or DEFAULT_MODEL
    if dialogue.weights is None and model not in AT_THE_HUB and not model.startswith("tiny-"):
        raise checks.refuse(
            f"weights of {model}", "a checkpoint", "none", "give --weights, or choose another model"
        )


def mesh_of(dialogue: Dialogue, chains: int) -> Any:
    """The mesh that was asked for, or None; a core is a device where there is no accelerator."""
    if dialogue.mesh is None:
        cli.use_cores_as_devices(chains)
        return None
    sizes = re.fullmatch(r"(\d+)x(\d+)", dialogue.mesh)
    if sizes is None:
        raise checks.refuse("--mesh", "DATAxMODEL", repr(dialogue.mesh), "try 2x1")
    data, model = int(sizes[1]), int(sizes[2])
    cli.use_simulated_devices(data * model)
    from jaxcollapse.models import sharding

    return sharding.make_mesh(data, model)


def base_of(dialogue: Dialogue, param_dtype: str) -> tuple[Any, Any]:
    """The base model and its tokenizer."""
    from jaxcollapse.datasets import tokenizers
    from jaxcollapse.host.tiny_base import tiny_base
    from jaxcollapse.models import base as bases
    from jaxcollapse.models.checkpoints import hub_files

    weights, model = dialogue.weights, dialogue.model
    if weights is None:
        model = model or DEFAULT_MODEL
        if model in AT_THE_HUB:
            weights = AT_THE_HUB[model]
        else:
            print(f"{model} is trained on stories first, if it has not been", file=sys.stderr)
            weights = str(tiny_base(model))
    path = hub_files.located(weights)
    name = model or Path(weights).resolve().name
    base = bases.load_base(path, model, name, param_dtype)
    # A file of weights has its tokenizer beside it.
    tokenizer = tokenizers.load_tokenizer(path.parent if path.suffix == ".bin" else path)
    return base, tokenizer


def corpus_of(dialogue: Dialogue, tokenizer: Any) -> tuple[Any, Any]:
    """Real conversations, as tokens on the host and as arrays for programs."""
    from jaxcollapse.datasets import conversations
    from jaxcollapse.tasks import language_model

    context = lm_cli.given(dialogue.context, EMBEDDED_CONTEXT if dialogue.data is None else CONTEXT)
    corpus = conversations.load(
        dialogue.data,
        tokenizer,
        context,
        dialogue.longer,
        test_documents=dialogue.test_documents,
        max_documents=dialogue.max_documents,
    )
    return corpus, language_model.text_data(corpus, context, dialogue.loss_on)


def plan_of(args: Finetune) -> tuple[Plan, Any]:
    """The plan of a run, and its corpus."""
    dialogue = args.dialogue
    options = {**dialogue.options(), **args.options(), **args.training.options()}
    param_dtype = options.get("param_dtype") or (
        "bfloat16" if dialogue.preset == "authors" else "float32"
    )
    base, tokenizer = base_of(dialogue, param_dtype)
    corpus, data = corpus_of(dialogue, tokenizer)
    plan = plan_sweep(
        "fine-tuning",
        cli.workflows_of(args.workflow, args.subsample_size),
        {"model": [base.name], "num_samples": [documents_of(args.num_samples, dialogue, data)]},
        cli.parse_seeds(args.seeds),
        args.generations,
        dialogue.preset,
        data=data,
        base=base,
        **dataclasses.asdict(args.sampling),
        **options,
    )
    return plan, corpus


def documents_of(asked: int | None, dialogue: Dialogue, data: Any) -> int:
    """N: what was asked for, else all there are, and of embedded ones some."""
    if asked is not None:
        return asked
    if dialogue.data is None:
        return min(data.available, lm_cli.EMBEDDED_DOCUMENTS)
    return data.available
