"""What commands and experiments show of language models: losses, a figure, some of their texts."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxcollapse import checks
from jaxcollapse.files import whole_file

if TYPE_CHECKING:
    import xarray

FEW_ACCEPTED = 0.1  # of samples; below it a run says so
LONGEST_LINE = 240  # characters of a text
LONGEST_TEXT = 600  # of one on a page, which has more room


def show_result(dataset: xarray.Dataset, out: Path) -> None:
    """A figure of the loss and one more metric in a run's folder, and a table of the loss."""
    from jaxcollapse.show import figures

    loss = loss_of(dataset)
    beside = "acceptance_rate" if "acceptance_rate" in dataset else "distinct_2"
    figure = figures.grid(dataset, [loss, beside], hue="model")
    with whole_file(out / "figure.png") as temporary:
        figure.savefig(temporary)
    _show_losses(dataset, loss)
    warning = few_accepted(dataset)
    if warning:
        print(warning, file=sys.stderr)
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
    console = checks.require("rich.console", "sweep").Console(highlight=False, markup=False)
    console.width = max(console.width, 60 + 16 * dataset.sizes["generation"])
    console.print(table)


def few_accepted(dataset: xarray.Dataset) -> str:
    """Which model mostly writes what the filter rejects, as a sentence; "" if none does."""
    if "acceptance_rate" not in dataset:
        return ""
    rates = dataset["acceptance_rate"]
    lowest = rates.isel(rates.argmin(...))
    if lowest >= FEW_ACCEPTED:
        return ""
    workflow, seed, generation = (
        lowest[name].item() for name in ("workflow", "seed", "generation")
    )
    return (
        f"at worst only {lowest.item():.1%} of the samples were published, by {workflow}, seed "
        f"{seed}, generation {generation}: its rejected.jsonl shows some others; longer "
        "training (--epochs) or a larger model helps"
    )


def show_texts(samples: Iterable[tuple[str, Path]], count: int) -> None:
    """Prints the first documents of files of JSON lines.

    Args:
      samples: what to call each file, and where it is.
      count: how many documents of each.
    """
    console = checks.require("rich.console", "sweep").Console(highlight=False, markup=False)
    for name, path in samples:
        console.print(f"\n{name}", soft_wrap=True)
        for document in documents(path, count, LONGEST_LINE):
            console.print(f"  - {document}")
    console.print()


def documents(path: Path, count: int, longest: int) -> list[str]:
    """The first documents of a file of JSON lines, each a line of at most ``longest`` letters."""
    found = []
    with path.open(encoding="utf-8") as lines:
        for _, line in zip(range(count), lines, strict=False):
            text = " ".join(json.loads(line)["text"].split())
            found.append(text if len(text) <= longest else text[: longest - 3] + "...")
    return found


class Text(NamedTuple):
    """What a model wrote.

    Attributes:
      chain: which chain it is of, in words.
      generation: of that chain.
      documents: some of what it wrote.
    """

    chain: str
    generation: int
    documents: Sequence[str]


def texts_of(folder: Path, dataset: xarray.Dataset, count: int) -> Iterator[Text]:
    """The first ``count`` documents of each generation of a result's chains of its first seed.

    Args:
      folder: of the run; of one that is none there are no texts.
      dataset: the result.
      count: how many documents of each generation.
    """
    if not {"model", "workflow", "num_samples"} <= set(dataset.dims) or not count:
        return
    for model, size, workflow in itertools.product(
        *(dataset[name].values for name in ("model", "num_samples", "workflow"))
    ):
        spelled = str(workflow).replace(":", "-").replace("=", "-")
        for name in dict.fromkeys([spelled, spelled.replace("-draw", "")]):
            chain = folder / f"{model}-{size}" / name / f"seed-{dataset['seed'].values[0]}"
            for generation in dataset["generation"].values:
                path = chain / f"generation-{generation:02d}" / "samples.jsonl"
                if path.is_file():
                    said = f"{workflow}, {model}, {size} documents"
                    yield Text(said, int(generation), documents(path, count, LONGEST_TEXT))
