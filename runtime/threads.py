"""Persistent threads that run a program's instructions together, and how many there are.

A pool's workers are parked inside native code with the interpreter lock released. They are made at the
first run that wants them, and made again after `set_num_threads` or in a forked child. One run uses the
pool at a time: another that comes meanwhile gets no pool and runs on its own thread alone, which gives the
same bits.
"""

from __future__ import annotations

import atexit
import os
import threading
import warnings
from typing import Any

import numpy as np

from runtime.arena import address_of, aligned_empty
from runtime.native import native_loop
from runtime.native_code import LINE, Pool
from runtime.operating_system import PRIMITIVE_BYTES, fill_waiting_slots, usable_cores

__all__ = ["ThreadPool", "borrow_pool", "get_num_threads", "return_pool", "set_num_threads"]

# Some 3 microseconds of looking, then some 100 of yielding, then sleep. Looking for longer costs much when another
# process keeps a core busy and two threads share the rest: with 30 microseconds every wait at the
# end of a phase took as long.
_SPINS = 100
_YIELDS = 300
_STOP_SECONDS = 2.0
_MOST_THREADS = 1024


class ThreadPool:
    """`threads - 1` parked workers; the thread that calls `run_pooled` with this pool is the first of
    `threads`.

    Raises `RuntimeError` when the system gives no more threads.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._slots: Any = aligned_empty((Pool.CLAIMS + LINE * threads,), np.int64)
        self._slots[:] = 0
        self._primitives: Any = aligned_empty((2, PRIMITIVE_BYTES), np.uint8)
        self._primitives[...] = 0
        fill_waiting_slots(self._slots, address_of(self._primitives))
        # With more threads than cores, the thread that is waited for needs the core of the one that looks.
        self._slots[Pool.SPINS] = _SPINS if threads <= usable_cores() else 0
        self._slots[Pool.YIELDS] = _YIELDS
        self.address = address_of(self._slots)
        self._workers: list[threading.Thread] = []
        try:
            for number in range(1, threads):
                self._start(number)
        except RuntimeError:
            self.stop()
            raise

    def _start(self, number: int) -> None:
        worker = threading.Thread(
            target=native_loop().work,
            args=(self.address, number),
            name=f"graphcore-{number}",
            # The interpreter waits for other threads before it runs the exit handler that stops these.
            daemon=True,
        )
        worker.start()
        self._workers.append(worker)

    def stop(self) -> None:
        """End the workers. The pool must not be in use."""
        native_loop().stop(self.address)
        for worker in self._workers:
            worker.join(_STOP_SECONDS)


_pool: ThreadPool | None = None
_num_threads: int | None = None
# Held by the run that uses the pool, and by whoever replaces it.
_in_use = threading.Lock()
# The thread that borrowed the pool. Runs of one thread are never nested: if it comes again, an interrupt has kept it
# from giving the pool back.
_owner = 0


def get_num_threads() -> int:
    """Threads that run a program: what `set_num_threads` set, else `GRAPHCORE_NUM_THREADS`, else the usable
    cores.

    Raises `ValueError` when the environment variable is no number from 1 to 1024.
    """
    global _num_threads
    if _num_threads is None:
        text = os.environ.get("GRAPHCORE_NUM_THREADS")
        _num_threads = usable_cores() if not text else _checked_count(text, "GRAPHCORE_NUM_THREADS")
    return _num_threads


def set_num_threads(threads: int) -> None:
    """Run programs on this many threads from the next run on. Results do not depend on it, down to the last
    bit.

    Raises `ValueError` unless `threads` is an integer from 1 to 1024.
    """
    global _num_threads
    _num_threads = _checked_count(threads, "the number of threads")


def _checked_count(value: object, name: str) -> int:
    try:
        count = int(value) if isinstance(value, (int, str)) else 0
    except ValueError:
        count = 0
    if isinstance(value, bool) or not 1 <= count <= _MOST_THREADS:
        raise ValueError(f"{name} must be an integer from 1 to {_MOST_THREADS}, got {value!r}")
    return count


def borrow_pool() -> ThreadPool | None:
    """The pool for one run, to be given back with `return_pool`; None when the run is to use its own thread
    alone."""
    global _owner
    threads = get_num_threads()
    if threads == 1 or not (_in_use.acquire(blocking=False) or _owner == threading.get_ident()):
        return None
    _owner = threading.get_ident()
    if _pool is not None and _pool.threads == threads:
        return _pool
    try:
        return _replace_pool(threads)
    except RuntimeError as error:
        return_pool()
        set_num_threads(1)
        warnings.warn(
            f"cannot start {threads - 1} threads ({error}); programs run on one thread until set_num_threads",
            RuntimeWarning,
            stacklevel=3,
        )
        return None
    except BaseException:
        return_pool()
        raise


def return_pool() -> None:
    """Let the next run have the pool."""
    global _owner
    _owner = 0
    _in_use.release()


def _replace_pool(threads: int) -> ThreadPool:
    global _pool
    if _pool is not None:
        _pool.stop()
        _pool = None
    _pool = ThreadPool(threads)
    return _pool


def _stop_at_exit() -> None:
    """Let the workers leave native code, and Python end them, while the interpreter still stands."""
    global _pool
    # A daemon thread in the middle of a run keeps the pool; the process then ends with all of them.
    if not _in_use.acquire(timeout=_STOP_SECONDS):
        return
    try:
        if _pool is not None:
            _pool.stop()
            _pool = None
    finally:
        _in_use.release()


def _forget_after_fork() -> None:
    # The workers, and whoever held the lock, do not exist in the child.
    global _pool, _in_use, _owner
    _pool = None
    _owner = 0
    _in_use = threading.Lock()


atexit.register(_stop_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
