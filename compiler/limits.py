"""Which nodes work on the leading steps of arrays alone: those that are limited by a value, their last input."""

from __future__ import annotations

from collections.abc import Set

from compiler.ir import Node, Value
from compiler.ops.fused import FusedSteps
from compiler.ops.scan import Scan
from compiler.storage import root_of
from runtime.dimensions import Dim

__all__ = ["is_limited", "is_limited_loop", "reads_leading_steps"]


def reads_leading_steps(reader: Node, roots: Set[Value], limit: Value, count: Dim) -> bool:
    """Whether a node reads, of the arrays with these roots and `count` steps each, only the steps before a limit.

    A loop reads its sequences so, but its constants and initial states whole.
    """
    if isinstance(reader.op, FusedSteps):
        return reader.inputs[-1] is limit and reader.op.steps == str(count)
    if not is_limited_loop(reader, limit, count):
        return False
    assert isinstance(reader.op, Scan)
    initial, _, constants, _ = reader.op.parts(reader.inputs)
    return roots.isdisjoint(map(root_of, (*initial, *constants, limit)))


def is_limited(node: Node) -> bool:
    """Whether the last input of a node is a limit."""
    return isinstance(node.op, FusedSteps) or (isinstance(node.op, Scan) and node.op.limited)


def is_limited_loop(node: Node, limit: Value, count: Dim) -> bool:
    """Whether a node is a loop of that many steps, limited by that value."""
    return isinstance(node.op, Scan) and node.op.limited and node.inputs[-1] is limit and node.op.count == count
