"""The micro-kernel that computes all tiles of a panel, and finishes each in its registers.

What a tile costs beside its multiply-adds matters where the sum is short: 32 steps of a tile of 6 x 16 take 192 cycles,
and a call for each tile with what its driver does around it took about 60 more, for the processor reads on too slowly
to keep the multiply-add units busy meanwhile. Here one call does all rows of the left factor that meet a panel, and
asks for memory as it goes: a little in each turn of the inner loop.

To reach: 20 cycles a tile. Reached, all of the benchmarks' depthwise net with 64 images on one thread, old and new in
turn, processor time: 28.5 -> 25.6 ms (minima), 29.5 -> 26.2 (lower quartiles); one image 407 -> 384 us. That is about
the 3.8 ms that 60 cycles a tile and the calls that asked for memory had taken, less a quarter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compiler.codegen.contraction_ir import INT64, NativeFunction, constant
from compiler.codegen.microkernel import LINE, Tile, TileCode

__all__ = ["FINISH_PARAMETERS", "FINISH_ROWS", "emit_finishing_microkernel", "finished"]

# What follows a sum where it is finished in its registers: rows of vectors, one beneath the other.
FINISH_ROWS = ("scale", "shift", "low", "high")
FINISH_PARAMETERS = (
    "rows", "base", "row_table", "offsets", "depth", "panel", "tile", "tile_stride", "finish", "finish_stride",
    "read_ahead", "read_step", "write_ahead", "write_stride",
)  # fmt: skip


def emit_finishing_microkernel(module: Any, tile: Tile, name: str) -> None:
    """Add a micro-kernel that stores min(max(sum * scale + shift, low), high) for any number of rows.

    As `emit_microkernel`; the panel's rows lie one behind the other. `finish`: address of the tile's columns of scale;
    `finish_stride`: bytes from there to those of shift, from these to low and from these to high. Memory from
    `read_ahead` on is asked for, `read_step` bytes further in each turn of the inner loop of whole tiles; the result is
    where that has come to. With each whole tile as many rows of memory as it has are asked for to be written, from
    `write_ahead` on, `write_stride` bytes apart, the next tile's behind them.
    """
    for rows in range(1, tile.rows):
        native = NativeFunction(module, f"{name}_rows{rows}", FINISH_PARAMETERS, tile.dtype, tile.lanes)
        code = TileCode(native, Tile(tile.dtype, tile.lanes, rows, tile.vectors), full=False)
        _store_finished(code)
        native.finish(native.arguments["read_ahead"])
    native = NativeFunction(module, name, FINISH_PARAMETERS, tile.dtype, tile.lanes)
    ahead = native.builder.alloca(INT64)
    native.builder.store(native.arguments["read_ahead"], ahead)
    rows = native.arguments["rows"]
    whole = native.builder.sdiv(rows, constant(tile.rows))
    given = dict(native.arguments)
    with native.loop(0, whole) as turn:
        native.arguments |= _moved(native, given, native.multiply(turn, tile.rows))
        _whole_tile(native, tile, ahead)
    done = native.multiply(whole, tile.rows)
    native.arguments = given | _moved(native, given, done)
    native.arguments |= {"rows": native.builder.sub(rows, done), "read_ahead": native.builder.load(ahead)}
    _remaining_rows(native, tile, name)


def finished(native: NativeFunction, sums: Sequence[Any], rows: Sequence[Any]) -> list[Any]:
    """min(max(sum * scale + shift, low), high) of each vector of sums; `rows`: addresses of those four. NaN stays."""
    name = f"llvm.fma.v{native.lanes}f{native.size * 8}"
    fma = native.vector_intrinsic(name, native.vector, [native.vector] * 3)
    scale, shift, low, high = (native.load(row, native.vector) for row in rows)
    builder = native.builder
    results = []
    for value in sums:
        value = builder.call(fma, [value, scale, shift])
        # Ordered comparisons: NaN is beyond no bound.
        for sign, bound in (("<", low), (">", high)):
            value = builder.select(builder.fcmp_ordered(sign, value, bound), bound, value)
        results.append(value)
    return results


def _moved(native: NativeFunction, given: dict[str, Any], rows: Any) -> dict[str, Any]:
    """The arguments that are other ones so many rows further down."""
    return {
        "row_table": native.add(given["row_table"], native.multiply(rows, 8)),
        "tile": native.add(given["tile"], native.multiply(rows, given["tile_stride"])),
        "write_ahead": native.add(given["write_ahead"], native.multiply(rows, given["write_stride"])),
    }


def _whole_tile(native: NativeFunction, tile: Tile, ahead: Any) -> None:
    """A tile with all its rows. `ahead`: where the address of the memory asked for is kept."""
    arguments = native.arguments
    for row in range(tile.rows):
        line = native.add(arguments["write_ahead"], native.multiply(arguments["write_stride"], row))
        for offset in range(0, tile.columns * native.size, LINE):
            native.prefetch(native.add(line, offset), write=True)

    def turn() -> None:
        address = native.builder.load(ahead)
        native.prefetch(address, level=2)
        native.builder.store(native.add(address, arguments["read_step"]), ahead)

    _store_finished(TileCode(native, tile, full=True, turn=turn))


def _store_finished(code: TileCode) -> None:
    native, tile = code.native, code.tile
    total = code.sums()
    stride = native.arguments["finish_stride"]
    for vector in range(tile.vectors):
        first = native.add(native.arguments["finish"], vector * tile.lanes * native.size)
        rows = [native.add(first, native.multiply(stride, row)) for row in range(len(FINISH_ROWS))]
        for row, value in enumerate(finished(native, [vectors[vector] for vectors in total], rows)):
            native.store(value, code.place(row, vector))


def _remaining_rows(native: NativeFunction, tile: Tile, name: str) -> None:
    """What is left after whole tiles: a call of the function for so many rows."""
    builder = native.builder
    arguments = list(native.arguments.values())
    nothing = native.function.append_basic_block("nothing")
    switch = builder.switch(native.arguments["rows"], nothing)
    for rows in range(1, tile.rows):
        block = native.function.append_basic_block(f"rows{rows}")
        switch.add_case(constant(rows), block)
        builder.position_at_end(block)
        builder.ret(builder.call(native.builder.module.globals[f"{name}_rows{rows}"], arguments, tail="musttail"))
    builder.position_at_end(nothing)
    native.finish(native.arguments["read_ahead"])
