"""Batches from generators, data loaders and anything else that can be iterated."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sized
from typing import Any

import numpy as np

from graphcore import tree
from graphcore.settings import floatx
from graphcore.training.data.arrays import (
    Array,
    Batch,
    count_samples,
    entry_dtype,
    to_arrays,
    unpack_x_y_sample_weight,
)
from graphcore.training.data.stretch import BatchPass, Layout
from graphcore.training.data.weights import resolve_sample_weight


class IterableAdapter:
    """Batches of an iterable of `(x,)`, `(x, y)` or `(x, y, sample_weight)`.

    A generator is consumed once, across epochs; an iterable such as a data loader is started anew for each.

    Args:
        source: the iterable; each element is one batch.
        class_weight: mapping from label to weight, or None.

    Raises:
        ValueError: if it has no elements, or the first is no batch.
    """

    uniform = False
    layout: Layout | None = None

    def __init__(self, source: Iterable[Any], class_weight: Any = None) -> None:
        self.source = source
        self.class_weight = class_weight
        self._name = type(source).__name__
        iterator = iter(source)
        self.is_one_shot = iterator is source
        self._count = len(source) if isinstance(source, Sized) else None
        first = next(iterator, None)
        if first is None:
            raise ValueError(f"`x` yields no batches. Received: an empty {self._name}.")
        self._first = self._standardize(first)
        # The first epoch goes on where the look at the first batch ended.
        self._started: Iterator[Any] | None = iterator

    @property
    def num_batches(self) -> int | None:
        """Batches in an epoch, where the iterable has a length."""
        return self._count

    def peek(self) -> Batch:
        """The first batch."""
        return self._first

    def start(self) -> BatchPass:
        """One epoch."""
        return BatchPass(self.batches())

    def batches(self) -> Iterator[Batch]:
        """The batches of an epoch; for a generator, all that is left of it."""
        if self._started is not None:
            rest, self._started = self._started, None
            return itertools.chain([self._first], map(self._standardize, rest))
        return map(self._standardize, iter(self.source))

    def on_epoch_begin(self) -> None:
        """Nothing to do."""

    def on_epoch_end(self) -> None:
        """Nothing to do."""

    def _standardize(self, batch: Any) -> Batch:
        return standardize_batch(batch, self.class_weight, self._name)


def standardize_batch(data: Any, class_weight: Any, source: str) -> Batch:
    """One element of a data set as a checked batch whose floats are `floatx()`.

    Args:
        data: `x`, `(x,)`, `(x, y)` or `(x, y, sample_weight)`.
        class_weight: mapping from label to weight, or None.
        source: what made the element, for messages.

    Raises:
        ValueError: if it is no batch.
    """
    try:
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        x, y = to_arrays(x, "x"), to_arrays(y, "y")
        weight = resolve_sample_weight(y, to_arrays(sample_weight, "sample_weight"), class_weight)
        batch = Batch(x, y, weight)
        count_samples(batch)
    except ValueError as error:
        error.add_note(f"in a batch that {source} made")
        raise
    weights = tree.map_structure(lambda leaf: _ready(leaf, np.dtype(floatx())), weight)
    return Batch(tree.map_structure(_ready, x), tree.map_structure(_ready, y), weights)


def _ready(leaf: Array | None, dtype: np.dtype[Any] | None = None) -> Array | None:
    if leaf is None:
        return None
    return np.ascontiguousarray(leaf, dtype=dtype or entry_dtype(leaf))
