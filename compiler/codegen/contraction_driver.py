"""What all contractions share: their native parts, and the text of the Numba kernel around their driver.

A kernel is two layers. The *driver* is a native function (see `contraction_native`): given the next work item it
packs, copies and computes the sums of one or more items into a block of scratch, leaves a report of where that
block lies at the head of the scratch, and returns the item to go on with. The *kernel*, compiled by Numba, runs
the epilogue over each such block while it is in the cache.
"""

from __future__ import annotations

import dataclasses
import functools
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from numba import types
from numba.extending import intrinsic

from compiler.codegen.attention_dropout_native import ATTENTION_DROPOUT_PARTS
from compiler.codegen.attention_gradient_native import ATTENTION_GRADIENT_PARTS
from compiler.codegen.attention_native import ATTENTION_PARTS
from compiler.codegen.contraction_assembly import (
    assembly_of,
    compile_to_assembly,
    make_native_intrinsic,
    make_pointer,
    make_private_pointer,
    pointer_to,
)
from compiler.codegen.contraction_ir import INT64, element_bytes
from compiler.codegen.contraction_native import translate
from compiler.codegen.contraction_packing import (
    emit_copy_rows,
    emit_fill_steps,
    emit_fill_zero,
    emit_has_nonfinite,
    emit_pack_panels,
    emit_prefetch,
    emit_transpose_rows,
    panel_slack,
)
from compiler.codegen.contraction_types import ContractionSource, Epilogue, ImageTail
from compiler.codegen.depthwise_lines import LINE_PARAMETERS, emit_gather_line
from compiler.codegen.depthwise_native import DEPTHWISE_PARTS
from compiler.codegen.microkernel import (
    FEW_REACH,
    emit_few_sums,
    emit_microkernel,
    few_name,
    few_parameters,
    micro_parameters,
)
from compiler.codegen.microkernel_dot import dot_rows, emit_dot_add, emit_dot_microkernel
from compiler.codegen.microkernel_finish import FINISH_PARAMETERS, emit_finishing_microkernel
from compiler.codegen.microkernel_flat import (
    FLAT_PARAMETERS,
    PANELS_PARAMETERS,
    emit_flat_microkernel,
    emit_panels_microkernel,
)
from compiler.codegen.microkernel_tile import FULL_UNROLL, Reach, Tile
from compiler.codegen.scalar_math import scalar_namespace
from compiler.codegen.winograd_transforms import (
    emit_fold_points,
    emit_gradient_transform,
    emit_image_transform,
    emit_result_transform,
)
from runtime.program import CONTINUED

__all__ = ["PREFETCH_STREAMS", "REPORT_BYTES", "Driver", "bare_kernel_source", "kernel_source", "tile_constants"]

# The report: address of the block, elements between its rows, rows, columns, first output row, first output
# column, address of the rows' indices. After it, for the driver to read: how many operands the epilogue streams
# through, and address and bytes of an element of each.
REPORT_BYTES = 128
MOST_STREAMS = 4

POINTER: Any = pointer_to("int64")

_PARAMETERS = ("pointers", "extents", "scratch", "begin", "end", "item")


@dataclasses.dataclass(frozen=True)
class Driver:
    """A native driver: its source, the constants it refers to beside the tile's, and what its report holds.

    `columns_extent`: which extent is the output's last one. `indexed_rows`: whether the rows of a block are
    listed in a table, rather than consecutive. `flat`: whether a block is a stretch of the output as it lies in memory,
    all columns of consecutive rows; the report then holds a table of the elements' columns,
    int32, in place of the rows'.
    """

    source: str
    constants: tuple[tuple[str, int], ...]
    columns_extent: int
    indexed_rows: bool = False
    flat: bool = False


# The output's cache lines that the tiles at `written`, `written_row` bytes from row to row, are to go to: what the
# micro-kernel asks for in their place, or here for all streams but the first. `tile_row` of `tile_rows` rows and column
# `column` of the whole output, `columns` wide.
PREFETCH_STREAMS = """\
for stream in range(scratch[7]):
    size = scratch[9 + 2 * stream]
    place = scratch[8 + 2 * stream] + (tile_row * columns + column) * size
    if stream > 0:
        prefetch_output(place, columns * size, tile_rows, TILE_COLUMNS * size)
        continue
    written = place
    written_row = columns * size"""


def tile_constants(tile: Tile) -> dict[str, int]:
    """The constants that drivers refer to."""
    size = element_bytes(tile.dtype)
    return {
        "ELEMENT": size,
        "TILE_ROWS": tile.rows,
        "TILE_COLUMNS": tile.columns,
        "PANEL_STEP": tile.columns * size,
        "STRIP_STEP": tile.rows * size,
        "STRIP_SLACK": panel_slack(size, tile.lanes, tile.rows),
        "REPORT_BYTES": REPORT_BYTES,
        "LANES": tile.lanes,
        "DOT_ROWS": dot_rows(tile),
        "FULL_UNROLL": FULL_UNROLL,
    }


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """A native function that drivers call: its number of arguments, what adds it to a module, a part that it calls."""

    arguments: int
    emit: Callable[[Any, Tile], None]
    needs: str = ""


def _micro(reach: Reach, *, ahead: bool = False) -> tuple[str, Part]:
    """`micro_rows` and so on; `micro_rows_ahead` where it asks for memory to be read."""
    name = f"micro_{reach}_ahead" if ahead else f"micro_{reach}"
    count = len(micro_parameters(reach, ahead=ahead))
    emit = functools.partial(emit_microkernel, name=name, reach=reach, ahead=ahead)
    return name, Part(count, emit, few_name(FEW_REACH[reach]))


def _few(reach: Reach) -> tuple[str, Part]:
    return few_name(reach), Part(len(few_parameters(reach)), functools.partial(emit_few_sums, reach=reach))


_MICRO = (
    _few("table"),
    _few("strided"),
    _micro("table"),
    _micro("table", ahead=True),
    _micro("runs"),
    _micro("rows"),
    _micro("rows", ahead=True),
    _micro("columns"),
    _micro("columns", ahead=True),
)
PARTS: Mapping[str, Part] = {
    **dict(_MICRO),
    "micro_flat": Part(
        len(FLAT_PARAMETERS), lambda module, tile: emit_flat_microkernel(module, tile, "micro_flat")
    ),
    "micro_panels": Part(
        len(PANELS_PARAMETERS), lambda module, tile: emit_panels_microkernel(module, tile, "micro_panels")
    ),
    "micro_finish": Part(
        len(FINISH_PARAMETERS), lambda module, tile: emit_finishing_microkernel(module, tile, "micro_finish")
    ),
    "micro_dot": Part(8, lambda module, tile: emit_dot_microkernel(module, tile, "micro_dot")),
    "dot_add": Part(4, lambda module, tile: emit_dot_add(module, tile, "dot_add")),
    "pack_columns": Part(6, lambda m, t: emit_pack_panels(m, t.dtype, t.lanes, t.columns, "pack_columns")),
    "pack_rows": Part(6, lambda m, t: emit_pack_panels(m, t.dtype, t.lanes, t.rows, "pack_rows")),
    "transpose_rows": Part(6, lambda m, t: emit_transpose_rows(m, t.dtype, t.lanes)),
    "copy_rows": Part(6, lambda m, t: emit_copy_rows(m, t.dtype, t.lanes)),
    "fill_steps": Part(3, lambda m, t: emit_fill_steps(m, t.dtype, t.lanes)),
    "fill_zero": Part(2, lambda m, t: emit_fill_zero(m, t.dtype, t.lanes)),
    "has_nonfinite": Part(2, lambda m, t: emit_has_nonfinite(m, t.dtype, t.lanes)),
    "prefetch_input": Part(4, lambda m, t: emit_prefetch(m, t.dtype, t.lanes, "prefetch_input", write=False)),
    "prefetch_output": Part(4, lambda m, t: emit_prefetch(m, t.dtype, t.lanes, "prefetch_output", write=True)),
    "image_transform": Part(11, lambda m, t: emit_image_transform(m, t.dtype, t.lanes)),
    "result_transform": Part(11, lambda m, t: emit_result_transform(m, t.dtype, t.lanes)),
    "gradient_transform": Part(11, lambda m, t: emit_gradient_transform(m, t.dtype, t.lanes)),
    "fold_points": Part(5, lambda m, t: emit_fold_points(m, t.dtype, t.lanes)),
    "gather_line": Part(len(LINE_PARAMETERS), emit_gather_line),
    **{name: Part(arguments, emit) for name, (arguments, emit) in DEPTHWISE_PARTS.items()},
    **{
        name: Part(arguments, emit)
        for parts in (ATTENTION_PARTS, ATTENTION_GRADIENT_PARTS, ATTENTION_DROPOUT_PARTS)
        for name, (arguments, emit) in parts.items()
    },
}


@functools.cache
def _part_assembly(tile: Tile, name: str) -> str:
    return compile_to_assembly(lambda module: PARTS[name].emit(module, tile), name)


@functools.cache
def _driver_assembly(tile: Tile, driver: Driver) -> str:
    """A driver with everything it calls."""
    constants = tile_constants(tile) | dict(driver.constants)
    called = [name for name in PARTS if f"{name}(" in driver.source]
    text = translate(driver.source, constants, {name: PARTS[name].arguments for name in called})
    needed = dict.fromkeys([*called, *filter(None, [PARTS[name].needs for name in called])])
    return "".join(_part_assembly(tile, name) for name in needed) + assembly_of(text, "driver")


@functools.cache
def _make_driver_intrinsic(tile: Tile, driver: Driver) -> Any:
    return make_native_intrinsic("contract", _PARAMETERS, lambda: _driver_assembly(tile, driver))


@intrinsic
def address_of(typing_context: Any, pointer: Any) -> Any:
    """The address that a pointer to int64 holds."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.ptrtoint(values[0], INT64)

    return types.int64(POINTER), generate


def kernel_source(tile: Tile, driver: Driver, epilogue: Epilogue) -> ContractionSource:
    """The Numba kernel: the driver's blocks, each followed by the epilogue over its elements."""
    body = textwrap.indent("\n".join(epilogue.body("value", "row", "column")), " " * (12 if driver.flat else 16))
    streams = list(epilogue.streams)[:MOST_STREAMS]
    stream_lines = [f"report[7] = {len(streams)}"]
    for index, (operand, size) in enumerate(streams):
        stream_lines += [f"report[{8 + 2 * index}] = pointers[{operand}]", f"report[{9 + 2 * index}] = {size}"]
    source = (_KERNEL + (_FLAT_BLOCK if driver.flat else _BLOCK)).format(
        tile=tile,
        driver=textwrap.indent(driver.source, "#     ", predicate=lambda line: True),
        streams=textwrap.indent("\n".join(stream_lines), "    "),
        prelude=textwrap.indent("\n".join(epilogue.prelude), "    "),
        opening=_OPENING,
        columns_extent=driver.columns_extent,
        row="first_row + row_indices[block_row]" if driver.indexed_rows else "first_row + block_row",
        indices="        row_indices = table_pointer(report[6])\n" if driver.indexed_rows else "",
        body=body,
        **_image_parts(epilogue.images),
    )
    namespace: dict[str, object] = {
        "contract": _make_driver_intrinsic(tile, driver),
        "address_of": address_of,
        "table_pointer": make_pointer("int64"),
        "private_pointer": make_private_pointer(tile.dtype),
        **epilogue.namespace,
    }
    return ContractionSource(source, {**namespace, **_FLAT_NAMES} if driver.flat else namespace)


def bare_kernel_source(tile: Tile, driver: Driver) -> ContractionSource:
    """The Numba kernel of a driver that stores its results itself: nothing but the loop over work items."""
    source = _BARE_KERNEL.format(
        tile=tile, driver=textwrap.indent(driver.source, "#     ", predicate=lambda line: True), opening=_OPENING
    )
    return ContractionSource(source, {"contract": _make_driver_intrinsic(tile, driver), "address_of": address_of})


# 32-bit, so that a table of them does not halve the vectors of a float32 epilogue.
_FLAT_NAMES: Mapping[str, object] = {
    "private_int32": make_private_pointer("int32"),
    **scalar_namespace(["cast_int32_int64"]),
}


def _image_parts(images: ImageTail | None) -> dict[str, str]:
    """The lines of a kernel whose work items are units of images.

    Images without pixels have no work items: they are counted instead, and `contract` is not called for them.
    """
    call = "        item = contract(address_of(pointers), address_of(extents), scratch, {begin}, {end}, item)\n"
    if images is None:
        return {
            "bounds": "", "begin": "start", "before": "", "end": "end", "images": "",
            "contract": call.format(begin="opened", end="end"),
        }  # fmt: skip
    unit_items, item_lines, image_lines, count, items = images.sizes
    # The division is 0 where there are no pixels.
    completed = f"minimum_int64(item * {item_lines} // {image_lines}, {count}) + empty * item"
    bounds = [
        f"empty = 1 - minimum_int64({image_lines}, 1)",
        f"first_item = start * ({unit_items} + empty * {item_lines})",
        f"last_item = minimum_int64(end * {unit_items}, {items})",
        f"last_item = last_item + empty * minimum_int64(end * {item_lines}, {count})",
        "report[2] = 0",
    ]
    contract = [
        "for turn in range(empty):",
        "    item = last_item",
        "for turn in range(1 - empty):",
        call.format(begin="first_item - continued", end="last_item").strip().join(("    ", "")),
    ]
    return {
        "bounds": textwrap.indent("\n".join(bounds) + "\n", " " * 4),
        "begin": "first_item",
        "end": "last_item",
        "before": f"        first_image = {completed}\n",
        "contract": textwrap.indent("\n".join(contract) + "\n", " " * 8),
        "images": textwrap.indent("\n".join([f"next_image = {completed}", *images.body]) + "\n", " " * 8),
    }


# What a driver keeps in private memory from item to item is there already where the thread's last call ended where this
# one begins: then its first item is not the one that it takes for the first.
_OPENING = f"""\
    continued = begin // {CONTINUED}
    start = begin - continued * {CONTINUED}
    opened = start - continued
"""

_BARE_KERNEL = """\
# Calls contract(), a native function for {tile}:
{driver}
def kernel(pointers, extents, scratch, begin, end):
{opening}\
    item = start
    while item < end:
        item = contract(address_of(pointers), address_of(extents), scratch, opened, end, item)
"""

_KERNEL = """\
# Calls contract(), a native function for {tile}:
{driver}
def kernel(pointers, extents, scratch, begin, end):
{opening}\
    output_columns = extents[{columns_extent}]
{prelude}
    report = table_pointer(scratch)
{streams}
{bounds}\
    item = {begin}
    while item < {end}:
{before}\
{contract}\
        values = private_pointer(report[0])
        block_columns = report[3]
        first_row = report[4]
"""

_BLOCK = """\
        stride = report[1]
        first_column = report[5]
{indices}\
        for block_row in range(report[2]):
            row = {row}
            first = block_row * stride
            for block_column in range(block_columns):
                column = first_column + block_column
                value = values[first + block_column]
{body}
{images}\
"""

_FLAT_BLOCK = """\
        columns_table = private_int32(report[6])
        for block_place in range(report[2] * block_columns):
            place = first_row * output_columns + block_place
            column = cast_int32_int64(columns_table[block_place])
            row = place // output_columns
            value = values[block_place]
{body}
{images}\
"""
