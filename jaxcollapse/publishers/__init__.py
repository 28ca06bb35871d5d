"""Publishers: what stands between a model's sample and the pool, as tasks made of tasks.

They know no task by name, and no workflow. They can be put into one another: temperatures and cut
tails, which are of a model's law, first.
"""

from jaxcollapse.publishers.axes import PUBLISHERS, check_options, offered, offers, serves
from jaxcollapse.publishers.ensembles import ensemble
from jaxcollapse.publishers.selection import curated, resampled, verified
from jaxcollapse.publishers.tempering import tempered, truncated

__all__ = [
    "PUBLISHERS",
    "check_options",
    "curated",
    "ensemble",
    "offered",
    "offers",
    "resampled",
    "serves",
    "tempered",
    "truncated",
    "verified",
]
