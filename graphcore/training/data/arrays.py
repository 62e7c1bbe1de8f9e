"""Turning what users pass into NumPy arrays, with errors that name the argument."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphcore import tree
from graphcore.settings import floatx

Array = np.ndarray[Any, np.dtype[Any]]
Structure = Any

NUMBER_KINDS = "biuf"


class Batch(NamedTuple):
    """Inputs, targets and sample weights of one batch: each an array, a structure of arrays or None."""

    x: Structure
    y: Structure = None
    sample_weight: Structure = None


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """`x`, `(x,)`, `(x, y)` or `(x, y, sample_weight)` as three values, None for those that are missing.

    Raises:
        ValueError: for a longer tuple or an empty one.
    """
    if isinstance(data, list):
        data = tuple(data)
    if not isinstance(data, tuple):
        return data, None, None
    if 1 <= len(data) <= 3:
        x, y, sample_weight = (*data, None, None)[:3]
        return x, y, sample_weight
    raise ValueError(
        f"Data must be x, (x,), (x, y) or (x, y, sample_weight). Received: a tuple of {len(data)} elements."
    )


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """The opposite of `unpack_x_y_sample_weight`: a tuple without the parts that are None."""
    if y is None:
        return (x,) if isinstance(x, (tuple, list)) else x
    return (x, y) if sample_weight is None else (x, y, sample_weight)


def to_arrays(structure: Structure, argument: str) -> Structure:
    """The same structure with an array for each leaf; None stays.

    Args:
        structure: arrays, pandas frames or anything NumPy can read, nested in lists, tuples and dicts.
        argument: its name in messages.

    Raises:
        ValueError: if a leaf is no array of numbers with at least one axis.
    """
    leaves = [to_array(leaf, argument + path_text(path)) for path, leaf in tree.flatten_with_path(structure)]
    return tree.pack_sequence_as(structure, leaves)


def path_text(path: Sequence[Any]) -> str:
    """Keys as they are written in Python: `[0]['image']`."""
    return "".join(f"[{key!r}]" for key in path)


def to_array(leaf: Any, name: str) -> Array | None:
    """One leaf as an array of numbers in the machine's byte order; None stays."""
    if leaf is None:
        return None
    if isinstance(leaf, np.ndarray):
        array = leaf
    elif hasattr(leaf, "to_numpy"):  # pandas and its likes; a series is one column
        array = leaf.to_numpy()
        array = array[:, None] if array.ndim == 1 else array
    elif hasattr(leaf, "__array__"):
        array = np.asarray(leaf)
    else:
        raise ValueError(
            f"`{name}` must be a NumPy array. Received: {_shorten(leaf)} of type {type(leaf).__name__}. "
            "Convert it with np.array(...); a list or tuple means several inputs or outputs."
        )
    if array.dtype.kind not in NUMBER_KINDS:
        raise ValueError(
            f"`{name}` must hold numbers. Received: dtype={array.dtype}, shape={array.shape}. "
            "Convert it with .astype('float32'), or encode texts and categories as integers."
        )
    if array.ndim == 0:
        raise ValueError(
            f"`{name}` must have a first axis that counts the samples. Received: shape=(), value {array}. "
            "For one sample pass an array of shape (1, ...)."
        )
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def entry_dtype(array: Array) -> np.dtype[Any]:
    """The type in which an array enters the program: floats as `floatx()`, anything else as it is."""
    return np.dtype(floatx()) if array.dtype.kind == "f" else array.dtype


def flat_arrays(batch: Batch) -> list[Array]:
    """The arrays of a batch in the order of a program's inputs."""
    arrays: list[Array] = []
    for part in batch:
        if type(part) is np.ndarray:
            arrays.append(part)
        elif part is not None:
            arrays += [leaf for leaf in tree.flatten(part) if leaf is not None]
    return arrays


def count_samples(batch: Batch) -> int:
    """The common length of all arrays.

    Raises:
        ValueError: if they differ, if there is no array, or if the arrays are empty.
    """
    parts = list(zip(("x", "y", "sample_weight"), batch, strict=True))
    sizes = {label: [len(a) for a in tree.flatten(part) if a is not None] for label, part in parts}
    distinct = {size for part in sizes.values() for size in part}
    if len(distinct) > 1:
        listed = [f"'{label}' sizes: {', '.join(map(str, part))}" for label, part in sizes.items() if part]
        raise ValueError(
            "Data cardinality is ambiguous. Make sure all arrays contain the same number of samples. "
            + "; ".join(listed)
        )
    if not distinct:
        raise ValueError("There are no arrays in `x`. Received: x=None. Pass the model's inputs.")
    (samples,) = distinct
    if samples == 0:
        shapes = ", ".join(str(a.shape) for a in tree.flatten(batch.x) if a is not None)
        raise ValueError(f"`x` has no samples. Received: shape={shapes}. Pass at least one row.")
    return samples


def check_batch_size(batch_size: Any) -> int | None:
    """A positive integer or None.

    Raises:
        ValueError: for anything else.
    """
    if batch_size is None:
        return None
    is_integer = hasattr(batch_size, "__index__") and not isinstance(batch_size, bool)
    if not is_integer or int(batch_size) < 1:
        raise ValueError(f"`batch_size` must be a positive integer or None. Received: batch_size={batch_size!r}")
    return int(batch_size)


def split_validation(data: Batch, validation_split: float) -> tuple[Batch, Batch]:
    """The first samples for training and the last ones, before any shuffling, for validation.

    Args:
        data: arrays (a copy is not made).
        validation_split: fraction between 0 and 1 that goes into validation; floor(N * (1 - fraction)) stay.

    Raises:
        ValueError: if one of the parts would be empty, or the fraction is not between 0 and 1.
    """
    if not 0 < validation_split < 1:
        raise ValueError(f"`validation_split` must be between 0 and 1. Received: validation_split={validation_split!r}")
    samples = count_samples(data)
    split_at = math.floor(samples * (1.0 - validation_split))
    if split_at in (0, samples):
        raise ValueError(
            f"The data have {samples} samples, too few to split with validation_split={validation_split}: "
            f"{split_at} would remain for training. Pass more data or another fraction."
        )

    def part(start: int, stop: int) -> Batch:
        return Batch(*(tree.map_structure(lambda a: None if a is None else a[start:stop], p) for p in data))

    return part(0, split_at), part(split_at, samples)


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
