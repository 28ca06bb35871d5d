"""Where a chain first computes what is not a number."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

from jaxcollapse import checks
from jaxcollapse.chain import Chain
from jaxcollapse.keys import keys_of

if TYPE_CHECKING:
    import xarray

    from jaxcollapse.sweeps.chains import ChainPlan


class Place(NamedTuple):
    """Where a chain that turned non-finite first has NaN.

    Attributes:
      cell: in words.
      seed: of the chain, the first one of its cell that turned non-finite.
      generation: of which a metric is not finite.
      line: ``file:number, in function: source``; empty where no operation alone gives NaN.
      message: what JAX says of the operation, or which metrics are infinite.
    """

    cell: str
    seed: int
    generation: int
    line: str
    message: str

    def __str__(self) -> str:
        """In one line."""
        where = self.line or "no operation that is run alone gives NaN"
        told = f" ({self.message})" if self.message else ""
        return f"{self.cell}: seed {self.seed}, generation {self.generation}: {where}{told}"


def places(plan: ChainPlan, dataset: xarray.Dataset) -> Iterator[Place]:
    """Of each cell that has chains which turned non-finite, where the first of them did.

    Raises:
      ValueError: the result has other cells or seeds than the plan, or not all generations.
    """
    if plan.every > 1:
        raise checks.refusal(
            "result to debug", "every generation", f"every {plan.every}", "leave out --every"
        )
    first = dataset["first_nonfinite_generation"].values
    if first.size != len(plan.cells) * plan.seeds.size:
        raise checks.refusal(
            "result to debug", "the cells and seeds of this command", "others too", "run them alone"
        )
    first = first.reshape(-1, plan.seeds.size)
    for cell, generations in zip(plan.cells, first, strict=True):
        if generations.any():
            seed = int(np.argmax(generations > 0))
            generation = int(generations[seed])
            line, message = located(plan.chain(cell), int(plan.seeds[seed]), generation)
            yield Place(str(cell), int(plan.seeds[seed]), generation, line, message)


def located(chain: Chain, seed: int, generation: int) -> tuple[str, str]:
    """The line and the message of the operation that first gives NaN.

    The generations before run compiled, this one operation by operation.

    Args:
      chain: a chain.
      seed: its seed.
      generation: the first one of which a metric is not finite.
    """
    state = jax.jit(chain.init)(keys_of(np.asarray([seed], np.uint32))[0])
    if generation > 1:
        run = jax.jit(chain.run, static_argnums=1)
        state, _ = run(state, generation - 1)
    try:
        with jax.disable_jit(), jax.debug_nans(True):
            _, metrics = chain.step(state)
    except FloatingPointError as error:
        return _line(error), str(error).splitlines()[0]
    # Infinities are looked for in metrics alone: -inf is the logarithm of what is not there.
    infinite = [name for name, value in metrics.items() if np.isinf(value).any()]
    return "", f"infinite: {', '.join(infinite)}" if infinite else ""


def _line(error: BaseException) -> str:
    """The innermost line that is not JAX's own."""
    of_jax = Path(jax.__file__).parent
    lines = traceback.extract_tb(error.__traceback__)
    ours = [line for line in lines if of_jax not in Path(line.filename).parents]
    return f"{ours[-1].filename}:{ours[-1].lineno}, in {ours[-1].name}: {ours[-1].line}"
