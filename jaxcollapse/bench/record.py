"""What a benchmark has found so far, as a file that is whole after every part."""

from __future__ import annotations

import datetime
import json
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxcollapse import checks, inputs, machine
from jaxcollapse.files import whole_file

FORMAT = "jaxcollapse bench 1"
WHAT = "benchmark's file"
PARTS = ("ceilings", "cells", "seeds", "language_models", "against")


class Record:
    """Rows by part, and the file that they are written to."""

    def __init__(self, path: Path | None, settings: dict[str, Any], seconds: float):
        """Nothing found yet.

        Args:
          path: of the file; None for none.
          settings: what was asked for.
          seconds: after which no further thing is begun.
        """
        self.path, self.seconds = path, seconds
        self.start = time.perf_counter()
        self.facts: dict[str, Any] = {
            "format": FORMAT,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            **machine.describe(),
            "precision": getattr(jax.config, "jax_default_matmul_precision", None) or "default",
            "x64": jnp.result_type(float) == jnp.float64,
            # Compile times are of programs that were read back, if there is one.
            "compilation_cache": getattr(jax.config, "jax_compilation_cache_dir", None) or "none",
            "settings": settings,
            "finished": False,
            "seconds": 0.0,
            "left_out": [],
        }
        self.facts |= {part: [] for part in PARTS}

    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.start

    def has_time(self, what: str) -> bool:
        """Whether there is time to begin something; what there is none for is named in the file."""
        if self.elapsed() < self.seconds:
            return True
        self.facts["left_out"].append(what)
        return False

    def write(self, finished: bool = False) -> None:
        """Everything so far, whole."""
        self.facts |= {"finished": finished, "seconds": round(self.elapsed(), 1)}
        if self.path is not None:
            with whole_file(self.path) as temporary:
                temporary.write_text(json.dumps(self.facts, indent=1, allow_nan=False) + "\n")


def read(path: Path) -> dict[str, Any]:
    """What a file of a benchmark says.

    Raises:
      ValueError: it is none.
    """
    remedy = "make one with 'jaxcollapse bench'"
    text = inputs.decoded(inputs.existing(path, WHAT).read_bytes(), str(path), WHAT)
    try:
        facts = inputs.json_of(text)
    except ValueError as error:
        raise checks.refusal(WHAT, "JSON", f"{path} ({error})", remedy) from None
    found = facts.get("format") if isinstance(facts, dict) else None
    if found != FORMAT:
        raise checks.refusal(f"format of {path}", repr(FORMAT), repr(found), remedy)
    return facts
