"""Results as NetCDF-4, written part by part, so that a file may be larger than memory.

Large variables are in chunks, shuffled and deflated as every reader of NetCDF-4 knows it. Threads
deflate chunks at a time, which HDF5 would do one after another.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxcollapse import checks, machine
from jaxcollapse.files import reserve

if TYPE_CHECKING:
    import xarray

BESIDE_NUMBERS = 2**17  # bytes of a file for names, attributes and places, about
LARGE = 2**16  # bytes of a part from which on it is deflated
# Of a chunk: 256 KiB of float32, which is what HDF5 keeps at hand, and a part of the generations,
# so that the last of many is read without the others.
LONGEST_SIDE, MOST_VALUES = 256, 2**16
LEVEL = 1  # of deflating: higher ones take twice as long for 1% less
# With checksums, so that a number that a disk has changed is not read as another; what is deflated
# has its own.
SMALL = {"fletcher32": True}


class Declared(NamedTuple):
    """A variable of a file, without its numbers.

    Attributes:
      dims: names of its dimensions.
      shape: of all of it.
      along: how many of its first dimensions a part has one place on.
      dtype: of its numbers.
      attrs: what is said of it.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    along: int
    dtype: np.dtype
    attrs: Mapping[str, Any]


class Part(NamedTuple):
    """Numbers of a variable at one place along its first dimensions.

    Attributes:
      name: of the variable.
      place: along its first dimensions.
      values: all of the other dimensions.
    """

    name: str
    place: tuple[int, ...]
    values: np.ndarray


def write(
    path: Path, bare: xarray.Dataset, declared: Mapping[str, Declared], parts: Iterable[Part]
) -> None:
    """Writes a file, a part at a time.

    Args:
      path: of the file.
      bare: coordinates, attributes and the variables that are not declared.
      declared: the others, by name.
      parts: the numbers of these.

    Raises:
      ValueError: a part has numbers of another type than its variable.
    """
    h5netcdf = checks.require("h5netcdf", "sweep")
    h5py = checks.require("h5py", "sweep")
    sizes = [math.prod(v.shape) * v.dtype.itemsize for v in declared.values()]
    reserve(path, sum(sizes) + bare.nbytes + BESIDE_NUMBERS)
    numbers = [k for k, a in bare.variables.items() if a.size > 1 and a.dtype.kind in "iuf"]
    bare.to_netcdf(path, engine="h5netcdf", encoding=dict.fromkeys(numbers, SMALL))
    with h5netcdf.File(path, "a") as file:
        for name, variable in declared.items():
            _declare(file, name, variable, bare)
    with h5py.File(path, "a") as file, ThreadPoolExecutor(machine.cores()) as threads:
        for name, place, values in parts:
            if values.dtype != declared[name].dtype:
                raise checks.refusal(
                    f"metric {name} of a sweep",
                    f"numbers of one type in all cells, {declared[name].dtype}",
                    str(values.dtype),
                    "have its function return one",
                )
            array = _encoded(values, ()).values
            if file[name].compression is None:
                file[name][place] = array
            else:
                _put(file[name], place, array, threads)


def _declare(file: Any, name: str, variable: Declared, bare: xarray.Dataset) -> None:
    """Makes a variable as xarray would, with dimensions where it is the first that has them."""
    empty = _encoded(np.zeros((0,) * len(variable.dims), variable.dtype), variable.dims)
    attrs = {**empty.attrs, **variable.attrs}
    fill = attrs.pop("_FillValue", None)
    for dim, size in zip(variable.dims, variable.shape, strict=True):
        if dim not in file.dimensions:
            file.dimensions[dim] = size
    part = variable.shape[variable.along :]
    how: dict[str, Any] = SMALL if math.prod(variable.shape) > 1 else {}
    if math.prod(part) * empty.dtype.itemsize >= LARGE:
        how = {"compression": "gzip", "compression_opts": LEVEL, "shuffle": True}
        how["chunks"] = (1,) * variable.along + chunks_of(part)
    made = file.create_variable(name, variable.dims, empty.dtype, fillvalue=fill, **how)
    beside = [
        str(coordinate)
        for coordinate, array in bare.coords.items()
        if coordinate not in bare.dims and set(array.dims) <= set(variable.dims)
    ]
    made.attrs.update(attrs | ({"coordinates": " ".join(sorted(beside))} if beside else {}))


def _encoded(values: np.ndarray, dims: tuple[str, ...]) -> Any:
    """A variable as NetCDF holds it, which has no truth values."""
    xarray = checks.require("xarray", "sweep")
    conventions = checks.require("xarray.conventions", "sweep")
    names = dims or tuple(f"dim_{axis}" for axis in range(values.ndim))
    return conventions.encode_cf_variable(xarray.Variable(names, values))


def chunks_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a chunk of a part: the last dimensions first, until it is large enough."""
    room, sides = MOST_VALUES, []
    for size in reversed(shape):
        sides.append(max(1, min(size, LONGEST_SIDE, room)))
        room //= sides[-1]
    return tuple(reversed(sides))


def _put(dataset: Any, place: tuple[int, ...], array: np.ndarray, threads: Any) -> None:
    """Writes a part chunk by chunk; along its dimensions, it is all of the variable."""
    sides = dataset.chunks[len(place) :]
    starts = [range(0, size, side) for size, side in zip(array.shape, sides, strict=True)]
    corners = list(itertools.product(*starts))

    def deflated(corner: tuple[int, ...]) -> bytes:
        slices = [slice(at, at + side) for at, side in zip(corner, sides, strict=True)]
        return _deflated(array[tuple(slices)], sides)

    for corner, chunk in zip(corners, threads.map(deflated, corners), strict=True):
        dataset.id.write_direct_chunk((*place, *corner), chunk)


def _deflated(block: np.ndarray, sides: tuple[int, ...]) -> bytes:
    """A block as HDF5's filters leave a chunk, which is whole also at the edge of a variable."""
    whole = np.zeros(sides, block.dtype)
    whole[tuple(map(slice, block.shape))] = block
    in_bytes = whole.reshape(-1).view(np.uint8).reshape(-1, block.dtype.itemsize)
    return zlib.compress(in_bytes.T.tobytes(), LEVEL)
