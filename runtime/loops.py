"""Loops of a program as plain data: instructions that run once for each step, and buffers that move with the steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from runtime.dimensions import Dim, dim_product
from runtime.records import record

if TYPE_CHECKING:
    from runtime.program import Program

__all__ = ["Loop", "Window", "loop_problems"]

Step = TypeVar("Step", int, NDArray[np.int64])


@record
class Window:
    """Buffer `buffer`, of space "window", is entry `step + shift` of buffer `source` while a step runs.

    With a `period` it is entry `(step + shift) % period`. An entry has the size of `buffer`.
    """

    buffer: int
    source: int
    shift: int = 0
    period: int = 0

    def entry(self, step: Step) -> Step:
        """Which entry of the source a step sees, or each of an array of steps."""
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
        yield from _unlike_windows(program, place, loop)
        for index in _written_both_ways(program, loop):
            yield f"{place} uses {buffers[index].name!r} whole and in windows, and writes it"
    strays = [b.name for index, b in enumerate(buffers) if b.space == "window" and index not in owned]
    if strays:
        yield f"buffer {strays[0]!r} is a window of no loop"


def _written_both_ways(program: Program, loop: Loop) -> list[int]:
    """Buffers that are used whole and in windows, where an instruction that reads does not wait for one that writes."""
    calls = program.instructions[loop.first : loop.end]
    inside = {operand for call in calls for operand in call.operands}
    written = {operand for call in calls for operand in call.operands[call.reads :]}
    written |= {window.source for window in loop.windows if window.buffer in written}
    return sorted(inside & written & {window.source for window in loop.windows})


def _unlike_windows(program: Program, place: str, loop: Loop) -> Iterator[str]:
    """Windows of one buffer move together: then those of different entries never meet, and nothing waits for them."""
    buffers, first = program.buffers, dict[int, Window]()
    for window in loop.windows:
        other = first.setdefault(window.source, window)
        if not max(window.buffer, other.buffer, window.source) < len(buffers):
            continue
        one, two = (buffers[each.buffer] for each in (other, window))
        is_like = one.dtype == two.dtype and dim_product(one.shape) == dim_product(two.shape)
        if other.period != window.period or not is_like:
            yield f"{place}: {one.name!r} and {two.name!r} are windows of one buffer, but of other size or period"


def _window_problems(program: Program, place: str, window: Window) -> Iterator[str]:
    count = len(program.buffers)
    if not (0 <= window.buffer < count and 0 <= window.source < count):
        yield f"{place} has a window {window.buffer} of {window.source}, but the program has {count} buffers"
    elif program.buffers[window.buffer].space != "window" or program.buffers[window.source].space == "window":
        yield f"{place}: {window} must be of space 'window', and its source must not"
    elif window.period < 0:
        yield f"{place}: {window} has a negative period"
