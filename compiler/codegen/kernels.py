"""A fused group -> source, run-time sizes, work items and scratch memory, for the CPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from compiler.codegen.contraction import (
    ContractionSpec,
    ConvolutionGeometry,
    Epilogue,
    Geometry,
    ImageTail,
    MatmulGeometry,
    contraction_extents,
    contraction_scratch,
    contraction_source,
    contraction_work,
    extent_count,
    image_units,
    specialised,
)
from compiler.codegen.cpu import NOTHING_SHARED, CpuPrinter, memory_dtype, print_loop_kernel
from compiler.ir import Fusion, Graph, Op
from compiler.loops import INDEX, ContractionKernel, Expr, Kernel, binary, literal
from compiler.lower import lower_group
from compiler.ops.contraction import Matmul
from compiler.ops.convolution import Convolution, ConvolutionInputGradient, ConvolutionKernelGradient, SlidingKernel
from compiler.ops.kernel_gradient_parts import ConvolutionKernelGradientParts
from compiler.ops.packed_convolution import PackedConvolution
from compiler.ops.spatial import Padding
from compiler.ops.winograd import WinogradConvolution, WinogradKernelGradient
from compiler.target import Target
from compiler.types import TensorType, item_size, product
from compiler.winograd import KERNEL
from runtime.dimensions import Dim, align_up, ceil_div

NO_NAMES: Mapping[str, object] = {}


@dataclasses.dataclass(frozen=True, slots=True)
class CpuKernel:
    """Everything needed to compile and call one kernel.

    `identity` goes into the cache key beside the source: what the source's names stand for. `fills`: whether each call
    fills private memory before it does its part of the work.
    """

    source: str
    namespace: Mapping[str, object]
    identity: str
    extents: tuple[Dim, ...]
    work: Dim
    scratch: Dim
    fills: bool = False


def cpu_kernel(body: Graph, target: Target, shared: Mapping[int, int] = NOTHING_SHARED) -> CpuKernel:
    """The CPU kernel of a fused group; `shared` names operands that are the memory of an earlier one."""
    factors = next((n for n in body.nodes if n.op.fusion is Fusion.CONTRACTION), None)
    tiled = factors is not None and has_micro_kernel(
        factors.op, tuple(v.type for v in (*factors.inputs, *factors.outputs))
    )
    kernel: Kernel = lower_group(body, contraction_kernels=tiled)
    if isinstance(kernel, ContractionKernel):
        return _contraction(kernel, target, shared)
    printed = print_loop_kernel(kernel, shared)
    return CpuKernel(printed.source, NO_NAMES, "loops", printed.extents, kernel.work, printed.scratch)


def has_micro_kernel(op: Op, types: tuple[TensorType, ...]) -> bool:
    """Whether the contraction generator takes an op; 3-D convolutions are plain loops."""
    if types[0].dtype not in ("float32", "float64"):
        return False
    if isinstance(op, (Matmul, PackedConvolution, WinogradConvolution, WinogradKernelGradient)):
        return True
    if not isinstance(op, SlidingKernel):
        return False
    return isinstance(_geometry(op, types), ConvolutionGeometry)


def _contraction(kernel: ContractionKernel, target: Target, shared: Mapping[int, int]) -> CpuKernel:
    op, types = _plain(kernel.op, kernel.types)
    geometry = _geometry(op, types)
    if geometry is None:
        raise TypeError(f"op '{op.name}' has no micro-kernel form.")
    packed = op is not kernel.op
    spec = specialised(dataclasses.replace(_spec(op, types), packed=packed), geometry, target)
    own = contraction_extents(spec, geometry, whole=bool(kernel.images))
    work, scratch = contraction_work(spec, own, target), contraction_scratch(spec, own, target)
    extents = own + kernel.extents
    if kernel.images:
        units = image_units(spec, own, work)
        rows, scratch = _scratch_rows(kernel.scratch_rows, align_up(scratch, 64))
        extents, work = (*extents, *units.extents, *rows), ceil_div(units.images, units.unit_images)
    source = contraction_source(spec, target, _epilogue(kernel, spec, shared))
    identity = f"{spec} lanes={target.lanes(spec.dtype)} registers={target.vector_registers}"
    return CpuKernel(source.source, source.namespace, identity, extents, work, scratch, spec.fills(geometry))


def _plain(op: Op, types: tuple[TensorType, ...]) -> tuple[Op, tuple[TensorType, ...]]:
    """What a packed convolution stands for, with the types of its two factors and its result; others as they are."""
    if not isinstance(op, PackedConvolution):
        return op, types
    return op.plain, (types[0], types[0].with_shape(*op.kernel), types[-1])


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


def _spec(op: Op, types: tuple[TensorType, ...]) -> ContractionSpec:
    dtype = types[0].dtype
    match op:
        case Matmul(transpose_a=transpose_a, transpose_b=transpose_b):
            return ContractionSpec("matmul", dtype, transpose_a, transpose_b)
        case Convolution():
            return ContractionSpec("depthwise" if _is_depthwise(op, types) else "convolution", dtype)
        case ConvolutionInputGradient():
            depthwise = _is_depthwise(op, types)
            return ContractionSpec("depthwise_input_gradient" if depthwise else "convolution_input_gradient", dtype)
        case ConvolutionKernelGradient():
            depthwise = _is_depthwise(op, types)
            return ContractionSpec("depthwise_kernel_gradient" if depthwise else "convolution_kernel_gradient", dtype)
        case ConvolutionKernelGradientParts():
            return ContractionSpec("convolution_kernel_gradient", dtype)
        case WinogradConvolution():
            return ContractionSpec("winograd_convolution", dtype)
        case WinogradKernelGradient():
            return ContractionSpec("winograd_kernel_gradient", dtype)
    raise TypeError(f"op '{op.name}' is no contraction.")


def _is_depthwise(op: SlidingKernel, types: tuple[TensorType, ...]) -> bool:
    """Whether each of several groups has one input channel."""
    kernel = types[2] if isinstance(op, ConvolutionKernelGradient) else types[1]
    return op.groups > 1 and kernel.shape[-2] == 1


def _geometry(op: Op, types: tuple[TensorType, ...]) -> Geometry | None:
    """Extents in the generator's terms; None for what it does not take."""
    a, b, result = types
    chunks = 1
    match op:
        case Matmul(transpose_a=transpose_a):
            depth = a.shape[-2] if transpose_a else a.shape[-1]
            batch = product(result.shape[:-2])
            rows = result.shape[-2]
            if b.rank == 2 and not transpose_a and a.rank > 2:
                # One right factor for all: the batch is just more rows.
                rows, batch = rows * batch, 1
            return MatmulGeometry(rows, depth, result.shape[-1], batch, a.rank > 2, b.rank > 2)
        case WinogradConvolution():
            return _winograd_geometry(a, result, op.padding)
        case WinogradKernelGradient():
            return _winograd_geometry(a, b, op.padding, op.chunks)
        case Convolution():
            image, kernel = a.shape, b.shape
        case ConvolutionInputGradient():
            image, kernel = result.shape, b.shape
        case ConvolutionKernelGradient():
            image, kernel = a.shape, result.shape
        case ConvolutionKernelGradientParts(kernel_spatial=spatial, chunks=parts):
            image, kernel, chunks = a.shape, (*spatial, *result.shape[-2:]), parts
        case _:
            return None
    if len(image) not in (3, 4) or not all(isinstance(extent, int) for extent in kernel):
        return None
    strides, padding, dilation = tuple(op.strides), tuple(op.padding), tuple(op.dilation)
    if len(image) == 3:
        image, kernel = (image[0], 1, *image[1:]), (1, *kernel)
        strides, padding, dilation = (1, *strides), ((0, 0), *padding), (1, *dilation)
    return ConvolutionGeometry(image, kernel, strides, padding, dilation, op.groups, chunks)  # type: ignore[arg-type]


def _winograd_geometry(x: TensorType, result: TensorType, padding: Padding, chunks: int = 1) -> ConvolutionGeometry:
    """That of the 3x3 convolution of images x with this result."""
    kernel = (KERNEL, KERNEL, x.shape[-1], result.shape[-1])
    return ConvolutionGeometry(x.shape, kernel, padding=padding, chunks=chunks)  # type: ignore[arg-type]
