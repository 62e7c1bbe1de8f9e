"""The vector micro-kernel: the one inner loop of every matrix product and convolution on the CPU.

It computes a tile of `rows x (vectors * lanes)` outputs that stays in registers,

    tile[i, j] (+)= sum over k of  A[row_table[i] + offsets[k]] * panel[k, j]

where A's element is addressed by the *sum of two tables* of byte offsets, one per tile row and one per step of
the sum. That covers strided and transposed matrices (offsets k * stride), convolutions forward and backward at any
stride and dilation (a row is an output pixel, a step a kernel tap and a channel) and kernel gradients (a row is a tap
and a channel, a step an output pixel), with no copy of A in the order of the sum. Where a row's or a step's elements
lie one behind the other there are forms without the second table, which need fewer instructions (`Reach`).

Each step loads `vectors` vectors of the panel, broadcasts one element a row and makes `rows * vectors` fused
multiply-adds (the register tiling of Goto and van de Geijn, "Anatomy of High-Performance Matrix
Multiplication", 2008). Tiles with fewer rows have code of their own; those with too few accumulators to hide
the latency of a multiply-add split the sum over several interleaved chains. One call does all rows that meet a panel,
and asks for memory to come meanwhile (`emit_tiles`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llvmlite import ir

from compiler.codegen.contraction_ir import CACHE_LINE, INT64, NativeFunction, constant, native_type
from compiler.codegen.microkernel_tile import FULL_UNROLL, Reach, Tile, TileCode, reach_parameters

__all__ = [
    "FEW_REACH",
    "READ_AHEAD",
    "STEPS_AHEAD",
    "WRITE_AHEAD",
    "call_variant",
    "emit_few_rows",
    "emit_few_sums",
    "emit_microkernel",
    "emit_tiles",
    "few_name",
    "few_parameters",
    "micro_parameters",
]

# Steps between the multiply-adds of few rows and the lines that they ask for. They read part of each row of the panel,
# which the processor foresees only in part: 784 x 128 from the second level, one row, in us: 5.9 without (9.2 where
# another process takes half of the cache), 5.6 (7.0) with 4 to 8 steps, 5.6 (8.5) with 32. Winograd with one image of
# 8 x 8 x 64, four rows, its kernel from the third level: 25.5 without, 22.8 with 8 to 64. The whole tile reads a panel
# often enough.
STEPS_AHEAD = 8
# What to ask for while tiles are computed: see `emit_tiles`.
READ_AHEAD, WRITE_AHEAD = ("read_ahead", "read_step"), ("write_ahead", "write_stride")


_SUMS = ("depth", "panel", "panel_stride", "tile", "tile_stride", "accumulate")
# How few rows find their elements where whole tiles do it so: their code is half of the micro-kernel's, and two reaches
# share it.
FEW_REACH: Mapping[Reach, Reach] = {"table": "table", "runs": "table", "rows": "strided", "columns": "strided"}


def micro_parameters(reach: Reach, *, ahead: bool = False) -> tuple[str, ...]:
    """The parameters of `emit_microkernel`."""
    begin = ("rows", "base", "row_table", *reach_parameters(reach))
    return (*begin, *_SUMS, *(READ_AHEAD if ahead else ()), *WRITE_AHEAD)


def few_parameters(reach: Reach) -> tuple[str, ...]:
    """The parameters of what computes few rows of a micro-kernel with this reach of `FEW_REACH`."""
    return ("rows", "base", "row_table", *reach_parameters(reach), *_SUMS)


def few_name(reach: Reach) -> str:
    """The name of what computes few rows of a micro-kernel with this reach of `FEW_REACH`."""
    return f"few_{reach}"


def emit_microkernel(module: Any, tile: Tile, name: str, reach: Reach, *, ahead: bool = False) -> None:
    """Add the native function that computes the tiles of a panel; it calls that of `emit_few_sums` by its name.

    `rows`: rows to compute, any number. `base`: address added to every row's. `row_table`: address of as many int64
    byte offsets. What goes with the steps: see `Reach`.
    `panel`: address of `depth` rows of the tile's columns, `panel_stride` bytes apart.
    `tile`: address of the result's first row, `tile_stride` bytes before the next. With `accumulate` not zero,
    the sum is added to what it holds. A depth of zero writes zeros. The others, and what it gives back: `emit_tiles`.

    The order of a row's sum depends on `rows`, its place among them and `depth` alone.
    """
    few = FEW_REACH[reach]
    parameters = micro_parameters(reach, ahead=ahead)
    emit_tiles(module, tile, name, parameters, reach, TileCode.store_sums, (few_name(few), few_parameters(few)))


def emit_few_sums(module: Any, tile: Tile, reach: Reach) -> None:
    """Add the native function that computes fewer rows than a whole tile has, under its `few_name`."""
    emit_few_rows(module, tile, few_name(reach), few_parameters(reach), reach, TileCode.store_sums)


def emit_few_rows(
    module: Any, tile: Tile, name: str, parameters: Sequence[str], reach: Reach, store: Callable[[TileCode], None]
) -> None:
    """Add a function for fewer rows than a whole tile has, which has code of its own for each number of them.

    `store`: emits the code that computes a tile and stores it.
    """
    variants = {rows: f"{name}_{rows}" for rows in range(1, tile.rows)}
    for rows, variant in variants.items():
        native = NativeFunction(module, variant, parameters, tile.dtype, tile.lanes)
        few = dataclasses.replace(tile, rows=rows)
        store(TileCode(native, few, reach=reach, unroll=2, steps_ahead=STEPS_AHEAD))
        native.finish()
    call_variant(NativeFunction(module, name, parameters, tile.dtype, tile.lanes), variants)


def emit_tiles(
    module: Any,
    tile: Tile,
    name: str,
    parameters: Sequence[str],
    reach: Reach,
    store: Callable[[TileCode], None],
    few: tuple[str, Sequence[str]],
) -> None:
    """Add a function that computes any number of rows: whole tiles in a loop, then what is left.

    `store`: emits the code that computes a tile and stores it. `few`: the name and the parameters of the function for
    fewer rows. Beside what these read of the arguments there are those of memory to ask for. Memory from `read_ahead`
    on, if that is one of them, is read, `read_step` bytes further in each turn of the inner loop of whole tiles; where
    that has come to is what the function gives back, else 0. With a whole tile as many rows of memory are written as
    it has, from `write_ahead` on, `write_stride` bytes apart, those of the next tile after them.

    What a tile costs beside its multiply-adds matters where the sum is short: 32 steps of a tile of 6 x 16 take 192
    cycles; a call for each tile and calls that ask for memory between them took 60 more, for the processor reads on too
    slowly to keep the multiply-add units busy meanwhile.
    """
    native = NativeFunction(module, name, parameters, tile.dtype, tile.lanes)
    given = dict(native.arguments)
    ahead, ask_to_read = None, None
    if "read_ahead" in given:
        ahead = native.builder.alloca(INT64)
        native.builder.store(given["read_ahead"], ahead)
        ask_to_read = functools.partial(_ask_to_read, native, ahead)
    whole = native.builder.sdiv(given["rows"], constant(tile.rows))
    with native.loop(0, whole) as turn:
        native.arguments |= _moved(native, given, native.multiply(turn, tile.rows))
        _ask_to_write(native, tile)
        store(TileCode(native, tile, reach=reach, unroll=FULL_UNROLL, turn=ask_to_read))
    done = native.multiply(whole, tile.rows)
    left = native.builder.sub(given["rows"], done)
    with native.builder.if_then(native.builder.icmp_signed(">", left, constant(0))):
        arguments = {"step_bytes": constant(native.size)} | given | _moved(native, given, done) | {"rows": left}
        function = module.globals.get(few[0]) or ir.Function(module, native_type(len(few[1])), few[0])
        native.builder.call(function, [arguments[parameter] for parameter in few[1]])
    native.finish(native.builder.load(ahead) if ahead else None)


def _moved(native: NativeFunction, given: dict[str, Any], rows: Any) -> dict[str, Any]:
    """The arguments that are other ones so many rows further down."""
    return {
        "row_table": native.add(given["row_table"], native.multiply(rows, 8)),
        "tile": native.add(given["tile"], native.multiply(rows, given["tile_stride"])),
        "write_ahead": native.add(given["write_ahead"], native.multiply(rows, given["write_stride"])),
    }


def _ask_to_write(native: NativeFunction, tile: Tile) -> None:
    for row in range(tile.rows):
        line = native.add(native.arguments["write_ahead"], native.multiply(native.arguments["write_stride"], row))
        for offset in range(0, tile.columns * native.size, CACHE_LINE):
            native.prefetch(native.add(line, offset), write=True)


def _ask_to_read(native: NativeFunction, ahead: Any) -> None:
    address = native.builder.load(ahead)
    native.prefetch(address, level=2)
    native.builder.store(native.add(address, native.arguments["read_step"]), ahead)


def call_variant(native: NativeFunction, variants: dict[int, str]) -> None:
    """Return what the function for so many rows gives back, of the same arguments; nothing is done for other rows."""
    builder = native.builder
    arguments = list(native.arguments.values())
    nothing = native.function.append_basic_block("nothing")
    switch = builder.switch(native.arguments["rows"], nothing)
    for rows, variant in variants.items():
        block = native.function.append_basic_block(f"rows{rows}")
        switch.add_case(constant(rows), block)
        builder.position_at_end(block)
        builder.ret(builder.call(builder.module.globals[variant], arguments, tail="musttail"))
    builder.position_at_end(nothing)
    native.finish(native.arguments.get("read_ahead"))
