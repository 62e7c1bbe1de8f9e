"""The driver of matrix products: cache blocking around the micro-kernel.

Blocking after Goto and van de Geijn (2008): b is packed once for a *column block*, all of its depth, into panels
of the tile's width; rows of a are taken a few hundred at a time and, for each *depth block*, every tile of rows
meets every panel. A depth block's panel and strip of a stay in the first-level cache. With more than one depth
block, sums wait in scratch tiles; the epilogue runs as the last block finishes a tile.

A work item is a few tiles of rows of one column block of one batch entry. A call that owns several consecutive
items runs them together, so b is packed once for all of them; where a call begins and ends changes no sum.
"""

from __future__ import annotations

from compiler.codegen.contraction_driver import driver_namespace, epilogue_text, prelude_text, tile_bytes
from compiler.codegen.contraction_ir import element_bytes
from compiler.codegen.contraction_types import ContractionSource, ContractionSpec, Epilogue, MatmulGeometry
from compiler.codegen.microkernel import Tile
from runtime.dimensions import Dim, align_up, ceil_div, dim_max

__all__ = ["matmul_extents", "matmul_scratch", "matmul_source", "matmul_work"]

EXTENT_COUNT = 7

# Tiles of rows in a work item, and work items that share one pass over the packed panels.
ITEM_TILES = 4
GROUP_ITEMS = 4
# Steps of the sum in a depth block: a panel of 256 x 16 float32 is half of a 32 KiB cache.
DEPTH_BLOCK = 256
# Columns packed at a time, and the elements that their panels may hold before fewer columns are taken.
COLUMN_BLOCK = 384
PACKED_ELEMENTS = 1 << 20


def matmul_extents(geometry: MatmulGeometry) -> tuple[Dim, ...]:
    """rows, depth, columns, a's and b's elements from one batch entry to the next, column block, batch."""
    rows, depth, columns = geometry.rows, geometry.depth, geometry.columns
    return (
        rows,
        depth,
        columns,
        rows * depth if geometry.a_batched else 0,
        depth * columns if geometry.b_batched else 0,
        _column_block(depth, columns),
        geometry.batch,
    )


def _column_block(depth: Dim, columns: Dim) -> int:
    """Columns packed at a time: a multiple of every tile's width, fewer where the sum is long."""
    if not isinstance(depth, int):
        return COLUMN_BLOCK
    block = COLUMN_BLOCK
    while block > 96 and block * depth > PACKED_ELEMENTS:
        block //= 2
    return block


def matmul_work(extents: tuple[Dim, ...], tile: Tile) -> Dim:
    """Row items of all column blocks of all batch entries."""
    rows, _, columns, _, _, column_block, batch = extents
    assert isinstance(column_block, int)
    return batch * ceil_div(columns, column_block) * ceil_div(rows, tile.rows * ITEM_TILES)


def matmul_scratch(extents: tuple[Dim, ...], tile: Tile) -> Dim:
    """Bytes of tables, packed panels, packed strips and waiting tiles."""
    _, depth, columns, _, _, column_block, _ = extents
    assert isinstance(column_block, int)
    width = column_block
    if isinstance(columns, int):
        width = min(width, -(-columns // tile.columns) * tile.columns)
    size = element_bytes(tile.dtype)
    group_tiles = GROUP_ITEMS * ITEM_TILES
    tables = align_up(depth * 8) + align_up(group_tiles * tile.rows * 8)
    panels = align_up(depth * width * size)
    strips = group_tiles * tile.rows * (DEPTH_BLOCK + 16) * size
    waiting = width // tile.columns * group_tiles * tile_bytes(tile)
    return dim_max(tables + panels + align_up(strips) + align_up(waiting), 64)


def matmul_source(spec: ContractionSpec, tile: Tile, epilogue: Epilogue) -> ContractionSource:
    """The driver's source for one combination of transposes."""
    pack_a = _PACK_TRANSPOSED_A if spec.transpose_a else _PACK_A
    pack_b = _PACK_TRANSPOSED_B if spec.transpose_b else _PACK_B
    source = _SOURCE.format(
        prelude=prelude_text(epilogue),
        pack_a=pack_a,
        pack_b=pack_b,
        step="STRIP_STEP" if spec.transpose_a else "ELEMENT",
        epilogue=epilogue_text(epilogue, 24, "first_row + tile_begin + tile_row"),
    )
    namespace = driver_namespace(tile, epilogue)
    namespace |= {
        "ITEM_ROWS": ITEM_TILES * tile.rows,
        "GROUP_ITEMS": GROUP_ITEMS,
        "GROUP_TILES": GROUP_ITEMS * ITEM_TILES,
        "DEPTH_BLOCK": DEPTH_BLOCK,
    }
    return ContractionSource(source, namespace)


_SOURCE = """\
def kernel(pointers, extents, scratch, begin, end):
{prelude}
    rows = extents[0]
    depth = extents[1]
    output_columns = extents[2]
    column_block = extents[5]
    row_items = (rows + ITEM_ROWS - 1) // ITEM_ROWS
    column_blocks = (output_columns + column_block - 1) // column_block
    depth_blocks = max(1, (depth + DEPTH_BLOCK - 1) // DEPTH_BLOCK)
    block_depth = (depth + depth_blocks - 1) // depth_blocks
    row_table = scratch + (depth * 8 + 63) // 64 * 64
    packed = row_table + (GROUP_TILES * TILE_ROWS * 8 + 63) // 64 * 64
    panel_bytes = depth * PANEL_STEP
    packed_columns = (min(column_block, output_columns) + TILE_COLUMNS - 1) // TILE_COLUMNS
    strips = packed + (packed_columns * panel_bytes + 63) // 64 * 64
    waiting = strips + (GROUP_TILES * TILE_ROWS * (DEPTH_BLOCK + 16) * ELEMENT + 63) // 64 * 64
    offset_entries = table_pointer(scratch)
    row_entries = table_pointer(row_table)
    values = element_pointer(waiting)
    for index in range(depth):
        offset_entries[index] = index * {step}
    packed_block = -1
    item = begin
    while item < end:
        block = item // row_items
        batch = block // column_blocks
        block_begin = (block - batch * column_blocks) * column_block
        block_columns = min(column_block, output_columns - block_begin)
        panels = (block_columns + TILE_COLUMNS - 1) // TILE_COLUMNS
        a = pointers[0] + batch * extents[3] * ELEMENT
        if block != packed_block:
            packed_block = block
            b = pointers[1] + batch * extents[4] * ELEMENT
{pack_b}
        row_begin = (item - block * row_items) * ITEM_ROWS
        items = min(min(GROUP_ITEMS, end - item), row_items - (item - block * row_items))
        item += items
        block_rows = min(items * ITEM_ROWS, rows - row_begin)
        first_row = batch * rows + row_begin
        for depth_index in range(depth_blocks):
            depth_begin = min(depth, depth_index * block_depth)
            steps = min(block_depth, depth - depth_begin)
{pack_a}
            for panel in range(panels):
                panel_address = packed + panel * panel_bytes + depth_begin * PANEL_STEP
                column_begin = block_begin + panel * TILE_COLUMNS
                tile_columns = min(TILE_COLUMNS, output_columns - column_begin)
                for tile in range((block_rows + TILE_ROWS - 1) // TILE_ROWS):
                    tile_begin = tile * TILE_ROWS
                    tile_rows = min(TILE_ROWS, block_rows - tile_begin)
                    first_value = 0
                    if depth_blocks > 1:
                        first_value = (panel * GROUP_TILES + tile) * TILE_ROWS * TILE_COLUMNS
                    micro(tile_rows, base, row_table + tile_begin * 8, scratch, steps, panel_address, PANEL_STEP,
                          waiting + first_value * ELEMENT, depth_index)
                    if depth_index == depth_blocks - 1:
{epilogue}
"""

_PACK_B = """\
            pack_columns(packed, panel_bytes, b + block_begin * ELEMENT, output_columns * ELEMENT, depth,
                         block_columns)"""

_PACK_TRANSPOSED_B = """\
            for panel in range(panels):
                panel_rows = min(TILE_COLUMNS, block_columns - panel * TILE_COLUMNS)
                if panel_rows < TILE_COLUMNS:
                    fill_zero(packed + panel * panel_bytes, depth * TILE_COLUMNS)
                transpose_rows(packed + panel * panel_bytes, PANEL_STEP,
                               b + (block_begin + panel * TILE_COLUMNS) * depth * ELEMENT, depth * ELEMENT,
                               panel_rows, depth)"""

_PACK_A = """\
            base = a + (row_begin * depth + depth_begin) * ELEMENT
            for index in range(block_rows):
                row_entries[index] = index * depth * ELEMENT"""

_PACK_TRANSPOSED_A = """\
            base = strips
            strip_bytes = steps * STRIP_STEP + STRIP_SLACK
            pack_rows(strips, strip_bytes, a + (depth_begin * rows + row_begin) * ELEMENT, rows * ELEMENT, steps,
                      block_rows)
            for index in range(block_rows):
                row_entries[index] = index // TILE_ROWS * strip_bytes + index % TILE_ROWS * ELEMENT"""
