"""Graphs inside graphs: passes run in the bodies of loops as they do outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from compiler.ir import Builder, Fusion, Graph, Node, Value
from compiler.rewrite import rewrite

__all__ = ["in_bodies", "loop_body"]


def loop_body(node: Node) -> Graph | None:
    """The body of a loop; None for any other node."""
    if node.op.fusion is not Fusion.LOOP:
        return None
    body = node.op.fields["body"]
    assert isinstance(body, Graph)
    return body


def in_bodies(graph: Graph, change: Callable[[Graph], Graph]) -> Graph:
    """The graph with `change` applied to the body of every loop; the same object if nothing changes."""

    def rule(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        body = loop_body(node)
        if body is None:
            return None
        changed = change(in_bodies(body, change))
        return None if changed is body else b.emit_all(type(node.op)(**(node.op.fields | {"body": changed})), *inputs)

    return rewrite(graph, rule) if any(node.op.fusion is Fusion.LOOP for node in graph.nodes) else graph
