"""Packing, copying and clearing for contractions: vector loops as native functions.

A blocked product loses more in scalar packing loops than anywhere else (150 against 215 GFLOP/s on a machine with
a roof of 240), so all of these move whole vectors. Strides are in bytes and counts in elements; no source byte
outside the stated region is read.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from compiler.codegen.contraction_ir import CACHE_LINE, INT64, NativeFunction, constant, is_power_of_two

__all__ = [
    "ROWS_AHEAD",
    "emit_copy_rows",
    "emit_fill_steps",
    "emit_fill_zero",
    "emit_has_nonfinite",
    "emit_pack_panels",
    "emit_prefetch",
    "emit_transpose_rows",
    "panel_slack",
]

# What packs or copies a matrix from memory asks for what lies so many rows further down (512 columns, 33 MB, strips of
# 6: 6.4 -> 3.1 ms, of 16: 2.4 -> 2.3; four to 32 rows alike). Attention, operands not in the cache, medians in turn:
# [32, 128, 4, 32] forward 6.9 -> 6.4 ms, backward 15.3 -> 14.5; causal [4, 1024, 4, 64] 40.4 -> 37.9 and 90.2 -> 86.7.
ROWS_AHEAD = 8


def panel_slack(dtype_bytes: int, lanes: int, width: int) -> int:
    """Bytes that `pack_panels` writes past the end of a panel of `width` columns."""
    return -width % lanes * dtype_bytes


def emit_fill_zero(module: Any, dtype: str, lanes: int) -> None:
    """`fill_zero(destination, count)`: clear `count` elements."""
    native = NativeFunction(module, "fill_zero", ("destination", "count"), dtype, lanes)
    destination, count = native.arguments.values()
    with native.loop(0, count, lanes) as index:
        native.store(native.zero_vector(), native.add(destination, native.multiply(index, native.size)))
    with native.loop(native.remainder_begin(count, lanes), count) as index:
        zero = ir.Constant(native.scalar, 0.0)
        native.store(zero, native.add(destination, native.multiply(index, native.size)))
    native.finish()


def emit_fill_steps(module: Any, dtype: str, lanes: int) -> None:
    """`fill_steps(table, count, step)`: a table of the int64 0, step, 2 * step, ….

    As a loop of a driver this took 1.3 us of the 11 of a product of one row, 784 x 128.
    """
    native = NativeFunction(module, "fill_steps", ("table", "count", "step"), dtype, lanes)
    table, count, step = native.arguments.values()
    steps = native.broadcast(step)
    within = native.builder.mul(ir.Constant(steps.type, list(range(lanes))), steps)
    with native.loop(0, count, lanes) as index:
        first = native.broadcast(native.multiply(index, step))
        native.store(native.builder.add(first, within), native.add(table, native.multiply(index, 8)))
    with native.loop(native.remainder_begin(count, lanes), count) as index:
        native.store(native.multiply(index, step), native.add(table, native.multiply(index, 8)))
    native.finish()


def emit_copy_rows(module: Any, dtype: str, lanes: int) -> None:
    """`copy_rows(destination, destination_stride, source, source_stride, rows, count)`.

    Copies `rows` rows of `count` elements.
    """
    parameters = ("destination", "destination_stride", "source", "source_stride", "rows", "count")
    native = NativeFunction(module, "copy_rows", parameters, dtype, lanes)
    destination, destination_stride, source, source_stride, rows, count = native.arguments.values()
    with native.loop(0, rows) as row:
        target_row = native.add(destination, native.multiply(row, destination_stride))
        source_row = native.add(source, native.multiply(row, source_stride))
        for begin, step, kind in (
            (constant(0), lanes, native.vector),
            (native.remainder_begin(count, lanes), 1, native.scalar),
        ):
            with native.loop(begin, count, step) as index:
                offset = native.multiply(index, native.size)
                place = native.add(source_row, offset)
                if step > 1:
                    native.prefetch(native.add(place, native.multiply(source_stride, ROWS_AHEAD)))
                native.store(native.load(place, kind), native.add(target_row, offset))
    native.finish()


def emit_pack_panels(module: Any, dtype: str, lanes: int, width: int, name: str) -> None:
    """`name(destination, panel_stride, source, source_stride, depth, columns)`.

    Reads a matrix `[depth][columns]` and writes `ceil(columns / width)` panels `[depth][width]`, the last one
    filled up with zeros. Up to `panel_slack` bytes after each panel are overwritten.
    """
    parameters = ("destination", "panel_stride", "source", "source_stride", "depth", "columns")
    native = NativeFunction(module, name, parameters, dtype, lanes)
    destination, panel_stride, source, source_stride, depth, columns = native.arguments.values()
    builder = native.builder
    panels = builder.sdiv(columns, constant(width))
    left = builder.sub(columns, native.multiply(panels, width))
    with native.loop(0, depth) as step:
        source_row = native.add(source, native.multiply(step, source_stride))
        target_row = native.add(destination, native.multiply(step, width * native.size))
        with native.loop(0, panels) as panel:
            panel_row = native.add(target_row, native.multiply(panel, panel_stride))
            strip = native.add(source_row, native.multiply(panel, width * native.size))
            native.prefetch(native.add(strip, native.multiply(source_stride, ROWS_AHEAD)))
            _copy_strip(native, panel_row, strip, constant(width), width)
        with builder.if_then(builder.icmp_signed(">", left, constant(0))):
            panel_row = native.add(target_row, native.multiply(panels, panel_stride))
            strip = native.add(source_row, native.multiply(panels, width * native.size))
            _copy_strip(native, panel_row, strip, left, width)
    native.finish()


def _copy_strip(native: NativeFunction, destination: Any, source: Any, count: Any, width: int) -> None:
    """Copy `count` of `width` elements and fill up with zeros, a vector at a time."""
    for first in range(0, width, native.lanes):
        offset = first * native.size
        source_address = native.add(source, offset)
        if isinstance(count, ir.Constant) and first + native.lanes <= width:
            value = native.load(source_address, native.vector)
        else:
            mask = native.lanes_below(native.builder.sub(count, constant(first)))
            value = native.masked_load(source_address, mask)
        native.store(value, native.add(destination, offset))


def emit_prefetch(module: Any, dtype: str, lanes: int, name: str, *, write: bool) -> None:
    """`name(address, stride, rows, bytes)`: ask for the cache lines of `rows` rows of memory, to read or to write.

    A hint: it changes nothing but time, and addresses past the end of an operand do no harm.
    """
    native = NativeFunction(module, name, ("address", "stride", "rows", "bytes"), dtype, lanes)
    address, stride, rows, count = native.arguments.values()
    with native.loop(0, rows) as row:
        start = native.add(address, native.multiply(row, stride))
        with native.loop(0, native.add(count, CACHE_LINE - 1), CACHE_LINE) as offset:
            native.prefetch(native.add(start, offset), write=write, level=1 if write else 2)
    native.finish()


def emit_transpose_rows(module: Any, dtype: str, lanes: int) -> None:
    """`transpose_rows(destination, destination_stride, source, source_stride, rows, columns)`.

    Reads a matrix `[rows][columns]` and writes its transpose `[columns][rows]`: square blocks of vectors first,
    then what is left below and beside them, element by element.
    """
    if not is_power_of_two(lanes):
        raise ValueError(f"a vector has 1, 2, 4, … lanes, got {lanes}; check the target's vector_bytes")
    parameters = ("destination", "destination_stride", "source", "source_stride", "rows", "columns")
    native = NativeFunction(module, "transpose_rows", parameters, dtype, lanes)
    rows, columns = native.arguments["rows"], native.arguments["columns"]
    whole_rows = native.remainder_begin(rows, lanes)
    whole_columns = native.remainder_begin(columns, lanes)
    with native.loop(0, whole_rows, lanes) as row, native.loop(0, whole_columns, lanes) as column:
        _transpose_block(native, row, column)
    for first_row, first_column, last_row in (
        (whole_rows, constant(0), rows),
        (constant(0), whole_columns, whole_rows),
    ):
        with native.loop(first_row, last_row) as row, native.loop(first_column, columns) as column:
            value = native.load(_source_address(native, row, column), native.scalar)
            native.store(value, _destination_address(native, row, column))
    native.finish()


def _transpose_block(native: NativeFunction, row: Any, column: Any) -> None:
    """Transpose a square of `lanes` by `lanes`: log2(lanes) perfect shuffles of its rows."""
    lanes = native.lanes
    half = lanes // 2
    places = [_source_address(native, native.add(row, index), column) for index in range(lanes)]
    for place in places:
        native.prefetch(native.add(place, native.multiply(native.arguments["source_stride"], lanes)))
    block = [native.load(place, native.vector) for place in places]
    low = [lane for pair in range(half) for lane in (pair, lanes + pair)]
    high = [lane + half for lane in low]
    for _ in range(lanes.bit_length() - 1):
        pairs = [(block[index], block[index + half]) for index in range(half)]
        block = [native.shuffle(*pair, order) for pair in pairs for order in (low, high)]
    for index, value in enumerate(block):
        native.store(value, _destination_address(native, row, native.add(column, index)))


def _source_address(native: NativeFunction, row: Any, column: Any) -> Any:
    row_offset = native.multiply(row, native.arguments["source_stride"])
    return native.add(native.arguments["source"], row_offset, native.multiply(column, native.size))


def _destination_address(native: NativeFunction, row: Any, column: Any) -> Any:
    row_offset = native.multiply(column, native.arguments["destination_stride"])
    return native.add(native.arguments["destination"], row_offset, native.multiply(row, native.size))


def emit_has_nonfinite(module: Any, dtype: str, lanes: int) -> None:
    """`has_nonfinite(address, count)`: 1 where any element is NaN or infinite, 0 otherwise."""
    native = NativeFunction(module, "has_nonfinite", ("address", "count"), dtype, lanes)
    address, count = native.arguments.values()
    builder = native.builder
    found = builder.alloca(INT64)
    builder.store(constant(0), found)
    for begin, step in ((constant(0), lanes), (native.remainder_begin(count, lanes), 1)):
        with native.loop(begin, count, step) as index:
            seen = _nonfinite_lanes(native, native.add(address, native.multiply(index, native.size)), step)
            builder.store(builder.or_(builder.load(found), seen), found)
    native.finish(builder.load(found))


def _nonfinite_lanes(native: NativeFunction, address: Any, lanes: int) -> Any:
    """1 where one of `lanes` elements has every exponent bit set. Integers: fast-math cannot argue with them."""
    bits = native.size * 8
    exponent = 0x7F800000 if bits == 32 else 0x7FF0000000000000
    kind = ir.VectorType(ir.IntType(bits), lanes)
    mask = ir.Constant(kind, [exponent] * lanes)
    value = native.load(address, kind)
    hit = native.builder.icmp_unsigned("==", native.builder.and_(value, mask), mask)
    joined = native.builder.bitcast(hit, ir.IntType(lanes))
    return native.builder.zext(native.builder.icmp_unsigned("!=", joined, ir.Constant(joined.type, 0)), INT64)
