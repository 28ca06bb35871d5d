"""One result of several: of the seeds of a job array, of workflows or values run apart."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxcollapse import checks, machine
from jaxcollapse.sweeps import fields, results
from jaxcollapse.sweeps import plan as plans

if TYPE_CHECKING:
    import xarray

Grid = dict[str, list[Any]]  # values by dimension, in the order of the dimensions
# Of a configuration, what results of one sweep may differ in.
GROWING = ("axes", "seeds", "workflow", "records", "real", "synthetic")
ADDED = ("compile_seconds", "run_seconds", "programs")
LISTED = ("device", "platform", "python_version", "approximations")
MADE_ANEW = ("title", "created", "command", "configuration", "details", "peak_memory_bytes")
# A chain that was run twice, in calls of other sizes, differs by the rounding of its sums.
ROUNDING, OF_THE_LARGEST = 1e-3, 1e-6
MOST_NAMED = 3  # holes
ALIKE = "merge results of the same task, options, metrics and generations"
OF_ONE_VERSION = "run both with one of them, or pass --any-version, which lists them"


def merge(
    parts: Iterable[xarray.Dataset | Path | str], any_version: bool = False
) -> xarray.Dataset:
    """Results of one task and the same options, whose axes, seeds or workflows differ, as one.

    >>> merge(["seeds-0-to-99.nc", "seeds-100-to-199.nc"])

    Every workflow at every point has every seed afterwards. Values are in the order in which they
    come, numbers that ascend in each part ascending. What is in several parts must be the same, to
    the rounding of sums in calls of other sizes, and is taken from the first of them.

    Args:
      parts: results, or their files.
      any_version: whether parts may be of other versions or commits, which are listed then.

    Returns:
      A result as ``sweep`` or ``mix`` makes one. Its seconds and programs are sums; devices and
      platforms are all of them.

    Raises:
      ValueError: there is no part, parts differ in what decides the numbers, a chain has other
        numbers in another part, or chains are in none.
      ImportError: the extra ``sweep`` is not installed.
    """
    xarray = checks.require("xarray", "sweep")
    given = list(parts)
    if not given:
        raise checks.refusal("results to merge", "at least one", "none", "name some")
    names = [str(p) if isinstance(p, str | Path) else f"part {n}" for n, p in enumerate(given, 1)]
    found = [results.load(part) if isinstance(part, str | Path) else part for part in given]
    check_alike([part.attrs for part in found], names, any_version)
    grids = [grid_of(part.attrs) for part in found]
    whole = union(grids)
    _check_records(found, names)
    for part, name in zip(found, names, strict=True):
        if set(part.data_vars) != set(found[0].data_vars):
            raise _unlike("variables", found[0].data_vars, part.data_vars, names[0], name)
    united = {name: _united(str(name), found, grids, whole, names) for name in found[0].data_vars}
    return xarray.Dataset(united, _coordinates(found, grids, whole), _attributes(found, whole))


# The grid ---------------------------------------------------------------------------------------


def grid_of(attrs: Mapping[str, Any]) -> Grid:
    """The values that a result has, by dimension; without generations, which do not grow."""
    told = json.loads(attrs["configuration"])
    if attrs["format"] == results.MIXTURE_FORMAT:
        counts = {name: told[name] for name in ("real", "synthetic")}
        return {**told["axes"], **counts, "seed": told["seeds"]}
    return {"workflow": told["workflow"], **told["axes"], "seed": told["seeds"]}


def union(grids: Sequence[Grid]) -> Grid:
    """All values of several grids, each once."""
    return {name: _all_values(name, [grid[name] for grid in grids]) for name in grids[0]}


def _all_values(name: str, lists: list[list[Any]]) -> list[Any]:
    values = list(dict.fromkeys(value for values in lists for value in values))
    if all(_ascends(values) for values in lists):
        return sorted(values)
    return plans.axis_values(name, values)


def _ascends(values: list[Any]) -> bool:
    return not any(isinstance(v, str) for v in values) and values == sorted(values)


def _places(grid: Grid, whole: Grid, dims: Iterable[Any]) -> tuple[Any, ...]:
    """Where the values of a grid are in the whole one, along some dimensions, as an index."""
    return np.ix_(*([whole[str(d)].index(v) for v in grid[str(d)]] for d in dims))


# Numbers ----------------------------------------------------------------------------------------


def _united(
    name: str,
    parts: Sequence[xarray.Dataset],
    grids: Sequence[Grid],
    whole: Grid,
    names: Sequence[str],
) -> tuple[Any, np.ndarray, dict]:
    """One variable of all parts: its dimensions, its numbers and what is said of them."""
    first = parts[0][name]
    dims = tuple(str(d) for d in first.dims if d in whole)
    shape = tuple(len(whole[d]) for d in dims)
    numbers = np.zeros((*shape, *first.shape[len(dims) :]), first.dtype)
    owner = np.full(shape, -1)
    for index, (part, grid) in enumerate(zip(parts, grids, strict=True)):
        array = part[name]
        kind = (array.dims, array.dtype, array.shape[len(dims) :])
        if kind != (first.dims, first.dtype, first.shape[len(dims) :]):
            raise _unlike(
                name, checks.described(first), checks.described(array), names[0], names[index]
            )
        where = _places(grid, whole, dims)
        new, known = array.values, owner[where]
        if name == results.RUN_SECONDS:
            numbers[where] += new
        else:
            old = numbers[where]
            more = new.ndim - known.ndim
            taken = (known >= 0).reshape(known.shape + (1,) * more)
            _check_same(name, old, new, taken, grid, dims, names[: index + 1], known)
            numbers[where] = np.where(taken, old, new)
        owner[where] = np.where(known >= 0, known, index)
    if set(dims) == set(whole):
        _check_filled(owner >= 0, dims, whole)
    return first.dims, numbers, dict(first.attrs)


def _check_same(
    name: str,
    old: np.ndarray,
    new: np.ndarray,
    taken: np.ndarray,
    grid: Grid,
    dims: Sequence[str],
    names: Sequence[str],
    owners: np.ndarray,
) -> None:
    """Refuses numbers that two parts have otherwise, and says which."""
    if not taken.any():
        return
    size = np.abs(np.where(taken & np.isfinite(new), new, 0)).max()
    same = np.isclose(old, new, ROUNDING, OF_THE_LARGEST * size, equal_nan=True)
    if np.issubdtype(new.dtype, np.integer):
        same = old == new
    wrong = np.argwhere(~same & taken)
    if wrong.size:
        at = tuple(wrong[0])
        cell = {d: grid[d][place] for d, place in zip(dims, at, strict=False)}
        one, other = names[owners[at[: len(dims)]]], names[-1]
        raise checks.refusal(
            f"{name} of {_in_words(cell)}, which is in two parts",
            "the same numbers in both",
            f"{old[at]} in {one} and {new[at]} in {other}",
            "leave one of them out, or run both again with the same versions on one kind of device",
        )


def _check_filled(filled: np.ndarray, dims: Sequence[str], whole: Grid) -> None:
    """Refuses chains that are in no part, and names some."""
    if filled.all():
        return
    missing = np.argwhere(~filled.all(axis=-1))
    told = []
    for at in missing[:MOST_NAMED]:
        cell = {d: whole[d][place] for d, place in zip(dims, at, strict=False)}
        seeds = [
            seed for seed, has in zip(whole["seed"], filled[tuple(at)], strict=True) if not has
        ]
        told.append(f"{_in_words(cell)} ({_seeds_in_words(seeds)})".strip())
    more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
    raise checks.refusal(
        "results to merge",
        "every workflow at every point with every seed",
        f"nothing of {'; '.join(told)}{more}",
        "run what is missing, or merge results that make a full grid",
    )


def _in_words(cell: Mapping[str, Any]) -> str:
    return (
        " ".join(str(v) if k == "workflow" else f"{k}={v}" for k, v in cell.items()) or "the task"
    )


def _seeds_in_words(seeds: Sequence[int]) -> str:
    few = len(seeds) <= MOST_NAMED
    return f"seeds {', '.join(map(str, seeds)) if few else f'{seeds[0]} ... {seeds[-1]}'}"


# What is said of them -----------------------------------------------------------------------------


def check_alike(
    attributes: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    any_version: bool = False,
    remedy: str = ALIKE,
    of_versions: str = OF_ONE_VERSION,
) -> None:
    """Refuses results that differ in what decides the numbers, and names what.

    Args:
      attributes: of each of them.
      names: what to call them.
      any_version: whether versions and commits may differ.
      remedy: what to do where something else differs.
      of_versions: what to do where they do.
    """
    code = (*machine.versions(), "commit", "source_tree")
    beside = {*ADDED, *LISTED, *MADE_ANEW, *(code if any_version else ())}
    first = _told(attributes[0])
    for attrs, name in zip(attributes[1:], names[1:], strict=True):
        told = _told(attrs)
        keys = [key for key in dict.fromkeys((*first, *told)) if key not in beside]
        for key in keys:
            if key in code and first.get(key) != told.get(key):
                raise _unlike(key, first.get(key), told.get(key), names[0], name, of_versions)
            if first.get(key) != told.get(key):
                raise _unlike(key, first.get(key), told.get(key), names[0], name, remedy)


def _told(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes, and what a configuration says beside the values that may grow."""
    told = json.loads(attrs["configuration"])
    plain = {key: value for key, value in told.items() if key not in GROWING}
    return {
        "axes": list(told["axes"]),
        **plain,
        **{k: v for k, v in attrs.items() if k != "options"},
    }


def _unlike(
    what: str,
    one: Any,
    other: Any,
    name: str,
    other_name: str,
    remedy: str = ALIKE,
) -> ValueError:
    if not isinstance(one, str) and isinstance(one, Iterable):
        one, other = (", ".join(map(str, x or ())) or "none" for x in (one, other))
    got = f"{one} in {name} and {other} in {other_name}"
    return checks.refusal(f"{what} of results to merge", "the same in all", got, remedy)


def _records(part: xarray.Dataset) -> dict[str, Any]:
    told = json.loads(part.attrs["configuration"])
    return dict(zip(told.get("workflow", ()), told.get("records", ()), strict=True))


def _check_records(parts: Sequence[xarray.Dataset], names: Sequence[str]) -> None:
    """Refuses one name of two workflows."""
    known: dict[str, tuple[Any, str]] = {}
    for part, name in zip(parts, names, strict=True):
        for workflow, record in _records(part).items():
            before, where = known.setdefault(workflow, (record, name))
            if before != record:
                raise _unlike(f"workflow {workflow}", f"{before}", f"{record}", where, name)


def _attributes(parts: Sequence[xarray.Dataset], whole: Grid) -> dict[str, Any]:
    """Attributes that are true of the whole."""
    attrs: dict[str, Any] = {}
    for key in parts[0].attrs:
        values = [part.attrs.get(key) for part in parts]
        texts = dict.fromkeys(text for told in map(str, values) for text in told.split("; "))
        attrs[key] = values[0] if len(set(map(str, values))) == 1 else "; ".join(texts)
    attrs |= {key: round(sum(part.attrs[key] for part in parts), 3) for key in ADDED}
    apart = [text for text in attrs["approximations"].split("; ") if text != "none"]
    attrs["approximations"] = "; ".join(apart) or "none"
    if commands := dict.fromkeys(filter(None, (part.attrs.get("command") for part in parts))):
        attrs["command"] = "\n".join(commands)
    attrs["created"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    attrs["peak_memory_bytes"] = max(part.attrs["peak_memory_bytes"] for part in parts)
    seeds = plans.number_of(len(whole["seed"]), "seed")
    attrs["title"] = re.sub(r"\b\d+ seeds?\b", seeds, parts[0].attrs["title"])
    told = json.loads(parts[0].attrs["configuration"])
    axes = {name: whole[name] for name in told["axes"]}
    told |= {"axes": axes, "seeds": whole["seed"]}
    if "records" in told:
        records = {k: v for part in parts for k, v in _records(part).items()}
        told |= {"workflow": whole["workflow"], "records": [records[w] for w in whole["workflow"]]}
    else:
        told |= {name: whole[name] for name in ("real", "synthetic")}
    attrs["configuration"] = json.dumps(told)
    if "details" in attrs:
        details: dict[Any, Any] = {}
        for part in parts:
            has = json.loads(part.attrs["configuration"])["axes"]
            details |= zip(plans.product(has), json.loads(part.attrs["details"]), strict=True)
        attrs["details"] = json.dumps([details[point] for point in plans.product(axes)])
    return attrs


def _coordinates(
    parts: Sequence[xarray.Dataset], grids: Sequence[Grid], whole: Grid
) -> dict[str, Any]:
    """Coordinates of the whole: of its grid, of generations, and of what workflows are."""
    found: dict[str, Any] = {}
    for name in dict.fromkeys(str(name) for part in parts for name in part.coords):
        has = [part for part in parts if name in part.coords]
        if name in whole:
            found[name] = (name, results.coordinate(whole[name]), dict(has[0][name].attrs))
        elif has[0][name].dims == ("workflow",):
            told = [
                dict(zip(grid["workflow"], part[name].values.tolist(), strict=True))
                for part, grid in zip(parts, grids, strict=True)
                if name in part.coords
            ]
            found[name] = fields.joined(name, whole["workflow"], told)
        else:
            found[name] = has[0][name]
    return found
