"""A program as bytes, and back: a JSON header and the raw bytes of kernels and constants, under one checksum."""

from __future__ import annotations

import json
import math
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.dimensions import parse_dim
from runtime.loops import Loop, Window
from runtime.program import DTYPES, Buffer, Instruction, Kernel, Program, ProgramError

__all__ = ["bytes_of", "program_from"]

# The digit is the version of the format: another one is refused, not guessed at.
_MAGIC = b"GCPROG8\n"
_CHECKSUM_BYTES = 32


def bytes_of(program: Program) -> bytes:
    """What `Program.to_bytes` returns."""
    header = json.dumps(_header_of(program), separators=(",", ":"), ensure_ascii=False).encode()
    payload = [kernel.object_code for kernel in program.kernels]
    payload += [constant.tobytes() for constant in program.constants]
    body = b"".join([len(header).to_bytes(8, "little"), header, *payload])
    return b"".join([_MAGIC, sha256(body).digest(), body])


def program_from(data: bytes) -> Program:
    """What `Program.from_bytes` returns, and raises."""
    header, payload = _split(memoryview(data))
    try:
        return _program_of(header, payload)
    except (KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise ProgramError(f"the program's header does not describe a program: {error!r}") from error
    except ProgramError:
        raise
    except ValueError as error:
        raise ProgramError(f"the program's header holds a bad value: {error}") from error


def _header_of(program: Program) -> dict[str, Any]:
    return {
        "name": program.name,
        "target": program.target,
        "symbols": program.symbols,
        "fixed": program.fixed,
        "prepared": program.prepared,
        "inputs": program.inputs,
        "variables": program.variables,
        "outputs": program.outputs,
        "buffers": [
            [b.name, b.dtype, [str(dim) for dim in b.shape], b.space, b.place, str(b.start)] for b in program.buffers
        ],
        "instructions": [
            [i.kernel, i.operands, [str(e) for e in i.extents], str(i.work), str(i.scratch), i.label, i.reads, i.fills,
             i.keeps, i.limit, i.steps, str(i.multiply_adds), str(i.bytes_read), str(i.bytes_written)]
            for i in program.instructions
        ],
        "kernels": [[k.name, k.key, k.symbol, len(k.object_code), k.source] for k in program.kernels],
        "loops": [
            [i.first, i.end, str(i.count), i.reverse, i.limit, i.beyond,
             *([w.buffer, w.source, w.shift, w.period] for w in i.windows)]
            for i in program.loops
        ],
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
            Buffer(_text(name), _text(dtype), tuple(map(parse_dim, shape)), space, number, parse_dim(start))
            for name, dtype, shape, space, number, start in header["buffers"]
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
        target=_text(header["target"]),
        prepared=header["prepared"],
        loops=tuple(_loop_of(*entry) for entry in header["loops"]),
        fixed=tuple((_text(name), _size(value)) for name, value in header["fixed"]),
    )


def _instruction_of(
    kernel: int,
    operands: list[int],
    extents: list[str],
    work: str,
    scratch: str,
    label: str,
    reads: int,
    fills: bool,
    keeps: bool,
    limit: int,
    steps: str,
    *costs: str,
) -> Instruction:
    sizes, items, private = tuple(map(parse_dim, extents)), parse_dim(work), parse_dim(scratch)
    texts, flags = (_text(label), _text(steps)), (_flag(fills), _flag(keeps))
    multiply_adds, read, written = map(parse_dim, costs)
    return Instruction(
        kernel, tuple(operands), sizes, items, private, texts[0], reads, *flags, limit, texts[1], multiply_adds,
        read, written,
    )  # fmt: skip


def _loop_of(first: int, end: int, count: str, reverse: bool, limit: int, beyond: bool, *windows: list[int]) -> Loop:
    for number in (first, end, limit, *(part for window in windows for part in window)):
        if type(number) is not int:
            raise ProgramError(f"the program's header has {number!r} where a number belongs")
    moving = tuple(Window(*window) for window in windows)
    return Loop(first, end, parse_dim(count), _flag(reverse), limit, _flag(beyond), moving)


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


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ProgramError(f"the program's header has {value!r} where true or false belongs")
    return value


def _size(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ProgramError(f"the program's header has {value!r} where a size belongs")
    return value
