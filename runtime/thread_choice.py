"""Whether a program is quicker on the pool or on the calling thread alone, found out by measuring.

Waking workers, sharing out grains and waiting at the end of each phase costs microseconds: nothing beside a training
step of a millisecond, most of a prediction for one row, and more than all the work where other processes keep the
cores busy. The bits are the same either way, so a program is run both ways, a few times each, and again now and then,
because the load of a machine changes.
"""

from __future__ import annotations

__all__ = ["SAMPLES", "ThreadChoice"]

# The order of a round of samples. The first on the pool finds cold memory and sleeping workers.
_ROUND = (True, True, True, False, False)
SAMPLES = len(_ROUND)
# Runs between rounds: soon again when the two were close, later when one was clearly quicker.
_RUNS_WHEN_CLOSE = 100
_RUNS_WHEN_CLEAR = 300
_CLEAR_RATIO = 1.3


class ThreadChoice:
    """Decides for one program at one set of sizes.

    Before each run `begin()` tells whether to use the pool; when `is_sampling` is then true, `record` takes
    the time that the run took.
    """

    __slots__ = ("_best", "_position", "is_sampling", "runs_left", "use_pool")

    def __init__(self) -> None:
        self.use_pool = True
        self.runs_left = 0
        self.restart()

    def restart(self) -> None:
        """Forget what was measured: the number of threads has changed, or a round begins."""
        self.is_sampling = True
        self._position = 0
        self._best = {True: 0, False: 0}

    def begin(self, runs: int = 1) -> bool:
        """Whether the next run, or so many of them in one call, is to use the pool."""
        if not self.is_sampling:
            self.runs_left -= runs
            if self.runs_left > 0:
                return self.use_pool
            self.restart()
        return _ROUND[self._position]

    def settled(self) -> bool | None:
        """`begin()` for one run while nothing is being measured; None, and nothing counted, when it is time to."""
        if self.is_sampling or self.runs_left <= 1:
            return None
        self.runs_left -= 1
        return self.use_pool

    def record(self, nanoseconds: int) -> None:
        """The time of a run that followed the last `begin()`."""
        pooled = _ROUND[self._position]
        best = self._best[pooled]
        self._best[pooled] = min(best, nanoseconds) if best else nanoseconds
        self._position += 1
        if self._position == SAMPLES:
            self._decide()

    def _decide(self) -> None:
        self.is_sampling = False
        pooled, alone = self._best[True], self._best[False]
        self.use_pool = pooled < alone
        is_clear = max(pooled, alone) > _CLEAR_RATIO * min(pooled, alone)
        self.runs_left = _RUNS_WHEN_CLEAR if is_clear else _RUNS_WHEN_CLOSE
