"""A worker: one engine in one process, driven over its standard input and output, one JSON object a line.

    python -m benchmarks.worker ENGINE --threads N

Commands: {"do": "describe"}, {"do": "prepare", "task": {...}}, {"do": "first_step", "task": {...}},
{"do": "run", "seconds": s}, {"do": "growth", "task": {...}}, {"do": "flops", "task": {...}}, {"do": "memory"}. Each is
answered by one line: {"ok": true, ...} or {"ok": false, "error": "..."}. The worker ends when its input does. What
frameworks print goes to standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from benchmarks.engines import ENGINES
from benchmarks.engines.engine import Engine, Step
from benchmarks.workloads import Task

WARM_UP_CALLS = 5
WARM_UP_SECONDS = 5.0  # of calls that are slow, fewer
SAMPLE_SECONDS = 2e-4  # calls that are shorter are timed several together
LEAST_SAMPLES = 3

Reply = dict[str, Any]


class Worker:
    """Carries out commands with one engine, which is made by the first that needs it."""

    def __init__(self, make_engine: Callable[[], Engine]) -> None:
        self._make_engine = make_engine
        self._engine: Engine | None = None
        self._step: Step | None = None
        self._calls_in_a_sample = 1

    @property
    def engine(self) -> Engine:
        """The engine; the first use imports its framework."""
        if self._engine is None:
            self._engine = self._make_engine()
        return self._engine

    def answer(self, command: dict[str, Any]) -> Reply:
        """Carry out one command.

        Raises:
            ValueError: for a command that there is not, or `run` before `prepare`.
        """
        handlers: dict[str, Callable[[dict[str, Any]], Reply]] = {
            "describe": lambda _: {"versions": self.engine.versions()},
            "prepare": self._prepare,
            "first_step": self._first_step,
            "run": self._run,
            "growth": self._growth,
            "flops": lambda c: {"flops": self.engine.flops(Task(**c["task"]))},
            "memory": lambda _: {"peak_bytes": peak_resident_bytes()},
        }
        handler = handlers.get(command.get("do", ""))
        if handler is None:
            raise ValueError(f"No command {command.get('do')!r}. Known: {', '.join(handlers)}.")
        return handler(command)

    def _first_step(self, command: dict[str, Any]) -> Reply:
        self._step = self.engine.prepare(Task(**command["task"]))
        self._step()
        return {}

    def _prepare(self, command: dict[str, Any]) -> Reply:
        """Make the step, let it warm up, and find how many calls make a sample long enough for the clock."""
        self._step = None  # its memory is free for the next
        step = self._step = self.engine.prepare(Task(**command["task"]))
        times: list[float] = []
        while len(times) < WARM_UP_CALLS and sum(times) < WARM_UP_SECONDS:
            begin = time.perf_counter()
            step()
            times.append(time.perf_counter() - begin)
        self._calls_in_a_sample = max(1, int(SAMPLE_SECONDS / min(times)))
        return {}

    def _run(self, command: dict[str, Any]) -> Reply:
        """Times of steps for so many seconds. The first call is not counted: others had the caches before it."""
        step, calls = self._step, self._calls_in_a_sample
        if step is None:
            raise ValueError("There is nothing to run. Send 'prepare' first.")
        clock, total = time.perf_counter, time.process_time()
        step()
        samples: list[float] = []
        processor = time.process_time()
        stop = clock() + float(command["seconds"])
        while len(samples) < LEAST_SAMPLES or clock() < stop:
            begin = clock()
            for _ in range(calls):
                step()
            samples.append(clock() - begin)
        now = time.process_time()
        processor, total = now - processor, now - total
        steps = calls * self.engine.steps_in_a_call
        return {
            "samples": [sample / steps for sample in samples],
            "processor_seconds": processor / (len(samples) * steps),  # of one step
            "processor_total": total,
        }

    def _growth(self, command: dict[str, Any]) -> Reply:
        """How many bytes the first step of a task needs at most beyond what was resident before it."""
        step = self.engine.prepare(Task(**command["task"]))
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)  # what the C library keeps would hide a part of what is needed
        before = restart_peak()
        results = step()
        grown = peak_resident_bytes() - before
        del results
        return {"grown_bytes": grown}


def restart_peak() -> int:
    """Let `peak_resident_bytes` begin at what is resident now, which is returned.

    Raises:
        OSError: where the system has no such thing; Linux has.
    """
    with open("/proc/self/clear_refs", "w", encoding="ascii") as control:
        control.write("5")
    return peak_resident_bytes()


def peak_resident_bytes() -> int:
    """The most memory that this process has had in use, its framework's code included.

    Linux's VmHWM, since getrusage counts what the parent had in use before it started this process.
    """
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def serve(worker: Worker, commands: TextIO, replies: TextIO) -> None:
    """Answer commands until there are no more; an error is an answer too."""
    for line in commands:
        try:
            reply = {"ok": True, **worker.answer(json.loads(line))}
        except Exception as error:  # whatever a framework raises is told to who asked
            reply = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    # Not every framework can be told its number of threads, but all of them look at the cores they may use.
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[: options.threads])
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(Worker(lambda: ENGINES[options.engine].make(options.threads)), sys.stdin, replies)


if __name__ == "__main__":
    main()
