"""Linear regression by least squares."""

from jaxcollapse.tasks.linear_regression.family import FAMILY, METRICS, evaluate, fit, sample, task

__all__ = ["FAMILY", "METRICS", "evaluate", "fit", "sample", "task"]
