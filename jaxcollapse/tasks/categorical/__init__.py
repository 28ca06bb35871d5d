"""Categorical distributions, fitted by frequencies."""

from jaxcollapse.tasks.categorical.family import FAMILY, METRICS, evaluate, fit, sample, task

__all__ = ["FAMILY", "METRICS", "evaluate", "fit", "sample", "task"]
