"""Gaussians: mean and covariance."""

from jaxcollapse.tasks.gaussian.affine import Gaussian
from jaxcollapse.tasks.gaussian.family import (
    FAMILY,
    METRICS,
    evaluate,
    fit,
    fit_points,
    sample,
    task,
)

__all__ = ["FAMILY", "METRICS", "Gaussian", "evaluate", "fit", "fit_points", "sample", "task"]
