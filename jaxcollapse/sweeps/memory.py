"""What a compiled program takes of a device's memory; refusals where that is too much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax

from jaxcollapse import checks

if TYPE_CHECKING:
    from jaxcollapse.sweeps.plan import Cell, Plan
    from jaxcollapse.sweeps.programs import Program

MIB = 2**20


def needed(compiled: Any) -> dict[str, float]:
    """Bytes that one call takes on a device, by what they are for, as XLA's analysis has them.

    Nothing where a device does not tell.
    """
    analysis = compiled.memory_analysis()
    if analysis is None:
        return {}
    return {
        "arguments": analysis.argument_size_in_bytes,
        "results": analysis.output_size_in_bytes,
        "what lies between": analysis.temp_size_in_bytes,
    }


def of_a_seed(program: Program) -> float:
    """Bytes that a seed of a call takes on a device; 0 where a device does not tell."""
    found = needed(program.compiled)
    return (sum(found.values()) - found.get("arguments", 0)) / program.chunk


def check_fits(plan: Plan, cell: Cell, program: Program) -> None:
    """Refuses a program of which one call takes more memory than it may.

    Raises:
      ValueError: with what it takes for what.
    """
    found = needed(program.compiled)
    if sum(found.values()) <= plan.memory.most:
        return
    parts = " + ".join(f"{size / MIB:,.0f} MiB of {name}" for name, size in found.items())
    of = "one seed" if program.chunk == 1 else f"{program.chunk} seeds"
    raise checks.refusal(
        f"memory of {cell}",
        f"at most {plan.memory.most / MIB:,.0f} MiB on a device",
        f"{sum(found.values()) / MIB:,.0f} MiB for {of} ({parts})",
        "raise the memory limit, or take fewer samples, dimensions, generations or metrics",
    )


def is_exhausted(error: jax.errors.JaxRuntimeError) -> bool:
    """Whether a program failed since a device had no memory left."""
    return "RESOURCE_EXHAUSTED" in str(error)
