"""The gradient of a depthwise convolution with respect to its kernel.

Row by row of the result's gradient, for each run of pixels with the same taps (`depthwise`), `sum_taps` adds to the
sums of all those taps. Partial sums of about a thousand pixels are added to the totals, so that float32 stays accurate.

Work items are blocks of channels, a cache line wide, and where those are few also the rows of the kernel. A call
computes all its items in one pass over the images, and then reports them one by one. Each tap and channel is summed
in the order of the pixels, whatever else the call computes.

With a multiplier the result's gradient is first split into one plane a filter, row by row.
"""

from __future__ import annotations

from compiler.codegen.contraction_driver import REPORT_BYTES, Driver, kernel_source
from compiler.codegen.contraction_ir import element_bytes
from compiler.codegen.contraction_sizes import convolution_extents
from compiler.codegen.contraction_types import ContractionSource, Epilogue, Generator
from compiler.codegen.depthwise import (
    DEPTHWISE_EXTENTS,
    EXTENT_COUNT,
    X_RUNS,
    as_int,
    run_table_bytes,
)
from compiler.codegen.microkernel_tile import Tile
from compiler.contractions import ContractionSpec, ConvolutionGeometry
from runtime.dimensions import Dim, align_up

__all__ = ["DepthwiseKernelGradientGenerator"]

BLOCK_BYTES = 64  # of the channels in a work item: a cache line, and no less than a vector
# Pixels that are summed before they are added to the total: keeps float32 sums accurate.
SUM_PIXELS = 1024
ENOUGH_ITEMS = 4  # with fewer blocks of channels, the rows of the kernel are items too


class DepthwiseKernelGradientGenerator(Generator[ConvolutionGeometry]):
    """x, gradient of the convolution's result; result shaped as the kernel."""

    geometry = ConvolutionGeometry
    extent_count = EXTENT_COUNT

    def keeps(self, spec: ContractionSpec, geometry: ConvolutionGeometry) -> bool:
        """A call computes all of its items at once."""
        return False

    def extents(self, spec: ContractionSpec, geometry: ConvolutionGeometry, *, whole: bool = False) -> tuple[Dim, ...]:
        """Those of all three kinds, with the pixels of a partial sum."""
        return convolution_extents(geometry, SUM_PIXELS)

    def work(self, spec: ContractionSpec, extents: tuple[Dim, ...], tile: Tile) -> int:
        """Blocks of channels, for each row of the kernel where there are few."""
        blocks = -(-as_int(extents[15]) * element_bytes(spec.dtype) // BLOCK_BYTES)
        return blocks if blocks >= ENOUGH_ITEMS else blocks * as_int(extents[7])

    def scratch(self, spec: ContractionSpec, extents: tuple[Dim, ...], tile: Tile) -> Dim:
        """Bytes of tables and sums; with a multiplier also one row of the gradient in planes and one reported item."""
        lanes, size = tile.lanes, element_bytes(tile.dtype)
        filters, kernel_height, kernel_width, groups = (as_int(extents[place]) for place in (6, 7, 8, 15))
        multiplier, padded = filters // groups, -(-groups // lanes) * lanes * size
        taps = kernel_height * kernel_width
        tables = as_int(align_up(kernel_height * 16)) + as_int(align_up((kernel_height + 1) * 16))
        sums = as_int(align_up(multiplier * taps * padded))
        fixed = REPORT_BYTES + tables + run_table_bytes(kernel_width, 1) + 2 * sums
        if multiplier == 1:
            return fixed
        return fixed + align_up(extents[5] * (filters * size)) + as_int(align_up(taps * BLOCK_BYTES * multiplier))

    def source(self, spec: ContractionSpec, tile: Tile, epilogue: Epilogue) -> ContractionSource:
        """The kernel's source."""
        constants = (
            ("BLOCK", BLOCK_BYTES // element_bytes(spec.dtype)),
            ("ENOUGH_ITEMS", ENOUGH_ITEMS),
        )
        source = _SOURCE.format(extents=DEPTHWISE_EXTENTS, x_runs=X_RUNS)
        return kernel_source(tile, Driver(source, constants, columns_extent=6), epilogue)


_SOURCE = """\
def contract(pointers, extents, scratch, begin, end, item):
{extents}
    source_height = extents[1]
    source_width = extents[2]
    target_height = extents[4]
    target_width = extents[5]
    sum_pixels = extents[16]
    backward = 0
    phases_x = 1
    step_x = stride_x
    taps_all = kernel_height * kernel_width
    pixel = groups * ELEMENT
    padded = (groups + LANES - 1) // LANES * LANES * ELEMENT
    most_runs = 2 * kernel_width + 1
    y_table = scratch + REPORT_BYTES
    ranges = y_table + (kernel_height * 16 + 63) // 64 * 64
    run_table = ranges + ((kernel_height + 1) * 16 + 63) // 64 * 64
    tap_table = run_table + (most_runs * 40 + 63) // 64 * 64
    totals = tap_table + (most_runs * kernel_width * 16 + 63) // 64 * 64
    plane_bytes = taps_all * padded
    partial = totals + (multiplier * plane_bytes + 63) // 64 * 64
    split = partial + (multiplier * plane_bytes + 63) // 64 * 64
    blocks = (groups + BLOCK - 1) // BLOCK
    parts = kernel_height if blocks < ENOUGH_ITEMS else 1
    if item == begin:
{x_runs}
        # The channels that this call computes of each row of the kernel.
        for tap in range(kernel_height):
            part = tap if parts > 1 else 0
            ranges[tap * 2] = (begin - part + parts - 1) // parts * BLOCK
            ranges[tap * 2 + 1] = min(groups, (end - part + parts - 1) // parts * BLOCK)
        fill_zero(totals, multiplier * plane_bytes // ELEMENT)
        fill_zero(partial, multiplier * plane_bytes // ELEMENT)
        pending = 0
        for line in range(images * target_height):
            image = line // target_height
            y = line - image * target_height
            source = pointers[0] + image * source_height * source_width * pixel
            gradient = pointers[1] + line * target_width * filters * ELEMENT
            if multiplier > 1:
                for plane in range(multiplier):
                    copy_strided(split + plane * target_width * pixel, ELEMENT, gradient + plane * ELEMENT,
                                 multiplier * ELEMENT, target_width * groups)
                gradient = split
            tap = 0
            while tap < kernel_height:
                # As many rows of the kernel at once as are computed for the same channels.
                channel = ranges[tap * 2]
                channel_end = ranges[tap * 2 + 1]
                y_taps = 0
                while tap < kernel_height and ranges[tap * 2] == channel and ranges[tap * 2 + 1] == channel_end:
                    source_y = y * stride_y + tap * dilation_y - padding_top
                    if source_y >= 0 and source_y < source_height:
                        y_table[y_taps * 2] = source_y * source_width * pixel
                        y_table[y_taps * 2 + 1] = tap * kernel_width * padded
                        y_taps += 1
                    tap += 1
                if y_taps == 0 or channel >= channel_end:
                    continue
                for run in range(runs):
                    entry = run_table + run * 40
                    for plane in range(multiplier):
                        sum_taps(entry[1], source + entry[2] * stride_x * pixel + channel * ELEMENT, stride_x * pixel,
                                 y_table, y_taps, tap_table + entry[3] * 16, entry[4],
                                 partial + plane * plane_bytes + channel * ELEMENT,
                                 gradient + (plane * target_width + entry[0]) * pixel + channel * ELEMENT, pixel,
                                 channel_end - channel)
            pending += target_width
            if pending >= sum_pixels:
                add_rows(totals, partial, multiplier * plane_bytes // ELEMENT)
                pending = 0
        add_rows(totals, partial, multiplier * plane_bytes // ELEMENT)
    part = item % parts
    channel = item // parts * BLOCK
    channels = min(BLOCK, groups - channel)
    first_tap = part * kernel_width
    tap_count = taps_all // parts
    values = totals + first_tap * padded + channel * ELEMENT
    stride = padded
    if multiplier > 1:
        values = split + (target_width * filters * ELEMENT + 63) // 64 * 64
        stride = BLOCK * multiplier * ELEMENT
        for index in range(tap_count):
            for plane in range(multiplier):
                copy_strided(values + index * stride + plane * ELEMENT, multiplier * ELEMENT,
                             totals + plane * plane_bytes + (first_tap + index) * padded + channel * ELEMENT, ELEMENT,
                             channels)
    scratch[0] = values
    scratch[1] = stride // ELEMENT
    scratch[2] = tap_count
    scratch[3] = channels * multiplier
    scratch[4] = first_tap
    scratch[5] = channel * multiplier
    return item + 1
"""
