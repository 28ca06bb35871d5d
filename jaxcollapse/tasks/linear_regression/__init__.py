"""Linear regression: weights fitted by least squares, used to label, and fitted again."""

from jaxcollapse.tasks.linear_regression.family import FAMILY, task
from jaxcollapse.tasks.linear_regression.fitting import METRICS, Batch, Truth, evaluate, fit, sample

__all__ = ["FAMILY", "METRICS", "Batch", "Truth", "evaluate", "fit", "sample", "task"]
