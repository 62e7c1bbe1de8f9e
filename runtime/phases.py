"""How threads share the work of a program: phases of instructions that do not depend on each other, and the
grains that an instruction's work items are cut into.

Within a phase no thread waits for another, so the items of a small instruction (a bias update, a column sum of
few columns) fill the gaps that the next one leaves. Both depend on sizes alone, and neither changes a bit of any
result: an item is computed in the same way whoever takes it, and whenever.

Aim: 0.3 microseconds for a phase beside its work. Reached (two Zen 3 cores, best of 4000 runs of 12 phases): 0.2 with
an item of 2.4 microseconds for each thread, 0.6 with two items of 0.6 each, 0.05 where one thread takes all before the
other has seen the phase. On top of that comes the time to read what another core has written.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from runtime.program import Instruction, Program

__all__ = ["CALLS_OF_A_RANGE", "MOST_GRAINS", "Place", "grain_counts", "phase_breaks", "phase_spans"]

# Of one instruction, for each thread. Three quarters of what is left are taken at a time, so 16 grains are 3 calls of
# the kernel, and the last to finish keeps the others waiting for a sixteenth of its part. A claim word has room for 63.
# The three quarters are rounded down, so that the last grain is taken by itself: the gradients of attention of the
# causal language model, 16 heads for two threads, waited 10.3 and 11.4 thread-ms of 930 with the last two taken
# together, 7.3 and 4.9 so (medians of 14 steps, in turn).
MOST_GRAINS = 16

# So many calls take the grains of a range, up to 16.
CALLS_OF_A_RANGE = 3

# A kernel that fills much private memory first, with packed weights for example, does that once for each thread, and
# once more for each part of another's range. Where that would cost what such a part is worth, each thread calls it
# once.
# (Filled again by every call, such a kernel lost more by three calls than the quicker thread had to wait: ResNet-20,
# processor time of all threads over that of one, 1.05 with one call for each of two threads, 1.08 with two, 1.22 with
# three. Since a thread goes on with what it has filled, 16 grains instead of 4, in turn, medians: two-layer transformer
# 102, 111 and 107 -> 98, 106 and 107 ms, causal 423, 435 and 448 -> 413, 441 and 433, depthwise net 95 and 98 -> 90 and
# 91, an autoencoder 17.4 and 17.2 -> 17.2 and 17.1, the CIFAR network within the noise.)
_MUCH_SCRATCH = 32 * 1024
_OPERANDS_OF_A_PART = 16  # times the private memory
_ANEW_GRAINS = 4  # of a kernel that begins anew with every call: two calls, since two grains would be taken at once

# A grain should be worth the 0.1 to 0.2 microseconds that it costs when two threads are after it: so many bytes of
# operands take about one microsecond to pass through.
_GRAIN_BYTES = 8 * 1024


class Place(NamedTuple):
    """The bytes `start` to `end` of a memory; different memories do not overlap."""

    memory: int
    start: int
    end: int


def grain_counts(
    instructions: Sequence[Instruction],
    work: Sequence[int],
    scratch: Sequence[int],
    places: Sequence[Place],
    threads: int,
) -> list[int]:
    """Into how many grains each instruction is cut; 0 where there is nothing to do.

    Args:
        instructions: of a program.
        work: how many items each has.
        scratch: bytes of private memory each needs.
        places: of the program's buffers.
        threads: how many share the work.
    """
    counts = []
    for instruction, items, private in zip(instructions, work, scratch, strict=True):
        size = sum(places[operand].end - places[operand].start for operand in set(instruction.operands))
        most = MOST_GRAINS
        if instruction.fills and private >= _MUCH_SCRATCH:
            most = MOST_GRAINS if instruction.keeps else _ANEW_GRAINS
            most = most if size >= _OPERANDS_OF_A_PART * private else 1
        counts.append(min(items, most * threads, max(1, size // _GRAIN_BYTES)))
    return counts


def phase_spans(
    instructions: Sequence[Instruction], work: Sequence[int], places: Sequence[Place], breaks: Collection[int] = ()
) -> list[tuple[int, int]]:
    """The index of the first instruction of each phase, and that after its last one.

    A phase ends before an instruction that writes what one of the phase reads or writes, or reads what one of it
    writes, its limit included. None reaches over an instruction at `breaks`. Every phase has work; instructions that
    have none are left out where they would have a phase of their own.
    """
    spans: list[tuple[int, int]] = []
    first, phase, has_work = 0, _Touched(), False
    for index, (instruction, items) in enumerate(zip(instructions, work, strict=True)):
        if index in breaks:
            spans += [(first, index)] if has_work else []
            first, phase, has_work = index, _Touched(), False
        if items == 0:
            continue
        read = [places[operand] for operand in instruction.operands[: instruction.reads]]
        read += [places[instruction.limit]] if instruction.limit >= 0 else []
        written = [places[operand] for operand in instruction.operands[instruction.reads :]]
        if phase.is_in_the_way_of(read, written):
            spans.append((first, index))
            first, phase = index, _Touched()
        phase.add(read, written)
        has_work = True
    return spans + ([(first, len(instructions))] if has_work else [])


def phase_breaks(program: Program) -> set[int]:
    """Where a phase of a program ends in any case."""
    breaks = {program.prepared, *(loop.first for loop in program.loops), *(loop.end for loop in program.loops)}
    # Sizes are limited when a phase begins: by then the limit must have been computed.
    computed: set[int] = set()
    for index, instruction in enumerate(program.instructions):
        if instruction.limit in computed:
            breaks.add(index)
            computed.discard(instruction.limit)
        computed.update(instruction.operands[instruction.reads :])
    return breaks


class _Touched:
    """The places that the instructions of a phase read and write."""

    def __init__(self) -> None:
        self.read: list[Place] = []
        self.written: list[Place] = []

    def add(self, read: list[Place], written: list[Place]) -> None:
        self.read += read
        self.written += written

    def is_in_the_way_of(self, read: list[Place], written: list[Place]) -> bool:
        return (
            _any_overlap(self.written, read) or _any_overlap(self.written, written) or _any_overlap(self.read, written)
        )


def _any_overlap(first: list[Place], second: list[Place]) -> bool:
    return any(
        one.memory == other.memory and one.start < other.end and other.start < one.end
        for one in first
        for other in second
    )
