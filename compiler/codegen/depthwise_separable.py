"""The driver of separable convolutions: a depthwise convolution, finished, as the left factor of a 1x1 convolution.

A work item is a number of consecutive pixels of the result. Their depthwise sums are computed line by line into a
block of scratch, scaled, shifted and bounded on the way (`compiler.codegen.depthwise_lines`); then every tile of these
pixels meets every panel of the other kernel. So what lies between the two convolutions is written to and read from
the caches of one core only. While the products run, which need no memory, the source lines of the next item are asked
for: a depthwise convolution by itself waits for them, since it has only a few multiply-adds for each number.

What it was to reach (one thread, Zen 3, batch 64, the five layers of the benchmarks' depthwise net): the time of the
1x1 convolutions alone plus 1.5 times that of the depthwise multiply-adds, 23 ms. Reached on a busy machine (processor
time, minima): 23.5 ms, where the two kinds of convolution apart took 32 and multiply-adds at the micro-kernel's peak
would take 19.3 + 1.3. With a call of the micro-kernel for each tile, and calls that ask for memory, it was 26.
"""

from __future__ import annotations

import functools

from compiler.codegen.contraction_driver import REPORT_BYTES, Driver, kernel_source
from compiler.codegen.contraction_ir import element_bytes
from compiler.codegen.contraction_sizes import convolution_extents
from compiler.codegen.contraction_types import ContractionSource, Epilogue, Generator
from compiler.codegen.depthwise import (
    DEPTHWISE_EXTENTS,
    FORWARD_GEOMETRY,
    X_RUNS,
    Y_TAPS,
    as_int,
    fitting,
    run_table_bytes,
)
from compiler.codegen.depthwise import EXTENT_COUNT as DEPTHWISE_EXTENT_COUNT
from compiler.codegen.microkernel_finish import FINISH_ROWS
from compiler.codegen.microkernel_tile import Tile
from compiler.contractions import ContractionSpec, SeparableGeometry
from runtime.dimensions import Dim, align_up, ceil_div, dim_max

__all__ = ["SeparableGenerator"]

EXTENT_COUNT = DEPTHWISE_EXTENT_COUNT + 2
# Bytes of an item between the two convolutions and behind the second, and its fewest and most pixels.
ITEM_BYTES = 48 * 1024
LEAST_PIXELS, MOST_PIXELS = 48, 256
# Parts of the filters, an item each, where there are hardly any blocks: as many threads have work in a prediction for
# one image. Each part of a block computes the depthwise sums anew if another thread has those of the part before.
MOST_PARTS = 4
PART_FILTERS = 16


class SeparableGenerator(Generator[SeparableGeometry]):
    """x, panels of the 1x1 kernel, depthwise kernel, what follows its sums `[4, c]`, what the products `[4, f]`."""

    geometry = SeparableGeometry
    extent_count = EXTENT_COUNT
    forms = (frozenset({"direct"}),)

    def fills(self, spec: ContractionSpec, geometry: SeparableGeometry) -> bool:
        """What a call packs is small."""
        return False

    def extents(self, spec: ContractionSpec, geometry: SeparableGeometry, *, whole: bool = False) -> tuple[Dim, ...]:
        """Those of the depthwise convolution, with the pixels of a block; the filters and their parts."""
        first, filters = geometry.depthwise, geometry.filters
        images, height, width, channels = first.output_shape
        block = ITEM_BYTES // max(1, (as_int(channels) + filters) * element_bytes(spec.dtype))
        block = min(max(block, LEAST_PIXELS), MOST_PIXELS)
        if isinstance(height, int) and isinstance(width, int):
            block = max(1, fitting(block, height * width))
        most = 1 if whole else min(MOST_PARTS, max(1, filters // PART_FILTERS))
        parts = dim_max(1, most + 1 - ceil_div(images * height * width, block)) if most > 1 else 1
        return (*convolution_extents(first, block), filters, parts)

    def work(self, spec: ContractionSpec, extents: tuple[Dim, ...], tile: Tile) -> Dim:
        """Parts of blocks of pixels of the result."""
        return ceil_div(extents[0] * extents[4] * extents[5], as_int(extents[16])) * extents[18]

    def scratch(self, spec: ContractionSpec, extents: tuple[Dim, ...], tile: Tile) -> int:
        """Bytes of tables, the depthwise kernel, the block between and the block of results."""
        size = element_bytes(tile.dtype)
        channels, kernel_height, kernel_width = (as_int(extents[place]) for place in (6, 7, 8))
        pixels, filters = as_int(extents[16]), as_int(extents[17])
        padded = -(-channels // tile.lanes) * tile.lanes * size
        tables = as_int(align_up(kernel_height * 16)) + run_table_bytes(kernel_width, 1)
        tables += as_int(align_up(pixels * 8))
        row = -(-filters // tile.columns) * tile.columns * size
        weights = as_int(align_up((kernel_height * kernel_width + len(FINISH_ROWS)) * padded + len(FINISH_ROWS) * row))
        results = 0 if spec.direct else pixels * row
        return REPORT_BYTES + tables + weights + as_int(align_up(pixels * padded)) + results

    def source(self, spec: ContractionSpec, tile: Tile, epilogue: Epilogue) -> ContractionSource:
        """The driver's source."""
        return kernel_source(tile, _driver(spec.direct), epilogue)


@functools.cache
def _driver(direct: bool) -> Driver:
    source = _SOURCE.format(
        extents=DEPTHWISE_EXTENTS,
        geometry=FORWARD_GEOMETRY,
        x_runs=X_RUNS,
        y_taps=Y_TAPS,
        target=_OUTPUT if direct else _VALUES,
    )
    return Driver(source, (("FINISH_ROWS", len(FINISH_ROWS)),), columns_extent=DEPTHWISE_EXTENT_COUNT)


# Where the tiles go: to a block that the epilogue reads, or where they belong.
_VALUES = """\
    results = values
    results_stride = stride
    reported = pixels
    written = 0
    written_row = 0
    written_element = 0
    if scratch[7] > 0:
        written = scratch[8] + pixel_begin * columns * scratch[9]
        written_row = columns * scratch[9]
        written_element = scratch[9]"""

_OUTPUT = """\
    results_stride = columns * ELEMENT
    results = pointers[5] + pixel_begin * results_stride
    reported = 0
    written = results
    written_row = results_stride
    written_element = ELEMENT"""

# Operands: x, panels, depthwise kernel, what follows its sums and those of the products; directly: the result.
_SOURCE = """\
def contract(pointers, extents, scratch, begin, end, item):
{extents}
{geometry}
    item_pixels = extents[16]
    columns = extents[17]
    taps_all = kernel_height * kernel_width
    pixel = groups * ELEMENT
    padded = (groups + LANES - 1) // LANES * LANES * ELEMENT
    most_runs = 2 * kernel_width + 1
    y_table = scratch + REPORT_BYTES
    run_table = y_table + (kernel_height * 16 + 63) // 64 * 64
    tap_table = run_table + (most_runs * 40 + 63) // 64 * 64
    row_table = tap_table + (most_runs * kernel_width * 16 + 63) // 64 * 64
    weights = row_table + (item_pixels * 8 + 63) // 64 * 64
    panels = (columns + TILE_COLUMNS - 1) // TILE_COLUMNS
    stride = panels * PANEL_STEP
    between = weights + taps_all * padded
    behind = between + FINISH_ROWS * padded
    block = weights + ((taps_all + FINISH_ROWS) * padded + FINISH_ROWS * stride + 63) // 64 * 64
    values = block + (item_pixels * padded + 63) // 64 * 64
    if item == begin:
        fill_steps(row_table, item_pixels, padded)
        copy_rows(weights, padded, pointers[2], pixel, taps_all, groups)
        copy_rows(between, padded, pointers[3], pixel, FINISH_ROWS, groups)
        copy_rows(behind, stride, pointers[4], columns * ELEMENT, FINISH_ROWS, columns)
{x_runs}
        scratch[6] = runs
    parts = extents[18]
    part = item % parts
    first_panel = part * panels // parts
    last_panel = (part + 1) * panels // parts
    pixel_begin = item // parts * item_pixels
    pixel_end = min(pixel_begin + item_pixels, images * target_height * target_width)
    position = pixel_begin
    image = 0
    y = 0
    if item > begin and part > 0:
        position = pixel_end
    while position < pixel_end:
        line = position // target_width
        image = line // target_height
        y = line - image * target_height
        x_begin = position - line * target_width
        x_end = min(target_width, x_begin + pixel_end - position)
        source = pointers[0] + image * source_height * source_width * pixel
{y_taps}
        gather_line(x_begin, x_end, scratch[6], run_table, tap_table, source, step_x * pixel, y_table, y_taps, weights,
                    between, block + (position - pixel_begin) * padded, padded, groups)
        position += x_end - x_begin
    pixels = pixel_end - pixel_begin
{target}
    # The source lines behind those that this item reads: ask for them while the products run, a little in each turn.
    turns = panels * ((pixels + TILE_ROWS - 1) // TILE_ROWS) * max(1, groups // FULL_UNROLL)
    next_row = min(source_height, max(0, y * stride_y + (kernel_height - 1) * dilation_y - padding_top + 1))
    next_source = pointers[0] + (image * source_height + next_row) * source_width * pixel
    next_bytes = pixels * stride_y * stride_x * pixel // turns + 1
    for panel in range(first_panel, last_panel):
        column = panel * TILE_COLUMNS
        next_source = micro_finish(pixels, block, row_table, groups, pointers[1] + panel * groups * PANEL_STEP,
                                   results + column * ELEMENT, results_stride, behind + column * ELEMENT, stride,
                                   next_source, next_bytes, written + column * written_element, written_row)
    first_column = first_panel * TILE_COLUMNS
    scratch[0] = values + first_column * ELEMENT
    scratch[1] = stride // ELEMENT
    scratch[2] = reported
    scratch[3] = min(columns, last_panel * TILE_COLUMNS) - first_column
    scratch[4] = pixel_begin
    scratch[5] = first_column
    return item + 1
"""
