"""A pass with a mistake: it takes `a - b` for `b - a`. `graphcore opt --bisect` finds it."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.ir import Builder, Graph, Node, Value
from compiler.passes.context import PassContext
from compiler.rewrite import rewrite


def sink_products(graph: Graph, context: PassContext) -> Graph:
    """Takes the place of the compiler's pass of this name."""
    return rewrite(graph, _swap)


def _swap(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
    if node.op.name != "subtract" or node.layer != "sgd":
        return None
    return b.emit_all(node.op, inputs[1], inputs[0])
