"""Programs as data: validation, bytes and back, damaged bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.dimensions import symbol
from runtime.program import Buffer, Instruction, Kernel, Program, ProgramError

BATCH = symbol("batch")
HEADER_START = 8 + 32 + 8


def make_program() -> Program:
    return Program(
        name="sample",
        symbols=("batch",),
        buffers=(
            Buffer("x", "float32", (BATCH, 4), "input"),
            Buffer("w", "float32", (4,), "variable"),
            Buffer("c", "float64", (2, 2), "constant", 0),
            Buffer("h", "float16", (BATCH, 8), "arena", 1),
            Buffer("y", "bool", (), "output"),
        ),
        inputs=(0,),
        variables=(1,),
        outputs=(4,),
        instructions=(
            Instruction(
                0, (0, 1, 3), (BATCH, 4, -1), BATCH, 128, "dense: y = x w", 2, True,
                multiply_adds=BATCH * 32, bytes_read=BATCH * 16 + 16, bytes_written=BATCH * 16,
            ),
            Instruction(1, (3, 2, 4), (), 1, 0, "mean"),
        ),
        kernels=(
            Kernel("dense", "0" * 64, "kernel_dense", bytes(range(256)), "def dense(): pass  # \u03b1"),
            Kernel("mean", "1" * 64, "kernel_mean", b"", ""),
        ),
        constants=(np.array([[1.0, np.nan], [-0.0, np.inf]]),),
        target="x86_64-unknown-linux-gnu;znver3",
    )


def resealed(data: bytes, change) -> bytes:
    """Bytes with a changed header and a checksum that fits, as someone who means harm would write them."""
    length = int.from_bytes(data[40:48], "little")
    header = json.loads(data[HEADER_START : HEADER_START + length])
    changed = change(header)
    header = header if changed is None else changed
    text = json.dumps(header).encode()
    body = len(text).to_bytes(8, "little") + text + data[HEADER_START + length :]
    return data[:8] + sha256(body).digest() + body


@pytest.mark.parametrize("fixed", [(), (("batch", 3),)])
def test_round_trip(fixed: tuple[tuple[str, int], ...]) -> None:
    program = replace(make_program(), fixed=fixed)
    data = program.to_bytes()
    read = Program.from_bytes(data)
    assert read.to_bytes() == data
    for field in ("name", "symbols", "fixed", "buffers", "inputs", "variables", "outputs", "instructions", "kernels"):
        assert getattr(read, field) == getattr(program, field)
    assert read.lives == program.lives
    assert read.target == program.target
    assert read.constants[0].tobytes() == program.constants[0].tobytes()
    assert not read.constants[0].flags.writeable


def test_repr_is_one_short_line() -> None:
    assert repr(make_program()) == (
        "<Program 'sample' over batch: 1 inputs, 1 variables, 1 outputs, 2 instructions, 2 kernels, "
        "2 blocks of arena>"
    )
    assert " over batch=3: " in repr(replace(make_program(), fixed=(("batch", 3),)))
    assert "work=batch scratch=128 # dense: y = x w" in make_program().describe()


def test_constants_are_copied_not_frozen_in_place() -> None:
    mine = np.ones(3)
    program = replace(make_program(), buffers=(), inputs=(), variables=(), outputs=(), symbols=(),
                      instructions=(), constants=(mine,))  # fmt: skip
    mine[0] = 7
    assert mine.flags.writeable
    assert program.constants[0][0] == 1


def test_buffer_bytes() -> None:
    assert make_program().buffer_bytes(3, {"batch": 5}) == 5 * 8 * 2


@given(st.integers(0, len(make_program().to_bytes()) - 1), st.integers(1, 255))
def test_any_changed_byte_is_refused(position: int, change: int) -> None:
    data = bytearray(make_program().to_bytes())
    data[position] ^= change
    with pytest.raises(ProgramError):
        Program.from_bytes(bytes(data))


@given(st.integers(0, len(make_program().to_bytes()) - 1))
def test_any_cut_is_refused(length: int) -> None:
    with pytest.raises(ProgramError):
        Program.from_bytes(make_program().to_bytes()[:length])


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h["constants"].__setitem__(0, ["float64", [1 << 60, 1 << 60]]),
        lambda h: h["fixed"].append(["steps", 3]),
        lambda h: h["fixed"].append(["batch", -1]),
        lambda h: h["fixed"].append(["batch", "3"]),
        lambda h: h["fixed"].extend([["batch", 3], ["batch", 4]]),
        lambda h: h["constants"].__setitem__(0, ["float64", [-2, -2]]),
        lambda h: h["constants"].__setitem__(0, ["object", [2, 2]]),
        lambda h: h["kernels"][0].__setitem__(3, -1),
        lambda h: h["kernels"][0].__setitem__(3, 1 << 62),
        lambda h: h["kernels"][0].__setitem__(3, 255.0),
        lambda h: h["buffers"][0].__setitem__(2, ["__import__('os')"]),
        lambda h: h["buffers"][0].__setitem__(2, ["batch*" * 3000 + "batch"]),
        lambda h: h["buffers"][0].__setitem__(3, "heap"),
        lambda h: h["buffers"][0].__setitem__(0, None),
        lambda h: h["instructions"][0].__setitem__(0, True),
        lambda h: h["instructions"][0].__setitem__(1, [0, 1, 99]),
        lambda h: h["instructions"][0].__setitem__(1, [0, 1, "3"]),
        lambda h: h["instructions"][0].__setitem__(3, "-5"),
        lambda h: h["instructions"][0].__setitem__(-1, "-5"),
        lambda h: h["instructions"][0].__setitem__(-2, "rows"),
        lambda h: h["instructions"][0].pop(),
        lambda h: h["instructions"][0].append("0"),
        lambda h: h["buffers"][3].__setitem__(4, 1 << 40),
        lambda h: h["buffers"][3].__setitem__(4, "1"),
        lambda h: h["buffers"][3].__setitem__(4, True),
        lambda h: h.pop("prepared"),
        lambda h: h.__setitem__("inputs", {"a": 1}),
        lambda h: [],
        lambda h: [h],
    ],
)
def test_a_forged_header_is_refused(change) -> None:
    with pytest.raises(ProgramError):
        Program.from_bytes(resealed(make_program().to_bytes(), change))


def test_resealing_alone_is_accepted() -> None:
    """The control for the test above: the refusal is for the change, not for the new seal."""
    data = resealed(make_program().to_bytes(), lambda header: None)
    assert Program.from_bytes(data).to_bytes() == make_program().to_bytes()


def _call(kernel: int = 0, operands: tuple[int, ...] = (), **fields) -> Instruction:
    return Instruction(kernel, operands, label="conv", **fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"instructions": (_call(kernel=5),)}, r"instruction 0 \('conv'\), kernel is 5, .* 2 kernels"),
        ({"instructions": (_call(operands=(0, 9)),)}, r"instruction 0 \('conv'\), operand 1 is 9"),
        ({"instructions": (_call(extents=(symbol("h"),)),)}, r"extent 0 .*unknown symbol 'h'"),
        ({"instructions": (_call(work=-1),)}, r"work must be a non-negative"),
        ({"instructions": (_call(scratch=1.5),)}, r"scratch must be"),
        ({"inputs": (1,)}, r"input 0 is buffer 1, which lies in space 'variable'"),
        ({"inputs": ()}, r"every buffer of space 'input' must be listed once"),
        ({"outputs": (4, 4)}, r"every buffer of space 'output'"),
        ({"constants": ()}, r"buffer 2 \('c'\) is constant 0, but the program holds 0"),
        ({"constants": (np.zeros((3, 2)),)}, r"declared float64\[2, 2\], its constant is float64\[3, 2\]"),
        ({"constants": (np.array([object()]),)}, r"a constant must be an array of"),
        ({"symbols": ("batch", "time")}, r"the symbol 'time' is not the size of any axis"),
        ({"symbols": ()}, r"unknown symbol 'batch'; the program's symbols are: none"),
    ],
)  # fmt: skip
def test_validation_names_the_culprit(change: dict[str, object], message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        replace(make_program(), **change)


def test_buffer_validation() -> None:
    program = make_program()
    for buffer, message in (
        (Buffer("h", "float8", (4,), "arena"), "unknown dtype 'float8'"),
        (Buffer("h", "int8", (4,), "stack"), "unknown space 'stack'"),  # type: ignore[arg-type]
        (Buffer("h", "int8", (-4,), "arena"), r"buffer 3 \('h'\), axis 0 must be a non-negative"),
        (Buffer("h", "int8", (4,), "arena", -1), "has the place -1; known are 0 to 4"),
        (Buffer("h", "int8", (4,), "arena", 5), "has the place 5; known are 0 to 4"),
        (Buffer("h", "int8", (4,), "arena", 1, -64), r"buffer 3 \('h'\), start must be a non-negative"),
        (Buffer("h", "int8", (4,), "arena", 1, 0.5), r"buffer 3 \('h'\), start must be"),  # type: ignore[arg-type]
        (Buffer("h", "int8", (4,), "arena", 1, symbol("h")), r"start uses the unknown symbol 'h'"),
    ):
        buffers = (*program.buffers[:3], buffer, program.buffers[4])
        with pytest.raises(ProgramError, match=message):
            replace(program, buffers=buffers)
