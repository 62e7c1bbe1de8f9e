"""The driver of matrix products: cache blocking around the micro-kernel.

Blocking after Goto and van de Geijn (2008): b is packed for a *column block*, all of its depth, into panels of the
tile's width; rows of a are taken a few dozen at a time and, for each *depth block*, every tile of rows meets every
panel. Rows and panel of a depth block stay in the second-level cache. With more than one depth block, sums wait in the
block of results. Where there are few rows, panels are read in b itself, and with one or two rows in strips as wide
as the registers allow: then the product is as fast as b streams from memory (784 x 128 from the second-level cache:
7 us for one row, 11 with strips of one tile). Where the pass `pack_kernels` has packed b, its panels are read instead,
several at once for one or two rows.

A work item is one tile of rows of one column block of one batch entry; where a transposed a has few rows, a few columns
with all rows. A call that owns several consecutive items runs them together, so b is packed once for all of them; where
a call begins and ends changes no sum. Where there are few rows, items have parts of the columns of a block, so that
there are enough for several threads.

The gradient of weights is a transposed a times b, a long sum over the rows or steps of a batch. There both operands are
packed one depth block at a time, and while a block is multiplied the micro-kernel asks for the next one: of 128 x 4096
x 512 packing had taken 2.3 of 7.9 ms, most of it waiting for memory. To reach: half of that. Reached, in turn, one
thread, minima in ms: 512 x 4096 x 128 8.3 -> 7.1, 128 x 4096 x 512 7.6 -> 6.8, 128 x 4096 x 128 1.83 -> 1.57,
1024 x 4096 x 256 33.4 -> 26.8, 256 x 4096 x 256 6.7 -> 6.5.
"""

from __future__ import annotations

import functools

from compiler.codegen.contraction_driver import REPORT_BYTES, Driver, kernel_source
from compiler.codegen.contraction_ir import CACHE_LINE, element_bytes
from compiler.codegen.contraction_matmul_source import matmul_driver_source
from compiler.codegen.contraction_narrow import (
    is_narrow_matmul,
    narrow_matmul_scratch,
    narrow_matmul_source,
    narrow_matmul_work,
)
from compiler.codegen.contraction_types import ContractionSource, Epilogue, Generator
from compiler.codegen.microkernel_flat import flat_tiles
from compiler.codegen.microkernel_tile import Tile
from compiler.contractions import ContractionSpec, MatmulGeometry
from runtime.dimensions import Dim, align_up, ceil_div, dim_max, is_at_most

__all__ = ["MatmulGenerator"]

# Steps of the sum in a depth block, and the longest sum that is not cut: a second pass over the block of results costs
# more than reading panels of 64 KiB from the second level (192 x 1024 x 1024, packed operands: 93 GFLOP/s with one
# block, 86 with two, 82 to 86 with four). A transposed a is packed in strips, which are to stay in that level, beside
# the next block of both operands (128 x 4096 x 512 with 256 steps 6.80, with 192 6.58 ms).
DEPTH_BLOCK = {False: 512, True: 192}
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
# (one Zen 3 core). With fewer elements of b one thread is done before another has woken up; 1 x 784 x 128 still gains:
# the MLP for one row, in turn, 9.4 -> 7.6 us at best, medians 15.3, 15.3, 15.1 -> 14.9, 14.4, 14.0.
MOST_PARTS, PART_ROWS = 4, 16
PART_ELEMENTS = 1 << 16
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
# A longer sum is cut, and each block of both operands packed while the one before it is multiplied: 128 x 4096 x 128
# columns 1.81 -> 1.58 ms, 512 x 4096 x 64 no gain, x 32 columns 2.33 -> 2.82.
IN_PLACE_PANELS, CUT_IN_PLACE_PANELS = 8, 4
PAGE_BYTES = 4096


class MatmulGenerator(Generator[MatmulGeometry]):
    """a `[batch, m, k]`, b `[batch, k, n]`, either transposed in its last two; result `[batch, m, n]`.

    Packed: b, one for all of the batch, comes as panels `[panels, k, columns of a tile]`. Products with few columns are
    left to `contraction_narrow`.
    """

    geometry = MatmulGeometry
    extent_count = 8
    forms = (
        frozenset({"transpose_a", "transpose_b"}),
        frozenset({"transpose_b", "narrow"}),
        frozenset({"packed"}),
    )

    def is_narrow(self, spec: ContractionSpec, geometry: MatmulGeometry, tile: Tile) -> bool:
        """Where a is not transposed and there are few columns."""
        return is_narrow_matmul(spec, geometry, tile)

    def fills(self, spec: ContractionSpec, geometry: MatmulGeometry) -> bool:
        """Where b does not come packed."""
        return not spec.packed

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
        is_packed = spec.transpose_a and not spec.transpose_b and isinstance(columns, int)
        if parts == 0 or (is_packed and columns > CUT_IN_PLACE_PANELS * tile.columns):
            kept_depth = depth + WHOLE_DEPTH[True] - dim_max(depth, WHOLE_DEPTH[True])  # the smaller
        tables = REPORT_BYTES + align_up(rows * 8)
        panels = 0 if spec.packed else align_up(kept_depth * width * size)
        strips = align_up(rows * (WHOLE_DEPTH[True] + 16) * size) if spec.transpose_a else 0
        return tables + panels + strips + align_up(rows * width * size)

    def source(self, spec: ContractionSpec, tile: Tile, epilogue: Epilogue) -> ContractionSource:
        """The source of the driver for one form."""
        if spec.narrow:
            return narrow_matmul_source(spec, tile, epilogue)
        return kernel_source(tile, _driver(tile, spec.transpose_a, spec.transpose_b, spec.packed), epilogue)


def _parts(spec: ContractionSpec, geometry: MatmulGeometry) -> Dim:
    """4, 2 or 1; 0 where items are columns."""
    rows, columns = geometry.rows * geometry.batch, geometry.columns
    if _by_columns(spec, geometry):
        return 0
    if spec.transpose_a or spec.transpose_b or not isinstance(columns, int) or columns < HALVED_COLUMNS:
        return 1
    halved = 1 + is_at_most(rows, HALVED_ROWS)
    if not isinstance(geometry.depth, int) or geometry.depth * columns < PART_ELEMENTS:
        return halved - is_at_most(rows, STREAMED_ROWS)
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


def _column_block(depth: Dim, columns: Dim, most: int) -> int:
    """Columns packed at a time: equal blocks of at most so many, narrower where the sum is long."""
    if not isinstance(columns, int):
        return most
    while isinstance(depth, int) and most > COLUMN_MULTIPLE and most * depth > PACKED_ELEMENTS:
        most -= COLUMN_MULTIPLE
    blocks = max(1, -(-columns // most))
    return -(-columns // (blocks * COLUMN_MULTIPLE)) * COLUMN_MULTIPLE or COLUMN_MULTIPLE


@functools.cache
def _driver(tile: Tile, transpose_a: bool, transpose_b: bool, packed: bool) -> Driver:
    flat = flat_tiles(tile)
    source = matmul_driver_source(transpose_a, transpose_b, packed)
    constants = {
        "GROUP_TILES": GROUP_TILES[transpose_a],
        "GROUP_ROWS": _group_rows(transpose_a, tile),
        "DEPTH_BLOCK": DEPTH_BLOCK[transpose_a],
        "WHOLE_DEPTH": WHOLE_DEPTH[transpose_a],
        "ITEM_COLUMNS": _item_columns(tile),
        "IN_PLACE_ROWS": IN_PLACE_ROWS,
        "FLAT_ROWS": len(flat),
        "IN_PLACE_PANELS": IN_PLACE_PANELS,
        "CUT_IN_PLACE_PANELS": CUT_IN_PLACE_PANELS,
        "PAGE_BYTES": PAGE_BYTES,
        "CACHE_LINE": CACHE_LINE,
        "FLAT_1": flat[0].columns,
        "FLAT_2": flat[1].columns,
    }
    return Driver(source, tuple(constants.items()), columns_extent=2)
