"""What happens when generative models train on data that earlier models made?

A chain (``make_chain``) is one seed's history as a pure function of a key: a task is fitted to
real data, and each later generation to what earlier ones made, as a workflow says. ``sweep`` maps
chains over seeds and grids and labels the result. ``make_mixture`` is one fit to so many real and
so many synthetic points, and ``mix`` maps it over a grid of both counts.
"""

from __future__ import annotations

import importlib
from typing import Any

from jaxcollapse import machine, theory
from jaxcollapse.chain import Task, make_chain, points_task, seed_keys
from jaxcollapse.mixture import make_mixture
from jaxcollapse.sweeps.chains import sweep
from jaxcollapse.sweeps.mixtures import mix
from jaxcollapse.tasks import categorical, gaussian, kde, linear_regression
from jaxcollapse.workflows import Workflow, accumulate, accumulate_subsample, replace

machine.spare_threads()

__all__ = [
    "Task",
    "Workflow",
    "accumulate",
    "accumulate_subsample",
    "categorical",
    "gaussian",
    "kde",
    "linear_regression",
    "make_chain",
    "make_mixture",
    "mix",
    "points_task",
    "replace",
    "seed_keys",
    "sweep",
    "theory",
]


def __getattr__(name: str) -> Any:
    """``language_model``, imported when it is asked for: it needs the extra ``lm``."""
    if name == "language_model":
        return importlib.import_module("jaxcollapse.lm.language_model")
    raise AttributeError(f"module 'jaxcollapse' has no attribute {name!r}")
