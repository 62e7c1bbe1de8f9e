"""Merge neighbouring axes that a fused group treats alike, so that its loops are few and long.

    add(f32[n,28,28,32], broadcast(f32[32]))    ->    the same over f32[784*n,32]

Works on bodies of elementwise ops, broadcasts, constants, reductions and rows taken from an operand by number;
others keep their axes.
"""

from __future__ import annotations

from compiler.grouping import Plan
from compiler.ir import Builder, Fusion, Graph, Node, Op, Value
from compiler.ops.gather import Take
from compiler.ops.reduce import Reduction
from compiler.ops.shape import Broadcast
from compiler.ops.sources import Full
from compiler.types import TensorType, product
from runtime.dimensions import Dim

Segments = tuple[tuple[int, ...], ...]  # the axes of the iteration shape, grouped


def collapse(body: Graph, plan: Plan) -> Graph:
    """The body over merged axes, or the body itself if it has ops that depend on single axes."""
    if any(not _is_simple(node, plan) for node in body.nodes) or not _takes_operands_alone(body):
        return body
    segments = _segments(body, plan)
    if len(segments) == len(plan.shape) or not plan.shape:
        return body
    return _Collapser(body, plan, segments).graph()


def _is_simple(node: Node, plan: Plan) -> bool:
    match node.op:
        case Broadcast(shape=shape, axes=axes):
            inner = node.inputs[0].type.shape
            return shape in (plan.shape, plan.kept) and all(
                extent == shape[axis] for extent, axis in zip(inner, axes, strict=True)
            ) and list(axes) == sorted(axes)
        case Full():
            return True
        case Take(axis=axis):
            return axis == 0 and node.inputs[1].type.rank == 1 and node.outputs[0].type.shape == plan.shape
    if node.op.fusion is Fusion.REDUCTION:
        return isinstance(node.op, Reduction)
    return node.op.fusion is Fusion.ELEMENTWISE


def _takes_operands_alone(body: Graph) -> bool:
    """Whether what `Take` reads is outside the kernel, and nothing else there reads it: its axes are its own."""
    taken = {value for node in body.nodes if isinstance(node.op, Take) for value in node.inputs}
    if any(value.node is not None for value in taken):
        return False
    return all(isinstance(node.op, Take) or taken.isdisjoint(node.inputs) for node in body.nodes)


def _segments(body: Graph, plan: Plan) -> Segments:
    """Axes that every broadcast and every reduction treats alike."""
    kept_axes = tuple(axis for axis in range(len(plan.shape)) if axis not in plan.axes)
    signatures: list[list[object]] = [[axis in plan.axes] for axis in range(len(plan.shape))]
    for node in body.nodes:
        if isinstance(node.op, Broadcast):
            read = set(node.op.axes) if node.op.shape == plan.shape else {kept_axes[axis] for axis in node.op.axes}
        elif isinstance(node.op, Take):
            read = {0}
        else:
            continue
        for axis, signature in enumerate(signatures):
            signature.append(axis in read)
    groups: list[list[int]] = []
    for axis, signature in enumerate(signatures):
        if groups and signature == signatures[groups[-1][-1]]:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    return tuple(tuple(group) for group in groups)


class _Collapser:
    def __init__(self, body: Graph, plan: Plan, segments: Segments) -> None:
        self.body, self.plan, self.segments = body, plan, segments
        self.kept_axes = tuple(axis for axis in range(len(plan.shape)) if axis not in plan.axes)
        self.taken = {node.inputs[0] for node in body.nodes if isinstance(node.op, Take)}
        self.row_numbers = {node.inputs[1] for node in body.nodes if isinstance(node.op, Take)}
        self.of_broadcast = {  # axes of the iteration shape that an outside value spans
            node.inputs[0]: self._absolute(node.op) for node in body.nodes if isinstance(node.op, Broadcast)
        }

    def _absolute(self, op: Broadcast) -> tuple[int, ...]:
        if op.shape == self.plan.shape:
            return op.axes
        return tuple(self.kept_axes[axis] for axis in op.axes)

    def _type(self, value: Value) -> TensorType:
        """The merged type of a value."""
        shape = value.type.shape
        if value in self.row_numbers:
            return value.type
        if value in self.taken:
            rest = self._merged(tuple(range(1, len(shape))))
            return TensorType((shape[0], *rest), value.type.dtype)
        if shape == self.plan.shape:
            axes: tuple[int, ...] = tuple(range(len(shape)))
        elif value in self.of_broadcast:
            axes = self.of_broadcast[value]
        elif shape == self.plan.kept:
            axes = self.kept_axes
        else:
            return value.type
        return TensorType(self._merged(axes), value.type.dtype)

    def _merged(self, axes: tuple[int, ...]) -> tuple[Dim, ...]:
        return tuple(
            product(tuple(self.plan.shape[axis] for axis in segment)) for segment in self.segments if segment[0] in axes
        )

    def graph(self) -> Graph:
        """Rebuild the body."""
        b = Builder(self.body.name)
        new: dict[Value, Value] = {}
        for entry in self.body.inputs:
            new[entry.value] = b.input(entry.name, self._type(entry.value))
        for node in self.body.nodes:
            inputs = tuple(new[value] for value in node.inputs)
            with b.scope(layer=node.layer, source=node.source):
                new[node.outputs[0]] = b.emit(self._op(node), *inputs)
        for name, value in self.body.outputs:
            b.output(name, new[value])
        return b.build()

    def _op(self, node: Node) -> Op:
        shape = self._type(node.outputs[0]).shape
        match node.op:
            case Broadcast() as op:
                target = self.segments if op.shape == self.plan.shape else tuple(
                    segment for segment in self.segments if segment[0] in self.kept_axes
                )
                read = self._absolute(op)
                return Broadcast(shape, tuple(i for i, segment in enumerate(target) if segment[0] in read))
            case Full(dtype=dtype, value=value):
                return Full(shape, value, dtype)
            case Reduction() as op:
                axes = tuple(i for i, segment in enumerate(self.segments) if segment[0] in self.plan.axes)
                return op.over(axes)
        return node.op
