"""The driver of convolutions over NHWC images: the forward pass and the gradient with respect to the input.

Both gather: each *target* pixel sums over the kernel's taps and the *source* channels. The forward pass gathers x
into the result; the input gradient gathers the result's gradient into that of x, where stride s splits the
target pixels of each axis into s *phases*. Within a phase the taps that fall on a source pixel are the same for
all pixels, and neighbouring pixels read neighbouring source pixels, so that no zeros between dilated pixels are
ever multiplied (the sub-pixel decomposition of transposed convolution). Every tap belongs to exactly one phase.

Per call, once: a table of row offsets (target pixels), one of step offsets (taps and channels), and the kernel
packed into panels, phase by phase, if it does not come so (`compiler.passes.pack_kernels`). Per work item, a block of
target rows of one image: the source rows it needs are copied into a slab with zeros around it, or read in place where
nothing is padded; then every panel meets every tile of pixels.

A zero of the padding would turn an infinite or NaN weight into NaN where the convolution has no product at
all. So weights are checked as they are packed, and where one is not finite the sums run tap by tap, with the
padding left out.
"""

from __future__ import annotations

import functools
import textwrap

from compiler.codegen.contraction_driver import PREFETCH_STREAMS, Driver, kernel_source
from compiler.codegen.contraction_narrow import (
    NARROW_BACKWARD_PACK,
    NARROW_COMPUTE,
    NARROW_FORWARD_PACK,
    NARROW_STEPS,
    NARROW_TABLES,
    SECOND_HALF,
    is_narrow_convolution,
    row_slack,
)
from compiler.codegen.contraction_sizes import (
    BLOCK_EXTENTS,
    GATHERING_EXTENTS,
    SLAB_COPY,
    gathering_extents,
    gathering_scratch,
    gathering_units,
    gathering_work,
)
from compiler.codegen.contraction_types import ContractionSource, Epilogue, Generator, ImageUnits
from compiler.codegen.microkernel_tile import Tile
from compiler.contractions import ContractionSpec, ConvolutionGeometry
from runtime.dimensions import Dim

__all__ = ["ConvolutionGenerator"]


class ConvolutionGenerator(Generator[ConvolutionGeometry]):
    """x `[n, h, w, c]`, kernel `[kh, kw, c / groups, f]`; result `[n, oh, ow, f]`. Sizes are in `contraction_sizes`.

    `backward`: gradient of the result, kernel; result shaped as x. With the roles of the extents exchanged this is the
    transposed convolution. Packed: the kernel as panels, and after it a number that is finite where all of it is.
    """

    geometry = ConvolutionGeometry
    extent_count = GATHERING_EXTENTS
    forms = (frozenset({"narrow"}), frozenset({"packed"}))

    def __init__(self, *, backward: bool) -> None:
        self.backward = backward

    def is_narrow(self, spec: ContractionSpec, geometry: ConvolutionGeometry, tile: Tile) -> bool:
        """Where the result has few channels and the sum runs over whole vectors of them."""
        return is_narrow_convolution(geometry, tile, backward=self.backward)

    def fills(self, spec: ContractionSpec, geometry: ConvolutionGeometry) -> bool:
        """A call packs the kernel, unless it comes so."""
        return not spec.packed

    def extents(self, spec: ContractionSpec, geometry: ConvolutionGeometry, *, whole: bool = False) -> tuple[Dim, ...]:
        """Those of every convolution; parts that the result's channels are in, one if `whole`."""
        return gathering_extents(geometry, backward=self.backward, whole=whole)

    def work(self, spec: ContractionSpec, extents: tuple[Dim, ...], tile: Tile) -> Dim:
        """Parts of blocks of rows of all images."""
        return gathering_work(extents)

    def image_units(self, spec: ContractionSpec, extents: tuple[Dim, ...], items: Dim) -> ImageUnits:
        """An image is a number of items."""
        return gathering_units(spec, extents, items)

    def scratch(self, spec: ContractionSpec, extents: tuple[Dim, ...], tile: Tile) -> Dim:
        """Bytes of tables, packed kernel, slab and one tile of results."""
        return gathering_scratch(spec, extents, tile, backward=self.backward)

    def source(self, spec: ContractionSpec, tile: Tile, epilogue: Epilogue) -> ContractionSource:
        """The driver's source."""
        return kernel_source(tile, _driver(self.backward, spec.narrow, spec.packed, tile), epilogue)


@functools.cache
def _driver(backward: bool, narrow: bool, packed: bool, tile: Tile) -> Driver:
    if narrow:
        steps = NARROW_STEPS.format(pack=NARROW_BACKWARD_PACK if backward else NARROW_FORWARD_PACK)
        tables, compute = NARROW_TABLES, NARROW_COMPUTE
    else:
        steps = _STEPS + ("" if packed else _PACK.format(pack=_BACKWARD_PACK if backward else _FORWARD_PACK))
        tables, compute = "", _COMPUTE.format(prefetch=textwrap.indent(_PREFETCH, " " * 12))
    source = _SOURCE.format(
        extents=BLOCK_EXTENTS,
        geometry=_BACKWARD_GEOMETRY if backward else _FORWARD_GEOMETRY,
        tap=_BACKWARD_TAP if backward else _FORWARD_TAP,
        steps=steps,
        panels=_READY_PANELS if packed else _OWN_PANELS,
        weights=_FINITE if packed else _WEIGHTS,
        tables=tables,
        copy=textwrap.indent(SLAB_COPY, " " * 12),
        compute=compute,
        report_table="column_table" if narrow else "index_table",
    )
    constants = (("ROW_SLACK", row_slack(tile) if narrow else 0), ("SECOND_HALF", SECOND_HALF))
    return Driver(source, constants, 3 if backward else 6, indexed_rows=backward and not narrow, flat=narrow)


_FORWARD_GEOMETRY = """\
    source_height = extents[1]
    source_width = extents[2]
    source_channels = extents[3]
    target_height = extents[4]
    target_width = extents[5]
    target_channels = extents[6]
    phases_y = 1
    phases_x = 1
    step_y = stride_y
    step_x = stride_x
    first_y = -padding_top
    first_x = -padding_left
    last_y = (kernel_height - 1) * dilation_y - padding_top
    last_x = (kernel_width - 1) * dilation_x - padding_left"""

_BACKWARD_GEOMETRY = """\
    source_height = extents[4]
    source_width = extents[5]
    source_channels = extents[6]
    target_height = extents[1]
    target_width = extents[2]
    target_channels = extents[3]
    phases_y = stride_y
    phases_x = stride_x
    step_y = 1
    step_x = 1
    first_y = (padding_top - (kernel_height - 1) * dilation_y) // stride_y
    first_x = (padding_left - (kernel_width - 1) * dilation_x) // stride_x
    last_y = (stride_y - 1 + padding_top) // stride_y
    last_x = (stride_x - 1 + padding_left) // stride_x"""

# Where a tap falls relative to the first source pixel of a phase.
_FORWARD_TAP = """\
                tap_y = tap // kernel_width * dilation_y - padding_top
                tap_x = tap % kernel_width * dilation_x - padding_left"""

_BACKWARD_TAP = """\
                distance_y = phase_y + padding_top - tap // kernel_width * dilation_y
                distance_x = phase_x + padding_left - tap % kernel_width * dilation_x
                tap_y = distance_y // stride_y
                tap_x = distance_x // stride_x
                if tap_y * stride_y != distance_y or tap_x * stride_x != distance_x:
                    continue"""

_FORWARD_PACK = """\
                    weight = pointers[1] + (tap * group_source * target_channels + group * group_target) * ELEMENT
                    pack_columns(panel_address, panel_bytes, weight, target_channels * ELEMENT, group_source,
                                 group_target)"""

_BACKWARD_PACK = """\
                    weight = pointers[1] + (tap * group_target * source_channels + group * group_source) * ELEMENT
                    for panel in range(panels):
                        panel_rows = min(TILE_COLUMNS, group_target - panel * TILE_COLUMNS)
                        if panel_rows < TILE_COLUMNS:
                            fill_zero(panel_address + panel * panel_bytes, group_source * TILE_COLUMNS)
                        transpose_rows(panel_address + panel * panel_bytes, PANEL_STEP,
                                       weight + panel * TILE_COLUMNS * source_channels * ELEMENT,
                                       source_channels * ELEMENT, panel_rows, group_source)"""

_PREFETCH = f"""\
columns = target_channels
tile_rows = phase_pixels
tile_row = (image * target_height + y_begin) * target_width + first_pixel
if phases == 1:
{textwrap.indent(PREFETCH_STREAMS, "    ")}"""

_STEPS = """\
                for channel in range(group_source):
                    offsets[step + channel] = offset + channel * ELEMENT
"""

_PACK = """\
                for group in range(groups):
                    panel_address = packed + group * panels * panel_bytes + step * PANEL_STEP
{pack}"""

# Where the panels lie, and where the checks look for numbers that are not finite.
_OWN_PANELS = """\
    packed = phase_table + ((phases + 2) * 16 + 63) // 64 * 64
    slab = packed + (groups * panels * panel_bytes + 63) // 64 * 64"""

_READY_PANELS = """\
    packed = pointers[1]
    slab = phase_table + ((phases + 2) * 16 + 63) // 64 * 64"""

_WEIGHTS = "pointers[1], taps * group_source * target_channels"
_FINITE = "pointers[2], 1"

_COMPUTE = """\
    for column_panel in range(first_panel, last_panel):
        group = column_panel // panels
        panel = column_panel - group * panels
        group_base = base + group * group_source * ELEMENT
        column = group * group_target + panel * TILE_COLUMNS
        column_values = values + column * ELEMENT
        for phase in range(phases):
            step_begin = phase_table[phase * 2]
            steps = phase_table[phase * 2 + 2] - step_begin
            first_pixel = phase_table[phase * 2 + 1]
            phase_pixels = phase_table[phase * 2 + 3] - first_pixel
            phase_offsets = offsets + step_begin * 8
            phase_entries = row_table + first_pixel * 8
            panel_address = packed + column_panel * panel_bytes + step_begin * PANEL_STEP
            tile = column_values + first_pixel * stride
            written = tile
            written_row = stride
{prefetch}
            if checked:
                steps = 0
            next_source = micro_table_ahead(phase_pixels, group_base, phase_entries, phase_offsets, steps,
                                            panel_address, PANEL_STEP, tile, stride, 0, next_source,
                                            next_bytes // max(1, steps // FULL_UNROLL) + 1, written, written_row)
            if not checked:
                continue
            # One pixel and one tap at a time, the taps in the padding left out.
            steps = phase_table[phase * 2 + 2] - step_begin
            for tile_pixel in range(phase_pixels):
                for step in range(0, steps, group_source):
                    place = (phase_entries[tile_pixel] + phase_offsets[step]) // pixel
                    y = place // pitch + source_row
                    x = place % pitch + first_x
                    if y >= 0 and y < source_height and x >= 0 and x < source_width:
                        micro_table_ahead(1, group_base, phase_entries + tile_pixel * 8, phase_offsets + step * 8,
                                          group_source, panel_address + step * PANEL_STEP, PANEL_STEP,
                                          tile + tile_pixel * stride, stride, 1, next_source, 0, tile, stride)"""

_SOURCE = """\
def contract(pointers, extents, scratch, begin, end, item):
{extents}
{geometry}
    if target_width < 1:
        scratch[2] = 0
        return end
    group_source = source_channels // groups
    group_target = target_channels // groups
    panels = (group_target + TILE_COLUMNS - 1) // TILE_COLUMNS
    pixel = source_channels * ELEMENT
    phases = phases_y * phases_x
    phase_rows = (block_rows + phases_y - 1) // phases_y
    phase_columns = (target_width + phases_x - 1) // phases_x
    slab_height = (phase_rows - 1) * step_y + last_y - first_y + 1
    slab_width = (phase_columns - 1) * step_x + last_x - first_x + 1
    last_row = ((target_height + phases_y - 1) // phases_y - 1) * step_y + last_y
    in_place = first_y >= 0 and first_x >= 0 and last_row < source_height and first_x + slab_width <= source_width
    pitch = source_width if in_place else slab_width
    offsets = scratch + REPORT_BYTES
    index_table = offsets + (taps * group_source * 8 + 63) // 64 * 64
    row_table = index_table + block_rows * target_width * 8
    phase_table = index_table + (block_rows * target_width * 16 + ROW_SLACK + 63) // 64 * 64
    panel_bytes = taps * group_source * PANEL_STEP
{panels}
    slab_bytes = 0 if in_place else slab_height * slab_width * pixel
    values = slab + (slab_bytes + 63) // 64 * 64
    stride = (target_channels + TILE_COLUMNS - 1) // TILE_COLUMNS * PANEL_STEP
    if groups > 1:
        stride += PANEL_STEP
    place_table = values + (block_rows * target_width + 1) * target_channels * ELEMENT // 8 * 8 + 8
    column_table = place_table + (block_rows * target_width * 8 + ROW_SLACK + 63) // 64 * 64
    if item == begin:
        step = 0
        for phase in range(phases):
            phase_y = phase // phases_x
            phase_x = phase % phases_x
            phase_table[phase * 2] = step
            for tap in range(taps):
{tap}
                offset = ((tap_y - first_y) * pitch + tap_x - first_x) * pixel
{steps}
                step += group_source
        phase_table[phases * 2] = step
        phase_table[phases * 2 + 1] = 0
        phase_table[phases * 2 + 2] = 0
        if not in_place:
            phase_table[phases * 2 + 2] = has_nonfinite({weights})
    checked = phase_table[phases * 2 + 2]
    parts = extents[17]
    blocks = extents[18]
    block = item // parts
    part = item - block * parts
    first_panel = part * groups * panels // parts
    last_panel = (part + 1) * groups * panels // parts
    image = block // blocks
    y_begin = (block - image * blocks) * block_rows
    y_count = min(block_rows, target_height - y_begin)
    pixels = y_count * target_width
    if phase_table[phases * 2 + 1] != pixels:
        entry = 0
        for phase in range(phases):
            phase_table[phase * 2 + 1] = entry
            for y in range(phase // phases_x, y_count, phases_y):
                for x in range(phase % phases_x, target_width, phases_x):
                    index_table[entry] = y * target_width + x
                    row_table[entry] = (y // phases_y * step_y * pitch + x // phases_x * step_x) * pixel
                    entry += 1
        phase_table[phases * 2 + 1] = entry
{tables}
    source_row = y_begin // phases_y * step_y + first_y
    source = pointers[0] + image * source_height * source_width * pixel
    base = source + (source_row * source_width + first_x) * pixel
    if not in_place:
        base = slab
        if item == begin or part == 0:
            slab_rows = slab_height
            slab_pixel = pixel
{copy}
    # The next item's source rows follow these; ask for a slice of them with each tile.
    next_source = source + max(0, min(source_height, source_row + slab_height)) * source_width * pixel
    tiles = groups * panels * (pixels // TILE_ROWS + 1)
    next_bytes = phase_rows * step_y * source_width * pixel // max(1, tiles) + 1
{compute}
    first_column = first_panel * TILE_COLUMNS
    last_column = last_panel * TILE_COLUMNS
    if part + 1 == parts:
        last_column = target_channels
    scratch[0] = values + first_column * ELEMENT
    scratch[1] = stride // ELEMENT
    scratch[2] = pixels
    scratch[3] = last_column - first_column
    scratch[4] = (image * target_height + y_begin) * target_width
    scratch[5] = first_column
    scratch[6] = {report_table}
    return item + 1
"""
