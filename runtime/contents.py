"""Which memory has changed since something was prepared from it.

An executable whose first instructions depend on variables alone runs them again only after one of those has changed.
It learns of it here: programs that update variables report their memory when they are done, and so does everyone
else who writes to an array that a caller has declared as tracked (`Executable.run(..., tracked=True)`).

A report counts from the moment it is made, and follows the last write. So what was prepared before the report is made
again, even if the preparation overlapped the writing in another thread; what is prepared after it is up to date.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterable, Sequence
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from runtime.arena import address_of

__all__ = ["Followers", "Watch", "changed"]

Array = NDArray[np.generic]

# Each number is given once, so two equal ones mean that nothing was reported in between.
_numbers = itertools.count(1)
_lock = threading.Lock()
# Replaced, never changed: it is read without the lock.
_watches: tuple[ref[Watch], ...] = ()
_version = 0


class Watch:
    """Tells by another value of `number` that the watched arrays have changed."""

    __slots__ = ("__weakref__", "_spans", "number")

    def __init__(self) -> None:
        self.number = 0
        self._spans: list[tuple[int, int]] = []

    def follow(self, arrays: Iterable[Array]) -> None:
        """Watch these arrays, in the place of any others. They must outlive the watching."""
        global _watches, _version
        with _lock:
            self._spans = _spans(arrays)
            self.number = next(_numbers)
            living = [watch for watch in _watches if watch() not in (None, self)]
            _watches = (*living, ref(self))
            _version += 1

    def stop(self) -> None:
        """Watch nothing."""
        self.follow(())

    def overlaps(self, spans: Sequence[tuple[int, int]]) -> bool:
        """Whether a byte of these spans of addresses is watched."""
        return any(start < stop and first < end for first, stop in self._spans for start, end in spans)


class Followers:
    """The watches that a program which writes to the same arrays at every run must tell."""

    __slots__ = ("_found", "_spans", "_version")

    def __init__(self, arrays: Iterable[Array]) -> None:
        self._spans = _spans(arrays)
        self._version = -1
        self._found: tuple[ref[Watch], ...] = ()

    def tell(self) -> None:
        """Report that the arrays have been written."""
        if self._version != _version:
            # The version first: a watch that is added meanwhile is looked for again.
            self._version = _version
            self._found = _overlapping(self._spans)
        _tell(self._found)


def changed(arrays: Iterable[Array]) -> None:
    """Report that arrays have been written."""
    if _watches:
        _tell(_overlapping(_spans(arrays)))


def _spans(arrays: Iterable[Array]) -> list[tuple[int, int]]:
    """First address, and the one after the last, of contiguous arrays; empty ones have none."""
    return [(address_of(array), address_of(array) + array.nbytes) for array in arrays if array.nbytes]


def _overlapping(spans: Sequence[tuple[int, int]]) -> tuple[ref[Watch], ...]:
    found = []
    for reference in _watches:
        watch = reference()
        if watch is not None and watch.overlaps(spans):
            found.append(reference)
    return tuple(found)


def _tell(references: Iterable[ref[Watch]]) -> None:
    for reference in references:
        watch = reference()
        if watch is not None:
            watch.number = next(_numbers)


def _renew_lock_after_fork() -> None:
    # Another thread of the parent may have held it.
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock_after_fork)
