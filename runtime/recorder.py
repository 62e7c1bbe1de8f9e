"""Noting every run of every program that a thread makes, without the programs being told.

While anybody records, no executable takes its short way for calls like the last one: that way passes nothing that
could note a call, which is what makes it short.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Protocol
from weakref import WeakSet

from runtime.native import nanoseconds_per_tick, native_loop
from runtime.profile import Profile
from runtime.program import Program

__all__ = ["MOST_NOTES", "Recorder", "enlist", "is_anybody_recording", "recorded_profile"]

# Rows of notes that a thread gets for one native call: of several steps as many are run at once as have room.
MOST_NOTES = 1 << 17


class Recordable(Protocol):
    """An executable."""

    def forget_recent(self) -> None:
        """Let the next call look at everything."""
        ...

    def renew_lock(self) -> None:
        """Take a new lock, in a forked child."""
        ...


# Every executable of this process. A set must not grow while it is looked through, so both are done with the lock.
_executables: WeakSet[Recordable] = WeakSet()
_lock = threading.Lock()

_recorders: dict[int, Recorder] = {}


def enlist(executable: Recordable) -> None:
    """Tell an executable, from now on, when somebody begins to record."""
    with _lock:
        _executables.add(executable)


def _enlisted() -> list[Recordable]:
    with _lock:
        return list(_executables)


class Recorder:
    """Use it in a `with` statement: what the thread runs inside is noted, one `Profile` for each program and each
    value of its symbols.

    Raises:
        ValueError: on entering while this thread records already.
    """

    def __init__(self) -> None:
        self._profiles: dict[tuple[int, tuple[int, ...]], Profile] = {}
        self.begin = 0  # ticks of the loop's clock
        self.end = 0

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """In the order in which their programs first ran."""
        return tuple(profile for profile in self._profiles.values() if profile.runs)

    @property
    def nanoseconds(self) -> float:
        """Wall time from entering to leaving."""
        return (self.end - self.begin) * nanoseconds_per_tick()

    def profile_of(self, program: Program, values: Mapping[str, int]) -> Profile:
        """Where the runs of a program at these values are noted."""
        key = id(program), tuple(values.values())
        profile = self._profiles.get(key)
        if profile is None:
            profile = self._profiles[key] = Profile()
            profile.program = program  # held, so that no other program gets its identity
        return profile

    def __enter__(self) -> Recorder:
        here = threading.get_ident()
        if here in _recorders:
            raise ValueError("this thread is being profiled already: leave the one `with` block before the next")
        nanoseconds_per_tick()  # measured now, not in the middle
        try:
            _recorders[here] = self
            for executable in _enlisted():
                executable.forget_recent()
            self.begin = native_loop().ticks()
        except BaseException:  # an interrupt, while a lock is waited for: `__exit__` will not be called
            _recorders.pop(here, None)
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self.end = native_loop().ticks()
        finally:
            del _recorders[threading.get_ident()]


def is_anybody_recording() -> bool:
    """Whether any thread records."""
    return bool(_recorders)


def recorded_profile(program: Program, values: Mapping[str, int]) -> Profile | None:
    """Where the calling thread notes a run of a program; None where it does not."""
    if not _recorders:
        return None
    recorder = _recorders.get(threading.get_ident())
    return None if recorder is None else recorder.profile_of(program, values)


def _renew_locks_after_fork() -> None:
    # Another thread of the parent may have held it; and those that recorded are no more.
    global _lock
    _lock = threading.Lock()
    for thread in _recorders.keys() - {threading.get_ident()}:
        del _recorders[thread]
    for executable in _enlisted():
        executable.renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks_after_fork)
