"""Language-model chains driven from the host: of any size, and resumed wherever they were killed.

The same steps, keys and workflows as in a compiled chain, a few steps a call, so that progress can
be told and kept.
"""

from jaxcollapse.lm.host.devices import use_devices
from jaxcollapse.lm.host.estimates import Estimate, estimate, estimate_mixtures, memory
from jaxcollapse.lm.host.mixtures import Mixtures
from jaxcollapse.lm.host.programs import Programs, programs_of
from jaxcollapse.lm.host.progress import Progress
from jaxcollapse.lm.host.run_folder import (
    chain_folder,
    claim_folder,
    point_folder,
    samples,
    writing,
)
from jaxcollapse.lm.host.runner import check_synthetic, run, run_mixtures

__all__ = [
    "Estimate",
    "Mixtures",
    "Programs",
    "Progress",
    "chain_folder",
    "check_synthetic",
    "claim_folder",
    "estimate",
    "estimate_mixtures",
    "memory",
    "point_folder",
    "programs_of",
    "run",
    "run_mixtures",
    "samples",
    "use_devices",
    "writing",
]
