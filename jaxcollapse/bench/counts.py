"""How many operations a program asks for, by kind, read off its jaxpr.

XLA's own reckoning (``cost_analysis``) counts the body of a loop once, however often it runs; a
chain is one loop. Here a ``scan`` counts as often as it is long. What nobody knows before it runs,
a ``while`` of a rejection sampler, counts once: counts are of at least so many operations.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import jax
import jax.extend.core
import numpy as np

# What costs many instructions an element. A normal draw is an inverse error function of its bits.
EXPONENTIALS = frozenset(
    ("exp", "exp2", "expm1", "log", "log1p", "pow", "tanh", "logistic", "sin", "cos", "erf", "erfc")
)
NORMALS = "erf_inv"
DECOMPOSITIONS = {
    "cholesky": "cholesky",
    "qr": "qr",
    "geqrf": "qr",
    "svd": "singular values",
}
# What reads and writes arrays that cannot be fused away.
MOVING = frozenset(("dot_general", "sort", "gather", "scatter", "scatter-add", "cumsum"))
PARTS = (jax.extend.core.ClosedJaxpr, jax.extend.core.Jaxpr)


def counted(jaxpr: Any) -> Counter[str]:
    """Operations of a whole program on all devices, by kind.

    Kinds are ``product DTYPE PRECISION`` (floating-point operations, two for each multiplication),
    ``exponential`` and ``normal`` (elements), ``NAME D`` for decompositions of D x D matrices,
    ``memory`` (bytes that products, sorts, gathers, scatters and decompositions read and write) and
    ``step`` (times that a loop goes round).
    """
    found: Counter[str] = Counter()
    _count(jaxpr, 1, found)
    return found


def flops(counts: Counter[str]) -> float:
    """Floating-point operations of all products."""
    return float(sum(count for kind, count in counts.items() if kind.startswith("product ")))


def _count(jaxpr: Any, times: int, found: Counter[str]) -> None:
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:  # newer versions of JAX have one kind
        name = equation.primitive.name
        if name == "scan":
            length = equation.params["length"]
            found["step"] += times * length
            _count(equation.params["jaxpr"], times * length, found)
        elif name == "while":
            found["step"] += times
            _count(equation.params["body_jaxpr"], times, found)
        elif name == "cond":
            found.update(_dearest(equation.params["branches"], times))
        else:
            devices = equation.params["mesh"].size if name == "shard_map" else 1
            parts = jax.tree.leaves(
                tuple(equation.params.values()), is_leaf=lambda value: isinstance(value, PARTS)
            )
            inside = [part for part in parts if isinstance(part, PARTS)]
            for part in inside[:1]:  # others are derivatives, which nobody asks for here
                _count(part, times * devices, found)
            if not inside:
                _count_one(equation, times, found)


def _dearest(branches: Any, times: int) -> Counter[str]:
    """The operations of the branch that has most of them."""
    each = []
    for branch in branches:
        found: Counter[str] = Counter()
        _count(branch, times, found)
        each.append(found)
    return max(each, key=lambda counter: counter.total())


def _count_one(equation: Any, times: int, found: Counter[str]) -> None:
    name = equation.primitive.name
    shapes = [variable.aval.shape for variable in equation.invars]
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        depth = math.prod(shapes[0][axis] for axis in contracted)
        size = math.prod(equation.outvars[0].aval.shape)
        found[f"product {_precision(equation)}"] += times * 2 * size * depth
    elif name in EXPONENTIALS or name == NORMALS:
        kind = "normal" if name == NORMALS else "exponential"
        found[kind] += times * math.prod(shapes[0])
    elif name in DECOMPOSITIONS and len(shapes[0]) >= 2:
        size = min(shapes[0][-2:])
        found[f"{DECOMPOSITIONS[name]} {size}"] += times * math.prod(shapes[0][:-2])
    if name in MOVING or name in DECOMPOSITIONS:
        found["memory"] += times * _moved(equation)


def _moved(equation: Any) -> int:
    """Bytes that an operation reads and writes; of an array that it picks from, what it picks."""
    sizes = [_bytes(variable.aval) for variable in equation.invars]
    written = sum(_bytes(variable.aval) for variable in equation.outvars)
    if equation.primitive.name == "gather":
        return sum(sizes[1:]) + 2 * written
    if equation.primitive.name.startswith("scatter"):
        return sum(sizes[1:]) + 2 * sizes[-1]
    return sum(sizes) + written


def _precision(equation: Any) -> str:
    """``float32 highest``: the type of the operands and how exactly they are multiplied."""
    dtype = np.dtype(equation.invars[0].aval.dtype).name
    asked = equation.params.get("precision")
    asked = asked[0] if isinstance(asked, tuple) else asked
    if dtype != "float32":
        return dtype
    return f"float32 {'default' if asked is None else str(getattr(asked, 'name', asked)).lower()}"


def _bytes(aval: Any) -> int:
    try:
        return math.prod(aval.shape) * np.dtype(aval.dtype).itemsize
    except TypeError:  # keys
        return 0
