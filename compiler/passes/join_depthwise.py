"""Join a depthwise convolution to the 1x1 convolution that alone reads it, with the normalisation between them.

    %2 = convolution(%x, %w) {groups=channels}
    %3 = multiply(%2, broadcast(%scale))            %1 = stack(%scale, %shift, 0, inf)      [4, channels]
    %4 = add(%3, broadcast(%shift))           ->    %2 = ...                                panels of %v
    %5 = relu(%4)                                   %6 = separable_convolution(%x, %2, %w, %1)
    %6 = convolution(%5, %v)                        [1, 1, channels, filters]

What the depthwise convolution makes, as large as its input or the result, is then neither written to memory nor read
from it. Between the two stand any multiplications, additions and subtractions of vectors along the channels, then
bounds: relu, or maximum and minimum with a number, in this order. All vectors and both kernels must depend on nothing
but constants and variables that the graph leaves as they are, so that they are prepared once (`pack_kernels`): a
training step keeps the convolutions apart, and reads what is between them in its backward pass. Only for the CPU.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Iterator, Sequence

from compiler import functions as f
from compiler.ir import Builder, Graph, Node, Value
from compiler.ops.arithmetic import Add, Maximum, Minimum, Multiply, Subtract
from compiler.ops.convolution import Convolution
from compiler.ops.math import Relu
from compiler.ops.separable_convolution import SeparableConvolution
from compiler.ops.shape import Broadcast
from compiler.ops.sources import Full
from compiler.passes.context import PassContext
from compiler.passes.eliminate_dead_code import eliminate_dead_code
from compiler.passes.pack_kernels import panels_of, stable_values, tile_of, unchanged_variables
from compiler.rewrite import rewrite
from compiler.types import TensorType
from runtime.dimensions import Dim

ONES = (1, 1)
NO_PADDING = ((0, 0), (0, 0))


def join_depthwise(graph: Graph, context: PassContext) -> Graph:
    """Make a `separable_convolution` of each such pair."""
    if context.target.kind != "cpu":
        return graph
    pairs = {pair.last: pair for pair in _pairs(graph)}
    if not pairs:
        return graph

    def rule(b: Builder, node: Node, inputs: tuple[Value, ...]) -> tuple[Value, ...] | None:
        return _joined(b, pairs[node], inputs, context) if node in pairs else None

    return eliminate_dead_code(rewrite(graph, rule), context)


@dataclasses.dataclass(frozen=True)
class _Pair:
    """A depthwise convolution, the steps to the 1x1 convolution, and the steps behind that."""

    depthwise: Node
    between: list[Node]
    pointwise: Node
    behind: list[Node]

    @property
    def last(self) -> Node:
        """The node whose value is the result."""
        return (self.behind or [self.pointwise])[-1]

    def factors(self) -> Iterator[Value]:
        """Both kernels and all vectors."""
        yield self.depthwise.inputs[1]
        yield self.pointwise.inputs[1]
        for node in (*self.between, *self.behind):
            if (vector := _vector(node)) is not None:
                yield vector


def _pairs(graph: Graph) -> Iterator[_Pair]:
    stable = stable_values(graph, unchanged_variables(graph))
    users = graph.users()
    results = set(graph.results)

    def only_reader(node: Node) -> Node | None:
        (value,) = node.outputs
        return users[value][0] if len(users[value]) == 1 and value not in results else None

    for node in graph.nodes:
        if not _is_depthwise(node):
            continue
        between = list(_steps(node, only_reader))
        last = (between or [node])[-1]
        pointwise = only_reader(last)
        if pointwise is None or not _is_pointwise(pointwise) or pointwise.inputs[0] not in last.outputs:
            continue
        pair = _Pair(node, between, pointwise, list(_steps(pointwise, only_reader, stable)))
        if stable.issuperset(pair.factors()):
            yield pair


def _steps(
    node: Node, only_reader: Callable[[Node], Node | None], stable: Collection[Value] | None = None
) -> Iterator[Node]:
    """What follows a convolution and can be done in its registers: vectors, then a lower bound, then an upper one."""
    allowed = 3  # all of them; 2: both bounds; 1: the upper one
    while allowed and (reader := only_reader(node)) is not None and reader.inputs[0] in node.outputs:
        vector = _vector(reader)
        match reader.op:
            case Add() | Subtract() | Multiply() if allowed == 3 and vector is not None:
                if stable is not None and vector not in stable:
                    return
            case Relu() if allowed >= 2:
                allowed = 1
            case Maximum() if allowed >= 2 and _number(reader) is not None:
                allowed = 1
            case Minimum() if _number(reader) is not None:
                allowed = 0
            case _:
                return
        yield reader
        node = reader


def _joined(b: Builder, pair: _Pair, inputs: tuple[Value, ...], context: PassContext) -> tuple[Value, ...]:
    """The one node, with what it needs; `inputs`: of the pair's last node in the new graph."""
    # The same nodes in the new graph, where what comes before them may have changed.
    for _ in pair.behind:
        inputs = inputs[0].producer.inputs
    product, kernel = inputs
    for _ in pair.between:
        product = product.producer.inputs[0]
    x, depthwise_kernel = product.producer.inputs
    shape = tuple(int(extent) for extent in kernel.type.shape)
    columns = tile_of(x.type.dtype, context).columns
    panels = panels_of(b, Convolution(ONES, NO_PADDING, ONES), kernel, shape, columns)
    between = _finish(b, pair.between, depthwise_kernel.type)
    behind = _finish(b, pair.behind, kernel.type)
    op = pair.depthwise.op
    assert isinstance(op, Convolution)
    joined = SeparableConvolution(shape[-1], op.strides, op.padding, op.dilation)
    return (b.emit(joined, x, panels, depthwise_kernel, between, behind),)


def _is_pointwise(node: Node) -> bool:
    """Whether a node is the product of the channels of each pixel by one matrix."""
    op = node.op
    if not isinstance(op, Convolution):
        return False
    shape = node.inputs[1].type.shape
    plain = (op.strides, tuple(map(tuple, op.padding)), op.dilation, op.groups) == (ONES, NO_PADDING, ONES, 1)
    return plain and shape[:-2] == ONES and _all_known(shape)


def _is_depthwise(node: Node) -> bool:
    """Whether a node is a convolution of images with one filter for each of at least two channels."""
    if not isinstance(node.op, Convolution) or node.inputs[0].type.dtype not in ("float32", "float64"):
        return False
    x, kernel = (value.type for value in node.inputs)
    channels = kernel.shape[-1]
    alike = node.op.groups == channels == x.shape[-1] != 1 and kernel.shape[-2] == 1
    return x.rank == 4 and alike and _all_known(kernel.shape)


def _all_known(shape: Sequence[Dim]) -> bool:
    return all(isinstance(extent, int) and extent > 0 for extent in shape)


def _number(node: Node) -> float | None:
    """The number that an op has as its second operand."""
    other = node.inputs[-1]
    return float(other.op.value) if other.node is not None and isinstance(other.op, Full) else None


def _vector(node: Node) -> Value | None:
    """The vector along the channels that an op has as its second operand."""
    other = node.inputs[-1]
    if other.node is None or not isinstance(other.op, Broadcast) or other.op.axes != (other.type.rank - 1,):
        return None
    return other.producer.inputs[0]


def _finish(b: Builder, steps: Sequence[Node], kernel: TensorType) -> Value:
    """Scale, shift, low and high of steps behind a convolution with this kernel: [4, filters]."""
    shape, dtype = kernel.shape[-1:], kernel.dtype
    scale: Value | None = None
    shift: Value | None = None
    low, high = -math.inf, math.inf
    for node in steps:
        vector, number = _vector(node), _number(node)
        match node.op:
            case Relu():
                low = 0.0
            case Maximum() if number is not None:
                low = number
            case Minimum() if number is not None:
                high = number
            case Multiply() if vector is not None:
                scale = vector if scale is None else f.multiply(b, scale, vector)
                shift = None if shift is None else f.multiply(b, shift, vector)
            case Add() | Subtract() if vector is not None:
                vector = vector if isinstance(node.op, Add) else f.negative(b, vector)
                shift = vector if shift is None else f.add(b, shift, vector)
    scale = f.full(b, shape, 1.0, dtype) if scale is None else scale
    shift = f.full(b, shape, 0.0, dtype) if shift is None else shift
    return f.stack(b, [scale, shift, f.full(b, shape, low, dtype), f.full(b, shape, high, dtype)])
