"""Kernel density estimates of points: fitted, sampled, and fitted again."""

from jaxcollapse.tasks.kde.family import FAMILY, task
from jaxcollapse.tasks.kde.fitting import KDE, METRICS, Truth, evaluate, fit, log_density, sample

__all__ = ["FAMILY", "KDE", "METRICS", "Truth", "evaluate", "fit", "log_density", "sample", "task"]
