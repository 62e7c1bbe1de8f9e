"""The text of the driver of matrix products, in parts that depend on its form (see `contraction_matmul`)."""

from __future__ import annotations

import textwrap

from compiler.codegen.contraction_driver import PREFETCH_STREAMS

__all__ = ["matmul_driver_source"]


def matmul_driver_source(transpose_a: bool, transpose_b: bool, packed: bool) -> str:
    """The driver's source; `packed` goes with neither transpose. Its constants are those of `contraction_matmul`."""
    by_columns = transpose_a and not transpose_b
    return _SOURCE.format(
        pack_a=_PACK_TRANSPOSED_A if transpose_a else _PACK_A,
        in_place=_ready_columns(transpose_a, transpose_b, packed),
        flat="" if transpose_a or transpose_b else _FLAT_PANELS if packed else _FLAT,
        pack_b="" if packed else _pack_b(transpose_b, "not blocked and " if by_columns else ""),
        by_columns=_BY_COLUMNS if by_columns else "",
        packed_a=_PACKED_A if transpose_a else "",
        more_columns=_MORE_COLUMNS if by_columns else "",
        all_rows=_ALL_ROWS if by_columns else "",
        pack_b_block=_PACK_B_BLOCK if by_columns else "",
        scratch_panels="0" if packed else "packed_panels",
        panel_depth="kept_depth" if by_columns else "depth",
        panel_begin="panel_begin" if by_columns else "depth_begin",
        prefetch=textwrap.indent(PREFETCH_STREAMS, " " * 16),
        call=_CALL_AHEAD if transpose_a else _CALL,
        lines_ahead=_LINES_AHEAD.format(b_lines="panels * blocked" if by_columns else "0") if transpose_a else "",
        following=_NEXT_PANEL_OR_ROWS if transpose_a else _NEXT_PANEL,
        tile_rows="row_count if packed_a else min(TILE_ROWS, row_count - tile_begin)" if transpose_a else "row_count",
        strip_steps="(WHOLE_DEPTH + 16)" if transpose_a else "0",
        step=_STEP_TRANSPOSED_A if transpose_a else "",
    )


def _ready_columns(transpose_a: bool, transpose_b: bool, packed: bool) -> str:
    """Which columns of b need not be packed."""
    if packed:
        return _READ_PANELS + _FLAT_COLUMNS.format(ready="panels * TILE_COLUMNS")
    if transpose_b:
        return ""
    return _READ_B_IN_PLACE if transpose_a else _READ_B_IN_PLACE + _FLAT_COLUMNS.format(ready="block_columns")


def _pack_b(transposed: bool, condition: str) -> str:
    pack = _PACK_TRANSPOSED_B if transposed else _PACK_B
    return f"    if {condition}(item == begin or row_item == 0):\n{pack}"


_SOURCE = """\
def contract(pointers, extents, scratch, begin, end, item):
    rows = extents[0]
    depth = extents[1]
    columns = extents[2]
    column_block = extents[5]
    row_items = (rows + TILE_ROWS - 1) // TILE_ROWS
    column_blocks = (columns + column_block - 1) // column_block * extents[7]
    depth_blocks = 1
    if depth > WHOLE_DEPTH:
        depth_blocks = (depth + DEPTH_BLOCK - 1) // DEPTH_BLOCK
    block_depth = ((depth + depth_blocks - 1) // depth_blocks + FULL_UNROLL - 1) // FULL_UNROLL * FULL_UNROLL
    depth_blocks = max(1, (depth + block_depth - 1) // max(1, block_depth))
{packed_a}
{by_columns}
    row_table = scratch + REPORT_BYTES
    packed = row_table + (GROUP_ROWS * 8 + 63) // 64 * 64
    panel_bytes = {panel_depth} * PANEL_STEP
    packed_panels = (min(max(column_block, FLAT_1), columns) + TILE_COLUMNS - 1) // TILE_COLUMNS
    strips = packed + ({scratch_panels} * panel_bytes + 63) // 64 * 64
    values = strips + (GROUP_ROWS * {strip_steps} * ELEMENT + 63) // 64 * 64
    block = item // row_items
    row_item = item - block * row_items
    batch = block // column_blocks
    column_index = block - batch * column_blocks
    first_column = column_index * column_block
    block_columns = min(column_block, columns - first_column)
    if extents[7] > 1:
        # Whole strips, spread evenly: there may be more parts than strips.
        flat_strips = (columns + FLAT_1 - 1) // FLAT_1
        first_column = column_index * flat_strips // column_blocks * FLAT_1
        block_columns = min(columns, (column_index + 1) * flat_strips // column_blocks * FLAT_1) - first_column
{more_columns}
    panels = (block_columns + TILE_COLUMNS - 1) // TILE_COLUMNS
    stride = panels * PANEL_STEP
{step}
    if block_columns == 0:
        scratch[2] = 0
        return item + 1
    b = pointers[1] + batch * extents[4] * ELEMENT
    whole_panels = 0
    flat_columns = 0
{in_place}
{pack_b}
    items = min(GROUP_TILES, end - item, row_items - row_item)
    first_row = row_item * TILE_ROWS
    row_count = min(items * TILE_ROWS, rows - first_row)
{all_rows}
    a = pointers[0] + batch * extents[3] * ELEMENT
    for depth_index in range(depth_blocks):
        depth_begin = min(depth, depth_index * block_depth)
        steps = min(block_depth, depth - depth_begin)
{pack_b_block}
{pack_a}
{lines_ahead}
{flat}
        panel = flat_columns // TILE_COLUMNS
        tile_begin = 0
        while panel < panels and tile_begin < row_count:
            panel_stride = PANEL_STEP
            panel_address = packed + panel * panel_bytes + {panel_begin} * PANEL_STEP
            if panel < whole_panels:
                panel_stride = columns * ELEMENT
                panel_address = b + (depth_begin * columns + first_column + panel * TILE_COLUMNS) * ELEMENT
            tile_rows = {tile_rows}
            tile = values + panel * PANEL_STEP + tile_begin * stride
            written = tile
            written_row = stride
            if depth_index == depth_blocks - 1:
                tile_row = batch * rows + first_row + tile_begin
                column = first_column + panel * TILE_COLUMNS
{prefetch}
{call}
{following}
    scratch[0] = values
    scratch[1] = stride // ELEMENT
    scratch[2] = row_count
    scratch[3] = block_columns
    scratch[4] = batch * rows + first_row
    scratch[5] = first_column
    return item + items
"""

_CALL = """\
            micro_rows(tile_rows, base, row_table + tile_begin * 8, steps, panel_address, panel_stride, tile, stride,
                       depth_index, written, written_row)"""

# What the next depth block packs is asked for meanwhile: the lines beneath one another of a strip of columns with so
# many rows of tiles.
_CALL_AHEAD = """\
            done = 0
            line = panel
            while done < tile_rows:
                call_rows = tile_rows - done
                ahead = panel_address
                ahead_step = 0
                if line < lines_ahead:
                    call_rows = min(call_rows, rows_ahead)
                    ahead = next_b + line * PANEL_STEP
                    ahead_step = columns * ELEMENT
                    if line >= b_lines:
                        ahead = next_a + (line - b_lines) * CACHE_LINE
                        ahead_step = rows * ELEMENT
                micro_columns_ahead(call_rows, base, row_table + (tile_begin + done) * 8, step, steps, panel_address,
                                    panel_stride, tile + done * stride, stride, depth_index, ahead, ahead_step,
                                    written + done * written_row, written_row)
                done = done + call_rows
                line = line + panels"""

_LINES_AHEAD = """\
        lines_ahead = 0
        if packed_a and depth_index < depth_blocks - 1:
            next_begin = depth_begin + steps
            turns = max(1, steps // FULL_UNROLL)
            rows_ahead = (min(block_depth, depth - next_begin) + turns - 1) // turns * TILE_ROWS
            b_lines = {b_lines}
            lines_ahead = b_lines + (row_count * ELEMENT + CACHE_LINE - 1) // CACHE_LINE
            next_b = b + (next_begin * columns + first_column) * ELEMENT
            next_a = a + (next_begin * rows + first_row) * ELEMENT
"""

_PACK_B = """\
        whole_columns = whole_panels * TILE_COLUMNS
        if whole_columns < block_columns:
            pack_columns(packed + whole_panels * panel_bytes, panel_bytes, b + (first_column + whole_columns) * ELEMENT,
                         columns * ELEMENT, depth, block_columns - whole_columns)"""

_PACKED_A = """\
    in_place_columns = (CUT_IN_PLACE_PANELS if depth_blocks > 1 else IN_PLACE_PANELS) * TILE_COLUMNS
    packed_a = columns > in_place_columns or rows * ELEMENT % PAGE_BYTES == 0"""

_BY_COLUMNS = """\
    by_columns = extents[7] == 0
    blocked = by_columns or packed_a and depth_blocks > 1
    kept_depth = depth
    if blocked:
        kept_depth = min(depth, block_depth)
    if by_columns:
        row_items = 1
        column_blocks = (columns + ITEM_COLUMNS - 1) // ITEM_COLUMNS"""

_MORE_COLUMNS = """\
    column_items = 1
    if by_columns:
        first_column = column_index * ITEM_COLUMNS
        column_items = min(column_block // ITEM_COLUMNS, end - item, column_blocks - column_index)
        block_columns = min(column_items * ITEM_COLUMNS, columns - first_column)"""

_ALL_ROWS = """\
    if by_columns:
        items = column_items
        row_count = rows"""

_PACK_B_BLOCK = """\
        panel_begin = depth_begin
        if blocked:
            panel_begin = 0
            whole_columns = whole_panels * TILE_COLUMNS
            if whole_columns < block_columns:
                pack_columns(packed + whole_panels * panel_bytes, panel_bytes,
                             b + (depth_begin * columns + first_column + whole_columns) * ELEMENT,
                             columns * ELEMENT, steps, block_columns - whole_columns)"""

_READ_B_IN_PLACE = """\
    if rows <= IN_PLACE_ROWS:
        whole_panels = block_columns // TILE_COLUMNS"""

# With hardly any rows nothing is used twice: all of the sum in one pass, over strips of b as wide as registers allow.
_FLAT_COLUMNS = """
    if rows <= FLAT_ROWS:
        depth_blocks = 1
        block_depth = depth
        flat_step = FLAT_1 if rows == 1 else FLAT_2
        flat_columns = {ready} // flat_step * flat_step"""

# b comes as panels, of which these are the block's.
_READ_PANELS = """\
    packed = b + first_column // TILE_COLUMNS * panel_bytes
"""

_FLAT = """\
        if flat_columns:
            for column in range(0, flat_columns, flat_step):
                micro_flat(rows, base, row_table, steps, b + (first_column + column) * ELEMENT, columns * ELEMENT,
                           values + column * ELEMENT, stride, 0)"""

_FLAT_PANELS = """\
        if flat_columns:
            for column in range(0, flat_columns, flat_step):
                micro_panels(rows, base, row_table, steps, packed + column // TILE_COLUMNS * panel_bytes, panel_bytes,
                             values + column * ELEMENT, stride)"""

_PACK_TRANSPOSED_B = """\
        for panel in range(panels):
            panel_rows = min(TILE_COLUMNS, block_columns - panel * TILE_COLUMNS)
            if panel_rows < TILE_COLUMNS:
                fill_zero(packed + panel * panel_bytes, depth * TILE_COLUMNS)
            transpose_rows(packed + panel * panel_bytes, PANEL_STEP,
                           b + (first_column + panel * TILE_COLUMNS) * depth * ELEMENT, depth * ELEMENT,
                           panel_rows, depth)"""

_PACK_A = """\
        base = a + (first_row * depth + depth_begin) * ELEMENT
        fill_steps(row_table, row_count, depth * ELEMENT)"""

_NEXT_PANEL = """\
            panel += 1"""

# Rows that lie scattered are kept in the first level while all panels pass (512 x 512 x 64: 557 -> 496 us).
_NEXT_PANEL_OR_ROWS = """\
            panel += 1
            if not packed_a and panel == panels:
                panel = 0
                tile_begin += TILE_ROWS"""

_STEP_TRANSPOSED_A = """\
    step = STRIP_STEP if packed_a else rows * ELEMENT"""

_PACK_TRANSPOSED_A = """\
        base = a + (depth_begin * rows + first_row) * ELEMENT
        strip_bytes = TILE_ROWS * ELEMENT
        if packed_a:
            strip_bytes = steps * STRIP_STEP + STRIP_SLACK
            pack_rows(strips, strip_bytes, base, rows * ELEMENT, steps, row_count)
            base = strips
        for index in range(row_count):
            row_table[index] = index // TILE_ROWS * strip_bytes + index % TILE_ROWS * ELEMENT"""
