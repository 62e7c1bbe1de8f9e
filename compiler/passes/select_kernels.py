"""Choose among the forms of a convolution: Winograd's for 3x3 kernels, and kernel gradients that threads can share.

    %2 = convolution(%x, %w)        %1 = constant()                   [36, 9], the same for all of a graph
                                    %2 = reshape(%w)                  [9, channels * filters]
                              ->    %3 = matmul(%1, %2)
                                    %4 = reshape(%3)                  [36, channels, filters]
                                    %5 = winograd_convolution(%x, %4)

The gradient with respect to the input is the convolution with the turned kernel. That with respect to the kernel is
`winograd_kernel_gradient`, whose parts are added where they are read. The transforms of kernels are ordinary nodes,
computed once for all threads.

Only for float32, and only where `PassContext.winograd` allows it, since the results differ by rounding: with weights
and inputs drawn at random, the error is about twice that of direct sums (see `compiler.winograd`).

Other kernel gradients become `convolution_kernel_gradient_parts`, added in the same way, where the sum over pixels is
long enough. All of this is for the CPU.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from compiler import functions as f
from compiler.ir import Array, Builder, Graph, Node, Value
from compiler.ops.convolution import Convolution, ConvolutionInputGradient, ConvolutionKernelGradient
from compiler.ops.kernel_gradient_parts import ConvolutionKernelGradientParts
from compiler.ops.sliding_kernel import SlidingKernel
from compiler.ops.sources import ArrayAttribute, Constant
from compiler.ops.spatial import Padding
from compiler.ops.winograd import WinogradConvolution, WinogradKernelGradient
from compiler.passes.context import PassContext
from compiler.rewrite import rewrite
from compiler.winograd import KERNEL, LEAST_CHANNELS, POINTS, TILE, kernel_transform
from runtime.dimensions import Dim

# The cost model counts vector multiply-adds on whole tiles. Measured on Zen 3 in their time: what each of 36 small
# products spends beside its sum, and the transforms of one vector of channels of a tile, border and stores included.
PRODUCT_OVERHEAD = 6
IMAGE_TRANSFORM = 300
RESULT_TRANSFORM = 170
GRADIENT_TRANSFORM = 240
# For each vector of filters and each channel of a chunk of a kernel gradient: its 36 sums are cleared, transformed
# back, written and added, whatever the number of tiles.
CHUNK_OVERHEAD = 1000
# Predicted; what is outside the model, such as the epilogue, is the same for both. Predicted and measured gains of the
# forward pass: 1.19 and 1.06 (13x13x16), 1.20 and 1.18 (5x5x64), 1.40 and 1.59 (7x7x16), 1.8 and 1.6 (32x32x16).
LEAST_GAIN = 1.3
# Sizes that the model takes where they are known at run time only.
USUAL_BATCH = 32
USUAL_EXTENT = 16

# Parts in which a kernel gradient is summed: enough for a few threads, but adding them must stay cheap.
MANY_CHUNKS, FEW_CHUNKS = 8, 4
MOST_FOR_MANY_CHUNKS = 1024  # channels times filters

# A kernel gradient in parts of direct sums: for each element of the kernel, a part costs the time of so many
# multiply-adds (it is stored, read and added), which may be that share of the sum over all pixels. All parts together
# should lie in the caches, and the sum be worth an instruction of its own (a million products take 20 microseconds).
PART_OVERHEAD = 20
MOST_PART_SHARE = 1 / 6
MOST_PARTS = 1024 * 1024
LEAST_PRODUCTS = 1024 * 1024


def select_kernels(graph: Graph, context: PassContext) -> Graph:
    """Use Winograd's convolutions, and kernel gradients in parts, where the cost models expect them to win."""
    if context.target.kind != "cpu":
        return graph
    lanes = context.target.lanes("float32")
    constants: dict[str, Value] = {}

    def rule(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        op = node.op
        found = winograd(b, node, inputs) if context.winograd else None
        if found is None and isinstance(op, ConvolutionKernelGradient):
            return _kernel_gradient_in_parts(b, op, node, inputs)
        return found

    def winograd(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        op = node.op
        if not isinstance(op, SlidingKernel) or not _is_plain(op, node):
            return None
        match op:
            case Convolution():
                found = _Convolution(b, constants, node.inputs[0], node.outputs[0], op.padding, lanes)
                return found.forward(inputs)
            case ConvolutionInputGradient():
                turned = tuple((KERNEL - 1 - low, KERNEL - 1 - high) for low, high in op.padding)
                found = _Convolution(b, constants, node.inputs[0], node.outputs[0], turned, lanes)
                return found.input_gradient(inputs)
            case ConvolutionKernelGradient():
                found = _Convolution(b, constants, node.inputs[0], node.inputs[1], op.padding, lanes)
                return found.kernel_gradient(inputs)
        return None

    return rewrite(graph, rule)


def _is_plain(op: SlidingKernel, node: Node) -> bool:
    """Whether this is a float32 convolution of images with a 3x3 kernel, moved by single pixels, or its gradient."""
    kernel = node.outputs[0] if isinstance(op, ConvolutionKernelGradient) else node.inputs[1]
    if kernel.type.dtype != "float32" or kernel.type.shape[:-2] != (KERNEL, KERNEL):
        return False
    if (*op.strides, *op.dilation, op.groups) != (1, 1, 1, 1, 1):
        return False
    return all(isinstance(amount, int) and amount < KERNEL for pair in op.padding for amount in pair)


@dataclasses.dataclass(frozen=True, slots=True)
class _Convolution:
    """A 3x3 convolution of `source` that gives images of the shape of `target`, and what may take its place."""

    b: Builder
    constants: dict[str, Value]
    source: Value
    target: Value
    padding: Padding
    lanes: int

    def forward(self, inputs: tuple[Value, ...]) -> tuple[Value] | None:
        """The convolution (x, kernel)."""
        if not self._wins(RESULT_TRANSFORM):
            return None
        kernel = self._transformed(inputs[1], "forward", np.kron(kernel_transform(), kernel_transform()))
        return (self.b.emit(WinogradConvolution(self.padding), inputs[0], kernel),)

    def input_gradient(self, inputs: tuple[Value, ...]) -> tuple[Value] | None:
        """The convolution (gradient, kernel) with the kernel turned by half a turn, channels and filters exchanged."""
        if not self._wins(RESULT_TRANSFORM):
            return None
        exchanged = f.transpose(self.b, inputs[1], (0, 1, 3, 2))
        turned = np.kron(kernel_transform(), kernel_transform())[:, ::-1]
        kernel = self._transformed(exchanged, "turned", turned)
        return (self.b.emit(WinogradConvolution(self.padding), inputs[0], kernel),)

    def kernel_gradient(self, inputs: tuple[Value, ...]) -> tuple[Value] | None:
        """The sum over tiles (x, gradient), its parts added and transformed back."""
        channels, filters = self.source.type.shape[-1], self.target.type.shape[-1]
        if not isinstance(channels, int) or not isinstance(filters, int):
            return None
        chunks = MANY_CHUNKS if channels * filters <= MOST_FOR_MANY_CHUNKS else FEW_CHUNKS
        if not self._wins(GRADIENT_TRANSFORM, added=chunks * CHUNK_OVERHEAD):
            return None
        parts = self.b.emit(WinogradKernelGradient(self.padding, chunks), *inputs)
        return (_added(self.b, parts, chunks),)

    def _transformed(self, kernel: Value, name: str, matrix: Array) -> Value:
        """[3, 3, channels, filters] -> [36, channels, filters]."""
        *_, channels, filters = kernel.type.shape
        rows = f.reshape(self.b, kernel, (KERNEL * KERNEL, channels * filters))
        product = f.matmul(self.b, self._constant(name, matrix), rows)
        return f.reshape(self.b, product, (POINTS, channels, filters))

    def _constant(self, name: str, matrix: Array) -> Value:
        """One node for all uses of a matrix in the graph."""
        if name not in self.constants:
            self.constants[name] = self.b.emit(Constant(ArrayAttribute(matrix.astype(np.float32))))
        return self.constants[name]

    def _wins(self, target_transform: int, added: int = 0) -> bool:
        """Whether the model expects `LEAST_GAIN`; `added`: what each pair of channel and filter costs beside."""
        batch, height, width, filters = self.target.type.shape
        channels = self.source.type.shape[-1]
        if not isinstance(channels, int) or not isinstance(filters, int) or min(channels, filters) < LEAST_CHANNELS:
            return False
        images = _usual(batch, USUAL_BATCH)
        height, width = _usual(height, USUAL_EXTENT), _usual(width, USUAL_EXTENT)
        tiles = images * -(-height // TILE) * -(-width // TILE)
        pairs = channels * filters
        direct = images * height * width * KERNEL * KERNEL * pairs / self.lanes
        products = tiles * POINTS * (pairs + PRODUCT_OVERHEAD * filters) / self.lanes
        transforms = tiles * (IMAGE_TRANSFORM * channels + target_transform * filters) / self.lanes
        return direct >= LEAST_GAIN * (products + transforms + added * pairs / self.lanes)


def _kernel_gradient_in_parts(
    b: Builder, op: ConvolutionKernelGradient, node: Node, inputs: tuple[Value, ...]
) -> tuple[Value] | None:
    """The sum of parts that threads compute each for themselves, where it pays."""
    g, kernel = node.inputs[1].type, node.outputs[0].type
    if kernel.dtype not in ("float32", "float64") or kernel.rank > 4 or op.is_depthwise(kernel):
        return None
    size = kernel.size
    if not isinstance(size, int):
        return None
    pixels = _usual(g.shape[0], USUAL_BATCH)
    for extent in g.shape[1:-1]:
        pixels *= _usual(extent, USUAL_EXTENT)
    for chunks in (MANY_CHUNKS, FEW_CHUNKS):
        if chunks * size <= MOST_PARTS and chunks * PART_OVERHEAD <= MOST_PART_SHARE * pixels:
            break
    else:
        return None
    if pixels * size < LEAST_PRODUCTS:
        return None
    spatial = tuple(extent for extent in kernel.shape[:-2] if isinstance(extent, int))
    parts = b.emit(
        ConvolutionKernelGradientParts(spatial, op.strides, op.padding, op.dilation, op.groups, chunks), *inputs
    )
    return (_added(b, parts, chunks),)


def _added(b: Builder, parts: Value, chunks: int) -> Value:
    """The sum of parts that lie one behind the other along the first axis."""
    # Slices, not a reduction: they are elements of the kernel that updates the weights.
    first, *rest = parts.type.shape
    height = first // chunks
    start = [0] * len(rest)
    total = f.slice_(b, parts, (0, *start), (height, *rest))
    for part in range(1, chunks):
        total = f.add(b, total, f.slice_(b, parts, (height * part, *start), (height * (part + 1), *rest)))
    return total


def _usual(extent: Dim, otherwise: int) -> int:
    return extent if isinstance(extent, int) else otherwise
