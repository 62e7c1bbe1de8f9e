"""Prints the kernel IR as numba.cuda source: plain Python that a person can read.

    def kernel(p0, p1, n0, work):
        for item0 in range(cuda.grid(1), work, cuda.gridsize(1)):
            v0 = p0[item0]
            p1[item0] = exp_float32(v0)

Arguments are the operands as flat device arrays, the run-time sizes, and the number of work items. Loops over
work items stride over the grid, so that any grid gives the right result. Scalar functions are those of
`compiler.codegen.cuda_math`; literals carry their dtype. Nothing here imports Numba.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from compiler.codegen.cpu import INDENT, CpuPrinter
from compiler.codegen.cuda_matmul import print_matmul
from compiler.codegen.cuda_schedule import combined_in, item_loop, lower_for_cuda, wants_blocks
from compiler.ir import Graph
from compiler.loops import (
    BEGIN,
    ContractionKernel,
    Expr,
    Load,
    Local,
    Loop,
    LoopKernel,
    Operand,
    ScratchLoad,
    ScratchStore,
    Statement,
    Store,
    literal,
)
from runtime.dimensions import Dim

POSITIONS = {"index_floor_divide": "//", "index_remainder": "%"}


@dataclasses.dataclass(frozen=True, slots=True)
class LaunchLimits:
    """Shapes of the grids that kernels are printed for and launched with.

    `threads` is the length of a one-dimensional block, a power of two; `tile` the edge of the square blocks of
    matrix products; `blocks` the most blocks of one launch: work beyond them is strided over.
    """

    threads: int = 128
    blocks: int = 4096
    tile: int = 16

    def __post_init__(self) -> None:
        if self.threads < 1 or self.threads & (self.threads - 1):
            raise ValueError(f"threads of a block must be a power of two. Received: threads={self.threads}")
        if self.blocks < 1 or not 1 <= self.tile <= 32:
            raise ValueError(
                f"blocks must be positive and tile within 1..32. Received: blocks={self.blocks}, tile={self.tile}"
            )


@dataclasses.dataclass(frozen=True, slots=True)
class CudaKernel:
    """Source of a kernel and what a launch needs to know.

    `work` counts work items; a block of shape `block` takes `items_per_block` of them at once. `extents` are
    the run-time sizes, in the order of the arguments.
    """

    source: str
    operands: tuple[Operand, ...]
    extents: tuple[Dim, ...]
    work: Dim
    block: tuple[int, ...]
    items_per_block: int


class CudaPrinter(CpuPrinter):
    """Prints statements: names and literals as for the CPU, arrays in the place of pointers."""

    def block(self, statements: Sequence[Statement], depth: int = 0) -> list[str]:
        """Statements as lines, indented by `depth` levels."""
        lines: list[str] = []
        for statement in statements:
            if isinstance(statement, ScratchStore):
                raise TypeError("scratch rows are a schedule of the CPU: lower the group with lower_for_cuda.")
            if isinstance(statement, Loop) and statement.start == BEGIN:
                lines.extend(self.items(statement, depth))
            else:
                lines.extend(super().block([statement], depth))
        return lines

    def items(self, loop: Loop, depth: int) -> list[str]:
        """The loop over work items, one a thread at a time."""
        head = f"for {loop.index.name} in range(cuda.grid(1), work, cuda.gridsize(1)):"
        return [INDENT * depth + head, *self.block(loop.body, depth + 1)]

    def expression(self, expression: Expr) -> str:
        """An expression as Python source."""
        match expression:
            case Load(operand=operand, index=index):
                return f"p{operand}[{self.expression(index)}]"
            case ScratchLoad():
                raise TypeError("scratch rows are a schedule of the CPU: lower the group with lower_for_cuda.")
        return super().expression(expression)

    def call(self, dtype: str, function: str, arguments: Sequence[Expr]) -> str:
        """A scalar function applied to expressions."""
        if function == "select":
            condition, chosen, otherwise = map(self.expression, arguments)
            return f"({chosen} if {condition} else {otherwise})"
        return super().call(dtype, function, arguments)

    def _joined(self, dtype: str, function: str, left: str, right: str) -> str:
        if function in POSITIONS:
            return f"({left} {POSITIONS[function]} {right})"
        return super()._joined(dtype, function, left, right)


class BlockPrinter(CudaPrinter):
    """Prints kernels whose work items are shared by the threads of a block.

    All threads compute the scalars of an item; loops directly inside it are dealt out to the threads, whose
    partial results then meet in shared memory; results are stored by the first thread, after all have read
    what it may overwrite.
    """

    threads: int = 0

    def items(self, loop: Loop, depth: int) -> list[str]:
        """The loop over work items, one a block at a time."""
        pad = INDENT * depth
        lines = [f"{pad}for {loop.index.name} in range(cuda.blockIdx.x, work, cuda.gridDim.x):"]
        stores: list[str] = []
        for statement in loop.body:
            if isinstance(statement, Store):
                stores.extend(self.block([statement], depth + 2))
                continue
            lines.extend(self._stored(stores, depth + 1))
            if isinstance(statement, Loop):
                lines.extend(self._dealt_out(statement, loop, depth + 1))
            else:
                lines.extend(self.block([statement], depth + 1))
        return lines + self._stored(stores, depth + 1)

    def shared(self, loop: Loop) -> list[str]:
        """Lines that declare the memory in which partial results meet."""
        inner = (statement for statement in loop.body if isinstance(statement, Loop))
        dtypes = sorted({entry.target.dtype for nested in inner for entry in combined_in(nested, loop)})
        return [f"shared_{dtype} = cuda.shared.array({self.threads}, {dtype})" for dtype in dtypes]

    def _stored(self, stores: list[str], depth: int) -> list[str]:
        if not stores:
            return []
        pad = INDENT * depth
        lines = [f"{pad}cuda.syncthreads()", f"{pad}if cuda.threadIdx.x == 0:", *stores]
        stores.clear()
        return lines

    def _dealt_out(self, loop: Loop, item: Loop, depth: int) -> list[str]:
        if loop.start != literal(0, "int64") or loop.step != 1:
            raise TypeError(f"a loop dealt out to threads starts at 0 and has step 1. Received: {loop}")
        pad = INDENT * depth
        bounds = f"cuda.threadIdx.x, {self.expression(loop.stop)}, {self.threads}"
        lines = [f"{pad}for {loop.index.name} in range({bounds}):", *self.block(loop.body, depth + 1)]
        for entry in combined_in(loop, item):
            lines.extend(pad + line for line in self._met(entry.target, entry.combine))
        return lines

    def _met(self, total: Local, combine: str) -> list[str]:
        """Lines that combine the threads' partial results; every thread then has the whole."""
        shared = f"shared_{total.dtype}"
        mine, other = f"{shared}[cuda.threadIdx.x]", f"{shared}[cuda.threadIdx.x + width]"
        return [
            f"{mine} = {total.name}",
            "cuda.syncthreads()",
            f"width = {self.threads // 2}",
            "while width > 0:",
            f"{INDENT}if cuda.threadIdx.x < width:",
            f"{INDENT * 2}{mine} = {self._joined(total.dtype, combine, mine, other)}",
            f"{INDENT}cuda.syncthreads()",
            f"{INDENT}width = width // 2",
            f"{total.name} = {shared}[0]",
            "cuda.syncthreads()",
        ]


def cuda_kernel(body: Graph, limits: LaunchLimits) -> CudaKernel:
    """The CUDA kernel of a fused group."""
    kernel = lower_for_cuda(body)
    if isinstance(kernel, ContractionKernel):
        return _matmul(kernel, limits)
    return _loops(kernel, limits)


def _loops(kernel: LoopKernel, limits: LaunchLimits) -> CudaKernel:
    in_blocks = wants_blocks(kernel)
    printer: CudaPrinter
    if in_blocks:
        printer = blocks = BlockPrinter(kernel.operands, kernel.extents)
        blocks.threads = limits.threads
        lines = blocks.shared(item_loop(kernel))
    else:
        printer = CudaPrinter(kernel.operands, kernel.extents)
        lines = []
    lines += printer.block(kernel.body)
    return CudaKernel(
        source=function_source(len(kernel.operands), len(kernel.extents), lines),
        operands=kernel.operands,
        extents=kernel.extents,
        work=kernel.work,
        block=(limits.threads,),
        items_per_block=1 if in_blocks else limits.threads,
    )


def _matmul(kernel: ContractionKernel, limits: LaunchLimits) -> CudaKernel:
    """A product in tiles; its own sizes come before those that the tail reads."""
    printed = print_matmul(kernel, limits.tile)
    extents = printed.sizes + kernel.extents
    printer = CudaPrinter(kernel.operands, extents)
    lines = printed.lines(printer.block(kernel.head), printer.block(kernel.tail))
    return CudaKernel(
        source=function_source(len(kernel.operands), len(extents), lines),
        operands=kernel.operands,
        extents=extents,
        work=printed.tiles,
        block=(limits.tile, limits.tile),
        items_per_block=1,
    )


def function_source(operands: int, extents: int, lines: Sequence[str]) -> str:
    """A kernel around its lines."""
    names = [f"p{i}" for i in range(operands)] + [f"n{i}" for i in range(extents)] + ["work"]
    return "\n".join([f"def kernel({', '.join(names)}):", *(INDENT + line for line in lines)]) + "\n"
