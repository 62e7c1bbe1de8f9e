"""Which adapter reads which kind of data."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any, Protocol

from graphcore.training.data.array_adapter import ArrayAdapter
from graphcore.training.data.arrays import Batch, check_batch_size
from graphcore.training.data.iterable_adapter import IterableAdapter
from graphcore.training.data.py_dataset import PyDataset, PyDatasetAdapter
from graphcore.training.data.stretch import Layout, Pass


class Adapter(Protocol):
    """What training asks of a source of batches.

    Attributes:
        uniform: whether all batches have the structure, types and inner shapes of the first.
        layout: in which form the batches reach a program; None for as they are.
    """

    uniform: bool
    layout: Layout | None

    @property
    def num_batches(self) -> int | None:
        """Batches in an epoch; None if not known."""

    def peek(self) -> Batch:
        """The first batch, without consuming it."""

    def start(self) -> Pass:
        """One epoch."""

    def on_epoch_begin(self) -> None:
        """Called before each epoch."""

    def on_epoch_end(self) -> None:
        """Called after each epoch."""


def make_adapter(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    batch_size: int | None = None,
    steps: int | None = None,
    shuffle: bool | str = False,
    class_weight: Any = None,
) -> Adapter:
    """The adapter for `x`: arrays, a `PyDataset`, a generator or another iterable of batches.

    Raises:
        ValueError: if the arguments do not fit the kind of `x`.
    """
    check_batch_size(batch_size)
    if is_array_data(x):
        return ArrayAdapter(x, y, sample_weight, batch_size, steps, shuffle, class_weight)
    kind = "PyDataset" if isinstance(x, PyDataset) else type(x).__name__
    for name, value in (("y", y), ("sample_weight", sample_weight), ("batch_size", batch_size)):
        if value is not None:
            raise ValueError(
                f"With `x` a {kind}, `{name}` must not be passed: the {kind} makes whole batches "
                "(x, y) or (x, y, sample_weight)."
            )
    if isinstance(x, PyDataset):
        if x.num_batches is None and steps is None:
            raise ValueError(
                f"{type(x).__name__} has no end (num_batches is None), so the number of steps must be passed:"
                " `steps_per_epoch` for fit, `steps` for evaluate and predict. Received: None"
            )
        return PyDatasetAdapter(x, class_weight, shuffle)
    if isinstance(x, Iterable):
        if shuffle == "batch":
            warnings.warn(f"shuffle='batch' has no effect on a {kind}; shuffle in it.", stacklevel=4)
        return IterableAdapter(x, class_weight)
    raise ValueError(
        "`x` must be a NumPy array, a list or dict of arrays, a PyDataset or an iterable of batches. "
        f"Received: {type(x).__name__}"
    )


def is_array_data(x: Any) -> bool:
    """Whether `x` is an array or a structure of arrays rather than something that makes batches."""
    if x is None or isinstance(x, (list, tuple, dict, str, bytes)):
        return True
    if isinstance(x, PyDataset):
        return False
    return hasattr(x, "__array__") or hasattr(x, "to_numpy") or not isinstance(x, Iterable)
