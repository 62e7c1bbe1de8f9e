"""Sizes of the drivers of convolutions: run-time extents, blocks, work items and private memory.

Forward passes, input gradients and kernel gradients read the same extents (`contraction_convolution` and
`contraction_kernel_gradient` have the drivers).
"""

from __future__ import annotations

from compiler.codegen.contraction_driver import REPORT_BYTES
from compiler.codegen.contraction_ir import element_bytes
from compiler.codegen.contraction_narrow import narrow_tables, row_slack
from compiler.codegen.contraction_types import ContractionSpec, ConvolutionGeometry
from compiler.codegen.microkernel import Tile
from runtime.dimensions import Dim, align_up, ceil_div, dim_max

__all__ = ["EXTENT_COUNT", "convolution_extents", "convolution_scratch", "convolution_work"]

EXTENT_COUNT = 18

# Target pixels of a work item: some forty tiles, so that a last partial tile costs little. In a kernel gradient pixels
# are the steps of a sum: with twice as many, the input of a block outgrows the first-level cache.
ITEM_PIXELS = 256
GRADIENT_PIXELS = 128
# Rows of a work item where the image's extents are known at run time only.
SYMBOLIC_ROWS = 8


# Parts of the result's channels, a work item each, where there are hardly any blocks: as many threads have work in a
# prediction for one image. A part should fill a panel. Measured (minima, one Zen 3 core): half of the items take 0.53
# to 0.6 of the time of all, and all take as long as one item of all channels.
MOST_PARTS = 4
PART_CHANNELS = 16


def convolution_extents(
    spec: ContractionSpec, geometry: ConvolutionGeometry, *, whole: bool = False
) -> tuple[Dim, ...]:
    """All three kinds: input shape, output height, width and channels, kernel size, strides, low padding,
    dilation, groups, rows of a block, and images of a block or, in a gathering
    convolution, parts that the result's channels are in; `whole`: one.
    """
    _, output_height, output_width, filters = geometry.output_shape
    (top, _), (left, _) = geometry.padding
    rows, images = _block(spec, geometry)
    summed = spec.kind == "convolution_kernel_gradient"
    return (
        *geometry.input_shape,
        output_height,
        output_width,
        filters,
        *geometry.kernel_shape[:2],
        *geometry.strides,
        top,
        left,
        *geometry.dilation,
        geometry.groups,
        rows,
        images if summed else 1 if whole else _parts(spec, geometry, rows),
    )


def _parts(spec: ContractionSpec, geometry: ConvolutionGeometry, rows: int) -> Dim:
    """Fewer, the more blocks there are: four for one block, one for four."""
    backward = spec.kind == "convolution_input_gradient"
    images, height, _, channels = geometry.input_shape if backward else geometry.output_shape
    if geometry.groups != 1 or not isinstance(height, int) or not isinstance(channels, int):
        return 1
    most = min(MOST_PARTS, channels // PART_CHANNELS)
    return dim_max(1, most + 1 - images * -(-height // rows)) if most > 1 else 1


def _block(spec: ContractionSpec, geometry: ConvolutionGeometry) -> tuple[int, int]:
    """Rows and images of a block: whole images where they are smaller than the pixels a block should have."""
    backward = spec.kind == "convolution_input_gradient"
    summed = spec.kind == "convolution_kernel_gradient"
    pixels = GRADIENT_PIXELS if summed else ITEM_PIXELS
    _, height, width, _ = geometry.input_shape if backward else geometry.output_shape
    multiple = geometry.strides[0] if backward else 1
    if not isinstance(height, int) or not isinstance(width, int):
        return -(-SYMBOLIC_ROWS // multiple) * multiple, 1
    height, width = max(height, 1), max(width, 1)
    blocks = -(-height * width // (pixels + pixels // 4))
    rows = -(-height // blocks)
    images = max(1, pixels // (height * width)) if summed else 1
    return -(-rows // multiple) * multiple, images


def convolution_work(spec: ContractionSpec, extents: tuple[Dim, ...]) -> Dim:
    """Parts of blocks of rows of all images."""
    backward = spec.kind == "convolution_input_gradient"
    height = extents[1] if backward else extents[4]
    block_rows = _as_int(extents[16])
    return extents[0] * ((height + (block_rows - 1)) // block_rows) * extents[17]


def convolution_scratch(spec: ContractionSpec, extents: tuple[Dim, ...], tile: Tile) -> Dim:
    """Bytes of tables, packed kernel, slab and one tile of results."""
    backward = spec.kind == "convolution_input_gradient"
    size = element_bytes(tile.dtype)
    source, target = (extents[4:7], extents[1:4]) if backward else (extents[1:4], extents[4:7])
    kernel = [_as_int(extent) for extent in extents[7:9]]
    strides = [_as_int(extent) for extent in extents[9:11]]
    dilation = [_as_int(extent) for extent in extents[13:15]]
    groups, block_rows = _as_int(extents[15]), _as_int(extents[16])
    taps = kernel[0] * kernel[1]
    slab: Dim = source[2]
    for axis, target_extent in enumerate((block_rows, target[1])):
        reach = (kernel[axis] - 1) * dilation[axis]
        if backward:
            slab = slab * ((target_extent + strides[axis] - 1) // strides[axis] + reach // strides[axis] + 2)
        else:
            slab = slab * dim_max(0, (target_extent - 1) * strides[axis] + reach + 1)
    panels = ceil_div(target[2] // groups, tile.columns)
    steps = source[2] // groups * taps
    phases = strides[0] * strides[1] if backward else 1
    tables = align_up(steps * 8) + align_up(target[1] * (block_rows * 16)) + align_up((phases + 2) * 16)
    packed = 0 if spec.packed else align_up(steps * panels * (groups * tile.columns * size))
    stride = ceil_div(target[2], tile.columns) + (1 if groups > 1 else 0)
    values = stride * target[1] * (block_rows * tile.columns * size)
    if spec.narrow:
        pixels = target[1] * block_rows
        tables = tables + align_up(row_slack(tile)) + narrow_tables(pixels, target[2], tile)
        values = align_up((pixels + 1) * target[2] * size) + 64
    return REPORT_BYTES + tables + packed + align_up(slab * size) + values


def _as_int(dim: Dim) -> int:
    if not isinstance(dim, int):
        raise TypeError(f"strides, padding, dilation, groups and kernel size of a convolution are integers; got {dim}")
    return dim
