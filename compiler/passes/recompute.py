"""Compute cheap values anew where they are read, rather than keep them in memory.

    %c = subtract(%x, %mean)                %c = subtract(%x, %mean)
    %y = multiply(%c, %scale)       ->      %y = multiply(%c, %scale)
    ... much later ...                      ... much later ...
    %d = multiply(%g, %c)                   %c2 = subtract(%x, %mean)
                                            %d = multiply(%g, %c2)

Each kernel that reads such a value reads its operand instead, and repeats one or two instructions on numbers that wait
for memory anyway. That pays where it takes no byte more: the value depends on one tensor of its size, which
is in memory in any case because something else reads it too, and for the rest on small vectors that are repeated along
it. So the value itself need never be stored: a batch normalisation's distances from the mean, read again by the
backward pass; the mask of a relu. (Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016, recompute more,
at a price in time.)
"""

from __future__ import annotations

from compiler.grouping import is_cloned, reads_memory
from compiler.ir import Builder, Fusion, Graph, Node, Value
from compiler.ops.cost import CHEAP
from compiler.passes.context import PassContext
from compiler.passes.schedule import typical_bytes
from compiler.rewrite import finish, keep

LEAST_BYTES = 1 << 14  # smaller values stay in the cache from one kernel to the next


def recompute(graph: Graph, context: PassContext) -> Graph:
    """Give each reader of a cheap value a copy of its own; see the module's text."""
    users = graph.users()
    results = set(graph.results)
    inputs = {entry.value for entry in graph.inputs}
    repeated = {node for node in graph.nodes if _is_repeated(node, users, results, inputs)}
    if not repeated:
        return graph
    b = Builder(graph.name)
    b.inputs, b.variables = list(graph.inputs), list(graph.variables)
    new: dict[Value, Value] = {entry.value: entry.value for entry in graph.parameters}
    for node in graph.nodes:
        if node in repeated:
            readers = len(set(users[node.outputs[0]]))
            context.remark("recompute", _title(node), f"each of its {readers} readers computes it anew")
            continue
        for value in dict.fromkeys(node.inputs):
            if value.node in repeated:
                new[value] = _copy(b, value.node, new)
        with b.scope(layer=node.layer, source=node.source):
            results_of_node = keep(b, node, tuple(new[value] for value in node.inputs))
        new.update(zip(node.outputs, results_of_node, strict=True))
    return finish(b, graph, new)


def _copy(b: Builder, node: Node, new: dict[Value, Value]) -> Value:
    with b.scope(layer=node.layer, source=node.source):
        return b.emit(node.op, *(new[value] for value in node.inputs))


def _is_repeated(node: Node, users: dict[Value, list[Node]], results: set[Value], inputs: set[Value]) -> bool:
    if node.op.fusion is not Fusion.ELEMENTWISE or node.op.name not in CHEAP:
        return False
    (value,) = node.outputs
    readers = set(users[value])
    if len(readers) < 2 or value in results or typical_bytes(value) < LEAST_BYTES:
        return False
    if any(reader.op.fusion is not Fusion.ELEMENTWISE for reader in readers):
        return False
    full = {source for source in node.inputs if source.node is None or not is_cloned(source.node)}
    if len(full) != 1:
        return False
    (operand,) = full
    if operand.node is None:
        return operand in inputs
    # What a contraction or a reduction reads is in memory, for the former, or the latter's result is needed first.
    return any(reads_memory(reader) or reader.op.fusion is Fusion.REDUCTION for reader in users[operand])


def _title(node: Node) -> str:
    return f"{node.op.name} ({node.layer})" if node.layer else node.op.name
