"""Replace tensor ops by the primitives they are made of.

    %1 = softmax(%0) {axis=-1}      ->      reduce_max, broadcast, subtract, exp, reduce_sum, broadcast, divide

The primitives carry the layer of the op they come from.
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler.ir import Builder, Graph, Node, Value
from compiler.ops.families import Composite
from compiler.passes.context import PassContext
from compiler.rewrite import rewrite


def decompose(graph: Graph, context: PassContext) -> Graph:
    """Expand composites until none is left."""

    def rule(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        return node.op.decompose(b, *inputs) if isinstance(node.op, Composite) else None

    while any(isinstance(node.op, Composite) for node in graph.nodes):
        graph = rewrite(graph, rule)
    return graph
