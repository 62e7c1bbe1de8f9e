"""Profiles as a trace in the JSON that Chrome's and Perfetto's viewers read (Google's "Trace Event Format").

One row for each thread. On it events lie inside each other: a *step* is one run of a program, in it lies each
*instruction* as often as the thread took part in it (in a loop, at each of its steps), and in that the *calls* of its
kernel. Between them stands what the thread did otherwise, where that took `LEAST_GAP` or longer: it waited for another
thread that was in a kernel, or was between calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from compiler.inspect.kernel_times import layer_of
from runtime.dimensions import evaluate
from runtime.native import nanoseconds_per_tick
from runtime.profile import KernelCall, Profile
from runtime.program import Program

__all__ = ["LEAST_GAP", "trace_events"]

Event = dict[str, Any]
_PROCESS = 1
LEAST_GAP = 1000  # nanoseconds


def trace_events(profiles: Sequence[Profile], origin: int | None = None) -> dict[str, Any]:
    """The trace of some profiles, as a JSON object.

    Args:
        profiles: of any programs, made on one thread.
        origin: what the loop's clock said at time 0; by default at the begin of the first run.
    """
    starts = [int(profile.spans()[:, 0].min()) for profile in profiles if profile.runs]
    zero = origin if origin is not None else min(starts, default=0)
    scale = nanoseconds_per_tick()
    events: list[Event] = []
    for profile in profiles:
        for run, (begin, end) in enumerate(profile.spans().tolist()):
            events += _run_events(profile, run, round((begin - zero) * scale), round((end - zero) * scale))
    threads = sorted({event["tid"] for event in events})
    events.sort(key=lambda event: (event["ts"], -event["dur"]))
    return {"traceEvents": [*_names(threads), *events], "displayTimeUnit": "ns"}


def _names(threads: Sequence[int]) -> Iterator[Event]:
    yield _metadata("process_name", 0, "graphcore")
    for thread in threads:
        yield _metadata("thread_name", thread, "calling thread" if thread == 0 else f"worker {thread}")


def _metadata(name: str, thread: int, value: str) -> Event:
    return {"ph": "M", "pid": _PROCESS, "tid": thread, "name": name, "args": {"name": value}}


def _event(name: str, kind: str, thread: int, begin: int, end: int, **arguments: object) -> Event:
    """A complete event; times are given in nanoseconds and written in microseconds."""
    event = {"ph": "X", "pid": _PROCESS, "tid": thread, "name": name, "cat": kind, "ts": begin / 1e3}
    return event | {"dur": (end - begin) / 1e3, "args": arguments}


class _Timed(NamedTuple):
    """A call of a kernel, in whole nanoseconds of the trace; `turn`: in which execution of its instruction."""

    call: KernelCall
    turn: int
    begin: int
    end: int


def _run_events(profile: Profile, run: int, begin: int, end: int) -> Iterator[Event]:
    program = profile.program
    assert program is not None
    calls = profile.calls(run)
    turns = _turns(program, profile, calls)
    timed = [
        _Timed(call, turn, min(begin + round(call.begin), end), min(begin + round(call.until), end))
        for call, turn in zip(calls, turns, strict=True)
    ]
    for thread in range(int(profile.team_sizes()[run])):
        own = [each for each in timed if each.call.thread == thread]
        others = [each for each in timed if each.call.thread != thread]
        yield _event(program.name, "step", thread, begin, end, **profile.values, run=run)
        yield from _instruction_events(program, thread, own)
        yield from _gap_events(thread, own, others, begin, end)


def _turns(program: Program, profile: Profile, calls: Sequence[KernelCall]) -> list[int]:
    """Which execution of its instruction each call belongs to: one is over before the next begins."""
    done = [0] * len(program.instructions)
    work = [max(evaluate(instruction.work, profile.values), 1) for instruction in program.instructions]
    turns = []
    for call in calls:
        turns.append(done[call.position] // work[call.position])
        done[call.position] += call.end - call.first
    return turns


def _instruction_events(program: Program, thread: int, own: Sequence[_Timed]) -> Iterator[Event]:
    """One for each time that the thread took part in an instruction, with its calls."""
    for (position, _), group in groupby(own, lambda each: (each.call.position, each.turn)):
        calls = list(group)
        instruction = program.instructions[position]
        arguments = {"position": position, "layer": layer_of(instruction), "work": str(instruction.work)}
        yield _event(instruction.label, "instruction", thread, calls[0].begin, calls[-1].end, **arguments)
        name = program.kernels[instruction.kernel].name
        for call, _, begin, end in calls:
            yield _event(name, "call", thread, begin, end, items=f"{call.first}:{call.end}")


def _gap_events(
    thread: int, own: Sequence[_Timed], others: Sequence[_Timed], begin: int, end: int
) -> Iterator[Event]:
    """What a thread did between its calls; both lists are in the order of their begin."""
    at, seen = begin, 0
    for first, last in [*((each.begin, each.end) for each in own), (end, end)]:
        while seen < len(others) and others[seen].end <= at:
            seen += 1
        if first - at >= LEAST_GAP:
            is_waiting = _is_any_under_way(others, seen, at, first)
            yield _event("waiting" if is_waiting else "between calls", "gap", thread, at, first)
        at = max(at, last)


def _is_any_under_way(others: Sequence[_Timed], seen: int, begin: int, end: int) -> bool:
    """Whether one of the calls from number `seen` on runs at some time between `begin` and `end`."""
    for number in range(seen, len(others)):
        if others[number].begin >= end:
            return False
        if others[number].end > begin:
            return True
    return False
