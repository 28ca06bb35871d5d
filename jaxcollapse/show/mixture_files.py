"""The files beside a result of mixtures: its figure, its tables, its cells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jaxcollapse import checks
from jaxcollapse.files import check_output, whole_file
from jaxcollapse.show import mixture_tables

if TYPE_CHECKING:
    import xarray


def outputs(out: Path) -> list[Path]:
    """The files that are written: results, figure, tables, cells.

    Raises:
      ValueError: ``out`` is no .nc file.
    """
    check_output(out, (".nc",), overwrite=True)
    return [out, *(out.with_suffix(suffix) for suffix in (".png", ".txt", ".csv"))]


def write_tables(dataset: xarray.Dataset, out: Path, metric: str | None = None) -> None:
    """Writes the tables (.txt) and a row a cell (.csv) beside ``out``."""
    _, _, text_path, csv_path = outputs(out)
    with whole_file(text_path) as temporary:
        temporary.write_text(mixture_tables.text(dataset, metric))
    mixture_tables.write_csv(dataset, csv_path, metric)


def show_and_draw(dataset: xarray.Dataset, out: Path, metric: str | None = None) -> None:
    """Prints the tables, and writes them, the cells and the figure beside ``out``."""
    checks.require("matplotlib", "plot").use("Agg")
    from jaxcollapse.show.mixture_figures import figure

    mixture_tables.show(dataset, metric)
    write_tables(dataset, out, metric)
    with whole_file(outputs(out)[1]) as temporary:
        figure(dataset, metric).savefig(temporary)
