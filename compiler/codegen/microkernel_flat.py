"""The micro-kernels of products with one or two rows.

Nothing of the right matrix is used twice there, so such a product is as fast as that matrix streams from memory, and
all accumulators go into columns: a strip of the matrix as it lies, or several panels of a packed one at once.

What packed panels were to reach: the rate at which memory gives long runs. One row, a C loop like either kernel, one
Zen 3 core, other data of 1 MiB read between two calls, minima (medians) in us: 784 x 128 5.1 (6.1) in strips of b,
3.9 (4.6) in panels; 2304 x 512 70 (93) and 56 (60); 4096 x 1024, more than a neighbour leaves of the third level,
713 (1189) and 310 (478). A strip reads part of each row, and the processor does not foresee across pages; each panel
is one run.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from compiler.codegen.contraction_ir import NativeFunction
from compiler.codegen.microkernel import STEPS_AHEAD, call_variant
from compiler.codegen.microkernel_tile import HALF_UNROLL, Tile, TileCode

__all__ = [
    "FLAT_PARAMETERS",
    "PANELS_PARAMETERS",
    "emit_flat_microkernel",
    "emit_panels_microkernel",
    "flat_tiles",
]

FLAT_PARAMETERS = (
    "rows", "base", "row_table", "depth", "panel", "panel_stride", "tile", "tile_stride", "accumulate",
)  # fmt: skip
# From beyond the third level 4096 x 1024 takes 352 us (median) with 32 steps, 394 without; from nearer no difference.
PANEL_STEPS_AHEAD = 32
PANELS_PARAMETERS = (
    "rows", "base", "row_table", "depth", "panel", "panel_bytes", "tile", "tile_stride",
)  # fmt: skip


def flat_tiles(tile: Tile) -> list[Tile]:
    """The tiles of products with one or two rows: as wide as the accumulators allow.

    A strip of 256 bytes a step (8 vectors with AVX2) streams at 68 to 88 GB/s from the second-level cache, one of 64
    bytes at 40.
    """
    return [dataclasses.replace(tile, rows=rows, vectors=tile.vectors * wide) for rows, wide in ((1, 4), (2, 2))]


def emit_flat_microkernel(module: Any, tile: Tile, name: str) -> None:
    """Add the micro-kernel that reads strips of b: `emit_microkernel` of "rows", over the columns of `flat_tiles`.

    It asks for nothing but its strip.
    """
    _emit(module, tile, name, FLAT_PARAMETERS, steps_ahead=STEPS_AHEAD)


def emit_panels_microkernel(module: Any, tile: Tile, name: str) -> None:
    """Add the micro-kernel that reads as many packed panels at once as the columns of `flat_tiles` are.

    `panel`: the first one; `panel_bytes`: from one to the next. The elements of a row of a lie one behind the other, a
    tile begins at zero.
    """
    _emit(module, tile, name, PANELS_PARAMETERS, steps_ahead=PANEL_STEPS_AHEAD, panel_vectors=tile.vectors)


def _emit(
    module: Any, tile: Tile, name: str, parameters: tuple[str, ...], *, steps_ahead: int = 0, panel_vectors: int = 0
) -> None:
    variants = {flat.rows: f"{name}_rows{flat.rows}" for flat in flat_tiles(tile)}
    for flat in flat_tiles(tile):
        native = NativeFunction(module, variants[flat.rows], parameters, tile.dtype, tile.lanes)
        unroll = HALF_UNROLL if flat.rows == max(variants) else 2
        code = TileCode(native, flat, reach="rows", unroll=unroll, steps_ahead=steps_ahead, panel_vectors=panel_vectors)
        code.store_sums()
        native.finish()
    call_variant(NativeFunction(module, name, parameters, tile.dtype, tile.lanes), variants)
