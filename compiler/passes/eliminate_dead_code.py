"""Drop nodes that no output or update depends on.

    %1 = exp(%0)
    %2 = neg(%0)        ->      %2 = neg(%0)
    return y=%2                 return y=%2
"""

from __future__ import annotations

import dataclasses

from compiler.ir import Graph
from compiler.passes.context import PassContext


def eliminate_dead_code(graph: Graph, context: PassContext) -> Graph:
    """Keep what the results need; inputs and variables stay, since they are the graph's signature."""
    needed = set(graph.results)
    kept = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
            kept.append(node)
    if len(kept) == len(graph.nodes):
        return graph
    return dataclasses.replace(graph, nodes=tuple(reversed(kept)))
