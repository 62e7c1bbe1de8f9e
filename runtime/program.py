"""A compiled program as plain data: buffers, kernels and the list of instructions.

The compiler fills a `Program`; `runtime.executor` runs it. Nothing here executes anything, and `from_bytes`
reads data only. The object code inside a program is machine code all the same: run a program only if you
trust its source.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from runtime.arena import ALIGNMENT, address_of, aligned_copy
from runtime.dimensions import Dim, SymbolicInt, evaluate, parse_dim, symbols_of

__all__ = ["DTYPES", "Buffer", "Instruction", "Kernel", "Program", "ProgramError", "Space"]

Space: TypeAlias = Literal["input", "variable", "constant", "output", "arena"]

# The digit is the version of the format: another one is refused, not guessed at.
_MAGIC = b"GCPROG2\n"
_CHECKSUM_BYTES = 32

_SPACES: tuple[str, ...] = get_args(Space)

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


@dataclass(frozen=True, slots=True)
class Buffer:
    """A typed place in memory, C-contiguous.

    `offset` is the byte offset in the arena for space "arena" (buffers that are not alive together may
    overlap), the index into `Program.constants` for space "constant", and 0 otherwise: the caller provides
    those arrays.
    """

    name: str
    dtype: str
    shape: tuple[Dim, ...]
    space: Space
    offset: Dim = 0


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Instruction:
    """One kernel call over `work` items.

    `operands` are buffer indices, inputs then outputs; `extents` are the integers the kernel reads;
    `scratch` is the number of bytes of private memory each thread needs; `label` is what errors and
    profiles call it. The kernel only reads the first `reads` operands; all others it may write.
    """

    kernel: int
    operands: tuple[int, ...]
    extents: tuple[Dim, ...] = ()
    work: Dim = 1
    scratch: Dim = 0
    label: str = ""
    reads: int = 0


@dataclass(frozen=True, eq=False, repr=False)
class Program:
    """Everything needed to run a compiled graph at any value of its `symbols`.

    `inputs`, `variables` and `outputs` are buffer indices in call order. Variables are updated in place.
    `constants` are read-only arrays (a writable or unaligned one is copied). `arena_bytes` is the size of
    the arena. `target` is the triple, processor and features the object code was made for. Raises
    `ProgramError` when parts disagree.
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
    arena_bytes: Dim = 0
    target: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "constants", tuple(_read_only(array) for array in self.constants))
        for index, buffer in enumerate(self.buffers):
            _check_buffer(self, index, buffer)
        _check_interface(self)
        for index, instruction in enumerate(self.instructions):
            _check_instruction(self, index, instruction)
        _check_dim(self, "arena_bytes", self.arena_bytes)

    def __repr__(self) -> str:
        symbols = f" over {', '.join(self.symbols)}" if self.symbols else ""
        return (
            f"<Program {self.name!r}{symbols}: {len(self.inputs)} inputs, "
            f"{len(self.variables)} variables, {len(self.outputs)} outputs, "
            f"{len(self.instructions)} instructions, {len(self.kernels)} kernels, "
            f"arena {self.arena_bytes} bytes>"
        )

    def describe(self) -> str:
        """The program as text: one line for each buffer and each instruction."""
        lines = [repr(self)]
        for index, buffer in enumerate(self.buffers):
            shape = ",".join(str(dim) for dim in buffer.shape)
            place = f" +{buffer.offset}" if buffer.space in ("arena", "constant") else ""
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
        header = json.dumps(_header_of(self), separators=(",", ":"), ensure_ascii=False).encode()
        payload = [kernel.object_code for kernel in self.kernels]
        payload += [constant.tobytes() for constant in self.constants]
        body = b"".join([len(header).to_bytes(8, "little"), header, *payload])
        return b"".join([_MAGIC, sha256(body).digest(), body])

    @classmethod
    def from_bytes(cls, data: bytes) -> Program:
        """Read what `to_bytes` wrote. Runs nothing, and allocates only what the given bytes hold.

        Raises `ProgramError` for bytes that are damaged, cut short or of another version.
        """
        header, payload = _split(memoryview(data))
        try:
            return _program_of(header, payload)
        except (KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
            raise ProgramError(f"the program's header does not describe a program: {error!r}") from error
        except ProgramError:
            raise
        except ValueError as error:
            raise ProgramError(f"the program's header holds a bad value: {error}") from error

    def buffer_bytes(self, index: int, values: dict[str, int]) -> int:
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
    _check_dim(program, f"{place}, offset", buffer.offset)
    if buffer.space == "constant":
        _check_constant(program, place, buffer)


def _check_constant(program: Program, place: str, buffer: Buffer) -> None:
    offset = buffer.offset
    if not isinstance(offset, int) or offset >= len(program.constants):
        raise ProgramError(f"{place} is constant {offset}, but the program holds {len(program.constants)}")
    constant = program.constants[offset]
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


def _check_instruction(program: Program, index: int, instruction: Instruction) -> None:
    place = f"instruction {index} ({instruction.label!r})"
    _check_index(f"{place}, kernel", instruction.kernel, len(program.kernels), "kernels")
    for position, operand in enumerate(instruction.operands):
        _check_index(f"{place}, operand {position}", operand, len(program.buffers), "buffers")
    for position, extent in enumerate(instruction.extents):
        _check_extent(program, f"{place}, extent {position}", extent)
    _check_dim(program, f"{place}, work", instruction.work)
    _check_dim(program, f"{place}, scratch", instruction.scratch)
    if type(instruction.reads) is not int or not 0 <= instruction.reads <= len(instruction.operands):
        raise ProgramError(f"{place} reads {instruction.reads!r} of its {len(instruction.operands)} operands")


def _check_extent(program: Program, place: str, extent: object) -> None:
    # Unlike a size, an extent may be negative: a kernel may read a stride or a padding from it.
    if type(extent) is not int or not -(2**63) <= extent < 2**63:
        _check_dim(program, place, extent)


def _check_index(place: str, index: object, count: int, what: str) -> None:
    if type(index) is not int or not 0 <= index < count:
        raise ProgramError(f"{place} is {index!r}, but the program has {count} {what}")


def _header_of(program: Program) -> dict[str, Any]:
    return {
        "name": program.name,
        "target": program.target,
        "symbols": program.symbols,
        "arena_bytes": str(program.arena_bytes),
        "inputs": program.inputs,
        "variables": program.variables,
        "outputs": program.outputs,
        "buffers": [[b.name, b.dtype, [str(dim) for dim in b.shape], b.space, str(b.offset)] for b in program.buffers],
        "instructions": [
            [i.kernel, i.operands, [str(e) for e in i.extents], str(i.work), str(i.scratch), i.label, i.reads]
            for i in program.instructions
        ],
        "kernels": [[k.name, k.key, k.symbol, len(k.object_code), k.source] for k in program.kernels],
        "constants": [[c.dtype.name, c.shape] for c in program.constants],
    }


def _split(data: memoryview) -> tuple[dict[str, Any], memoryview]:
    start = len(_MAGIC) + _CHECKSUM_BYTES
    if bytes(data[: len(_MAGIC)]) != _MAGIC:
        raise ProgramError(f"these bytes are no program of this version: they begin with {bytes(data[:8])!r}")
    if sha256(data[start:]).digest() != bytes(data[len(_MAGIC) : start]):
        raise ProgramError("the program is damaged or cut short: its checksum does not match")
    length = int.from_bytes(data[start : start + 8], "little")
    payload_start = start + 8 + length
    if payload_start > len(data):
        raise ProgramError(f"the program declares a header of {length} bytes, more than it has")
    try:
        header = json.loads(bytes(data[start + 8 : payload_start]))
    except (ValueError, RecursionError) as error:
        raise ProgramError(f"the program's header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise ProgramError(f"the program's header must be an object, got {type(header).__name__}")
    return header, data[payload_start:]


def _program_of(header: dict[str, Any], payload: memoryview) -> Program:
    codes, constants = _payload_of(header, payload)
    return Program(
        name=_text(header["name"]),
        symbols=tuple(_text(name) for name in header["symbols"]),
        buffers=tuple(
            Buffer(_text(name), _text(dtype), tuple(map(parse_dim, shape)), space, parse_dim(offset))
            for name, dtype, shape, space, offset in header["buffers"]
        ),
        inputs=tuple(header["inputs"]),
        variables=tuple(header["variables"]),
        outputs=tuple(header["outputs"]),
        instructions=tuple(_instruction_of(*entry) for entry in header["instructions"]),
        kernels=tuple(
            Kernel(_text(name), _text(key), _text(symbol), code, _text(source))
            for (name, key, symbol, _, source), code in zip(header["kernels"], codes, strict=True)
        ),
        constants=constants,
        arena_bytes=parse_dim(header["arena_bytes"]),
        target=_text(header["target"]),
    )


def _instruction_of(
    kernel: int, operands: list[int], extents: list[str], work: str, scratch: str, label: str, reads: int
) -> Instruction:
    sizes = tuple(map(parse_dim, extents))
    return Instruction(kernel, tuple(operands), sizes, parse_dim(work), parse_dim(scratch), _text(label), reads)


def _payload_of(header: dict[str, Any], payload: memoryview) -> tuple[list[bytes], tuple[NDArray[np.generic], ...]]:
    """Cut the payload into object codes and constants, once the sizes add up to what is there."""
    code_sizes = [_size(entry[3]) for entry in header["kernels"]]
    forms = [(DTYPES[dtype], tuple(_size(dim) for dim in shape)) for dtype, shape in header["constants"]]
    constant_sizes = [dtype.itemsize * math.prod(shape) for dtype, shape in forms]
    declared = sum(code_sizes) + sum(constant_sizes)
    if declared != len(payload):
        raise ProgramError(f"the program declares {declared} bytes of kernels and constants, it has {len(payload)}")
    pieces: list[memoryview] = []
    start = 0
    for size in code_sizes + constant_sizes:
        pieces.append(payload[start : start + size])
        start += size
    codes = [bytes(piece) for piece in pieces[: len(code_sizes)]]
    arrays = zip(forms, pieces[len(code_sizes) :], strict=True)
    return codes, tuple(np.frombuffer(piece, dtype).reshape(shape) for (dtype, shape), piece in arrays)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ProgramError(f"the program's header has {value!r} where text belongs")
    return value


def _size(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ProgramError(f"the program's header has {value!r} where a size belongs")
    return value
