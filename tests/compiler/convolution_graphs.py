"""Graphs of one convolution, for tests of passes that choose how it is computed."""

from __future__ import annotations

from compiler import functions as f
from compiler.ir import Builder, Graph
from compiler.ops.convolution import Convolution, ConvolutionInputGradient
from compiler.ops.spatial import Padding
from compiler.types import TensorType
from runtime.dimensions import Dim, symbol

SAME = ((1, 1), (1, 1))


def convolution(
    kernel: tuple[int, ...],
    spatial: tuple[Dim, ...],
    strides: tuple[int, ...] = (1, 1),
    padding: Padding = SAME,
    dilation: tuple[int, ...] = (1, 1),
    groups: int = 1,
    dtype: str = "float32",
    updated: bool = False,
) -> Graph:
    """y = convolution(x[batch, *spatial, channels], kernel); the kernel is a variable, which may get another value."""
    b = Builder("step")
    x = b.input("x", TensorType((symbol("batch"), *spatial, kernel[-2] * groups), dtype))
    w = b.variable("kernel", TensorType(kernel, dtype))
    b.output("y", b.emit(Convolution(strides, padding, dilation, groups), x, w))
    if updated:
        b.update("kernel", f.negative(b, w))
    return b.build()


def transposed_convolution(
    kernel: tuple[int, ...],
    spatial: tuple[int, ...],
    strides: tuple[int, ...] = (1, 1),
    padding: Padding = SAME,
    dilation: tuple[int, ...] = (1, 1),
    dtype: str = "float32",
) -> Graph:
    """x[batch, *spatial, channels] = the gradient of a convolution by its input, of g and a variable kernel."""
    b = Builder("step")
    op = ConvolutionInputGradient(spatial, strides, padding, dilation)
    g = b.input("g", TensorType((symbol("batch"), *op.outputs_of(spatial, kernel[:-2]), kernel[-1]), dtype))
    w = b.variable("kernel", TensorType(kernel, dtype))
    b.output("x", b.emit(op, g, w))
    return b.build()
