"""Options of tasks, and of ``jaxcollapse run``: a class each, from which its help is made."""

from __future__ import annotations

import abc
import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcollapse import checks


@dataclasses.dataclass(frozen=True)
class TaskOptions(abc.ABC):
    """What a task has, whatever is done with it."""

    @abc.abstractmethod
    def axes(self) -> dict[str, Sequence[Any]]:
        """Grid axes but the number of points, by name."""

    @abc.abstractmethod
    def options(self) -> dict[str, Any]:
        """Options of the task that were given."""


@dataclasses.dataclass(frozen=True)
class Common(TaskOptions):
    """Options of every ``run``."""

    out: Path
    """Results file to write, NetCDF-4 (.nc)."""
    num_samples: tuple[int, ...] = (10, 32, 100, 316, 1000)
    """Points N of each generation."""
    workflow: tuple[str, ...] = ("replace", "accumulate", "accumulate-subsample")
    """Training workflows: replace, accumulate, accumulate-subsample."""
    seeds: str = "100"
    """How many seeds from 0 (100 is 0 to 99), or a range FIRST:END without END (5:8 is 5 6 7)."""
    generations: int = 100
    """Generations; the first is fitted to real data."""
    preset: str = "corrected"
    """corrected: what we recommend. authors: what the published experiments did."""
    pool: str = "auto"
    """statistics: draw only what a fit needs, exact in law. points: draw the points.
    auto: statistics where the workflow allows."""
    metric: tuple[str, ...] = ()
    """Metrics to compute; all by default."""
    subsample_size: int | None = None
    """Points that accumulate-subsample draws; as many as a generation has by default."""
    memory_limit: float | None = None
    """GiB that running chains may take; an eighth of what is free by default."""
    overwrite: bool = False
    """Replace an existing results file."""

    def grid(self) -> dict[str, Sequence[Any]]:
        """All grid axes, by name."""
        return {**self.axes(), "num_samples": self.num_samples}


@dataclasses.dataclass(frozen=True)
class GaussianTask(TaskOptions):
    """What a Gaussian has."""

    dim: tuple[int, ...] = (1, 3, 10, 31, 100)
    """Dimensions D."""
    ddof: float | None = None
    """The fitted covariance is the scatter over N - ddof; both presets use 0."""
    mean: Path | None = None
    """Real mean, a .npy or .csv file of D numbers; 0 by default. No metric depends on it."""
    cov: Path | None = None
    """Real covariance, a .npy or .csv file of D x D (or D) numbers; the identity by default."""

    def axes(self) -> dict[str, Sequence[Any]]:
        """Grid axes but the number of points, by name."""
        return {"dim": self.dim}

    def options(self) -> dict[str, Any]:
        """Options of the task that were given."""
        arrays = {"mean": self.mean, "cov": self.cov}
        found = {name: _array(path) for name, path in arrays.items() if path is not None}
        return found | given(self, "ddof")


@dataclasses.dataclass(frozen=True)
class KDETask(TaskOptions):
    """What a kernel density estimate has."""

    dataset: tuple[str, ...] = ("blobs", "circles", "moons", "swiss-roll")
    """Real data: blobs, circles, moons, swiss-roll."""
    bandwidth: tuple[str, ...] = ("0.1", "0.5", "1.0")
    """Bandwidths: numbers, scott, silverman, or schedules in the generation t: 0.5*t^-0.25."""
    kernel: str | None = None
    """gaussian (default) or tophat."""
    num_test: int | None = None
    """Real test points M; 500 by default."""
    num_clusters: int | None = None
    """Clusters of blobs; 3 by default."""
    blob_dim: int | None = None
    """Dimensions of blobs; 2 by default."""
    test_centres: str | None = None
    """Test points of blobs: shared (corrected) or redrawn (authors) centres of the clusters."""
    data: Path | None = None
    """Real data in place of a named data set: a .npy or .csv file (no header), a row a point.
    Each seed's training and test points are distinct rows, so it needs N + M of them."""

    def axes(self) -> dict[str, Sequence[Any]]:
        """Grid axes but the number of points, by name."""
        dataset = self.dataset if self.data is None else (self.data.stem,)
        if self.data is not None and self.dataset != type(self).dataset:
            raise checks.refusal("--data", "no --dataset beside it", "both", "leave one out")
        bandwidth = [_number_or_name(value) for value in self.bandwidth]
        return {"dataset": dataset, "bandwidth": bandwidth}

    def options(self) -> dict[str, Any]:
        """Options of the task that were given."""
        names = ("kernel", "num_test", "num_clusters", "blob_dim", "test_centres")
        found = {"data": _array(self.data)} if self.data is not None else {}
        return found | given(self, *names)


@dataclasses.dataclass(frozen=True)
class LinearRegressionTask(TaskOptions):
    """What a linear regression has."""

    dim: tuple[int, ...] = (1, 3, 10, 32, 100)
    """Dimensions D."""
    noise_variance: tuple[float, ...] = (0.1, 1.0, 10.0)
    """Variances of the noise in the targets."""
    design: str | None = None
    """fixed: the inputs of the first generation serve all (default). fresh: each has its own."""
    num_test: int | None = None
    """Test inputs M; 1000 by default."""

    def axes(self) -> dict[str, Sequence[Any]]:
        """Grid axes but the number of points, by name."""
        return {"dim": self.dim, "noise_variance": self.noise_variance}

    def options(self) -> dict[str, Any]:
        """Options of the task that were given."""
        return given(self, "design", "num_test")


@dataclasses.dataclass(frozen=True)
class CategoricalTask(TaskOptions):
    """What a categorical distribution has."""

    num_outcomes: tuple[int, ...] = (10, 100, 1000)
    """Outcomes K."""
    exponent: float | None = None
    """Real probabilities are proportional to k^-exponent: 0 (default) is uniform, 1 Zipf's law."""

    def axes(self) -> dict[str, Sequence[Any]]:
        """Grid axes but the number of points, by name."""
        return {"num_outcomes": self.num_outcomes}

    def options(self) -> dict[str, Any]:
        """Options of the task that were given."""
        return given(self, "exponent")


@dataclasses.dataclass(frozen=True)
class Gaussian(GaussianTask, Common):
    """Multivariate Gaussians: mean and covariance fitted, sampled, and fitted again."""


@dataclasses.dataclass(frozen=True)
class KDE(KDETask, Common):
    """Kernel density estimates of points: fitted, sampled, and fitted again."""


@dataclasses.dataclass(frozen=True)
class LinearRegression(LinearRegressionTask, Common):
    """Linear regression: weights fitted by least squares, used to label, and fitted again."""


@dataclasses.dataclass(frozen=True)
class Categorical(CategoricalTask, Common):
    """Categorical distributions: fitted by frequencies, sampled, and fitted again."""

    num_samples: tuple[int, ...] = (10, 100, 1000)
    """Points N of each generation."""


TASKS: dict[str, type[Common]] = {
    "gaussian": Gaussian,
    "kde": KDE,
    "linear-regression": LinearRegression,
    "categorical": Categorical,
}


def given(options: TaskOptions, *names: str) -> dict[str, Any]:
    """Those options that were given."""
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _number_or_name(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _array(path: Path) -> np.ndarray:
    if not path.is_file():
        raise checks.refusal("array file", "a file that exists", str(path), "check the path")
    try:
        if path.suffix == ".npy":
            return np.load(path).astype(np.float64)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a file without a number
            return np.loadtxt(path, delimiter=",", ndmin=1)
    except (ValueError, OSError, EOFError, UserWarning) as error:
        raise checks.refusal(
            "array file",
            ".npy, or .csv of numbers alone, without a header line",
            f"{path} ({error})",
            "save it again",
        ) from None
