"""Closed forms that the simulator must meet: a file a task, which lists the names found here.

They are looked up by a workflow's record: anything with its fields ``keep``, ``real`` and ``draw``.
"""
# ruff: noqa: F403

from jaxcollapse.theory.categorical import *
from jaxcollapse.theory.gaussian import *
from jaxcollapse.theory.kde import *
from jaxcollapse.theory.linear_regression import *
from jaxcollapse.theory.mixtures import *
from jaxcollapse.theory.publishers import *
from jaxcollapse.theory.real_data import *
from jaxcollapse.theory.tails import *
from jaxcollapse.theory.workflows import *
