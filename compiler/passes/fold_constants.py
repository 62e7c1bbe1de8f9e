"""Evaluate at compile time what depends on no input.

    %0 = full() {shape=(3,), value=2.0}
    %1 = multiply(%0, %0)               ->      %1 = full() {shape=(3,), value=4.0}

Results whose elements are all equal become `full`; others become constants if they are small enough to be worth
their memory. Values with a symbolic extent are folded as one element when every input is a `full`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compiler.ir import Array, Builder, Fusion, Graph, Node, Value
from compiler.ops.binding import attribute_symbols
from compiler.ops.shape import Broadcast, Reshape
from compiler.ops.sources import ArrayAttribute, Constant, Dimension, Full, Iota
from compiler.passes.context import PassContext
from compiler.rewrite import rewrite

MOST_ELEMENTS = 1 << 16


def fold_constants(graph: Graph, context: PassContext) -> Graph:
    """Replace constant nodes by their values."""

    def rule(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        if len(node.outputs) != 1 or not inputs or node.op.fusion in (Fusion.COMPOSITE, Fusion.LOOP, Fusion.OPAQUE):
            return None
        type_ = node.outputs[0].type
        uniform = _uniform(node, inputs)
        if uniform is not None:
            return [b.emit(Full(type_.shape, uniform.item(), type_.dtype))]
        arrays = [_known(value) for value in inputs]
        if any(array is None for array in arrays) or not _is_small(type_.shape) or attribute_symbols(node.op):
            return None
        with np.errstate(all="ignore"):
            (result,) = node.op.reference(*(array for array in arrays if array is not None))
        result = np.ascontiguousarray(result, dtype=type_.dtype).reshape(result.shape)
        if result.size and result.tobytes() == result.flat[0].tobytes() * result.size:  # not ==: -0.0 is not 0.0
            return [b.emit(Full(type_.shape, result.flat[0].item(), type_.dtype))]
        return [b.emit(Constant(ArrayAttribute(result)))]

    return rewrite(graph, rule)


def _uniform(node: Node, inputs: Sequence[Value]) -> Array | None:
    """The one element of a result that is the same everywhere, if it follows from `full` inputs."""
    fills = [value.op for value in inputs]
    if not all(isinstance(fill, Full) for fill in fills):
        return None
    scalars = [np.asarray(fill.value, fill.dtype) for fill in fills if isinstance(fill, Full)]
    if isinstance(node.op, (Broadcast, Reshape)):
        return scalars[0]
    if node.op.fusion is not Fusion.ELEMENTWISE:
        return None
    with np.errstate(all="ignore"):
        (result,) = node.op.reference(*scalars)
    return np.asarray(result, node.outputs[0].type.dtype)


def _known(value: Value) -> Array | None:
    match value.op:
        case Full() as fill if _is_small(fill.shape):
            return fill.reference()[0]
        case Constant() as constant:
            return constant.reference()[0]
        case Iota() as iota if _is_small(iota.shape):
            return iota.reference()[0]
        case Dimension(extent=int()) as dimension:
            return dimension.reference()[0]
    return None


def _is_small(shape: Sequence[object]) -> bool:
    size = 1
    for extent in shape:
        if not isinstance(extent, int):
            return False
        size *= extent
    return size <= MOST_ELEMENTS
