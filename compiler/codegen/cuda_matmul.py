"""A matrix product in square tiles through shared memory, with the fused tail on each finished element.

Each block takes one tile of the result at a time. Its threads load one element of each factor's tile, wait for
one another, and every thread adds `tile` products to its own element (NVIDIA, CUDA C++ Programming Guide,
"Shared Memory"). A factor that is stored transposed is read along its memory too, and turned in shared memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from compiler.codegen.cpu import INDENT
from compiler.loops import ContractionKernel
from compiler.ops.contraction import Matmul
from compiler.types import TensorType, product
from runtime.dimensions import Dim, ceil_div


@dataclasses.dataclass(frozen=True, slots=True)
class PrintedMatmul:
    """A product's sizes (rows, depth, columns), its number of tiles, and the loads of its factors."""

    sizes: tuple[Dim, Dim, Dim]
    tiles: Dim
    tile: int
    dtype: str
    left: str
    right: str

    def lines(self, head: Sequence[str], tail: Sequence[str]) -> list[str]:
        """The kernel's lines around the tail's, which read `row0`, `column0` and `value`."""
        tile, above = self.tile, self.tile - 1
        shared = f"cuda.shared.array(({tile}, {tile}), {self.dtype})"
        return [
            f"left = {shared}",
            f"right = {shared}",
            "x = cuda.threadIdx.x",
            "y = cuda.threadIdx.y",
            "rows = n0",
            "depth = n1",
            "columns = n2",
            f"across = (columns + {above}) // {tile}",
            f"down = (rows + {above}) // {tile}",
            *head,
            "for place in range(cuda.blockIdx.x, work, cuda.gridDim.x):",
            *indented(
                "batch = place // (down * across)",
                f"top = place // across % down * {tile}",
                f"side = place % across * {tile}",
                f"total = {self.dtype}(0.0)",
                f"for first in range(0, depth, {tile}):",
                *indented(
                    *self.left.splitlines(),
                    *self.right.splitlines(),
                    "cuda.syncthreads()",
                    f"for k in range({tile}):",
                    INDENT + "total = total + left[y, k] * right[k, x]",
                    "cuda.syncthreads()",
                ),
                "if top + y < rows and side + x < columns:",
                *indented("row0 = batch * rows + top + y", "column0 = side + x", "value = total", *tail),
            ),
        ]


def print_matmul(kernel: ContractionKernel, tile: int) -> PrintedMatmul:
    """A matrix product whose extents are all read at run time, so that layers share the code.

    Raises:
        TypeError: if the kernel is another contraction.
    """
    if not isinstance(kernel.op, Matmul):
        raise TypeError(f"only matrix products are tiled; '{kernel.op.name}' is lowered to loops.")
    if (kernel.row.name, kernel.column.name, kernel.value.name) != ("row0", "column0", "value"):
        raise TypeError(f"the tail of '{kernel.op.name}' reads other names than the tiled product gives.")
    a, b, result = kernel.types
    sizes, batch = _sizes(kernel.op, a, b, result)
    rows, _, columns = sizes
    return PrintedMatmul(
        sizes=sizes,
        tiles=ceil_div(rows, tile) * ceil_div(columns, tile) * batch,
        tile=tile,
        dtype=a.dtype,
        left=_load_left(kernel.op.transpose_a, a.dtype),
        right=_load_right(kernel.op.transpose_b, b.rank > 2, b.dtype),
    )


def _sizes(op: Matmul, a: TensorType, b: TensorType, result: TensorType) -> tuple[tuple[Dim, Dim, Dim], Dim]:
    """Rows, depth and columns, and the number of products."""
    depth = a.shape[-2] if op.transpose_a else a.shape[-1]
    rows, columns, batch = result.shape[-2], result.shape[-1], product(result.shape[:-2])
    if b.rank == 2 and not op.transpose_a:
        return (rows * batch, depth, columns), 1  # one right factor for all: the batch is just more rows
    return (rows, depth, columns), batch


def _load_left(transposed: bool, dtype: str) -> str:
    """left[y, k]: the row `top + y` of the left factor."""
    if transposed:
        return _load("left[x, y]", "top + x < rows and first + y < depth",
                     "p0[(batch * depth + first + y) * rows + top + x]", dtype)  # fmt: skip
    return _load("left[y, x]", "top + y < rows and first + x < depth",
                 "p0[(batch * rows + top + y) * depth + first + x]", dtype)  # fmt: skip


def _load_right(transposed: bool, batched: bool, dtype: str) -> str:
    """right[k, x]: the column `side + x` of the right factor."""
    if transposed:
        line = "batch * columns + side + y" if batched else "side + y"
        return _load("right[x, y]", "side + y < columns and first + x < depth",
                     f"p1[({line}) * depth + first + x]", dtype)  # fmt: skip
    line = "batch * depth + first + y" if batched else "first + y"
    return _load("right[y, x]", "first + y < depth and side + x < columns",
                 f"p1[({line}) * columns + side + x]", dtype)  # fmt: skip


def _load(place: str, inside: str, element: str, dtype: str) -> str:
    return f"{place} = {dtype}(0.0)\nif {inside}:\n{INDENT}{place} = {element}"


def indented(*lines: str) -> list[str]:
    """Lines one level deeper."""
    return [INDENT + line for line in lines]
