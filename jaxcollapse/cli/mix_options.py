"""Options of ``jaxcollapse mix``, a class a task, from which its help is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxcollapse.cli import options
from jaxcollapse.cli.options import TaskOptions


@dataclasses.dataclass(frozen=True)
class Mix(TaskOptions):
    """Options of every ``mix``."""

    out: Path
    """Results file to write, NetCDF-4 (.nc); the figure (.png), tables (.txt) and cells (.csv) are
    written beside it."""
    real: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    """Numbers of real points in a mixture, a random subset for each seed."""
    synthetic: tuple[int, ...] = (0, 16, 64, 256, 1024, 4096)
    """Numbers of synthetic points in a mixture."""
    num_real: int | None = None
    """Real points that there are; the largest of --real by default."""
    source: str = "all"
    """all: synthetic points are of a model of all real points, as published. subset: of a model of
    the real points that the mixture holds, so that they bring nothing from others."""
    seeds: str = "1000"
    """How many seeds from 0 (100 is 0 to 99), or a range FIRST:END without END (5:8 is 5 6 7)."""
    preset: str = "corrected"
    """corrected: what we recommend. authors: what the published experiments did."""
    metric: str | None = None
    """The loss that tables and figure are of; the task's own by default."""
    memory_limit: float | None = None
    """GiB that running seeds may take; an eighth of what is free by default."""
    overwrite: bool = False
    """Replace existing files."""


@dataclasses.dataclass(frozen=True)
class Gaussian(options.GaussianTask, Mix):
    """Multivariate Gaussians fitted to mixtures; the loss is KL(real || fitted)."""

    dim: tuple[int, ...] = (1, 10)
    """Dimensions D; a mixture needs more points than these."""


@dataclasses.dataclass(frozen=True)
class KDE(options.KDETask, Mix):
    """Kernel density estimates of mixtures; the loss is the NLL of real test points."""

    real: tuple[int, ...] = (8, 16, 32, 64, 128)
    """Numbers of real points in a mixture, a random subset for each seed."""
    synthetic: tuple[int, ...] = (0, 8, 32, 128, 512)
    """Numbers of synthetic points in a mixture."""
    dataset: tuple[str, ...] = ("moons",)
    """Real data: blobs, circles, moons, swiss-roll."""
    bandwidth: tuple[str, ...] = ("0.3",)
    """Bandwidths: numbers, scott, silverman, or schedules in the generation t: 0.5*t^-0.25."""


@dataclasses.dataclass(frozen=True)
class LinearRegression(options.LinearRegressionTask, Mix):
    """Linear regressions of mixtures; the loss is the error on noiseless test targets."""

    dim: tuple[int, ...] = (1, 10)
    """Dimensions D."""
    noise_variance: tuple[float, ...] = (1.0,)
    """Variances of the noise in the targets."""
    design: str | None = None
    """fresh: each example has inputs of its own (default). fixed: synthetic examples have the
    inputs of the real ones."""


@dataclasses.dataclass(frozen=True)
class Categorical(options.CategoricalTask, Mix):
    """Categorical distributions of mixtures; the loss is the squared error of probabilities."""

    num_outcomes: tuple[int, ...] = (10, 1000)
    """Outcomes K."""


@dataclasses.dataclass(frozen=True)
class LanguageModel(Mix):
    """Language models trained from fresh weights on mixtures of the embedded stories."""

    real: tuple[int, ...] = (44, 175, 700)
    """Numbers of real stories in a mixture, a random subset for each seed."""
    synthetic: tuple[int, ...] = (0, 175, 700, 1400)
    """Numbers of synthetic stories in a mixture."""
    seeds: str = "4"
    """How many seeds from 0 (4 is 0 to 3), or a range FIRST:END without END (5:8 is 5 6 7)."""
    model: tuple[str, ...] = ("tiny-llama",)
    """tiny-gpt2, tiny-llama, tiny-gemma2, or a larger one of lm pretrain."""
    epochs: int | None = None
    """Passes over a mixture; 3 for tiny models, else 1."""
    steps: int | None = None
    """Instead of epochs, so many steps."""
    batch_size: int | None = None
    """Rows of a step; 4 for tiny models, else 32."""
    learning_rate: float | None = None
    """At its highest; 0.01 for tiny models, else 0.001."""

    def axes(self) -> dict[str, Sequence[Any]]:
        """Grid axes but the number of stories, by name."""
        return {"model": self.model}

    def options(self) -> dict[str, Any]:
        """Options of the task that were given."""
        return options.given(self, "epochs", "steps", "batch_size", "learning_rate")


MIXES: dict[str, type[Mix]] = {
    "gaussian": Gaussian,
    "kde": KDE,
    "linear-regression": LinearRegression,
    "categorical": Categorical,
    "language-model": LanguageModel,
}
