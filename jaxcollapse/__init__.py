"""What happens when generative models train on data that earlier models made?

A chain (``make_chain``) is one seed's history as a pure function of a key: a task is fitted to
real data, and each later generation to what earlier ones made, as a workflow says. ``sweep`` maps
chains over seeds and grids and labels the result. ``make_mixture`` is one fit to so many real and
so many synthetic points, and ``mix`` maps it over a grid of both counts. Tasks and workflows of
one's own become known by name with ``register``.
"""

from __future__ import annotations

import importlib
from typing import Any

from jaxcollapse import machine, point_metrics, publishers, theory
from jaxcollapse.chain import make_chain
from jaxcollapse.families import MixtureFacts, TaskFamily
from jaxcollapse.held_out import measured
from jaxcollapse.keys import seed_keys
from jaxcollapse.metrics import Metric
from jaxcollapse.mixture import make_mixture
from jaxcollapse.optimum import best
from jaxcollapse.parameters import Axis, Option, declared
from jaxcollapse.publishers import (
    curated,
    ensemble,
    resampled,
    tempered,
    truncated,
    verified,
)
from jaxcollapse.registry import register
from jaxcollapse.sweeps.chains import sweep
from jaxcollapse.sweeps.merging import merge
from jaxcollapse.sweeps.mixtures import mix
from jaxcollapse.sweeps.profiles import profile
from jaxcollapse.sweeps.references import compare, reference
from jaxcollapse.sweeps.results import load, save
from jaxcollapse.task import Task, modify, points_task
from jaxcollapse.tasks import categorical, gaussian, kde, linear_regression
from jaxcollapse.workflows import (
    Workflow,
    accumulate,
    accumulate_subsample,
    fixed_real,
    fresh_real,
    replace,
    window,
)

machine.spare_threads()

__all__ = [
    "Axis",
    "Metric",
    "MixtureFacts",
    "Option",
    "Task",
    "TaskFamily",
    "Workflow",
    "accumulate",
    "accumulate_subsample",
    "best",
    "categorical",
    "compare",
    "curated",
    "declared",
    "ensemble",
    "fixed_real",
    "fresh_real",
    "gaussian",
    "kde",
    "linear_regression",
    "load",
    "make_chain",
    "make_mixture",
    "measured",
    "merge",
    "mix",
    "modify",
    "point_metrics",
    "points_task",
    "profile",
    "publishers",
    "reference",
    "register",
    "replace",
    "resampled",
    "save",
    "seed_keys",
    "sweep",
    "tempered",
    "theory",
    "truncated",
    "verified",
    "window",
]

# Imported when they are asked for: the first two need the extra ``lm``.
_LATER = {
    "language_model": "jaxcollapse.lm.language_model",
    "fine_tuning": "jaxcollapse.lm.fine_tuning",
    "testing": "jaxcollapse.testing",
}


def __getattr__(name: str) -> Any:
    """Modules that are imported when they are asked for, and the version."""
    if name == "__version__":
        return machine.version("jaxcollapse")
    if name in _LATER:
        return importlib.import_module(_LATER[name])
    raise AttributeError(f"module 'jaxcollapse' has no attribute {name!r}")
