"""How batches lie in memory, and how a program finds them there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from graphcore.training.data.arrays import Array, Batch, flat_arrays


class Layout(NamedTuple):
    """In which form the arrays of a data set reach a program.

    Attributes:
        by_rows: the program gets whole arrays, and the numbers of the rows that are the batch; otherwise the
            rows themselves.
        dtypes: element types of the arrays in flat order; the program converts them.
    """

    by_rows: bool
    dtypes: tuple[str, ...]


class Stretch(NamedTuple):
    """One or more batches of equal size that one native call can run through.

    Attributes:
        steps: number of batches.
        rows: samples in each.
        arrays: inputs of the program.
        split: which of them hold the rows of all batches, one batch after another; the others serve every step.
        batch: the batch itself where there is only one and it came from the user's code.
    """

    steps: int
    rows: int
    arrays: tuple[Array, ...]
    split: tuple[bool, ...]
    batch: Batch | None = None

    @classmethod
    def of(cls, batch: Batch) -> Stretch:
        """One batch."""
        arrays = tuple(flat_arrays(batch))
        return cls(1, len(arrays[0]), arrays, (True,) * len(arrays), batch)


class Pass(Protocol):
    """One way through the data."""

    def take(self, most: int) -> Stretch | None:
        """The next batches, at most so many; None at the end."""


class BatchPass:
    """A way through batches that somebody else makes, one by one."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches

    def take(self, most: int) -> Stretch | None:
        """The next batch."""
        batch = next(self._batches, None)
        return None if batch is None else Stretch.of(batch)
