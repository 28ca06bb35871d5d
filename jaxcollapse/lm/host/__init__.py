"""Language-model chains driven from the host: of any size, and resumed wherever they were killed.

The same steps, keys and workflows as in a compiled chain, a few steps a call, so that progress can
be told and kept.
"""

from jaxcollapse.lm.host.chain import Progress
from jaxcollapse.lm.host.estimate import Estimate, estimate, estimate_mixing, memory
from jaxcollapse.lm.host.mixtures import Counts, Mixing
from jaxcollapse.lm.host.programs import Programs, programs_of
from jaxcollapse.lm.host.run import CompileClock, chain_folder, claim_folder, point_folder, run

__all__ = [
    "CompileClock",
    "Counts",
    "Estimate",
    "Mixing",
    "Programs",
    "Progress",
    "chain_folder",
    "claim_folder",
    "estimate",
    "estimate_mixing",
    "memory",
    "point_folder",
    "programs_of",
    "run",
]
