"""The driver of the gradient of a convolution with respect to its kernel.

The result is a matrix with a row for each tap and input channel of a group and a column for each filter; the sum
runs over the output pixels of all images. It is cut into blocks of a few hundred pixels: rows of one image, or
several small images. For each block the input is copied into slabs with zeros around it (or read in place), the
result's gradient is packed into panels, and every tile of rows meets every panel; sums wait in scratch tiles
until the last block. The blocks come in the order of the images, so that the sums never depend on the threads.

A work item is one tile of rows of one group.

A zero of the padding would turn an infinite or NaN gradient into NaN where there is no product at all: blocks
that hold one are summed output row by output row, with the padding left out.
"""

from __future__ import annotations

import functools
import textwrap

from compiler.codegen.contraction_convolution import CONVOLUTION_EXTENTS, SLAB_COPY
from compiler.codegen.contraction_driver import REPORT_BYTES, Driver, kernel_source
from compiler.codegen.contraction_ir import element_bytes
from compiler.codegen.contraction_types import ContractionSource, Epilogue
from compiler.codegen.microkernel import Tile
from runtime.dimensions import Dim, align_up, ceil_div

__all__ = ["kernel_gradient_scratch", "kernel_gradient_source", "kernel_gradient_work"]

# With so few rows, or so few filters, packing the gradient costs more than reading it where it lies.
IN_PLACE_ROWS = 192


def kernel_gradient_work(extents: tuple[Dim, ...], tile: Tile) -> Dim:
    """Row items of all groups."""
    return extents[15] * ceil_div(_group_rows(extents), tile.rows)


def kernel_gradient_scratch(extents: tuple[Dim, ...], tile: Tile) -> Dim:
    """Bytes of tables, slabs, packed gradient and waiting tiles."""
    size = element_bytes(tile.dtype)
    channels, output_width, filters = extents[3], extents[5], extents[6]
    kernel_height, kernel_width, stride_y, stride_x = extents[7:11]
    dilation_y, dilation_x, groups, block_rows, block_images = extents[13:18]
    assert isinstance(groups, int)
    pixels = block_images * block_rows * output_width
    panels = ceil_div(filters // groups, tile.columns)
    slab_height = (block_rows - 1) * stride_y + (kernel_height - 1) * dilation_y + 1
    slab_width = (output_width - 1) * stride_x + (kernel_width - 1) * dilation_x + 1
    rows = _group_rows(extents)
    tables = REPORT_BYTES + align_up(pixels * 8) + align_up(rows * 8)
    packed = align_up(panels * pixels * (tile.columns * size))
    slabs = align_up(block_images * slab_height * slab_width * channels * size)
    return tables + packed + slabs + align_up(rows * panels * (tile.columns * size))


def _group_rows(extents: tuple[Dim, ...]) -> Dim:
    groups = extents[15]
    assert isinstance(groups, int)
    return extents[7] * extents[8] * (extents[3] // groups)


def kernel_gradient_source(tile: Tile, epilogue: Epilogue) -> ContractionSource:
    """The driver's source."""
    return kernel_source(tile, _driver(tile), epilogue)


@functools.cache
def _driver(tile: Tile) -> Driver:
    source = _SOURCE.format(extents=CONVOLUTION_EXTENTS, copy=textwrap.indent(SLAB_COPY, " " * 20))
    constants = (("IN_PLACE_ROWS", IN_PLACE_ROWS),)
    return Driver(source, constants, columns_extent=6)


_SOURCE = """\
def contract(pointers, extents, scratch, begin, end, item):
{extents}
    images = extents[0]
    source_height = extents[1]
    source_width = extents[2]
    source_channels = extents[3]
    output_height = extents[4]
    output_width = extents[5]
    filters = extents[6]
    block_images = extents[17]
    first_y = -padding_top
    first_x = -padding_left
    group_source = source_channels // groups
    group_target = filters // groups
    group_rows = taps * group_source
    pixel = source_channels * ELEMENT
    slab_height = (block_rows - 1) * stride_y + (kernel_height - 1) * dilation_y + 1
    slab_width = (output_width - 1) * stride_x + (kernel_width - 1) * dilation_x + 1
    last_row = (output_height - 1) * stride_y + (kernel_height - 1) * dilation_y
    in_place = first_y == 0 and first_x == 0 and last_row < source_height and slab_width <= source_width
    pitch = source_width if in_place else slab_width
    image_pitch = source_height * source_width if in_place else slab_height * slab_width
    panels = (group_target + TILE_COLUMNS - 1) // TILE_COLUMNS
    block_pixels = block_images * block_rows * output_width
    offsets = scratch + REPORT_BYTES
    row_table = offsets + (block_pixels * 8 + 63) // 64 * 64
    packed = row_table + (group_rows * 8 + 63) // 64 * 64
    panel_bytes = block_pixels * PANEL_STEP
    slabs = packed + (panels * panel_bytes + 63) // 64 * 64
    slab_bytes = 0 if in_place else block_images * image_pitch * pixel
    values = slabs + (slab_bytes + 63) // 64 * 64
    stride = panels * PANEL_STEP
    if item == begin:
        for line in range(block_images * block_rows):
            place = line // block_rows * image_pitch + line % block_rows * stride_y * pitch
            for x in range(output_width):
                offsets[line * output_width + x] = (place + x * stride_x) * pixel
    row_items = (group_rows + TILE_ROWS - 1) // TILE_ROWS
    group = item // row_items
    first_row = (item - group * row_items) * TILE_ROWS
    items = min(end - item, row_items - (item - group * row_items))
    row_count = min(items * TILE_ROWS, group_rows - first_row)
    for index in range(row_count):
        tap = (first_row + index) // group_source
        channel = (first_row + index) % group_source + group * group_source
        place = tap // kernel_width * dilation_y * pitch + tap % kernel_width * dilation_x
        row_table[index] = place * pixel + channel * ELEMENT
    for image_begin in range(0, max(images, 1), block_images):
        image_count = min(block_images, images - image_begin)
        for y_begin in range(0, max(output_height, 1), block_rows):
            y_count = min(block_rows, output_height - y_begin)
            steps = image_count * y_count * output_width
            source_row = y_begin * stride_y + first_y
            base = pointers[0] + (image_begin * source_height + y_begin * stride_y) * source_width * pixel
            gradient = pointers[1] + (image_begin * output_height + y_begin) * output_width * filters * ELEMENT
            checked = 0
            if not in_place:
                base = slabs
                checked = has_nonfinite(gradient, steps * filters)
                for image in range(image_count):
                    slab = slabs + image * image_pitch * pixel
                    source = pointers[0] + (image_begin + image) * source_height * source_width * pixel
{copy}
            whole_panels = 0
            if row_count <= IN_PLACE_ROWS or filters <= 2 * TILE_COLUMNS:
                whole_panels = group_target // TILE_COLUMNS
            gradient_columns = gradient + group * group_target * ELEMENT
            pack_columns(packed + whole_panels * panel_bytes, panel_bytes, gradient_columns + whole_panels * PANEL_STEP,
                         filters * ELEMENT, steps, group_target - whole_panels * TILE_COLUMNS)
            later = image_begin + y_begin
            # The next block's operands follow this one's; ask for a slice of both with each tile.
            tiles = panels * ((row_count + TILE_ROWS - 1) // TILE_ROWS)
            next_gradient = gradient + steps * filters * ELEMENT
            gradient_slice = steps * filters * ELEMENT // tiles + 1
            next_row = (image_begin + image_count - 1) * source_height + min(source_height, source_row + slab_height)
            next_source = pointers[0] + next_row * source_width * pixel
            source_slice = image_count * y_count * stride_y * source_width * pixel // tiles + 1
            for panel in range(panels):
                panel_address = packed + panel * panel_bytes
                panel_stride = PANEL_STEP
                if panel < whole_panels:
                    panel_stride = filters * ELEMENT
                    panel_address = gradient_columns + panel * PANEL_STEP
                for tile_row in range(0, row_count, TILE_ROWS):
                    tile_rows = min(TILE_ROWS, row_count - tile_row)
                    rows = row_table + tile_row * 8
                    tile = values + tile_row * stride + panel * PANEL_STEP
                    prefetch_input(next_gradient, 0, 1, gradient_slice)
                    prefetch_input(next_source, 0, 1, source_slice)
                    next_gradient += gradient_slice
                    next_source += source_slice
                    if not checked:
                        micro(tile_rows, base, rows, offsets, steps, panel_address, panel_stride, tile, stride, later)
                        continue
                    # One row of the result and one line of pixels at a time, those that read padding left out.
                    micro(tile_rows, base, rows, offsets, 0, panel_address, panel_stride, tile, stride, later)
                    for index in range(tile_rows):
                        tap = (first_row + tile_row + index) // group_source
                        tap_y = tap // kernel_width * dilation_y - padding_top
                        tap_x = tap % kernel_width * dilation_x - padding_left
                        x_begin = max(0, (stride_x - 1 - tap_x) // stride_x)
                        x_end = min(output_width, (source_width - 1 - tap_x) // stride_x + 1)
                        for line in range(image_count * y_count):
                            y = (y_begin + line % y_count) * stride_y + tap_y
                            if y >= 0 and y < source_height and x_begin < x_end:
                                step = line * output_width + x_begin
                                micro(1, base, rows + index * 8, offsets + step * 8, x_end - x_begin,
                                      panel_address + step * panel_stride, panel_stride, tile + index * stride, stride,
                                      1)
    scratch[0] = values
    scratch[1] = stride // ELEMENT
    scratch[2] = row_count
    scratch[3] = group_target
    scratch[4] = first_row
    scratch[5] = group * group_target
    return item + items
"""
