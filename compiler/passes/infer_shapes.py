"""Type every node anew from the types of the graph's inputs.

    add(%0: f32[4,3], %1: f32[4,3])            ->      ... f32[n,3] after `n` was substituted, or bound

A node is typed at birth, so this matters where the inputs changed: symbols bound to numbers
(`compiler.ops.binding.bind_graph`), an imported graph. Where nothing changed, the same graph comes back.
"""

from __future__ import annotations

from compiler.ir import Graph, Value
from compiler.passes.context import PassContext
from compiler.rewrite import rebuild


def infer_shapes(graph: Graph, context: PassContext) -> Graph:
    """Re-run every type rule; raises what the rule raises if the graph is inconsistent."""
    if all(node.op.infer(*(v.type for v in node.inputs)) == _types(node.outputs) for node in graph.nodes):
        return graph
    return rebuild(graph, {}, lambda op: op)


def _types(values: tuple[Value, ...]) -> tuple[object, ...]:
    return tuple(value.type for value in values)


