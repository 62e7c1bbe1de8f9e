"""Batches from arrays that lie in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
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
    to_arrays,
)
from graphcore.training.data.weights import resolve_sample_weight
from runtime.arena import aligned_empty

DEFAULT_BATCH_SIZE = 32


class _Column:
    """One array and the buffer its batches are gathered into."""

    def __init__(self, source: Array, batch_size: int, dtype: np.dtype[Any]) -> None:
        self.source = source
        self.dtype = dtype
        self._batch_shape = (batch_size, *source.shape[1:])
        self._buffer: Array | None = None
        # Whole stretches of rows need no copy if they already are what a program reads.
        self.is_ready = source.dtype == dtype and source.flags.c_contiguous

    def stretch(self, start: int, stop: int) -> Array:
        """Rows from `start` to `stop`."""
        if self.is_ready:
            return self.source[start:stop]
        batch = self._rows(stop - start)
        batch[...] = self.source[start:stop]
        return batch

    def gather(self, rows: Array) -> Array:
        """The rows with these numbers."""
        batch = self._rows(len(rows))
        if self.source.dtype == self.dtype:
            # Any mode but "raise" writes into `out` without a copy between; the rows are known to exist.
            self.source.take(rows, axis=0, out=batch, mode="clip")
        else:
            batch[...] = self.source[rows]
        return batch

    def _rows(self, count: int) -> Array:
        if self._buffer is None:
            self._buffer = aligned_empty(self._batch_shape, self.dtype)
        return self._buffer[:count]


class ArrayAdapter:
    """Batches of arrays; the last one may be smaller.

    The arrays of a batch are reused for the next one. Float arrays come as `floatx()`, others unchanged.

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
        self._columns = [
            None if leaf is None else _Column(leaf, self.batch_size, entry_dtype(leaf))
            for part in (x, y)
            for leaf in tree.flatten(part)
        ] + [
            None if leaf is None else _Column(leaf, self.batch_size, np.dtype(floatx()))
            for leaf in tree.flatten(weight)
        ]
        self._is_flat = not any(tree.is_nested(part) for part in self.data)

    @property
    def num_batches(self) -> int:
        """Batches in an epoch."""
        return math.ceil(self.samples / self.batch_size)

    def peek(self) -> Batch:
        """The first batch in the data's own order."""
        return self._stretch(0, self.batch_size)

    def batches(self) -> Iterator[Batch]:
        """One epoch."""
        starts = np.arange(0, self.samples, self.batch_size)
        if self.shuffle == "batch":
            # The smaller batch stays last.
            full = self.samples // self.batch_size
            starts[:full] = self._random().permutation(starts[:full])
        elif self.shuffle:
            yield from self._shuffled()
            return
        for start in starts.tolist():
            yield self._stretch(start, min(start + self.batch_size, self.samples))

    def on_epoch_begin(self) -> None:
        """Nothing to do for arrays."""

    def on_epoch_end(self) -> None:
        """Nothing to do for arrays."""

    def _shuffled(self) -> Iterator[Batch]:
        order = self._random().permutation(self.samples)
        for start in range(0, self.samples, self.batch_size):
            rows = order[start : start + self.batch_size]
            yield self._pack([None if column is None else column.gather(rows) for column in self._columns])

    def _stretch(self, start: int, stop: int) -> Batch:
        columns = self._columns
        return self._pack([None if column is None else column.stretch(start, stop) for column in columns])

    def _pack(self, leaves: list[Array | None]) -> Batch:
        if self._is_flat:
            return Batch(*leaves)
        return Batch(*tree.pack_sequence_as(tuple(self.data), leaves))

    def _random(self) -> np.random.Generator:
        if self._generator is None:
            seed = int(np.random.randint(2**31 - 1)) if self._seed is None else self._seed
            self._generator = np.random.default_rng(seed)
        return self._generator
