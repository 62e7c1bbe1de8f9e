"""Read arrays out of data set files without ever running what a file says.

`numpy.load` with `allow_pickle=False` does this for plain arrays. The one published data set that needs more
is IMDB, whose ragged arrays are pickles; `read_ragged` reads those as data.
"""

from __future__ import annotations

import ast
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np

from graphcore.datasets.files import DatasetCorruptError

Array = np.ndarray[Any, np.dtype[Any]]

NPY_MAGIC = b"\x93NUMPY"
PICKLE_LIMIT = 1 << 29


def read_npz(path: Path, names: tuple[str, ...]) -> dict[str, Array]:
    """The named arrays of an .npz file; object arrays are refused.

    Raises:
        DatasetCorruptError: if the file is no .npz, lacks a name, or holds anything but plain arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in names}
    except KeyError as error:
        raise DatasetCorruptError(f"{path}: expected arrays {', '.join(names)}; {error}") from error
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DatasetCorruptError(f"{path}: not a readable .npz of plain arrays: {error}") from error


def expect(path: Path, name: str, array: Array, shape: tuple[int | None, ...], dtype: str) -> None:
    """Raise DatasetCorruptError unless `array` has the dtype and shape; None stands for any size."""
    fits = len(array.shape) == len(shape) and all(
        wanted is None or wanted == size for size, wanted in zip(array.shape, shape, strict=True)
    )
    if fits and array.dtype == np.dtype(dtype):
        return
    wanted_text = "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
    received = f"{array.dtype} of shape {array.shape}"
    raise DatasetCorruptError(f"{path}: {name} must be {dtype} of shape {wanted_text}, received {received}")


def expect_equal_length(path: Path, arrays: Mapping[str, Array]) -> None:
    """Raise DatasetCorruptError unless all arrays have as many rows."""
    if len({len(array) for array in arrays.values()}) == 1:
        return
    lengths = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
    raise DatasetCorruptError(f"{path}: arrays that belong together differ in length: {lengths}")


class _Dtype:
    """Stands for a `numpy.dtype` in a pickle; what it was told is thrown away."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Accept and ignore the byte order and flags that numpy stores."""


class _RaggedArray:
    """Stands for the `numpy.ndarray` of objects in a pickle; keeps its list of rows."""

    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows: object = None

    def __setstate__(self, state: object) -> None:
        """Take (version, shape, dtype, is_fortran, rows), as numpy pickles an array."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("an array's state is not the five fields numpy writes")
        self.rows = state[4]


class _Callable:
    """A name that a pickle may call: makes one stand-in, whatever the arguments."""

    __slots__ = ("product",)
    product: type

    def __init__(self, product: type) -> None:
        object.__setattr__(self, "product", product)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise pickle.UnpicklingError("a pickle may not change what its names mean")

    def __call__(self, *arguments: object) -> object:
        return self.product()


class _Marker:
    """A name that a pickle may pass on but that does nothing."""

    __slots__ = ()


class RaggedUnpickler(pickle.Unpickler):
    """Reads a pickled object array as plain lists and integers.

    No real class or function is ever looked up: the names numpy writes become stand-ins that only hold data
    (the real `ndarray` and `dtype` would trust sizes and flags in the file), and any other name is refused.
    """

    NAMES: Mapping[tuple[str, str], object] = {
        ("numpy.core.multiarray", "_reconstruct"): _Callable(_RaggedArray),
        ("numpy._core.multiarray", "_reconstruct"): _Callable(_RaggedArray),
        ("numpy", "ndarray"): _Marker(),
        ("numpy", "dtype"): _Callable(_Dtype),
        # How Python 3 writes the byte string "b" that numpy passes along, under protocol 2.
        ("_codecs", "encode"): _Callable(_Marker),
    }

    def find_class(self, module_name: str, global_name: str) -> object:
        """The stand-in for an allowed name; raises UnpicklingError for every other."""
        found = self.NAMES.get((module_name, global_name))
        if found is None:
            raise pickle.UnpicklingError(f"the name {module_name}.{global_name} is not allowed in a data set")
        return found


def read_ragged(path: Path, name: str) -> list[list[int]]:
    """Rows of the ragged integer array `name` in an .npz, as lists of int.

    Raises:
        DatasetCorruptError: if it is anything else, or names anything but numpy's array reconstruction.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = archive.getinfo(f"{name}.npy").file_size
            if size > PICKLE_LIMIT:
                raise DatasetCorruptError(f"{path}: {name} declares {size} bytes, more than {PICKLE_LIMIT}")
            with archive.open(f"{name}.npy") as stream:
                count = read_object_header(stream)
                pickled = RaggedUnpickler(stream, encoding="bytes").load()
    except DatasetCorruptError:
        raise
    except Exception as error:
        # A damaged pickle raises whatever its opcodes run into.
        raise DatasetCorruptError(f"{path}: {name} is not a readable ragged array: {error}") from error
    rows = pickled.rows if isinstance(pickled, _RaggedArray) else None
    if not isinstance(rows, list) or len(rows) != count or not all(is_integer_list(row) for row in rows):
        raise DatasetCorruptError(f"{path}: {name} is not {count} lists of integers")
    return rows


def is_integer_list(row: object) -> bool:
    """Whether `row` is a list of int and nothing else (bool is no int here)."""
    return isinstance(row, list) and all(type(item) is int for item in row)


def read_object_header(stream: IO[bytes]) -> int:
    """Read past the header of a one-dimensional .npy of objects; its number of rows.

    Follows the .npy format, versions 1 to 3: magic, version, header length, a Python dictionary literal.
    """
    if stream.read(6) != NPY_MAGIC:
        raise ValueError("no .npy magic")
    major = stream.read(2)[0]
    if major not in (1, 2, 3):
        raise ValueError(f"unknown .npy version {major}")
    layout = "<H" if major == 1 else "<I"
    (length,) = struct.unpack(layout, stream.read(struct.calcsize(layout)))
    if length > 10_000:
        raise ValueError(f".npy header of {length} bytes")
    header = ast.literal_eval(stream.read(length).decode("latin1"))
    shape = header["shape"]
    if header["descr"] != "|O" or not isinstance(shape, tuple) or len(shape) != 1:
        raise ValueError(f"expected a one-dimensional array of objects, received {header}")
    count: int = shape[0]
    return count
