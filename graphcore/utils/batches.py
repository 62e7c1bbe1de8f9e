"""Data sets that make their batches from sample numbers, anew for every epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

__all__ = ["Batches"]


class Batches:
    """An iterable of batches that can be iterated again; `fit`, `evaluate` and `predict` take it.

    `map(function)` gives one whose batches go through a function, such as a layer that vectorises text: with
    `(x, y)` batches the function takes `x` and `y`.

    Args:
        groups: numbers of the samples of each batch.
        make: from numbers of samples to a batch.
        regroup: from a random generator to other groups, called before each pass; None for the same groups.
        seed: of that generator.
        class_names: names of the classes that labels stand for.
    """

    def __init__(
        self,
        groups: Sequence[Array],
        make: Callable[[Array], Any],
        regroup: Callable[[np.random.Generator], Sequence[Array]] | None = None,
        seed: int | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        self._groups, self._make, self._regroup = groups, make, regroup
        self._generator = np.random.default_rng(seed)
        self.class_names = None if class_names is None else list(class_names)

    def __len__(self) -> int:
        return len(self._groups)

    def __iter__(self) -> Iterator[Any]:
        if self._regroup is not None:
            self._groups = self._regroup(self._generator)
        return map(self._make, self._groups)

    def map(self, function: Callable[..., Any]) -> Batches:
        """The same batches, each as `function` gives it."""

        def make(numbers: Array) -> Any:
            batch = self._make(numbers)
            return function(*batch) if isinstance(batch, tuple) else function(batch)

        changed = Batches(self._groups, make, self._regroup, class_names=self.class_names)
        changed._generator = self._generator
        return changed


def grouped(numbers: Array, size: int | None) -> list[Array]:
    """Consecutive numbers in groups of a size, the last of what is left; None: each number by itself."""
    if size is None:
        return [np.asarray(number) for number in numbers]
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


def shuffled_batches(
    count: int,
    batch_size: int | None,
    make: Callable[[Array], Any],
    shuffle: bool,
    seed: int | None,
    class_names: Sequence[str] | None = None,
) -> Batches:
    """Batches of the samples 0 to count - 1, in this order or in another one at every pass."""
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"`batch_size` must be positive or None. Received: batch_size={batch_size}")

    def regroup(generator: np.random.Generator) -> list[Array]:
        return grouped(generator.permutation(count), batch_size)

    groups = grouped(np.arange(count), batch_size)
    return Batches(groups, make, regroup if shuffle else None, seed, class_names)
