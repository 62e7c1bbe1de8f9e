"""The driver of Winograd's convolution F(4x4, 3x3): see `compiler.winograd` for the formula.

The result's image is covered by 4x4 tiles; a row of tiles of one image is a *line*, and lines are counted through all
images. A work item is a fixed number of lines, so that its results are consecutive rows of the output. For an item
the tiles of the input are transformed into a table [36, tiles, channels] in scratch, 36 small matrix products with
the transformed kernel [36, channels, filters] give a table [36, tiles, filters], and the tiles of the result come
from that. Both tables should stay in the second-level cache.

Where there are hardly any such groups of lines, in a prediction for one image, each is cut into parts of its filters
and, if there are too few of these, of its lines, a work item each. Parts of filters read parts of the kernel, which is
most of what a small image reads at all; the tiles of the input are transformed once for parts in one call.

The tables' rows for one point are an odd number of cache lines apart from those for the next: a transform writes one
vector for each point, and with a power of two these would meet in one set of the cache.

Aim: 1.5 times the direct kernels on layers of ResNet-20 and of the CIFAR network. Reached on one Zen 3 core with AVX2,
64 images, forward and kernel gradient: 1.6 and 2.1 times (32x32x16), 2.1 and 2.4 (16x16x32), 2.5 and 2.5 (8x8x64), 1.9
and 2.2 (32x32x32, not padded), 1.8 and 2.2 (15x15x32 to 64), 1.7 and 1.8 (15x15x64, not padded, where tiles of four
cover 13 pixels); in direct multiplications 150 to 220 GFLOP/s on a core that can do 95. Aim for one image: half of the
items take 0.55 of the time of an uncut layer, all of them 1.1. Reached: 0.55 and 1.01 (32x32x16), 0.62 and 1.09
(16x16x32), 0.6 and 1.05 (8x8x64), 0.52 and 1.03 (32x32x32, not padded), 0.6 and 1.05 (15x15x32 to 64); ResNet-20 on two
threads 500 -> 310 us, the CIFAR network 280 -> 220 us (minima on a busy machine).
"""

from __future__ import annotations

from compiler.codegen.contraction_driver import REPORT_BYTES, Driver, kernel_source
from compiler.codegen.contraction_ir import element_bytes
from compiler.codegen.contraction_types import ContractionSource, Epilogue, Generator, ImageUnits
from compiler.codegen.microkernel_tile import Tile
from compiler.contractions import ContractionSpec, ConvolutionGeometry
from compiler.winograd import POINTS, TILE, WINDOW
from runtime.dimensions import Dim, align_up, ceil_div, dim_max

__all__ = [
    "SHARED_EXTENTS",
    "WinogradGenerator",
    "lines_of",
    "point_bytes",
    "winograd_extents",
    "winograd_source",
]

SHARED_EXTENTS = 10  # of the convolution and of its kernel gradient, which has others after them

# Bytes that the tables of an item may take: they and the block of results share a second-level cache of 512 KiB with
# a point's part of the kernel. Fewer tiles than the least fill too few rows of a register tile.
TABLE_BYTES = 320 * 1024
LEAST_TILES, MOST_TILES = 16, 64
# Lines where the width is known at run time only.
SYMBOLIC_LINES = 4
# Work items of an image alone: as many threads have work. A part of the filters should fill a panel, one of the lines
# the rows of a register tile.
IMAGE_ITEMS = 4
PART_FILTERS = 16
PART_TILES = 8


class WinogradGenerator(Generator[ConvolutionGeometry]):
    """x, transformed kernel `[36, c, f]`; result as that of the 3x3 convolution."""

    geometry = ConvolutionGeometry
    extent_count = SHARED_EXTENTS + 2

    def fills(self, spec: ContractionSpec, geometry: ConvolutionGeometry) -> bool:
        """The kernel comes transformed."""
        return False

    def extents(self, spec: ContractionSpec, geometry: ConvolutionGeometry, *, whole: bool = False) -> tuple[Dim, ...]:
        """Those of both kinds, with the lines of a group; parts of a group's lines and of the filters."""
        tiles = _group_tiles(geometry.input_shape[3], geometry.kernel_shape[3])
        shared = winograd_extents(geometry, tiles)
        return (*shared, *((1, 1) if whole else _parts(geometry, _group_lines(shared))))

    def work(self, spec: ContractionSpec, extents: tuple[Dim, ...], tile: Tile) -> Dim:
        """Parts of groups of lines."""
        groups = ceil_div(extents[0] * ceil_div(extents[4], TILE), _group_lines(extents))
        return groups * extents[10] * extents[11]

    def image_units(self, spec: ContractionSpec, extents: tuple[Dim, ...], items: Dim) -> ImageUnits:
        """Lines of a group and of an image."""
        return ImageUnits(_group_lines(extents), ceil_div(extents[4], TILE), extents[0], items)

    def scratch(self, spec: ContractionSpec, extents: tuple[Dim, ...], tile: Tile) -> Dim:
        """Bytes of tables, of the kernel's last columns, and of results."""
        size = element_bytes(tile.dtype)
        channels, output_width, filters, lines = extents[3], extents[5], extents[6], extents[9]
        tiles = ceil_div(output_width, TILE) * lines
        columns = ceil_div(filters, tile.columns) * tile.columns
        rows = align_up(tiles * 8)
        border = align_up(channels * (WINDOW * size)) + align_up(filters * (TILE * size))
        packed = align_up(channels * (POINTS * tile.columns * size))
        tables = (point_bytes(tiles, channels * size) + point_bytes(tiles, columns * size)) * POINTS
        values = output_width * filters * (lines * TILE * size)
        return REPORT_BYTES + rows + border + packed + tables + align_up(values)

    def source(self, spec: ContractionSpec, tile: Tile, epilogue: Epilogue) -> ContractionSource:
        """The driver's source."""
        return winograd_source(_SOURCE, tile, epilogue)


def winograd_extents(geometry: ConvolutionGeometry, tiles: int) -> tuple[Dim, ...]:
    """Input shape, output height, width and filters, top and left padding, lines that hold about so many tiles."""
    _, height, width, filters = geometry.output_shape
    (top, _), (left, _) = geometry.padding
    return (*geometry.input_shape, height, width, filters, top, left, lines_of(tiles, width))


def _group_lines(extents: tuple[Dim, ...]) -> int:
    lines = extents[9]
    assert isinstance(lines, int)
    return lines


def _parts(geometry: ConvolutionGeometry, lines: int) -> tuple[Dim, Dim]:
    """Parts of a group's lines and of its filters: fewer, the more groups there are."""
    images, height, width, filters = geometry.output_shape
    if not isinstance(height, int) or not isinstance(width, int) or not isinstance(filters, int):
        return 1, 1
    image_lines, line_tiles = -(-height // TILE), -(-width // TILE)
    image_groups = max(1, -(-image_lines // lines))
    tiles = image_lines * line_tiles // image_groups
    most = -(-IMAGE_ITEMS // image_groups)
    # Lines first where there are many: then no tile is transformed twice. With few, parts of filters cost less.
    line_parts = max(1, min(most, tiles // LEAST_TILES))
    filter_parts = max(1, min(most // line_parts, filters // PART_FILTERS))
    line_parts = max(line_parts, min(most // filter_parts, tiles // PART_TILES))
    more = image_groups - ceil_div(images * image_lines, lines)
    return dim_max(1, more + line_parts), dim_max(1, more + filter_parts)


def _group_tiles(channels: Dim, filters: Dim) -> int:
    if not isinstance(channels, int) or not isinstance(filters, int):
        return LEAST_TILES
    tiles = TABLE_BYTES // (POINTS * (channels + filters) * element_bytes("float32"))
    return max(LEAST_TILES, min(MOST_TILES, tiles))


def lines_of(tiles: int, width: Dim) -> int:
    """Lines that hold about so many tiles."""
    return max(1, tiles // -(-width // TILE)) if isinstance(width, int) else SYMBOLIC_LINES


def point_bytes(tiles: Dim, row_bytes: Dim) -> Dim:
    """Bytes from a point's rows to the next one's: an odd number of cache lines."""
    return (ceil_div(tiles * row_bytes, 64) // 2 * 2 + 1) * 64


def winograd_source(driver: str, tile: Tile, epilogue: Epilogue) -> ContractionSource:
    """The kernel around a driver in which `{extents}` stands for the sizes that Winograd's forms have in common."""
    return kernel_source(tile, Driver(driver.format(extents=_EXTENTS), (), columns_extent=6), epilogue)


_EXTENTS = """\
    images = extents[0]
    height = extents[1]
    width = extents[2]
    channels = extents[3]
    output_height = extents[4]
    output_width = extents[5]
    filters = extents[6]
    padding_top = extents[7]
    padding_left = extents[8]
    item_lines = extents[9]
    image_lines = (output_height + 3) // 4
    line_tiles = (output_width + 3) // 4
    pixel = channels * ELEMENT
    panels = (filters + TILE_COLUMNS - 1) // TILE_COLUMNS
    result_pixel = panels * PANEL_STEP
    image_point = ((item_lines * line_tiles * pixel + 63) // 64 // 2 * 2 + 1) * 64
    result_point = ((item_lines * line_tiles * result_pixel + 63) // 64 // 2 * 2 + 1) * 64"""

_SOURCE = """\
def contract(pointers, extents, scratch, begin, end, item):
{extents}
    if line_tiles < 1:
        scratch[2] = 0
        return end
    whole_panels = filters // TILE_COLUMNS
    point_kernel = channels * filters * ELEMENT
    row_table = scratch + REPORT_BYTES
    zeros = row_table + (item_lines * line_tiles * 8 + 63) // 64 * 64
    unread = zeros + (6 * pixel + 63) // 64 * 64
    packed = unread + (4 * filters * ELEMENT + 63) // 64 * 64
    image_table = packed + (channels * 36 * PANEL_STEP + 63) // 64 * 64
    result_table = image_table + 36 * image_point
    values = result_table + 36 * result_point
    # An item is a part of the filters of a part of the lines of a group.
    line_parts = extents[10]
    filter_parts = extents[11]
    line_item = item // filter_parts
    filter_part = item - line_item * filter_parts
    group = line_item // line_parts
    line_part = line_item - group * line_parts
    group_begin = group * item_lines
    group_lines = min(item_lines, images * image_lines - group_begin)
    line_begin = group_begin + line_part * group_lines // line_parts
    line_end = group_begin + (line_part + 1) * group_lines // line_parts
    # No part is the last panel alone if that is not whole: transforms take whole vectors.
    used_parts = min(filter_parts, max(1, whole_panels))
    first_panel = min(filter_part, used_parts) * panels // used_parts
    last_panel = min(filter_part + 1, used_parts) * panels // used_parts
    if item == begin:
        fill_zero(zeros, 6 * channels)
        fill_steps(row_table, item_lines * line_tiles, pixel)
        if whole_panels < panels:
            pack_columns(packed, 0, pointers[1] + whole_panels * PANEL_STEP, filters * ELEMENT, channels * 36,
                         filters - whole_panels * TILE_COLUMNS)
    tiles = (line_end - line_begin) * line_tiles
    if tiles == 0 or first_panel == last_panel:
        scratch[2] = 0
        return item + 1
    if item == begin or filter_part == 0:
        image_tile = image_table
        for line in range(line_begin, line_end):
            image = line // image_lines
            y = (line - image * image_lines) * 4 - padding_top
            source = pointers[0] + ((image * height + y) * width - padding_left) * pixel
            x = -padding_left
            for column in range(line_tiles):
                image_transform(source, width * pixel, pixel, -y, height - y, -x, width - x, zeros, image_tile,
                                image_point, channels)
                source += 4 * pixel
                x += 4
                image_tile += pixel
    # The next item's rows of the image are asked for ahead, a little in each turn of a product.
    turns = (last_panel - first_panel) * ((tiles + TILE_ROWS - 1) // TILE_ROWS) * max(1, channels // FULL_UNROLL)
    source_step = (line_end - line_begin) * 4 * width * pixel // (36 * turns) + 1
    last_image = line_end // image_lines
    next_source = pointers[0] + (last_image * height + (line_end - last_image * image_lines) * 4) * width * pixel
    for point in range(36):
        base = image_table + point * image_point
        for panel in range(first_panel, last_panel):
            panel_address = pointers[1] + point * point_kernel + panel * PANEL_STEP
            panel_stride = filters * ELEMENT
            if panel == whole_panels:
                panel_address = packed + point * channels * PANEL_STEP
                panel_stride = PANEL_STEP
            results = result_table + point * result_point + panel * PANEL_STEP
            next_source = micro_rows_ahead(tiles, base, row_table, channels, panel_address, panel_stride, results,
                                           result_pixel, 0, next_source, source_step, results, result_pixel)
    first_image = line_begin // image_lines
    first_row = first_image * output_height + (line_begin - first_image * image_lines) * 4
    last_row = first_row
    first_column = first_panel * TILE_COLUMNS
    columns = min(last_panel * TILE_COLUMNS, filters) - first_column
    tile = result_table + first_panel * PANEL_STEP
    for line in range(line_begin, line_end):
        image = line // image_lines
        y = (line - image * image_lines) * 4
        row = image * output_height + y
        last_row = row + min(4, output_height - y)
        destination = values + ((row - first_row) * output_width * filters + first_column) * ELEMENT
        for column in range(line_tiles):
            result_transform(destination, output_width * filters * ELEMENT, filters * ELEMENT, 0, output_height - y, 0,
                             output_width - column * 4, unread, tile, result_point, columns)
            destination += 4 * filters * ELEMENT
            tile += result_pixel
    scratch[0] = values + first_column * ELEMENT
    scratch[1] = filters
    scratch[2] = (last_row - first_row) * output_width
    scratch[3] = columns
    scratch[4] = first_row * output_width
    scratch[5] = first_column
    return item + 1
"""
