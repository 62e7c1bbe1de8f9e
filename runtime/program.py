"""A compiled program as plain data: buffers, kernels and the list of instructions.

The compiler fills a `Program`; `runtime.executor` runs it. Nothing here executes anything, and `from_bytes`
reads data only. The object code inside a program is machine code all the same: run a program only if you
trust its source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from runtime.arena import ALIGNMENT, address_of, aligned_copy
from runtime.dimensions import Dim, SymbolicInt, evaluate, symbols_of
from runtime.lives import lives_of
from runtime.loops import Loop, loop_problems
from runtime.placement import Life, Placement, place
from runtime.records import record

__all__ = ["CONTINUED", "DTYPES", "Buffer", "Instruction", "Kernel", "Program", "ProgramError", "Space"]

# Added to the first item of a kernel's call that goes on where the thread's last one ended: see `Instruction.keeps`.
CONTINUED = 1 << 62

Space: TypeAlias = Literal["input", "variable", "constant", "output", "arena", "window"]

_SPACES: tuple[str, ...] = get_args(Space)
_NO_SYMBOLS: Mapping[str, int] = {}

_DTYPE_NAMES = (
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
)
DTYPES: dict[str, np.dtype[np.generic]] = {name: np.dtype(name) for name in _DTYPE_NAMES}


class ProgramError(ValueError):
    """A program that does not hold together; the message names the instruction, operand or buffer."""


@record
class Buffer:
    """A typed place in memory, C-contiguous.

    `place` is the number of a block of the arena for space "arena" (buffers of one block begin at the same byte, so
    they must not be alive together, but for those that begin `start` bytes further on and are a part of it), the index
    into `Program.constants` for space "constant", and 0 otherwise: the caller provides those arrays, and a "window" is
    another part of another buffer at each step of a loop.
    """

    name: str
    dtype: str
    shape: tuple[Dim, ...]
    space: Space
    place: int = 0
    start: Dim = 0


@record
class Kernel:
    """Relocatable object code of one function `symbol` with the kernel calling convention.

    `i32 symbol(i8* retval, i8** excinfo, i64* pointers, i64* extents, i64 scratch, i64 begin, i64 end)`. It
    works on the items `begin` to `end` and returns 0 when all is well. `key` names the code by its content;
    `source` is for people to read.
    """

    name: str
    key: str
    symbol: str
    object_code: bytes
    source: str = ""

    def __repr__(self) -> str:
        return f"Kernel({self.name!r}, {len(self.object_code)} bytes, key={self.key[:12]!r})"


@record
class Instruction:
    """One kernel call over `work` items.

    `operands` are buffer indices, inputs then outputs; `extents` are the integers the kernel reads;
    `scratch` is the number of bytes of private memory each thread needs; `label` is what errors and
    profiles call it. The kernel only reads the first `reads` operands; all others it may write. `keeps`: what it makes
    in private memory, tables for example, serves later items as well; where a thread's call begins at the item at
    which its last one ended, `CONTINUED` is added to it. `fills`: that is much, packed weights for example.

    `limit` is the number of a buffer with an int32, or -1. With it the kernel works as if the symbol `steps` had that
    value, at most its own: on the leading steps of arrays with time as their first axis.

    For profiles: `multiply_adds` are those of contractions, by definition, in one call over all items, `bytes_read` and
    `bytes_written` what such a call must at least move.
    """

    kernel: int
    operands: tuple[int, ...]
    extents: tuple[Dim, ...] = ()
    work: Dim = 1
    scratch: Dim = 0
    label: str = ""
    reads: int = 0
    fills: bool = False
    keeps: bool = False
    limit: int = -1
    steps: str = ""
    multiply_adds: Dim = 0
    bytes_read: Dim = 0
    bytes_written: Dim = 0


@dataclass(frozen=True, eq=False, repr=False)
class Program:
    """Everything needed to run a compiled graph at any value of its `symbols`.

    `inputs`, `variables` and `outputs` are buffer indices in call order. Variables are updated in place.
    `constants` are read-only arrays (a writable or unaligned one is copied). Where the blocks of the arena lie is
    decided for each value of the symbols (see `placement`). `target` is the triple, processor and features the object
    code was made for. The first `prepared`
    instructions need not be run again while the variables they read are unchanged: they read only constants, variables
    and the arena, and what the others read of them lies in blocks whose sizes no symbol changes and that nothing else
    is written to. `fixed` names the symbols that have one value only, with that value: the program is right for no
    other. Raises `ProgramError` when parts disagree.
    """

    name: str
    symbols: tuple[str, ...]
    buffers: tuple[Buffer, ...]
    inputs: tuple[int, ...]
    variables: tuple[int, ...]
    outputs: tuple[int, ...]
    instructions: tuple[Instruction, ...]
    kernels: tuple[Kernel, ...]
    constants: tuple[NDArray[np.generic], ...] = ()
    target: str = ""
    prepared: int = 0
    loops: tuple[Loop, ...] = ()
    fixed: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "constants", tuple(_read_only(array) for array in self.constants))
        for index, buffer in enumerate(self.buffers):
            _check_buffer(self, index, buffer)
        _check_interface(self)
        for index, instruction in enumerate(self.instructions):
            _check_instruction(self, index, instruction)
        for number, loop in enumerate(self.loops):
            _check_dim(self, f"loop {number}, count", loop.count)
        for problem in loop_problems(self):
            raise ProgramError(problem)
        _check_prepared(self)

    def __repr__(self) -> str:
        fixed = dict(self.fixed)
        names = [f"{name}={fixed[name]}" if name in fixed else name for name in self.symbols]
        symbols = f" over {', '.join(names)}" if names else ""
        return (
            f"<Program {self.name!r}{symbols}: {len(self.inputs)} inputs, "
            f"{len(self.variables)} variables, {len(self.outputs)} outputs, "
            f"{len(self.instructions)} instructions, {len(self.kernels)} kernels, "
            f"{len(self.lives)} blocks of arena>"
        )

    @property
    def updated(self) -> frozenset[int]:
        """Buffer indices of the variables that an instruction may write."""
        written = {operand for call in self.instructions for operand in call.operands[call.reads :]}
        return frozenset(written.intersection(self.variables))

    def describe(self) -> str:
        """The program as text: one line for each buffer and each instruction."""
        lines = [repr(self)]
        for index, buffer in enumerate(self.buffers):
            shape = ",".join(str(dim) for dim in buffer.shape)
            place = f" {buffer.place}" if buffer.space in ("arena", "constant") else ""
            lines.append(f"  %{index} {buffer.name}: {buffer.dtype}[{shape}] {buffer.space}{place}")
        for index, instruction in enumerate(self.instructions):
            operands = ", ".join(f"%{operand}" for operand in instruction.operands)
            extents = ", ".join(str(extent) for extent in instruction.extents)
            lines.append(
                f"  {index}: {self.kernels[instruction.kernel].name}({operands}) extents=({extents}) "
                f"work={instruction.work} scratch={instruction.scratch} # {instruction.label}"
            )
        return "\n".join(lines)

    def to_bytes(self) -> bytes:
        """The program as data: a JSON header and the raw bytes of kernels and constants, under one checksum.

        Equal programs give equal bytes.
        """
        from runtime.program_bytes import bytes_of  # here, since it needs this module

        return bytes_of(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Program:
        """Read what `to_bytes` wrote. Runs nothing, and allocates only what the given bytes hold.

        Raises `ProgramError` for bytes that are damaged, cut short or of another version.
        """
        from runtime.program_bytes import program_from

        return program_from(data)

    @cached_property
    def lives(self) -> tuple[Life, ...]:
        """For each block of the arena the instructions that its contents must outlast."""
        return lives_of(self)

    def placement(self, sizes: Sequence[int], values: Mapping[str, int] = _NO_SYMBOLS) -> Placement:
        """Where the blocks of the arena lie when the symbols have these `values`, which give the buffers, those of
        other spaces too, these sizes in bytes."""
        of_blocks = [0] * len(self.lives)
        for buffer, size in zip(self.buffers, sizes, strict=True):
            if buffer.space == "arena":
                of_blocks[buffer.place] = max(of_blocks[buffer.place], evaluate(buffer.start, values) + size)
        return place(of_blocks, self.lives)

    def buffer_bytes(self, index: int, values: Mapping[str, int]) -> int:
        """Size in bytes of buffer `index` once the symbols have `values`."""
        buffer = self.buffers[index]
        elements = 1
        for dim in buffer.shape:
            elements *= evaluate(dim, values)
        return elements * DTYPES[buffer.dtype].itemsize


def _read_only(array: NDArray[np.generic]) -> NDArray[np.generic]:
    if not isinstance(array, np.ndarray) or array.dtype.name not in DTYPES:
        raise ProgramError(f"a constant must be an array of {', '.join(DTYPES)}; got {type(array).__name__}")
    usable = array.flags.c_contiguous and not array.flags.writeable and array.dtype.isnative
    if usable and address_of(array) % ALIGNMENT == 0:
        return array
    copy = aligned_copy(array.astype(DTYPES[array.dtype.name], copy=False))
    copy.flags.writeable = False
    return copy


def _check_dim(program: Program, place: str, dim: object) -> None:
    if isinstance(dim, SymbolicInt):
        unknown = [name for name in symbols_of(dim) if name not in program.symbols]
        if unknown:
            known = ", ".join(program.symbols) or "none"
            raise ProgramError(f"{place} uses the unknown symbol {unknown[0]!r}; the program's symbols are: {known}")
    elif type(dim) is not int or dim < 0:
        raise ProgramError(f"{place} must be a non-negative integer or a symbolic size, got {dim!r}")


def _check_buffer(program: Program, index: int, buffer: Buffer) -> None:
    place = f"buffer {index} ({buffer.name!r})"
    if buffer.dtype not in DTYPES:
        raise ProgramError(f"{place} has the unknown dtype {buffer.dtype!r}; known are {', '.join(DTYPES)}")
    if buffer.space not in _SPACES:
        raise ProgramError(f"{place} has the unknown space {buffer.space!r}; known are {', '.join(_SPACES)}")
    for axis, dim in enumerate(buffer.shape):
        _check_dim(program, f"{place}, axis {axis}", dim)
    _check_dim(program, f"{place}, start", buffer.start)
    # There are no more blocks than buffers: a damaged file cannot ask for many.
    if type(buffer.place) is not int or not 0 <= buffer.place < len(program.buffers):
        raise ProgramError(f"{place} has the place {buffer.place!r}; known are 0 to {len(program.buffers) - 1}")
    if buffer.space == "constant":
        _check_constant(program, place, buffer)


def _check_constant(program: Program, place: str, buffer: Buffer) -> None:
    if buffer.place >= len(program.constants):
        raise ProgramError(f"{place} is constant {buffer.place}, but the program holds {len(program.constants)}")
    constant = program.constants[buffer.place]
    if constant.dtype.name != buffer.dtype or constant.shape != buffer.shape:
        raise ProgramError(
            f"{place} is declared {buffer.dtype}{list(buffer.shape)}, "
            f"its constant is {constant.dtype.name}{list(constant.shape)}"
        )


def _check_interface(program: Program) -> None:
    for space, indices in (
        ("input", program.inputs),
        ("variable", program.variables),
        ("output", program.outputs),
    ):
        for position, index in enumerate(indices):
            _check_index(f"{space} {position}", index, len(program.buffers), "buffers")
            found = program.buffers[index].space
            if found != space:
                raise ProgramError(f"{space} {position} is buffer {index}, which lies in space {found!r}")
        declared = [i for i, buffer in enumerate(program.buffers) if buffer.space == space]
        if sorted(indices) != declared:
            raise ProgramError(
                f"every buffer of space {space!r} must be listed once in `{space}s`: "
                f"declared are {declared}, listed are {list(indices)}"
            )
    bindable = {dim for i in (*program.inputs, *program.variables) for dim in program.buffers[i].shape}
    for name in program.symbols:
        if not any(str(dim) == name for dim in bindable):
            raise ProgramError(
                f"the symbol {name!r} is not the size of any axis of an input or a variable, "
                "so a call could not tell its value"
            )
    for name, value in program.fixed:
        if name not in program.symbols or type(value) is not int or value < 0:
            raise ProgramError(f"the symbol {name!r} is fixed to {value!r}; known are {', '.join(program.symbols)}")
    if len(dict(program.fixed)) != len(program.fixed):
        raise ProgramError(f"a symbol is fixed twice: {program.fixed}")


def _check_instruction(program: Program, index: int, instruction: Instruction) -> None:
    place = f"instruction {index} ({instruction.label!r})"
    _check_index(f"{place}, kernel", instruction.kernel, len(program.kernels), "kernels")
    for position, operand in enumerate(instruction.operands):
        _check_index(f"{place}, operand {position}", operand, len(program.buffers), "buffers")
    for position, extent in enumerate(instruction.extents):
        _check_extent(program, f"{place}, extent {position}", extent)
    _check_dim(program, f"{place}, work", instruction.work)
    _check_dim(program, f"{place}, scratch", instruction.scratch)
    _check_dim(program, f"{place}, multiply-adds", instruction.multiply_adds)
    _check_dim(program, f"{place}, bytes read", instruction.bytes_read)
    _check_dim(program, f"{place}, bytes written", instruction.bytes_written)
    if type(instruction.reads) is not int or not 0 <= instruction.reads <= len(instruction.operands):
        raise ProgramError(f"{place} reads {instruction.reads!r} of its {len(instruction.operands)} operands")
    if instruction.limit != -1:
        _check_index(f"{place}, limit", instruction.limit, len(program.buffers), "buffers")
        limit = program.buffers[instruction.limit]
        if (limit.dtype, limit.shape) != ("int32", ()) or instruction.steps not in program.symbols:
            raise ProgramError(f"{place} is limited by {limit.name!r} steps of {instruction.steps!r}")


def _check_prepared(program: Program) -> None:
    if type(program.prepared) is not int or not 0 <= program.prepared <= len(program.instructions):
        raise ProgramError(f"{program.prepared!r} of {len(program.instructions)} instructions are to be prepared")
    updated = program.updated
    for index, instruction in enumerate(program.instructions[: program.prepared]):
        if any(isinstance(size, SymbolicInt) for size in (*instruction.extents, instruction.work)):
            raise ProgramError(f"instruction {index} ({instruction.label!r}) is prepared, but its sizes have symbols")
        for position, operand in enumerate(instruction.operands):
            buffer = program.buffers[operand]
            may_read = buffer.space in ("arena", "constant") or (buffer.space == "variable" and operand not in updated)
            if not may_read or (position >= instruction.reads and buffer.space != "arena"):
                raise ProgramError(
                    f"instruction {index} ({instruction.label!r}) is prepared, but uses {buffer.space} {buffer.name!r}"
                )

    for buffer in program.buffers:
        is_kept = buffer.space == "arena" and program.lives[buffer.place].kept
        if is_kept and any(isinstance(size, SymbolicInt) for size in buffer.shape):
            raise ProgramError(f"buffer {buffer.name!r} is kept from run to run, but its shape has symbols")
    for index, instruction in enumerate(program.instructions[program.prepared :], program.prepared):
        for operand in instruction.operands[instruction.reads :]:
            buffer = program.buffers[operand]
            if buffer.space == "arena" and program.lives[buffer.place].kept:
                raise ProgramError(
                    f"instruction {index} ({instruction.label!r}) writes {buffer.name!r}, which is kept from run to run"
                )


def _check_extent(program: Program, place: str, extent: object) -> None:
    # Unlike a size, an extent may be negative: a kernel may read a stride or a padding from it.
    if type(extent) is not int or not -(2**63) <= extent < 2**63:
        _check_dim(program, place, extent)


def _check_index(place: str, index: object, count: int, what: str) -> None:
    if type(index) is not int or not 0 <= index < count:
        raise ProgramError(f"{place} is {index!r}, but the program has {count} {what}")
