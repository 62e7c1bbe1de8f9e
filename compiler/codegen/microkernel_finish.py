"""The micro-kernel that scales, shifts and bounds each tile in its registers.

To reach: 20 cycles a tile beside its multiply-adds, memory asked for included. Reached, all of the benchmarks'
depthwise net with 64 images on one thread, old and new in turn, processor time: 28.5 -> 25.6 ms (minima), 29.5 -> 26.2
(lower quartiles); one image 407 -> 384 us. That is three quarters of the 3.8 ms that 60 cycles a tile and the calls
that asked for memory had taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compiler.codegen.contraction_ir import NativeFunction
from compiler.codegen.microkernel import READ_AHEAD, WRITE_AHEAD, emit_few_rows, emit_tiles
from compiler.codegen.microkernel_tile import Tile, TileCode

__all__ = ["FINISH_PARAMETERS", "FINISH_ROWS", "emit_finishing_microkernel", "finished"]

# What follows a sum where it is finished in its registers: rows of vectors, one beneath the other.
FINISH_ROWS = ("scale", "shift", "low", "high")
_FEW_PARAMETERS = (
    "rows", "base", "row_table", "depth", "panel", "tile", "tile_stride", "finish", "finish_stride",
)  # fmt: skip
FINISH_PARAMETERS = (*_FEW_PARAMETERS, *READ_AHEAD, *WRITE_AHEAD)


def emit_finishing_microkernel(module: Any, tile: Tile, name: str) -> None:
    """Add a micro-kernel that stores min(max(sum * scale + shift, low), high).

    As `emit_microkernel` with the reach "rows"; the panel's rows lie one behind the other. `finish`: address of the
    tile's columns of scale; `finish_stride`: bytes from there to those of shift, from these to low and from these to
    high.
    """
    few = f"{name}_few"
    emit_few_rows(module, tile, few, _FEW_PARAMETERS, "rows", _store_finished)
    emit_tiles(module, tile, name, FINISH_PARAMETERS, "rows", _store_finished, (few, _FEW_PARAMETERS))


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


def _store_finished(code: TileCode) -> None:
    native, tile = code.native, code.tile
    total = code.sums()
    stride = native.arguments["finish_stride"]
    for vector in range(tile.vectors):
        first = native.add(native.arguments["finish"], vector * tile.lanes * native.size)
        rows = [native.add(first, native.multiply(stride, row)) for row in range(len(FINISH_ROWS))]
        for row, value in enumerate(finished(native, [vectors[vector] for vectors in total], rows)):
            native.store(value, code.place(row, vector))
