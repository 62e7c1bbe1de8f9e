"""Data sets that make their batches on demand, by number: `keras.utils.PyDataset`."""

from __future__ import annotations

import collections
import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from graphcore.training.data.arrays import Batch
from graphcore.training.data.iterable_adapter import standardize_batch
from graphcore.training.data.stretch import BatchPass, Layout

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future


class PyDataset:
    """Base class of data sets with numbered batches.

    A subclass defines `__getitem__(index)`, which returns `x`, `(x, y)` or `(x, y, sample_weight)` of one
    batch, and `__len__` or `num_batches`. It may define `on_epoch_begin` and `on_epoch_end`.

    Args:
        workers: threads (or processes) that make batches ahead of their use; 1 makes them when needed.
        use_multiprocessing: use processes; the data set must then be picklable.
        max_queue_size: batches made ahead at most.
    """

    workers: int = 1
    use_multiprocessing: bool = False
    max_queue_size: int = 10

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10) -> None:
        if max_queue_size < 1:
            raise ValueError(f"`max_queue_size` must be positive. Received: max_queue_size={max_queue_size}")
        self.workers = workers
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = max_queue_size

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__(index), the batch's data.")

    @property
    def num_batches(self) -> int | None:
        """Batches in an epoch; None for a data set without end."""
        if hasattr(self, "__len__"):
            return len(self)
        raise NotImplementedError(f"{type(self).__name__} must define __len__ or the property num_batches.")

    def on_epoch_begin(self) -> None:
        """Called before each epoch."""

    def on_epoch_end(self) -> None:
        """Called after each epoch."""


class PyDatasetAdapter:
    """Batches of a `PyDataset`.

    Args:
        dataset: the data set.
        class_weight: mapping from label to weight, or None.
        shuffle: take the batches in another order each epoch.
    """

    uniform = False
    layout: Layout | None = None

    def __init__(self, dataset: PyDataset, class_weight: Any = None, shuffle: bool | str = False) -> None:
        self.dataset = dataset
        self.class_weight = class_weight
        self.shuffle = bool(shuffle)
        if self.num_batches == 0:
            raise ValueError(f"`x` has no batches. Received: a {type(dataset).__name__} of length 0.")

    @property
    def num_batches(self) -> int | None:
        """Batches in an epoch; None for a data set without end."""
        return self.dataset.num_batches

    def peek(self) -> Batch:
        """The first batch."""
        return self._standardize(self.dataset[0])

    def start(self) -> BatchPass:
        """One epoch."""
        return BatchPass(self.batches())

    def batches(self) -> Iterator[Batch]:
        """The batches of an epoch."""
        count = self.num_batches
        if count is None:
            yield from self._endless()
            return
        order = list(range(count))
        if self.shuffle:
            random.shuffle(order)
        if self.dataset.workers > 1 or (self.dataset.workers > 0 and self.dataset.use_multiprocessing):
            yield from self._made_ahead(order)
            return
        for index in order:
            yield self._standardize(self.dataset[index])

    def on_epoch_begin(self) -> None:
        """Tell the data set."""
        self.dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Tell the data set."""
        self.dataset.on_epoch_end()

    def _endless(self) -> Iterator[Batch]:
        index = 0
        while True:
            yield self._standardize(self.dataset[index])
            index += 1

    def _made_ahead(self, order: Sequence[int]) -> Iterator[Batch]:
        pending: collections.deque[Future[Any]] = collections.deque()
        remaining = iter(order)
        pool = self._pool()
        try:
            for index in remaining:
                pending.append(pool.submit(self.dataset.__getitem__, index))
                if len(pending) >= self.dataset.max_queue_size:
                    yield self._standardize(pending.popleft().result())
            while pending:
                yield self._standardize(pending.popleft().result())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _pool(self) -> Executor:
        # Imported here: few need them, and they would take a tenth of the time of `import graphcore`.
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

        if self.dataset.use_multiprocessing:
            # Forking a process that runs threads may deadlock; a fresh one does not.
            context = multiprocessing.get_context("spawn")
            return ProcessPoolExecutor(self.dataset.workers, mp_context=context)
        return ThreadPoolExecutor(self.dataset.workers)

    def _standardize(self, batch: Any) -> Batch:
        return standardize_batch(batch, self.class_weight, f"{type(self.dataset).__name__}.__getitem__")
