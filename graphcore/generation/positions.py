"""Which entries of a value belong to which position of the sequences, followed node by node through a graph.

A value that depends on positions has them on one axis. Its extent is the length of the sequences, or that of axes that
were merged with it, `before * LENGTH * after`: entry `(i * LENGTH + p) * after + j` belongs to position p. Shapes alone
do not say how such an axis was merged ([batch, length] or [length, batch]), so it is noted with each value.
"""

from __future__ import annotations

from typing import NamedTuple

from compiler.ir import Node, Value
from compiler.ops.contraction import Matmul
from compiler.ops.families import Elementwise
from compiler.ops.gather import Take
from compiler.ops.reduce import ArgExtremum, Reduction
from compiler.ops.shape import Broadcast, Reshape, Transpose
from compiler.ops.slicing import Slice
from compiler.ops.sources import Dimension
from compiler.types import TensorType
from runtime.dimensions import Dim, dim_product, symbol, symbols_of

LENGTH = symbol("length")


class Merged(NamedTuple):
    """What the axis of positions was merged with: axes in front of it and behind it."""

    before: Dim
    after: Dim


ALONE = Merged(1, 1)


def has_length(dim: Dim) -> bool:
    """Whether an extent depends on the length of the sequences."""
    return str(LENGTH) in symbols_of(dim)


def length_axes(type_: TensorType) -> list[int]:
    """The axes whose extent depends on the length of the sequences."""
    return [axis for axis, extent in enumerate(type_.shape) if has_length(extent)]


def has_positions_on(axis: int, type_: TensorType) -> bool:
    """Whether this is the one axis of positions, with nothing merged into it."""
    return length_axes(type_) == [axis] and type_.shape[axis] == LENGTH


class PositionAxes:
    """What is known of the values of a graph whose nodes are given to `follow`, in order."""

    def __init__(self) -> None:
        self._merged: dict[Value, Merged] = {}  # values where all entries of the axis are alike are left out

    def follow(self, node: Node) -> bool:
        """Whether the node computes what belongs to a position from that position alone."""
        if not _treats_positions_alike(node):
            return False
        found = {merged for value in node.inputs if (merged := self._of(value)) is not None}
        if len(found) > 1:
            return False
        merged = next(iter(found), None)
        if isinstance(node.op, Reshape) and length_axes(node.inputs[0].type):
            merged = None if merged is None else _reshaped(node.inputs[0].type, node.outputs[0].type, merged)
            if merged is None:
                return False
        if merged is not None:
            self._merged.update((value, merged) for value in node.outputs)
        return True

    def _of(self, value: Value) -> Merged | None:
        if value in self._merged:
            return self._merged[value]
        return ALONE if any(value.type.shape[axis] == LENGTH for axis in length_axes(value.type)) else None


def _reshaped(before: TensorType, after: TensorType, merged: Merged) -> Merged | None:
    """What the axis of positions is merged with in a value of another shape, the entries in the same order.

    None where no axis has the positions, or axes are merged partly.
    """
    (old,), (new,) = length_axes(before), length_axes(after)
    front = dim_product((*before.shape[:old], merged.before))
    back = dim_product((merged.after, *before.shape[old + 1 :]))
    outer, inner = dim_product(after.shape[:new]), dim_product(after.shape[new + 1 :])
    joined = Merged(1 if outer == front else front, 1 if inner == back else back)
    fits = outer in (1, front) and inner in (1, back)
    return joined if fits and after.shape[new] == joined.before * LENGTH * joined.after else None


def _treats_positions_alike(node: Node) -> bool:
    op = node.op
    if isinstance(op, Dimension):
        return not has_length(op.extent)
    axes = [length_axes(value.type) for value in node.inputs]
    if not any(axes):
        return not isinstance(op, Slice) or not any(map(has_length, (*op.start, *op.stop)))
    if max(map(len, axes)) > 1 or any(len(length_axes(value.type)) != 1 for value in node.outputs):
        return False
    if isinstance(op, (Elementwise, Broadcast, Reshape, Transpose)):
        return True
    if isinstance(op, Matmul):
        inner = [[-2 if op.transpose_a else -1], [-1 if op.transpose_b else -2]]
        pairs = zip(node.inputs, axes, inner, strict=True)
        return not any(value.type.rank + axis in found for value, found, (axis,) in pairs)
    if isinstance(op, (Reduction, ArgExtremum)):
        reduced = [op.axis] if isinstance(op, ArgExtremum) else op.axes
        return not set(axes[0]) & set(reduced)
    if isinstance(op, Take):
        return op.axis not in axes[0] and not (axes[0] and axes[1])
    if isinstance(op, Slice):
        (axis,) = axes[0]
        return op.start[axis] == 0 and op.stop[axis] == node.inputs[0].type.shape[axis] and op.step[axis] == 1
    return op.name == "concatenate" and all(getattr(op, "axis") not in found for found in axes)  # noqa: B009
