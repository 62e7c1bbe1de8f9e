"""Depthwise convolutions over NHWC images: each group has one input channel and one or several filters.

The general generator spreads the channels of a group over the steps of a sum; here a group has only one, and a tile
of it would be mostly empty. So the channels are the lanes instead (`depthwise_native`). This module holds the forward
pass and the gradient with respect to the input; both *gather*: a target pixel sums its taps of the source. The
gradient with respect to the kernel is in `depthwise_kernel_gradient`.

Nothing is padded. Along each axis the taps that fall on a source pixel are the same for whole *runs* of target
pixels: with stride 1 the pixels at either edge and those between, in the input gradient with stride s each of the s
phases with edges of its own. A table of the horizontal runs is made once a call, the vertical taps are listed once a
row, and the inner loop sees only products that exist. Hence padding never meets an infinite or NaN weight.

A work item is a number of consecutive target pixels, whatever images and rows they belong to: as many as make a block
that leaves the first-level cache room for what is read and written beside it.

With a multiplier of m filters a channel, filter c * m + j belongs to channel c. The forward pass computes m results
of one filter a channel with the kernel packed apart, and interleaves them; the input gradient treats the m filters as
channels of their own and adds m neighbours at the end.

What it was to reach (one thread, Zen 3, 64 images of 32 x 32 x 32, 3 x 3): forward and input gradient within 1.5 of the
time that memory or the multiply-adds need, some 1 ms each; kernel gradient 1.5 ms. Reached on a busy machine: 1.7,
1.8 and 1.4 ms, where multiplying the same array by a number takes 0.85; as plain loops they took 4.9, 10 and 183.
The sums alone take 1.1 ms; the rest is the way of the results to memory, which nothing overlaps.
"""

from __future__ import annotations

from compiler.codegen.contraction_driver import REPORT_BYTES, Driver, kernel_source
from compiler.codegen.contraction_ir import element_bytes
from compiler.codegen.contraction_sizes import CONVOLUTION_EXTENTS, convolution_extents
from compiler.codegen.contraction_types import ContractionSource, Epilogue, Generator, ImageUnits
from compiler.codegen.microkernel_tile import Tile
from compiler.contractions import ContractionSpec, ConvolutionGeometry
from runtime.dimensions import Dim, align_up, ceil_div

__all__ = [
    "DEPTHWISE_EXTENTS",
    "EXTENT_COUNT",
    "FORWARD_GEOMETRY",
    "X_RUNS",
    "Y_TAPS",
    "DepthwiseGenerator",
    "as_int",
    "fitting",
    "run_table_bytes",
]

EXTENT_COUNT = 17
# Bytes of results in a work item of the gathering kinds.
ITEM_BYTES = 16 * 1024


class DepthwiseGenerator(Generator[ConvolutionGeometry]):
    """x, kernel `[kh, kw, 1, f]`; or, `backward`, the gradient of the result, kernel; result shaped as x."""

    geometry = ConvolutionGeometry
    extent_count = EXTENT_COUNT

    def __init__(self, *, backward: bool) -> None:
        self.backward = backward

    def fills(self, spec: ContractionSpec, geometry: ConvolutionGeometry) -> bool:
        """What a call packs is small."""
        return False

    def extents(self, spec: ContractionSpec, geometry: ConvolutionGeometry, *, whole: bool = False) -> tuple[Dim, ...]:
        """Those of all three kinds, with the pixels of a work item."""
        block = max(1, ITEM_BYTES // (as_int(geometry.kernel_shape[3]) * element_bytes(spec.dtype)))
        _, height, width, _ = geometry.input_shape if self.backward else geometry.output_shape
        if isinstance(height, int) and isinstance(width, int):
            block = fitting(block, height * width)
        return convolution_extents(geometry, block)

    def _item_and_image_pixels(self, extents: tuple[Dim, ...]) -> tuple[int, Dim]:
        """Target pixels of an item and of an image."""
        height, width = extents[1:3] if self.backward else extents[4:6]
        return as_int(extents[16]), height * width

    def work(self, spec: ContractionSpec, extents: tuple[Dim, ...], tile: Tile) -> Dim:
        """Blocks of target pixels."""
        item, image = self._item_and_image_pixels(extents)
        return ceil_div(extents[0] * image, item)

    def image_units(self, spec: ContractionSpec, extents: tuple[Dim, ...], items: Dim) -> ImageUnits:
        """A line is a pixel."""
        return ImageUnits(*self._item_and_image_pixels(extents), extents[0], items)

    def scratch(self, spec: ContractionSpec, extents: tuple[Dim, ...], tile: Tile) -> int:
        """Bytes of tables, packed kernel and results."""
        lanes, size = tile.lanes, element_bytes(tile.dtype)
        filters, kernel_height, kernel_width, stride_x = (as_int(extents[place]) for place in (6, 7, 8, 10))
        groups, pixels = as_int(extents[15]), as_int(extents[16])
        planes, sums = (1, filters) if self.backward else (filters // groups, groups)
        row = -(-sums // lanes) * lanes * size * planes
        tables = as_int(align_up(kernel_height * 16)) + run_table_bytes(kernel_width, stride_x if self.backward else 1)
        results = as_int(align_up(pixels * row)) * (1 if planes == 1 else 2)
        return REPORT_BYTES + tables + as_int(align_up(kernel_height * kernel_width * row)) + results

    def source(self, spec: ContractionSpec, tile: Tile, epilogue: Epilogue) -> ContractionSource:
        """The kernel's source."""
        geometry = _BACKWARD if self.backward else FORWARD_GEOMETRY
        source = _SOURCE.format(extents=DEPTHWISE_EXTENTS, geometry=geometry, x_runs=X_RUNS, y_taps=Y_TAPS)
        columns_extent = 3 if self.backward else 6
        return kernel_source(tile, Driver(source, (), columns_extent), epilogue)


def fitting(block: int, image: int) -> int:
    """About so many pixels that images end where blocks end: a part of an image, or several whole ones."""
    if image <= block:
        return block // max(image, 1) * max(image, 1)
    parts = [size for size in range(1, min(image, 4 * block) + 1) if image % size == 0]
    smaller = max(size for size in parts if size <= block)
    if 2 * smaller >= block:
        return smaller
    return min((size for size in parts if size > block), default=smaller if 8 * smaller >= block else block)


def as_int(dim: Dim) -> int:
    """A size that is known before the program runs."""
    if not isinstance(dim, int):
        raise TypeError(f"channels, strides, padding, dilation and kernel size are integers; got {dim}")
    return dim


def run_table_bytes(kernel_width: int, phases: int) -> int:
    """Bytes of the table of horizontal runs: in each phase every tap begins once and ends once."""
    runs = phases * (2 * kernel_width + 1)
    return as_int(align_up(runs * 40)) + as_int(align_up(runs * kernel_width * 16))


DEPTHWISE_EXTENTS = f"""\
{CONVOLUTION_EXTENTS}
    filters = extents[6]
    multiplier = filters // groups"""

FORWARD_GEOMETRY = """\
    source_height = extents[1]
    source_width = extents[2]
    target_height = extents[4]
    target_width = extents[5]
    backward = 0
    phases_y = 1
    phases_x = 1
    step_y = stride_y
    step_x = stride_x
    planes = multiplier
    lane_channels = groups
    target_channels = filters"""

_BACKWARD = """\
    source_height = extents[4]
    source_width = extents[5]
    target_height = extents[1]
    target_width = extents[2]
    backward = 1
    phases_y = stride_y
    phases_x = stride_x
    step_y = 1
    step_x = 1
    planes = 1
    lane_channels = filters
    target_channels = groups"""

# The table of runs along x. Target pixel `phase + j * phases_x` reads source pixel `j * step_x + tap_x`. An entry of
# `run_table`: first target pixel, pixels, first j, first tap in `tap_table`, taps.
X_RUNS = """\
        runs = 0
        taps = 0
        for phase in range(phases_x):
            count = (target_width - phase + phases_x - 1) // phases_x
            j = 0
            while j < count:
                following = count
                run_table[runs * 5] = phase + j * phases_x
                run_table[runs * 5 + 2] = j
                run_table[runs * 5 + 3] = taps
                for tap in range(kernel_width):
                    tap_x = tap * dilation_x - padding_left
                    if backward:
                        distance = phase + padding_left - tap * dilation_x
                        tap_x = distance // stride_x
                        if tap_x * stride_x != distance:
                            continue
                    begins = -(tap_x // step_x)
                    ends = (source_width - 1 - tap_x) // step_x + 1
                    if begins > j:
                        following = min(following, begins)
                    if begins <= j and ends > j:
                        following = min(following, ends)
                        tap_table[taps * 2] = tap_x * pixel
                        tap_table[taps * 2 + 1] = tap * padded
                        taps += 1
                run_table[runs * 5 + 1] = following - j
                run_table[runs * 5 + 4] = taps - run_table[runs * 5 + 3]
                j = following
                runs += 1"""

# The vertical taps of target row y.
Y_TAPS = """\
        y_taps = 0
        for tap in range(kernel_height):
            source_y = y * stride_y + tap * dilation_y - padding_top
            if backward:
                distance = y + padding_top - tap * dilation_y
                source_y = distance // stride_y
                if source_y * stride_y != distance:
                    continue
            if source_y >= 0 and source_y < source_height:
                y_table[y_taps * 2] = source_y * source_width * pixel
                y_table[y_taps * 2 + 1] = tap * kernel_width * padded
                y_taps += 1"""

_SOURCE = """\
def contract(pointers, extents, scratch, begin, end, item):
{extents}
{geometry}
    item_pixels = extents[16]
    taps_all = kernel_height * kernel_width
    pixel = lane_channels * ELEMENT
    padded = (lane_channels + LANES - 1) // LANES * LANES * ELEMENT
    row_bytes = planes * padded
    most_runs = phases_x * (2 * kernel_width + 1)
    y_table = scratch + REPORT_BYTES
    run_table = y_table + (kernel_height * 16 + 63) // 64 * 64
    tap_table = run_table + (most_runs * 40 + 63) // 64 * 64
    packed = tap_table + (most_runs * kernel_width * 16 + 63) // 64 * 64
    sums = packed + (taps_all * row_bytes + 63) // 64 * 64
    values = sums
    if planes > 1:
        values = sums + (item_pixels * row_bytes + 63) // 64 * 64
    if item == begin:
        for tap in range(taps_all):
            weight = pointers[1] + tap * filters * ELEMENT
            if planes == 1:
                copy_rows(packed + tap * padded, 0, weight, 0, 1, lane_channels)
            else:
                for plane in range(planes):
                    copy_strided(packed + (plane * taps_all + tap) * padded, ELEMENT, weight + plane * ELEMENT,
                                 planes * ELEMENT, lane_channels)
{x_runs}
        scratch[6] = runs
    pixel_begin = item * item_pixels
    pixel_end = min(pixel_begin + item_pixels, images * target_height * target_width)
    position = pixel_begin
    while position < pixel_end:
        line = position // target_width
        image = line // target_height
        y = line - image * target_height
        x_begin = position - line * target_width
        x_end = min(target_width, x_begin + pixel_end - position)
        source = pointers[0] + image * source_height * source_width * pixel
{y_taps}
        for run in range(scratch[6]):
            entry = run_table + run * 40
            first = entry[0]
            j_begin = 0
            j_end = entry[1]
            if x_end - x_begin < target_width:
                j_begin = max(0, (x_begin - first + phases_x - 1) // phases_x)
                j_end = min(j_end, (x_end - first + phases_x - 1) // phases_x)
            if j_begin < j_end:
                place = sums + (position - pixel_begin + first - x_begin + j_begin * phases_x) * row_bytes
                run_source = source + (entry[2] + j_begin) * step_x * pixel
                for plane in range(planes):
                    gather_taps(j_end - j_begin, run_source, step_x * pixel, y_table, y_taps, tap_table + entry[3] * 16,
                                entry[4], packed + plane * taps_all * padded, place + plane * padded,
                                phases_x * row_bytes, lane_channels)
        position += x_end - x_begin
    pixels = pixel_end - pixel_begin
    if multiplier > 1:
        for index in range(pixels):
            if backward:
                sum_adjacent(sums + index * row_bytes, multiplier, groups)
            else:
                for plane in range(planes):
                    copy_strided(values + index * row_bytes + plane * ELEMENT, planes * ELEMENT,
                                 sums + index * row_bytes + plane * padded, ELEMENT, groups)
    scratch[0] = values
    scratch[1] = row_bytes // ELEMENT
    scratch[2] = pixels
    scratch[3] = target_channels
    scratch[4] = pixel_begin
    scratch[5] = 0
    return item + 1
"""
