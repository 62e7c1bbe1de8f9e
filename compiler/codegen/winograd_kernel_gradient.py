"""The driver of the kernel gradient of Winograd's convolution F(4x4, 3x3): see `compiler.winograd` for the formula.

For each of 36 points the gradient of the transformed kernel is a matrix product [channels, tiles] @ [tiles, filters]
of the transformed input and the transformed gradient of the result. The lines of tiles of all images are dealt to a
fixed number of *chunks*, each a work item with sums of its own in scratch, which it transforms back to a gradient of
the kernel; whoever reads the result adds these, in order. A chunk is computed some lines at a time, so that the tables
of their tiles stay in the second-level cache.
"""

from __future__ import annotations

from compiler.codegen.contraction_driver import REPORT_BYTES
from compiler.codegen.contraction_ir import element_bytes
from compiler.codegen.contraction_types import ContractionSource, Epilogue, Generator
from compiler.codegen.microkernel_tile import Tile
from compiler.codegen.winograd_convolution import SHARED_EXTENTS, point_bytes, winograd_extents, winograd_source
from compiler.contractions import ContractionSpec, ConvolutionGeometry
from compiler.winograd import KERNEL, POINTS, TILE, WINDOW
from runtime.dimensions import Dim, align_up, ceil_div

__all__ = ["WinogradKernelGradientGenerator"]

TAPS = KERNEL * KERNEL

# Tiles of a block. They are the depth of 36 products whose sums do not stay in the first-level cache: with fewer,
# loading and storing the sums costs too much; with more, the tables leave the second-level cache.
BLOCK_TILES = 32


class WinogradKernelGradientGenerator(Generator[ConvolutionGeometry]):
    """x, gradient of the convolution's result; result `[chunks, 3, 3, c, f]`, to be summed."""

    geometry = ConvolutionGeometry
    extent_count = SHARED_EXTENTS + 1

    def fills(self, spec: ContractionSpec, geometry: ConvolutionGeometry) -> bool:
        """No item reads what another one reads."""
        return False

    def extents(self, spec: ContractionSpec, geometry: ConvolutionGeometry, *, whole: bool = False) -> tuple[Dim, ...]:
        """Those of both kinds, with the lines of a block; chunks."""
        return (*winograd_extents(geometry, BLOCK_TILES), geometry.chunks)

    def work(self, spec: ContractionSpec, extents: tuple[Dim, ...], tile: Tile) -> Dim:
        """The chunks."""
        return extents[10]

    def scratch(self, spec: ContractionSpec, extents: tuple[Dim, ...], tile: Tile) -> Dim:
        """Bytes of tables and sums."""
        size = element_bytes(tile.dtype)
        channels, output_width, filters, lines = extents[3], extents[5], extents[6], extents[9]
        tiles = ceil_div(output_width, TILE) * lines
        columns = ceil_div(filters, tile.columns) * tile.columns
        rows = align_up(channels * 8)
        border = align_up(channels * (WINDOW * size)) + align_up(filters * (TILE * size))
        tables = (point_bytes(tiles, channels * size) + point_bytes(tiles, columns * size)) * POINTS
        return REPORT_BYTES + rows + border + tables + align_up(channels * columns * ((POINTS + TAPS) * size))

    def source(self, spec: ContractionSpec, tile: Tile, epilogue: Epilogue) -> ContractionSource:
        """The driver's source."""
        return winograd_source(_SOURCE, tile, epilogue)


_SOURCE = """\
def contract(pointers, extents, scratch, begin, end, item):
{extents}
    chunks = extents[10]
    row_table = scratch + REPORT_BYTES
    zeros = row_table + (channels * 8 + 63) // 64 * 64
    zero_results = zeros + (6 * pixel + 63) // 64 * 64
    image_table = zero_results + (4 * filters * ELEMENT + 63) // 64 * 64
    result_table = image_table + 36 * image_point
    sums = result_table + 36 * result_point
    kernel = sums + 36 * channels * result_pixel
    if item == begin:
        fill_zero(zeros, 6 * channels)
        fill_zero(zero_results, 4 * filters)
        if filters < panels * TILE_COLUMNS:
            fill_zero(result_table, 36 * result_point // ELEMENT)
        fill_steps(row_table, channels, ELEMENT)
    lines = images * image_lines
    share = (lines + chunks - 1) // chunks
    share_begin = min(item * share, lines)
    share_end = min(share_begin + share, lines)
    if share_begin == share_end:
        fill_zero(sums, 36 * channels * panels * TILE_COLUMNS)
    products = 18 * panels * ((channels + TILE_ROWS - 1) // TILE_ROWS)
    for line_begin in range(share_begin, share_end, item_lines):
        line_end = min(line_begin + item_lines, share_end)
        tiles = 0
        for line in range(line_begin, line_end):
            image = line // image_lines
            y = (line - image * image_lines) * 4
            source = pointers[0] + ((image * height + y - padding_top) * width - padding_left) * pixel
            gradient = pointers[1] + (image * output_height + y) * output_width * filters * ELEMENT
            x = 0
            for column in range(line_tiles):
                image_transform(source, width * pixel, pixel, padding_top - y, height + padding_top - y,
                                padding_left - x, width + padding_left - x, zeros, image_table + tiles * pixel,
                                image_point, channels)
                gradient_transform(gradient, output_width * filters * ELEMENT, filters * ELEMENT, 0, output_height - y,
                                   0, output_width - x, zero_results, result_table + tiles * result_pixel,
                                   result_point, filters)
                source += 4 * pixel
                gradient += 4 * filters * ELEMENT
                x += 4
                tiles += 1
        # The next block's rows of both images are asked for ahead, a little in each turn: of one with the first half
        # of the products, of the other with the second.
        next_image = line_end // image_lines
        next_line = line_end - next_image * image_lines
        next_source = pointers[0] + (next_image * height + next_line * 4) * width * pixel
        next_gradient = pointers[1] + (next_image * output_height + next_line * 4) * output_width * filters * ELEMENT
        turns = products * max(1, tiles // FULL_UNROLL)
        next_step = (line_end - line_begin) * 4 * width * pixel // turns + 1
        for point in range(36):
            if point == 18:
                next_source = next_gradient
                next_step = (line_end - line_begin) * 4 * output_width * filters * ELEMENT // turns + 1
            base = image_table + point * image_point
            point_sums = sums + point * channels * result_pixel
            for panel in range(panels):
                panel_address = result_table + point * result_point + panel * PANEL_STEP
                tile = point_sums + panel * PANEL_STEP
                next_source = micro_columns_ahead(channels, base, row_table, pixel, tiles, panel_address, result_pixel,
                                                  tile, result_pixel, line_begin - share_begin, next_source, next_step,
                                                  tile, result_pixel)
    fold_points(sums, channels * result_pixel, kernel, channels * result_pixel, channels * panels * TILE_COLUMNS)
    scratch[0] = kernel
    scratch[1] = panels * TILE_COLUMNS
    scratch[2] = 9 * channels
    scratch[3] = filters
    scratch[4] = item * 9 * channels
    scratch[5] = 0
    return item + 1
"""
