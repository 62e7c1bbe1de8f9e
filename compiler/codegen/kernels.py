"""A fused group -> source, run-time sizes, work items and scratch memory, for the CPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from compiler.codegen.contraction import (
    Epilogue,
    ImageTail,
    contraction_extents,
    contraction_fills,
    contraction_keeps,
    contraction_scratch,
    contraction_source,
    contraction_work,
    extent_count,
    image_units,
    specialised,
)
from compiler.codegen.contraction_driver import bare_kernel_source
from compiler.codegen.cpu import NOTHING_SHARED, CpuPrinter, memory_dtype, print_loop_kernel
from compiler.codegen.generated import GENERATED
from compiler.codegen.microkernel_tile import Tile, choose_tile
from compiler.contractions import CONTRACTION_DTYPES, Contraction, ContractionSpec, SeparableGeometry
from compiler.ir import Fusion, Graph, Node, Op
from compiler.loops import INDEX, ContractionKernel, Expr, Kernel, Store, binary, literal
from compiler.lower import lower_group
from compiler.target import Target
from compiler.types import TensorType, item_size
from runtime.dimensions import Dim, align_up, ceil_div

NO_NAMES: Mapping[str, object] = {}


@dataclasses.dataclass(frozen=True, slots=True)
class CpuKernel:
    """Everything needed to compile and call one kernel.

    `identity` goes into the cache key beside the source: what the source's names stand for. `fills` and `keeps` are
    those of `runtime.program.Instruction`. `spec`: what specialises a contraction. `tile`: the register tile, where
    there is one.
    """

    source: str
    namespace: Mapping[str, object]
    identity: str
    extents: tuple[Dim, ...]
    work: Dim
    scratch: Dim
    fills: bool = False
    keeps: bool = False
    spec: ContractionSpec | None = None
    tile: Tile | None = None


def cpu_kernel(body: Graph, target: Target, shared: Mapping[int, int] = NOTHING_SHARED) -> CpuKernel:
    """The CPU kernel of a fused group; `shared` names operands that are the memory of an earlier one."""
    factors = next((n for n in body.nodes if n.op.fusion is Fusion.CONTRACTION), None)
    if (generated := next((n for n in body.nodes if n.op.fusion is Fusion.GENERATED), None)) is not None:
        return _generated(generated, body, target)
    found = None
    if factors is not None:
        found = contraction_of(factors.op, tuple(v.type for v in (*factors.inputs, *factors.outputs)))
    kernel: Kernel = lower_group(body, contraction_kernels=found is not None)
    if isinstance(kernel, ContractionKernel):
        assert found is not None
        return _contraction(kernel, found, target, shared)
    printed = print_loop_kernel(kernel, shared)
    return CpuKernel(printed.source, NO_NAMES, "loops", printed.extents, kernel.work, printed.scratch)


def _generated(node: Node, body: Graph, target: Target) -> CpuKernel:
    """The kernel of an op that has a generator of its own."""
    generator = GENERATED[node.op.name]
    tile = choose_tile(generator.dtype, target)
    inputs = [value.type for value in node.inputs]
    places = {value.index: len(inputs) + i for i, (_, value) in enumerate(body.outputs)}
    source = bare_kernel_source(tile, generator.driver(tile))
    identity = f"{node.op.name} lanes={tile.lanes} registers={target.vector_registers}"
    extents = generator.extents(node.op, inputs, places)
    work, scratch = generator.work(node.op, inputs, tile), generator.scratch(node.op, inputs, tile)
    return CpuKernel(source.source, source.namespace, identity, extents, work, scratch, keeps=True, tile=tile)


def contraction_of(op: Op, types: tuple[TensorType, ...]) -> Contraction | None:
    """What the contraction generator is asked for; None where an op of these types is plain loops."""
    return op.contraction(types) if types[0].dtype in CONTRACTION_DTYPES else None


def _contraction(
    kernel: ContractionKernel, found: Contraction, target: Target, shared: Mapping[int, int]
) -> CpuKernel:
    geometry = found.geometry
    spec = specialised(found.spec, geometry, target)
    if isinstance(geometry, SeparableGeometry):
        columns = choose_tile(spec.dtype, target).columns
        spec = dataclasses.replace(spec, direct=_stores_what_it_gets(kernel) and geometry.filters % columns == 0)
    own = contraction_extents(spec, geometry, whole=bool(kernel.images))
    work, scratch = contraction_work(spec, own, target), contraction_scratch(spec, own, target)
    extents = own + kernel.extents
    if kernel.images:
        units = image_units(spec, own, work)
        rows, scratch = _scratch_rows(kernel.scratch_rows, align_up(scratch, 64))
        extents, work = (*extents, *units.extents, *rows), ceil_div(units.images, units.unit_images)
    source = contraction_source(spec, target, _epilogue(kernel, spec, shared))
    identity = f"{spec} lanes={target.lanes(spec.dtype)} registers={target.vector_registers}"
    fills, keeps = contraction_fills(spec, geometry), contraction_keeps(spec, geometry)
    tile = choose_tile(spec.dtype, target)
    return CpuKernel(source.source, source.namespace, identity, extents, work, scratch, fills, keeps, spec, tile)


def _stores_what_it_gets(kernel: ContractionKernel) -> bool:
    """Whether the tail stores each finished element as it is, once, and nothing follows."""
    match kernel.tail:
        case (Store(value=value),):
            return value == kernel.value and not kernel.images
    return False


def _scratch_rows(rows: Sequence[tuple[str, Dim]], start: Dim) -> tuple[list[Dim], Dim]:
    """Where private rows lie one behind the other, and where they end."""
    places: list[Dim] = []
    for dtype, length in rows:
        places.append(start)
        start = align_up(start + length * item_size(dtype), 64)
    return places, start


def _epilogue(kernel: ContractionKernel, spec: ContractionSpec, shared: Mapping[int, int]) -> Epilogue:
    printer = CpuPrinter(kernel.operands, kernel.extents, extent_count(spec), shared, _aliases(kernel, spec))
    extra = range(2, len(kernel.operands))
    pointers = printer.pointers(extra)
    prelude = [*pointers, *printer.sizes(), *printer.block(kernel.head)]
    tail = printer.block(kernel.tail)

    def body(value: str, row: str, column: str) -> list[str]:
        # Short assignments bind the driver's names to the tail's; LLVM removes them.
        names = ((kernel.value.name, value), (kernel.row.name, row), (kernel.column.name, column))
        return [f"{inner} = {outer}" for inner, outer in names if inner != outer] + tail

    streams = tuple((i, item_size(kernel.operands[i].dtype)) for i in kernel.streams)
    if not kernel.images:
        return Epilogue(body, prelude, streams=streams)
    return Epilogue(body, prelude, streams=streams, images=_image_tail(kernel, spec, printer, prelude))


def _image_tail(
    kernel: ContractionKernel, spec: ContractionSpec, printer: CpuPrinter, prelude: list[str]
) -> ImageTail:
    """What runs when images are stored; the sizes of units and the places of private rows follow the tail's extents."""
    first = len(kernel.extents)
    names = [f"n{first + i}" for i in range(5 + len(kernel.scratch_rows))]
    prelude += [f"{name} = extents[{extent_count(spec) + first + i}]" for i, name in enumerate(names)]
    for i, (dtype, _) in enumerate(kernel.scratch_rows):
        prelude.append(f"s{i} = private_{memory_dtype(dtype)}(scratch + {names[5 + i]})")
    unit_items, item_lines, image_lines, images, items = names[:5]
    return ImageTail(printer.block(kernel.images), (unit_items, item_lines, image_lines, images, items))


def _aliases(kernel: ContractionKernel, spec: ContractionSpec) -> dict[Expr, str]:
    """A narrow kernel runs along the flat result; its tail must see that neighbours lie beside each other."""
    columns = kernel.types[-1].shape[-1]
    if not spec.narrow or not isinstance(columns, int):
        return {}
    return {binary("add", binary("multiply", kernel.row, literal(columns, INDEX)), kernel.column): "place"}
