"""The reference results of the package: quantiles over seeds of the paper's classical figures.

    python experiments/reference_results.py FOLDER

FOLDER holds the results of ``figure1_gaussian.py``, ``figure2_kde.py`` and
``linear_regression.py``, each run whole. Of each, order statistics at a few generations are written
into the package, for ``jc.reference`` and ``jaxcollapse compare``.
"""

from __future__ import annotations

from pathlib import Path

import tyro

from jaxcollapse.sweeps import references, results

GENERATIONS = (1, 2, 3, 5, 10, 20, 50, 100)
FIGURES = {
    "figure1": ("figure1_gaussian/gaussian.nc", "Figure 1, Gaussians"),
    "figure2": ("figure2_kde/kde.nc", "Figure 2, kernel density estimates"),
    "linear-regression": ("linear_regression/linear_regression.nc", "Linear regression"),
}


def main(folder: tyro.conf.Positional[Path]) -> None:
    """Writes the files.

    Args:
      folder: the folder of the results.
    """
    references.FOLDER.mkdir(exist_ok=True)
    for name, (file, title) in FIGURES.items():
        if not (folder / file).is_file():
            print(f"{name}: left out, there is no {folder / file}")
            continue
        kept = references.summary(results.load(folder / file), GENERATIONS)
        kept.attrs["title"] = title
        path = references.FOLDER / f"{name}.nc"
        how = {v: {"zlib": True, "shuffle": True, "complevel": 9} for v in kept.data_vars}
        kept.to_netcdf(path, engine="h5netcdf", encoding=how)
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    tyro.cli(main)
