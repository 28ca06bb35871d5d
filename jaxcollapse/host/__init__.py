"""Language-model chains driven from the host: of any size, and resumed wherever they were killed.

The same steps, keys and workflows as in a compiled chain, a few steps a call, so that progress can
be told and kept.
"""

from jaxcollapse.host.chain import Progress
from jaxcollapse.host.estimate import Estimate, estimate, memory
from jaxcollapse.host.programs import programs_of
from jaxcollapse.host.run import chain_folder, claim_folder, run

__all__ = [
    "Estimate",
    "Progress",
    "chain_folder",
    "claim_folder",
    "estimate",
    "memory",
    "programs_of",
    "run",
]
