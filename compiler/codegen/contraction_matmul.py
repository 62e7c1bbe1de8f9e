"""The driver of matrix products: cache blocking around the micro-kernel.

Blocking after Goto and van de Geijn (2008): b is packed for a *column block*, all of its depth, into panels of the
tile's width; rows of a are taken a few dozen at a time and, for each *depth block*, every tile of rows meets every
panel. Rows and panel of a depth block stay in the second-level cache. With more than one depth block, sums wait in the
block of results. Where there are few rows, panels are read in b itself, and with one or two rows in strips as wide
as the registers allow: then the product is as fast as b streams from memory (784 x 128 from the second-level cache:
7 us for one row, 11 with strips of one tile).

A work item is one tile of rows of one column block of one batch entry; where a transposed a has few rows, a few columns
with all rows. A call that owns several consecutive items runs them together, so b is packed once for all of them; where
a call begins and ends changes no sum. Where there are few rows, items have parts of the columns of a block, so that
there are enough for several threads.
"""

from __future__ import annotations

import functools
import textwrap

from compiler.codegen.contraction_driver import PREFETCH_STREAMS, REPORT_BYTES, Driver, kernel_source
from compiler.codegen.contraction_ir import element_bytes
from compiler.codegen.contraction_narrow import (
    is_narrow_matmul,
    narrow_matmul_scratch,
    narrow_matmul_source,
    narrow_matmul_work,
)
from compiler.codegen.contraction_types import ContractionSource, Epilogue, Generator
from compiler.codegen.microkernel import Tile, flat_tiles
from compiler.contractions import ContractionSpec, MatmulGeometry
from runtime.dimensions import Dim, align_up, ceil_div, dim_max

__all__ = ["MatmulGenerator"]

# Steps of the sum in a depth block, and the longest sum that is not cut: a second pass over the block of results costs
# more than reading panels of 64 KiB from the second level (192 x 1024 x 1024, packed operands: 93 GFLOP/s with one
# block, 86 with two, 82 to 86 with four). A transposed a is packed in strips, which are to stay in that level.
DEPTH_BLOCK = {False: 512, True: 256}
WHOLE_DEPTH = {False: 1024, True: 512}
# Tiles of rows that share a pass over the packed panels, and columns packed at a time. A transposed a is packed again
# for each column block, so there its blocks are larger.
GROUP_TILES = {False: 8, True: 16}
COLUMN_BLOCK = {False: 288, True: 576}
# Every tile's width divides this. Fewer columns are taken where their panels would hold more elements than that.
COLUMN_MULTIPLE = 96
# With so few rows, packing b costs as much as it gains, and every thread would pack for itself. With more, panels read
# in b lie in few sets of the first level. One thread, and the sum of two with half of the rows each, packed against in
# place, in us: 128 x 784 x 128 320 / 364 and 337 / 399, 96 rows 250 / 266 and 268 / 282, 64 rows 196 / 197 and 199 /
# 214, 64 x 2304 x 512 2252 / 2251 and 2462 / 2366.
IN_PLACE_ROWS = 64
PACKED_ELEMENTS = 1 << 20
# Parts of a column block, a work item each, where there are hardly any rows: two less for so many rows. b is not packed
# then. Half of the items took 57 us of 111 for 1 x 2304 x 512; before, with blocks of 288 and 224 columns, 75 of 126
# (one Zen 3 core). With fewer elements of b one thread is done before another has woken up.
MOST_PARTS, PART_ROWS = 4, 16
PART_ELEMENTS = 1 << 17
# So many rows are few tiles (64 are 11, which two threads cannot halve), and b is read where it lies: two parts, if
# they are worth the waking. Fewer columns are not cut, and no rows of a small b that pass in a few microseconds.
HALVED_ROWS, STREAMED_ROWS = 64, 8
HALVED_COLUMNS = 128
# A transposed a of few rows and at least as many columns is the gradient of weights: a long sum over the rows or steps
# of a batch. There an item is so many panels of columns; a call takes items up to GROUP_COLUMNS with all rows and packs
# b once, one depth block at a time. With rows as items each of three or more calls of a thread would pack all of b.
# One call, and the sum of the six calls of two threads, in us: 128 x 2560 x 512 4323 and 5684 -> 4067 and 4518,
# 128 x 4096 x 512 8301 and 12786 -> 7294 and 8381, 256 x 4096 x 256 7740 and 9180 -> 6594 and 8592.
FEW_ROWS, ITEM_PANELS, GROUP_COLUMNS = 264, 2, 288
# A transposed a that meets this many panels or fewer is read where it lies: packing it would cost more (784 x 128 x 16
# columns 70 -> 51 us, x 128 columns 368 -> 337, x 256 no gain). Not so where its rows are a multiple of a page long:
# then all steps of a tile lie in one set of the first level (1024 x 128 x 128: 478 -> 644 us).
IN_PLACE_PANELS = 8
PAGE_BYTES = 4096


class MatmulGenerator(Generator[MatmulGeometry]):
    """a `[batch, m, k]`, b `[batch, k, n]`, either transposed in its last two; result `[batch, m, n]`.

    Those with few columns are left to `contraction_narrow`.
    """

    geometry = MatmulGeometry
    extent_count = 8
    forms = (frozenset({"transpose_a", "transpose_b"}), frozenset({"transpose_b", "narrow"}))

    def is_narrow(self, spec: ContractionSpec, geometry: MatmulGeometry, lanes: int) -> bool:
        """Where a is not transposed and there are fewer columns than lanes."""
        return is_narrow_matmul(spec, geometry, lanes)

    def extents(self, spec: ContractionSpec, geometry: MatmulGeometry, *, whole: bool = False) -> tuple[Dim, ...]:
        """rows, depth, columns, a's and b's elements from one batch entry to the next, column block, batch, parts of a
        column block.
        """
        rows, depth, columns, parts = geometry.rows, geometry.depth, geometry.columns, _parts(spec, geometry)
        return (
            rows,
            depth,
            columns,
            rows * depth if geometry.a_batched else 0,
            depth * columns if geometry.b_batched else 0,
            _column_block(depth, columns, GROUP_COLUMNS if parts == 0 else COLUMN_BLOCK[spec.transpose_a]),
            geometry.batch,
            parts,
        )

    def work(self, spec: ContractionSpec, extents: tuple[Dim, ...], tile: Tile) -> Dim:
        """Row items of all parts of column blocks of all batch entries."""
        if spec.narrow:
            return narrow_matmul_work(extents)
        rows, _, columns, _, _, column_block, batch, parts = extents
        assert isinstance(column_block, int)
        if parts == 0:
            return batch * ceil_div(columns, _item_columns(tile))
        return batch * ceil_div(columns, column_block) * parts * ceil_div(rows, tile.rows)

    def scratch(self, spec: ContractionSpec, extents: tuple[Dim, ...], tile: Tile) -> Dim:
        """Bytes of tables, packed panels, packed strips and the block of results."""
        if spec.narrow:
            return narrow_matmul_scratch(extents, tile)
        _, depth, columns, _, _, column_block, _, parts = extents
        assert isinstance(column_block, int)
        width = max(column_block, flat_tiles(tile)[0].columns)
        if isinstance(columns, int):
            width = min(width, -(-columns // tile.columns) * tile.columns)
        size = element_bytes(tile.dtype)
        rows, kept_depth = _group_rows(spec.transpose_a, tile), depth
        if parts == 0:
            kept_depth = depth + WHOLE_DEPTH[True] - dim_max(depth, WHOLE_DEPTH[True])  # the smaller
        tables = REPORT_BYTES + align_up(depth * 8) + align_up(rows * 8)
        panels = align_up(kept_depth * width * size)
        strips = align_up(rows * (WHOLE_DEPTH[True] + 16) * size) if spec.transpose_a else 0
        return tables + panels + strips + align_up(rows * width * size)

    def source(self, spec: ContractionSpec, tile: Tile, epilogue: Epilogue) -> ContractionSource:
        """The driver's source for one combination of transposes."""
        if spec.narrow:
            return narrow_matmul_source(spec, tile, epilogue)
        return kernel_source(tile, _driver(tile, spec.transpose_a, spec.transpose_b), epilogue)


def _parts(spec: ContractionSpec, geometry: MatmulGeometry) -> Dim:
    """4, 2 or 1; 0 where items are columns."""
    rows, columns = geometry.rows * geometry.batch, geometry.columns
    if _by_columns(spec, geometry):
        return 0
    if spec.transpose_a or spec.transpose_b or not isinstance(columns, int) or columns < HALVED_COLUMNS:
        return 1
    halved = 1 + _at_most(rows, HALVED_ROWS)
    if not isinstance(geometry.depth, int) or geometry.depth * columns < PART_ELEMENTS:
        return halved - _at_most(rows, STREAMED_ROWS)
    return dim_max(halved, MOST_PARTS - rows // PART_ROWS * 2)


def _by_columns(spec: ContractionSpec, geometry: MatmulGeometry) -> bool:
    """Whether items are columns."""
    rows, columns = geometry.rows, geometry.columns
    if not spec.transpose_a or spec.transpose_b or not isinstance(rows, int) or not isinstance(columns, int):
        return False
    return IN_PLACE_ROWS < rows <= min(FEW_ROWS, columns)


def _group_rows(transpose_a: bool, tile: Tile) -> int:
    """The most rows that a call takes together."""
    return max(GROUP_TILES[transpose_a], -(-FEW_ROWS // tile.rows) if transpose_a else 0) * tile.rows


def _item_columns(tile: Tile) -> int:
    """Columns of an item of columns; divides every column block."""
    return min(ITEM_PANELS * tile.columns, COLUMN_MULTIPLE)


def _at_most(rows: Dim, most: int) -> Dim:
    """1 or 0."""
    return dim_max(0, 1 - rows // (most + 1))


def _column_block(depth: Dim, columns: Dim, most: int) -> int:
    """Columns packed at a time: equal blocks of at most so many, narrower where the sum is long."""
    if not isinstance(columns, int):
        return most
    while isinstance(depth, int) and most > COLUMN_MULTIPLE and most * depth > PACKED_ELEMENTS:
        most -= COLUMN_MULTIPLE
    blocks = max(1, -(-columns // most))
    return -(-columns // (blocks * COLUMN_MULTIPLE)) * COLUMN_MULTIPLE or COLUMN_MULTIPLE


@functools.cache
def _driver(tile: Tile, transpose_a: bool, transpose_b: bool) -> Driver:
    flat = flat_tiles(tile)
    by_columns = transpose_a and not transpose_b
    source = _SOURCE.format(
        pack_a=_PACK_TRANSPOSED_A if transpose_a else _PACK_A,
        in_place="" if transpose_b else _READ_B_IN_PLACE if transpose_a else _READ_B_IN_PLACE + _FLAT_COLUMNS,
        flat="" if transpose_a or transpose_b else _FLAT,
        pack_b=_PACK_TRANSPOSED_B if transpose_b else _PACK_B,
        by_columns=_BY_COLUMNS if by_columns else "",
        more_columns=_MORE_COLUMNS if by_columns else "",
        all_rows=_ALL_ROWS if by_columns else "",
        pack_whole="not by_columns and " if by_columns else "",
        pack_b_block=_PACK_B_BLOCK if by_columns else "",
        panel_depth="kept_depth" if by_columns else "depth",
        panel_begin="panel_begin" if by_columns else "depth_begin",
        prefetch=textwrap.indent(PREFETCH_STREAMS, " " * 16),
        following=_NEXT_PANEL_OR_ROWS if transpose_a else _NEXT_PANEL,
        tile_rows="row_count if packed_a else min(TILE_ROWS, row_count - tile_begin)" if transpose_a else "row_count",
        strip_steps="(WHOLE_DEPTH + 16)" if transpose_a else "0",
        step=_STEP_TRANSPOSED_A if transpose_a else "    step = ELEMENT",
    )
    constants = {
        "GROUP_TILES": GROUP_TILES[transpose_a],
        "GROUP_ROWS": _group_rows(transpose_a, tile),
        "DEPTH_BLOCK": DEPTH_BLOCK[transpose_a],
        "WHOLE_DEPTH": WHOLE_DEPTH[transpose_a],
        "ITEM_COLUMNS": _item_columns(tile),
        "IN_PLACE_ROWS": IN_PLACE_ROWS,
        "FLAT_ROWS": len(flat),
        "IN_PLACE_PANELS": IN_PLACE_PANELS,
        "PAGE_BYTES": PAGE_BYTES,
        "FLAT_1": flat[0].columns,
        "FLAT_2": flat[1].columns,
    }
    return Driver(source, tuple(constants.items()), columns_extent=2)


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
    block_depth = (depth + depth_blocks - 1) // depth_blocks
{by_columns}
    offsets = scratch + REPORT_BYTES
    row_table = offsets + (depth * 8 + 63) // 64 * 64
    packed = row_table + (GROUP_ROWS * 8 + 63) // 64 * 64
    panel_bytes = {panel_depth} * PANEL_STEP
    packed_panels = (min(max(column_block, FLAT_1), columns) + TILE_COLUMNS - 1) // TILE_COLUMNS
    strips = packed + (packed_panels * panel_bytes + 63) // 64 * 64
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
    if item == begin:
        fill_steps(offsets, depth, step)
    if block_columns == 0:
        scratch[2] = 0
        return item + 1
    b = pointers[1] + batch * extents[4] * ELEMENT
    whole_panels = 0
    flat_columns = 0
{in_place}
    if {pack_whole}(item == begin or row_item == 0):
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
            micro(tile_rows, base, row_table + tile_begin * 8, offsets, steps, panel_address, panel_stride, tile,
                  stride, depth_index, panel_address, 0, written, written_row)
{following}
    scratch[0] = values
    scratch[1] = stride // ELEMENT
    scratch[2] = row_count
    scratch[3] = block_columns
    scratch[4] = batch * rows + first_row
    scratch[5] = first_column
    return item + items
"""

_PACK_B = """\
        whole_columns = whole_panels * TILE_COLUMNS
        if whole_columns < block_columns:
            pack_columns(packed + whole_panels * panel_bytes, panel_bytes, b + (first_column + whole_columns) * ELEMENT,
                         columns * ELEMENT, depth, block_columns - whole_columns)"""

_BY_COLUMNS = """\
    by_columns = extents[7] == 0
    kept_depth = depth
    if by_columns:
        kept_depth = block_depth
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
        if by_columns:
            panel_begin = 0
            pack_columns(packed, panel_bytes, b + (depth_begin * columns + first_column) * ELEMENT,
                         columns * ELEMENT, steps, block_columns)"""

_READ_B_IN_PLACE = """\
    if rows <= IN_PLACE_ROWS:
        whole_panels = block_columns // TILE_COLUMNS"""

# With hardly any rows nothing is used twice: all of the sum in one pass, over strips of b as wide as registers allow.
_FLAT_COLUMNS = """
    if rows <= FLAT_ROWS:
        depth_blocks = 1
        block_depth = depth
        flat_step = FLAT_1 if rows == 1 else FLAT_2
        flat_columns = block_columns // flat_step * flat_step"""

_FLAT = """\
        if flat_columns:
            for column in range(0, flat_columns, flat_step):
                micro_flat(rows, base, row_table, offsets, steps, b + (first_column + column) * ELEMENT,
                           columns * ELEMENT, values + column * ELEMENT, stride, 0)"""

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
    packed_a = columns > IN_PLACE_PANELS * TILE_COLUMNS or rows * ELEMENT % PAGE_BYTES == 0
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
