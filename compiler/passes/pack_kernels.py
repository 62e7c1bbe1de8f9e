"""Bring right operands of contractions that stay as they are into the order of the micro-kernel, once.

    %2 = convolution(%x, %w)        %1 = reshape(pad(%w))             [steps, panels, columns]
                              ->    %2 = transpose(%1)                [panels, steps, columns]
                                    %3 = reduce_sum(multiply(%w, 0))  NaN unless all of %w is finite
                                    %4 = packed_convolution(%x, %2, %3)

    %2 = matmul(%x, %w)       ->    %1, %2 as above
                                    %3 = packed_matmul(%x, %2)

The driver of a convolution otherwise packs its kernel at every call, each thread for itself, and looks for numbers that
are not finite. In a prediction for one image that is half of the time. A matrix product for one sample reads its matrix
in strips, which memory gives more slowly than panels (`compiler.codegen.microkernel_flat`). Here packing is nodes that
depend on weights alone, which a program that does not change these weights runs once (`compiler.preparation`); a
training step changes them and keeps the plain form. What every step of a loop reads is packed in training too: the
nodes then stand before the loop (`hoist_invariants`).

Only for the CPU, where the operand depends on nothing but constants and variables without new values, and where the
result has channels or columns enough for a vector. What it had to reach: batch 1 of a convolutional autoencoder in half
the time, a dense layer 2304 x 512 for one sample in two thirds. Reached on one Zen 3 core, shared with others, minima
of `predict_on_batch`: 184 -> 137 us; 2304 x 512 74 -> 63 us (medians 110 -> 67), 4096 x 1024 700 -> 268 (1200 -> 350).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from compiler import functions as f
from compiler.ir import Builder, Fusion, Graph, Node, Value
from compiler.ops.contraction import Matmul
from compiler.ops.convolution import Convolution, ConvolutionInputGradient
from compiler.ops.packed_convolution import PackedConvolution, tap_order
from compiler.ops.packed_matmul import PackedMatmul
from compiler.ops.scan import Scan
from compiler.ops.sources import ArrayAttribute, Constant
from compiler.passes.context import PassContext
from compiler.rewrite import Rule, rewrite
from compiler.types import symbols_of_type
from runtime.dimensions import Dim, ceil_div

if TYPE_CHECKING:
    from compiler.codegen.microkernel_tile import Tile

SPATIAL_RANKS = (1, 2)  # of which there are micro-kernels


def pack_kernels(graph: Graph, context: PassContext) -> Graph:
    """Pack the kernels of convolutions and transposed ones, and the matrices of products, that no update changes."""
    if context.target.kind != "cpu":
        return graph
    graph = _pack_in_loops(graph, context)
    return _packed(graph, stable_values(graph, unchanged_variables(graph)), context)


def _packed(graph: Graph, stable: set[Value], context: PassContext) -> Graph:
    convolution, product = _convolution_rule(stable, context), _product_rule(stable, context)
    return rewrite(graph, lambda b, node, inputs: convolution(b, node, inputs) or product(b, node, inputs))


def _pack_in_loops(graph: Graph, context: PassContext) -> Graph:
    """Pack what every step of a loop reads, in its body: the pass `hoist_invariants` takes it out of there."""

    def rule(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        if not isinstance(node.op, Scan):
            return None
        scan = node.op
        constants = {entry.value for entry in scan.body.inputs[scan.states + scan.sequences :]}
        stable = stable_values(scan.body, constants)
        body = _packed(scan.body, stable, context)
        return None if body is scan.body else b.emit_all(dataclasses.replace(scan, body=body), *inputs)

    return rewrite(graph, rule)


def _product_rule(stable: set[Value], context: PassContext) -> Rule:
    """Matrix products with a stable right operand."""

    def rule(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        if not isinstance(node.op, Matmul) or node.op.transpose_a or node.inputs[1] not in stable:
            return None
        x, matrix = (value.type for value in inputs)
        shape = matrix.shape[::-1] if node.op.transpose_b else matrix.shape
        if x.rank < 2 or matrix.rank != 2 or x.dtype not in ("float32", "float64"):
            return None
        depth, columns = shape
        if not isinstance(depth, int) or not isinstance(columns, int) or not depth:
            return None
        tile = tile_of(x.dtype, context)
        if columns < tile.least_columns:
            return None
        rows = f.transpose(b, inputs[1], (1, 0)) if node.op.transpose_b else inputs[1]
        panels = _panels_of_rows(b, rows, tile.columns)
        return (b.emit(PackedMatmul(columns), inputs[0], panels),)

    return rule


def _convolution_rule(stable: set[Value], context: PassContext) -> Rule:
    """Convolutions and transposed ones with a stable kernel."""

    def rule(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        op = node.op
        if not isinstance(op, (Convolution, ConvolutionInputGradient)) or node.inputs[1] not in stable:
            return None
        shape = _kernel_shape(op, node)
        if shape is None:
            return None
        tile = tile_of(node.inputs[0].type.dtype, context)
        if shape[-2 if isinstance(op, ConvolutionInputGradient) else -1] < tile.least_columns:
            return None  # other drivers take narrow ones
        input_spatial = op.input_spatial if isinstance(op, ConvolutionInputGradient) else ()
        panels = panels_of(b, op, inputs[1], shape, tile.columns)
        packed = PackedConvolution(shape, input_spatial, op.strides, op.padding, op.dilation)
        return (b.emit(packed, inputs[0], panels, _finite(b, inputs[1])),)

    return rule


def unchanged_variables(graph: Graph) -> set[Value]:
    """Variables that the graph leaves as they are."""
    updated = {name for name, _ in graph.updates}
    return {entry.value for entry in graph.variables if entry.name not in updated}


def stable_values(graph: Graph, parameters: set[Value]) -> set[Value]:
    """What depends on nothing but constants and these parameters."""
    stable = set(parameters)
    for node in graph.nodes:
        if all(value in stable for value in node.inputs) and node.op.fusion is not Fusion.OPAQUE:
            stable.update(value for value in node.outputs if not symbols_of_type(value.type))
    return stable


def _kernel_shape(op: Convolution | ConvolutionInputGradient, node: Node) -> tuple[int, ...] | None:
    """The kernel's shape, None for what keeps the plain form: other drivers take depthwise ones."""
    x, kernel = (value.type for value in node.inputs)
    shape = tuple(extent for extent in kernel.shape if isinstance(extent, int))
    if op.groups != 1 or len(shape) != kernel.rank or x.rank - 2 not in SPATIAL_RANKS or 0 in shape:
        return None
    return shape if x.dtype in ("float32", "float64") else None


def tile_of(dtype: str, context: PassContext) -> Tile:
    """The register tile of the context's target."""
    from compiler.codegen.microkernel_tile import choose_tile  # loads Numba, which graphs without products do not need

    return choose_tile(dtype, context.target)


def panels_of(
    b: Builder, op: Convolution | ConvolutionInputGradient, kernel: Value, shape: tuple[int, ...], columns: int
) -> Value:
    """[*kernel, channels, filters] -> [panels, steps, columns]."""
    *size, channels, filters = shape
    taps = math.prod(size)
    if isinstance(op, Convolution):
        return _panels_of_rows(b, f.reshape(b, kernel, (taps * channels, filters)), columns)
    by_tap = f.reshape(b, kernel, (taps, channels, filters))
    order = tap_order(op, shape)
    if order != sorted(order):
        by_tap = f.take(b, by_tap, b.emit(Constant(ArrayAttribute(np.array(order)))), 0)
    count = ceil_div(channels, columns)
    rows = _filled(b, by_tap, 1, count * columns - channels)
    panels = f.transpose(b, f.reshape(b, rows, (taps, count, columns, filters)), (1, 0, 3, 2))
    return f.reshape(b, panels, (count, taps * filters, columns))


def _panels_of_rows(b: Builder, rows: Value, columns: int) -> Value:
    """[steps, channels] -> [panels, steps, columns]."""
    steps, channels = rows.type.shape
    count = ceil_div(channels, columns)
    rows = _filled(b, rows, 1, count * columns - channels)
    return f.transpose(b, f.reshape(b, rows, (steps, count, columns)), (1, 0, 2))


def _finite(b: Builder, kernel: Value) -> Value:
    """One number: NaN unless all of a kernel is finite."""
    return f.reduce_sum(b, f.multiply(b, kernel, 0.0))


def _filled(b: Builder, x: Value, axis: int, missing: Dim) -> Value:
    """So many zeros after the elements of an axis."""
    return f.pad(b, x, (0,) * x.type.rank, [missing if i == axis else 0 for i in range(x.type.rank)])
