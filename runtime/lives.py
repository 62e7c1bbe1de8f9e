"""How long the blocks of a program's arena must keep their contents, and how long they had better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runtime.phases import Place, phase_breaks, phase_spans
from runtime.placement import Life

if TYPE_CHECKING:
    from runtime.program import Program

__all__ = ["lives_of"]


def lives_of(program: Program) -> tuple[Life, ...]:
    """The life of each block of the arena.

    A block whose memory is given away as soon as its last reader is done keeps those waiting that could have run beside
    that reader, had they been given other memory: `Life.until` names the last of them.
    """
    used = _uses(program)
    blocks = 1 + max((buffer.place for buffer in program.buffers if buffer.space == "arena"), default=-1)
    last_beside = _last_beside(program)
    lives = []
    for block in range(blocks):
        first, last = used.get(block, (0, 0))
        kept = first < program.prepared <= last
        lives.append(Life(first, last, kept, last_beside[last] if last_beside else last))
    return tuple(lives)


def _uses(program: Program) -> dict[int, tuple[int, int]]:
    """For each block that is used the instructions that its contents must outlast."""
    used: dict[int, tuple[int, int]] = {}

    def use(buffer: int, position: int) -> None:
        if program.buffers[buffer].space == "arena":
            block = program.buffers[buffer].place
            used[block] = (used.get(block, (position,))[0], position)

    loop_of = {position: loop for loop in program.loops for position in range(loop.first, loop.end)}
    for position, instruction in enumerate(program.instructions):
        loop = loop_of.get(position)
        for buffer in () if loop is None else (loop.limit, *(window.source for window in loop.windows)):
            if buffer >= 0:
                use(buffer, position)
        for operand in instruction.operands:
            use(operand, position)
        if instruction.limit >= 0:
            use(instruction.limit, position)
    # What a step finds there at its begin must be there at the begin of the next.
    for loop in program.loops:
        for block, (first, last) in used.items():
            if first < loop.first <= last < loop.end:
                used[block] = first, loop.end - 1
    return used


def _last_beside(program: Program) -> Sequence[int]:
    """For each instruction the last one of its phase, if every block had memory of its own."""
    instructions = program.instructions
    apart = len(program.buffers)
    places = [
        Place(apart + buffer.place if buffer.space == "arena" else index, 0, 1)
        for index, buffer in enumerate(program.buffers)
    ]
    for loop in program.loops:
        for window in loop.windows:
            places[window.buffer] = Place(-2 - window.source, 0, 1)
    last = list(range(len(instructions)))
    for first, end in phase_spans(instructions, [1] * len(instructions), places, phase_breaks(program)):
        last[first:end] = [end - 1] * (end - first)
    return last
