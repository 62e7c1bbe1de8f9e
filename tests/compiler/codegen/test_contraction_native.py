"""The translator of native drivers against Python itself, and the native parts against NumPy."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llvmlite import ir
from numba import njit

from compiler.codegen import contraction_packing as packing
from compiler.codegen.contraction_assembly import assembly_of, compile_to_assembly, make_native_intrinsic
from compiler.codegen.contraction_driver import PARTS
from compiler.codegen.contraction_native import translate
from compiler.codegen.microkernel import FEW_REACH, emit_few_sums, emit_microkernel, micro_parameters
from compiler.codegen.microkernel_finish import FINISH_PARAMETERS, emit_finishing_microkernel
from compiler.codegen.microkernel_tile import FULL_UNROLL, RUN, Reach, Tile, choose_tile
from compiler.target import Target, host_target

Array = np.ndarray[Any, Any]

NUMBER = st.integers(-1000, 1000)


def callable_native(name: str, parameters: int, emit: Callable[[Any], None]) -> Callable[..., int]:
    """A Python function that calls the native function `name` which `emit` adds to a module."""
    return callable_assembly(name, parameters, lambda: compile_to_assembly(emit, "test"))


def callable_assembly(name: str, parameters: int, assembly: Callable[[], str]) -> Callable[..., int]:
    """A Python function that calls the native function `name` of an assembly text."""
    names = [f"x{index}" for index in range(parameters)]
    native = make_native_intrinsic(name, names, assembly)
    joined = ", ".join(names)
    namespace: dict[str, Any] = {"native": native}
    exec(f"def call({joined}):\n    return native({joined})\n", namespace)
    signature = f"int64({', '.join(['int64'] * parameters)})"
    result: Callable[..., int] = njit(signature)(namespace["call"])
    return result


PROGRAM = """
def program(a, b, c):
    total = (a + b) * 3 - c // 7 + a % 5 - -b
    if a < b and not c == 4 or b >= 900:
        total += min(a, b, c) * 2
    elif a != c:
        total -= max(a, b)
    else:
        total = FACTOR * total
    for index in range(b % 11):
        if index == 3:
            continue
        total += index if total % 2 == 0 else -index
    for index in range(2, a % 17, 3):
        for inner in range(index):
            total = total + inner * index
    while total > 500:
        total = total // 2 - 1
    if c > 990:
        return 12345
    return total * 2 + (a > b)
"""


@pytest.fixture(scope="module")
def program() -> Callable[..., int]:
    return callable_assembly("program", 3, lambda: assembly_of(translate(PROGRAM, {"FACTOR": 3}, {}), "driver"))


@given(a=NUMBER, b=NUMBER, c=NUMBER)
@settings(max_examples=400, deadline=None)
def test_a_driver_means_what_python_means(program: Callable[..., int], a: int, b: int, c: int) -> None:
    namespace: dict[str, Any] = {"FACTOR": 3}
    exec(PROGRAM, namespace)
    assert program(a, b, c) == namespace["program"](a, b, c)


def test_tables_and_calls() -> None:
    source = textwrap.dedent("""
        def sums(table, result, count):
            fill_zero(result, count * 2)
            for index in range(1, count):
                result[index] = result[index - 1] + table[index]
            return result[count - 1]
    """)

    def assembly() -> str:
        part = compile_to_assembly(lambda module: packing.emit_fill_zero(module, "float32", 8), "part")
        return part + assembly_of(translate(source, {}, {"fill_zero": 2}), "driver")

    table, result = np.arange(10, 40, dtype=np.int64), np.full(31, -1, np.int64)
    total = callable_assembly("sums", 3, assembly)(table.ctypes.data, result.ctypes.data, 30)
    assert total == table[1:].sum()
    np.testing.assert_array_equal(result, [0, *np.cumsum(table[1:]), -1])


@given(count=st.integers(0, 70), step=st.integers(-(1 << 40), 1 << 40), lanes=st.sampled_from([4, 8, 16]))
@settings(max_examples=40, deadline=None)
def test_tables_of_steps(count: int, step: int, lanes: int) -> None:
    table = np.full(count + 1, -7, np.int64)
    fill_steps(lanes)(table.ctypes.data, count, step)
    assert table.tolist() == [*(index * step for index in range(count)), -7]


@functools.cache
def fill_steps(lanes: int) -> Callable[..., int]:
    return callable_native("fill_steps", 3, lambda module: packing.emit_fill_steps(module, "float32", lanes))


@pytest.mark.parametrize(
    "line",
    [
        "x = a ** 2",
        "x = a / 2",
        "x = unknown",
        "x = unknown(a)",
        "x = fill_zero(a)",
        "x = 1.5",
        "x, y = a, a",
        "a.x = 1",
        "del a",
        "x = 0 < a < 3",
        "for x in a: pass",
        "return a\n    x = 1",
    ],
)
def test_a_driver_refuses_what_it_cannot_hold(line: str) -> None:
    with pytest.raises(SyntaxError, match="a native driver"):
        translate(f"def f(a):\n    {line}\n    return a", {}, {"fill_zero": 2})


def test_the_list_of_parts_is_true() -> None:
    for name, part in PARTS.items():
        module = ir.Module()
        part.emit(module, choose_tile("float32", host_target()))
        assert len(module.get_global(name).args) == part.arguments


CASES = [("float32", 4), ("float32", 8), ("float64", 4), ("float32", 16)]


@pytest.mark.parametrize(("dtype", "lanes"), CASES)
def test_packing_and_transposing(dtype: str, lanes: int) -> None:
    width = 6
    pack = callable_native("pack", 6, lambda m: packing.emit_pack_panels(m, dtype, lanes, width, "pack"))
    transpose = callable_native("transpose_rows", 6, lambda m: packing.emit_transpose_rows(m, dtype, lanes))
    size = np.dtype(dtype).itemsize
    slack = packing.panel_slack(size, lanes, width) // size
    random = np.random.default_rng(0)
    for depth, columns in ((1, 1), (3, 6), (5, 17), (33, 40), (16, 16)):
        matrix = random.standard_normal((depth, columns + 3)).astype(dtype)
        panels = -(-columns // width)
        packed = np.full((panels, depth * width + slack), np.nan, dtype)
        stride = packed.strides[0]
        pack(packed.ctypes.data, stride, matrix.ctypes.data, matrix.strides[0], depth, columns)
        for panel in range(panels):
            columns_here = matrix[:, panel * width : min(columns, (panel + 1) * width)]
            expected = np.zeros((depth, width), dtype)
            expected[:, : columns_here.shape[1]] = columns_here
            np.testing.assert_array_equal(packed[panel, : depth * width].reshape(depth, width), expected)
        result = np.full((columns, depth + 2), 7, dtype)
        addresses = (result.ctypes.data, result.strides[0], matrix.ctypes.data, matrix.strides[0])
        transpose(*addresses, depth, columns)
        np.testing.assert_array_equal(result[:, :depth], matrix[:, :columns].T)
        np.testing.assert_array_equal(result[:, depth:], 7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_bad_value_is_found_anywhere(dtype: str) -> None:
    found = callable_native("has_nonfinite", 2, lambda m: packing.emit_has_nonfinite(m, dtype, 8))
    values = np.random.default_rng(0).standard_normal(27).astype(dtype)
    values[5] = np.finfo(dtype).max
    assert found(values.ctypes.data, 27) == 0
    for place in range(27):
        for bad in (np.inf, -np.inf, np.nan):
            spoiled = values.copy()
            spoiled[place] = bad
            assert found(spoiled.ctypes.data, 27) == 1
            assert found(spoiled.ctypes.data, place) == 0, "looked past the end"


TILES = [Tile("float32", 8, 6, 2), Tile("float32", 4, 8, 3), Tile("float64", 4, 6, 2), Tile("float32", 16, 8, 1)]


def rows_and_steps(reach: Reach, rows: int, depth: int, tile: Tile, row: int) -> tuple[Any, Any]:
    """Byte offsets of rows and of steps, in any order that the reach allows, into rows of `row` bytes."""
    random = np.random.default_rng(1)
    size = np.dtype(tile.dtype).itemsize
    tiles = np.arange(rows) // tile.rows
    if reach == "columns":  # a tile's rows are consecutive elements, a step is a row further
        return (tiles * (tile.rows + 1) + np.arange(rows) % tile.rows) * size, np.arange(depth) * row
    row_offsets = random.permutation(rows) * row
    runs = -(-depth // RUN)
    of_runs = (random.permutation(runs)[:, None] * RUN + np.arange(RUN)).ravel()[:depth]
    orders = {"table": random.permutation(depth), "runs": of_runs, "rows": np.arange(depth)}
    return row_offsets, orders[reach] * size


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("reach", FEW_REACH)
@pytest.mark.parametrize("tile", TILES, ids=str)
def test_the_microkernel_at_every_row_count_and_depth(tile: Tile, reach: Reach, ahead: bool) -> None:
    parameters = micro_parameters(reach, ahead=ahead)

    def emit(module: Any) -> None:
        emit_few_sums(module, tile, FEW_REACH[reach])
        emit_microkernel(module, tile, "micro", reach, ahead=ahead)

    micro = callable_native("micro", len(parameters), emit)
    random = np.random.default_rng(0)
    most = 2 * tile.rows + 1
    for depth in (0, 1, 2, 3, 7, 8, 9, 12, 64):
        a = random.standard_normal((max(most, depth) + 2, max(most, depth) + RUN + 5)).astype(tile.dtype)
        panel = random.standard_normal((depth, tile.columns + 5)).astype(tile.dtype)
        tables = rows_and_steps(reach, most, depth, tile, a.strides[0])
        rows_table, offsets = (table.astype(np.int64) for table in tables)
        chosen = a.ravel()[(rows_table[:, None] + offsets + a.strides[0]) // a.itemsize].astype(np.float64)
        exact = chosen @ panel[:, : tile.columns]
        how = {"table": (offsets.ctypes.data,), "runs": (offsets.ctypes.data,), "rows": (), "columns": (a.strides[0],)}
        for rows in range(most + 1):
            for accumulate in (0, 1):
                result = np.full((most, tile.columns + 1), 0.5, tile.dtype)
                places = (panel.ctypes.data, panel.strides[0], result.ctypes.data, result.strides[0], accumulate)
                read = (a.ctypes.data, 24) if ahead else ()
                first = a.ctypes.data + a.strides[0]
                left = (rows, first, rows_table.ctypes.data, *how[reach], depth)
                reached = micro(*left, *places, *read, a.ctypes.data, 64)
                assert reached == (a.ctypes.data + rows // tile.rows * (depth // FULL_UNROLL) * 24 if ahead else 0)
                expected = np.full(result.shape, 0.5)
                expected[:rows, : tile.columns] = exact[:rows] + 0.5 * accumulate
                tolerance = (depth + 2) * np.finfo(tile.dtype).eps * 10
                np.testing.assert_allclose(result, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("tile", TILES, ids=str)
def test_the_finishing_microkernel_at_every_row_count(tile: Tile) -> None:
    call = callable_native("finish", len(FINISH_PARAMETERS), lambda m: emit_finishing_microkernel(m, tile, "finish"))
    random = np.random.default_rng(0)
    for depth in (0, 1, 6, 9, 32):
        a = random.standard_normal((3 * tile.rows, depth + 1)).astype(tile.dtype)
        panel = random.standard_normal((depth, tile.columns)).astype(tile.dtype)
        scale, shift = random.standard_normal((2, tile.columns))
        finish = np.stack([scale, shift, shift - 1, shift + 1]).astype(tile.dtype)
        row_order = random.permutation(len(a))
        table = row_order.astype(np.int64) * a.strides[0]
        exact = a[row_order][:, :depth].astype(np.float64) @ panel
        exact = np.clip(exact * finish[0] + finish[1], finish[2], finish[3])
        for rows in range(len(a) + 1):
            result = np.full((len(a), tile.columns + 1), 0.5, tile.dtype)
            left, right = (rows, a.ctypes.data, table.ctypes.data, depth), finish.ctypes.data
            places = (panel.ctypes.data, result.ctypes.data, result.strides[0], right, finish.strides[0])
            ahead = call(*left, *places, panel.ctypes.data, 24, result.ctypes.data, result.strides[0])
            assert ahead == panel.ctypes.data + rows // tile.rows * (depth // FULL_UNROLL) * 24
            expected = np.full(result.shape, 0.5)
            expected[:rows, : tile.columns] = exact[:rows]
            tolerance = (depth + 3) * np.finfo(tile.dtype).eps * 30
            np.testing.assert_allclose(result, expected, rtol=0, atol=tolerance)


def test_the_tile_follows_the_register_file() -> None:
    def tile(vector_bytes: int, registers: int, dtype: str = "float32") -> Tile:
        return choose_tile(dtype, Target("cpu", "", "", vector_bytes, registers))

    assert tile(32, 16) == Tile("float32", 8, 6, 2)
    assert tile(64, 32) == Tile("float32", 16, 8, 1)
    assert tile(64, 32, "float64") == Tile("float64", 8, 8, 1)
    assert tile(16, 32) == Tile("float32", 4, 8, 3)
    for vector_bytes, registers in ((16, 16), (16, 32), (32, 16), (64, 32)):
        chosen = tile(vector_bytes, registers)
        needed = chosen.rows * chosen.vectors + chosen.vectors + 1
        assert needed <= registers, "accumulators, panel vectors and a broadcast stay in registers"
        assert chosen.rows * chosen.vectors >= 8, "enough of them to hide the latency of a multiply-add"
