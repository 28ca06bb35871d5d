"""Gaussians: mean and covariance fitted, sampled, and fitted again."""

from jaxcollapse.tasks.gaussian.affine import Gaussian, from_cov
from jaxcollapse.tasks.gaussian.family import FAMILY, task
from jaxcollapse.tasks.gaussian.fitting import METRICS, Truth, evaluate, fit, fit_points, sample

__all__ = [
    "FAMILY",
    "METRICS",
    "Gaussian",
    "Truth",
    "evaluate",
    "fit",
    "fit_points",
    "from_cov",
    "sample",
    "task",
]
