"""The machine's roofs, measured: float32 peak of the micro-kernel, and memory bandwidth (Williams, Waterman and
Patterson 2009).

Some three seconds for each number of threads on a quiet machine, so what was measured once is kept in the cache folder.
"""

from __future__ import annotations

import contextlib
import functools
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np

from compiler.target import host_target
from runtime.cache import default_cache
from runtime.host import host
from runtime.operating_system import data_caches, usable_cores

__all__ = ["Roof", "known_roof", "measure_roof", "roof"]

_REPEATS = 40  # the best of so many: another process can only slow one down
_PEAK_SECONDS = 0.004  # less than the scheduler gives at once
_LEAST_BYTES, _MOST_BYTES = 2**26, 2**29  # of all threads' parts of a streamed array; four times the last cache between
_BLOCK = 1024  # streamed arrays are cut into multiples of so many elements
_ENTRY = "roof"


class Roof(NamedTuple):
    """What the machine does at most on so many threads: FLOP/s in float32, and bytes/s counted as STREAM does."""

    threads: int
    flops: float
    copy: float
    triad: float

    @property
    def bandwidth(self) -> float:
        """The better of the two loops, bytes/s."""
        return max(self.copy, self.triad)

    def share(self, flops: float, bytes_: float, seconds: float, itemsize: int = 4) -> float:
        """The least time that so many floating-point operations, on floats of so many bytes, and so many bytes can
        take, over the time that they took.

        Above 1 where operands came from a cache, or where fewer products were needed than the definition has.
        """
        least = max(flops * max(itemsize, 4) / 4 / self.flops, bytes_ / self.bandwidth)
        return least / seconds if seconds > 0 else 0.0


@functools.cache
def roof(threads: int) -> Roof:
    """That of the machine this process runs on, from the cache folder, or measured and put there."""
    return known_roof(threads) or measure_roof(threads)


def known_roof(threads: int) -> Roof | None:
    """What the cache folder has; None where nothing has been measured."""
    entry = default_cache().get(_key(threads))
    if entry is None:
        return None
    with contextlib.suppress(ValueError, TypeError):
        found = Roof(*json.loads(entry[1]))
        if found.threads == threads and min(found) > 0:
            return found
    return None


def _key(threads: int) -> str:
    caches = sorted(data_caches().items())
    return sha256(f"{_ENTRY}\n{host()}\n{usable_cores()}\n{caches}\n{threads}".encode()).hexdigest()


def measure_roof(threads: int) -> Roof:
    """Measure it now, on that many threads, and keep it in the cache folder."""
    from compiler.roof_kernels import compile_roof_kernels  # here, since it loads LLVM

    kernels = compile_roof_kernels(host_target())
    whole = min(max(_LEAST_BYTES, 4 * max(data_caches().values(), default=0)), _MOST_BYTES)
    size = max(whole // 4 // (_BLOCK * threads), 1) * _BLOCK
    arrays = [[np.full(size, 0.5, np.float32) for _ in range(3)] for _ in range(threads)]

    def copy(own: list[Any]) -> float:
        kernels.copy(size, own[0].ctypes.data, own[1].ctypes.data)
        return 2.0 * float(own[0].nbytes)

    def triad(own: list[Any]) -> float:
        kernels.triad(size, *(array.ctypes.data for array in own))
        return 3.0 * float(own[0].nbytes)

    found = Roof(
        threads,
        _best_rate([_peak_job(kernels) for _ in range(threads)]),
        _best_rate([functools.partial(copy, own) for own in arrays]),
        _best_rate([functools.partial(triad, own) for own in arrays]),
    )
    default_cache().put(_key(threads), _ENTRY, json.dumps(found).encode())
    roof.cache_clear()
    return found


def _peak_job(kernels: Any) -> Callable[[], float]:
    """A job of `_PEAK_SECONDS` or so; returns its operations."""
    a = np.full(kernels.rows * kernels.depth, 0.5, np.float32)
    panel = np.full(kernels.columns * kernels.depth, 0.5, np.float32)
    result = np.zeros(kernels.rows * kernels.columns, np.float32)

    def run(turns: int) -> float:
        begin = time.perf_counter()
        kernels.peak(turns, a.ctypes.data, panel.ctypes.data, result.ctypes.data)
        return time.perf_counter() - begin

    turns = max(1, int(100 * _PEAK_SECONDS / min(run(100) for _ in range(5))))

    def job() -> float:
        run(turns)
        return float(turns * kernels.flops_of_a_turn)

    return job


def _best_rate(jobs: list[Callable[[], float]]) -> float:
    """Work a second of all jobs at once, each on a thread of its own: the best of some repeats."""
    barrier = threading.Barrier(len(jobs))

    def timed(job: Callable[[], float]) -> tuple[float, float, float]:
        barrier.wait()
        begin = time.perf_counter()
        work = job()
        return work, begin, time.perf_counter()

    rates = []
    with ThreadPoolExecutor(len(jobs)) as pool:
        for _ in range(_REPEATS):
            works, begins, ends = zip(*pool.map(timed, jobs), strict=True)
            rates.append(sum(works) / (max(ends) - min(begins)))
    return float(max(rates))
