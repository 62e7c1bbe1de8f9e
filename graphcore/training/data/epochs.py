"""Epochs of batches: how many steps, where an epoch goes on, and what happens when the data run out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

from graphcore.training.data.adapters import Adapter
from graphcore.training.data.stretch import Pass, Stretch


def one_batch(done: int) -> int:
    """Batches one by one."""
    return 1


class EpochIterator:
    """Hands out the batches of one epoch after the other.

    With `steps`, an epoch goes on in the data where the one before stopped; without, each epoch is one pass.

    Args:
        adapter: the source of batches.
        steps: number of batches in an epoch; by default all there are.
        argument: how the caller names `steps`, for messages.
    """

    def __init__(self, adapter: Adapter, steps: int | None = None, argument: str = "steps_per_epoch") -> None:
        self.adapter = adapter
        self.steps = steps
        self.argument = argument
        self.ran_out = False
        self._counted: int | None = None  # batches that a pass of unknown length turned out to have
        self._pass: Pass | None = None  # the pass that the next epoch goes on with
        self._taken = 0  # batches taken from it
        self._has_warned = False

    @property
    def num_batches(self) -> int | None:
        """Batches in an epoch; None while not known."""
        return self.steps or self.adapter.num_batches or self._counted

    def reset(self) -> None:
        """Begin the next epoch at the start of the data."""
        self._pass = None

    def epoch(self, most: Callable[[int], int] = one_batch) -> Iterator[Stretch]:
        """The batches of the next epoch. `ran_out` then says whether there were fewer than expected.

        Args:
            most: function of the number of batches done; how many may come next at once.
        """
        self.adapter.on_epoch_begin()
        self.ran_out = False
        expected = self.num_batches
        if self._pass is None or not self.steps or self._taken == self.adapter.num_batches:
            self._restart()
        done = 0
        while self.steps is None or done < self.steps:
            limit = most(done)
            stretch = self._next(limit if self.steps is None else min(limit, self.steps - done), is_first=done == 0)
            if stretch is None:
                self._end_of_data(done, expected)
                break
            done += stretch.steps
            yield stretch
        self.adapter.on_epoch_end()

    def _restart(self) -> None:
        self._pass = self.adapter.start()
        self._taken = 0

    def _next(self, most: int, is_first: bool) -> Stretch | None:
        assert self._pass is not None
        stretch = self._pass.take(most)
        if stretch is None and is_first and self._taken:
            # The pass ended exactly with the epoch before, which could not know it.
            self._restart()
            stretch = self._pass.take(most)
        self._taken += 1 if stretch is None else stretch.steps
        return stretch

    def _end_of_data(self, done: int, expected: int | None) -> None:
        self._pass = None
        if expected is None:
            self._counted = done
        elif done < expected:
            self.ran_out = True
            self._warn(done, expected)

    def _warn(self, done: int, expected: int) -> None:
        if self._has_warned:
            return
        self._has_warned = True
        warnings.warn(
            f"Your input ran out of data: this epoch had {done} of {expected} batches. With `{self.argument}`"
            " the data must make that many batches for every epoch; a generator is consumed only once.",
            stacklevel=2,
        )
