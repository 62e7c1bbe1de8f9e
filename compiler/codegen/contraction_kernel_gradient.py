"""The driver of the gradient of a convolution with respect to its kernel.

The result is a matrix with a row for each tap and input channel of a group and a column for each filter; the sum
runs over the output pixels of all images. It is cut into blocks of a few hundred pixels: rows of one image, or
several small images. For each block the input is copied into slabs with zeros around it (or read in place), the
result's gradient is packed into panels, and every tile of rows meets every panel; sums wait in scratch tiles
until the last block. The blocks come in the order of the images, so that the sums never depend on the threads.

The lines of pixels of all images are dealt to a fixed number of *chunks*, whose sums whoever reads the result adds in
order. With several, a work item is all rows of one group of one chunk, and no two items read the same line. With
one, an item is a tile of rows of one group: each call reads all images, so it should have many.

The rows of a tile are neighbouring channels, so a step of the sum reads one cache line of the input, one pixel away
from the last. Pixels that lie a multiple of `CONFLICT` bytes apart share so few sets of the first-level cache that
each tile would fetch all of a block's lines again: such blocks are copied too, the pixels one line further apart.

What chunks were to reach: work for four threads in equal parts, at the speed of one chunk. Reached on Zen 3 with 64
images: the sum of all threads' processor time is within 5 % of one thread's, and one thread needs 1.74 ms instead of
1.76 for 3x3 kernels 3 -> 32 at 32x32, 2.3 as before for 16 -> 32 with stride 2, and for 32 -> 64 with stride 2 1.9
instead of 1.8. The copies of conflicting pixels and more packing brought 1x1 kernels of 64 -> 128, 128 -> 128 and
128 -> 256 from 4.5, 7.4 and 3.8 ms to 3.7, 7.0 and 3.6 (77 GFLOP/s, the peak is 95).

A zero of the padding would turn an infinite or NaN gradient into NaN where there is no product at all: blocks
that hold one are summed output row by output row, with the padding left out.
"""

from __future__ import annotations

import functools
import textwrap

from compiler.codegen.contraction_driver import REPORT_BYTES, Driver, kernel_source
from compiler.codegen.contraction_ir import CACHE_LINE, element_bytes
from compiler.codegen.contraction_sizes import BLOCK_EXTENTS, SLAB_COPY, SUMMING_EXTENTS, summing_extents
from compiler.codegen.contraction_types import ContractionSource, Epilogue, Generator
from compiler.codegen.microkernel_tile import Tile
from compiler.contractions import ContractionSpec, ConvolutionGeometry
from runtime.dimensions import Dim, align_up, ceil_div

__all__ = ["KernelGradientGenerator"]

# With so few rows, or so few filters, packing the gradient costs more than reading it where it lies. Measured, one
# thread, 1x1 kernels of 32 x 64, 64 x 128 and 128 x 256 at 32, 16 and 8 pixels squared, 64 images: 5.2, 4.3 and 3.9 ms
# in place, 4.2, 3.5 and 3.4 packed.
IN_PLACE_ROWS = 24

# A cache of eight ways of 4 KiB holds at most 128 lines that are 256 bytes apart, which is all pixels of a block and
# nothing else.
CONFLICT = 256


class KernelGradientGenerator(Generator[ConvolutionGeometry]):
    """x, gradient of the convolution's result; result shaped as the kernel, `chunks` times, to be summed."""

    geometry = ConvolutionGeometry
    extent_count = SUMMING_EXTENTS + 1

    def fills(self, spec: ContractionSpec, geometry: ConvolutionGeometry) -> bool:
        """With one chunk each call reads all images."""
        return geometry.chunks == 1

    def keeps(self, spec: ContractionSpec, geometry: ConvolutionGeometry) -> bool:
        """With one chunk each call reads all images for its items together."""
        return geometry.chunks != 1

    def extents(self, spec: ContractionSpec, geometry: ConvolutionGeometry, *, whole: bool = False) -> tuple[Dim, ...]:
        """Those of every convolution, with images of a block; chunks."""
        return (*summing_extents(geometry), geometry.chunks)

    def work(self, spec: ContractionSpec, extents: tuple[Dim, ...], tile: Tile) -> Dim:
        """Groups of all chunks; row items of all groups where there is one chunk."""
        if extents[18] != 1:
            return extents[15] * extents[18]
        return extents[15] * ceil_div(_group_rows(extents), tile.rows)

    def scratch(self, spec: ContractionSpec, extents: tuple[Dim, ...], tile: Tile) -> Dim:
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
        slabs = align_up(block_images * slab_height * slab_width * (channels * size + CACHE_LINE))
        return tables + packed + slabs + align_up(rows * panels * (tile.columns * size))

    def source(self, spec: ContractionSpec, tile: Tile, epilogue: Epilogue) -> ContractionSource:
        """The driver's source."""
        return kernel_source(tile, _driver(tile), epilogue)


def _group_rows(extents: tuple[Dim, ...]) -> Dim:
    groups = extents[15]
    assert isinstance(groups, int)
    return extents[7] * extents[8] * (extents[3] // groups)


@functools.cache
def _driver(tile: Tile) -> Driver:
    source = _SOURCE.format(extents=BLOCK_EXTENTS, copy=textwrap.indent(SLAB_COPY, " " * 16))
    constants = (("IN_PLACE_ROWS", IN_PLACE_ROWS), ("CONFLICT", CONFLICT), ("CACHE_LINE", CACHE_LINE))
    return Driver(source, constants, columns_extent=6)


_SOURCE = """\
def contract(pointers, extents, scratch, begin, end, item):
{extents}
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
    unpadded = first_y == 0 and first_x == 0 and last_row < source_height and slab_width <= source_width
    slab_pixel = pixel + (CACHE_LINE if pixel % CONFLICT == 0 else 0)
    in_place = unpadded and slab_pixel == pixel
    pitch = source_width if in_place else slab_width
    image_pitch = source_height * source_width if in_place else slab_height * slab_width
    panels = (group_target + TILE_COLUMNS - 1) // TILE_COLUMNS
    block_pixels = block_images * block_rows * output_width
    offsets = scratch + REPORT_BYTES
    row_table = offsets + (block_pixels * 8 + 63) // 64 * 64
    packed = row_table + (group_rows * 8 + 63) // 64 * 64
    panel_bytes = block_pixels * PANEL_STEP
    slabs = packed + (panels * panel_bytes + 63) // 64 * 64
    slab_bytes = 0 if in_place else block_images * image_pitch * slab_pixel
    values = slabs + (slab_bytes + 63) // 64 * 64
    stride = panels * PANEL_STEP
    if item == begin:
        for line in range(block_images * block_rows):
            place = line // block_rows * image_pitch + line % block_rows * stride_y * pitch
            for x in range(output_width):
                offsets[line * output_width + x] = (place + x * stride_x) * slab_pixel
    chunks = extents[18]
    item_rows = TILE_ROWS if chunks == 1 else max(1, group_rows)
    row_items = max(1, (group_rows + item_rows - 1) // item_rows)
    part = item // row_items
    chunk = part // groups
    group = part - chunk * groups
    first_row = (item - part * row_items) * item_rows
    items = min(end - item, row_items - (item - part * row_items))
    row_count = min(items * item_rows, group_rows - first_row)
    for index in range(row_count):
        tap = (first_row + index) // group_source
        channel = (first_row + index) % group_source + group * group_source
        place = tap // kernel_width * dilation_y * pitch + tap % kernel_width * dilation_x
        row_table[index] = place * slab_pixel + channel * ELEMENT
    lines = images * output_height if output_width > 0 else 0
    share = (lines + chunks - 1) // chunks
    line_begin = min(chunk * share, lines)
    line_end = min(line_begin + share, lines)
    later = 0
    if line_begin == line_end:
        fill_zero(values, row_count * panels * TILE_COLUMNS)
    while line_begin < line_end:
        # Lines of one image up to the end of a block, or several whole images.
        image_begin = line_begin // output_height
        y_begin = line_begin - image_begin * output_height
        y_count = min(min(block_rows, output_height - y_begin), line_end - line_begin)
        image_count = 1
        if y_begin == 0:
            image_count = max(1, min(block_images, (line_end - line_begin) // output_height))
        line_begin += image_count * y_count
        steps = image_count * y_count * output_width
        source_row = y_begin * stride_y + first_y
        base = pointers[0] + (image_begin * source_height + y_begin * stride_y) * source_width * pixel
        gradient = pointers[1] + (image_begin * output_height + y_begin) * output_width * filters * ELEMENT
        checked = 0
        if not in_place:
            base = slabs
            if not unpadded:
                checked = has_nonfinite(gradient, steps * filters)
            slab_rows = (y_count - 1) * stride_y + (kernel_height - 1) * dilation_y + 1
            for image in range(image_count):
                slab = slabs + image * image_pitch * slab_pixel
                source = pointers[0] + (image_begin + image) * source_height * source_width * pixel
{copy}
        whole_panels = 0
        if row_count <= IN_PLACE_ROWS or filters <= 2 * TILE_COLUMNS:
            whole_panels = group_target // TILE_COLUMNS
        gradient_columns = gradient + group * group_target * ELEMENT
        pack_columns(packed + whole_panels * panel_bytes, panel_bytes, gradient_columns + whole_panels * PANEL_STEP,
                     filters * ELEMENT, steps, group_target - whole_panels * TILE_COLUMNS)
        # The next block's operands follow this one's; ask for a slice of both with each tile.
        tiles = max(1, panels * ((row_count + TILE_ROWS - 1) // TILE_ROWS))
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
                    micro_table_ahead(tile_rows, base, rows, offsets, steps, panel_address, panel_stride, tile, stride,
                                      later, tile, 0, tile, stride)
                    continue
                # One row of the result and one line of pixels at a time, those that read padding left out.
                micro_table_ahead(tile_rows, base, rows, offsets, 0, panel_address, panel_stride, tile, stride, later,
                                  tile, 0, tile, stride)
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
                            micro_table_ahead(1, base, rows + index * 8, offsets + step * 8, x_end - x_begin,
                                              panel_address + step * panel_stride, panel_stride, tile + index * stride,
                                              stride, 1, tile, 0, tile, stride)
        later = 1
    scratch[0] = values
    scratch[1] = stride // ELEMENT
    scratch[2] = row_count
    scratch[3] = group_target
    scratch[4] = chunk * group_rows + first_row
    scratch[5] = group * group_target
    return item + items
"""
