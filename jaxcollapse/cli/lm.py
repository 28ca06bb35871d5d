"""``jaxcollapse lm pretrain | finetune | mix | generate | evaluate``."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxcollapse import checks, machine
from jaxcollapse.cli import asked
from jaxcollapse.cli.lm_options import OF_SPLITTING, Evaluate, Finetune, Generate, Mix, Pretrain
from jaxcollapse.files import check_output
from jaxcollapse.keys import seed_key, whole_seeds
from jaxcollapse.sweeps import results
from jaxcollapse.sweeps.plan import parse_seeds
from jaxcollapse.sweeps.run import run_and_save


def pretrain(args: Any) -> None:
    """``jaxcollapse lm pretrain``."""
    from jaxcollapse.lm import host

    _check_run(args)
    with host.writing(args.out):
        _pretrain(args)


def _pretrain(args: Any) -> None:
    from jaxcollapse.lm import host, plans

    seeds = parse_seeds(args.seeds)
    host.use_devices(None, len(args.model) * len(args.workflow) * len(seeds))
    plan, corpus = plans.pretraining(
        args.workflow,
        args.model,
        generations=args.generations,
        seeds=seeds,
        preset=args.preset,
        tell=_tell,
        **asked.options_of(args, plans.pretraining),
    )
    plan = dataclasses.replace(plan, command=args.command)
    if args.driver == "host":
        _run_on_host(args, plan, corpus, None)
        return
    dataset = run_and_save(plan, args.out / "results.nc", args.overwrite, progress=args.progress)
    _show(args, dataset)


def finetune(args: Any) -> None:
    """``jaxcollapse lm finetune``."""
    from jaxcollapse.lm import host

    _check_run(args)
    with host.writing(args.out):
        _finetune(args)


def _finetune(args: Any) -> None:
    from jaxcollapse.lm import host, plans

    seeds = parse_seeds(args.seeds)
    mesh = host.use_devices(args.mesh, len(args.workflow) * len(seeds))
    plan, corpus = plans.fine_tuning(
        args.workflow,
        generations=args.generations,
        seeds=seeds,
        preset=args.preset,
        tell=_tell,
        **asked.options_of(args, plans.fine_tuning),
    )
    plan = dataclasses.replace(plan, command=args.command)
    _run_on_host(args, plan, corpus, mesh)


def _check_run(args: Any) -> None:
    """Refuses what can be refused before anything is read."""
    checks.require("matplotlib", "plot").use("Agg")
    if args.out.is_dir():
        check_output(args.out / "results.nc", (".nc",), args.overwrite)
    checks.whole_number("texts", args.texts, minimum=0)


def _run_on_host(args: Any, plan: Any, corpus: Any, mesh: Any) -> None:
    from jaxcollapse.lm import host

    machine.enable_compilation_cache()
    more = asked.options_of(args, host.run)
    dataset = host.run(plan, corpus, args.out, progress=args.progress, mesh=mesh, **more)
    results.save(dataset, args.out / "results.nc", args.overwrite)
    _show(args, dataset, host.samples(args.out, plan))


def _show(args: Any, dataset: Any, samples: Any = ()) -> None:
    from jaxcollapse.show import language_models

    if samples and args.texts:
        language_models.show_texts(samples, args.texts)
    language_models.show_result(dataset, args.out)


def mix(args: Any) -> None:
    """``jaxcollapse lm mix``."""
    from jaxcollapse.lm import host

    checks.require("matplotlib", "plot").use("Agg")
    out = args.out / "mixing.nc"
    if args.out.is_dir():
        check_output(out, (".nc",), args.overwrite)
    host.check_synthetic(args.synthetic_data)
    with host.writing(args.out):
        _mix(args, out)


def _mix(args: Any, out: Path) -> None:
    from jaxcollapse.lm import host, plans
    from jaxcollapse.show import mixture_files

    seeds = parse_seeds(args.seeds)
    mesh = host.use_devices(args.mesh, len(seeds))
    plan, corpus = plans.fine_tuned_mixtures(
        args.real,
        args.synthetic,
        seeds=seeds,
        preset=args.preset,
        tell=_tell,
        **asked.options_of(args, plans.fine_tuned_mixtures),
    )
    plan = dataclasses.replace(plan, command=args.command)
    machine.enable_compilation_cache()
    more = asked.options_of(args, host.run_mixtures)
    dataset = host.run_mixtures(plan, corpus, args.out, progress=args.progress, mesh=mesh, **more)
    results.save(dataset, out, args.overwrite)
    mixture_files.show_and_draw(dataset, out)
    print(*mixture_files.outputs(out), sep="\n")


def generate(args: Any) -> None:
    """``jaxcollapse lm generate``: prints texts."""
    from jaxcollapse.lm import pretrained
    from jaxcollapse.lm.decoder.sampling import Settings

    model = pretrained.load(args.weights)
    (seed,) = whole_seeds([args.seed])
    settings = Settings(**asked.options_of(args))
    key = seed_key(seed)
    print(*model.continued(args.prompt, key, args.max_tokens, settings, args.count), sep="\n")


def evaluate(args: Any) -> None:
    """``jaxcollapse lm evaluate``: prints nats per token, perplexity and the number of tokens."""
    from jaxcollapse.lm import pretrained
    from jaxcollapse.lm.text import texts

    checks.whole_number("skip_documents", args.skip_documents, minimum=0)
    if args.max_documents is not None:
        checks.whole_number("max_documents", args.max_documents)
    if args.held_out is not None:
        _evaluate_held_out(args)
        return
    if args.data is None:
        raise checks.refusal("data", "a file", "none", "give --data FILE, or --held-out RUN")
    for name in OF_SPLITTING:
        if getattr(args, name) is not None:
            raise checks.refusal(name, "--held-out beside it", "none", "leave it out")
    model = pretrained.load(args.weights)
    found = texts.read(args.data, **asked.options_of(args))
    found = found[args.skip_documents :][: args.max_documents]
    if not found:
        raise checks.refusal(
            "documents", "at least one", f"none after {args.skip_documents}", "skip fewer"
        )
    nll, count, beyond = model.mean_nll(found, args.context, args.with_end, args.batch_size)
    if beyond.documents:
        _tell(str(beyond))
    print(f"{nll:.4f} nats per token, perplexity {math.exp(nll):.3f}, {count} tokens")


def _evaluate_held_out(args: Any) -> None:
    from jaxcollapse.lm import pretrained

    for name, by_default in (("skip_documents", 0), ("context", None), ("with_end", False)):
        if getattr(args, name) != by_default:
            raise checks.refusal(
                name,
                "none beside --held-out, which does as the run does",
                getattr(args, name),
                "leave it out",
            )
    reading = asked.options_of(args)
    if args.max_documents is not None:
        reading["max_documents"] = args.max_documents
    model = pretrained.load(args.weights)
    nll, count = model.held_out_nll(args.held_out, args.data, args.batch_size, **reading)
    print(f"{nll:.4f} nats per token, perplexity {math.exp(nll):.3f}, {count} tokens")


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


COMMANDS: dict[str, tuple[type, Callable[[Any], None]]] = {
    "lm pretrain": (Pretrain, pretrain),
    "lm finetune": (Finetune, finetune),
    "lm mix": (Mix, mix),
    "lm generate": (Generate, generate),
    "lm evaluate": (Evaluate, evaluate),
}
