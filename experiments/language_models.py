"""What the experiments on language models share: real data, and chains driven from the host."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from jaxcollapse import machine
from jaxcollapse.sweeps import results

CORPORA: dict[str, Any] = {}


def real_data():
    """The folder with real texts, which do not come with the project, or None."""
    shared = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    path = Path(os.environ.get("JAXCOLLAPSE_DATA", shared))
    return path if path.is_dir() else None


def tell(line):
    """Tells a person what is done first, and what is left out."""
    print(line, file=sys.stderr)


def keep(plan, corpus):
    """The plan, whose corpus is kept for its chains."""
    CORPORA[plan.options["data"].digest] = corpus
    return plan


def run(plan, out, overwrite):
    """Chains on the host, resumed where they were interrupted; their folder is beside ``out``."""
    from jaxcollapse.lm import host

    machine.enable_compilation_cache()
    corpus = CORPORA[plan.options["data"].digest]
    dataset = host.run(plan, corpus, out.with_suffix(""), progress=True)
    results.save(dataset, out, overwrite)
    return dataset
