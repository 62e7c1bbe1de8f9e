"""Preparing arrays: one-hot labels, padded sequences, normalised rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def to_categorical(x: Any, num_classes: int | None = None) -> Array:
    """Class numbers as one-hot vectors on a new last axis (an axis of extent 1 at the end is dropped first).

    Args:
        x: integers from 0 to num_classes - 1.
        num_classes: by default the greatest number plus one.

    Returns:
        float64, as Keras gives for NumPy input.

    Raises:
        ValueError: if a number lies outside of the classes.
    """
    labels = np.asarray(x).astype(np.int64)
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    classes = int(labels.max()) + 1 if num_classes is None else int(num_classes)
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(
            f"Class numbers must lie in 0..{classes - 1}. Received: numbers from {labels.min()} to {labels.max()} with "
            f"num_classes={num_classes}"
        )
    result = np.zeros((*labels.shape, classes))
    np.put_along_axis(result, labels[..., None], 1.0, axis=-1)
    return result


def pad_sequences(
    sequences: Sequence[Sequence[Any]],
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> Array:
    """Sequences of different lengths as one array.

    Args:
        sequences: lists of numbers, or of arrays of one shape.
        maxlen: length of the result; by default that of the longest sequence.
        dtype: element type.
        padding: 'pre' or 'post': where `value` is put.
        truncating: 'pre' or 'post': where longer sequences are cut.
        value: what is put where a sequence has ended.

    Returns:
        [number of sequences, maxlen, ...].

    Raises:
        ValueError: if `sequences` is no list of sequences, shapes differ, or a mode is unknown.
    """
    for name, mode in (("padding", padding), ("truncating", truncating)):
        if mode not in ("pre", "post"):
            raise ValueError(f"Argument `{name}` must be 'pre' or 'post'. Received: {name}={mode!r}")
    if not hasattr(sequences, "__len__"):
        raise ValueError("`sequences` must be iterable and have a length.")
    lengths = []
    for sequence in sequences:
        if not hasattr(sequence, "__len__"):
            raise ValueError(f"`sequences` must be a list of iterables. Found non-iterable: {sequence!r}")
        lengths.append(len(sequence))
    length = max(lengths, default=0) if maxlen is None else int(maxlen)
    sample = next((np.asarray(s).shape[1:] for s in sequences if len(s)), ())
    if isinstance(value, str) and not (dtype is object or np.dtype(dtype).kind in "USO"):
        raise ValueError(f"`dtype` {dtype} is not compatible with `value`'s type: {type(value)}. Use dtype=object.")
    result = np.full((len(sequences), length, *sample), value, dtype=dtype)
    for row, sequence in zip(result, sequences, strict=True):
        if not len(sequence) or length == 0:
            continue
        kept = np.asarray(sequence[-length:] if truncating == "pre" else sequence[:length], dtype=dtype)
        if kept.shape[1:] != sample:
            raise ValueError(
                f"All elements of `sequences` must have one shape, {sample}. Received: an element of shape "
                f"{kept.shape[1:]}"
            )
        if padding == "pre":
            row[-len(kept) :] = kept
        else:
            row[: len(kept)] = kept
    return result


def normalize(x: Any, axis: int = -1, order: float = 2) -> Array:
    """Each vector along an axis divided by its norm; vectors of norm 0 stay as they are."""
    array = np.asarray(x)
    length = np.atleast_1d(np.linalg.norm(array, order, axis))
    length[length == 0] = 1
    result: Array = array / np.expand_dims(length, axis)
    return result
