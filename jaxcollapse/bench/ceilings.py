"""What a device can do at all: the limits that the speed of chains is held against.

Each is measured where it is at its best, on arrays that grow until a run is long enough to time.
All are of one device.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcollapse import draws, machine
from jaxcollapse.bench.stages import staged, steady
from jaxcollapse.keys import seed_key

LONG_ENOUGH = 0.01  # seconds of a run, beside which calling it takes nothing
DIMENSIONS = (3, 10, 31, 100)
EXPONENTIALS = 16  # an element, so that memory is not what binds
PASSES = 10
STEPS = 10_000
EACH = "us each"


class Ceiling(NamedTuple):
    """A limit of one device.

    Attributes:
      kind: what it is of, as ``counts`` calls it; other names are told and bind nothing.
      value: in its unit.
      unit: operations, elements or bytes in a second, or ``EACH``, microseconds.
      compile_seconds: that making its program took.
    """

    kind: str
    value: float
    unit: str
    compile_seconds: float


def measured(quick: bool = False) -> Iterator[tuple[str, Callable[[], Ceiling]]]:
    """The name of each limit and a function that measures it, in a second or two.

    Args:
      quick: smaller arrays and fewer limits, for a look.
    """
    sizes = (2048,) if quick else (2048, 4096, 8192)
    precisions = ("default", "highest") if quick else ("default", "high", "highest")
    for dtype, precision in (("bfloat16", None), *(("float32", each) for each in precisions)):
        kind = f"product {dtype} {precision or ''}".strip()
        yield kind, partial(_product, kind, dtype, precision, sizes)
    for size, batch in ((100, 1000), (10, 100_000)):
        kind = f"{size} x {size} products, float32 highest"
        yield kind, partial(_batched, kind, size, batch // (10 if quick else 1))
    elements = [2**20] if quick else [2**20, 2**24, 2**27]
    for kind, function in (("normal", _normals), ("exponential", _exponentials)):
        yield kind, partial(_best, kind, "/s", _fitting(elements, 8), function)
    # Beyond what a cache holds.
    beyond = [2**24] if quick else [2**24, 2**26, 2**28]
    yield "memory", partial(_best, "memory", "B/s", _fitting(beyond, 8), _copied)
    yield "step", _steps
    for size in DIMENSIONS[1::2] if quick else DIMENSIONS:
        for name in ("cholesky", "qr", "singular values"):
            batch = (100 if quick else 1000) // (5 if size == 100 else 1)
            kind = f"{name} {size}"
            yield kind, partial(_decomposition, kind, name, size, batch)


def _best(
    kind: str, unit: str, sizes: Sequence[int], make: Callable[[int], tuple[Any, Any, float]]
) -> Ceiling:
    """The highest rate seen at some sizes; larger ones only where a run is too short to time.

    Args:
      kind: its name.
      unit: of what ``make`` counts, in a second.
      sizes: rising.
      make: ``make(size)``, a function, its argument, and how much it does.
    """
    rate = compile_seconds = 0.0
    for size in sizes:
        function, argument, amount = make(size)
        made = staged(function, argument)
        seconds = min(steady(partial(made.program, argument), enough=0.3))
        compile_seconds += made.seconds["compile"]
        rate = max(rate, amount / seconds)
        if seconds > LONG_ENOUGH:
            break
    return Ceiling(kind, rate, unit, compile_seconds)


def _fitting(sizes: Iterable[int], bytes_each: int) -> list[int]:
    """The sizes whose arrays take a small part of the memory, the smallest in any case."""
    first, *more = sizes
    free = machine.free_memory() / jax.device_count()
    return [first, *(n for n in more if n * bytes_each < free / 8)]


def _filled(*shape: int) -> jax.Array:
    """Normal numbers that repeat, so that making them takes no time; no two matrices are alike."""
    some = np.random.default_rng(0).standard_normal(2**16 + 1, dtype=np.float32)
    return jnp.asarray(np.resize(some, shape))


def _product(kind: str, dtype: str, precision: str | None, sizes: Sequence[int]) -> Ceiling:
    def make(n):
        a = _filled(n, n).astype(dtype)
        return lambda a: jnp.matmul(a, a, precision=precision), a, 2.0 * n**3

    return _best(kind, "FLOP/s", sizes, make)


def _batched(kind: str, size: int, batch: int) -> Ceiling:
    def make(count):
        def function(a):
            # Several: memory that is new to a process is slow at first.
            product = partial(jnp.matmul, a, precision="highest")
            return jax.lax.fori_loop(0, PASSES, lambda _, b: product(b), a)

        a = _filled(count, size, size) / np.float32(2 * size**0.5)
        return function, a, 2.0 * count * size**3 * PASSES

    return _best(kind, "FLOP/s", _fitting((batch, 10 * batch), 8 * size**2), make)


def _normals(size: int) -> tuple[Any, Any, float]:
    return lambda key: draws.normal(key, (size,)), seed_key(0), float(size)


def _exponentials(size: int) -> tuple[Any, Any, float]:
    def function(x):
        terms = (jnp.exp(x * np.float32(1 + k)) for k in range(EXPONENTIALS))
        return sum(terms, jnp.zeros_like(x))

    x = jnp.linspace(-1.0, 0.0, size, dtype=np.float32)
    return function, x, float(EXPONENTIALS * size)


def _copied(size: int) -> tuple[Any, Any, float]:
    """An array read and written several times: memory that is new to a process is slow at first."""

    def function(x):
        return jax.lax.fori_loop(0, PASSES, lambda _, x: x + np.float32(1), x)

    return function, jnp.zeros(size, np.float32), 8.0 * size * PASSES


def _steps() -> Ceiling:
    """How often a loop goes round in a second that does next to nothing each time."""

    def make(steps):
        def function(x):
            return jax.lax.scan(lambda x, _: (x * 0.999 + 1.0, None), x, length=steps)[0]

        return function, jnp.zeros(100, np.float32), float(steps)

    return _best("step", "/s", (STEPS,), make)


DECOMPOSED: dict[str, Callable[[jax.Array], jax.Array]] = {
    "cholesky": jnp.linalg.cholesky,
    "qr": lambda s: jnp.linalg.qr(s, mode="r"),
    "singular values": lambda s: jnp.linalg.svd(s, compute_uv=False),
}


def _decomposition(kind: str, name: str, size: int, batch: int) -> Ceiling:
    z = _filled(batch, size, 2 * size)
    s = jnp.einsum("bij,bkj->bik", z, z, precision="highest")
    made = staged(DECOMPOSED[name], s)
    seconds = min(steady(partial(made.program, s), enough=0.3))
    return Ceiling(kind, 1e6 * seconds / batch, EACH, made.seconds["compile"])


def said(ceiling: Ceiling) -> str:
    """A limit with its unit, as people say it."""
    for prefix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if ceiling.unit != EACH and ceiling.value >= size:
            return f"{ceiling.value / size:.3g} {prefix}{ceiling.unit}"
    return f"{ceiling.value:.3g} {ceiling.unit}"


# What chains are held against --------------------------------------------------------------------


class Bound(NamedTuple):
    """The limit that comes nearest to explaining how long a program takes.

    Attributes:
      kind: of the limit; ``unknown`` where none is known of what the program does.
      share: of the limit that the program reaches, 1 at most; NaN where it is unknown.
      share_of_all: the same of all limits one after another, as if nothing ran beside another.
    """

    kind: str
    share: float
    share_of_all: float


UNKNOWN = Bound("unknown", math.nan, math.nan)


def bound(counts: Counter[str], ceilings: Iterable[Ceiling], seconds: float, devices: int) -> Bound:
    """Which limit binds a program, and the share of it that the program reaches.

    A limit at which the program would take longer than it did is none for it: what it moves was
    in a cache, say.

    Args:
      counts: its operations, see ``counts``.
      ceilings: of one device.
      seconds: that a run of it takes.
      devices: how many share its work out.
    """
    known = {ceiling.kind: ceiling for ceiling in ceilings}
    needed = {kind: _seconds(kind, count, known) / devices for kind, count in counts.items()}
    grouped: Counter[str] = Counter()
    for kind, least in needed.items():
        name = kind.rpartition(" ")[0] if kind.rpartition(" ")[2].isdecimal() else kind
        grouped[name] += least if math.isfinite(least) else 0.0  # type: ignore[assignment]
    possible = {kind: least for kind, least in grouped.items() if 0 < least <= seconds}
    if not possible:
        return UNKNOWN
    kind = max(possible, key=lambda kind: possible[kind])
    return Bound(kind, possible[kind] / seconds, min(1.0, sum(possible.values()) / seconds))


def _seconds(kind: str, count: float, known: dict[str, Ceiling]) -> float:
    """Seconds that so many operations take at their limit; NaN where it is not known."""
    name, _, size = kind.rpartition(" ")
    if size.isdecimal():
        return count * _each(name, int(size), known)
    return count / known[kind].value if kind in known and known[kind].value else math.nan


def _each(name: str, size: int, known: dict[str, Ceiling]) -> float:
    """Seconds of one decomposition: between those that were measured, above them as D^3."""
    measured = sorted(
        (int(kind.rpartition(" ")[2]), ceiling.value)
        for kind, ceiling in known.items()
        if kind.rpartition(" ")[0] == name and ceiling.unit == EACH
    )
    if not measured or size < measured[0][0]:  # of tiny ones a compiler makes a formula
        return math.nan
    sizes, values = np.log(np.asarray(measured, np.float64)).T
    inside = float(np.exp(np.interp(np.log(size), sizes, values))) * 1e-6
    return inside * max(1.0, size / measured[-1][0]) ** 3
