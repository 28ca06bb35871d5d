"""Categorical distributions: fitted by frequencies, sampled, and fitted again."""

from jaxcollapse.tasks.categorical.absorption import Absorption, until_absorption
from jaxcollapse.tasks.categorical.family import FAMILY, task
from jaxcollapse.tasks.categorical.fitting import METRICS, Truth, evaluate, fit, sample

__all__ = [
    "FAMILY",
    "METRICS",
    "Absorption",
    "Truth",
    "evaluate",
    "fit",
    "sample",
    "task",
    "until_absorption",
]
