"""A program at given values of its symbols: every size a number, every instruction encoded for the native
loop."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from runtime.arena import ALIGNMENT, address_of, align_up_bytes, aligned_empty
from runtime.dimensions import Dim, evaluate
from runtime.limits import limited_sizes
from runtime.loader import LoadedCode
from runtime.native_code import Frame, Record
from runtime.phases import CALLS_OF_A_RANGE, Place, grain_counts, phase_breaks, phase_spans
from runtime.program import CONTINUED, DTYPES, Buffer, Instruction, Program, ProgramError
from runtime.stretches import Span, StretchTable, stretch_table
from runtime.thread_choice import ThreadChoice
from runtime.threads import ThreadPool

__all__ = ["ArraySpec", "Binding", "OneToOne", "Shape"]

_LARGEST = 1 << 62

# Keeping one of a few outputs must not keep much memory alive.
_SMALL_OUTPUT_BYTES = 256

_MOST_RECYCLED_BYTES = 16 * 1024

_empty, _ndarray, _BYTE = np.empty, np.ndarray, np.dtype(np.uint8)


def _reference_counts_are_exact() -> bool:
    """False without the interpreter lock, where threads count the references they hold apart."""
    return getattr(sys, "_is_gil_enabled", lambda: True)()


_reference_count = sys.getrefcount
# The block's own slot and the argument of `getrefcount`; 0 makes every block a new one.
_ONLY_OURS = 2 if _reference_counts_are_exact() else 0

Shape = tuple[int, ...]


class ArraySpec(NamedTuple):
    """What an array given or returned by a call must be."""

    buffer: int
    name: str
    dtype: np.dtype[np.generic]
    shape: Shape


# A binding, its table of addresses, the input's number in it, the function that takes memory for the output, and the
# frame's address. A plain tuple, since those are the quickest to take apart.
OneToOne: TypeAlias = tuple["Binding", memoryview, int, Callable[[memoryview], NDArray[np.generic]], int]


class _OutputMember(NamedTuple):
    """Where an output lies in a block of memory."""

    position: int
    buffer: int
    shape: Shape
    dtype: np.dtype[np.generic]
    offset: int


class _OutputBlock:
    """Memory for one large output, or for all the small ones (losses, metrics) together."""

    __slots__ = ("_address", "_block", "_only_ours", "_parts", "_size", "members")

    def __init__(self, size: int, members: list[_OutputMember]) -> None:
        self.members = members
        self._size = size + ALIGNMENT
        self._block: NDArray[np.uint8] | None = None
        # The block's own slot, its parts, and the argument of `getrefcount`.
        self._only_ours = _ONLY_OURS + len(members) if _ONLY_OURS else 0
        # The number of its buffer and an array for each member of the block.
        self._parts: list[tuple[int, int, NDArray[np.generic]]] = []

    def take(self, addresses: memoryview) -> list[NDArray[np.generic]]:
        """Arrays for the members, in memory that nobody else refers to; their addresses go to the table."""
        parts = self._parts
        if self._block is None or _reference_count(self._block) > self._only_ours:
            parts = self._renew()
        arrays = []
        for buffer, address, part in parts:
            addresses[buffer] = address
            arrays.append(part[...])  # a quarter of the time of making it of the block
        return arrays

    def take_one(self, addresses: memoryview) -> NDArray[np.generic]:
        """`take` for a block that has one member."""
        is_free = self._block is not None and _reference_count(self._block) <= self._only_ours
        ((buffer, address, part),) = self._parts if is_free else self._renew()
        addresses[buffer] = address
        return part[...]

    def _renew(self) -> list[tuple[int, int, NDArray[np.generic]]]:
        """Another block. One that is small enough is kept: a call that finds all arrays made of it gone takes it
        again."""
        block = _empty(self._size, _BYTE)
        start = address_of(block)
        padding = -start % ALIGNMENT
        parts = [
            (buffer, start + padding + offset, _ndarray(shape, dtype, block, padding + offset))
            for _, buffer, shape, dtype, offset in self.members
        ]
        if self._size <= _MOST_RECYCLED_BYTES:
            self._block, self._parts = block, parts
        return parts


def _plan_outputs(specs: Sequence[ArraySpec]) -> list[_OutputBlock]:
    blocks: list[_OutputBlock] = []
    shared: list[_OutputMember] = []
    shared_size = 0
    for position, (buffer, _, dtype, shape) in enumerate(specs):
        size = align_up_bytes(math.prod(shape) * dtype.itemsize)
        if size <= _SMALL_OUTPUT_BYTES:
            shared.append(_OutputMember(position, buffer, shape, dtype, shared_size))
            shared_size += size
        else:
            blocks.append(_OutputBlock(size, [_OutputMember(position, buffer, shape, dtype, 0)]))
    if shared:
        blocks.append(_OutputBlock(shared_size, shared))
    return blocks


class Binding:
    """One program at one value of each symbol, ready for `NativeLoop.run`.

    Raises `ProgramError` when a size is out of range at these values.
    """

    def __init__(self, program: Program, values: Mapping[str, int], code: Sequence[LoadedCode]) -> None:
        self.program = program
        self.values = dict(values)
        self._code = tuple(code)  # keeps the functions that the stream calls loaded
        self._numbers: dict[Dim, int] = {}
        self.inputs = self._specs(program.inputs)
        self.outputs = self._specs(program.outputs)
        self._sizes = [self._bytes_of(index, buffer) for index, buffer in enumerate(program.buffers)]
        placement = program.placement(self._sizes, self.values)
        self.arena_bytes = placement.size
        self._offsets = placement.offsets
        self._scratch = [
            align_up_bytes(self._number(instruction.scratch, f"scratch of {instruction.label!r}"))
            for instruction in program.instructions
        ]
        self.scratch_stride = max(self._scratch, default=0)
        self.stream = self._encode()
        self._shared_for = 1
        self._patches = limited_sizes(program, self.values, self.stream, self._record_starts)
        cuts = sorted({0, *phase_breaks(program), len(program.instructions)})
        self._alone = self._table_of(list(pairwise(cuts)), self._work)
        self._phases, self._prepared_phases = self._alone, 0
        self._table: NDArray[np.int64] = np.zeros(max(len(program.buffers), 1), np.int64)
        # Writing through a memory view takes half as long as through the array.
        self.addresses = memoryview(self._table.data)
        for index, buffer in enumerate(program.buffers):
            if buffer.space == "constant":
                self.addresses[index] = address_of(program.constants[buffer.place])
        in_arena = [(index, buffer) for index, buffer in enumerate(program.buffers) if buffer.space == "arena"]
        self._arena_indices = np.array([index for index, _ in in_arena], np.int64)
        self._arena_offsets = np.array([self._offset(buffer) for _, buffer in in_arena], np.int64)
        self._arena_address = -1
        self._frame: Any = aligned_empty((Frame.SIZE,), np.int64)
        self.frame = memoryview(self._frame.data)
        self.frame_address = address_of(self._frame)
        self._fill_frame()
        self._output_blocks = _plan_outputs(self.outputs)
        self._only_output = self._output_blocks[0] if len(self.outputs) == 1 else None
        # What the addresses and the frame were last filled for; see Executable.
        self.variables_version = -1
        self.memory_version = -1
        self.pool: ThreadPool | None = None
        self.pool_threads = 0
        self.thread_choice = ThreadChoice()

    def fresh_outputs(self) -> tuple[NDArray[np.generic], ...]:
        """New 64-byte aligned arrays for the outputs, with their addresses written to the table."""
        if self._only_output is not None:
            return tuple(self._only_output.take(self.addresses))
        arrays: list[Any] = [None] * len(self.outputs)
        for output in self._output_blocks:
            for member, array in zip(output.members, output.take(self.addresses), strict=True):
                arrays[member.position] = array
        return tuple(arrays)

    def one_to_one(self) -> OneToOne | None:
        """What a call of the short way needs; None unless there are one input and one output."""
        if len(self.inputs) != 1 or self._only_output is None:
            return None
        return self, self.addresses, self.inputs[0].buffer, self._only_output.take_one, self.frame_address

    def place_arena(self, address: int) -> None:
        """Point the arena's buffers into the block of memory at `address`."""
        if address == self._arena_address:
            return
        self._table[self._arena_indices] = self._arena_offsets + address
        self._arena_address = address

    def _specs(self, indices: Sequence[int]) -> tuple[ArraySpec, ...]:
        buffers = self.program.buffers
        return tuple(
            ArraySpec(index, buffers[index].name, DTYPES[buffers[index].dtype], self._shape(buffers[index]))
            for index in indices
        )

    def _shape(self, buffer: Buffer) -> Shape:
        return tuple(self._number(dim, f"a size of buffer {buffer.name!r}") for dim in buffer.shape)

    def _bytes_of(self, index: int, buffer: Buffer) -> int:
        size = DTYPES[buffer.dtype].itemsize
        for dim in buffer.shape:
            size *= self._size(dim, f"a size of buffer {index} ({buffer.name!r})")
        if size >= _LARGEST:
            raise ProgramError(f"buffer {index} ({buffer.name!r}) takes {size} bytes for {self.values}: out of range")
        return size

    def _number(self, dim: Dim, place: str) -> int:
        """The value of a size; equal expressions, and there are many, are evaluated once."""
        if isinstance(dim, int):
            return dim
        number = self._numbers.get(dim)
        if number is None:
            number = evaluate(dim, self.values)
            self._numbers[dim] = number
        if not -_LARGEST < number < _LARGEST:
            raise ProgramError(f"{place} is {dim} = {number} for {self.values}: out of range")
        return number

    def _size(self, dim: Dim, place: str) -> int:
        number = self._number(dim, place)
        if number < 0:
            raise ProgramError(f"{place} is {dim} = {number} for {self.values}: negative")
        return number

    def _encode(self) -> NDArray[np.int64]:
        instructions = self.program.instructions
        self._work = [
            self._size(instruction.work, f"work of instruction {index} ({instruction.label!r})")
            for index, instruction in enumerate(instructions)
        ]
        # Whether any instruction has work for more than one thread.
        self.is_parallel = any(items > 1 for items in self._work)
        stream: list[int] = []
        self._record_starts: list[int] = []
        for index, instruction in enumerate(instructions):
            self._record_starts.append(len(stream))
            stream += self._record(index, instruction, self._work[index])
        return np.array(stream or [0], np.int64)

    def _record(self, index: int, instruction: Instruction, work: int) -> list[int]:
        place = f"an extent of instruction {index} ({instruction.label!r})"
        head = [0] * Record.HEAD
        head[Record.FUNCTION] = self._code[instruction.kernel].address
        head[Record.OPERANDS] = len(instruction.operands)
        head[Record.EXTENTS] = len(instruction.extents)
        head[Record.WORK] = work
        head[Record.KEEPS] = CONTINUED if instruction.keeps else 0
        return [*head, *instruction.operands, *(self._number(dim, place) for dim in instruction.extents)]

    def share_work(self, threads: int) -> None:
        """Cut the work into grains for this many threads."""
        self.frame[Frame.THREADS] = threads
        if threads == self._shared_for or threads == 1:
            return
        self._shared_for = threads
        program, places = self.program, self._places()
        grains = grain_counts(program.instructions, self._work, self._scratch, places, threads)
        for start, count in zip(self._record_starts, grains, strict=True):
            self.stream[start + Record.GRAINS] = count
        spans = phase_spans(program.instructions, self._work, places, phase_breaks(program))
        self._phases = self._table_of(spans, grains)
        self._prepared_phases = sum(end <= program.prepared for _, end in spans)
        self.begin_at(self.frame[Frame.START])

    @property
    def most_calls(self) -> int:
        """How many kernels one thread calls in a run, at most: the ranges of all threads fall to it, call by call."""
        return int(self.frame[Frame.EPOCHS]) * int(self.frame[Frame.THREADS]) * CALLS_OF_A_RANGE

    def _table_of(self, spans: Sequence[Span], grains: Sequence[int]) -> StretchTable:
        begin = address_of(self.stream)
        records = [begin + start * self.stream.itemsize for start in self._record_starts]

        def steps(count: Dim) -> int:
            return self._size(count, "the steps of a loop")

        return stretch_table(self.program, spans, records, grains, self._patches.rows, steps, self._sizes)

    def begin_at(self, instruction: int) -> None:
        """Run from this instruction on: the first one, or the first that is not prepared."""
        phases, stretches = self._phases, self._alone
        prepared_phases, prepared_stretches = (self._prepared_phases, 1) if instruction else (0, 0)
        self.frame[Frame.START] = instruction
        self.frame[Frame.STRETCHES] = stretches.address(prepared_stretches)
        self.frame[Frame.STRETCH_COUNT] = stretches.length - prepared_stretches
        self.frame[Frame.PHASES] = phases.address(prepared_phases)
        self.frame[Frame.PHASE_COUNT] = phases.length - prepared_phases
        self.frame[Frame.EPOCHS] = phases.epochs

    def _offset(self, buffer: Buffer) -> int:
        """Where a buffer of the arena begins."""
        return self._offsets[buffer.place] + self._size(buffer.start, f"the start of buffer {buffer.name!r}")

    def _places(self) -> list[Place]:
        """Where each buffer lies: in the arena, or in memory of its own."""
        places = []
        for index, (buffer, size) in enumerate(zip(self.program.buffers, self._sizes, strict=True)):
            is_in_arena = buffer.space == "arena"
            start = self._offset(buffer) if is_in_arena else 0
            places.append(Place(-1 if is_in_arena else index, start, start + size))
        for loop in self.program.loops:
            for window in loop.windows:
                # Windows of one buffer move together: those of another entry never meet.
                size = self._sizes[window.buffer]
                start = window.entry(0) * size
                places[window.buffer] = Place(-2 - window.source, start, start + size)
        return places

    def _fill_frame(self) -> None:
        self._frame[:] = 0
        self.begin_at(0)
        self._frame[Frame.ADDRESSES] = address_of(self._table)
        self._frame[Frame.SCRATCH_STRIDE] = self.scratch_stride
        most = max((len(instruction.operands) for instruction in self.program.instructions), default=0)
        self._frame[Frame.MOST_OPERANDS] = most
        self._frame[Frame.THREADS] = 1
        self._frame[Frame.FAILED] = -1
