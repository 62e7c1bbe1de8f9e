"""Batches from arrays that lie in memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphcore import tree
from graphcore.settings import floatx
from graphcore.training.data.arrays import (
    Array,
    Batch,
    Structure,
    check_batch_size,
    count_samples,
    entry_dtype,
    flat_arrays,
    to_arrays,
)
from graphcore.training.data.stretch import Layout, Stretch
from graphcore.training.data.weights import resolve_sample_weight
from runtime.program import DTYPES

DEFAULT_BATCH_SIZE = 32


class ArrayAdapter:
    """Batches of arrays; the last one may be smaller.

    Nothing is copied: a program finds the rows of its batch in the arrays, by their numbers if they are shuffled,
    and converts floats to `floatx()`. Only arrays that are not C-contiguous go through copies of single batches.

    Args:
        x: inputs: arrays or nested arrays with the samples along axis 0.
        y: targets, likewise, or None.
        sample_weight: array (N,) or (N, T), or a structure like `y`; None weighs every sample 1.
        batch_size: samples in a batch; by default 32, or ceil(N / steps) where `steps` is given.
        steps: number of batches that `batch_size` is chosen for.
        shuffle: True gives each epoch an order of its own; "batch" shuffles whole batches.
        class_weight: mapping from label to weight, instead of `sample_weight`.
        seed: of the order; by default drawn from NumPy's global generator, which
            `keras.utils.set_random_seed` seeds.

    Raises:
        ValueError: if the data do not fit each other.
    """

    uniform = True  # all batches have the structure, types and inner shapes of the first

    def __init__(
        self,
        x: Structure,
        y: Structure = None,
        sample_weight: Structure = None,
        batch_size: int | None = None,
        steps: int | None = None,
        shuffle: bool | str = False,
        class_weight: Any = None,
        seed: int | None = None,
    ) -> None:
        x, y = to_arrays(x, "x"), to_arrays(y, "y")
        weight = resolve_sample_weight(y, to_arrays(sample_weight, "sample_weight"), class_weight)
        self.data = Batch(x, y, weight)
        self.samples = count_samples(self.data)
        size = check_batch_size(batch_size)
        if size is None:
            size = math.ceil(self.samples / steps) if steps else DEFAULT_BATCH_SIZE
        # A batch larger than the data needs no larger buffer.
        self.batch_size = min(size, self.samples)
        self.shuffle = shuffle
        self._seed = seed
        self._generator: np.random.Generator | None = None
        weights = [np.dtype(floatx())] * len(flat_arrays(Batch(weight)))
        self._dtypes = [entry_dtype(leaf) for leaf in flat_arrays(Batch(x, y))] + weights
        self.columns = tuple(
            _stored(leaf, dtype) for leaf, dtype in zip(flat_arrays(self.data), self._dtypes, strict=True)
        )
        self.is_contiguous = all(column.flags.c_contiguous for column in self.columns)
        self.layout = self._layout()

    def _layout(self) -> Layout | None:
        by_rows = bool(self.shuffle) and self.is_contiguous
        if not by_rows and all(map(np.dtype.__eq__, (c.dtype for c in self.columns), self._dtypes)):
            return None
        return Layout(by_rows, tuple(column.dtype.name for column in self.columns))

    @property
    def num_batches(self) -> int:
        """Batches in an epoch."""
        return math.ceil(self.samples / self.batch_size)

    def peek(self) -> Batch:
        """The first batch in the data's own order, in the types that the model sees."""
        rows = slice(0, self.batch_size)
        leaves = iter(
            np.ascontiguousarray(column[rows], dtype=dtype)
            for column, dtype in zip(self.columns, self._dtypes, strict=True)
        )
        return Batch(*(tree.map_structure(lambda leaf: None if leaf is None else next(leaves), p) for p in self.data))

    def start(self) -> ArrayPass:
        """One epoch."""
        return ArrayPass(self, self._order())

    def on_epoch_begin(self) -> None:
        """Nothing to do for arrays."""

    def on_epoch_end(self) -> None:
        """Nothing to do for arrays."""

    def _order(self) -> Array | None:
        """Numbers of the rows in the order in which an epoch takes them; None for that of the data."""
        if self.shuffle != "batch":
            return self._random().permutation(self.samples) if self.shuffle else None
        # The smaller batch stays last.
        full = self.samples // self.batch_size * self.batch_size
        order = np.arange(self.samples)
        batches = order[:full].reshape(-1, self.batch_size)
        order[:full] = batches[self._random().permutation(len(batches))].ravel()
        return order

    def _random(self) -> np.random.Generator:
        if self._generator is None:
            seed = int(np.random.randint(2**31 - 1)) if self._seed is None else self._seed
            self._generator = np.random.default_rng(seed)
        return self._generator


class ArrayPass:
    """One way through an adapter's arrays.

    Args:
        adapter: has the arrays.
        order: numbers of all rows in the order to take; None for that of the data.
    """

    def __init__(self, adapter: ArrayAdapter, order: Array | None) -> None:
        self._adapter = adapter
        self._order = order
        self._position = 0

    def take(self, most: int) -> Stretch | None:
        """The next batches, at most so many, the smaller last one on its own; None at the end."""
        rows, start = self._adapter.batch_size, self._position
        left = self._adapter.samples - start
        if left <= 0:
            return None
        if left < rows:
            rows = left
        steps = min(most, left // rows) if self._adapter.is_contiguous else 1
        self._position = stop = start + steps * rows
        columns = self._adapter.columns
        if self._order is None:
            arrays = tuple([column[start:stop] for column in columns])
        elif self._adapter.is_contiguous:
            split = (True, *[False] * len(columns))
            return Stretch(steps, rows, (self._order[start:stop], *columns), split)
        else:
            arrays = tuple([column[self._order[start:stop]] for column in columns])
        return Stretch(steps, rows, arrays, (True,) * len(columns))


def _stored(leaf: Array, dtype: np.dtype[Any]) -> Array:
    """The array as a program can read it: in a type it knows, without NumPy's subclasses."""
    return np.asarray(leaf if leaf.dtype.name in DTYPES else leaf.astype(dtype))
