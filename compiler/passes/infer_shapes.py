"""Type every node anew from the types of the graph's inputs.

    relu(%0: f32[n,3]): f32[n,3]        ->      relu(%0: f32[32,3]): f32[32,3]     with `n` bound to 32

A node is typed at birth, so this matters where the inputs change: a graph compiled for one size has its symbols
bound here (`PassContext.bindings`), and every type and every attribute follows. Where nothing changes, the same
graph comes back.
"""

from __future__ import annotations

from compiler.ir import Graph, Value
from compiler.ops.binding import bind_graph
from compiler.passes.context import PassContext
from compiler.rewrite import rebuild


def infer_shapes(graph: Graph, context: PassContext) -> Graph:
    """Bind the context's symbols and re-run every type rule; raises what a rule raises if shapes do not fit."""
    if context.bindings:
        return bind_graph(graph, context.bindings)
    if all(node.op.infer(*(v.type for v in node.inputs)) == _types(node.outputs) for node in graph.nodes):
        return graph
    return rebuild(graph, {}, lambda op, _: op)


def _types(values: tuple[Value, ...]) -> tuple[object, ...]:
    return tuple(value.type for value in values)
