"""What the commands of language models say before, during and after a run."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxcollapse import checks
from jaxcollapse.cli import main
from jaxcollapse.machine import free_memory
from jaxcollapse.sweeps import results
from jaxcollapse.sweeps.chains import Plan

if TYPE_CHECKING:
    import xarray

FEW_ACCEPTED = 0.1  # of samples; below it a run says so


def tell_left_out(corpus: Any, context: int | None = None) -> None:
    """Says which documents of one's own are not used, and why.

    Args:
      corpus: of all documents.
      context: tokens, beyond which documents were dropped.
    """
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
    from jaxcollapse.lm import host

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


def tell_time(expected: Any) -> Any:
    """Says what there is to do and how long it takes; returns what it was given."""
    more = "; longer where samples are rejected" if expected.filtered else ""
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
def progress_bar(expected: Any) -> Iterator[Callable[[Any], None]]:
    """A bar with the time left, loss and tokens per second; yields the function to call."""
    lock = threading.Lock()
    total = expected.chain_seconds
    with main.bar(total) as update:
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


def show_result(dataset: xarray.Dataset, out: Path) -> None:
    """A figure of the loss and one more metric in a run's folder, and a table of the loss."""
    from jaxcollapse.show import figures

    shown = loss_of(dataset)
    beside = "acceptance_rate" if "acceptance_rate" in dataset else "distinct_2"
    figure = figures.grid(dataset, [shown, beside], hue="model")
    with results.whole_file(out / "figure.png") as temporary:
        figure.savefig(temporary)
    _show_losses(dataset, shown)
    tell_few_accepted(dataset)
    print(*(out / name for name in ("results.nc", "figure.png")), sep="\n")


def loss_of(dataset: xarray.Dataset) -> str:
    """The metric that tells how well models know real text: above its entropy, where known."""
    return "excess_nll" if "excess_nll" in dataset else "nll"


def _show_losses(dataset: xarray.Dataset, metric: str) -> None:
    """A table: the mean over seeds and its standard error, for each generation."""
    attrs, seeds = dataset[metric].attrs, dataset.sizes["seed"]
    over = "1 seed" if seeds == 1 else f"mean of {seeds} seeds (standard error)"
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


def tell_few_accepted(dataset: xarray.Dataset) -> None:
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
            f"at worst only {lowest.item():.1%} of the samples were published, by {workflow}, seed "
            f"{seed}, generation {generation}: its rejected.jsonl shows some others; longer "
            "training (--epochs) or a larger model helps",
            file=sys.stderr,
        )


def show_texts(plan: Plan, folder: Path, count: int) -> None:
    """Prints the first documents of every generation of the first seed."""
    from jaxcollapse.lm import host

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
