"""What the drivers of all contractions share: the names their source refers to and the text of the epilogue."""

from __future__ import annotations

import textwrap

from compiler.codegen.contraction_ir import element_bytes, make_private_pointer
from compiler.codegen.contraction_packing import (
    make_copy_rows,
    make_fill_zero,
    make_has_nonfinite,
    make_pack_panels,
    make_transpose_rows,
    panel_slack,
)
from compiler.codegen.contraction_types import Epilogue
from compiler.codegen.microkernel import Tile, make_microkernel

__all__ = ["driver_namespace", "epilogue_text", "prelude_text", "tile_bytes"]


def tile_bytes(tile: Tile) -> int:
    """Bytes of one tile of results."""
    return tile.rows * tile.columns * element_bytes(tile.dtype)


def driver_namespace(tile: Tile, epilogue: Epilogue) -> dict[str, object]:
    """The names that driver sources refer to: native parts, tile constants, and the epilogue's own."""
    dtype, lanes = tile.dtype, tile.lanes
    size = element_bytes(dtype)
    return {
        "micro": make_microkernel(dtype, lanes, tile.rows, tile.vectors),
        "pack_columns": make_pack_panels(dtype, lanes, tile.columns),
        "pack_rows": make_pack_panels(dtype, lanes, tile.rows),
        "transpose_rows": make_transpose_rows(dtype, lanes),
        "copy_rows": make_copy_rows(dtype, lanes),
        "fill_zero": make_fill_zero(dtype, lanes),
        "has_nonfinite": make_has_nonfinite(dtype, lanes),
        "element_pointer": make_private_pointer(dtype),
        "table_pointer": make_private_pointer("int64"),
        "ELEMENT": size,
        "TILE_ROWS": tile.rows,
        "TILE_COLUMNS": tile.columns,
        "TILE_BYTES": tile_bytes(tile),
        "PANEL_STEP": tile.columns * size,
        "STRIP_STEP": tile.rows * size,
        "STRIP_SLACK": panel_slack(size, lanes, tile.rows),
        **epilogue.namespace,
    }


def prelude_text(epilogue: Epilogue) -> str:
    """The epilogue's prelude as the first lines of a kernel."""
    return textwrap.indent("\n".join(epilogue.prelude), "    ")


def epilogue_text(epilogue: Epilogue, indent: int, row: str) -> str:
    """The loops that run the epilogue over one tile.

    The text expects `tile_rows` and `tile_columns`, the valid part of the tile; `values`, a pointer, and
    `first_value`, the tile's place in it; `column_begin`. `row` is the output row of `tile_row`.
    A whole tile has a constant trip count, so that LLVM turns the inner loop into a few vectors.
    """
    body = textwrap.indent("\n".join(epilogue.body("value", "row", "column")), " " * 12)
    lines = f"""\
for tile_row in range(tile_rows):
    row = {row}
    first = first_value + tile_row * TILE_COLUMNS
    if tile_columns == TILE_COLUMNS:
        for tile_column in range(TILE_COLUMNS):
            column = column_begin + tile_column
            value = values[first + tile_column]
{body}
    else:
        for tile_column in range(tile_columns):
            column = column_begin + tile_column
            value = values[first + tile_column]
{body}"""
    return textwrap.indent(lines, " " * indent)
