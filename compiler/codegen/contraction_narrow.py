"""Contractions with fewer columns than half of a tile: images as results, heads with one output.

Vectors run along the sum (`microkernel_dot`); the results are put where they lie in the output, all columns of a row
after each other, so that the epilogue's vectors run along that memory.

What it had to reach: a transposed convolution to 3 channels in half the time of the register tile, 13 of whose 16
columns were idle. Reached, one thread, minima: transposed 16x16x32 -> 32x32x3, stride 2, 64 images 1.78 -> 0.68 ms;
convolution 32x32x32 -> 3 6.7 -> 2.0 ms; input gradient of 28x28x1 -> 32 5.2 -> 0.85 ms; 1024x256 times 256x1
101 -> 18 us and times 256x3 104 -> 38 us.

A convolution takes this form where the channels that it sums over are a multiple of the lanes and in one group; a
product where a is not transposed. Its work items are 64 rows.
"""

from __future__ import annotations

import functools

from compiler.codegen.contraction_driver import REPORT_BYTES, Driver, kernel_source
from compiler.codegen.contraction_ir import element_bytes
from compiler.codegen.contraction_types import ContractionSource, Epilogue
from compiler.codegen.microkernel_dot import dot_rows
from compiler.codegen.microkernel_tile import Tile
from compiler.contractions import ContractionSpec, ConvolutionGeometry, MatmulGeometry
from runtime.dimensions import Dim, align_up, ceil_div

__all__ = [
    "NARROW_BACKWARD_PACK",
    "NARROW_COMPUTE",
    "NARROW_FORWARD_PACK",
    "NARROW_STEPS",
    "NARROW_TABLES",
    "SECOND_HALF",
    "is_narrow_convolution",
    "is_narrow_matmul",
    "narrow_matmul_scratch",
    "narrow_matmul_source",
    "narrow_matmul_work",
    "narrow_tables",
    "row_slack",
]

ITEM_ROWS = 64  # a multiple of every `dot_rows`
# A driver writes int64; what it adds, so multiplied, is the second of two int32 in little-endian memory.
SECOND_HALF = 1 << 32


def is_narrow_matmul(spec: ContractionSpec, geometry: MatmulGeometry, tile: Tile) -> bool:
    """Whether a product takes the narrow form: a matter of its extents and the target's tile."""
    return not spec.transpose_a and isinstance(geometry.columns, int) and geometry.columns < tile.least_columns


def is_narrow_convolution(geometry: ConvolutionGeometry, tile: Tile, *, backward: bool) -> bool:
    """Whether a convolution, or the gradient with respect to its input, takes the narrow form."""
    channels, filters = geometry.input_shape[3], geometry.kernel_shape[3]
    columns, summed = (channels, filters) if backward else (filters, channels)
    if geometry.groups != 1 or not isinstance(columns, int) or not isinstance(summed, int):
        return False
    return columns < tile.least_columns and summed % tile.lanes == 0


def row_slack(tile: Tile) -> int:
    """Bytes of row offsets that the last call of a block reads past its rows."""
    return dot_rows(tile) * 8


def narrow_tables(pixels: Dim, columns: Dim, tile: Tile) -> Dim:
    """Bytes of the tables of a convolution's block: the places of its rows, and the columns of its elements."""
    return align_up(pixels * 8 + row_slack(tile)) + align_up(pixels * columns * 8)


# Offsets of vectors of channels, and the kernel as one row a result channel.
NARROW_STEPS = """\
                for channel in range(0, group_source, LANES):
                    offsets[(step + channel) // LANES] = offset + channel * ELEMENT
                factors = packed + step * ELEMENT
{pack}"""

NARROW_FORWARD_PACK = """\
                transpose_rows(factors, taps * group_source * ELEMENT,
                               pointers[1] + tap * group_source * target_channels * ELEMENT, target_channels * ELEMENT,
                               group_source, target_channels)"""

NARROW_BACKWARD_PACK = """\
                copy_rows(factors, taps * group_source * ELEMENT,
                          pointers[1] + tap * target_channels * group_source * ELEMENT, group_source * ELEMENT,
                          target_channels, group_source)"""

# Where the rows of a block go, in the order of the phases, and the columns of its elements.
NARROW_TABLES = """\
        for spare in range(DOT_ROWS):
            row_table[entry + spare] = 0
            place_table[entry + spare] = pixels * target_channels * ELEMENT
        for index in range(pixels):
            place_table[index] = index_table[index] * target_channels * ELEMENT
        for pair in range((pixels * target_channels + 1) // 2):
            column_table[pair] = 2 * pair % target_channels + (2 * pair + 1) % target_channels * SECOND_HALF"""

NARROW_COMPUTE = """\
    for phase in range(phases):
        step_begin = phase_table[phase * 2]
        steps = phase_table[phase * 2 + 2] - step_begin
        first_pixel = phase_table[phase * 2 + 1]
        phase_pixels = phase_table[phase * 2 + 3] - first_pixel
        phase_offsets = offsets + step_begin // LANES * 8
        phase_entries = row_table + first_pixel * 8
        for tile_pixel in range(0, phase_pixels, DOT_ROWS):
            prefetch_input(next_source, 0, 1, next_bytes)
            next_source += next_bytes
            entries = phase_entries + tile_pixel * 8
            # Rows past a phase's end belong to the next one, which comes after, or to the spare row.
            places = place_table + (first_pixel + tile_pixel) * 8
            for column in range(target_channels):
                factors = packed + (column * taps * group_source + step_begin) * ELEMENT
                results = values + column * ELEMENT
                if not checked:
                    micro_dot(base, entries, phase_offsets, steps // LANES, 0, factors, results, places)
                    continue
                # One pixel and one tap at a time, the taps in the padding left out.
                for tile_row in range(min(DOT_ROWS, phase_pixels - tile_pixel)):
                    fill_zero(results + places[tile_row], 1)
                    for step in range(0, steps, group_source):
                        place = (entries[tile_row] + phase_offsets[step // LANES]) // pixel
                        y = place // pitch + source_row
                        x = place % pitch + first_x
                        if y >= 0 and y < source_height and x >= 0 and x < source_width:
                            dot_add(base + place * pixel, factors + step * ELEMENT, group_source,
                                    results + places[tile_row])"""


def narrow_matmul_work(extents: tuple[Dim, ...]) -> Dim:
    """Blocks of rows of all batch entries."""
    return extents[6] * ceil_div(extents[0], ITEM_ROWS)


def narrow_matmul_scratch(extents: tuple[Dim, ...], tile: Tile) -> Dim:
    """Bytes of tables, b by columns, and a block of results."""
    depth, columns = extents[1], extents[2]
    size = element_bytes(tile.dtype)
    tables = REPORT_BYTES + align_up(ceil_div(depth, tile.lanes) * 8) + ITEM_ROWS * 16 + columns * (ITEM_ROWS * 8)
    return tables + align_up(depth * columns * size) + columns * (ITEM_ROWS * size)


def narrow_matmul_source(spec: ContractionSpec, tile: Tile, epilogue: Epilogue) -> ContractionSource:
    """The source of a product with few columns."""
    return kernel_source(tile, _matmul_driver(spec.transpose_b), epilogue)


@functools.cache
def _matmul_driver(transpose_b: bool) -> Driver:
    source = _MATMUL.format(pack="factors = b" if transpose_b else _TRANSPOSE_B)
    return Driver(source, (("ITEM_ROWS", ITEM_ROWS), ("SECOND_HALF", SECOND_HALF)), columns_extent=2, flat=True)


_TRANSPOSE_B = """\
if item == begin or row_begin == 0:
        transpose_rows(factors, depth * ELEMENT, b, columns * ELEMENT, depth, columns)"""

_MATMUL = """\
def contract(pointers, extents, scratch, begin, end, item):
    rows = extents[0]
    depth = extents[1]
    columns = extents[2]
    row_items = (rows + ITEM_ROWS - 1) // ITEM_ROWS
    batch = item // row_items
    row_begin = (item - batch * row_items) * ITEM_ROWS
    row_count = min(ITEM_ROWS, rows - row_begin)
    vectors = depth // LANES
    tail = depth - vectors * LANES
    offsets = scratch + REPORT_BYTES
    row_table = offsets + ((depth + LANES - 1) // LANES * 8 + 63) // 64 * 64
    place_table = row_table + ITEM_ROWS * 8
    column_table = place_table + ITEM_ROWS * 8
    factors = column_table + ITEM_ROWS * columns * 8
    values = factors + (depth * columns * ELEMENT + 63) // 64 * 64
    if item == begin:
        fill_steps(offsets, (depth + LANES - 1) // LANES, LANES * ELEMENT)
        fill_steps(place_table, ITEM_ROWS, columns * ELEMENT)
        for pair in range(ITEM_ROWS * columns // 2):
            column_table[pair] = 2 * pair % columns + (2 * pair + 1) % columns * SECOND_HALF
    # Where a block ends within a call's rows, the last row stands in for those past it.
    for index in range(ITEM_ROWS):
        row_table[index] = min(index, row_count - 1) * depth * ELEMENT
    a = pointers[0] + (batch * extents[3] + row_begin * depth) * ELEMENT
    b = pointers[1] + batch * extents[4] * ELEMENT
    {pack}
    for tile_begin in range(0, row_count, DOT_ROWS):
        for column in range(columns):
            micro_dot(a, row_table + tile_begin * 8, offsets, vectors, tail, factors + column * depth * ELEMENT,
                      values + column * ELEMENT, place_table + tile_begin * 8)
    scratch[0] = values
    scratch[2] = row_count
    scratch[3] = columns
    scratch[4] = batch * rows + row_begin
    scratch[6] = column_table
    return item + 1
"""
