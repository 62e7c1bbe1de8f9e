"""Sizes of the drivers of convolutions: run-time extents, blocks, work items and private memory.

Forward passes, input gradients and kernel gradients, depthwise ones too, read the same extents first
(`contraction_convolution`, `contraction_kernel_gradient` and the `depthwise` modules have the drivers).
"""

from __future__ import annotations

from compiler.codegen.contraction_driver import REPORT_BYTES
from compiler.codegen.contraction_ir import element_bytes
from compiler.codegen.contraction_narrow import narrow_tables, row_slack
from compiler.codegen.contraction_types import ImageUnits
from compiler.codegen.microkernel_tile import Tile
from compiler.contractions import ContractionSpec, ConvolutionGeometry
from runtime.dimensions import Dim, align_up, ceil_div, dim_max, is_at_most

__all__ = [
    "BLOCK_EXTENTS",
    "CONVOLUTION_EXTENTS",
    "GATHERING_EXTENTS",
    "SLAB_COPY",
    "SUMMING_EXTENTS",
    "convolution_extents",
    "gathering_extents",
    "gathering_scratch",
    "gathering_units",
    "gathering_work",
    "summing_extents",
]

GATHERING_EXTENTS, SUMMING_EXTENTS = 19, 18

# Names in a driver's source for what `convolution_extents` gives; then those of blocks of rows.
CONVOLUTION_EXTENTS = """\
    images = extents[0]
    kernel_height = extents[7]
    kernel_width = extents[8]
    stride_y = extents[9]
    stride_x = extents[10]
    padding_top = extents[11]
    padding_left = extents[12]
    dilation_y = extents[13]
    dilation_x = extents[14]
    groups = extents[15]"""

BLOCK_EXTENTS = f"""\
{CONVOLUTION_EXTENTS}
    block_rows = extents[16]
    taps = kernel_height * kernel_width"""

# Copies `slab_rows` source rows, from `source_row` of the image at `source` on, into `slab`: `pitch` pixels each, zeros
# where there is no source. `slab_pixel`: bytes from one pixel to the next there, `pixel` or more.
SLAB_COPY = """\
left = min(max(0, -first_x), pitch)
middle = max(0, min(source_width - max(0, first_x), pitch - left))
together = middle if slab_pixel == pixel and middle > 0 else 1
for slab_row in range(slab_rows):
    destination = slab + slab_row * pitch * slab_pixel
    row = source_row + slab_row
    if row < 0 or row >= source_height:
        fill_zero(destination, pitch * slab_pixel // ELEMENT)
    else:
        fill_zero(destination, left * slab_pixel // ELEMENT)
        copy_rows(destination + left * slab_pixel, slab_pixel,
                  source + (row * source_width + max(0, first_x)) * pixel, pixel, middle // together,
                  source_channels * together)
        fill_zero(destination + (left + middle) * slab_pixel, (pitch - left - middle) * slab_pixel // ELEMENT)"""

# Target pixels of a work item: some forty tiles, so that a last partial tile costs little. In a kernel gradient pixels
# are the steps of a sum: with twice as many, the input of a block outgrows the first-level cache. With a few images
# blocks are small, and take no longer together (one image, one Zen 3 core, minima: a convolutional autoencoder 130 us
# with 256 pixels, 126 with 64; ResNet-20's first layer 14 and 14): two cores are never equally fast, and the one that
# is waited for holds one item.
ITEM_PIXELS = 256
FEW_IMAGES, FEW_IMAGES_PIXELS = 2, 64
GRADIENT_PIXELS = 128
# Rows of a work item where the image's extents are known at run time only.
SYMBOLIC_ROWS = 8


# Parts of the result's channels, a work item each, where there are hardly any blocks: as many threads have work in a
# prediction for one image. A part should fill a panel. Measured (minima, one Zen 3 core): half of the items take 0.53
# to 0.6 of the time of all, and all take as long as one item of all channels. One image on two cores, enough being 4,
# 8 or 16: a small CNN 246, 243, 250 us, ResNet-20 522, 512, 512, a convolutional autoencoder 121, 128, 124 (medians,
# in turn, each within the noise of the others): what is cut finer only waits less for a slower core.
ENOUGH_ITEMS = 16
PART_CHANNELS = 16


def convolution_extents(geometry: ConvolutionGeometry, *blocks: Dim) -> tuple[Dim, ...]:
    """All kinds: input shape, output height, width and channels, kernel size, strides, low padding, dilation, groups;
    then `blocks`, a driver's own: here rows of a block, and images of a block or, in a gathering convolution, parts
    that the result's channels are in and blocks of an image.
    """
    _, output_height, output_width, filters = geometry.output_shape
    (top, _), (left, _) = geometry.padding
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
        *blocks,
    )


def gathering_extents(geometry: ConvolutionGeometry, *, backward: bool, whole: bool) -> tuple[Dim, ...]:
    """Of a forward pass or input gradient; `whole`: the result's channels are in one part."""
    images, height, width, channels = geometry.input_shape if backward else geometry.output_shape
    multiple = geometry.strides[0] if backward else 1
    rows = _block_rows(height, width, ITEM_PIXELS, multiple)
    blocks = ceil_div(height, rows)
    if whole or not isinstance(height, int) or not isinstance(blocks, int):
        return convolution_extents(geometry, rows, 1, blocks)
    fewer_rows = _block_rows(height, width, FEW_IMAGES_PIXELS, multiple)
    more_blocks = -(-height // fewer_rows)
    is_few = is_at_most(images, FEW_IMAGES)
    most = channels // PART_CHANNELS if geometry.groups == 1 and isinstance(channels, int) else 1
    return convolution_extents(
        geometry,
        rows - is_few * (rows - fewer_rows),
        _parts_of_blocks(images, more_blocks, most),
        blocks + is_few * (more_blocks - blocks),
    )


def _parts_of_blocks(images: Dim, image_blocks: int, most: int) -> Dim:
    """In how many parts a block is cut, so that there are enough items: at most so many, and fewer, the more images."""
    enough = -(-ENOUGH_ITEMS // max(image_blocks, 1))  # so many images have blocks enough
    first = min(most, enough)
    return dim_max(1, first - (images - 1) * (first - 1) // (enough - 1)) if first > 1 else 1


def summing_extents(geometry: ConvolutionGeometry) -> tuple[Dim, ...]:
    """Of a kernel gradient: a block is several whole images where they are smaller than the pixels it should have."""
    _, height, width, _ = geometry.output_shape
    images = 1
    if isinstance(height, int) and isinstance(width, int):
        images = max(1, GRADIENT_PIXELS // (max(height, 1) * max(width, 1)))
    return convolution_extents(geometry, _block_rows(height, width, GRADIENT_PIXELS), images)


def _block_rows(height: Dim, width: Dim, pixels: int, multiple: int = 1) -> int:
    """Rows of a block of about so many pixels: blocks of an image are equal, but for what `multiple` asks."""
    if not isinstance(height, int) or not isinstance(width, int):
        return -(-SYMBOLIC_ROWS // multiple) * multiple
    height, width = max(height, 1), max(width, 1)
    blocks = -(-height * width // (pixels + pixels // 4))
    rows = -(-height // blocks)
    return -(-rows // multiple) * multiple


def gathering_work(extents: tuple[Dim, ...]) -> Dim:
    """Parts of blocks of rows of all images."""
    return extents[0] * extents[17] * extents[18]


def gathering_units(spec: ContractionSpec, extents: tuple[Dim, ...], items: Dim) -> ImageUnits:
    """How work items make up images; `ValueError` where their number is not one for each image."""
    images = extents[0]
    if items != images * (items // images):
        raise ValueError(f"the {items} work items of a {spec.kind} are not a number for each of {images} images")
    return ImageUnits(1, items // images, images, items)


def gathering_scratch(spec: ContractionSpec, extents: tuple[Dim, ...], tile: Tile, *, backward: bool) -> Dim:
    """Bytes of tables, packed kernel, slab and one tile of results."""
    size = element_bytes(tile.dtype)
    source, target = (extents[4:7], extents[1:4]) if backward else (extents[1:4], extents[4:7])
    kernel = [_as_int(extent) for extent in extents[7:9]]
    strides = [_as_int(extent) for extent in extents[9:11]]
    dilation = [_as_int(extent) for extent in extents[13:15]]
    groups, rows = _as_int(extents[15]), extents[16]
    taps = kernel[0] * kernel[1]
    slab: Dim = source[2]
    for axis, target_extent in enumerate((rows, target[1])):
        reach = (kernel[axis] - 1) * dilation[axis]
        if backward:
            slab = slab * ((target_extent + strides[axis] - 1) // strides[axis] + reach // strides[axis] + 2)
        else:
            slab = slab * dim_max(0, (target_extent - 1) * strides[axis] + reach + 1)
    panels = ceil_div(target[2] // groups, tile.columns)
    steps = source[2] // groups * taps
    phases = strides[0] * strides[1] if backward else 1
    tables = align_up(steps * 8) + align_up(target[1] * (rows * 16)) + align_up((phases + 2) * 16)
    packed = 0 if spec.packed else align_up(steps * panels * (groups * tile.columns * size))
    stride = ceil_div(target[2], tile.columns) + (1 if groups > 1 else 0)
    values = stride * target[1] * (rows * tile.columns * size)
    if spec.narrow:
        pixels = target[1] * rows
        tables = tables + align_up(row_slack(tile)) + narrow_tables(pixels, target[2], tile)
        values = align_up((pixels + 1) * target[2] * size) + 64
    return REPORT_BYTES + tables + packed + align_up(slab * size) + values


def _as_int(dim: Dim) -> int:
    if not isinstance(dim, int):
        raise TypeError(f"strides, padding, dilation, groups and kernel size of a convolution are integers; got {dim}")
    return dim
