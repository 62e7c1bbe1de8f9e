"""The driver of the gradient of a convolution with respect to its kernel.

The result is a matrix with a row for each tap and input channel of a group and a column for each filter; the sum
runs over the output pixels of all images. It is cut into blocks of a few hundred pixels: rows of one image, or
several small images. For each block the input is copied into slabs with zeros around it (or read in place), the
result's gradient is packed into panels, and every tile of rows meets every panel; sums wait in scratch tiles
until the last block. The blocks come in the order of the images, so that the sums never depend on the threads.

A work item is a few tiles of rows of one group.

A zero of the padding would turn an infinite or NaN gradient into NaN where there is no product at all: blocks
that hold one are summed output row by output row, with the padding left out.
"""

from __future__ import annotations

import textwrap

from compiler.codegen.contraction_convolution import CONVOLUTION_EXTENTS, SLAB_COPY
from compiler.codegen.contraction_driver import driver_namespace, epilogue_text, prelude_text, tile_bytes
from compiler.codegen.contraction_ir import element_bytes
from compiler.codegen.contraction_types import ContractionSource, Epilogue
from compiler.codegen.microkernel import Tile
from runtime.dimensions import Dim, align_up, ceil_div

__all__ = ["kernel_gradient_scratch", "kernel_gradient_source", "kernel_gradient_work"]

# Tiles of rows in a work item.
ITEM_TILES = 2


def kernel_gradient_work(extents: tuple[Dim, ...], tile: Tile) -> Dim:
    """Row items of all groups."""
    return extents[15] * ceil_div(_group_rows(extents), ITEM_TILES * tile.rows)


def kernel_gradient_scratch(extents: tuple[Dim, ...], tile: Tile) -> Dim:
    """Bytes of tables, slabs, packed gradient and waiting tiles."""
    size = element_bytes(tile.dtype)
    channels, output_width, filters = extents[3], extents[5], extents[6]
    kernel_height, kernel_width, stride_y, stride_x = extents[7:11]
    dilation_y, dilation_x, groups, block_rows, block_images = extents[13:18]
    assert isinstance(groups, int)
    pixels = block_images * block_rows * output_width
    tiles = ceil_div(_group_rows(extents), tile.rows)
    panels = ceil_div(filters // groups, tile.columns)
    slab_height = (block_rows - 1) * stride_y + (kernel_height - 1) * dilation_y + 1
    slab_width = (output_width - 1) * stride_x + (kernel_width - 1) * dilation_x + 1
    tables = align_up(pixels * 8) + align_up(tiles * (tile.rows * 8))
    packed = align_up(panels * pixels * (tile.columns * size))
    slabs = align_up(block_images * slab_height * slab_width * channels * size)
    return tables + packed + slabs + align_up(tiles * panels * tile_bytes(tile))


def _group_rows(extents: tuple[Dim, ...]) -> Dim:
    groups = extents[15]
    assert isinstance(groups, int)
    return extents[7] * extents[8] * (extents[3] // groups)


def kernel_gradient_source(tile: Tile, epilogue: Epilogue) -> ContractionSource:
    """The driver's source."""
    source = _SOURCE.format(
        prelude=prelude_text(epilogue),
        extents=CONVOLUTION_EXTENTS,
        copy=textwrap.indent(SLAB_COPY, " " * 24),
        checked=_CHECKED_SUMS,
        epilogue=epilogue_text(epilogue, 28, "row_begin + tile_begin + tile_row"),
    )
    namespace = driver_namespace(tile, epilogue) | {"ITEM_ROWS": ITEM_TILES * tile.rows}
    return ContractionSource(source, namespace)


_SOURCE = """\
def kernel(pointers, extents, scratch, begin, end):
{prelude}
{extents}
    source_height = extents[1]
    source_width = extents[2]
    source_channels = extents[3]
    output_height = extents[4]
    output_width = extents[5]
    output_columns = extents[6]
    block_images = extents[17]
    first_y = -padding_top
    first_x = -padding_left
    group_source = source_channels // groups
    group_target = output_columns // groups
    group_rows = taps * group_source
    pixel = source_channels * ELEMENT
    slab_height = (block_rows - 1) * stride_y + (kernel_height - 1) * dilation_y + 1
    slab_width = (output_width - 1) * stride_x + (kernel_width - 1) * dilation_x + 1
    last_row = (output_height - 1) * stride_y + (kernel_height - 1) * dilation_y
    in_place = first_y == 0 and first_x == 0 and last_row < source_height and slab_width <= source_width
    pitch = source_width if in_place else slab_width
    image_pitch = source_height * source_width if in_place else slab_height * slab_width
    panels = (group_target + TILE_COLUMNS - 1) // TILE_COLUMNS
    group_tiles = (group_rows + TILE_ROWS - 1) // TILE_ROWS
    block_pixels = block_images * block_rows * output_width
    row_table = scratch + (block_pixels * 8 + 63) // 64 * 64
    packed = row_table + (group_tiles * TILE_ROWS * 8 + 63) // 64 * 64
    panel_bytes = block_pixels * PANEL_STEP
    slabs = packed + (panels * panel_bytes + 63) // 64 * 64
    slab_bytes = 0 if in_place else block_images * image_pitch * pixel
    waiting = slabs + (slab_bytes + 63) // 64 * 64
    offset_entries = table_pointer(scratch)
    row_entries = table_pointer(row_table)
    values = element_pointer(waiting)
    for index in range(block_pixels):
        line = index // output_width
        place = line // block_rows * image_pitch + line % block_rows * stride_y * pitch
        offset_entries[index] = (place + index % output_width * stride_x) * pixel
    row_items = (group_rows + ITEM_ROWS - 1) // ITEM_ROWS
    item = begin
    while item < end:
        group = item // row_items
        row_begin = (item - group * row_items) * ITEM_ROWS
        items = min(end - item, row_items - (item - group * row_items))
        item += items
        row_count = min(items * ITEM_ROWS, group_rows - row_begin)
        for index in range(row_count):
            tap = (row_begin + index) // group_source
            channel = (row_begin + index) % group_source + group * group_source
            place = tap // kernel_width * dilation_y * pitch + tap % kernel_width * dilation_x
            row_entries[index] = place * pixel + channel * ELEMENT
        for image_begin in range(0, max(images, 1), block_images):
            image_count = min(block_images, images - image_begin)
            for y_begin in range(0, max(output_height, 1), block_rows):
                y_count = min(block_rows, output_height - y_begin)
                steps = image_count * y_count * output_width
                source_row = y_begin * stride_y + first_y
                base = pointers[0] + (image_begin * source_height + y_begin * stride_y) * source_width * pixel
                gradient = ((image_begin * output_height + y_begin) * output_width) * output_columns * ELEMENT
                gradient += pointers[1]
                checked = False
                if not in_place:
                    base = slabs
                    checked = has_nonfinite(gradient, steps * output_columns) != 0
                    for image in range(image_count):
                        slab = slabs + image * image_pitch * pixel
                        source = pointers[0] + (image_begin + image) * source_height * source_width * pixel
{copy}
                pack_columns(packed, panel_bytes, gradient + group * group_target * ELEMENT,
                             output_columns * ELEMENT, steps, group_target)
                later = image_begin + y_begin
                last = image_begin + block_images >= images and y_begin + block_rows >= output_height
                for panel in range(panels):
                    panel_address = packed + panel * panel_bytes
                    column_begin = group * group_target + panel * TILE_COLUMNS
                    tile_columns = min(TILE_COLUMNS, group_target - panel * TILE_COLUMNS)
                    for tile_begin in range(0, row_count, TILE_ROWS):
                        tile_rows = min(TILE_ROWS, row_count - tile_begin)
                        first_value = (panel * group_tiles * TILE_ROWS + tile_begin) * TILE_COLUMNS
                        tile_address = waiting + first_value * ELEMENT
                        rows = row_table + tile_begin * 8
                        if checked:
{checked}
                        else:
                            micro(tile_rows, base, rows, scratch, steps, panel_address, PANEL_STEP, tile_address,
                                  later)
                        if last:
{epilogue}
"""

# One row of the result and one line of output pixels at a time, the pixels that read the padding left out.
_CHECKED_SUMS = """\
                            micro(tile_rows, base, rows, scratch, 0, panel_address, PANEL_STEP, tile_address, later)
                            for tile_row in range(tile_rows):
                                tap = (row_begin + tile_begin + tile_row) // group_source
                                tap_y = tap // kernel_width * dilation_y - padding_top
                                tap_x = tap % kernel_width * dilation_x - padding_left
                                x_begin = max(0, (stride_x - 1 - tap_x) // stride_x)
                                x_end = min(output_width, (source_width - 1 - tap_x) // stride_x + 1)
                                for line in range(image_count * y_count):
                                    y = (y_begin + line % y_count) * stride_y + tap_y
                                    if y >= 0 and y < source_height and x_begin < x_end:
                                        line_step = line * output_width + x_begin
                                        micro(1, base, rows + tile_row * 8, scratch + line_step * 8, x_end - x_begin,
                                              panel_address + line_step * PANEL_STEP, PANEL_STEP,
                                              tile_address + tile_row * PANEL_STEP, 1)"""
