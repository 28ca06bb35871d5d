"""Kernel density estimates."""

from jaxcollapse.tasks.kde.family import (
    FAMILY,
    KDE,
    METRICS,
    evaluate,
    fit,
    log_density,
    sample,
    task,
)

__all__ = ["FAMILY", "KDE", "METRICS", "evaluate", "fit", "log_density", "sample", "task"]
