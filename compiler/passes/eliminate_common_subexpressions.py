"""Keep the first of equal nodes: same op, same attributes, same inputs.

    %1 = exp(%0)
    %2 = exp(%0)        ->      %1 = exp(%0)
    %3 = add(%1, %2)            %3 = add(%1, %1)

Ops are frozen dataclasses, so (op, inputs) is the key. Every op is a pure function: randomness comes from a
state that is an input like any other.
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler.ir import Builder, Graph, Node, Op, Value
from compiler.passes.context import PassContext
from compiler.rewrite import keep, rewrite


def eliminate_common_subexpressions(graph: Graph, context: PassContext) -> Graph:
    """Merge equal nodes."""
    seen: dict[tuple[Op, tuple[Value, ...]], tuple[Value, ...]] = {}

    def rule(b: Builder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        twin = seen.get((node.op, inputs))
        if twin is not None:
            return twin
        if inputs == node.inputs:
            seen[node.op, inputs] = node.outputs
            return None
        seen[node.op, inputs] = results = keep(b, node, inputs)
        return results

    return rewrite(graph, rule)
