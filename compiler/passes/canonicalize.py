"""Rewrite nodes into one agreed form, so that later passes see fewer cases.

    add(x, full(0))            ->  x
    multiply(x, full(1))       ->  x
    add(pad(x), pad(y))        ->  concatenate(x, y)         where the zeros of each are where the others are
    divide(x, full(c))         ->  multiply(x, full(1/c))    only where 1/c is exact (a power of two)
    subtract(x, full(c))       ->  add(x, full(-c))
    negative(negative(x))      ->  x
    cast to the own dtype      ->  x
    reshape(reshape(x))        ->  reshape(x);  to the own shape -> x
    transpose(transpose(x))    ->  transpose(x);  identity -> x;  moving only extents of 1 -> reshape(x)
    broadcast(broadcast(x))    ->  broadcast(x);  to the own shape -> x
    broadcast(reshape(x))      ->  broadcast(x)      where the reshape only inserts extents of 1
    exp(reshape(x)), any map   ->  reshape(exp(x))   where the reshape only inserts or drops extents of 1
    reduce over no axis        ->  x
    reduce_sum([n,h,w,c] over n,h,w) -> over h,w, then over n: images are independent work
    stop_gradient(x)           ->  x        (runs after `differentiate`)

Every rule keeps each bit of a float result except that -0 may become +0 (x + 0).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from compiler import functions as f
from compiler.ir import Builder, Fusion, Graph, Node, Value
from compiler.ops.arithmetic import Add, Divide, Multiply, Subtract, summands
from compiler.ops.conversion import Cast, StopGradient
from compiler.ops.math import Negative
from compiler.ops.reduce import Reduction
from compiler.ops.shape import Broadcast, Reshape, Transpose
from compiler.ops.slicing import Pad
from compiler.ops.sources import Full
from compiler.passes.context import PassContext
from compiler.passes.differentiate import Gradient
from compiler.rewrite import rewrite
from compiler.types import TensorType, is_float
from runtime.dimensions import Dim

# Powers of two up to these exponents, and their inverses, are normal numbers of the dtype.
LARGEST_EXPONENT = {"float16": 14, "float32": 126, "float64": 1022}

Rule = Callable[[Builder, Node, tuple[Value, ...]], Value | None]


def canonicalize(graph: Graph, context: PassContext) -> Graph:
    """Apply the rules until none fits."""
    differentiated = not any(isinstance(node.op, Gradient) for node in graph.nodes)

    def rule(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        if isinstance(node.op, StopGradient):
            return [inputs[0]] if differentiated else None
        if not differentiated and isinstance(node.op, Reduction) and node.op.axes:
            return None
        simplify = RULES.get(type(node.op))
        if simplify is None and isinstance(node.op, Reduction):
            simplify = _reduction
        result = None if simplify is None else simplify(b, node, inputs)
        if result is None and node.op.fusion is Fusion.ELEMENTWISE:
            result = _before_reshape(b, node, inputs)
        return None if result is None else [result]

    while (changed := rewrite(graph, rule)) is not graph:
        graph = changed
    return graph


def _fill(value: Value) -> float | None:
    """The element of a `full`."""
    return value.op.value if isinstance(value.op, Full) else None


def _add(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Value | None:
    left, right = inputs
    if _fill(right) == 0:
        return left
    if _fill(left) == 0:
        return right
    return _join(b, node.outputs[0].type, inputs) if isinstance(left.op, (Add, Pad)) else None


def _join(b: Builder, type_: TensorType, terms: Sequence[Value]) -> Value | None:
    """A sum of parts that are padded with zeros to lie side by side: the parts, joined."""
    by_start: dict[Dim, Value] = {}
    axes: set[int] = set()
    for term in summands(*terms):
        part = _padded_part(term)
        if part is None or part[1] in by_start:
            return None
        axes.add(part[0])
        by_start[part[1]] = part[2]
    if len(axes) != 1:
        return None
    (axis,) = axes
    ordered: list[Value] = []
    end: Dim = 0
    while end in by_start:
        ordered.append(by_start.pop(end))
        end = end + ordered[-1].type.shape[axis]
        if ordered[-1].type.shape[axis] == 0:
            return None
    return None if by_start or end != type_.shape[axis] else f.concatenate(b, ordered, axis)


def _padded_part(value: Value) -> tuple[int, Dim, Value] | None:
    """The axis on which a value is padded with zeros, where its part begins, and the part."""
    node = value.node
    if node is None or not isinstance(node.op, Pad) or node.op.value != 0:
        return None
    axes = [axis for axis, amounts in enumerate(zip(node.op.low, node.op.high, strict=True)) if amounts != (0, 0)]
    return (axes[0], node.op.low[axes[0]], node.inputs[0]) if len(axes) == 1 else None


def _subtract(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Value | None:
    left, right = inputs
    constant = _fill(right)
    if constant is None or not is_float(right.type.dtype):
        return left if constant == 0 else None
    return b.emit(Add(), left, b.emit(Full(right.type.shape, -constant, right.type.dtype)))


def _multiply(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Value | None:
    left, right = inputs
    if _fill(right) == 1:
        return left
    return right if _fill(left) == 1 else None


def _divide(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Value | None:
    left, right = inputs
    constant = _fill(right)
    if constant is None or not is_float(right.type.dtype) or not math.isfinite(constant):
        return None
    if constant == 1:
        return left
    fraction, exponent = math.frexp(constant)
    if abs(fraction) == 0.5 and abs(exponent - 1) <= LARGEST_EXPONENT[right.type.dtype]:
        return b.emit(Multiply(), left, b.emit(Full(right.type.shape, 1.0 / constant, right.type.dtype)))
    return None


def _negative(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Value | None:
    inner = inputs[0].node
    return inner.inputs[0] if inner is not None and isinstance(inner.op, Negative) else None


def _cast(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Value | None:
    return inputs[0] if inputs[0].type == node.outputs[0].type else None


def _reshape(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Value | None:
    (x,) = inputs
    if x.type == node.outputs[0].type:
        return x
    if x.node is not None and isinstance(x.op, Reshape):
        return b.emit(node.op, x.node.inputs[0])
    return None


def _transpose(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Value | None:
    (x,) = inputs
    order = node.op.permutation if isinstance(node.op, Transpose) else ()
    if order == tuple(range(len(order))):
        return x
    if x.node is not None and isinstance(x.op, Transpose):
        inner = x.op.permutation
        return b.emit(Transpose(tuple(inner[axis] for axis in order)), x.node.inputs[0])
    moved = [axis for axis in order if x.type.shape[axis] != 1]
    return b.emit(Reshape(node.outputs[0].type.shape), x) if moved == sorted(moved) else None


def _broadcast(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Value | None:
    (x,) = inputs
    if not isinstance(node.op, Broadcast):
        return None
    shape, axes = node.op.shape, node.op.axes
    if x.type == node.outputs[0].type:
        return x
    if x.node is None:
        return None
    source = x.node.inputs[0] if x.node.inputs else x
    if isinstance(x.op, Broadcast):
        return b.emit(Broadcast(shape, tuple(axes[axis] for axis in x.op.axes)), source)
    if isinstance(x.op, Reshape) and (kept := _kept_by_insertion(source.type.shape, x.type.shape)) is not None:
        return b.emit(Broadcast(shape, tuple(axes[axis] for axis in kept)), source)
    return None


def _kept_by_insertion(before: Sequence[object], after: Sequence[object]) -> tuple[int, ...] | None:
    """Where each extent went, if `after` is `before` with extents of 1 inserted."""
    positions = []
    start = 0
    for extent in before:
        while start < len(after) and after[start] != extent:
            if after[start] != 1:
                return None
            start += 1
        if start == len(after):
            return None
        positions.append(start)
        start += 1
    return tuple(positions) if all(extent == 1 for extent in after[start:]) else None


def _before_reshape(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Value | None:
    """A map of reshaped values, reshaped: an axis kept as an extent of 1 does not end the reduction's kernel."""
    reshaped = [x for x in inputs if x.node is not None and isinstance(x.op, Reshape)]
    if len(reshaped) + sum(isinstance(x.op, Full) for x in inputs) != len(inputs) or not reshaped:
        return None
    sources = [x.node.inputs[0] for x in reshaped if x.node is not None]
    shape = sources[0].type.shape
    if any(source.type.shape != shape for source in sources) or _no_units(shape) != _no_units(reshaped[0].type.shape):
        return None
    remaining = iter(sources)
    arguments = [
        b.emit(Full(shape, x.op.value, x.type.dtype)) if isinstance(x.op, Full) else next(remaining) for x in inputs
    ]
    return b.emit(Reshape(node.outputs[0].type.shape), b.emit(node.op, *arguments))


def _no_units(shape: Sequence[Dim]) -> list[Dim]:
    return [extent for extent in shape if extent != 1]


def _reduction(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Value | None:
    op = node.op
    if not isinstance(op, Reduction):
        return None
    (x,) = inputs
    if not op.axes:
        return x
    rank = x.type.rank
    if op.axes[0] == 0 and len(op.axes) > 1:
        first = op.over(op.axes[1:])
        return b.emit(op.over((0,)), b.emit(first, x))
    suffix = tuple(range(rank - len(op.axes), rank))
    if rank - 1 in op.axes and op.axes != suffix:
        trailing = [axis for axis in op.axes if all(later in op.axes for later in range(axis, rank))]
        leading = tuple(axis for axis in op.axes if axis not in trailing)
        inner = b.emit(op.over(tuple(trailing)), x)
        return b.emit(op.over(leading), inner)
    return None


RULES: dict[type, Rule] = {
    Add: _add,
    Subtract: _subtract,
    Multiply: _multiply,
    Divide: _divide,
    Negative: _negative,
    Cast: _cast,
    Reshape: _reshape,
    Transpose: _transpose,
    Broadcast: _broadcast,
}
