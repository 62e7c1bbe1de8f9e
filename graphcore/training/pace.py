"""How many batches run in one native call, and between two calls of the hooks of callbacks.

A call of a small step costs Python a hundred microseconds that many steps can share. Yet interrupts, progress bars
and `stop_training` wait for the end of a call: so it is as long as `SECONDS_PER_CALL` allows, by the time that
steps took so far. Results do not depend on it.
"""

from __future__ import annotations

SECONDS_PER_CALL = 0.04
GROWTH = 4  # from one call to the next: a first measurement may be far off


class Pace:
    """Decides for one loop over batches; keep it from epoch to epoch.

    Args:
        stride: batches between two calls of the hooks; None calls them after each native call.
    """

    def __init__(self, stride: int | None = None) -> None:
        self.stride = stride
        self._most = 1

    def most(self, done: int) -> int:
        """How many batches may run at once, after so many."""
        return self._most if self.stride is None else min(self._most, self.stride - done % self.stride)

    def is_boundary(self, done: int) -> bool:
        """Whether hooks are called between these batches and the next."""
        return self.stride is None or done % self.stride == 0

    def record(self, steps: int, seconds: float) -> None:
        """A native call ran so many steps in that time."""
        affordable = int(SECONDS_PER_CALL * steps / max(seconds, 1e-9))
        self._most = max(1, min(affordable, GROWTH * self._most))
