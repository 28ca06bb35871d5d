"""Refusals at the door: every error says what was expected, what came and what to do."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import operator
import sys
from collections import Counter
from collections.abc import Iterable, Sequence, Sized
from types import ModuleType
from typing import Any, TypeGuard

import jax
import numpy as np

MOST_VALUES = 2**20


def refusal(what: str, expected: str, got: Any, remedy: str) -> ValueError:
    """The one form of an input error: ``what: expected ..., got ...; remedy``.

    Returns:
      The exception, for the caller to raise.
    """
    return ValueError(f"{what}: expected {expected}, got {got}; {remedy}")


def is_traced(value: Any) -> bool:
    """Whether a value is known only while JAX traces, so that it cannot be checked here."""
    return isinstance(value, jax.core.Tracer)


def described(value: Any) -> str:
    """What a value is, traced or not: ``float32[3]``, or ``a dict``."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{value.dtype}{list(value.shape)}"
    return f"a {type(value).__name__}"


def described_tree(tree: Any, first_axis: int = 0) -> str:
    """Structure, types and shapes of a tree of arrays, shapes from some axis on."""
    leaf = lambda x: f"{jax.numpy.result_type(x)}{list(jax.numpy.shape(x))[first_axis:]}"  # noqa: E731
    return str(jax.tree.map(leaf, tree))


def whole_number(name: str, value: Any, minimum: int = 1, maximum: int | None = 2**31 - 1) -> int:
    """Returns ``value`` as an ``int``, or raises ``ValueError`` if it is none or out of range."""
    remedy = f"give {name} as a whole number of at least {minimum}"
    try:
        number = operator.index(value)
    except TypeError:
        raise refusal(name, "a whole number", repr(value), remedy) from None
    if isinstance(value, bool) or number < minimum:
        raise refusal(name, f"at least {minimum}", repr(value), remedy)
    if maximum is not None and number > maximum:
        raise refusal(name, f"at most {maximum}", number, "lower it")
    return number


def known_size(name: str, value: Any, remedy: str = "use pool='statistics' or") -> int:
    """Returns ``value``, or raises ``ValueError`` if it is traced where shapes depend on it."""
    if is_traced(value):
        raise refusal(
            name,
            "a number known before tracing, for arrays of so many",
            "a traced one",
            f"{remedy} map over {name} outside jax".strip(),
        )
    return value


def is_several(value: Any) -> TypeGuard[Iterable[Any]]:
    """Whether a value is a list of values, or an array of some."""
    several = isinstance(value, Iterable) and not isinstance(value, str | bytes)
    return several and getattr(value, "ndim", 1) > 0


def not_too_many(name: str, values: Any) -> None:
    """Raises ``ValueError`` for more values than a list of them should hold, such as of a range."""
    try:
        count = len(values) if isinstance(values, Sized) else 0
    except OverflowError:  # of a range that no list could hold
        count = sys.maxsize
    if count > MOST_VALUES:
        expected, remedy = f"at most {MOST_VALUES:,} of them", "take some of them at a time"
        raise refusal(name, expected, f"{count:,}", remedy)


def real_numbers(name: str, value: Any) -> np.ndarray:
    """An array of real numbers, or raises ``ValueError`` if a value is none."""
    with contextlib.suppress(TypeError, ValueError):
        found = np.asarray(value)
        if found.dtype.kind in "biuf":
            return found
    raise refusal(name, "real numbers", described(value), "give an array of them")


def one_of(name: str, value: Any, allowed: Any) -> Any:
    """Returns ``value`` if it is among ``allowed``, or raises ``ValueError``."""
    try:
        known = value in allowed
    except (TypeError, ValueError):  # of what cannot be compared, such as arrays
        known = False
    if not known:
        names = ", ".join(str(item) for item in allowed)
        if not names:
            raise refusal(name, "none, there are no such", repr(value), "leave it out")
        raise refusal(name, f"one of {names}", repr(value), "choose one of those")
    return value


def arguments(function: Any, what: str, names: Sequence[str], least: int) -> int:
    """How many of the arguments ``names`` a function of the user's is called with.

    As many as it requires, from ``least`` on: those with a default are its own.

    Raises:
      ValueError: it requires more, or takes fewer than ``least``.
    """
    if not callable(function):
        raise refusal(what, "a function", repr(function), "give one")
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of what has no signature, such as some built-in functions
        return least
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = sum(p.default is p.empty for p in places)
    more = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if required > len(names) or more or (len(places) < least and not takes_any):
        raise refusal(
            f"function {what}",
            f"one of ({', '.join(names)}), of which it may take the first {least} or more",
            f"one of ({', '.join(p.name for p in parameters)})",
            "change its arguments",
        )
    return max(least, required)


def distinct(name: str, values: Iterable[Any]) -> list[Any]:
    """The values as a list; raises ``ValueError`` if there are none or one is repeated."""
    values = list(values)
    repeated = [value for value, times in Counter(values).items() if times > 1]
    if not values or repeated:
        got = f"{repeated[0]!r} twice" if repeated else "none"
        raise refusal(name, "at least one value, each once", got, "correct the list")
    return values


def require(module: str, extra: str) -> ModuleType:
    """Imports an optional dependency, or says which extra brings it.

    Raises:
      ImportError: the module is missing; the message names the extra to install.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != module.partition(".")[0]:
            raise
        raise _missing(module, extra) from None


def installed(module: str, extra: str) -> None:
    """``require``, for a module that is imported later.

    Raises:
      ImportError: likewise.
    """
    if module not in sys.modules and importlib.util.find_spec(module) is None:
        raise _missing(module, extra)


def _missing(module: str, extra: str) -> ImportError:
    return ImportError(
        f"{module} is not installed; it comes with the extra '{extra}': "
        f"pip install 'jaxcollapse[{extra}]'"
    )
