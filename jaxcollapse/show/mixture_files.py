"""What ``jaxcollapse mix`` does: a results file, with tables and a figure beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from jaxcollapse import checks
from jaxcollapse.show import mixture_tables
from jaxcollapse.sweeps import results
from jaxcollapse.sweeps.mixtures import MixPlan, plan, run

if TYPE_CHECKING:
    import xarray

__all__ = ["outputs", "plan", "run_and_save", "show_and_draw", "write_tables"]


def outputs(out: Path) -> list[Path]:
    """The files that are written: results, figure, tables, cells.

    Raises:
      ValueError: ``out`` is no .nc file.
    """
    results.check_output(out, (".nc",), overwrite=True)
    return [out, *(out.with_suffix(suffix) for suffix in (".png", ".txt", ".csv"))]


def run_and_save(
    plan: MixPlan,
    out: Path,
    overwrite: bool = False,
    update: Callable[..., None] = lambda done, description, total: None,
) -> xarray.Dataset:
    """Runs a grid of mixtures and writes it to ``out``.

    Finished points are kept in ``out`` with ``.partial`` added, from which the same grid goes on
    if it is interrupted.

    Args:
      plan: from ``plan``.
      out: the results file.
      overwrite: whether an existing file is replaced.
      update: ``update(done, description, total)``, called after every chunk of seeds.
    """
    partial = out.with_name(f"{out.name}.partial")
    dataset = run(plan, partial, lambda state: update(state.done, state.cell, state.total))
    results.save(dataset, out, overwrite)
    results.CellStore(partial, plan).remove()
    return dataset


def write_tables(dataset: xarray.Dataset, out: Path, metric: str | None = None) -> None:
    """Writes the tables (.txt) and a row a cell (.csv) beside ``out``."""
    _, _, text_path, csv_path = outputs(out)
    with results.whole_file(text_path) as temporary:
        temporary.write_text(mixture_tables.text(dataset, metric))
    mixture_tables.write_csv(dataset, csv_path, metric)


def show_and_draw(dataset: xarray.Dataset, out: Path, metric: str | None = None) -> None:
    """Prints the tables, and writes them, the cells and the figure beside ``out``."""
    checks.require("matplotlib", "plot").use("Agg")
    from jaxcollapse.show.mixture_figures import figure

    mixture_tables.show(dataset, metric)
    write_tables(dataset, out, metric)
    with results.whole_file(outputs(out)[1]) as temporary:
        figure(dataset, metric).savefig(temporary)
