"""Loops of a program as plain data: instructions that run once for each step, and buffers that move with the steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from runtime.dimensions import Dim
from runtime.records import record

if TYPE_CHECKING:
    from runtime.program import Program

__all__ = ["Loop", "Window", "loop_problems"]


@record
class Window:
    """Buffer `buffer`, of space "window", is entry `step + shift` of buffer `source` while a step runs.

    With a `period` it is entry `(step + shift) % period`. An entry has the size of `buffer`.
    """

    buffer: int
    source: int
    shift: int = 0
    period: int = 0

    def entry(self, step: int) -> int:
        """Which entry of the source a step sees."""
        return (step + self.shift) % self.period if self.period else step + self.shift


@record
class Loop:
    """The instructions `first` to `end` (excluded) run for the steps 0 to `count`, or in reverse.

    With `limit`, the number of a buffer with an int32, those steps run that are below it, or, if `beyond`, the others.
    """

    first: int
    end: int
    count: Dim
    reverse: bool = False
    limit: int = -1
    beyond: bool = False
    windows: tuple[Window, ...] = ()


def loop_problems(program: Program) -> Iterator[str]:
    """What is wrong with the loops of a program, in words."""
    buffers, owned, end = program.buffers, set(), program.prepared
    for number, loop in enumerate(program.loops):
        place = f"loop {number}"
        if not end <= loop.first < loop.end <= len(program.instructions):
            yield f"{place} has the instructions {loop.first} to {loop.end}, but {end} are taken before it"
            return
        end = loop.end
        if loop.limit != -1 and not 0 <= loop.limit < len(buffers):
            yield f"{place} is limited by buffer {loop.limit}, but the program has {len(buffers)} buffers"
        elif loop.limit != -1 and (buffers[loop.limit].dtype, buffers[loop.limit].shape) != ("int32", ()):
            yield f"{place} is limited by {buffers[loop.limit].name!r}, which is no int32 scalar"
        for window in loop.windows:
            yield from _window_problems(program, place, window)
            owned.add(window.buffer)
        sources = {window.source for window in loop.windows}
        inside = {operand for call in program.instructions[loop.first : loop.end] for operand in call.operands}
        for index in sorted(inside & sources):
            yield f"{place} uses {buffers[index].name!r} whole and in windows"
    strays = [b.name for index, b in enumerate(buffers) if b.space == "window" and index not in owned]
    if strays:
        yield f"buffer {strays[0]!r} is a window of no loop"


def _window_problems(program: Program, place: str, window: Window) -> Iterator[str]:
    count = len(program.buffers)
    if not (0 <= window.buffer < count and 0 <= window.source < count):
        yield f"{place} has a window {window.buffer} of {window.source}, but the program has {count} buffers"
    elif program.buffers[window.buffer].space != "window" or program.buffers[window.source].space == "window":
        yield f"{place}: {window} must be of space 'window', and its source must not"
    elif window.period < 0:
        yield f"{place}: {window} has a negative period"
