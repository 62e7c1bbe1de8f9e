"""The machine's roof, measured: float32 peak of the micro-kernel, and memory bandwidth, on one thread and on all.

    python -m benchmarks.roof
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.machine import caches, usable_cores
from benchmarks.roof_kernels import DEPTH, RoofKernels, compile_roof_kernels
from benchmarks.workloads import Array
from compiler.target import host_target

_REPEATS = 40  # the best of so many: another process can only slow one down
_PEAK_SECONDS = 0.004  # less than the scheduler gives at once
_LEAST_BYTES = 2**26  # of each streamed array, and four times the last cache
_BLOCK = 1024  # streamed arrays are cut into multiples of so many elements


@dataclasses.dataclass(frozen=True)
class Roof:
    """What the machine does at most on so many threads: FLOP/s in float32, and bytes/s counted as STREAM does."""

    threads: int
    flops: float
    copy: float
    triad: float


def measure_roof(threads: int) -> Roof:
    """Takes some three seconds on a quiet machine."""
    kernels = compile_roof_kernels(host_target())
    size = max(_LEAST_BYTES, 4 * max(caches().values(), default=0)) // 4 // (_BLOCK * threads) * _BLOCK
    arrays = [[np.full(size, 0.5, np.float32) for _ in range(3)] for _ in range(threads)]

    def copy(own: list[Array]) -> float:
        kernels.copy(size, own[0].ctypes.data, own[1].ctypes.data)
        return 2.0 * own[0].nbytes

    def triad(own: list[Array]) -> float:
        kernels.triad(size, *(array.ctypes.data for array in own))
        return 3.0 * own[0].nbytes

    return Roof(
        threads,
        _best_rate([_peak_job(kernels) for _ in range(threads)]),
        _best_rate([lambda own=own: copy(own) for own in arrays]),  # type: ignore[misc]
        _best_rate([lambda own=own: triad(own) for own in arrays]),  # type: ignore[misc]
    )


def _peak_job(kernels: RoofKernels) -> Callable[[], float]:
    """A job of `_PEAK_SECONDS` or so; returns its operations."""
    a = np.full(kernels.rows * DEPTH, 0.5, np.float32)
    panel = np.full(kernels.columns * DEPTH, 0.5, np.float32)
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


def table(roofs: list[Roof]) -> str:
    """In Markdown."""
    lines = ["| threads | float32 peak, GFLOP/s | copy, GB/s | triad, GB/s |", "|---|---|---|---|"]
    for roof in roofs:
        figures = (roof.flops, roof.copy, roof.triad)
        lines.append(f"| {roof.threads} | {' | '.join(f'{figure / 1e9:.1f}' for figure in figures)} |")
    return "\n".join(lines)


def measure_roofs() -> list[Roof]:
    """On one thread, and on all cores if there are more."""
    return [measure_roof(threads) for threads in sorted({1, usable_cores()})]


if __name__ == "__main__":
    print(table(measure_roofs()))
