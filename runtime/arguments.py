"""Checks of the arrays that a call gives to a program, and what their shapes say of its symbols."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.arena import address_of, aligned_copy
from runtime.binding import ArraySpec, Shape
from runtime.dimensions import evaluate, substitute
from runtime.program import DTYPES, Buffer, Program

__all__ = [
    "bind_symbols",
    "check_in_place",
    "check_shape",
    "checked_array",
    "checked_outputs",
    "count_message",
    "usable_inputs",
]

Array = NDArray[np.generic]


def checked_outputs(
    program: Program, specs: Sequence[ArraySpec], out: Sequence[Array], shapes: Sequence[Shape] | None
) -> tuple[Array, ...]:
    """Arrays for the outputs as a tuple; `shapes` are those that a run fills of each, by default all of it."""
    if len(out) != len(specs):
        raise ValueError(count_message(program, "output", program.outputs, len(out)))
    for position, (array, spec) in enumerate(zip(out, specs, strict=True)):
        check_in_place(program, spec.buffer, array)
        shape = array.shape if shapes is None else shapes[position]
        if shape != spec.shape:
            raise ValueError(f"output {spec.name!r}: expected shape {spec.shape}, got {shape}")
    return tuple(out)


def count_message(program: Program, what: str, indices: Sequence[int], count: int) -> str:
    """What is said where a call gives another number of arrays."""
    names = ", ".join(repr(program.buffers[index].name) for index in indices) or "none"
    return f"program {program.name!r} takes {len(indices)} {what}s ({names}), got {count}"


def usable_inputs(
    program: Program, dtypes: Sequence[np.dtype[np.generic]], inputs: Sequence[Array], variables: Container[int]
) -> tuple[list[Array], list[int], tuple[Shape, ...]]:
    """The arrays that a program will read, their addresses and their shapes.

    `variables` are the addresses of variables. An input at one of them is copied: the program may update the variable
    before it has last read the input.
    """
    if len(inputs) != len(dtypes):
        raise ValueError(count_message(program, "input", program.inputs, len(inputs)))
    arrays = list(inputs)
    addresses: list[int] = []
    for position, dtype in enumerate(dtypes):
        array = arrays[position]
        # Dtypes are the same object nearly always; usable_input looks closer at the rest.
        if type(array) is not np.ndarray or array.dtype is not dtype or not array.flags.c_contiguous:
            array = arrays[position] = usable_input(program, program.inputs[position], array)
        address = address_of(array)
        if address in variables:
            arrays[position] = aligned_copy(array)
            address = address_of(arrays[position])
        addresses.append(address)
    return arrays, addresses, tuple([array.shape for array in arrays])


def usable_input(program: Program, index: int, array: object) -> Array:
    """An input as it is, or a contiguous copy. Raises `TypeError` for no array, or one of another dtype."""
    checked = checked_array(program, index, array)
    return checked if checked.flags.c_contiguous else aligned_copy(checked)


def checked_array(program: Program, index: int, array: object) -> Array:
    """An array of the dtype of buffer `index`; raises `TypeError` for anything else."""
    buffer = program.buffers[index]
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{buffer.space} {buffer.name!r}: expected a NumPy array, got {type(array).__name__}")
    if array.dtype != DTYPES[buffer.dtype]:
        raise TypeError(
            f"{buffer.space} {buffer.name!r}: expected dtype {buffer.dtype}, got {array.dtype}; "
            f"convert it with array.astype({buffer.dtype!r})"
        )
    return array


def check_in_place(program: Program, index: int, array: object) -> None:
    """An array that the program writes must be exactly what it expects: a copy would lose the result."""
    checked = checked_array(program, index, array)
    buffer = program.buffers[index]
    if not checked.flags.c_contiguous:
        raise ValueError(
            f"{buffer.space} {buffer.name!r} is written in place, so it must be contiguous; "
            "pass np.ascontiguousarray(array) and keep that array"
        )
    if not checked.flags.writeable:
        raise ValueError(f"{buffer.space} {buffer.name!r} is written in place, but the array is read-only")


def bind_symbols(program: Program, shapes: Sequence[tuple[int, Shape]]) -> dict[str, int]:
    """The values of the program's symbols, from the shapes of arrays given for buffers.

    Raises `ValueError` that names the array and the axis when a rank or a fixed size differs, a symbol's fixed value
    included, or when two axes give one symbol two values.
    """
    fixed = dict(program.fixed)
    given = [(_with_fixed(program.buffers[index], fixed), shape) for index, shape in shapes]
    values: dict[str, int] = {}
    origin: dict[str, str] = {}
    for buffer, shape in given:
        if len(shape) != len(buffer.shape):
            raise ValueError(
                f"{_describe(buffer)}: expected {len(buffer.shape)} dimensions, got {len(shape)} (shape {shape})"
            )
        for axis, (declared, size) in enumerate(zip(buffer.shape, shape, strict=True)):
            name = str(declared)
            if name not in program.symbols:
                continue
            place = f"axis {axis} of {buffer.space} {buffer.name!r}"
            if values.setdefault(name, size) != size:
                raise ValueError(
                    f"the symbol {name!r} is {values[name]} by {origin[name]}, but {size} by {place}; "
                    f"give arrays that agree"
                )
            origin.setdefault(name, place)
    for buffer, shape in given:
        check_shape(buffer, shape, values)
    return values | fixed


def _with_fixed(buffer: Buffer, fixed: Mapping[str, int]) -> Buffer:
    """The buffer as it was declared: with numbers in the place of symbols that have one value only."""
    if not fixed:
        return buffer
    return dataclasses.replace(buffer, shape=tuple(substitute(dim, fixed) for dim in buffer.shape))


def check_shape(buffer: Buffer, shape: Shape, values: Mapping[str, int]) -> None:
    """Raise `ValueError` unless `shape` is the buffer's shape at these values."""
    expected = tuple(evaluate(dim, values) for dim in buffer.shape)
    if shape == expected:
        return
    given = "".join(f", {name} = {value}" for name, value in values.items())
    raise ValueError(f"{_describe(buffer)}: expected shape {expected}, got {shape}{given}")


def _describe(buffer: Buffer) -> str:
    declared = ", ".join(str(dim) for dim in buffer.shape)
    return f"{buffer.space} {buffer.name!r}, declared {buffer.dtype}[{declared}]"
